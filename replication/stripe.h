/* stripe - pure arithmetic between an object's bytes and what stores hold: extent -> stripe -> cell -> 64 KiB blocks.
 *
 * An extent (one write) is cut into stripes of stripe_bytes, the last one shorter. A stripe of L bytes has cells of
 * C = L/k rounded up, then rounded up to 4 KiB; fragment i < k holds bytes [i*C, i*C + C) of the stripe, zeroes past L;
 * fragment i >= k is parity. Every stored fragment is C bytes long. Data fragments that would begin at or past L are
 * void: all zeroes by rule and stored nowhere (so the tail stripe of one byte is 1 data fragment and m parity, not
 * k+m). Cells are contiguous, so a range touches few fragments. Stores checksum blocks of 64 KiB, so reads begin on
 * them. Thread: pure. Errors: E_CORRUPT for an extent that breaks the rules. */
#pragma once
#include "common/wire.pb-c.h"
#include "common/base.h"
#include "replication/codec.h"

#define STRIPE_CELL_ALIGN  4096
#define STRIPE_BLOCK_BYTES (64 * KIB)
#define STRIPE_BYTES_MAX   (64 * MIB)
#define WRITE_ID_BYTES     12
#define STRIPE_ID_BYTES    16 /* write id | be32 stripe: what the ring hashes */
#define FRAG_ID_BYTES      17 /* write id | be32 stripe | fragment */

static_assert(CODEC_ZERO_BYTES >= CODEC_WIDTH_MAX * STRIPE_CELL_ALIGN, "a cell beside a void one has at most k pages");

/* The shape of one stripe. */
struct stripe {
    uint64_t length; /* data bytes, > 0 */
    uint64_t cell;   /* bytes of each stored fragment */
    unsigned k, m;
    unsigned data_count; /* data fragments that are not void, >= 1 */
};
struct stripe stripe_of(uint64_t length, unsigned k, unsigned m);
static inline bool stripe_has(const struct stripe *s, unsigned fragment) /* false: void */
{
    return fragment < s->data_count || (fragment >= s->k && fragment < s->k + s->m);
}
static inline unsigned stripe_stored(const struct stripe *s)
{
    return s->data_count + s->m;
}

/* Rules of an extent from outside: codes, sizes, ids, every handoff and lost entry in range, and no two handoffs of
 * one fragment. */
int extent_check(const Pb__Extent *e);
uint32_t extent_stripes(const Pb__Extent *e);
struct stripe extent_stripe(const Pb__Extent *e, uint32_t index);

/* A run of bytes inside one cell, and what to ask its store for. */
struct cell_range {
    uint32_t stripe;
    unsigned fragment;
    uint64_t read_offset, read_bytes; /* in the fragment: begins on a 64 KiB block, ends on one or at the cell's end */
    uint64_t skip;                    /* bytes of the answer before the run */
    uint64_t length;                  /* of the run */
};
/* The longest run from `offset` of the extent, at most `length` bytes, inside one cell, whose read is at most read_most
 * bytes (a multiple of 64 KiB). offset + length <= size, length > 0. */
struct cell_range extent_locate(const Pb__Extent *e, uint64_t offset, uint64_t length, uint64_t read_most);

void stripe_id(const uint8_t write_id[WRITE_ID_BYTES], uint32_t stripe, uint8_t ret[STRIPE_ID_BYTES]);
void frag_id(const uint8_t write_id[WRITE_ID_BYTES], uint32_t stripe, unsigned fragment, uint8_t ret[FRAG_ID_BYTES]);
