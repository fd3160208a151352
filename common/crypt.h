/* crypt - the door to OpenSSL: digests, HMAC, randomness, and the text forms of bytes.
 *
 * Thread: any; a digest belongs to one thread at a time. */
#pragma once
#include "common/base.h"

enum digest_kind { DIGEST_MD5, DIGEST_SHA1, DIGEST_SHA256, DIGEST_KINDS };
#define DIGEST_MAX 32

struct digest; /* heap, opaque */
size_t digest_len(enum digest_kind k);
int digest_create(enum digest_kind k, struct digest **ret); /* -ENOMEM, E_LIB */
void digest_update(struct digest *d, const void *p, size_t n);
void digest_final(struct digest *d, uint8_t *ret); /* digest_len bytes; the digest starts afresh */
void digest_destroy(struct digest *d);
void digest_once(enum digest_kind k, const void *p, size_t n, uint8_t *ret);

void hmac_sha256(const void *key, size_t key_len, const void *p, size_t n, uint8_t ret[32]);
/* A keyed context reused: 4x faster than one-shot (limits.md). Thread: one at a time. */
struct hmac_key;
int hmac_key_create(const void *key, size_t key_len, struct hmac_key **ret);
void hmac_key_sign(struct hmac_key *k, const void *p, size_t n, uint8_t ret[32]);
void hmac_key_destroy(struct hmac_key *k);

void random_bytes(void *p, size_t n);                     /* aborts when the kernel has no randomness */
bool bytes_eq_ct(const void *a, const void *b, size_t n); /* constant time */

void hex_encode(const void *p, size_t n, char *ret);                     /* 2n lower-case digits and NUL */
int hex_decode(struct str s, uint8_t *ret, size_t cap, size_t *ret_len); /* either case; -EINVAL */
#define BASE64_LEN(n) (((n) + 2) / 3 * 4 + 1)
void base64_encode(const void *p, size_t n, char *ret);                     /* padded, NUL */
int base64_decode(struct str s, uint8_t *ret, size_t cap, size_t *ret_len); /* strict, padded; -EINVAL */
void base64url_encode(const void *p, size_t n, char *ret);                  /* no padding, NUL (RFC 4648, 5) */
int base64url_decode(struct str s, uint8_t *ret, size_t cap, size_t *ret_len);
