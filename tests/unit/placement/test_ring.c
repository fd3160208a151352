/* The ring keeps its promises: distinct stores, spread, weights, little movement, and a table that survives its map. */
#include "placement/ring.h"
#include "common/err.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define STORES_MOST 160

struct world {
    struct ring_store stores[STORES_MOST];
    unsigned count;
};

static struct world world_of(unsigned zones, unsigned nodes_each, unsigned stores_each)
{
    struct world w = {0};
    for (unsigned z = 0; z < zones; z++) {
        for (unsigned n = 0; n < nodes_each; n++) {
            for (unsigned s = 0; s < stores_each; s++, w.count++)
                w.stores[w.count] = (struct ring_store){
                    .key = 77 + w.count * UINT64_C(0x9e3779b97f4a7c15), .weight = 100, .zone = z, .node = n};
        }
    }
    return w;
}

static void loads(const struct ring *r, uint32_t *load)
{
    memset(load, 0, STORES_MOST * sizeof *load);
    for (size_t i = 0; i < (size_t)r->pg_count * r->width; i++)
        load[r->table[i]]++;
}

/* Every row has distinct live stores, and no more of a zone or node than must be. */
static void check_rows(const struct world *w, const struct ring *r, unsigned zone_most, unsigned node_most)
{
    for (uint32_t pg = 0; pg < r->pg_count; pg++) {
        const uint16_t *row = ring_row(r, pg);
        for (unsigned i = 0; i < r->width; i++) {
            unsigned zone = 0, node = 0, same = 0;
            cr_assert_lt(row[i], w->count);
            const struct ring_store *a = &w->stores[row[i]];
            cr_assert_gt(a->weight, 0);
            for (unsigned j = 0; j < r->width; j++) {
                const struct ring_store *b = &w->stores[row[j]];
                same += row[i] == row[j];
                zone += a->zone == b->zone;
                node += a->zone == b->zone && a->node == b->node;
            }
            cr_assert_eq(same, 1, "store %u stands twice in row %u", row[i], pg);
            cr_assert_leq(zone, zone_most, "row %u: %u in one zone", pg, zone);
            cr_assert_leq(node, node_most, "row %u: %u in one node", pg, node);
        }
    }
}

/* The worst distance from a store's share by weight, in percent. Only where spread does not cap the weights. */
static double worst_percent(const struct world *w, const struct ring *r)
{
    uint32_t load[STORES_MOST];
    loads(r, load);
    double sum = 0, worst = 0;
    for (unsigned i = 0; i < w->count; i++)
        sum += (double)w->stores[i].weight;
    for (unsigned i = 0; i < w->count; i++) {
        double share = (double)w->stores[i].weight / sum * r->pg_count * r->width;
        double off = share > 0 ? (load[i] > share ? load[i] - share : share - load[i]) * 100 / share : load[i];
        worst = off > worst ? off : worst;
    }
    return worst;
}

struct shape {
    unsigned zones, nodes, stores, width;
    unsigned zone_most, node_most;
};
static const struct shape shapes[] = {
    {1, 1, 1, 1, 1, 1},     {1, 1, 2, 2, 2, 2},  {1, 1, 3, 3, 3, 3},  {1, 1, 5, 4, 4, 4},   {1, 1, 7, 6, 6, 6},
    {1, 1, 12, 11, 11, 11}, {1, 1, 64, 6, 6, 6}, {3, 1, 4, 6, 2, 2},  {3, 2, 4, 6, 2, 1},   {4, 3, 3, 6, 2, 1},
    {2, 2, 3, 6, 3, 2},     {6, 1, 2, 6, 1, 1},  {5, 2, 6, 11, 3, 2}, {3, 4, 12, 12, 4, 1},
};

Test(ring, every_shape_is_spread_and_balanced)
{
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        const struct shape *s = &shapes[i];
        struct world w = world_of(s->zones, s->nodes, s->stores);
        struct ring r;
        cr_assert_eq(ring_build(w.stores, w.count, s->width, ring_pg_count(w.count, s->width), NULL, &r), 0);
        check_rows(&w, &r, s->zone_most, s->node_most);
        double worst = worst_percent(&w, &r);
        printf("%u zones x %u nodes x %u stores, width %u: %u PGs, worst %.2f %% off\n", s->zones, s->nodes, s->stores,
               s->width, r.pg_count, worst);
        cr_assert_lt(worst, 3.0);
        ring_fini(&r);
    }
}

Test(ring, weights_are_followed_within_three_percent)
{
    struct world w = world_of(1, 1, 20);
    for (unsigned i = 0; i < w.count; i++)
        w.stores[i].weight = UINT64_C(1000000000000) * (1 + i % 4);
    struct ring r;
    cr_assert_eq(ring_build(w.stores, w.count, 6, 4096, NULL, &r), 0);
    check_rows(&w, &r, 6, 6);
    cr_assert_lt(worst_percent(&w, &r), 3.0);
    ring_fini(&r);
}

