/* ring - which stores hold the fragments of a placement group (PG): weighted, zone-aware consistent hashing that ends
 * in an explicit table, one row of `width` (k+m) distinct stores a PG.
 *
 * A pure function of the stores and of the table before: the same input gives the same table on every machine. Built
 * afresh, each PG prefers stores by weighted rendezvous hashing. Built from a table before, every place stays where it
 * is unless its store is gone or has more than its share, so a new or removed store moves little more than its share.
 * Spread comes before weight: a row uses as many zones, then nodes, as evenly as their numbers of stores allow; what is
 * left follows the weights. A store holds a PG at most once.
 * Thread: pure. Memory: a ring owns its table (ring_fini). Limits: RING_*. Errors: -EINVAL (limits), E_QUORUM (fewer
 * live stores than width), E_CORRUPT (a map that breaks its own rules), -ENOMEM.
 * Source: weighted rendezvous hashing (Thaler, Ravishankar 1998); quotas with repair by augmenting paths. */
#pragma once
#include "common/wire.pb-c.h"
#include "common/base.h"

#define RING_STORES_MAX 4096
#define RING_WIDTH_MAX  32
#define RING_PGS_MAX    65536
#define RING_PGS_LEAST  1024

/* A store's place in the array is its index for ever: one that leaves stays with weight 0. */
struct ring_store {
    uint64_t key;        /* hash of the store's id */
    uint64_t weight;     /* bytes, or any unit; 0: takes nothing */
    uint32_t zone, node; /* numbers of the caller; stores with equal numbers fail together */
};

struct ring {
    uint32_t pg_count;
    unsigned width;
    uint16_t *table; /* pg_count rows of width indexes; owned */
};

/* A power of two from 1,024 to 4,096 that gives each store about 128 places or more. */
uint32_t ring_pg_count(unsigned store_count, unsigned width);
/* before: NULL, or the ring to stay close to (ignored when its shape differs). */
int ring_build(const struct ring_store *stores, unsigned count, unsigned width, uint32_t pg_count,
               const struct ring *before, struct ring *ret_ring);
void ring_fini(struct ring *r);

static inline const uint16_t *ring_row(const struct ring *r, uint32_t pg)
{
    assert(pg < r->pg_count);
    return r->table + (size_t)pg * r->width;
}
/* The PG of a stripe. id: 12-byte write id and big-endian stripe number (replication/stripe.h). */
uint32_t ring_pg(const struct ring *r, const uint8_t id[16]);
/* Stores outside the PG's row that may take a fragment instead, best first: the next distinct ones of the following
 * rows. Returns how many (at most cap). */
unsigned ring_spares(const struct ring *r, uint32_t pg, uint16_t *ret_stores, unsigned cap);
/* Places that differ between two rings of one shape: what a change would move. */
uint64_t ring_moves(const struct ring *a, const struct ring *b);

/* Pb__Map.pg_table. */
static inline size_t ring_bytes(const struct ring *r)
{
    return (size_t)r->pg_count * r->width * 2;
}
void ring_encode(const struct ring *r, uint8_t *ret); /* ring_bytes of them */
/* Checks everything: shape, indexes, no store twice in a row, k+m. */
int ring_decode(const Pb__Map *map, struct ring *ret_ring);
/* The stores of a map as ring_build takes them; ret has room for map->n_stores. Equal zone (node) texts get equal
 * numbers; a store without a node text is a node of its own. */
void ring_stores_of(const Pb__Map *map, struct ring_store *ret);
