/* crypt - OpenSSL behind one door.
 *
 * Algorithms are fetched once for the process: an EVP_MD_fetch for each digest costs more than hashing a header. What
 * returns void cannot fail for any reason that a caller could handle (out of memory for a fixed-size context, a broken
 * provider); it aborts rather than let a wrong hash through. MD5 may be absent (FIPS): digest_create then says E_LIB.
 */
#include "common/crypt.h"
#include "common/err.h"
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

static const struct {
    const char *name;
    size_t len;
} kinds[DIGEST_KINDS] = {
    [DIGEST_MD5] = {"MD5", 16},
    [DIGEST_SHA1] = {"SHA1", 20},
    [DIGEST_SHA256] = {"SHA256", 32},
};

static EVP_MD *mds[DIGEST_KINDS];
static EVP_MAC *hmac_alg;
static pthread_key_t scratch_key; /* frees a thread's scratch when it ends */
static pthread_once_t fetch_once = PTHREAD_ONCE_INIT;

/* A failure that leaves no right answer. */
static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "lectern: %s failed\n", what);
    abort();
}

static void scratch_free(void *ctx)
{
    EVP_MD_CTX_free(ctx);
}

static void fetch_free(void)
{
    for (size_t i = 0; i < DIGEST_KINDS; i++) {
        EVP_MD_free(mds[i]);
        mds[i] = NULL;
    }
    EVP_MAC_free(hmac_alg);
    hmac_alg = NULL;
}

static void fetch(void)
{
    /* OpenSSL's own clean-up is registered by this call, so ours, registered after it, runs before it. */
    OPENSSL_init_crypto(0, NULL);
    for (size_t i = 0; i < DIGEST_KINDS; i++)
        mds[i] = EVP_MD_fetch(NULL, kinds[i].name, NULL);
    hmac_alg = EVP_MAC_fetch(NULL, "HMAC", NULL);
    must(pthread_key_create(&scratch_key, scratch_free) == 0, "a thread's key");
    OPENSSL_atexit(fetch_free);
}

static EVP_MD *md_of(enum digest_kind k)
{
    assert(k < DIGEST_KINDS);
    pthread_once(&fetch_once, fetch);
    return mds[k];
}

/* One context for each thread's one-shot calls: making one costs as much as hashing 200 bytes. */
static EVP_MD_CTX *scratch(void)
{
    static _Thread_local EVP_MD_CTX *ctx;
    if (!ctx) {
        pthread_once(&fetch_once, fetch);
        ctx = EVP_MD_CTX_new();
        must(ctx && pthread_setspecific(scratch_key, ctx) == 0, "a digest");
    }
    return ctx;
}

/* ---- digests ---- */

struct digest {
    EVP_MD_CTX *ctx;
    enum digest_kind kind;
};

size_t digest_len(enum digest_kind k)
{
    assert(k < DIGEST_KINDS);
    return kinds[k].len;
}

int digest_create(enum digest_kind k, struct digest **ret)
{
    EVP_MD *md = md_of(k);
    if (!md)
        return E_LIB;
    struct digest *d = malloc(sizeof *d);
    if (!d)
        return -ENOMEM;
    *d = (struct digest){.ctx = EVP_MD_CTX_new(), .kind = k};
    if (!d->ctx || EVP_DigestInit_ex2(d->ctx, md, NULL) != 1) {
        int err = d->ctx ? E_LIB : -ENOMEM;
        digest_destroy(d);
        return err;
    }
    *ret = d;
    return 0;
}

void digest_update(struct digest *d, const void *p, size_t n)
{
    if (n)
        must(EVP_DigestUpdate(d->ctx, p, n) == 1, "a digest");
}

void digest_final(struct digest *d, uint8_t *ret)
{
    unsigned len = 0;
    must(EVP_DigestFinal_ex(d->ctx, ret, &len) == 1 && len == kinds[d->kind].len, "a digest");
    must(EVP_DigestInit_ex2(d->ctx, NULL, NULL) == 1, "a digest");
}

