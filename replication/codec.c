/* codec - Cauchy Reed-Solomon by ISA-L.
 *
 * The generator is the identity over a Cauchy block. To decode, the k rows of the known fragments are inverted; a data
 * cell is a row of the inverse times the known cells, a parity cell its generator row times the inverse. Inverting and
 * expanding tables takes 0.5 to 3 us (limits.md), so the last few results are kept by (have, want): in a cluster with
 * one drive down the same few come again and again. */
#include "replication/codec.h"
#include "common/err.h"
#include <isa-l/erasure_code.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>

struct tables {
    uint32_t have, want;
    uint64_t used; /* tick of the last use; 0: empty */
    uint8_t *gf;   /* 32 * k bytes a wanted fragment */
};

struct codec {
    unsigned k, m;
    uint8_t *matrix; /* (k+m) x k */
    uint8_t *encode; /* 32 * k * m */
    pthread_mutex_t lock;
    uint64_t tick;
    struct tables cache[CODEC_TABLES_MAX];
};

static uint8_t zero_cell[CODEC_ZERO_BYTES]; /* ISA-L takes no const; it only reads sources */

int codec_create(unsigned k, unsigned m, struct codec **ret_codec)
{
    if (k == 0 || k > CODEC_WIDTH_MAX || m > CODEC_WIDTH_MAX - k)
        return -EINVAL;
    struct codec *c = calloc(1, sizeof *c);
    if (!c)
        return -ENOMEM;
    c->k = k;
    c->m = m;
    c->matrix = malloc((size_t)(k + m) * k);
    c->encode = malloc((size_t)32 * k * MAX_OF(m, 1));
    if (!c->matrix || !c->encode) {
        free(c->matrix);
        free(c->encode);
        free(c);
        return -ENOMEM;
    }
    pthread_mutex_init(&c->lock, NULL);
    gf_gen_cauchy1_matrix(c->matrix, (int)(k + m), (int)k);
    if (m)
        ec_init_tables((int)k, (int)m, c->matrix + (size_t)k * k, c->encode);
    *ret_codec = c;
    return 0;
}

void codec_destroy(struct codec *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < CODEC_TABLES_MAX; i++)
        free(c->cache[i].gf);
    pthread_mutex_destroy(&c->lock);
    free(c->matrix);
    free(c->encode);
    free(c);
}

/* Sources as ISA-L takes them. */
static void sources(uint8_t **ret, const uint8_t *const *cells, unsigned n, size_t cell_bytes)
{
    for (unsigned i = 0; i < n; i++) {
        assert(cells[i] || cell_bytes <= CODEC_ZERO_BYTES);
        ret[i] = cells[i] ? (uint8_t *)(uintptr_t)cells[i] : zero_cell;
    }
    (void)cell_bytes;
}

void codec_encode(struct codec *c, size_t cell_bytes, const uint8_t *const *data, uint8_t *const *ret_parity)
{
    assert(cell_bytes <= INT_MAX);
    uint8_t *from[CODEC_WIDTH_MAX], *to[CODEC_WIDTH_MAX];
    if (c->m == 0 || cell_bytes == 0)
        return;
    sources(from, data, c->k, cell_bytes);
    memcpy(to, ret_parity, c->m * sizeof *to);
    ec_encode_data((int)cell_bytes, (int)c->k, (int)c->m, c->encode, from, to);
}

/* The rows that make `want` out of `have`, expanded. Returns owned. */
static uint8_t *tables_make(const struct codec *c, uint32_t have, uint32_t want)
{
    uint8_t known[CODEC_WIDTH_MAX * CODEC_WIDTH_MAX], inverse[CODEC_WIDTH_MAX * CODEC_WIDTH_MAX];
    uint8_t rows[CODEC_WIDTH_MAX * CODEC_WIDTH_MAX];
    unsigned k = c->k, n = 0, wanted = 0;
    for (unsigned f = 0; f < k + c->m; f++) {
        if (have >> f & 1)
            memcpy(known + (size_t)k * n++, c->matrix + (size_t)k * f, k);
    }
    if (gf_invert_matrix(known, inverse, (int)k) != 0)
        return NULL; /* cannot be: every square part of a Cauchy matrix is invertible */
    for (unsigned f = 0; f < k + c->m; f++) {
        if (!(want >> f & 1))
            continue;
        for (unsigned col = 0; col < k; col++) {
            uint8_t sum = 0;
            for (unsigned i = 0; i < k; i++)
                sum ^= gf_mul(c->matrix[(size_t)k * f + i], inverse[(size_t)k * i + col]);
            rows[(size_t)k * wanted + col] = sum;
        }
        wanted++;
    }
    uint8_t *gf = malloc((size_t)32 * k * wanted);
    if (gf)
        ec_init_tables((int)k, (int)wanted, rows, gf);
    return gf;
}

/* Copies the tables out, so that another thread may replace them. */
static bool cache_get(struct codec *c, uint32_t have, uint32_t want, uint8_t *ret, size_t bytes)
{
    bool found = false;
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < CODEC_TABLES_MAX && !found; i++) {
        struct tables *t = &c->cache[i];
        if (!t->used || t->have != have || t->want != want)
            continue;
        t->used = ++c->tick;
        memcpy(ret, t->gf, bytes);
        found = true;
    }
    pthread_mutex_unlock(&c->lock);
    return found;
}

static void cache_put(struct codec *c, uint32_t have, uint32_t want, uint8_t *gf)
{
    pthread_mutex_lock(&c->lock);
    struct tables *oldest = &c->cache[0];
    for (size_t i = 1; i < CODEC_TABLES_MAX; i++) {
        if (c->cache[i].used < oldest->used)
            oldest = &c->cache[i];
    }
    free(oldest->gf);
    *oldest = (struct tables){.have = have, .want = want, .used = ++c->tick, .gf = gf};
    pthread_mutex_unlock(&c->lock);
}

int codec_decode(struct codec *c, size_t cell_bytes, uint32_t have, const uint8_t *const *cells, uint32_t want,
                 uint8_t *const *ret_cells)
{
    uint32_t all = (uint32_t)((UINT64_C(1) << (c->k + c->m)) - 1);
    unsigned wanted = (unsigned)__builtin_popcount(want);
    if ((unsigned)__builtin_popcount(have) != c->k || (have | want) & ~all || have & want || cell_bytes > INT_MAX)
        return -EINVAL;
    if (wanted == 0 || cell_bytes == 0)
        return 0;
    uint8_t *from[CODEC_WIDTH_MAX], *to[CODEC_WIDTH_MAX];
    uint8_t gf[32 * CODEC_WIDTH_MAX * CODEC_WIDTH_MAX];
    size_t bytes = (size_t)32 * c->k * wanted;
    if (!cache_get(c, have, want, gf, bytes)) {
        uint8_t *made = tables_make(c, have, want);
        if (!made)
            return -ENOMEM;
        memcpy(gf, made, bytes);
        cache_put(c, have, want, made);
    }
    sources(from, cells, c->k, cell_bytes);
    memcpy(to, ret_cells, wanted * sizeof *to);
    ec_encode_data((int)cell_bytes, (int)c->k, (int)wanted, gf, from, to);
    return 0;
}
