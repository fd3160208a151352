/* Every byte of an extent stands in one place; reads ask for no more than the blocks around what is wanted. */
#include "replication/stripe.h"
#include "common/err.h"
#include <criterion/criterion.h>
#include <stdlib.h>

static uint8_t id_bytes[WRITE_ID_BYTES] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

static Pb__Extent extent_of(uint64_t size, unsigned k, unsigned m, uint32_t stripe_bytes)
{
    Pb__Extent e = PB__EXTENT__INIT;
    e.write_id.data = id_bytes;
    e.write_id.len = WRITE_ID_BYTES;
    e.size = size;
    e.k = k;
    e.m = m;
    e.stripe_bytes = stripe_bytes;
    return e;
}

struct shape_case {
    uint64_t length;
    unsigned k, m;
    uint64_t cell;
    unsigned data_count;
};
static const struct shape_case shape_cases[] = {
    {1, 1, 0, 4096, 1},
    {1, 4, 2, 4096, 1},
    {4096, 4, 2, 4096, 1},
    {4097, 4, 2, 4096, 2},
    {16384, 4, 2, 4096, 4},
    {16385, 4, 2, 8192, 3},
    {65537, 8, 3, 12288, 6},
    {4 * MIB, 1, 1, 4 * MIB, 1},
    {4 * MIB, 4, 2, MIB, 4},
    {4 * MIB, 10, 4, 421888, 10},
    {4 * MIB - 1, 8, 3, 512 * KIB, 8},
};

Test(stripe, cells_are_an_even_share_in_whole_pages)
{
    for (size_t i = 0; i < ARRAY_LEN(shape_cases); i++) {
        const struct shape_case *c = &shape_cases[i];
        struct stripe s = stripe_of(c->length, c->k, c->m);
        cr_assert_eq(s.cell, c->cell, "case %zu: %lu", i, (unsigned long)s.cell);
        cr_assert_eq(s.data_count, c->data_count, "case %zu: %u", i, s.data_count);
        unsigned stored = 0;
        for (unsigned f = 0; f < c->k + c->m; f++)
            stored += stripe_has(&s, f);
        cr_assert_eq(stored, stripe_stored(&s));
        cr_assert(!stripe_has(&s, c->k + c->m));
    }
}

Test(stripe, a_cell_beside_a_void_one_is_never_longer_than_the_zero_cell)
{
    for (unsigned k = 1; k <= CODEC_WIDTH_MAX; k++) {
        for (uint64_t length = 1; length < 40 * k * 4096; length += 997) {
            struct stripe s = stripe_of(length, k, 0);
            cr_assert(s.data_count == k || s.cell <= CODEC_ZERO_BYTES);
            cr_assert(s.cell * (s.data_count - 1) < length && s.cell * s.data_count >= length);
        }
    }
}

/* Walks [offset, offset+length) and returns the number of runs; every run must start where the last ended. */
static unsigned walk(const Pb__Extent *e, uint64_t offset, uint64_t length, uint64_t most)
{
    unsigned runs = 0;
    for (uint64_t at = offset; at < offset + length; runs++) {
        struct cell_range r = extent_locate(e, at, offset + length - at, most);
        struct stripe s = extent_stripe(e, r.stripe);
        cr_assert_gt(r.length, 0);
        /* The place, computed the other way round. */
        cr_assert_eq(r.stripe * (uint64_t)e->stripe_bytes + r.fragment * s.cell + r.read_offset + r.skip, at);
        cr_assert_eq(r.read_offset % STRIPE_BLOCK_BYTES, 0);
        cr_assert_leq(r.read_bytes, most);
        cr_assert_lt(r.skip, STRIPE_BLOCK_BYTES);
        cr_assert_leq(r.skip + r.length, r.read_bytes);
        cr_assert_leq(r.read_offset + r.read_bytes, s.cell);
        cr_assert(r.read_bytes % STRIPE_BLOCK_BYTES == 0 || r.read_offset + r.read_bytes == s.cell);
        cr_assert_lt(r.read_bytes - r.skip - r.length, STRIPE_BLOCK_BYTES, "asks for a block that nobody wants");
        at += r.length;
        cr_assert_leq(at, offset + length);
    }
    return runs;
}

