/* The client against a node of memory: every size and code comes back whole, tapped once in order, with the fragments
 * where the map says. */
#include "common/err.h"
#include "common/metrics.h"
#include "replication/quorum.h"
#include "tests/lib/client_rig.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static const uint64_t sizes[] = {1,       4096,        64 * KIB, 64 * KIB + 1, 200 * KIB + 7,
                                 1 * MIB, 4 * MIB - 1, 4 * MIB,  4 * MIB + 1,  9 * MIB};
static const struct rig_conf codes[] = {
    {1, 0, 1, 0, 0}, {1, 1, 2, 0, 0}, {2, 1, 3, 0, 0},  {2, 2, 4, 0, 0},
    {4, 2, 6, 0, 0}, {4, 2, 9, 0, 0}, {8, 3, 12, 0, 0}, {3, 2, 5, 0, 0},
};
static uint8_t bytes[12 * MIB];

static void fill_bytes(void)
{
    rig_fill(bytes, sizeof bytes, 1);
}
TestSuite(client, .init = fill_bytes);

/* The whole, its edges, and places around cells and stripes. */
static void check_ranges(struct rig *r, const struct rig_put *put, uint64_t size)
{
    const uint64_t places[] = {0, 1, 4095, 64 * KIB - 1, 64 * KIB, MIB - 3, 4 * MIB - 2, size / 2, size - 1};
    const uint64_t lengths[] = {1, 5, 64 * KIB, 130 * KIB};
    uint64_t n;
    cr_assert_eq(rig_get(r, put, 0, size, bytes, &n), 0);
    cr_assert_eq(n, size);
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        for (size_t j = 0; j < ARRAY_LEN(lengths); j++) {
            if (places[i] >= size)
                continue;
            uint64_t length = MIN_OF(lengths[j], size - places[i]);
            cr_assert_eq(rig_get(r, put, places[i], length, bytes + places[i], &n), 0);
            cr_assert_eq(n, length);
        }
    }
}

Test(client, every_size_and_code_comes_back_whole)
{
    for (size_t c = 0; c < ARRAY_LEN(codes); c++) {
        struct rig r;
        rig_open(&r, &codes[c]);
        for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
            struct rig_put put;
            r.peer->fills_into = i % 2;
            cr_assert_eq(rig_put(&r, &put, bytes, sizes[i]), 0);
            cr_assert_eq(put.object.size, sizes[i]);
            cr_assert_eq(put.tapped, sizes[i]);
            cr_assert_eq(put.tap_hash, rig_hash(bytes, sizes[i]), "the tap saw other bytes, or out of order");
            cr_assert_eq(put.extents[0]->n_lost + put.extents[0]->n_handoffs, 0);
            check_ranges(&r, &put, sizes[i]);
            rig_put_free(&r, &put, true);
        }
        rig_close(&r);
    }
}

/* Each fragment must be at its home and be what the codec says. */
Test(client, fragments_stand_where_the_map_says_with_what_the_code_says)
{
    struct rig r;
    struct rig_put put;
    rig_open(&r, &codes[5]);
    cr_assert_eq(rig_put(&r, &put, bytes, 4 * MIB + 20000), 0);
    const Pb__Extent *e = put.extents[0];
    struct codec *codec;
    cr_assert_eq(codec_create(4, 2, &codec), 0);
    uint64_t total = 0;
    for (uint32_t s = 0; s < extent_stripes(e); s++) {
        struct stripe shape = extent_stripe(e, s);
        uint8_t id[FRAG_ID_BYTES];
        uint8_t *cells[6], *parity[2];
        for (unsigned f = 0; f < 6; f++)
            cells[f] = calloc(1, shape.cell);
        for (unsigned f = 0; f < shape.data_count; f++)
            memcpy(cells[f], bytes + s * 4 * MIB + f * shape.cell, MIN_OF(shape.cell, shape.length - f * shape.cell));
        parity[0] = cells[4];
        parity[1] = cells[5];
        codec_encode(codec, shape.cell, (const uint8_t *const *)cells, parity);
        for (unsigned f = 0; f < 6; f++) {
            frag_id(e->write_id.data, s, f, id);
            size_t len = 0;
            const uint8_t *got =
                peer_mem_find(r.peer, ring_row(&r.peer->rings[0], ring_pg(&r.peer->rings[0], id))[f], id, &len);
            cr_assert_eq(got != NULL, stripe_has(&shape, f));
            cr_assert(!got || (len == shape.cell && memcmp(got, cells[f], len) == 0));
            total += got != NULL;
            free(cells[f]);
        }
    }
    cr_assert_eq(total, r.peer->frag_count);
    codec_destroy(codec);
    rig_put_free(&r, &put, true);
    rig_close(&r);
}

