/* From a request to an object's row: the headers that S3 keeps, user metadata, tags, conditions, and the commit. What
 * S3 has and we have not is refused by name, so that nobody believes that a header took effect which did not. */
#include "gateway-s3/s3_object.h"
#include <ctype.h>
#include <stdio.h>

#define META_PREFIX      "x-amz-meta-"
#define HEADERS_KEPT_MAX 8

static const char *const kept[] = {"cache-control",
                                   "content-disposition",
                                   "content-encoding",
                                   "content-language",
                                   "content-type",
                                   "expires",
                                   "x-amz-website-redirect-location"};
static_assert(ARRAY_LEN(kept) <= HEADERS_KEPT_MAX, "room for every kept header");

static bool no_memory(struct s3_request *s)
{
    s3_fail(s, S3_InternalError);
    return false;
}

static Pb__Pair *pair_new(struct s3_request *s, struct str name, struct str value)
{
    Pb__Pair *p = arena_alloc(&s->arena, sizeof *p);
    if (!p)
        return NULL;
    pb__pair__init(p);
    p->name = s3_text(s, name);
    struct str v = arena_str(&s->arena, value);
    p->value = s3_bytes(v);
    return p->name && v.p ? p : NULL;
}

/* "aws-chunked" describes the transfer, not the object. */
static struct str without_aws_chunked(struct s3_request *s, struct str value)
{
    struct str rest = value, part;
    char *out = arena_alloc(&s->arena, value.len + 1);
    size_t n = 0;
    if (!out)
        return STR_NONE;
    while (str_split(&rest, ',', &part)) {
        part = str_trim(part);
        if (part.len == 0 || str_ieq(part, STR("aws-chunked")))
            continue;
        if (n)
            out[n++] = ',';
        memcpy(out + n, part.p, part.len);
        n += part.len;
    }
    return (struct str){out, n};
}

static bool read_headers(struct s3_request *s, struct s3_meta *m)
{
    m->headers = arena_alloc(&s->arena, HEADERS_KEPT_MAX * sizeof *m->headers);
    if (!m->headers)
        return no_memory(s);
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        struct str v = s3_header(s, kept[i]);
        if (v.p && strcmp(kept[i], "content-encoding") == 0)
            v = without_aws_chunked(s, v);
        if (v.len == 0)
            continue;
        Pb__Pair *p = pair_new(s, str_c(kept[i]), v);
        if (!p)
            return no_memory(s);
        m->headers[m->header_count++] = p;
    }
    return true;
}

static Pb__Pair *meta_find(struct s3_meta *m, const char *name)
{
    for (size_t i = 0; i < m->user_meta_count; i++)
        if (strcmp(m->user_meta[i]->name, name) == 0)
            return m->user_meta[i];
    return NULL;
}