Test(stripe, every_byte_of_random_ranges_maps_once)
{
    static const struct {
        unsigned k, m;
    } codes[] = {{1, 0}, {1, 1}, {2, 1}, {2, 2}, {4, 2}, {8, 3}, {10, 4}, {7, 1}};
    srand(4711);
    for (unsigned i = 0; i < 20000; i++) {
        unsigned c = (unsigned)rand() % ARRAY_LEN(codes);
        uint64_t size = 1 + (uint64_t)rand() % (i % 3 ? 10 * MIB : 200 * KIB);
        Pb__Extent e = extent_of(size, codes[c].k, codes[c].m, i % 5 ? 4 * MIB : 1 * MIB);
        cr_assert_eq(extent_check(&e), 0);
        uint64_t offset = (uint64_t)rand() % size, length = 1 + (uint64_t)rand() % (size - offset);
        walk(&e, offset, length, i % 2 ? 128 * KIB : 64 * KIB);
    }
}

Test(stripe, a_seek_of_one_block_touches_one_fragment)
{
    Pb__Extent e = extent_of(100 * MIB, 4, 2, 4 * MIB);
    cr_assert_eq(walk(&e, 37 * MIB, 64 * KIB, 128 * KIB), 1);
    cr_assert_eq(walk(&e, 37 * MIB - 1, 2, 128 * KIB), 2);
    cr_assert_eq(walk(&e, 37 * MIB, MIB, 128 * KIB), 8);
}

Test(stripe, stripes_of_an_extent_sum_to_its_size)
{
    static const uint64_t sizes[] = {1, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 9 * MIB};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        Pb__Extent e = extent_of(sizes[i], 4, 2, 4 * MIB);
        uint64_t sum = 0;
        for (uint32_t s = 0; s < extent_stripes(&e); s++)
            sum += extent_stripe(&e, s).length;
        cr_assert_eq(sum, sizes[i]);
    }
}

Test(stripe, extents_that_break_the_rules_are_refused)
{
    Pb__Extent good = extent_of(5 * MIB, 4, 2, 4 * MIB), e;
    Pb__Handoff handoff = PB__HANDOFF__INIT, *handoffs[] = {&handoff};
    Pb__Lost lost = PB__LOST__INIT, *losts[] = {&lost};
#define REFUSED(change)                                                                                                \
    do {                                                                                                               \
        e = good;                                                                                                      \
        change;                                                                                                        \
        cr_assert_eq(extent_check(&e), E_CORRUPT, #change);                                                            \
    } while (0)
    REFUSED(e.size = 0);
    REFUSED(e.k = 0);
    REFUSED(e.k = 33);
    REFUSED(e.m = 29);
    REFUSED(e.m = UINT32_MAX);
    REFUSED(e.write_id.len = 11);
    REFUSED(e.stripe_bytes = 0);
    REFUSED(e.stripe_bytes = 4097);
    REFUSED(e.stripe_bytes = UINT32_MAX);
    REFUSED(e.size = UINT64_MAX);
    good.handoffs = handoffs;
    good.n_handoffs = 1;
    good.lost = losts;
    good.n_lost = 1;
    cr_assert_eq(extent_check(&good), 0);
    REFUSED(handoff.stripe = 2);
    handoff.stripe = 1;
    REFUSED(handoff.fragment = 6);
    handoff.fragment = 5;
    REFUSED(lost.stripe = 2);
    lost.stripe = 0;
    REFUSED(lost.fragment = 6);
    lost.fragment = 0;
    cr_assert_eq(extent_check(&good), 0);
}

Test(stripe, a_fragment_with_two_handoffs_is_refused)
{
    Pb__Extent e = extent_of(17 * MIB, 4, 2, 4 * MIB);
    Pb__Handoff h[64], *list[64];
    size_t n = 0;
    for (uint32_t s = extent_stripes(&e); s-- > 0;) /* as when the last stripe ends first */
        for (uint32_t f = 0; f < 6; f++) {
            pb__handoff__init(&h[n]);
            h[n].stripe = s;
            h[n].fragment = f;
            list[n] = &h[n];
            n++;
        }
    e.handoffs = list;
    e.n_handoffs = n;
    cr_assert_eq(extent_check(&e), 0);
    for (size_t i = 1; i < n; i++) {
        list[0] = &h[i]; /* a second time, and never too long a list */
        cr_assert_eq(extent_check(&e), E_CORRUPT, "at %zu", i);
    }
    list[0] = &h[0];
    list[n] = &h[0];
    e.n_handoffs = n + 1;
    cr_assert_eq(extent_check(&e), E_CORRUPT);
}

Test(stripe, ids_are_write_id_stripe_fragment)
{
    uint8_t id[FRAG_ID_BYTES];
    frag_id(id_bytes, 0x01020304, 9, id);
    static const uint8_t want[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 1, 2, 3, 4, 9};
    cr_assert_arr_eq(id, want, FRAG_ID_BYTES);
}
