/* sigv4_key - signing keys and the signatures made with them.
 *
 * A signing key costs four HMACs and serves one key pair for a day, so each thread keeps SIGV4_KEY_CACHE of them in a
 * direct-mapped table. An entry's name is the SHA-256 of everything that went into the key (access key, secret, date,
 * region): a changed secret, a new day or a stranger's guess never finds another's entry. */
#include "gateway-s3/sigv4_priv.h"
#include <stdio.h>

static_assert((SIGV4_KEY_CACHE & (SIGV4_KEY_CACHE - 1)) == 0, "a power of two");

struct cached_key {
    uint8_t name[32], key[32];
};
static _Thread_local struct cached_key cache[SIGV4_KEY_CACHE];

static size_t put(char *to, size_t at, const char *p, size_t n)
{
    memcpy(to + at, p, n);
    to[at + n] = 0; /* no field holds a NUL: it separates */
    return at + n + 1;
}

static void derive(const char *secret, size_t secret_len, struct str date8, struct str region, uint8_t ret[32])
{
    char start[4 + SIGV4_SECRET_MAX] = "AWS4";
    uint8_t key[32];
    memcpy(start + 4, secret, secret_len);
    hmac_sha256(start, 4 + secret_len, date8.p, date8.len, key);
    hmac_sha256(key, sizeof key, region.p, region.len, key);
    hmac_sha256(key, sizeof key, "s3", 2, key);
    hmac_sha256(key, sizeof key, "aws4_request", 12, ret);
    explicit_bzero(start, sizeof start);
    explicit_bzero(key, sizeof key);
}

bool sigv4_signing_key(struct str access_key, const char *secret, struct str date8, struct str region, uint8_t ret[32])
{
    char text[SIGV4_ACCESS_KEY_MAX + SIGV4_SECRET_MAX + SIGV4_REGION_MAX + 8 + 4];
    size_t secret_len = strlen(secret), len = 0;
    assert(access_key.len <= SIGV4_ACCESS_KEY_MAX && region.len <= SIGV4_REGION_MAX && date8.len == 8);
    if (secret_len > SIGV4_SECRET_MAX)
        return false;
    len = put(text, len, access_key.p, access_key.len);
    len = put(text, len, secret, secret_len);
    len = put(text, len, date8.p, date8.len);
    len = put(text, len, region.p, region.len);
    uint8_t name[32];
    digest_once(DIGEST_SHA256, text, len, name);
    explicit_bzero(text, sizeof text);
    struct cached_key *entry = &cache[name[0] & (SIGV4_KEY_CACHE - 1)];
    if (!bytes_eq_ct(entry->name, name, sizeof name)) {
        derive(secret, secret_len, date8, region, entry->key);
        memcpy(entry->name, name, sizeof name);
    }
    memcpy(ret, entry->key, 32);
    return true;
}

/* algorithm, date, scope, previous signature, then the given hashes: one a line. */
static void chain(const struct sigv4 *s, const char *algorithm, const uint8_t previous[32], const char *hashes,
                  uint8_t ret[32])
{
    char text[512], previous_hex[65];
    hex_encode(previous, 32, previous_hex);
    int n = snprintf(text, sizeof text, "%s\n" STR_FMT "\n" STR_FMT "\n%s\n%s", algorithm, STR_ARG(s->amz_date),
                     STR_ARG(s->scope), previous_hex, hashes);
    assert(n > 0 && (size_t)n < sizeof text); /* the scope is bounded by SIGV4_REGION_MAX */
    hmac_sha256(s->signing_key, 32, text, (size_t)n, ret);
}

void sigv4_chunk_signature(const struct sigv4 *s, const uint8_t previous[32], const uint8_t data_sha256[32],
                           uint8_t ret[32])
{
    char hashes[2 * 64 + 2];
    memcpy(hashes, SIGV4_EMPTY_SHA256 "\n", 65);
    hex_encode(data_sha256, 32, hashes + 65);
    chain(s, SIGV4_ALGORITHM "-PAYLOAD", previous, hashes, ret);
}

void sigv4_trailer_signature(const struct sigv4 *s, const uint8_t previous[32], struct str canonical_trailers,
                             uint8_t ret[32])
{
    uint8_t hash[32];
    char hash_hex[65];
    digest_once(DIGEST_SHA256, canonical_trailers.p, canonical_trailers.len, hash);
    hex_encode(hash, 32, hash_hex);
    chain(s, SIGV4_ALGORITHM "-TRAILER", previous, hash_hex, ret);
}