Test(ring, a_store_too_heavy_for_its_share_takes_every_row_once)
{
    struct world w = world_of(1, 1, 5);
    w.stores[2].weight = 100000;
    struct ring r;
    cr_assert_eq(ring_build(w.stores, w.count, 3, 1024, NULL, &r), 0);
    check_rows(&w, &r, 3, 3);
    uint32_t load[STORES_MOST];
    loads(&r, load);
    cr_assert_eq(load[2], 1024);
    for (unsigned i = 0; i < 5; i++)
        cr_assert(i == 2 || load[i] == 512);
    ring_fini(&r);
}

Test(ring, too_few_stores_fail)
{
    struct world w = world_of(1, 1, 6);
    struct ring r;
    cr_assert_eq(ring_build(w.stores, 5, 6, 1024, NULL, &r), E_QUORUM);
    w.stores[3].weight = 0;
    cr_assert_eq(ring_build(w.stores, 6, 6, 1024, NULL, &r), E_QUORUM);
    cr_assert_eq(ring_build(w.stores, 0, 6, 1024, NULL, &r), -EINVAL);
    cr_assert_eq(ring_build(w.stores, 6, 0, 1024, NULL, &r), -EINVAL);
    cr_assert_eq(ring_build(w.stores, 6, 33, 1024, NULL, &r), -EINVAL);
    cr_assert_eq(ring_build(w.stores, 6, 6, 0, NULL, &r), -EINVAL);
}

Test(ring, the_same_input_gives_the_same_table)
{
    struct world w = world_of(3, 2, 3);
    struct ring a, b;
    cr_assert_eq(ring_build(w.stores, w.count, 6, 1024, NULL, &a), 0);
    cr_assert_eq(ring_build(w.stores, w.count, 6, 1024, NULL, &b), 0);
    cr_assert_eq(ring_moves(&a, &b), 0);
    ring_fini(&b);
    cr_assert_eq(ring_build(w.stores, w.count, 6, 1024, &a, &b), 0);
    cr_assert_eq(ring_moves(&a, &b), 0, "nothing changed, so nothing moves");
    ring_fini(&a);
    ring_fini(&b);
}

static void check_movement(struct world *before, struct world *after, unsigned width, uint32_t pgs, double share,
                           const char *what)
{
    struct ring a, b;
    cr_assert_eq(ring_build(before->stores, before->count, width, pgs, NULL, &a), 0);
    cr_assert_eq(ring_build(after->stores, after->count, width, pgs, &a, &b), 0);
    uint64_t moved = ring_moves(&a, &b);
    double least = share * pgs * width;
    printf("%s: moved %lu of %u places; its share is %.0f\n", what, (unsigned long)moved, pgs * width, least);
    cr_assert_geq((double)moved, least * 0.97);
    cr_assert_leq((double)moved, least * 1.10 + after->count);
    cr_assert_lt(worst_percent(after, &b), 3.0);
    ring_fini(&a);
    ring_fini(&b);
}

Test(ring, adding_and_removing_moves_little_more_than_the_share)
{
    static const unsigned counts[] = {8, 12, 20, 48};
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        unsigned n = counts[i];
        struct world small = world_of(1, 1, n), large = world_of(1, 1, n + 1), less = small;
        char what[64];
        snprintf(what, sizeof what, "%u stores and one more", n);
        check_movement(&small, &large, 6, 2048, 1.0 / (n + 1), what);
        less.stores[n / 2].weight = 0;
        snprintf(what, sizeof what, "%u stores and one less", n);
        check_movement(&small, &less, 6, 2048, 1.0 / n, what);
    }
    struct world zoned = world_of(3, 2, 4), gone = zoned;
    gone.stores[5].weight = 0;
    struct ring a, b;
    cr_assert_eq(ring_build(zoned.stores, zoned.count, 6, 2048, NULL, &a), 0);
    cr_assert_eq(ring_build(gone.stores, gone.count, 6, 2048, &a, &b), 0);
    check_rows(&gone, &b, 2, 1);
    printf("3 zones x 2 nodes x 4 stores and one less: moved %lu; its share is %u\n", (unsigned long)ring_moves(&a, &b),
           2048 * 6 / 24);
    cr_assert_leq(ring_moves(&a, &b), 2048 * 6 / 24 * 11 / 10 + gone.count);
    ring_fini(&a);
    ring_fini(&b);
}

