/* Whoever copies the metadata off a drive must not hold everybody's keys: secrets are sealed before they become rows,
 * and the master key lives in a file of its own. The row's name goes into the authentication, so rows cannot be
 * swapped. */
#include "common/seal.h"

#include "common/crypt.h"
#include "common/err.h"
#include <openssl/evp.h>

enum { SEAL_VERSION = 1, NONCE_LEN = 12, TAG_LEN = 16, HEAD_LEN = 1 + NONCE_LEN };
static_assert(SEAL_OVERHEAD == HEAD_LEN + TAG_LEN, "the header says how long a sealed secret is");

static int gcm_close(EVP_CIPHER_CTX *ctx, const uint8_t *key, struct str place, const void *secret, int n, uint8_t *ret)
{
    int len;
    if (EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, ret + 1) != 1 ||
        EVP_EncryptUpdate(ctx, NULL, &len, ret, 1) != 1 ||
        EVP_EncryptUpdate(ctx, NULL, &len, (const uint8_t *)place.p, (int)place.len) != 1 ||
        EVP_EncryptUpdate(ctx, ret + HEAD_LEN, &len, secret, n) != 1 ||
        EVP_EncryptFinal_ex(ctx, ret + HEAD_LEN + len, &len) != 1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_LEN, ret + HEAD_LEN + n) != 1)
        return E_LIB;
    return 0;
}

int seal_close(const uint8_t key[SEAL_KEY_LEN], struct str place, const void *secret, size_t n, uint8_t *ret)
{
    if (n > SEAL_MAX || place.len > SEAL_MAX)
        return -EINVAL;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    if (!ctx)
        return -ENOMEM;
    ret[0] = SEAL_VERSION;
    random_bytes(ret + 1, NONCE_LEN);
    int err = gcm_close(ctx, key, place, secret, (int)n, ret);
    EVP_CIPHER_CTX_free(ctx);
    return err;
}

static int gcm_open(EVP_CIPHER_CTX *ctx, const uint8_t *key, struct str place, const uint8_t *sealed, int n,
                    uint8_t *ret)
{
    uint8_t tag[TAG_LEN];
    int len;
    memcpy(tag, sealed + HEAD_LEN + n, TAG_LEN);
    if (EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, sealed + 1) != 1 ||
        EVP_DecryptUpdate(ctx, NULL, &len, sealed, 1) != 1 ||
        EVP_DecryptUpdate(ctx, NULL, &len, (const uint8_t *)place.p, (int)place.len) != 1 ||
        EVP_DecryptUpdate(ctx, ret, &len, sealed + HEAD_LEN, n) != 1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_LEN, tag) != 1)
        return E_LIB;
    return EVP_DecryptFinal_ex(ctx, ret + len, &len) == 1 ? 0 : E_CORRUPT;
}

int seal_open(const uint8_t key[SEAL_KEY_LEN], struct str place, struct str sealed, uint8_t *ret)
{
    if (sealed.len < SEAL_OVERHEAD || sealed.len > SEAL_MAX + SEAL_OVERHEAD || place.len > SEAL_MAX)
        return -EINVAL;
    if (sealed.p[0] != SEAL_VERSION)
        return E_VERSION;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    if (!ctx)
        return -ENOMEM;
    int n = (int)(sealed.len - SEAL_OVERHEAD);
    int err = gcm_open(ctx, key, place, (const uint8_t *)sealed.p, n, ret);
    if (err)
        memset(ret, 0, (size_t)n);
    EVP_CIPHER_CTX_free(ctx);
    return err;
}
