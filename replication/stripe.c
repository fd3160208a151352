/* stripe - where each byte of an object stands. Everything follows from (size, stripe_bytes, k, m); nothing is looked
 * up. */
#include "replication/stripe.h"
#include "common/err.h"

struct stripe stripe_of(uint64_t length, unsigned k, unsigned m)
{
    assert(length > 0 && k > 0 && k + m <= CODEC_WIDTH_MAX);
    struct stripe s = {.length = length, .k = k, .m = m};
    s.cell = align_up((length + k - 1) / k, STRIPE_CELL_ALIGN);
    s.data_count = (unsigned)((length + s.cell - 1) / s.cell);
    assert(s.data_count >= 1 && s.data_count <= k);
    return s;
}

/* The list is as long as the extent has fragments at most, and nearly in order: stripes that were written side by side
 * may have ended the other way round. Only such a one is compared with those before it. */
static bool handoffs_valid(const Pb__Extent *e, uint32_t stripes)
{
    uint64_t highest = 0, width = e->k + e->m;
    if (e->n_handoffs > stripes * width)
        return false;
    for (size_t i = 0; i < e->n_handoffs; i++) {
        const Pb__Handoff *h = e->handoffs[i];
        if (h->stripe >= stripes || h->fragment >= width)
            return false;
        uint64_t place = h->stripe * width + h->fragment;
        for (size_t k = i; place <= highest && k-- > 0;)
            if (e->handoffs[k]->stripe == h->stripe && e->handoffs[k]->fragment == h->fragment)
                return false;
        highest = MAX_OF(highest, place);
    }
    return true;
}

static bool places_valid(const Pb__Extent *e)
{
    uint32_t stripes = extent_stripes(e);
    if (!handoffs_valid(e, stripes))
        return false;
    for (size_t i = 0; i < e->n_lost; i++) {
        if (e->lost[i]->stripe >= stripes || e->lost[i]->fragment >= e->k + e->m)
            return false;
    }
    return true;
}

int extent_check(const Pb__Extent *e)
{
    bool ok = e->write_id.len == WRITE_ID_BYTES && e->size > 0 && e->k > 0 && e->k <= CODEC_WIDTH_MAX &&
              e->m <= CODEC_WIDTH_MAX - e->k && e->stripe_bytes > 0 && e->stripe_bytes <= STRIPE_BYTES_MAX &&
              e->stripe_bytes % STRIPE_CELL_ALIGN == 0 && (e->size - 1) / e->stripe_bytes < UINT32_MAX &&
              places_valid(e);
    return ok ? 0 : E_CORRUPT;
}

uint32_t extent_stripes(const Pb__Extent *e)
{
    return (uint32_t)((e->size - 1) / e->stripe_bytes + 1);
}

struct stripe extent_stripe(const Pb__Extent *e, uint32_t index)
{
    uint64_t start = (uint64_t)index * e->stripe_bytes;
    assert(start < e->size);
    return stripe_of(MIN_OF(e->size - start, e->stripe_bytes), e->k, e->m);
}

struct cell_range extent_locate(const Pb__Extent *e, uint64_t offset, uint64_t length, uint64_t read_most)
{
    assert(length > 0 && offset + length <= e->size);
    assert(read_most >= STRIPE_BLOCK_BYTES && read_most % STRIPE_BLOCK_BYTES == 0);
    struct cell_range r = {.stripe = (uint32_t)(offset / e->stripe_bytes)};
    struct stripe s = extent_stripe(e, r.stripe);
    uint64_t in_stripe = offset % e->stripe_bytes, in_cell = in_stripe % s.cell;
    r.fragment = (unsigned)(in_stripe / s.cell);
    r.read_offset = in_cell / STRIPE_BLOCK_BYTES * STRIPE_BLOCK_BYTES;
    r.skip = in_cell - r.read_offset;
    uint64_t here = MIN_OF(s.cell - in_cell, s.length - in_stripe); /* to the end of the cell's data */
    here = MIN_OF(here, length);
    r.length = MIN_OF(here, read_most - r.skip);
    uint64_t end = align_up(in_cell + r.length, STRIPE_BLOCK_BYTES);
    r.read_bytes = MIN_OF(end, s.cell) - r.read_offset;
    assert(r.fragment < s.data_count && r.skip + r.length <= r.read_bytes);
    return r;
}

void stripe_id(const uint8_t write_id[WRITE_ID_BYTES], uint32_t stripe, uint8_t ret[STRIPE_ID_BYTES])
{
    memcpy(ret, write_id, WRITE_ID_BYTES);
    put_be32(ret + WRITE_ID_BYTES, stripe);
}

void frag_id(const uint8_t write_id[WRITE_ID_BYTES], uint32_t stripe, unsigned fragment, uint8_t ret[FRAG_ID_BYTES])
{
    assert(fragment <= UINT8_MAX);
    stripe_id(write_id, stripe, ret);
    ret[STRIPE_ID_BYTES] = (uint8_t)fragment;
}