Test(ring, a_long_history_keeps_spread_and_balance)
{
    struct world w = world_of(3, 4, 6);
    struct ring r, next;
    cr_assert_eq(ring_build(w.stores, w.count, 6, 2048, NULL, &r), 0);
    for (unsigned i = 0; i < 12; i++) {
        w.stores[(i * 29) % w.count].weight = i % 3 == 2 ? 150 : 0;
        cr_assert_eq(ring_build(w.stores, w.count, 6, 2048, &r, &next), 0);
        check_rows(&w, &next, 2, 1);
        ring_fini(&r);
        r = next;
    }
    ring_fini(&r);
}

Test(ring, spares_are_other_stores_than_the_row)
{
    struct world w = world_of(1, 1, 9);
    struct ring r;
    cr_assert_eq(ring_build(w.stores, w.count, 6, 1024, NULL, &r), 0);
    for (uint32_t pg = 0; pg < r.pg_count; pg++) {
        uint16_t spare[8];
        unsigned n = ring_spares(&r, pg, spare, 8), seen = 0;
        cr_assert_eq(n, 3);
        for (unsigned i = 0; i < r.width; i++)
            seen |= 1U << ring_row(&r, pg)[i];
        for (unsigned i = 0; i < n; i++)
            seen |= 1U << spare[i];
        cr_assert_eq(seen, 0x1ff);
    }
    ring_fini(&r);
}

Test(ring, stripes_fall_evenly_on_pgs)
{
    struct ring r = {.pg_count = 1024, .width = 1};
    uint32_t hits[1024] = {0};
    uint8_t id[16] = {9, 8, 7};
    for (uint32_t i = 0; i < 1024 * 200; i++) {
        put_be32(id + 12, i % 1000);
        put_be32(id + 4, i / 1000);
        hits[ring_pg(&r, id)]++;
    }
    for (unsigned i = 0; i < 1024; i++)
        cr_assert(hits[i] > 120 && hits[i] < 280, "PG %u: %u stripes of 200", i, hits[i]);
}

static Pb__Map map_of(struct ring *r, Pb__MapStore *stores, Pb__MapStore **list, unsigned n, uint8_t *table)
{
    for (unsigned i = 0; i < n; i++) {
        pb__map_store__init(&stores[i]);
        stores[i].index = i;
        stores[i].weight = 10;
        list[i] = &stores[i];
    }
    Pb__Map map = PB__MAP__INIT;
    map.k = r->width - 1;
    map.m = 1;
    map.stores = list;
    map.n_stores = n;
    map.pg_count = r->pg_count;
    map.pg_table.data = table;
    map.pg_table.len = ring_bytes(r);
    ring_encode(r, table);
    return map;
}

Test(ring, a_table_survives_its_map_and_a_broken_one_is_refused)
{
    struct world w = world_of(1, 1, 7);
    struct ring r, back;
    cr_assert_eq(ring_build(w.stores, w.count, 4, 1024, NULL, &r), 0);
    Pb__MapStore stores[7], *list[7];
    uint8_t *table = malloc(ring_bytes(&r));
    Pb__Map map = map_of(&r, stores, list, 7, table);
    cr_assert_eq(ring_decode(&map, &back), 0);
    cr_assert_eq(ring_moves(&r, &back), 0);
    ring_fini(&back);
    table[1] = 7; /* no such store */
    cr_assert_eq(ring_decode(&map, &back), E_CORRUPT);
    table[1] = table[3]; /* twice in a row */
    cr_assert_eq(ring_decode(&map, &back), E_CORRUPT);
    ring_encode(&r, table);
    map.pg_table.len -= 2;
    cr_assert_eq(ring_decode(&map, &back), E_CORRUPT);
    map.pg_table.len += 2;
    map.k = 0;
    cr_assert_eq(ring_decode(&map, &back), E_CORRUPT);
    map.k = 3;
    map.m = UINT32_MAX;
    cr_assert_eq(ring_decode(&map, &back), E_CORRUPT);
    free(table);
    ring_fini(&r);
}

Test(ring, zones_and_nodes_are_told_apart_by_their_texts)
{
    Pb__MapStore s[5], *list[5];
    static char *const zones[] = {"a", "b", "a", "", ""}, *const nodes[] = {"n1", "n2", "n1", "", ""};
    for (unsigned i = 0; i < 5; i++) {
        pb__map_store__init(&s[i]);
        s[i].zone = zones[i];
        s[i].node = nodes[i];
        s[i].weight = 1;
        list[i] = &s[i];
    }
    Pb__Map map = PB__MAP__INIT;
    map.stores = list;
    map.n_stores = 5;
    struct ring_store ret[5];
    ring_stores_of(&map, ret);
    cr_assert(ret[0].zone == ret[2].zone && ret[0].zone != ret[1].zone && ret[3].zone == ret[4].zone);
    cr_assert(ret[0].node == ret[2].node && ret[0].node != ret[1].node && ret[3].node != ret[4].node);
}
