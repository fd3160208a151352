/* ring_quota - how many places each store gets: spread first, then weight.
 *
 * Zones, nodes and stores form a tree. From the numbers of stores alone follows the most places that one zone, then one
 * node, must take in a row. These caps bound how far weight can be honoured; within them the places are shared out in
 * proportion to weight, from zones down to stores, in whole numbers by largest remainder ("water filling"). Such quotas
 * can always be met exactly: lay the stores on a line with their quotas as lengths and give PG p the points p, p+n,
 * p+2n, ...; no store is hit twice and no zone more often than its cap. */
#include "placement/ring_internal.h"
#include "common/err.h"
#include <stdlib.h>

/* One member of a sharing-out: a zone, a node or a store. */
struct share {
    uint64_t weight; /* scaled below 2^40 */
    uint64_t cap, quota, remainder;
    unsigned first, count; /* its stores in order[] */
    bool full;
};

static int by_remainder(const void *a, const void *b)
{
    const struct share *x = *(const struct share *const *)a, *y = *(const struct share *const *)b;
    if (x->remainder != y->remainder)
        return x->remainder < y->remainder ? 1 : -1;
    return x->first < y->first ? -1 : 1;
}

/* Members whose share would pass their cap are filled to it, until none is left. */
static void fill_capped(struct share *s, unsigned n, uint64_t *amount, uint64_t *weight)
{
    for (bool again = true; again;) {
        again = false;
        for (unsigned i = 0; i < n; i++) {
            if (s[i].full || *weight == 0 || *amount * s[i].weight / *weight < s[i].cap)
                continue;
            s[i].full = again = true;
            s[i].quota = s[i].cap;
            *amount -= s[i].cap;
            *weight -= s[i].weight;
        }
    }
}

/* Shares amount out over n members; the caps sum to amount at least. */
static void share_out(struct share *s, unsigned n, uint64_t amount, struct share **scratch)
{
    uint64_t weight = 0;
    for (unsigned i = 0; i < n; i++)
        weight += s[i].weight;
    fill_capped(s, n, &amount, &weight);
    unsigned open = 0;
    uint64_t given = 0;
    for (unsigned i = 0; i < n; i++) {
        if (s[i].full)
            continue;
        s[i].quota = amount * s[i].weight / weight;
        s[i].remainder = amount * s[i].weight % weight;
        given += s[i].quota;
        scratch[open++] = &s[i];
    }
    qsort(scratch, open, sizeof *scratch, by_remainder);
    assert(amount - given <= open);
    for (unsigned i = 0; i < amount - given; i++)
        scratch[i]->quota++;
}

/* Splits [first, first+count) of order into runs that agree in zone (level 0), node (1) or are one store (2). */
static unsigned split(const struct ring_store *stores, const uint16_t *order, unsigned first, unsigned count, int level,
                      struct share *ret)
{
    unsigned n = 0;
    for (unsigned i = first; i < first + count; i++) {
        const struct ring_store *a = &stores[order[i]], *b = i > first ? &stores[order[i - 1]] : NULL;
        bool same = b && level < 2 && a->zone == b->zone && (level == 0 || a->node == b->node);
        if (!same)
            ret[n++] = (struct share){.first = i};
        ret[n - 1].count++;
    }
    return n;
}

/* The least cap on each part so that the parts together still hold `width`; size[i] is what part i holds at most. */
static unsigned least_cap(const unsigned *size, unsigned n, unsigned width)
{
    for (unsigned cap = 1; cap < width; cap++) {
        unsigned holds = 0;
        for (unsigned i = 0; i < n; i++)
            holds += MIN_OF(size[i], cap);
        if (holds >= width)
            return cap;
    }
    return width;
}

struct quota_run {
    const struct ring_store *stores;
    const uint16_t *order;
    unsigned live, width, shift;
    uint32_t pg_count;
    unsigned zone_most, node_most;
    struct share *level[3]; /* room for `live` members each */
    struct share **scratch;
    unsigned *size;
};

/* How many places of one row the stores [first, first+count) can take under the caps. */
static unsigned holds(struct quota_run *q, unsigned first, unsigned count, struct share *room)
{
    unsigned n = split(q->stores, q->order, first, count, 1, room), sum = 0;
    for (unsigned i = 0; i < n; i++)
        sum += MIN_OF(room[i].count, q->node_most);
    return MIN_OF(sum, q->zone_most);
}

static void find_caps(struct quota_run *q)
{
    unsigned n = split(q->stores, q->order, 0, q->live, 0, q->level[0]);
    for (unsigned i = 0; i < n; i++)
        q->size[i] = q->level[0][i].count;
    q->zone_most = least_cap(q->size, n, q->width);
    for (q->node_most = 1; q->node_most < q->width; q->node_most++) {
        unsigned sum = 0;
        for (unsigned i = 0; i < n; i++)
            sum += holds(q, q->level[0][i].first, q->level[0][i].count, q->level[1]);
        if (sum >= q->width)
            break;
    }
}

/* Weights and caps of the members of one level. */
static void weigh(struct quota_run *q, struct share *s, unsigned n, int level)
{
    for (unsigned i = 0; i < n; i++) {
        for (unsigned j = s[i].first; j < s[i].first + s[i].count; j++)
            s[i].weight += MAX_OF(q->stores[q->order[j]].weight >> q->shift, 1);
        uint64_t places = level == 0   ? holds(q, s[i].first, s[i].count, q->level[2])
                          : level == 1 ? MIN_OF(s[i].count, q->node_most)
                                       : 1;
        s[i].cap = places * q->pg_count;
    }
}

static void share_level(struct quota_run *q, int level, unsigned first, unsigned count, uint64_t amount, uint32_t *ret)
{
    struct share *s = q->level[level];
    unsigned n = split(q->stores, q->order, first, count, level, s);
    weigh(q, s, n, level);
    share_out(s, n, amount, q->scratch);
    for (unsigned i = 0; i < n; i++) {
        if (level == 2)
            ret[q->order[s[i].first]] = (uint32_t)s[i].quota;
        else
            share_level(q, level + 1, s[i].first, s[i].count, s[i].quota, ret);
    }
}

int ring_quota(const struct ring_store *stores, const uint16_t *order, unsigned live, unsigned width, uint32_t pg_count,
               struct ring_quota *ret)
{
    struct quota_run q = {.stores = stores, .order = order, .live = live, .width = width, .pg_count = pg_count};
    uint64_t heaviest = 0;
    for (unsigned i = 0; i < live; i++)
        heaviest = MAX_OF(heaviest, stores[order[i]].weight);
    while (heaviest >> q.shift >= UINT64_C(1) << 24) /* so that amount * weight fits 64 bits */
        q.shift++;
    struct share *room = calloc(3 * (size_t)live, sizeof *room);
    q.scratch = calloc(live, sizeof *q.scratch);
    q.size = calloc(live, sizeof *q.size);
    int err = room && q.scratch && q.size ? 0 : -ENOMEM;
    if (!err) {
        for (int i = 0; i < 3; i++)
            q.level[i] = room + (size_t)i * live;
        find_caps(&q);
        share_level(&q, 0, 0, live, (uint64_t)width * pg_count, ret->store);
        ret->zone_most = q.zone_most;
        ret->node_most = q.node_most;
    }
    free(q.size);
    free(q.scratch);
    free(room);
    return err;
}
