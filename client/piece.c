/* piece - the read path of one range: its map, then the store that has the fragment, then whoever is left.
 *
 * The step enum says where it is; piece_advance holds the branches. Decoding a range needs the same range of k other
 * fragments: each degraded piece holds k buffers beside the pool's budget, so only CLIENT_DECODES_MAX decode at once
 * and the others queue for a turn. */
#include "client/piece.h"
#include "common/log.h"
#include "common/metrics.h"
#include <stdlib.h>

/* The other fragments of a stripe, at the piece's range. */
struct gather {
    struct piece *p; /* NULL: freed while the decode ran */
    struct client *c;
    struct fetch *fetch[CODEC_WIDTH_MAX];
    struct buf *got[CODEC_WIDTH_MAX];
    uint32_t have, tried; /* bits of fragments; void ones are had from the start */
    unsigned waiting;
    struct work_req work;
    struct codec *codec;
    struct map *map;
    struct buf *out; /* a reference of its own */
    uint64_t bytes;
    unsigned want;
    int status;
};

static void piece_advance(struct piece *p);

/* ---- where fragments stand ---- */

static bool frag_lost(const Pb__Extent *e, uint32_t stripe, unsigned fragment)
{
    for (size_t i = 0; i < e->n_lost; i++) {
        if (e->lost[i]->stripe == stripe && e->lost[i]->fragment == fragment)
            return true;
    }
    return false;
}

static uint32_t frag_store(const struct piece *p, unsigned fragment)
{
    const Pb__Extent *e = p->extent;
    for (size_t i = 0; i < e->n_handoffs; i++) {
        if (e->handoffs[i]->stripe == p->range.stripe && e->handoffs[i]->fragment == fragment)
            return e->handoffs[i]->store;
    }
    uint8_t id[STRIPE_ID_BYTES];
    stripe_id(e->write_id.data, p->range.stripe, id);
    return p->map->index[ring_row(&p->map->ring, ring_pg(&p->map->ring, id))[fragment]];
}

static struct fetch_ask ask_of(const struct piece *p, unsigned fragment)
{
    struct fetch_ask ask = {.store = frag_store(p, fragment),
                            .offset = p->range.read_offset,
                            .bytes = p->range.read_bytes,
                            .cell = p->stripe.cell};
    frag_id(p->extent->write_id.data, p->range.stripe, fragment, ask.frag_id);
    return ask;
}

/* A failure that may be over at the next try outweighs one that will not. */
static void note_error(struct piece *p, int err)
{
    if (err != E_CORRUPT)
        p->worst = E_UNAVAILABLE;
    else if (!p->worst)
        p->worst = E_CORRUPT;
}

/* ---- turns to decode ---- */

static void turn_queue(struct piece *p)
{
    struct client *c = p->c;
    p->step = PIECE_TURN;
    p->turn_next = NULL;
    *(c->decode_last ? &c->decode_last->turn_next : &c->decode_first) = p;
    c->decode_last = p;
}

static void turn_leave(struct piece *p)
{
    struct client *c = p->c;
    struct piece *before = NULL;
    for (struct piece *at = c->decode_first; at != p; at = at->turn_next)
        before = at;
    *(before ? &before->turn_next : &c->decode_first) = p->turn_next;
    if (c->decode_last == p)
        c->decode_last = before;
}

/* A turn is over. One that fails at once ends inside this loop; it must not nest it. */
static void turn_over(struct client *c)
{
    c->decodes--;
    if (c->turning)
        return;
    c->turning = true;
    while (c->decode_first && c->decodes < CLIENT_DECODES_MAX) {
        struct piece *p = c->decode_first;
        turn_leave(p);
        piece_advance(p);
    }
    c->turning = false;
}

/* ---- decoding ---- */

static void gather_free(struct gather *g)
{
    struct client *c = g->c;
    for (unsigned f = 0; f < CODEC_WIDTH_MAX; f++) {
        if (g->fetch[f])
            fetch_abandon(g->fetch[f]);
        buf_unref(g->got[f]);
    }
    buf_unref(g->out);
    map_unref(g->map);
    free(g);
    turn_over(c);
    client_unref(c);
}