Test(client, small_objects_are_inlined_when_they_may_be)
{
    static const struct {
        uint64_t size, expected;
        bool may, inlined;
    } cases[] = {
        {0, 0, true, true},
        {1, 1, true, true},
        {64 * KIB, 64 * KIB, true, true},
        {64 * KIB + 1, 64 * KIB + 1, true, false},
        {64 * KIB, UINT64_MAX, true, true},
        {1, 1, false, false},
        {0, 1, false, false},
    };
    struct rig r;
    rig_open(&r, &codes[4]);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rig_put put;
        rig_put_start(&r, &put,
                      &(struct rig_put_conf){
                          .p = bytes, .n = cases[i].size, .expected = cases[i].expected, .may_inline = cases[i].may});
        rig_until(&r, &put.done);
        cr_assert_eq(put.err, 0);
        cr_assert_eq(put.object.size, cases[i].size);
        cr_assert_eq(put.inline_data.len, cases[i].inlined ? cases[i].size : 0);
        cr_assert_eq(put.object.n_extents, !cases[i].inlined && cases[i].size > 0);
        cr_assert_eq(put.tap_hash, rig_hash(bytes, cases[i].size));
        uint64_t n;
        cr_assert_eq(rig_get(&r, &put, 0, cases[i].size, bytes, &n), 0);
        cr_assert_eq(n, cases[i].size);
        if (cases[i].size > 2)
            cr_assert_eq(rig_get(&r, &put, 1, cases[i].size - 2, bytes + 1, NULL), 0);
        rig_put_free(&r, &put, true);
    }
    rig_close(&r);
}

Test(client, any_rhythm_of_filling_gives_the_same_object)
{
    static const size_t steps[] = {1000, 4096, 65537, 700001, 4 * MIB};
    static const uint64_t expectations[] = {5 * MIB + 11, UINT64_MAX, 1, 100000, 9 * MIB};
    struct rig r;
    rig_open(&r, &codes[4]);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct rig_put put;
        rig_put_start(
            &r, &put,
            &(struct rig_put_conf){
                .p = bytes, .n = 5 * MIB + 11, .expected = expectations[i], .step = steps[i], .may_inline = true});
        rig_until(&r, &put.done);
        cr_assert_eq(put.err, 0);
        cr_assert_eq(put.tapped, 5 * MIB + 11);
        cr_assert_eq(put.tap_hash, rig_hash(bytes, 5 * MIB + 11));
        cr_assert_eq(rig_get(&r, &put, 0, 5 * MIB + 11, bytes, NULL), 0);
        rig_put_free(&r, &put, true);
    }
    rig_close(&r);
}

Test(client, a_range_reads_only_its_blocks)
{
    struct rig r;
    struct rig_put put;
    rig_open(&r, &codes[4]);
    cr_assert_eq(rig_put(&r, &put, bytes, 9 * MIB), 0);
    static const uint64_t cases[][3] = {{0, 1, 64 * KIB},
                                        {64 * KIB - 1, 2, 128 * KIB},
                                        {5 * MIB, 64 * KIB, 64 * KIB},
                                        {5 * MIB + 1, 64 * KIB, 128 * KIB},
                                        {3 * MIB + 100 * KIB, 1100 * KIB, 1152 * KIB}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        r.peer->read_bytes = 0;
        cr_assert_eq(rig_get(&r, &put, cases[i][0], cases[i][1], bytes + cases[i][0], NULL), 0);
        cr_assert_leq(r.peer->read_bytes, cases[i][2], "case %zu read %lu", i, (unsigned long)r.peer->read_bytes);
    }
    rig_put_free(&r, &put, true);
    rig_close(&r);
}

Test(client, any_m_lost_drives_are_read_around)
{
    for (size_t c = 0; c < ARRAY_LEN(codes); c++) {
        const struct rig_conf *conf = &codes[c];
        struct rig r;
        struct rig_put big, small;
        rig_open(&r, conf);
        cr_assert_eq(rig_put(&r, &big, bytes, 5 * MIB + 1), 0);
        cr_assert_eq(rig_put(&r, &small, bytes, 70000), 0);
        uint64_t decoded = metric_get(M_READ_DECODED, NULL);
        for (unsigned lost = 0; lost < 1U << conf->stores; lost++) {
            if ((unsigned)__builtin_popcount(lost) != conf->m || (conf->stores > 6 && lost % 5))
                continue;
            for (unsigned s = 0; s < conf->stores; s++) {
                static const enum peer_mode how[] = {PEER_FAIL, PEER_CORRUPT, PEER_LIE};
                r.peer->stores[s].mode = lost >> s & 1 ? how[(lost + s) % 3] : PEER_GOOD;
            }
            cr_assert_eq(rig_get(&r, &small, 0, 70000, bytes, NULL), 0);
            cr_assert_eq(rig_get(&r, &big, 0, 5 * MIB + 1, bytes, NULL), 0);
            cr_assert_eq(rig_get(&r, &big, 4 * MIB - 5, 70000, bytes + 4 * MIB - 5, NULL), 0);
        }
        cr_assert(conf->m == 0 || metric_get(M_READ_DECODED, NULL) > decoded);
        rig_put_free(&r, &big, true);
        rig_put_free(&r, &small, true);
        rig_close(&r);
    }
}

