/* seal - secrets at rest: AES-256-GCM under the installation's master key. A second door to OpenSSL, for this use only.
 *
 * Sealed form: version:1 | nonce:12 random | ciphertext | tag:16. `place` says where the secret lives (table and row
 * key) and is authenticated, so a sealed secret that was moved to another row does not open.
 * Thread: any; pure. Limits: SEAL_MAX bytes of secret. Random nonces: far below 2^32 seals under one key. */
#pragma once
#include "common/base.h"

#define SEAL_KEY_LEN  32
#define SEAL_OVERHEAD 29
#define SEAL_MAX      1024

/* ret: n + SEAL_OVERHEAD bytes. -EINVAL: n over SEAL_MAX; E_LIB. */
int seal_close(const uint8_t key[SEAL_KEY_LEN], struct str place, const void *secret, size_t n, uint8_t *ret);
/* ret: sealed.len - SEAL_OVERHEAD bytes. -EINVAL: too short or long; E_VERSION; E_CORRUPT: altered, moved, or another
 * key. */
int seal_open(const uint8_t key[SEAL_KEY_LEN], struct str place, struct str sealed, uint8_t *ret);