static void piece_done(struct piece *p, int status)
{
    struct gather *g = p->gather;
    p->gather = NULL;
    p->step = PIECE_DONE;
    p->status = status;
    p->ready = true;
    if (status)
        log_event(LOG_WARN, "read_failed", "stripe=%u fragment=%u error=%s", p->range.stripe, p->range.fragment,
                  log_quote(str_c(err_text(status))));
    p->cb(p->owner, p); /* may free p */
    if (g)
        gather_free(g);
}

static void decode_run(struct work_req *r)
{
    struct gather *g = container_of(r, struct gather, work);
    const uint8_t *cells[CODEC_WIDTH_MAX];
    unsigned n = 0;
    for (unsigned f = 0; f < CODEC_WIDTH_MAX; f++) {
        if (g->have >> f & 1)
            cells[n++] = g->got[f] ? g->got[f]->data : NULL;
    }
    g->status = codec_decode(g->codec, g->bytes, g->have, cells, UINT32_C(1) << g->want, (uint8_t *[]){g->out->data});
}

static void decode_done(struct work_req *r)
{
    struct gather *g = container_of(r, struct gather, work);
    if (!g->p) {
        gather_free(g);
        return;
    }
    metric_add(M_READ_DECODED, NULL, 1);
    piece_done(g->p, g->status);
}

static void gather_decode(struct gather *g)
{
    struct piece *p = g->p;
    p->step = PIECE_DECODE;
    g->out = buf_ref(p->buf);
    g->want = p->range.fragment;
    g->bytes = p->range.read_bytes;
    g->work = (struct work_req){.run = decode_run, .cb = decode_done};
    work_submit(p->c->work, &g->work);
}

static void gather_step(struct gather *g);
static bool direct_start(struct piece *p, bool though_suspect);

/* Too few fragments. The one store that was passed over because it hung is then worth a wait. */
static void gather_fail(struct gather *g)
{
    struct piece *p = g->p;
    if (p->direct_tried || !direct_start(p, true)) {
        piece_done(p, p->worst ? p->worst : E_CORRUPT);
        return;
    }
    p->gather = NULL;
    gather_free(g);
}

static void gather_came(void *owner, struct fetch *fetch, int err)
{
    struct gather *g = owner;
    unsigned f = 0;
    while (g->fetch[f] != fetch)
        f++;
    g->fetch[f] = NULL;
    g->waiting--;
    if (err) {
        note_error(g->p, err);
        buf_unref(g->got[f]);
        g->got[f] = NULL;
    } else {
        g->have |= UINT32_C(1) << f;
    }
    gather_step(g);
}

/* The next fragment worth asking: stores in good standing first. Returns the width when none is left. */
static unsigned gather_pick(const struct gather *g)
{
    const struct piece *p = g->p;
    unsigned width = p->stripe.k + p->stripe.m;
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned f = 0; f < width; f++) {
            if (!(g->tried >> f & 1) && (pass || !store_suspect(p->c, frag_store(p, f))))
                return f;
        }
    }
    return width;
}

static void gather_ask(struct gather *g, unsigned f)
{
    struct piece *p = g->p;
    g->tried |= UINT32_C(1) << f;
    if (frag_lost(p->extent, p->range.stripe, f))
        return;
    struct fetch_ask ask = ask_of(p, f);
    g->got[f] = buf_create(ask.bytes);
    if (g->got[f])
        g->fetch[f] = fetch_start(p->c, &ask, g->got[f], gather_came, g);
    if (g->fetch[f]) {
        g->waiting++;
        return;
    }
    buf_unref(g->got[f]);
    g->got[f] = NULL;
    note_error(p, -ENOMEM);
}

/* Asks until k fragments are had or on their way; decodes when they are had; fails when there are not enough. */
static void gather_step(struct gather *g)
{
    struct piece *p = g->p;
    unsigned k = p->stripe.k, width = k + p->stripe.m;
    while ((unsigned)__builtin_popcount(g->have) + g->waiting < k) {
        unsigned f = gather_pick(g);
        if (f == width)
            break;
        gather_ask(g, f);
    }
    if ((unsigned)__builtin_popcount(g->have) == k)
        gather_decode(g);
    else if (g->waiting == 0)
        gather_fail(g);
}

