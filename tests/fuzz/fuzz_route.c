/* Any bytes as a request head: the route is found or refused; a key that is accepted is the path's, decoded exactly
 * once, and encoding it again leads to the same key. Also copy sources and listing tokens. */
#include "gateway-s3/s3_list.h"
#include "gateway-s3/s3_route.h"
#include "tests/lib/fake_req.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(const struct s3_route *first, enum http_method method)
{
    struct http_req r = {.method = method, .host = STR("127.0.0.1"), .content_length = -1};
    struct s3_route got;
    struct sbuf path = {0};
    arena_init(&r.arena, HTTP_ARENA_BYTES);
    sbuf_puts(&path, "/");
    uri_encode_to(&path, first->bucket, false);
    sbuf_puts(&path, "/");
    uri_encode_to(&path, first->key, true);
    r.path = (struct str){path.p, path.len};
    if (s3_route(&r.arena, &r, STR("s3.test"), NULL, 0, &got) == S3_OK)
        if (!str_eq(got.bucket, first->bucket) || !str_eq(got.key, first->key))
            abort();
    sbuf_fini(&path);
    arena_fini(&r.arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size}, bucket, key, version;
    struct http_req r;
    struct uri_param *params = NULL;
    size_t count = 0;
    struct s3_route got;
    struct s3_list_token token;
    fake_req(&r, text);
    if (uri_query(&r.arena, r.query, &params, &count) == 0 &&
        s3_route(&r.arena, &r, STR("s3.test"), params, count, &got) == S3_OK) {
        if (!got.op || got.key.len > S3_KEY_MAX || (got.bucket.p && !s3_bucket_name_ok(got.bucket)))
            abort();
        if (got.key.len && memchr(got.key.p, 0, got.key.len))
            abort();
        if (got.key.len)
            again(&got, r.method);
    }
    if (s3_route_source(&r.arena, text, &bucket, &key, &version) == S3_OK && (!key.len || key.len > S3_KEY_MAX))
        abort();
    if (s3_list_token_decode(&r.arena, text, &token) == 0 && token.after.len > S3_KEY_MAX)
        abort();
    arena_fini(&r.arena);
    return 0;
}
