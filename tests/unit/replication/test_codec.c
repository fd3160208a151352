/* Every set of up to m lost fragments comes back, for every code; ISA-L agrees with arithmetic done by hand. */
#include "replication/codec.h"
#include "common/err.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define CELL_MOST 700

struct shape {
    unsigned k, m;
};
static const struct shape shapes[] = {{1, 0}, {1, 1}, {1, 2}, {2, 1},  {2, 2}, {3, 3}, {4, 2},
                                      {4, 0}, {5, 4}, {8, 3}, {10, 4}, {6, 6}, {12, 2}};

/* GF(2^8) with x^8+x^4+x^3+x^2+1, by shifts: nothing of ISA-L. */
static uint8_t times(uint8_t a, uint8_t b)
{
    uint8_t p = 0;
    for (; b; b >>= 1) {
        if (b & 1)
            p ^= a;
        a = (uint8_t)(a << 1 ^ (a & 0x80 ? 0x1d : 0));
    }
    return p;
}
static uint8_t inverse(uint8_t a)
{
    for (unsigned b = 1; b < 256; b++) {
        if (times(a, (uint8_t)b) == 1)
            return (uint8_t)b;
    }
    return 0;
}

struct set {
    uint8_t cells[CODEC_WIDTH_MAX][CELL_MOST];
};

static void fill(struct set *s, const struct shape *h, size_t n, unsigned seed)
{
    srand(seed);
    for (unsigned i = 0; i < h->k; i++) {
        for (size_t j = 0; j < n; j++)
            s->cells[i][j] = (uint8_t)(rand() >> 7);
    }
}

static void encode(struct codec *c, struct set *s, const struct shape *h, size_t n)
{
    const uint8_t *data[CODEC_WIDTH_MAX];
    uint8_t *parity[CODEC_WIDTH_MAX];
    for (unsigned i = 0; i < h->k; i++)
        data[i] = s->cells[i];
    for (unsigned i = 0; i < h->m; i++)
        parity[i] = s->cells[h->k + i];
    codec_encode(c, n, data, parity);
}

Test(codec, parity_is_what_arithmetic_by_hand_gives)
{
    static struct set s;
    for (size_t t = 0; t < ARRAY_LEN(shapes); t++) {
        const struct shape *h = &shapes[t];
        struct codec *c;
        cr_assert_eq(codec_create(h->k, h->m, &c), 0);
        fill(&s, h, 257, 5 + (unsigned)t);
        encode(c, &s, h, 257);
        for (unsigned p = h->k; p < h->k + h->m; p++) {
            for (size_t j = 0; j < 257; j++) {
                uint8_t sum = 0;
                for (unsigned i = 0; i < h->k; i++)
                    sum ^= times(inverse((uint8_t)(p ^ i)), s.cells[i][j]);
                cr_assert_eq(s.cells[p][j], sum);
            }
        }
        codec_destroy(c);
    }
}

/* Decodes `want` from the k fragments of `have`; compares with the originals. */
static void check_decode(struct codec *c, const struct set *s, const struct shape *h, size_t n, uint32_t have,
                         uint32_t want)
{
    static struct set out;
    const uint8_t *known[CODEC_WIDTH_MAX];
    uint8_t *made[CODEC_WIDTH_MAX];
    unsigned in = 0, got = 0;
    for (unsigned f = 0; f < h->k + h->m; f++) {
        if (have >> f & 1)
            known[in++] = s->cells[f];
        if (want >> f & 1)
            made[got++] = out.cells[f];
    }
    cr_assert_eq(codec_decode(c, n, have, known, want, made), 0);
    for (unsigned f = 0; f < h->k + h->m; f++) {
        if (want >> f & 1)
            cr_assert_arr_eq(out.cells[f], s->cells[f], n, "%u+%u: have %x, fragment %u", h->k, h->m, have, f);
    }
}

Test(codec, every_loss_pattern_decodes)
{
    static struct set s;
    for (size_t t = 0; t < ARRAY_LEN(shapes); t++) {
        const struct shape *h = &shapes[t];
        uint32_t all = (uint32_t)((UINT64_C(1) << (h->k + h->m)) - 1);
        size_t n = 64 + t * 13; /* also lengths that no vector divides */
        struct codec *c;
        unsigned patterns = 0;
        cr_assert_eq(codec_create(h->k, h->m, &c), 0);
        fill(&s, h, n, 99);
        encode(c, &s, h, n);
        for (uint32_t have = 0; have <= all; have++) {
            if ((unsigned)__builtin_popcount(have) != h->k)
                continue;
            check_decode(c, &s, h, n, have, all & ~have); /* m lost: all others come back, parity too */
            patterns++;
        }
        printf("%u+%u: %u patterns\n", h->k, h->m, patterns);
        codec_destroy(c);
    }
}