Test(client, more_than_m_lost_is_an_error_and_says_whether_it_may_pass)
{
    struct rig r;
    struct rig_put put;
    rig_open(&r, &codes[4]);
    cr_assert_eq(rig_put(&r, &put, bytes, 5 * MIB), 0);
    uint64_t n;
    for (unsigned s = 0; s < 3; s++)
        peer_mem_forget(r.peer, s);
    cr_assert_eq(rig_get(&r, &put, 0, 5 * MIB, bytes, &n), E_CORRUPT);
    r.peer->stores[3].mode = PEER_FAIL;
    r.peer->stores[3].err = E_UNAVAILABLE;
    cr_assert_eq(rig_get(&r, &put, 0, 5 * MIB, bytes, &n), E_UNAVAILABLE);
    rig_put_free(&r, &put, true);
    rig_close(&r);
}

Test(client, old_maps_are_fetched_once_and_new_ones_followed)
{
    static const struct rig_conf conf = {.k = 4, .m = 2, .stores = 9};
    struct rig r;
    struct rig_put old, fresh;
    rig_open(&r, &conf);
    cr_assert_eq(rig_put(&r, &old, bytes, 9 * MIB), 0);
    r.peer->stores[2].weight = 0;
    peer_mem_new_map(r.peer);
    client_close(r.client);
    rig_client(&r, &conf); /* this one starts now and knows only epoch 2 */
    unsigned gets = r.peer->map_gets;
    cr_assert_eq(rig_get(&r, &old, 0, 9 * MIB, bytes, NULL), 0);
    cr_assert_eq(rig_get(&r, &old, 5, 9 * MIB - 5, bytes + 5, NULL), 0);
    cr_assert_eq(r.peer->map_gets, gets + 1);
    cr_assert_eq(rig_put(&r, &fresh, bytes, MIB), 0);
    cr_assert_eq(fresh.extents[0]->map_epoch, 2);
    cr_assert_eq(rig_get(&r, &fresh, 0, MIB, bytes, NULL), 0);
    fresh.extents[0]->map_epoch = 7; /* no such map */
    cr_assert_eq(rig_get(&r, &fresh, 0, MIB, bytes, NULL), E_UNAVAILABLE);
    rig_put_free(&r, &fresh, true);
    rig_put_free(&r, &old, true);
    rig_close(&r);
}

Test(client, objects_that_contradict_themselves_are_refused)
{
    struct rig r;
    struct rig_put put;
    rig_open(&r, &codes[2]);
    cr_assert_eq(rig_put(&r, &put, bytes, 100000), 0);
    cr_assert_eq(rig_get(&r, &put, 0, 100001, bytes, NULL), -EINVAL);
    cr_assert_eq(rig_get(&r, &put, 100001, 0, bytes, NULL), -EINVAL);
    cr_assert_eq(rig_get(&r, &put, 100000, 0, bytes, NULL), 0);
    put.object.size = 100001;
    cr_assert_eq(rig_get(&r, &put, 0, 1, bytes, NULL), E_CORRUPT);
    put.object.size = 100000;
    put.extents[0]->k = 0;
    cr_assert_eq(rig_get(&r, &put, 0, 1, bytes, NULL), E_CORRUPT);
    put.extents[0]->k = 3; /* not the map's code */
    cr_assert_eq(rig_get(&r, &put, 0, 1, bytes, NULL), E_CORRUPT);
    rig_put_free(&r, &put, true);
    rig_close(&r);
}

Test(client, several_extents_and_an_inline_tail_read_as_one)
{
    struct rig r;
    struct rig_put a, b;
    rig_open(&r, &codes[4]);
    cr_assert_eq(rig_put(&r, &a, bytes, 5 * MIB), 0);
    cr_assert_eq(rig_put(&r, &b, bytes + 5 * MIB, 4 * MIB + 5), 0);
    struct rig_put whole = a;
    Pb__Extent *both[] = {a.extents[0], b.extents[0]};
    whole.object.extents = both;
    whole.object.n_extents = 2;
    whole.object.size = 9 * MIB + 5 + 1000;
    whole.inline_data = (struct str){(const char *)bytes + 9 * MIB + 5, 1000};
    cr_assert_eq(rig_get(&r, &whole, 0, whole.object.size, bytes, NULL), 0);
    cr_assert_eq(rig_get(&r, &whole, 5 * MIB - 10, 20, bytes + 5 * MIB - 10, NULL), 0);
    cr_assert_eq(rig_get(&r, &whole, 9 * MIB + 3, 900, bytes + 9 * MIB + 3, NULL), 0);
    rig_put_free(&r, &a, true);
    rig_put_free(&r, &b, true);
    rig_close(&r);
}
