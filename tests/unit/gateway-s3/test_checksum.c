/* checksum: what headers ask for, the digests of "hello" by every kind, and multipart sums against the whole. */
#include "common/err.h"
#include "gateway-s3/checksum.h"
#include "tests/lib/fake_req.h"
#include <criterion/criterion.h>

TestSuite(checksum, .timeout = 30);

Test(checksum, names_headers_and_lengths_belong_together)
{
    static const struct {
        enum checksum_kind kind;
        const char *name, *header;
        size_t len;
    } rows[] = {{CHECKSUM_CRC32, "CRC32", "x-amz-checksum-crc32", 4},
                {CHECKSUM_CRC32C, "CRC32C", "x-amz-checksum-crc32c", 4},
                {CHECKSUM_CRC64NVME, "CRC64NVME", "x-amz-checksum-crc64nvme", 8},
                {CHECKSUM_SHA1, "SHA1", "x-amz-checksum-sha1", 20},
                {CHECKSUM_SHA256, "SHA256", "x-amz-checksum-sha256", 32}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_expect_str_eq(checksum_name(rows[i].kind), rows[i].name);
        cr_expect_str_eq(checksum_header(rows[i].kind), rows[i].header);
        cr_expect_eq(checksum_len(rows[i].kind), rows[i].len);
        cr_expect_eq(checksum_by_name(str_c(rows[i].name)), rows[i].kind);
        cr_expect_eq(checksum_by_header(str_c(rows[i].header)), rows[i].kind);
    }
    cr_expect_eq(checksum_by_name(STR("crc64nvme")), CHECKSUM_CRC64NVME);
    cr_expect_eq(checksum_by_header(STR("X-Amz-Checksum-SHA256")), CHECKSUM_SHA256);
    cr_expect_eq(checksum_by_name(STR("")), CHECKSUM_NONE);
    cr_expect_eq(checksum_by_name(STR("MD5")), CHECKSUM_NONE);
    cr_expect_eq(checksum_by_header(STR("")), CHECKSUM_NONE);
}

/* "hello" */
#define HELLO_MD5    "XUFAKrxLKna5cZ2REBfFkg=="
#define HELLO_CRC32  "NhCmhg=="
#define HELLO_SHA256 "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="