void digest_destroy(struct digest *d)
{
    if (!d)
        return;
    EVP_MD_CTX_free(d->ctx);
    free(d);
}

void digest_once(enum digest_kind k, const void *p, size_t n, uint8_t *ret)
{
    EVP_MD *md = md_of(k);
    EVP_MD_CTX *ctx = scratch();
    must(md && EVP_DigestInit_ex2(ctx, md, NULL) == 1 && (n == 0 || EVP_DigestUpdate(ctx, p, n) == 1) &&
             EVP_DigestFinal_ex(ctx, ret, NULL) == 1,
         "a digest");
}

/* ---- HMAC ---- */

struct hmac_key {
    EVP_MAC_CTX *ctx;
};

int hmac_key_create(const void *key, size_t key_len, struct hmac_key **ret)
{
    pthread_once(&fetch_once, fetch);
    if (!hmac_alg)
        return E_LIB;
    struct hmac_key *k = malloc(sizeof *k);
    if (!k)
        return -ENOMEM;
    char name[] = "SHA256";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
                           OSSL_PARAM_construct_end()};
    k->ctx = EVP_MAC_CTX_new(hmac_alg);
    /* A NULL key would mean "the key set before"; an empty key is a key. */
    const void *bytes = key_len ? key : "";
    if (!k->ctx || EVP_MAC_init(k->ctx, bytes, key_len, params) != 1) {
        int err = k->ctx ? E_LIB : -ENOMEM;
        hmac_key_destroy(k);
        return err;
    }
    *ret = k;
    return 0;
}

void hmac_key_sign(struct hmac_key *k, const void *p, size_t n, uint8_t ret[32])
{
    size_t len = 0;
    must(EVP_MAC_init(k->ctx, NULL, 0, NULL) == 1, "an HMAC");
    must(n == 0 || EVP_MAC_update(k->ctx, p, n) == 1, "an HMAC");
    must(EVP_MAC_final(k->ctx, ret, &len, 32) == 1 && len == 32, "an HMAC");
}

void hmac_key_destroy(struct hmac_key *k)
{
    if (!k)
        return;
    EVP_MAC_CTX_free(k->ctx); /* cleanses the key */
    free(k);
}

/* RFC 2104 on two digests: OpenSSL 3's one-shot HMAC spends most of its time fetching and building contexts. */
void hmac_sha256(const void *key, size_t key_len, const void *p, size_t n, uint8_t ret[32])
{
    enum { BLOCK = 64 };
    uint8_t pad[BLOCK] = {0}, inner[32];
    EVP_MD *md = md_of(DIGEST_SHA256);
    EVP_MD_CTX *ctx = scratch();
    must(md != NULL, "an HMAC");
    if (key_len > BLOCK)
        digest_once(DIGEST_SHA256, key, key_len, pad);
    else if (key_len)
        memcpy(pad, key, key_len);
    for (size_t i = 0; i < BLOCK; i++)
        pad[i] ^= 0x36;
    bool ok = EVP_DigestInit_ex2(ctx, md, NULL) == 1 && EVP_DigestUpdate(ctx, pad, BLOCK) == 1 &&
              (n == 0 || EVP_DigestUpdate(ctx, p, n) == 1) && EVP_DigestFinal_ex(ctx, inner, NULL) == 1;
    for (size_t i = 0; i < BLOCK; i++)
        pad[i] ^= 0x36 ^ 0x5c;
    ok = ok && EVP_DigestInit_ex2(ctx, md, NULL) == 1 && EVP_DigestUpdate(ctx, pad, BLOCK) == 1 &&
         EVP_DigestUpdate(ctx, inner, sizeof inner) == 1 && EVP_DigestFinal_ex(ctx, ret, NULL) == 1;
    must(ok, "an HMAC");
    OPENSSL_cleanse(pad, sizeof pad);
}

