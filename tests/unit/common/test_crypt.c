/* crypt against the published vectors of its standards: RFC 1321, FIPS 180-4, RFC 4231, RFC 4648. */
#include "common/crypt.h"
#include "common/err.h"
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>

static const char *hex_of(const void *p, size_t n)
{
    static char text[2 * 64 + 1];
    hex_encode(p, n, text);
    return text;
}

static const struct {
    enum digest_kind kind;
    const char *text, *want;
} digests[] = {
    {DIGEST_MD5, "", "d41d8cd98f00b204e9800998ecf8427e"},
    {DIGEST_MD5, "message digest", "f96b697d7cb7938d525a2f31aaf161d0"},
    {DIGEST_SHA1, "", "da39a3ee5e6b4b0d3255bfef95601890afd80709"},
    {DIGEST_SHA1, "abc", "a9993e364706816aba3e25717850c26c9cd0d89d"},
    {DIGEST_SHA256, "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {DIGEST_SHA256, "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {DIGEST_SHA256, "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
};

Test(crypt, digests_match_the_standards_whole_and_in_pieces)
{
    for (size_t i = 0; i < ARRAY_LEN(digests); i++) {
        uint8_t got[DIGEST_MAX];
        size_t n = strlen(digests[i].text), len = digest_len(digests[i].kind);
        digest_once(digests[i].kind, digests[i].text, n, got);
        cr_expect_str_eq(hex_of(got, len), digests[i].want);
        struct digest *d;
        cr_assert_eq(digest_create(digests[i].kind, &d), 0);
        for (int round = 0; round < 2; round++) { /* the second round shows that final starts afresh */
            for (size_t at = 0; at < n; at++)
                digest_update(d, digests[i].text + at, 1);
            digest_final(d, got);
            cr_expect_str_eq(hex_of(got, len), digests[i].want);
        }
        digest_destroy(d);
    }
}

Test(crypt, hmac_matches_rfc_4231)
{
    static const struct {
        const char *key;
        size_t key_repeat;
        const char *data, *want;
    } rows[] = {
        {"\x0b", 20, "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        {"Jefe", 1, "what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {"\xaa", 131, "Test Using Larger Than Block-Size Key - Hash Key First",
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
        {"", 0, "", "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char key[256];
        size_t key_len = 0;
        for (size_t r = 0; r < rows[i].key_repeat; r++, key_len += strlen(rows[i].key))
            memcpy(key + key_len, rows[i].key, strlen(rows[i].key));
        uint8_t got[32];
        hmac_sha256(key, key_len, rows[i].data, strlen(rows[i].data), got);
        cr_expect_str_eq(hex_of(got, 32), rows[i].want, "row %zu", i);
        struct hmac_key *k;
        cr_assert_eq(hmac_key_create(key, key_len, &k), 0);
        for (int round = 0; round < 3; round++) {
            memset(got, 0, sizeof got);
            hmac_key_sign(k, rows[i].data, strlen(rows[i].data), got);
            cr_expect_str_eq(hex_of(got, 32), rows[i].want, "row %zu keyed", i);
        }
        hmac_key_destroy(k);
    }
}

static void *hash_often(void *wrong)
{
    for (int i = 0; i < 500; i++) {
        uint8_t got[32];
        digest_once(DIGEST_SHA256, "abc", 3, got);
        *(bool *)wrong |= got[0] != 0xba || got[31] != 0xad;
        hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, got);
        *(bool *)wrong |= got[0] != 0x5b || got[31] != 0x43;
    }
    return NULL;
}

/* Each thread has a scratch context, which must be gone when it ends (a leak fails the run). */
Test(crypt, one_shots_in_many_threads_are_right_and_leave_nothing)
{
    pthread_t threads[8];
    bool wrong[8] = {false};
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, hash_often, &wrong[i]), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        pthread_join(threads[i], NULL);
        cr_expect_not(wrong[i]);
    }
}

Test(crypt, random_bytes_fills_all_and_never_repeats)
{
    uint8_t a[64] = {0}, b[64] = {0}, seen[64] = {0};
    for (int i = 0; i < 32; i++) {
        random_bytes(a, sizeof a);
        cr_expect_not(bytes_eq_ct(a, b, sizeof a));
        memcpy(b, a, sizeof b);
        for (size_t at = 0; at < sizeof a; at++)
            seen[at] |= a[at];
    }
    for (size_t at = 0; at < sizeof seen; at++)
        cr_expect_neq(seen[at], 0, "byte %zu is never written", at);
}

Test(crypt, bytes_eq_ct_compares_every_byte)
{
    uint8_t a[33], b[33];
    memset(a, 7, sizeof a);
    memset(b, 7, sizeof b);
    cr_expect(bytes_eq_ct(a, b, sizeof a));
    cr_expect(bytes_eq_ct(a, b, 0));
    for (size_t i = 0; i < sizeof a; i++) {
        b[i] ^= 0x80;
        cr_expect_not(bytes_eq_ct(a, b, sizeof a), "byte %zu", i);
        b[i] ^= 0x80;
    }
}

Test(crypt, hex_reads_either_case_and_refuses_the_rest)
{
    static const struct {
        const char *text;
        int err;
        size_t len;
    } rows[] = {
        {"", 0, 0},         {"00fF", 0, 2},      {"AbCd", 0, 2},     {"0", -EINVAL, 0},          {"0g", -EINVAL, 0},
        {"0x", -EINVAL, 0}, {" 00", -EINVAL, 0}, {"+1", -EINVAL, 0}, {"0011223344", -EINVAL, 0}, {"@@", -EINVAL, 0},
        {"``", -EINVAL, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t out[4];
        size_t len = 0;
        cr_expect_eq(hex_decode(str_c(rows[i].text), out, sizeof out, &len), rows[i].err, "%s", rows[i].text);
        cr_expect_eq(len, rows[i].len);
    }
    uint8_t out[4];
    size_t len;
    cr_assert_eq(hex_decode(STR("DEadBEef"), out, sizeof out, &len), 0);
    cr_expect_str_eq(hex_of(out, len), "deadbeef");
}

Test(crypt, base64_matches_rfc_4648)
{
    static const struct {
        const char *plain, *text, *url;
    } rows[] = {
        {"", "", ""},
        {"f", "Zg==", "Zg"},
        {"fo", "Zm8=", "Zm8"},
        {"foo", "Zm9v", "Zm9v"},
        {"foob", "Zm9vYg==", "Zm9vYg"},
        {"fooba", "Zm9vYmE=", "Zm9vYmE"},
        {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
        {"\xfb\xff\xbf", "+/+/", "-_-_"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[32];
        uint8_t back[32];
        size_t len, n = strlen(rows[i].plain);
        base64_encode(rows[i].plain, n, text);
        cr_expect_str_eq(text, rows[i].text);
        cr_assert_eq(base64_decode(str_c(text), back, n, &len), 0, "%s", text);
        cr_expect(str_eq((struct str){(char *)back, len}, str_c(rows[i].plain)));
        base64url_encode(rows[i].plain, n, text);
        cr_expect_str_eq(text, rows[i].url);
        cr_assert_eq(base64url_decode(str_c(text), back, n, &len), 0, "%s", text);
        cr_expect(str_eq((struct str){(char *)back, len}, str_c(rows[i].plain)));
        if (n)
            cr_expect_eq(base64_decode(str_c(rows[i].text), back, n - 1, &len), -EINVAL, "no room");
    }
}

Test(crypt, base64_refuses_what_is_not_canonical)
{
    static const char *const bad[] = {"Z",    "Zg",   "Zg=",   "Zh==", "Zm9=", "====",   "=",   "Zg==Zg==",
                                      "Z===", "Zm 9", "Zm9\n", "Zm9-", "Zm_v", "Zg==\n", "A=AA"};
    static const char *const bad_url[] = {"Z", "Zg==", "Zh", "Zm9+", "Zm/v", "Zm9v=", "Zm 9"};
    uint8_t out[32];
    size_t len;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_expect_eq(base64_decode(str_c(bad[i]), out, sizeof out, &len), -EINVAL, "%s", bad[i]);
    for (size_t i = 0; i < ARRAY_LEN(bad_url); i++)
        cr_expect_eq(base64url_decode(str_c(bad_url[i]), out, sizeof out, &len), -EINVAL, "%s", bad_url[i]);
}
