#include "common/err.h"
#include "common/seal.h"
#include <criterion/criterion.h>

static const uint8_t key[SEAL_KEY_LEN] = "a master key of thirty-two bytes";
static const char secret[] = "the secret of an access key, 40 chars...";

Test(seal, what_was_sealed_opens_in_its_place_only)
{
    uint8_t sealed[sizeof(secret) + SEAL_OVERHEAD], again[sizeof(secret) + SEAL_OVERHEAD], got[sizeof(secret)];
    struct str text = {(const char *)sealed, sizeof(sealed)};
    cr_assert_eq(seal_close(key, STR("key/a"), secret, sizeof(secret), sealed), 0);
    cr_assert_eq(seal_open(key, STR("key/a"), text, got), 0);
    cr_expect_arr_eq(got, secret, sizeof(secret));
    cr_expect_eq(seal_open(key, STR("key/b"), text, got), E_CORRUPT, "moved to another row");
    cr_expect_neq(memcmp(got, secret, sizeof(secret)), 0, "nothing of the secret is left behind");
    uint8_t other[SEAL_KEY_LEN];
    memcpy(other, key, sizeof(other));
    other[31] ^= 1;
    cr_expect_eq(seal_open(other, STR("key/a"), text, got), E_CORRUPT, "another master key");
    cr_assert_eq(seal_close(key, STR("key/a"), secret, sizeof(secret), again), 0);
    cr_expect_neq(memcmp(sealed, again, sizeof(sealed)), 0, "two seals of one secret differ");
    cr_expect_null(memmem(sealed, sizeof(sealed), secret, 8));
}

Test(seal, every_flipped_bit_is_noticed)
{
    uint8_t sealed[sizeof(secret) + SEAL_OVERHEAD], got[sizeof(secret)];
    cr_assert_eq(seal_close(key, STR("p"), secret, sizeof(secret), sealed), 0);
    for (size_t i = 0; i < sizeof(sealed) * 8; i++) {
        sealed[i / 8] ^= (uint8_t)(1 << i % 8);
        int err = seal_open(key, STR("p"), (struct str){(const char *)sealed, sizeof(sealed)}, got);
        cr_expect_eq(err, i < 8 ? E_VERSION : E_CORRUPT, "bit %zu", i);
        sealed[i / 8] ^= (uint8_t)(1 << i % 8);
    }
}

Test(seal, sizes_have_bounds)
{
    static uint8_t big[SEAL_MAX + 1], sealed[sizeof(big) + SEAL_OVERHEAD], got[sizeof(big)];
    cr_expect_eq(seal_close(key, STR("p"), big, SEAL_MAX + 1, sealed), -EINVAL);
    cr_assert_eq(seal_close(key, STR("p"), big, SEAL_MAX, sealed), 0);
    cr_expect_eq(seal_open(key, STR("p"), (struct str){(const char *)sealed, SEAL_MAX + SEAL_OVERHEAD}, got), 0);
    cr_expect_eq(seal_open(key, STR("p"), (struct str){(const char *)sealed, SEAL_OVERHEAD - 1}, got), -EINVAL);
    cr_expect_eq(seal_open(key, STR("p"), (struct str){(const char *)sealed, sizeof(sealed)}, got), -EINVAL);
    cr_assert_eq(seal_close(key, STR_NONE, "", 0, sealed), 0);
    cr_expect_eq(seal_open(key, STR_NONE, (struct str){(const char *)sealed, SEAL_OVERHEAD}, got), 0);
}
