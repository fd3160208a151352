/* ring - the build of the PG table.
 *
 * Quotas say how many places each store gets (ring_quota.c). The table before is kept where it may be; holes are filled
 * by rendezvous order; then stores with more than their quota hand places on to stores with less, over the shortest
 * chain of replacements (an augmenting path), one place a time. Hard rules hold at every step: a row has distinct
 * stores and never more than the caps in one zone or node. Quotas are the goal, and are met save for odd shapes where
 * no chain of single replacements leads there. */
#include "placement/ring_internal.h"
#include "common/err.h"
#include "common/xxh.h"
#include <stdlib.h>

#define NO_STORE    UINT16_MAX
#define SEED_PREFER 1
#define SEED_ORDER  2

struct build {
    const struct ring_store *stores;
    unsigned count, width, live;
    uint32_t pg_count;
    uint16_t *order; /* live stores by zone, node, key */
    uint16_t *table;
    struct ring_quota quota;
    uint32_t *load; /* places of each store now */
    /* the search for a chain: how each store was reached */
    uint16_t *from;
    uint32_t *via; /* the place (pg * width + position) that changes hands */
    bool *seen;
    uint16_t *queue;
};

/* ---- what is preferred ---- */

static uint64_t hash_of(uint32_t pg, uint64_t key, uint64_t seed)
{
    uint8_t text[12];
    put_be64(text, key);
    put_be32(text + 8, pg);
    return xxh64of(text, sizeof text, seed);
}

/* -log2(h / 2^64) with 16 fraction bits, in whole numbers so that every machine agrees. */
static uint64_t minus_log2(uint64_t h)
{
    h |= 1;
    unsigned zeros = (unsigned)__builtin_clzll(h);
    uint64_t x = h << zeros >> 32, fraction = 0; /* 1.31 fixed point in [1, 2) */
    for (int bit = 0; bit < 16; bit++) {
        x = x * x >> 31;
        fraction <<= 1;
        if (x >> 32) {
            x >>= 1;
            fraction |= 1;
        }
    }
    return ((uint64_t)(zeros + 1) << 16) - fraction;
}

/* Weighted rendezvous: the least score wins; a store wins in proportion to its quota. */
static uint64_t score(const struct build *b, uint32_t pg, unsigned store)
{
    uint64_t far = minus_log2(hash_of(pg, b->stores[store].key, SEED_PREFER));
    return (far << 32) / MAX_OF(b->quota.store[store], 1);
}

/* ---- what is allowed ---- */

static bool live(const struct build *b, unsigned store)
{
    return store < b->count && b->stores[store].weight > 0;
}

/* May `store` stand at `place` of the row, as far as the other places go? */
static bool allowed(const struct build *b, const uint16_t *row, unsigned place, unsigned store)
{
    const struct ring_store *s = &b->stores[store];
    unsigned in_zone = 0, in_node = 0;
    for (unsigned i = 0; i < b->width; i++) {
        if (i == place || row[i] == NO_STORE)
            continue;
        if (row[i] == store)
            return false;
        const struct ring_store *o = &b->stores[row[i]];
        in_zone += o->zone == s->zone;
        in_node += o->zone == s->zone && o->node == s->node;
    }
    return in_zone < b->quota.zone_most && in_node < b->quota.node_most;
}

static void put(struct build *b, size_t place, uint16_t store)
{
    if (b->table[place] != NO_STORE)
        b->load[b->table[place]]--;
    b->table[place] = store;
    b->load[store]++;
}

/* ---- steps ---- */

static void keep_before(struct build *b, const struct ring *before)
{
    size_t places = (size_t)b->pg_count * b->width;
    memset(b->table, 0xff, places * sizeof *b->table);
    if (!before || before->width != b->width || before->pg_count != b->pg_count)
        return;
    for (size_t i = 0; i < places; i++) {
        uint16_t store = before->table[i];
        uint16_t *row = b->table + i / b->width * b->width;
        if (live(b, store) && allowed(b, row, (unsigned)(i % b->width), store))
            put(b, i, store);
    }
}

/* The preferred store for a hole: one with room in its quota, else any that is allowed. The caps leave one always: rows
 * under caps on zones and nodes are a matroid, every allowed part of a row can be completed. */
static uint16_t choose(const struct build *b, uint32_t pg, unsigned place)
{
    const uint16_t *row = b->table + (size_t)pg * b->width;
    uint16_t best[2] = {NO_STORE, NO_STORE};
    uint64_t least[2] = {UINT64_MAX, UINT64_MAX};
    for (unsigned i = 0; i < b->live; i++) {
        uint16_t store = b->order[i];
        bool over = b->load[store] >= b->quota.store[store];
        if ((over && best[0] != NO_STORE) || !allowed(b, row, place, store))
            continue;
        uint64_t s = score(b, pg, store);
        if (best[over] == NO_STORE || s < least[over]) {
            best[over] = store;
            least[over] = s;
        }
    }
    assert(best[0] != NO_STORE || best[1] != NO_STORE);
    return best[0] != NO_STORE ? best[0] : best[1];
}

/* A fresh row stands in preference order, which would give heavy stores more of the data places: shuffle by hash. */
static void shuffle(struct build *b, uint32_t pg)
{
    uint16_t *row = b->table + (size_t)pg * b->width;
    for (unsigned i = 1; i < b->width; i++) {
        uint16_t store = row[i];
        uint64_t h = hash_of(pg, b->stores[store].key, SEED_ORDER);
        unsigned j = i;
        for (; j > 0 && hash_of(pg, b->stores[row[j - 1]].key, SEED_ORDER) > h; j--)
            row[j] = row[j - 1];
        row[j] = store;
    }
}