static void gather_start(struct piece *p)
{
    struct gather *g = calloc(1, sizeof *g);
    p->c->decodes++;
    if (!g) {
        turn_over(p->c);
        piece_done(p, -ENOMEM);
        return;
    }
    p->step = PIECE_GATHER;
    p->gather = g;
    g->p = p;
    g->c = client_ref(p->c);
    g->map = map_ref(p->map);
    g->codec = p->map->codec;
    g->tried = UINT32_C(1) << p->range.fragment;
    for (unsigned f = p->stripe.data_count; f < p->stripe.k; f++) {
        g->have |= UINT32_C(1) << f; /* void: zeroes */
        g->tried |= UINT32_C(1) << f;
    }
    gather_step(g);
}

/* ---- the direct way ---- */

static void direct_came(void *owner, struct fetch *fetch, int err)
{
    struct piece *p = owner;
    assert(p->direct == fetch);
    (void)fetch;
    p->direct = NULL;
    if (!err) {
        piece_done(p, 0);
        return;
    }
    note_error(p, err);
    if (err == E_DEADLINE) { /* the late answer may still be written into that buffer */
        struct buf *other = buf_create(p->buf->cap);
        if (!other) {
            piece_done(p, -ENOMEM);
            return;
        }
        buf_unref(p->buf);
        p->buf = other;
    }
    p->step = PIECE_TURN;
    piece_advance(p);
}

/* False: its store is not worth asking and there is another way. */
static bool direct_start(struct piece *p, bool though_suspect)
{
    unsigned f = p->range.fragment;
    if (frag_lost(p->extent, p->range.stripe, f))
        return false;
    struct fetch_ask ask = ask_of(p, f);
    if (!though_suspect && p->stripe.m > 0 && store_suspect(p->c, ask.store))
        return false;
    p->direct_tried = true;
    p->step = PIECE_DIRECT;
    p->direct = fetch_start(p->c, &ask, p->buf, direct_came, p);
    if (!p->direct)
        note_error(p, -ENOMEM);
    return p->direct != NULL;
}

static void map_came(struct map_wait *w, int err, struct map *map)
{
    struct piece *p = container_of(w, struct piece, map_wait);
    if (!err && (map->k != p->extent->k || map->m != p->extent->m))
        err = E_CORRUPT;
    if (err) {
        piece_done(p, err);
        return;
    }
    p->map = map_ref(map);
    piece_advance(p);
}

static void piece_advance(struct piece *p)
{
    switch (p->step) {
    case PIECE_MAP:
        if (direct_start(p, false))
            return;
        /* fall through */
    case PIECE_TURN:
        if (p->c->decodes < CLIENT_DECODES_MAX)
            gather_start(p);
        else
            turn_queue(p);
        return;
    default:
        assert(false && "a step that waits was advanced");
    }
}

/* ---- from outside ---- */

struct piece *piece_create(struct client *c, const Pb__Extent *e, const struct cell_range *range, struct buf *buf,
                           void (*cb)(void *owner, struct piece *p), void *owner)
{
    assert(buf->cap >= range->read_bytes);
    struct piece *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    *p = (struct piece){.buf = buf, .skip = range->skip, .length = range->length, .c = c, .extent = e, .range = *range};
    p->stripe = extent_stripe(e, range->stripe);
    p->map_wait.cb = map_came;
    p->cb = cb;
    p->owner = owner;
    return p;
}

void piece_start(struct piece *p)
{
    assert(p->step == PIECE_NEW);
    p->step = PIECE_MAP;
    struct map *map = map_find(p->c, p->extent->map_epoch);
    int err = p->extent->map_epoch ? 0 : E_CORRUPT;
    if (map)
        map_came(&p->map_wait, err, map);
    else if (err || (err = map_get(p->c, p->extent->map_epoch, &p->map_wait)))
        piece_done(p, err);
}

void piece_free(struct piece *p)
{
    struct gather *g = p->gather;
    if (p->step == PIECE_MAP)
        map_cancel(p->c, &p->map_wait);
    if (p->step == PIECE_TURN)
        turn_leave(p);
    if (p->direct)
        fetch_abandon(p->direct);
    if (g && p->step == PIECE_DECODE)
        g->p = NULL; /* the work thread has it */
    else if (g)
        gather_free(g);
    map_unref(p->map);
    buf_unref(p->buf);
    free(p);
}
