/* sigv4 against AWS's published examples, against botocore, and against a table of everything that must be refused
 * (sigv4_vectors.py makes the last two). Then the blunt instrument: no byte of a signed request may change. */
#include "common/crypt.h"
#include "common/err.h"
#include "gateway-s3/sigv4.h"
#include "tests/lib/fake_req.h"
#include "tests/unit/gateway-s3/sigv4_vectors.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define AUTH(headers, signature)                                                                                       \
    "Authorization: AWS4-HMAC-SHA256 "                                                                                 \
    "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=" headers                        \
    ",Signature=" signature

static const char *secret_of(void *ctx, struct str access_key)
{
    (void)ctx;
    return str_eq(access_key, STR(VECTOR_ACCESS_KEY)) ? VECTOR_SECRET : NULL;
}

/* The caller frees r->arena. */
static enum s3_error check(struct str text, uint64_t now_s, struct http_req *r, struct sigv4 *ret)
{
    struct sigv4_conf conf = {.region = "us-east-1", .now_s = now_s, .secret = secret_of};
    struct uri_param *params;
    size_t count;
    fake_req(r, text);
    memset(ret, 0, sizeof *ret);
    if (uri_query(&r->arena, r->query, &params, &count))
        return S3_InvalidURI;
    return sigv4_check(&conf, r, params, count, ret);
}

/* https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, sigv4-query-string-auth.html,
 * sigv4-streaming.html, sigv4-streaming-trailers.html */
