/* crc: published check values (the CRC catalogue's "123456789", RFC 3720 B.4), a bit-by-bit model for every length, and
 * the algebra of feeding in pieces and joining. */
#include "common/crc.h"
#include <criterion/criterion.h>
#include <stdlib.h>

static uint64_t model(uint64_t poly, uint64_t ones, const uint8_t *p, size_t n)
{
    uint64_t crc = ones;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? poly : 0);
    }
    return crc ^ ones;
}

static void fill(uint8_t *p, size_t n)
{
    uint32_t x = 12345;
    for (size_t i = 0; i < n; i++) {
        x = x * 1103515245 + 12345;
        p[i] = (uint8_t)(x >> 16);
    }
}

Test(crc, published_check_values)
{
    cr_expect_eq(crc32_ieee(0, "123456789", 9), 0xcbf43926u);
    cr_expect_eq(crc32c(0, "123456789", 9), 0xe3069283u);
    cr_expect_eq(crc64nvme(0, "123456789", 9), UINT64_C(0xae8b14860a799888));
    uint8_t run[4096] = {0};
    cr_expect_eq(crc32c(0, run, 32), 0x8a9136aau, "RFC 3720: 32 zeros");
    /* NVM Express base specification, "64b CRC test cases". */
    cr_expect_eq(crc64nvme(0, run, 4096), UINT64_C(0x6482d367eb22b64e), "4 KiB of zeros");
    memset(run, 0xff, sizeof run);
    cr_expect_eq(crc32c(0, run, 32), 0x62a8ab43u, "RFC 3720: 32 ones");
    cr_expect_eq(crc64nvme(0, run, 4096), UINT64_C(0xc0ddba7302eca3ac), "4 KiB of ones");
    for (int i = 0; i < 32; i++)
        run[i] = (uint8_t)i;
    cr_expect_eq(crc32c(0, run, 32), 0x46dd794eu, "RFC 3720: rising bytes");
    cr_expect_eq(crc32_ieee(0, NULL, 0), 0);
    cr_expect_eq(crc32c(0, NULL, 0), 0);
    cr_expect_eq(crc64nvme(0, NULL, 0), 0);
}

Test(crc, every_length_and_alignment_equals_the_model)
{
    static uint8_t bytes[2048 + 16];
    fill(bytes, sizeof bytes);
    for (size_t n = 0; n < 1100; n++) {
        const uint8_t *p = bytes + n % 16;
        cr_expect_eq(crc32_ieee(0, p, n), model(0xedb88320, 0xffffffff, p, n), "ieee %zu", n);
        cr_expect_eq(crc32c(0, p, n), model(0x82f63b78, 0xffffffff, p, n), "castagnoli %zu", n);
        uint64_t want = model(UINT64_C(0x9a6c9329ac4bc9b5), UINT64_MAX, p, n);
        for (enum crc_way way = CRC_TABLE; way <= CRC_FOLD_WIDE; way++)
            cr_expect_eq(crc64nvme_by(way, 0, p, n), want, "nvme %zu by way %d", n, (int)way);
    }
}

Test(crc, pieces_and_joins_equal_the_whole)
{
    enum { N = 1500 };
    static uint8_t bytes[N];
    fill(bytes, N);
    uint32_t whole32 = crc32_ieee(0, bytes, N), wholec = crc32c(0, bytes, N);
    uint64_t whole64 = crc64nvme(0, bytes, N);
    for (size_t cut = 0; cut <= N; cut += cut < 300 ? 1 : 37) {
        const uint8_t *b = bytes + cut;
        size_t len_b = N - cut;
        uint32_t a32 = crc32_ieee(0, bytes, cut), ac = crc32c(0, bytes, cut);
        uint64_t a64 = crc64nvme(0, bytes, cut);
        cr_expect_eq(crc32_ieee(a32, b, len_b), whole32, "ieee cut at %zu", cut);
        cr_expect_eq(crc32c(ac, b, len_b), wholec, "castagnoli cut at %zu", cut);
        cr_expect_eq(crc64nvme(a64, b, len_b), whole64, "nvme cut at %zu", cut);
        cr_expect_eq(crc32_ieee_combine(a32, crc32_ieee(0, b, len_b), len_b), whole32, "ieee join %zu", cut);
        cr_expect_eq(crc32c_combine(ac, crc32c(0, b, len_b), len_b), wholec, "castagnoli join %zu", cut);
        cr_expect_eq(crc64nvme_combine(a64, crc64nvme(0, b, len_b), len_b), whole64, "nvme join %zu", cut);
    }
}

Test(crc, joins_are_right_for_lengths_no_test_could_feed)
{
    /* crc(zeros of 2^k) by doubling, beside the combination with one huge length. */
    uint8_t zero = 0;
    uint64_t run = crc64nvme(0, &zero, 1);
    uint32_t run32 = crc32_ieee(0, &zero, 1);
    for (int k = 0; k < 45; k++) {
        run = crc64nvme_combine(run, run, UINT64_C(1) << k);
        run32 = crc32_ieee_combine(run32, run32, UINT64_C(1) << k);
    }
    /* 5 TiB of zeros in two orders of joining. */
    uint64_t tib = UINT64_C(1) << 40, a = crc64nvme(0, "abc", 3), b = crc64nvme(0, "xyz", 3);
    uint64_t left = crc64nvme_combine(crc64nvme_combine(a, run, 32 * tib), b, 3);
    uint64_t right = crc64nvme_combine(a, crc64nvme_combine(run, b, 3), 32 * tib + 3);
    cr_expect_eq(left, right);
    uint32_t c = crc32_ieee(0, "abc", 3), d = crc32_ieee(0, "xyz", 3);
    cr_expect_eq(crc32_ieee_combine(crc32_ieee_combine(c, run32, 32 * tib), d, 3),
                 crc32_ieee_combine(c, crc32_ieee_combine(run32, d, 3), 32 * tib + 3));
}
