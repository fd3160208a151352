/* s3_route - which S3 operation a request is, and on which bucket and key: pure.
 *
 * Path style (/bucket/key) and virtual-host style (Host: bucket.DOMAIN). There is one decoded form of a key, used for
 * authorisation and for storage; keys are bytes, so "a/../b", "//", a trailing "/" and "%2F" stay what they are.
 * Thread: pure. Memory: bucket and key in the caller's arena. Limits: S3_KEY_MAX; bucket names as AWS rules. */
#pragma once
#include "common/http.h"
#include "common/uri.h"
#include "gateway-s3/s3_error.h"

#define S3_KEY_MAX        1024
#define S3_XML_DELETE_MAX (8 * MIB) /* 1,000 keys of 1,024 bytes, each byte perhaps an entity */
#define S3_XML_PARTS_MAX  (4 * MIB) /* 10,000 parts with ETag and a SHA-256 */
#define S3_BODY_NONE      UINT64_C(0)
#define S3_BODY_STREAM    UINT64_MAX

/* How a request is authenticated, as one bit; rows of s3_ops.def hold the ones they allow. */
enum {
    S3_AUTH_HEADER = 1,           /* Authorization header; payload hashed whole or unsigned */
    S3_AUTH_PRESIGNED = 2,        /* query */
    S3_AUTH_CHUNKS = 4,           /* header; aws-chunked with signed chunks, with or without trailer */
    S3_AUTH_UNSIGNED_TRAILER = 8, /* header; aws-chunked, unsigned, with trailer */
    S3_AUTH_FORM = 16,            /* fields of a browser's upload form: judged by the handler */
    S3_AUTH_PLAIN = S3_AUTH_HEADER | S3_AUTH_PRESIGNED,
    S3_AUTH_ANY = S3_AUTH_PLAIN | S3_AUTH_CHUNKS | S3_AUTH_UNSIGNED_TRAILER,
};
enum s3_target { S3_TARGET_SERVICE, S3_TARGET_BUCKET, S3_TARGET_OBJECT };
enum s3_op_id {
#define S3_OP(id, method, target, selector, handler, rights, auth, body) S3_OP_##id,
#include "gateway-s3/s3_ops.def"
#undef S3_OP
    S3_OP_COUNT
};
struct s3_request;
struct s3_op {
    const char *name;
    enum http_method method;
    enum s3_target target;
    const char *selector;
    void (*handler)(struct s3_request *s);
    unsigned rights, auth;
    uint64_t body_max;
};
extern const struct s3_op s3_ops[S3_OP_COUNT];

struct s3_route {
    const struct s3_op *op; /* NULL: not found out (an error before) */
    struct str bucket, key; /* decoded; p NULL when there is none */
    bool virtual_host;
};
/* The bucket named by a Host header "bucket.domain[:port]", as sent; p NULL when the host is the domain itself or
 * another. */
struct str s3_route_host(struct str host, struct str domain);
/* S3_OK; InvalidURI (bad escape, NUL, no leading '/'), InvalidBucketName, KeyTooLongError, MethodNotAllowed. bucket and
 * key are set as far as they are known, for the error's document. */
enum s3_error s3_route(struct arena *a, const struct http_req *r, struct str domain, const struct uri_param *params,
                       size_t param_count, struct s3_route *ret);
/* https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html; also refused: names that the listener
 * uses itself (healthz, readyz). */
bool s3_bucket_name_ok(struct str name);
/* x-amz-copy-source: "/bucket/key" or "bucket/key", percent-encoded, perhaps "?versionId=". InvalidArgument. */
enum s3_error s3_route_source(struct arena *a, struct str header, struct str *ret_bucket, struct str *ret_key,
                              struct str *ret_version);
