/* xxh: values computed with libxxhash's own functions, over lengths that reach every branch of XXH3, so that the
 * inlined variants are checked against the library. The empty input's values are the published ones. */
#include "common/xxh.h"
#include <criterion/criterion.h>
#include <stdlib.h>

#define SEED UINT64_C(0x9e3779b97f4a7c15)

static const struct {
    size_t n;
    uint64_t plain, seeded, hi, lo;
} rows[] = {
    {0, 0x2d06800538d394c2ULL, 0x602b0e2cd6662c8bULL, 0x99aa06d3014798d8ULL, 0x6001c324468d497fULL},
    {1, 0xc00f9d4f580c0c3aULL, 0xe8c373bb37200c74ULL, 0xc89f16e01381dd11ULL, 0xc00f9d4f580c0c3aULL},
    {3, 0xe92112d1e602af4aULL, 0xb68a6cc6a268845aULL, 0x042980e29fe07a72ULL, 0xe92112d1e602af4aULL},
    {4, 0x9008de7e100606d1ULL, 0x4f1f28ce9bf1480cULL, 0x960811bdc2cb9dc3ULL, 0xf38741e1b9ccfbd4ULL},
    {8, 0xcca6ee6f8e080c52ULL, 0x43e370b97e6af1d1ULL, 0xff5c240882695f40ULL, 0x9aac4cd28c312a76ULL},
    {9, 0x568f9d2e69ad8bd0ULL, 0xb6b4ecb908431ff4ULL, 0x3ad200a3678150cdULL, 0x289d4cd1af0c84bdULL},
    {16, 0x600a07a4f5a9911cULL, 0x073f42644e04597fULL, 0x09bfcf6d0d0c7508ULL, 0x729073442c453ee7ULL},
    {17, 0xdeab0265f35dfc24ULL, 0xb60e28c96a0d8c66ULL, 0xc0e06f2f6b379f4aULL, 0xd0b31235d80538afULL},
    {128, 0x410bd3b4d8d84f51ULL, 0xaac125a230b36a17ULL, 0xb0c97cf51fbd420eULL, 0xc14ef9bdf2926d91ULL},
    {129, 0x55964eec39625032ULL, 0x52be102d85c4d4fbULL, 0x77672b5beabfd29eULL, 0x1c66bb88fb267529ULL},
    {240, 0x977b659bdc81fdb1ULL, 0x9cc1e12f830660fdULL, 0x05fb829868e88d8bULL, 0x0dfe588c76a0d834ULL},
    {241, 0x2cb1ed4a30c8bdedULL, 0x61c29137c9eb93beULL, 0x19f9ed05e7993896ULL, 0x2cb1ed4a30c8bdedULL},
    {512, 0xd21b608b44320be0ULL, 0xc951c2d0dc28072cULL, 0xcc59276fde939412ULL, 0xd21b608b44320be0ULL},
    {1024, 0x5ec111a1e5a293aeULL, 0x02cc9c6f55f44b79ULL, 0x92da9c0cebcc106cULL, 0x5ec111a1e5a293aeULL},
    {1025, 0x5ea0264528a903fcULL, 0xf2a1f50896e5dfd5ULL, 0x76c00571248d6978ULL, 0x5ea0264528a903fcULL},
    {4096, 0xa76570548864595eULL, 0x843965ca7b51b915ULL, 0x205cdca1be728c37ULL, 0xa76570548864595eULL},
    {65536, 0xd062f29c26da8cf9ULL, 0xe3d6e2cb45f8d14eULL, 0x9123c55b6141159cULL, 0xd062f29c26da8cf9ULL},
    {100003, 0x03d688b82ead917dULL, 0x3402e8d5c1532f43ULL, 0xcd0744f2c7f2e8f9ULL, 0x03d688b82ead917dULL},
};

static uint8_t *bytes_of_the_table(size_t n)
{
    uint8_t *b = malloc(n);
    uint64_t x = 1;
    for (size_t i = 0; b && i < n; i++) {
        x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        b[i] = (uint8_t)(x >> 56);
    }
    return b;
}

Test(xxh, equals_the_library_at_every_branch)
{
    uint8_t *b = bytes_of_the_table(100003);
    cr_assert(b);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_expect_eq(xxh64of(b, rows[i].n, 0), rows[i].plain, "%zu bytes", rows[i].n);
        cr_expect_eq(xxh64of(b, rows[i].n, SEED), rows[i].seeded, "%zu bytes, seeded", rows[i].n);
        struct hash128 h = xxh128of(b, rows[i].n);
        cr_expect(h.hi == rows[i].hi && h.lo == rows[i].lo, "%zu bytes, 128", rows[i].n);
    }
    free(b);
}

Test(xxh, does_not_depend_on_alignment)
{
    uint8_t *b = bytes_of_the_table(70000), *moved = malloc(70000 + 64);
    cr_assert(b && moved);
    uint64_t want = xxh64of(b, 70000, 0);
    for (size_t shift = 1; shift < 64; shift++) {
        memcpy(moved + shift, b, 70000);
        cr_expect_eq(xxh64of(moved + shift, 70000, 0), want, "shift %zu", shift);
    }
    free(b);
    free(moved);
}