/* The same name again: the values are joined with a comma, as S3 does. */
static bool meta_add(struct s3_request *s, struct s3_meta *m, struct str name, struct str value)
{
    Pb__Pair *p = pair_new(s, name, value);
    if (!p)
        return no_memory(s);
    for (char *c = p->name; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    Pb__Pair *old = meta_find(m, p->name);
    if (!old) {
        m->user_meta[m->user_meta_count++] = p;
        return true;
    }
    char *both = arena_alloc(&s->arena, old->value.len + value.len + 2);
    if (!both)
        return no_memory(s);
    memcpy(both, old->value.data, old->value.len);
    both[old->value.len] = ',';
    memcpy(both + old->value.len + 1, value.p, value.len);
    old->value = s3_bytes((struct str){both, old->value.len + value.len + 1});
    return true;
}

static bool read_user_meta(struct s3_request *s, struct s3_meta *m)
{
    struct str prefix = STR(META_PREFIX);
    size_t total = 0;
    m->user_meta = arena_alloc(&s->arena, (s->r->header_count + 1) * sizeof *m->user_meta);
    if (!m->user_meta)
        return no_memory(s);
    for (size_t i = 0; i < s->r->header_count; i++) {
        const struct http_header *h = &s->r->headers[i];
        if (h->name.len <= prefix.len || !str_ieq((struct str){h->name.p, prefix.len}, prefix))
            continue;
        struct str name = {h->name.p + prefix.len, h->name.len - prefix.len};
        total += name.len + h->value.len;
        if (!meta_add(s, m, name, h->value))
            return false;
    }
    if (total > S3_META_MAX) {
        char text[24];
        snprintf(text, sizeof text, "%zu", total);
        s3_extra(s, "Size", str_c(text));
        s3_extra(s, "MaxSizeAllowed", STR("2048"));
        s3_fail(s, S3_MetadataTooLarge);
        return false;
    }
    return true;
}

bool s3_meta_tag_add(struct s3_request *s, struct s3_meta *m, struct str name, struct str value)
{
    if (!m->tags && !(m->tags = arena_alloc(&s->arena, S3_TAGS_MAX * sizeof *m->tags)))
        return no_memory(s);
    if (m->tag_count == S3_TAGS_MAX) {
        s3_fail_text(s, S3_BadRequest, "Object tags cannot be greater than %d", S3_TAGS_MAX);
        return false;
    }
    bool known = false;
    for (size_t i = 0; i < m->tag_count; i++)
        known = known || str_eq(str_c(m->tags[i]->name), name);
    if (known || name.len == 0 || name.len > 128 * 4 || value.len > 256 * 4 ||
        (name.len && memchr(name.p, 0, name.len))) {
        s3_extra(s, "TagKey", name);
        s3_fail_text(s, S3_InvalidTag,
                     known ? "Cannot provide multiple Tags with the same key"
                           : "The TagKey or TagValue you have provided is invalid");
        return false;
    }
    Pb__Pair *p = pair_new(s, name, value);
    if (!p)
        return no_memory(s);
    m->tags[m->tag_count++] = p;
    return true;
}

/* x-amz-tagging: "name=value&name2=value2", form-encoded. */
bool s3_tags_read(struct s3_request *s, struct s3_meta *m)
{
    struct str v = s3_header(s, "x-amz-tagging");
    if (v.len == 0)
        return true;
    char *text = arena_copy(&s->arena, v.p, v.len);
    struct uri_param *tags;
    size_t count;
    if (!text)
        return no_memory(s);
    for (size_t i = 0; i < v.len; i++)
        if (text[i] == '+')
            text[i] = ' ';
    if (uri_query(&s->arena, (struct str){text, v.len}, &tags, &count) != 0) {
        s3_invalid_argument(s, "x-amz-tagging", v,
                            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded "
                            "URL query parameters without tag name duplicates.");
        return false;
    }
    for (size_t i = 0; i < count; i++)
        if (!s3_meta_tag_add(s, m, tags[i].name, tags[i].value))
            return false;
    return true;
}

static bool refuse_header(struct s3_request *s, const char *name)
{
    s3_extra(s, "Header", str_c(name));
    s3_fail_text(s, S3_NotImplemented, "A header you provided implies functionality that is not implemented");
    return false;
}

bool s3_unsupported(struct s3_request *s)
{
    static const char *const refused[] = {"x-amz-server-side-encryption",
                                          "x-amz-server-side-encryption-customer-algorithm",
                                          "x-amz-server-side-encryption-aws-kms-key-id",
                                          "x-amz-server-side-encryption-context",
                                          "x-amz-copy-source-server-side-encryption-customer-algorithm",
                                          "x-amz-object-lock-mode",
                                          "x-amz-object-lock-retain-until-date",
                                          "x-amz-object-lock-legal-hold",
                                          "x-amz-grant-read",
                                          "x-amz-grant-write",
                                          "x-amz-grant-read-acp",
                                          "x-amz-grant-write-acp",
                                          "x-amz-grant-full-control",
                                          "x-amz-write-offset-bytes"};
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        if (s3_header(s, refused[i]).p)
            return refuse_header(s, refused[i]);
    struct str acl = s3_header(s, "x-amz-acl");
    if (acl.p && !str_eq(acl, STR("private")) && !str_eq(acl, STR("bucket-owner-full-control")))
        return refuse_header(s, "x-amz-acl");
    struct str storage = s3_header(s, "x-amz-storage-class");
    if (storage.p && !str_eq(storage, STR("STANDARD"))) {
        s3_extra(s, "StorageClassRequested", storage);
        s3_fail(s, S3_InvalidStorageClass);
        return false;
    }
    return true;
}

bool s3_meta_read(struct s3_request *s, struct s3_meta *ret)
{
    *ret = (struct s3_meta){0};
    return s3_unsupported(s) && read_headers(s, ret) && read_user_meta(s, ret) && s3_tags_read(s, ret);
}

Pb__Object *s3_object_new(struct s3_request *s, const struct s3_meta *m)
{
    Pb__Object *o = arena_alloc(&s->arena, sizeof *o);
    uint8_t *version = arena_alloc(&s->arena, 16);
    char *owner = s3_text(s, s->creator);
    if (!o || !version || !owner) {
        no_memory(s);
        return NULL;
    }
    pb__object__init(o);
    random_bytes(version, 16);
    o->format = 1;
    o->version_id = (ProtobufCBinaryData){.data = version, .len = 16};
    o->owner = owner;
    o->headers = m->headers;
    o->n_headers = m->header_count;
    o->user_meta = m->user_meta;
    o->n_user_meta = m->user_meta_count;
    o->tags = m->tags;
    o->n_tags = m->tag_count;
    return o;
}

Pb__Checksum *s3_checksum_row(struct s3_request *s, enum checksum_kind kind, const uint8_t *value, bool composite)
{
    Pb__Checksum *c = arena_alloc(&s->arena, sizeof *c);
    struct str v = arena_str(&s->arena, (struct str){(const char *)value, checksum_len(kind)});
    if (!c || !v.p)
        return NULL;
    pb__checksum__init(c);
    c->kind = (uint32_t)kind;
    c->composite = composite;
    c->value = s3_bytes(v);
    return c;
}

bool s3_object_set_checksum(struct s3_request *s, Pb__Object *o, enum checksum_kind kind, const uint8_t *value,
                            bool composite)
{
    if (kind == CHECKSUM_NONE)
        return true;
    Pb__Checksum **list = arena_alloc(&s->arena, sizeof *list);
    if (!list || !(list[0] = s3_checksum_row(s, kind, value, composite)))
        return no_memory(s);
    o->checksums = list;
    o->n_checksums = 1;
    return true;
}

/* ---- conditions of writes ---- */

static struct str unquote(struct str v)
{
    v = str_trim(v);
    if (v.len >= 2 && v.p[0] == '"' && v.p[v.len - 1] == '"')
        return (struct str){v.p + 1, v.len - 2};
    return v;
}

bool s3_write_condition(struct s3_request *s, Pb__Condition **ret)
{
    struct str match = s3_header(s, "If-Match"), none = s3_header(s, "If-None-Match");
    *ret = NULL;
    if (!match.p && !none.p)
        return true;
    if (none.p && (match.p || !str_eq(str_trim(none), STR("*"))))
        return refuse_header(s, "If-None-Match"); /* S3 takes only "*", and never both */
    if (match.p && unquote(match).len == 0) {     /* an empty ETag is no object's, not the absence of a condition */
        s3_object_refused(s, RPC_CONDITION);
        return false;
    }
    Pb__Condition *c = arena_alloc(&s->arena, sizeof *c);
    if (!c)
        return no_memory(s);
    pb__condition__init(c);
    c->if_none_match_any = none.p != NULL;
    if (match.p && !(c->if_match = s3_text(s, unquote(match))))
        return no_memory(s);
    *ret = c;
    return true;
}

struct first_look {
    const Pb__Condition *c;
    void *state; /* the handler's, meanwhile */
    void (*go)(struct s3_request *s);
};

void s3_object_refused(struct s3_request *s, int status)
{
    if (status == RPC_CONDITION)
        s3_extra(s, "Condition", s->r && s3_header(s, "If-Match").p ? STR("If-Match") : STR("If-None-Match"));
    s3_fail(s, s3_error_of(status));
}

static void on_first_look(struct s3_request *s, int status, void *rep)
{
    struct first_look *f = s->state;
    s->state = f->state;
    if (s3_gone(s))
        return;
    if (status < 0 || status == RPC_NO_BUCKET) {
        s3_fail(s, s3_error_of(status));
        return;
    }
    const Pb__ObjectGetRep *got = status == 0 ? rep : NULL;
    bool want_match = f->c->if_match && *f->c->if_match;
    int judged = 0;
    if (got && got->object) {
        bool same = want_match && s3_etag_listed(str_c(f->c->if_match), str_c(got->object->etag), false);
        judged = f->c->if_none_match_any || (want_match && !same) ? RPC_CONDITION : 0;
    } else if (want_match) {
        judged = RPC_NOT_FOUND;
    }
    if (judged)
        s3_object_refused(s, judged);
    else
        f->go(s);
}

void s3_write_condition_first(struct s3_request *s, const Pb__Condition *c, void (*go)(struct s3_request *s))
{
    struct first_look *f = arena_alloc(&s->arena, sizeof *f);
    if (!c || !f) {
        go(s);
        return;
    }
    f->c = c;
    f->go = go;
    f->state = s->state;
    s->state = f;
    s3_object_find(s, s->route.bucket, s->route.key, false, on_first_look);
}

/* ---- calls ---- */

void s3_object_find(struct s3_request *s, struct str bucket, struct str key, bool want_inline,
                    void (*then)(struct s3_request *s, int status, void *rep))
{
    Pb__ObjectGetReq *req = arena_alloc(&s->arena, sizeof *req);
    char *name = s3_text(s, bucket);
    if (!req || !name) {
        no_memory(s);
        return;
    }
    pb__object_get_req__init(req);
    req->bucket = name;
    req->key = s3_bytes(key);
    req->want_inline = want_inline;
    s3_call(s, RPC_OBJECT_GET, req, then);
}

static bool name_bytes(struct s3_request *s, Pb__ObjectPutReq *req, Pb__Object *o,
                       const struct client_write_result *res)
{
    o->size = res->size;
    if (res->size == 0)
        return true;
    if (res->inlined) {
        req->inline_data = (ProtobufCBinaryData){.data = slice_data(res->inline_data), .len = res->inline_data.len};
        return true;
    }
    o->extents = arena_alloc(&s->arena, sizeof *o->extents);
    req->write_ids = arena_alloc(&s->arena, sizeof *req->write_ids);
    if (!o->extents || !req->write_ids)
        return false;
    o->extents[0] = res->extent;
    o->n_extents = 1;
    req->write_ids[0] = res->extent->write_id;
    req->n_write_ids = 1;
    return true;
}

static Pb__ObjectPutReq *put_request(struct s3_request *s, Pb__Object *o, Pb__Condition *c)
{
    Pb__ObjectPutReq *req = arena_alloc(&s->arena, sizeof *req);
    char *bucket = s3_text(s, s->route.bucket);
    if (!req || !bucket)
        return NULL;
    pb__object_put_req__init(req);
    req->bucket = bucket;
    req->key = s3_bytes(s->route.key);
    req->object = o;
    req->condition = c;
    return req;
}

void s3_object_commit(struct s3_request *s, Pb__Object *o, const struct client_write_result *res, Pb__Condition *c,
                      void (*then)(struct s3_request *s, int status, void *rep))
{
    Pb__ObjectPutReq *req = put_request(s, o, c);
    if (!req || !name_bytes(s, req, o, res)) {
        no_memory(s);
        return;
    }
    o->mtime_ms = loop_clock(s->g->loop)->wall_ms(loop_clock(s->g->loop));
    s3_call(s, RPC_OBJECT_PUT, req, then);
}

void s3_object_describe(struct s3_request *s, Pb__Object *o, const Pb__Object *standing, Pb__Condition *c,
                        void (*then)(struct s3_request *s, int status, void *rep))
{
    Pb__Condition *own = arena_alloc(&s->arena, sizeof *own);
    Pb__ObjectPutReq *req = put_request(s, o, own);
    if (!req || !own) {
        no_memory(s);
        return;
    }
    pb__condition__init(own);
    if (c)
        *own = *c;
    own->if_version = standing->version_id;
    req->keep_data = true;
    s3_call(s, RPC_OBJECT_PUT, req, then);
}