/* ---- randomness and comparison ---- */

void random_bytes(void *p, size_t n)
{
    uint8_t *at = p;
    while (n) {
        ssize_t got = getrandom(at, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        must(got > 0, "reading randomness from the kernel");
        at += got;
        n -= (size_t)got;
    }
}

bool bytes_eq_ct(const void *a, const void *b, size_t n)
{
    return n == 0 || CRYPTO_memcmp(a, b, n) == 0;
}

/* ---- text forms ---- */

void hex_encode(const void *p, size_t n, char *ret)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *in = p;
    for (size_t i = 0; i < n; i++) {
        ret[2 * i] = digits[in[i] >> 4];
        ret[2 * i + 1] = digits[in[i] & 15];
    }
    ret[2 * n] = 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int hex_decode(struct str s, uint8_t *ret, size_t cap, size_t *ret_len)
{
    if (s.len % 2 || s.len / 2 > cap)
        return -EINVAL;
    for (size_t i = 0; i < s.len; i += 2) {
        int hi = hex_digit(s.p[i]), lo = hex_digit(s.p[i + 1]);
        if (hi < 0 || lo < 0)
            return -EINVAL;
        ret[i / 2] = (uint8_t)(hi << 4 | lo);
    }
    *ret_len = s.len / 2;
    return 0;
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char base64url_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void encode64(const uint8_t *p, size_t n, const char *digits, bool pad, char *ret)
{
    for (; n >= 3; p += 3, n -= 3) {
        *ret++ = digits[p[0] >> 2];
        *ret++ = digits[(p[0] & 3) << 4 | p[1] >> 4];
        *ret++ = digits[(p[1] & 15) << 2 | p[2] >> 6];
        *ret++ = digits[p[2] & 63];
    }
    if (n) {
        *ret++ = digits[p[0] >> 2];
        *ret++ = digits[(p[0] & 3) << 4 | (n == 2 ? p[1] >> 4 : 0)];
        if (n == 2)
            *ret++ = digits[(p[1] & 15) << 2];
        for (size_t i = n; pad && i < 3; i++)
            *ret++ = '=';
    }
    *ret = 0;
}

static int digit64(char c, const char *digits)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == digits[62] ? 62 : c == digits[63] ? 63 : -1;
}

/* s without padding. Bits that the last digit has too many must be zero: one value has one text only. */
static int decode64(struct str s, const char *digits, uint8_t *ret, size_t cap, size_t *ret_len)
{
    uint32_t bits = 0;
    unsigned count = 0;
    size_t len = 0;
    if (s.len % 4 == 1 || s.len / 4 * 3 + (s.len % 4 ? s.len % 4 - 1 : 0) > cap)
        return -EINVAL;
    for (size_t i = 0; i < s.len; i++) {
        int digit = digit64(s.p[i], digits);
        if (digit < 0)
            return -EINVAL;
        bits = bits << 6 | (uint32_t)digit;
        count += 6;
        if (count >= 8) {
            count -= 8;
            ret[len++] = (uint8_t)(bits >> count);
        }
    }
    if (bits & ((1u << count) - 1))
        return -EINVAL;
    *ret_len = len;
    return 0;
}

void base64_encode(const void *p, size_t n, char *ret)
{
    encode64(p, n, base64_digits, true, ret);
}

int base64_decode(struct str s, uint8_t *ret, size_t cap, size_t *ret_len)
{
    if (s.len % 4)
        return -EINVAL;
    for (int i = 0; i < 2 && s.len && s.p[s.len - 1] == '='; i++)
        s.len--;
    return decode64(s, base64_digits, ret, cap, ret_len);
}

void base64url_encode(const void *p, size_t n, char *ret)
{
    encode64(p, n, base64url_digits, false, ret);
}

int base64url_decode(struct str s, uint8_t *ret, size_t cap, size_t *ret_len)
{
    return decode64(s, base64url_digits, ret, cap, ret_len);
}
