/* piece - a run of an object's bytes inside one cell, on its way to the reader: read from its store, or, when that
 * fails, decoded from the same range of k other fragments.
 *
 * Thread: the loop. Memory: piece_create takes the buffer; the callback runs once, perhaps inside piece_start,
 * unless piece_free comes first (any time). The extent is borrowed until piece_free.
 * Errors: E_CORRUPT: more fragments are gone or bad than the code forgives; E_UNAVAILABLE: the same, but some of them
 * may come back; else those of the map. */
#pragma once
#include "client/fetch.h"

struct piece {
    int status;      /* of the callback */
    struct buf *buf; /* owned; after status 0 the run is at skip, length bytes */
    uint64_t skip, length;
    bool ready; /* the callback ran */
    struct piece *next;
    /* private */
    struct piece *turn_next;
    enum { PIECE_NEW, PIECE_MAP, PIECE_DIRECT, PIECE_TURN, PIECE_GATHER, PIECE_DECODE, PIECE_DONE } step;
    struct client *c;
    const Pb__Extent *extent;
    struct cell_range range;
    struct stripe stripe;
    struct map *map;
    struct map_wait map_wait;
    struct fetch *direct;
    bool direct_tried;
    struct gather *gather;
    int worst; /* what went wrong so far */
    void (*cb)(void *owner, struct piece *p);
    void *owner;
};

/* Bytes of buffer that a range needs. */
static inline uint64_t piece_bytes(const struct cell_range *r)
{
    return align_up(r->read_bytes, BUF_ALIGN);
}
/* buf: at least piece_bytes, taken only on success. NULL: out of memory. */
struct piece *piece_create(struct client *c, const Pb__Extent *e, const struct cell_range *range, struct buf *buf,
                           void (*cb)(void *owner, struct piece *p), void *owner);
void piece_start(struct piece *p);
void piece_free(struct piece *p);