Test(checksum, reads_what_a_request_asks_for)
{
    static const struct {
        const char *headers;
        enum s3_error error;
        enum checksum_kind kind;
        bool md5, has_value, in_trailer;
    } rows[] = {
        {"", S3_OK, CHECKSUM_NONE, false, false, false},
        {"Content-MD5: " HELLO_MD5, S3_OK, CHECKSUM_NONE, true, false, false},
        {"x-amz-checksum-crc32: " HELLO_CRC32, S3_OK, CHECKSUM_CRC32, false, true, false},
        {"X-Amz-Checksum-Sha256: " HELLO_SHA256 "\nContent-MD5: " HELLO_MD5, S3_OK, CHECKSUM_SHA256, true, true, false},
        {"x-amz-checksum-crc32: " HELLO_CRC32 "\nx-amz-sdk-checksum-algorithm: CRC32", S3_OK, CHECKSUM_CRC32, false,
         true, false},
        {"x-amz-sdk-checksum-algorithm: crc64nvme", S3_OK, CHECKSUM_CRC64NVME, false, false, false},
        {"x-amz-trailer: x-amz-checksum-crc32", S3_OK, CHECKSUM_CRC32, false, false, true},
        {"x-amz-trailer: X-Amz-Checksum-SHA1 , x-amz-meta-late", S3_OK, CHECKSUM_SHA1, false, false, true},
        {"x-amz-trailer: x-amz-meta-late", S3_OK, CHECKSUM_NONE, false, false, false},
        {"x-amz-trailer: x-amz-checksum-crc32\nx-amz-sdk-checksum-algorithm: CRC32", S3_OK, CHECKSUM_CRC32, false,
         false, true},
        {"x-amz-checksum-mode: ENABLED\nx-amz-checksum-algorithm: SHA256\nx-amz-checksum-type: COMPOSITE", S3_OK,
         CHECKSUM_NONE, false, false, false},
        {"Content-MD5: ", S3_InvalidDigest, 0, false, false, false},
        {"Content-MD5: " HELLO_CRC32, S3_InvalidDigest, 0, false, false, false},
        {"Content-MD5: XUFAKrxLKna5cZ2REBfFkg", S3_InvalidDigest, 0, false, false, false},
        {"Content-MD5: 5d41402abc4b2a76b9719d911017c592", S3_InvalidDigest, 0, false, false, false},
        {"Content-MD5: " HELLO_MD5 "\nContent-MD5: " HELLO_MD5, S3_InvalidDigest, 0, false, false, false},
        {"x-amz-checksum-crc32: " HELLO_CRC32 "\nx-amz-checksum-sha256: " HELLO_SHA256, S3_InvalidRequest, 0, false,
         false, false},
        {"x-amz-checksum-crc32: " HELLO_CRC32 "\nx-amz-checksum-crc32: " HELLO_CRC32, S3_InvalidRequest, 0, false,
         false, false},
        {"x-amz-checksum-crc32: " HELLO_CRC32 "\nx-amz-trailer: x-amz-checksum-crc32", S3_InvalidRequest, 0, false,
         false, false},
        {"x-amz-trailer: x-amz-checksum-crc32\nx-amz-checksum-sha256: " HELLO_SHA256, S3_InvalidRequest, 0, false,
         false, false},
        {"x-amz-trailer: x-amz-checksum-crc32,x-amz-checksum-sha1", S3_InvalidRequest, 0, false, false, false},
        {"x-amz-trailer: x-amz-checksum-crc33", S3_InvalidRequest, 0, false, false, false},
        {"x-amz-checksum-md6: AAAA", S3_InvalidRequest, 0, false, false, false},
        {"x-amz-checksum-: AAAA", S3_InvalidRequest, 0, false, false, false},
        {"x-amz-checksum-crc32: ", S3_InvalidRequest, 0, false, false, false},
        {"x-amz-checksum-crc32: NhCmh", S3_InvalidRequest, 0, false, false, false},
        {"x-amz-checksum-crc32: " HELLO_MD5, S3_InvalidRequest, 0, false, false, false},
        {"x-amz-checksum-sha256: " HELLO_CRC32, S3_InvalidRequest, 0, false, false, false},
        {"x-amz-sdk-checksum-algorithm: MD5", S3_InvalidRequest, 0, false, false, false},
        {"x-amz-sdk-checksum-algorithm: SHA1\nx-amz-checksum-crc32: " HELLO_CRC32, S3_InvalidRequest, 0, false, false,
         false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct sbuf text = {0};
        struct http_req r;
        struct checksum_want w = {.kind = CHECKSUM_NONE};
        sbuf_printf(&text, "PUT /b/k\nHost: h\n%s", rows[i].headers);
        fake_req(&r, (struct str){text.p, text.len});
        cr_expect_eq(checksum_wanted(&r, &w), rows[i].error, "%s", rows[i].headers);
        if (rows[i].error == S3_OK) {
            cr_expect_eq(w.kind, rows[i].kind, "%s", rows[i].headers);
            cr_expect_eq(w.md5, rows[i].md5, "%s", rows[i].headers);
            cr_expect_eq(w.has_value, rows[i].has_value, "%s", rows[i].headers);
            cr_expect_eq(w.in_trailer, rows[i].in_trailer, "%s", rows[i].headers);
        }
        arena_fini(&r.arena);
        sbuf_fini(&text);
    }
}

Test(checksum, the_parsed_values_are_the_bytes)
{
    struct http_req r;
    struct checksum_want w;
    fake_req(&r, STR("PUT /b/k\nContent-MD5: " HELLO_MD5 "\nx-amz-checksum-crc32: " HELLO_CRC32));
    cr_assert_eq(checksum_wanted(&r, &w), S3_OK);
    uint8_t md5[16];
    digest_once(DIGEST_MD5, "hello", 5, md5);
    cr_expect_eq(memcmp(w.md5_value, md5, 16), 0);
    cr_expect_eq(memcmp(w.value, "\x36\x10\xa6\x86", 4), 0);
    arena_fini(&r.arena);
}

static const struct {
    enum checksum_kind kind;
    const char *base64; /* of "hello", by other programs (python zlib, hashlib, awscrt) */
} hello[] = {{CHECKSUM_NONE, ""},
             {CHECKSUM_CRC32, HELLO_CRC32},
             {CHECKSUM_CRC32C, "mnG7TA=="},
             {CHECKSUM_CRC64NVME, "M3eFcAZSQlc="},
             {CHECKSUM_SHA1, "qvTGHdzF6KLavt4PO0gs2a6pQ00="},
             {CHECKSUM_SHA256, HELLO_SHA256}};

Test(checksum, sets_compute_all_that_was_asked_in_any_pieces)
{
    for (size_t i = 0; i < ARRAY_LEN(hello); i++) {
        for (int want_sha256 = 0; want_sha256 < 2; want_sha256++) {
            for (size_t cut = 0; cut <= 5; cut++) {
                struct checksum_set s;
                uint8_t md5[16], sha256[32], value[CHECKSUM_MAX];
                char text[BASE64_LEN(CHECKSUM_MAX)];
                cr_assert_eq(checksum_set_init(&s, hello[i].kind, want_sha256), 0);
                checksum_set_update(&s, (const uint8_t *)"hello", cut);
                checksum_set_update(&s, (const uint8_t *)"hello" + cut, 5 - cut);
                cr_expect_eq(s.total_bytes, 5);
                checksum_set_final(&s, md5, sha256, value);
                base64_encode(value, checksum_len(hello[i].kind), text);
                cr_expect_str_eq(text, hello[i].base64, "%s", checksum_name(hello[i].kind));
                base64_encode(md5, 16, text);
                cr_expect_str_eq(text, HELLO_MD5);
                base64_encode(sha256, 32, text);
                if (want_sha256)
                    cr_expect_str_eq(text, HELLO_SHA256);
                checksum_set_fini(&s);
            }
        }
    }
}

static void value_of(enum checksum_kind k, const uint8_t *p, size_t n, uint8_t value[CHECKSUM_MAX])
{
    struct checksum_set s;
    uint8_t md5[16], sha256[32];
    cr_assert_eq(checksum_set_init(&s, k, false), 0);
    checksum_set_update(&s, p, n);
    checksum_set_final(&s, md5, sha256, value);
    checksum_set_fini(&s);
}

Test(checksum, full_object_joins_equal_the_checksum_of_the_whole)
{
    static const enum checksum_kind kinds[] = {CHECKSUM_CRC32, CHECKSUM_CRC32C, CHECKSUM_CRC64NVME};
    static const size_t parts[] = {5000, 5000, 1, 0, 4096, 77};
    static uint8_t bytes[5000 + 5000 + 1 + 4096 + 77];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 31 + i / 256);
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        struct checksum_join j;
        uint8_t value[CHECKSUM_MAX], whole[CHECKSUM_MAX];
        size_t at = 0;
        cr_assert_eq(checksum_join_init(&j, kinds[k], false), 0);
        for (size_t i = 0; i < ARRAY_LEN(parts); at += parts[i++]) {
            value_of(kinds[k], bytes + at, parts[i], value);
            checksum_join_add(&j, value, parts[i]);
        }
        checksum_join_final(&j, value);
        value_of(kinds[k], bytes, sizeof bytes, whole);
        cr_expect_eq(memcmp(value, whole, checksum_len(kinds[k])), 0, "%s", checksum_name(kinds[k]));
        cr_expect_eq(j.part_count, ARRAY_LEN(parts));
        checksum_join_fini(&j);
    }
}