static const struct {
    const char *name, *request;
    enum sigv4_kind kind;
    enum sigv4_payload payload;
} aws[] = {
    {"GET object, range",
     "GET /test.txt\nHost: examplebucket.s3.amazonaws.com\nRange: bytes=0-9\nx-amz-date: 20130524T000000Z\n"
     "x-amz-content-sha256: " EMPTY_SHA256
     "\n" AUTH("host;range;x-amz-content-sha256;x-amz-date",
               "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
     SIGV4_HEADER, PAYLOAD_SHA256},
    {"PUT object",
     "PUT /test$file.text\nHost: examplebucket.s3.amazonaws.com\nDate: Fri, 24 May 2013 00:00:00 GMT\n"
     "x-amz-date: 20130524T000000Z\nx-amz-storage-class: REDUCED_REDUNDANCY\n"
     "x-amz-content-sha256: 44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072\n" AUTH(
         "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
         "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
     SIGV4_HEADER, PAYLOAD_SHA256},
    {"GET bucket lifecycle",
     "GET /?lifecycle\nHost: examplebucket.s3.amazonaws.com\nx-amz-date: 20130524T000000Z\n"
     "x-amz-content-sha256: " EMPTY_SHA256 "\n" AUTH(
         "host;x-amz-content-sha256;x-amz-date", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
     SIGV4_HEADER, PAYLOAD_SHA256},
    {"list objects",
     "GET /?max-keys=2&prefix=J\nHost: examplebucket.s3.amazonaws.com\nx-amz-date: 20130524T000000Z\n"
     "x-amz-content-sha256: " EMPTY_SHA256 "\n" AUTH(
         "host;x-amz-content-sha256;x-amz-date", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
     SIGV4_HEADER, PAYLOAD_SHA256},
    {"presigned GET",
     "GET /test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3"
     "%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature="
     "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404\nHost: examplebucket.s3.amazonaws.com",
     SIGV4_PRESIGNED, PAYLOAD_UNSIGNED},
    {"chunked upload",
     "PUT /examplebucket/chunkObject.txt\nHost: s3.amazonaws.com\nx-amz-date: 20130524T000000Z\n"
     "x-amz-storage-class: REDUCED_REDUNDANCY\nx-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD\n"
     "Content-Encoding: aws-chunked\nx-amz-decoded-content-length: 66560\nContent-Length: 66824\n" AUTH(
         "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-"
         "storage-"
         "class",
         "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"),
     SIGV4_HEADER, PAYLOAD_CHUNKS},
    {"chunked upload with a trailer",
     "PUT /examplebucket/chunkObject.txt\nHost: s3.amazonaws.com\nx-amz-date: 20130524T000000Z\n"
     "x-amz-storage-class: REDUCED_REDUNDANCY\nx-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER\n"
     "Content-Encoding: aws-chunked\nx-amz-decoded-content-length: 66560\nx-amz-trailer: x-amz-checksum-crc32c\n"
     "Content-Length: 66824\n" AUTH(
         "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;"
         "x-amz-storage-class;x-amz-trailer",
         "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"),
     SIGV4_HEADER, PAYLOAD_CHUNKS_TRAILER},
};
#define AWS_NOW UINT64_C(1369353600) /* 2013-05-24 */

TestSuite(sigv4, .timeout = 60);

Test(sigv4, accepts_the_examples_of_aws)
{
    for (size_t i = 0; i < ARRAY_LEN(aws); i++) {
        struct http_req r;
        struct sigv4 s;
        cr_expect_eq(check(str_c(aws[i].request), AWS_NOW, &r, &s), S3_OK, "%s", aws[i].name);
        cr_expect_eq(s.kind, aws[i].kind, "%s", aws[i].name);
        cr_expect_eq(s.payload, aws[i].payload, "%s", aws[i].name);
        cr_expect(str_eq(s.access_key, STR("AKIAIOSFODNN7EXAMPLE")), "%s", aws[i].name);
        cr_expect(str_eq(s.scope, STR("20130524/us-east-1/s3/aws4_request")), "%s", aws[i].name);
        cr_expect(str_eq(s.amz_date, STR("20130524T000000Z")), "%s", aws[i].name);
        cr_expect_null(s.message);
        arena_fini(&r.arena);
    }
}

Test(sigv4, hands_on_the_signed_hash_and_the_seed)
{
    struct http_req r;
    struct sigv4 s;
    char hex[65];
    cr_assert_eq(check(str_c(aws[1].request), AWS_NOW, &r, &s), S3_OK);
    hex_encode(s.body_sha256, 32, hex);
    cr_expect_str_eq(hex, "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072");
    hex_encode(s.seed_signature, 32, hex);
    cr_expect_str_eq(hex, "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
    arena_fini(&r.arena);
}

Test(sigv4, a_mismatch_shows_what_was_compared_and_never_the_key)
{
    char text[2048];
    size_t n = strlen(aws[0].request);
    struct http_req r;
    struct sigv4 s;
    memcpy(text, aws[0].request, n + 1);
    text[n - 1] = '0'; /* the signature's last digit */
    cr_assert_eq(check((struct str){text, n}, AWS_NOW, &r, &s), S3_SignatureDoesNotMatch);
    cr_expect(str_eq(s.canonical_request, STR("GET\n/test.txt\n\nhost:examplebucket.s3.amazonaws.com\nrange:bytes=0-9\n"
                                              "x-amz-content-sha256:" EMPTY_SHA256 "\nx-amz-date:20130524T000000Z\n\n"
                                              "host;range;x-amz-content-sha256;x-amz-date\n" EMPTY_SHA256)));
    cr_expect(str_eq(s.string_to_sign, STR("AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n"
                                           "7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972")));
    cr_expect(str_eq(s.signature_provided, STR("f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb40")));
    static const uint8_t none[32];
    cr_expect(memcmp(s.signing_key, none, 32) == 0 && memcmp(s.seed_signature, none, 32) == 0,
              "an unauthenticated request keeps no key");
    arena_fini(&r.arena);
}

Test(sigv4, answers_every_vector_as_aws_does)
{
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        struct http_req r;
        struct sigv4 s;
        enum s3_error got = check(str_c(vectors[i].request), vectors[i].now_s, &r, &s);
        cr_expect_eq(got, vectors[i].want, "%s: %s instead of %s (%s)", vectors[i].name, s3_error_code(got),
                     s3_error_code(vectors[i].want), s.message ? s.message : "");
        const char *message = s.message ? s.message : s3_error_text(got);
        cr_expect(strstr(message, vectors[i].message) != NULL, "%s: \"%s\" has no \"%s\"", vectors[i].name, message,
                  vectors[i].message);
        arena_fini(&r.arena);
    }
}

Test(sigv4, names_the_headers_that_are_not_signed)
{
    struct http_req r;
    struct sigv4 s;
    size_t seen = 0;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        if (!strstr(vectors[i].name, "not signed") && !strstr(vectors[i].name, "added on the way"))
            continue;
        cr_expect_eq(check(str_c(vectors[i].request), vectors[i].now_s, &r, &s), S3_AccessDenied);
        cr_expect(s.headers_not_signed.len > 0, "%s", vectors[i].name);
        seen++;
        arena_fini(&r.arena);
    }
    cr_expect_gt(seen, 4);
}

/* Every byte of the vector is signed, so no change of one may pass. 0x20 turns the case of letters, which HTTP ignores
 * in a header's name; 0x01 changes every byte's meaning. */
static void flip_every_byte(const char *name, const char *request, uint64_t now_s)
{
    size_t n = strlen(request);
    char *text = malloc(n + 1);
    cr_assert(text);
    memcpy(text, request, n + 1);
    for (size_t at = 0; at < n; at++) {
        struct http_req r;
        struct sigv4 s;
        /* The blank after a header's colon, or after "Credential=...,", is not part of anything. */
        if (text[at] == ' ' && at && (text[at - 1] == ':' || text[at - 1] == ','))
            continue;
        text[at] ^= 0x01;
        enum s3_error got = check((struct str){text, n}, now_s, &r, &s);
        text[at] ^= 0x01;
        cr_expect_neq(got, S3_OK, "%s: byte %zu ('%c') may change", name, at, text[at]);
        arena_fini(&r.arena);
    }
    free(text);
}

Test(sigv4, no_byte_of_a_signed_request_may_change)
{
    for (size_t i = 0; i < ARRAY_LEN(aws); i++)
        if (aws[i].payload != PAYLOAD_CHUNKS_TRAILER) /* its Content-Length is not signed */
            flip_every_byte(aws[i].name, aws[i].request, AWS_NOW);
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++)
        if (vectors[i].want == S3_OK && strstr(vectors[i].name, "presigned"))
            flip_every_byte(vectors[i].name, vectors[i].request, vectors[i].now_s);
}

/* A header taken away, or any one given twice. */
Test(sigv4, no_header_of_a_signed_request_may_go_or_come_twice)
{
    for (size_t v = 0; v < ARRAY_LEN(aws); v++) {
        for (size_t skip = 1; skip < 12; skip++) {
            char once[4096] = "", twice[4096] = "";
            struct str rest = str_c(aws[v].request), line;
            size_t row = 0, a = 0, b = 0;
            bool signed_line = false;
            for (; str_split(&rest, '\n', &line); row++) {
                a += row == skip ? 0 : (size_t)snprintf(once + a, sizeof once - a, STR_FMT "\n", STR_ARG(line));
                b += (size_t)snprintf(twice + b, sizeof twice - b, STR_FMT "\n", STR_ARG(line));
                if (row == skip) {
                    b += (size_t)snprintf(twice + b, sizeof twice - b, STR_FMT "\n", STR_ARG(line));
                    signed_line = !str_starts(line, STR("Content-Length")) || aws[v].payload != PAYLOAD_CHUNKS_TRAILER;
                }
            }
            if (row <= skip || !signed_line)
                continue;
            struct http_req r;
            struct sigv4 s;
            cr_expect_neq(check((struct str){once, a}, AWS_NOW, &r, &s), S3_OK, "%s without line %zu", aws[v].name,
                          skip);
            arena_fini(&r.arena);
            cr_expect_neq(check((struct str){twice, b}, AWS_NOW, &r, &s), S3_OK, "%s, line %zu twice", aws[v].name,
                          skip);
            arena_fini(&r.arena);
        }
    }
}

struct changing {
    const char *secret;
};
static const char *changing_secret(void *ctx, struct str access_key)
{
    (void)access_key;
    return ((struct changing *)ctx)->secret;
}

Test(sigv4, a_cached_key_is_not_used_for_another_secret)
{
    struct changing now = {VECTOR_SECRET};
    struct sigv4_conf conf = {.region = "us-east-1", .now_s = AWS_NOW, .secret = changing_secret, .ctx = &now};
    static const struct {
        const char *secret;
        enum s3_error want;
    } steps[] = {{VECTOR_SECRET, S3_OK}, {VECTOR_SECRET, S3_OK},      {"rotated", S3_SignatureDoesNotMatch},
                 {VECTOR_SECRET, S3_OK}, {"", S3_InvalidAccessKeyId}, {NULL, S3_InvalidAccessKeyId},
                 {VECTOR_SECRET, S3_OK}};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct http_req r;
        struct sigv4 s;
        now.secret = steps[i].secret;
        fake_req(&r, str_c(aws[0].request));
        cr_expect_eq(sigv4_check(&conf, &r, NULL, 0, &s), steps[i].want, "step %zu", i);
        arena_fini(&r.arena);
    }
}

Test(sigv4, a_secret_beyond_the_limit_is_refused)
{
    char long_secret[SIGV4_SECRET_MAX + 2];
    struct changing now = {long_secret};
    struct sigv4_conf conf = {.region = "us-east-1", .now_s = AWS_NOW, .secret = changing_secret, .ctx = &now};
    struct http_req r;
    struct sigv4 s;
    memset(long_secret, 's', sizeof long_secret - 1);
    long_secret[sizeof long_secret - 1] = 0;
    fake_req(&r, str_c(aws[0].request));
    cr_expect_eq(sigv4_check(&conf, &r, NULL, 0, &s), S3_InvalidAccessKeyId);
    long_secret[SIGV4_SECRET_MAX] = 0;
    cr_expect_eq(sigv4_check(&conf, &r, NULL, 0, &s), S3_SignatureDoesNotMatch);
    arena_fini(&r.arena);
}

Test(sigv4, an_exhausted_arena_is_an_internal_error_at_every_step)
{
    bool passed = false;
    for (size_t limit = 16 * KIB; limit < 64 * KIB && !passed; limit += 64) {
        struct sigv4_conf conf = {.region = "us-east-1", .now_s = AWS_NOW, .secret = secret_of};
        struct http_req r;
        struct sigv4 s;
        struct uri_param *params;
        size_t count;
        fake_req(&r, str_c(aws[4].request));
        r.arena.limit_bytes = limit;
        if (uri_query(&r.arena, r.query, &params, &count) == 0) {
            enum s3_error got = sigv4_check(&conf, &r, params, count, &s);
            cr_expect(got == S3_OK || got == S3_InternalError, "%zu bytes: %s", limit, s3_error_code(got));
            passed = got == S3_OK;
        }
        arena_fini(&r.arena);
    }
    cr_expect(passed);
}

Test(sigv4, signs_chunks_and_trailers_as_the_examples_of_aws)
{
    struct http_req r;
    struct sigv4 s;
    uint8_t hash[32], signature[32];
    char hex[65], data[65536];
    memset(data, 'a', sizeof data);
    cr_assert_eq(check(str_c(aws[5].request), AWS_NOW, &r, &s), S3_OK);
    digest_once(DIGEST_SHA256, data, sizeof data, hash);
    sigv4_chunk_signature(&s, s.seed_signature, hash, signature);
    hex_encode(signature, 32, hex);
    cr_expect_str_eq(hex, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648");
    arena_fini(&r.arena);
    size_t len;
    uint8_t previous[32];
    cr_assert_eq(check(str_c(aws[6].request), AWS_NOW, &r, &s), S3_OK);
    cr_assert_eq(
        hex_decode(STR("2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992"), previous, 32, &len), 0);
    sigv4_trailer_signature(&s, previous, STR("x-amz-checksum-crc32c:sOO8/Q==\n"), signature);
    hex_encode(signature, 32, hex);
    cr_expect_str_eq(hex, "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435");
    arena_fini(&r.arena);
}

Test(s3_error, every_row_has_a_code_a_status_and_a_text)
{
    for (enum s3_error e = S3_OK + 1; e < S3_ERROR_COUNT; e++) {
        cr_expect_gt(strlen(s3_error_code(e)), 2);
        cr_expect_gt(strlen(s3_error_text(e)), 8, "aws cli fails on an empty message: %s", s3_error_code(e));
        cr_expect(s3_error_status(e) == 304 || (s3_error_status(e) >= 400 && s3_error_status(e) < 600));
        for (enum s3_error other = S3_OK + 1; other < e; other++)
            cr_expect_str_neq(s3_error_code(e), s3_error_code(other));
    }
    cr_expect_str_eq(s3_error_code(S3_NoSuchKey), "NoSuchKey");
    cr_expect_eq(s3_error_status(S3_NoSuchKey), 404);
}