Test(codec, any_length_and_one_fragment_at_a_time)
{
    static struct set s;
    static const size_t lengths[] = {0, 1, 15, 16, 31, 33, 63, 64, 65, 127, 129, 255, 511, 513, 700};
    struct shape h = {4, 2};
    struct codec *c;
    cr_assert_eq(codec_create(4, 2, &c), 0);
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        fill(&s, &h, lengths[i], 3);
        encode(c, &s, &h, lengths[i]);
        check_decode(c, &s, &h, lengths[i], 0x3c, 0x01);
        check_decode(c, &s, &h, lengths[i], 0x3c, 0x02);
        check_decode(c, &s, &h, lengths[i], 0x0f, 0x20);
    }
    codec_destroy(c);
}

Test(codec, an_absent_cell_counts_as_zeroes)
{
    static struct set s, z;
    struct shape h = {3, 2};
    struct codec *c;
    cr_assert_eq(codec_create(3, 2, &c), 0);
    fill(&s, &h, 100, 8);
    memset(s.cells[2], 0, 100);
    z = s;
    encode(c, &s, &h, 100);
    const uint8_t *data[] = {z.cells[0], z.cells[1], NULL};
    uint8_t *parity[] = {z.cells[3], z.cells[4]};
    codec_encode(c, 100, data, parity);
    cr_assert_arr_eq(z.cells[3], s.cells[3], CELL_MOST);
    cr_assert_arr_eq(z.cells[4], s.cells[4], CELL_MOST);
    uint8_t out[2][100];
    const uint8_t *known[] = {NULL, s.cells[3], s.cells[4]};
    cr_assert_eq(codec_decode(c, 100, 0x1c, known, 0x03, (uint8_t *[]){out[0], out[1]}), 0);
    cr_assert_arr_eq(out[0], s.cells[0], 100);
    cr_assert_arr_eq(out[1], s.cells[1], 100);
    codec_destroy(c);
}

Test(codec, a_mirror_is_a_copy)
{
    struct codec *c;
    cr_assert_eq(codec_create(1, 1, &c), 0);
    uint8_t a[] = "what the first drive holds", b[sizeof a] = {0}, back[sizeof a] = {0};
    codec_encode(c, sizeof a, (const uint8_t *[]){a}, (uint8_t *[]){b});
    cr_assert_arr_eq(a, b, sizeof a);
    cr_assert_eq(codec_decode(c, sizeof a, 2, (const uint8_t *[]){b}, 1, (uint8_t *[]){back}), 0);
    cr_assert_arr_eq(a, back, sizeof a);
    codec_destroy(c);
}

Test(codec, more_patterns_than_the_cache_holds_stay_right)
{
    static struct set s;
    struct shape h = {5, 4};
    struct codec *c;
    cr_assert_eq(codec_create(5, 4, &c), 0);
    fill(&s, &h, 90, 21);
    encode(c, &s, &h, 90);
    for (unsigned round = 0; round < 3; round++) {
        for (uint32_t have = 0; have < 512; have++) {
            if (__builtin_popcount(have) == 5)
                check_decode(c, &s, &h, 90, have, 0x1ff & ~have & -(0x1ff & ~have)); /* the lowest missing one */
        }
    }
    codec_destroy(c);
}

Test(codec, wrong_questions_are_refused)
{
    struct codec *c;
    cr_assert_eq(codec_create(0, 1, &c), -EINVAL);
    cr_assert_eq(codec_create(33, 0, &c), -EINVAL);
    cr_assert_eq(codec_create(30, 3, &c), -EINVAL);
    cr_assert_eq(codec_create(2, 1, &c), 0);
    uint8_t cell[8] = {0};
    const uint8_t *known[] = {cell, cell, cell};
    uint8_t *out[] = {cell};
    cr_assert_eq(codec_decode(c, 8, 0x1, known, 0x2, out), -EINVAL, "too few known");
    cr_assert_eq(codec_decode(c, 8, 0x7, known, 0x0, out), -EINVAL, "too many known");
    cr_assert_eq(codec_decode(c, 8, 0x9, known, 0x2, out), -EINVAL, "no such fragment");
    cr_assert_eq(codec_decode(c, 8, 0x3, known, 0x2, out), -EINVAL, "known already");
    codec_destroy(c);
}
