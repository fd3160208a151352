/* s3_object - an object's row and the headers that describe it: from a request, to an answer.
 *
 * Thread: the loop. Memory: everything in the request's arena.
 * Limits: S3_META_MAX, S3_TAGS_MAX; headers as http bounds them. */
#pragma once
#include "gateway-s3/s3_conditions.h"
#include "gateway-s3/s3_request.h"

#define S3_META_MAX 2048 /* names and values of user metadata together (AWS: 2 KB) */
#define S3_TAGS_MAX 10

struct s3_meta {
    Pb__Pair **headers, **user_meta, **tags;
    size_t header_count, user_meta_count, tag_count;
};
/* What the request says about the object it makes. False: answered (MetadataTooLarge, InvalidTag, NotImplemented...).
 */
bool s3_meta_read(struct s3_request *s, struct s3_meta *ret);
/* Only the tags. */
bool s3_tags_read(struct s3_request *s, struct s3_meta *ret);
/* Headers that ask for what is not built (encryption, ACLs, locks, storage classes): false: answered. */
bool s3_unsupported(struct s3_request *s);
bool s3_meta_tag_add(struct s3_request *s, struct s3_meta *m, struct str name, struct str value);

/* A new row: format, version id, owner, mtime now. NULL: answered. */
Pb__Object *s3_object_new(struct s3_request *s, const struct s3_meta *m);
bool s3_object_set_checksum(struct s3_request *s, Pb__Object *o, enum checksum_kind kind, const uint8_t *value,
                            bool composite);
Pb__Checksum *s3_checksum_row(struct s3_request *s, enum checksum_kind kind, const uint8_t *value, bool composite);

/* If-Match and If-None-Match of a write. *ret NULL: none given. False: answered. */
bool s3_write_condition(struct s3_request *s, Pb__Condition **ret);
/* Looks before the body is read whether the condition holds now (it is judged again at the commit), then calls go. */
void s3_write_condition_first(struct s3_request *s, const Pb__Condition *c, void (*go)(struct s3_request *s));
/* OBJECT_PUT of o with the bytes of res, mtime now. then: as s3_call. */
void s3_object_commit(struct s3_request *s, Pb__Object *o, const struct client_write_result *res, Pb__Condition *c,
                      void (*then)(struct s3_request *s, int status, void *rep));
/* The standing version gets o's description (headers, user metadata, tags, owner, mtime) and keeps its bytes.
 * RPC_CONDITION: it was replaced meanwhile. c may be NULL. */
void s3_object_describe(struct s3_request *s, Pb__Object *o, const Pb__Object *standing, Pb__Condition *c,
                        void (*then)(struct s3_request *s, int status, void *rep));
/* OBJECT_GET of bucket and key. */
void s3_object_find(struct s3_request *s, struct str bucket, struct str key, bool want_inline,
                    void (*then)(struct s3_request *s, int status, void *rep));
/* Answers a failed commit of an object. */
void s3_object_refused(struct s3_request *s, int status);

/* ---- answers ---- */
void s3_object_headers(struct s3_request *s, const Pb__Object *o); /* ETag, Last-Modified, metadata, overrides */
void s3_etag_header(struct s3_request *s, const char *etag);
void s3_checksum_headers(struct s3_request *s, Pb__Checksum *const *sums, size_t count, size_t part_count);
void s3_checksum_xml(struct s3_request *s, struct sbuf *out, Pb__Checksum *const *sums, size_t count, size_t part_count,
                     bool with_type);
bool s3_overrides_ok(struct s3_request *s);             /* response-* parameters; false: answered */
void s3_xml_etag(struct sbuf *out, const char *etag);   /* <ETag>&quot;hex&quot;</ETag> */
void s3_xml_mtime(struct sbuf *out, uint64_t mtime_ms); /* whole seconds, as Last-Modified says */
