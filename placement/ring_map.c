/* ring_map - a finished ring: looking up, comparing, and its form in the cluster's map. */
#include "placement/ring.h"
#include "common/err.h"
#include "common/xxh.h"
#include <stdlib.h>

#define PLACES_WANTED 128 /* a store's places: balance within 1 % of its share */

uint32_t ring_pg_count(unsigned store_count, unsigned width)
{
    uint32_t n = RING_PGS_LEAST;
    while (n < 4 * RING_PGS_LEAST && (uint64_t)n * width < (uint64_t)store_count * PLACES_WANTED)
        n *= 2;
    return n;
}

void ring_fini(struct ring *r)
{
    free(r->table);
    *r = (struct ring){0};
}

uint32_t ring_pg(const struct ring *r, const uint8_t id[16])
{
    assert(r->pg_count > 0);
    return (uint32_t)((xxh64of(id, 16, 0) >> 32) * r->pg_count >> 32); /* even over PGs without a division */
}

static bool contains(const uint16_t *list, unsigned n, uint16_t store)
{
    for (unsigned i = 0; i < n; i++) {
        if (list[i] == store)
            return true;
    }
    return false;
}

unsigned ring_spares(const struct ring *r, uint32_t pg, uint16_t *ret_stores, unsigned cap)
{
    const uint16_t *row = ring_row(r, pg);
    unsigned n = 0;
    /* Far more rows than needed to meet every store of a small ring; a large one fills cap within a few rows. */
    uint32_t rows = MIN_OF(r->pg_count - 1, 256);
    for (uint32_t i = 1; i <= rows && n < cap; i++) {
        const uint16_t *other = ring_row(r, (pg + i) % r->pg_count);
        for (unsigned j = 0; j < r->width && n < cap; j++) {
            if (!contains(row, r->width, other[j]) && !contains(ret_stores, n, other[j]))
                ret_stores[n++] = other[j];
        }
    }
    return n;
}

uint64_t ring_moves(const struct ring *a, const struct ring *b)
{
    assert(a->pg_count == b->pg_count && a->width == b->width);
    uint64_t moves = 0;
    for (size_t i = 0; i < (size_t)a->pg_count * a->width; i++)
        moves += a->table[i] != b->table[i];
    return moves;
}

void ring_encode(const struct ring *r, uint8_t *ret)
{
    for (size_t i = 0; i < (size_t)r->pg_count * r->width; i++) {
        ret[2 * i] = (uint8_t)(r->table[i] >> 8);
        ret[2 * i + 1] = (uint8_t)r->table[i];
    }
}

int ring_decode(const Pb__Map *map, struct ring *ret_ring)
{
    if (map->k == 0 || map->k > RING_WIDTH_MAX || map->m > RING_WIDTH_MAX - map->k || map->pg_count == 0 ||
        map->pg_count > RING_PGS_MAX || map->n_stores > RING_STORES_MAX)
        return E_CORRUPT;
    struct ring r = {.pg_count = map->pg_count, .width = map->k + map->m};
    if (map->pg_table.len != ring_bytes(&r))
        return E_CORRUPT;
    r.table = malloc(ring_bytes(&r));
    if (!r.table)
        return -ENOMEM;
    for (size_t i = 0; i < (size_t)r.pg_count * r.width; i++) {
        const uint8_t *p = map->pg_table.data + 2 * i;
        uint16_t store = (uint16_t)(p[0] << 8 | p[1]);
        size_t place = i % r.width;
        if (store >= map->n_stores || contains(r.table + i - place, (unsigned)place, store)) {
            ring_fini(&r);
            return E_CORRUPT;
        }
        r.table[i] = store;
    }
    *ret_ring = r;
    return 0;
}

void ring_stores_of(const Pb__Map *map, struct ring_store *ret)
{
    for (uint32_t i = 0; i < map->n_stores; i++) {
        const Pb__MapStore *s = map->stores[i];
        ret[i] =
            (struct ring_store){.key = xxh64of(s->id.data, s->id.len, 0), .weight = s->weight, .zone = i, .node = i};
        for (uint32_t j = i; j-- > 0;) {
            if (strcmp(map->stores[j]->zone, s->zone) == 0)
                ret[i].zone = ret[j].zone;
            if (s->node[0] && strcmp(map->stores[j]->node, s->node) == 0)
                ret[i].node = ret[j].node;
        }
    }
}
