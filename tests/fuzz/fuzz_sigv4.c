/* Any request text: sigv4_check neither crashes nor accepts, unless the request is signed as this file itself would
 * sign it. The seeds are requests of the test vectors. */
#include "gateway-s3/sigv4.h"
#include "tests/lib/fake_req.h"
#include <stdlib.h>

#define NOW UINT64_C(1767323045) /* 2026-01-02T03:04:05Z */

static const char *secret_of(void *ctx, struct str access_key)
{
    (void)ctx;
    return str_eq(access_key, STR("AKIAIOSFODNN7EXAMPLE")) ? "a secret that no seed was signed with" : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sigv4_conf conf = {.region = "us-east-1", .now_s = NOW, .secret = secret_of};
    struct http_req r;
    struct sigv4 s;
    struct uri_param *params;
    size_t count;
    fake_req(&r, (struct str){(const char *)data, size});
    if (uri_query(&r.arena, r.query, &params, &count) == 0) {
        enum s3_error e = sigv4_check(&conf, &r, params, count, &s);
        if (e == S3_OK)
            abort(); /* a signature was found by chance, or was not checked */
        if (e == S3_SignatureDoesNotMatch && (!s.canonical_request.p || !s.string_to_sign.p))
            abort();
    }
    arena_fini(&r.arena);
    return 0;
}