static void fill_holes(struct build *b)
{
    for (uint32_t pg = 0; pg < b->pg_count; pg++) {
        unsigned filled = 0;
        for (unsigned place = 0; place < b->width; place++) {
            size_t at = (size_t)pg * b->width + place;
            if (b->table[at] != NO_STORE)
                continue;
            put(b, at, choose(b, pg, place));
            filled++;
        }
        if (filled == b->width)
            shuffle(b, pg);
    }
}

/* Looks at every place that `store` holds and notes the stores that could take it over. Returns one that has room. */
static uint16_t expand(struct build *b, uint16_t store, unsigned *tail)
{
    size_t places = (size_t)b->pg_count * b->width;
    size_t start = hash_of(0, b->stores[store].key, SEED_ORDER) % places;
    for (size_t n = 0; n < places; n++) {
        size_t at = start + n < places ? start + n : start + n - places;
        if (b->table[at] != store)
            continue;
        const uint16_t *row = b->table + at / b->width * b->width;
        for (unsigned i = 0; i < b->live; i++) {
            uint16_t next = b->order[i];
            if (b->seen[next] || !allowed(b, row, (unsigned)(at % b->width), next))
                continue;
            b->seen[next] = true;
            b->from[next] = store;
            b->via[next] = (uint32_t)at;
            b->queue[(*tail)++] = next;
            if (b->load[next] < b->quota.store[next])
                return next;
        }
    }
    return NO_STORE;
}

/* Breadth first from a store with too many places to one with too few. */
static uint16_t find_chain(struct build *b, uint16_t start)
{
    memset(b->seen, 0, b->count * sizeof *b->seen);
    unsigned head = 0, tail = 0;
    b->seen[start] = true;
    b->queue[tail++] = start;
    while (head < tail) {
        uint16_t end = expand(b, b->queue[head++], &tail);
        if (end != NO_STORE)
            return end;
    }
    return NO_STORE;
}

/* From the far end: each store on the chain hands one place to the next. Two hand-overs of one row may exclude each
 * other: then the rest of the chain is left for the next search. */
static void follow_chain(struct build *b, uint16_t start, uint16_t end)
{
    for (uint16_t store = end; store != start; store = b->from[store]) {
        size_t at = b->via[store];
        if (!allowed(b, b->table + at / b->width * b->width, (unsigned)(at % b->width), store))
            return;
        put(b, at, store);
    }
}

static void balance(struct build *b)
{
    size_t budget = 2 * (size_t)b->pg_count * b->width; /* no chain can go round for ever */
    for (unsigned i = 0; i < b->live; i++) {
        uint16_t store = b->order[i];
        while (b->load[store] > b->quota.store[store] && budget-- > 0) {
            uint16_t end = find_chain(b, store);
            if (end == NO_STORE)
                break;
            follow_chain(b, store, end);
        }
    }
}

/* ---- the whole ---- */

static _Thread_local const struct ring_store *sorted_stores; /* qsort has no context */

static int by_place(const void *a, const void *b)
{
    const struct ring_store *x = &sorted_stores[*(const uint16_t *)a], *y = &sorted_stores[*(const uint16_t *)b];
    if (x->zone != y->zone)
        return x->zone < y->zone ? -1 : 1;
    if (x->node != y->node)
        return x->node < y->node ? -1 : 1;
    return x->key < y->key ? -1 : x->key > y->key;
}

static void sort_live(struct build *b)
{
    for (unsigned i = 0; i < b->count; i++) {
        if (b->stores[i].weight)
            b->order[b->live++] = (uint16_t)i;
    }
    sorted_stores = b->stores;
    qsort(b->order, b->live, sizeof *b->order, by_place);
}

static int build_alloc(struct build *b)
{
    b->order = calloc(b->count, sizeof *b->order);
    b->quota.store = calloc(b->count, sizeof *b->quota.store);
    b->load = calloc(b->count, sizeof *b->load);
    b->from = calloc(b->count, sizeof *b->from);
    b->via = calloc(b->count, sizeof *b->via);
    b->seen = calloc(b->count, sizeof *b->seen);
    b->queue = calloc(b->count, sizeof *b->queue);
    b->table = calloc((size_t)b->pg_count * b->width, sizeof *b->table);
    bool all = b->order && b->quota.store && b->load && b->from && b->via && b->seen && b->queue && b->table;
    return all ? 0 : -ENOMEM;
}

static void build_fini(struct build *b)
{
    free(b->order);
    free(b->quota.store);
    free(b->load);
    free(b->from);
    free(b->via);
    free(b->seen);
    free(b->queue);
    free(b->table);
}

int ring_build(const struct ring_store *stores, unsigned count, unsigned width, uint32_t pg_count,
               const struct ring *before, struct ring *ret_ring)
{
    if (count == 0 || count > RING_STORES_MAX || width == 0 || width > RING_WIDTH_MAX || pg_count == 0 ||
        pg_count > RING_PGS_MAX)
        return -EINVAL;
    struct build b = {.stores = stores, .count = count, .width = width, .pg_count = pg_count};
    int err = build_alloc(&b);
    if (!err) {
        sort_live(&b);
        err = b.live < width ? E_QUORUM : ring_quota(stores, b.order, b.live, width, pg_count, &b.quota);
    }
    if (!err) {
        keep_before(&b, before);
        fill_holes(&b);
        balance(&b);
        *ret_ring = (struct ring){.pg_count = pg_count, .width = width, .table = b.table};
        b.table = NULL;
    }
    build_fini(&b);
    return err;
}