Test(checksum, composite_joins_are_the_checksum_of_the_checksums)
{
    static const enum checksum_kind kinds[] = {CHECKSUM_CRC32, CHECKSUM_CRC32C, CHECKSUM_SHA1, CHECKSUM_SHA256};
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        struct checksum_join j;
        size_t len = checksum_len(kinds[k]);
        uint8_t all[3 * CHECKSUM_MAX], value[CHECKSUM_MAX], want[CHECKSUM_MAX];
        cr_assert_eq(checksum_join_init(&j, kinds[k], true), 0);
        for (size_t i = 0; i < 3; i++) {
            value_of(kinds[k], (const uint8_t *)"one two three" + 4 * i, 4, value);
            memcpy(all + i * len, value, len);
            checksum_join_add(&j, value, 4);
        }
        checksum_join_final(&j, value);
        value_of(kinds[k], all, 3 * len, want);
        cr_expect_eq(memcmp(value, want, len), 0, "%s", checksum_name(kinds[k]));
        checksum_join_fini(&j);
    }
}

Test(checksum, joins_that_s3_does_not_know_are_refused)
{
    struct checksum_join j;
    cr_expect_eq(checksum_join_init(&j, CHECKSUM_SHA1, false), -EINVAL);
    cr_expect_eq(checksum_join_init(&j, CHECKSUM_SHA256, false), -EINVAL);
    cr_expect_eq(checksum_join_init(&j, CHECKSUM_CRC64NVME, true), -EINVAL);
    cr_expect_eq(checksum_join_init(&j, CHECKSUM_NONE, true), -EINVAL);
}
