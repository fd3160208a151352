/* wstripe - see wstripe.h. The fragments' payloads are slices of the stripe's one buffer; the quorum core says where
 * each goes next and when enough are durable. Two clocks bound it: CLIENT_WRITE_NS for the whole stripe and, once W are
 * durable, CLIENT_STRAGGLER_NS for the others, which are then recorded as lost though they may still arrive. */
#include "client/wstripe.h"
#include <stdlib.h>

#define SEND_ARENA_BYTES (64 * KIB)

struct send {
    struct wstripe *s;
    unsigned fragment;
    struct rpc rpc;
    Pb__FragWriteReq req;
    uint8_t id[FRAG_ID_BYTES];
    struct arena arena;
};

/* k = 1, m = 1: the parity cell is the data cell (codec.h), so it needs neither memory nor coding. */
static bool is_mirror(unsigned k, unsigned m)
{
    return k == 1 && m == 1;
}

uint64_t wstripe_bytes(uint64_t data, unsigned k, unsigned m)
{
    struct stripe s = stripe_of(data, k, m);
    return s.cell * (is_mirror(k, m) ? 1 : k + m);
}

struct wstripe *wstripe_create(struct client *c, struct map *map, uint32_t index, struct buf *buf, uint64_t cap)
{
    assert(buf->cap >= wstripe_bytes(cap, map->k, map->m));
    struct wstripe *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->c = c;
    s->map = map_ref(map);
    s->index = index;
    s->buf = buf;
    s->cap = cap;
    return s;
}

void wstripe_drop_buf(struct wstripe *s)
{
    assert(s->rpcs_out == 0);
    buf_unref(s->buf);
    s->buf = NULL;
}

void wstripe_free(struct wstripe *s)
{
    wstripe_drop_buf(s);
    loop_timer_stop(s->c->loop, &s->timer);
    map_unref(s->map);
    free(s->sends);
    free(s);
}

void wstripe_seal(struct wstripe *s)
{
    assert(!s->sealed && s->length > 0 && s->length <= s->cap);
    s->sealed = true;
    s->shape = stripe_of(s->length, s->map->k, s->map->m);
    s->parity_at = is_mirror(s->map->k, s->map->m) ? 0 : s->shape.cell * s->shape.data_count;
}

void wstripe_code(struct wstripe *s, struct buf *b)
{
    const uint8_t *data[CODEC_WIDTH_MAX];
    uint8_t *parity[CODEC_WIDTH_MAX];
    uint64_t cell = s->shape.cell;
    memset(b->data + s->length, 0, cell * s->shape.data_count - s->length);
    if (is_mirror(s->map->k, s->map->m))
        return;
    for (unsigned f = 0; f < s->shape.k; f++)
        data[f] = f < s->shape.data_count ? b->data + f * cell : NULL;
    for (unsigned i = 0; i < s->shape.m; i++)
        parity[i] = b->data + s->parity_at + i * cell;
    codec_encode(s->map->codec, cell, data, parity);
}

/* ---- sending ---- */

static void send_one(struct send *f);

/* Tells the stream what a step has brought. The stripe may be gone after `quiet`. */
static void after_step(struct wstripe *s, struct quorum_action act)
{
    if (act.send)
        send_one(&s->sends[act.fragment]);
    if (act.verdict_new) {
        if (!act.settled && quorum_verdict(&s->quorum) == QUORUM_ACKNOWLEDGED)
            loop_timer_start(s->c->loop, &s->timer, CLIENT_STRAGGLER_NS);
        s->events->verdict(s, quorum_verdict(&s->quorum));
    }
    if (act.settled && !s->settled) {
        s->settled = true;
        loop_timer_stop(s->c->loop, &s->timer);
        s->events->settled(s);
    }
    if (s->settled && s->rpcs_out == 0)
        s->events->quiet(s);
}

static void stripe_late(struct loop_timer *t)
{
    struct wstripe *s = container_of(t, struct wstripe, timer);
    after_step(s, quorum_step(&s->quorum, (struct quorum_event){.kind = QUORUM_DEADLINE}));
}

/* Worth trying the same store again: it was busy or did not answer, rather than broken or full. */
static bool may_pass(int status)
{
    return status == E_UNAVAILABLE || status == E_DEADLINE || status == E_LIMIT || status == -EAGAIN ||
           status == -ENOMEM;
}

static void send_done(struct rpc *r)
{
    struct send *f = container_of(r, struct send, rpc);
    struct wstripe *s = f->s;
    int status = r->status;
    buf_unref(r->rep_payload.buf);
    arena_fini(&f->arena);
    s->rpcs_out--;
    struct quorum_event ev = {.kind = status == 0 ? QUORUM_DONE : QUORUM_ERROR, .fragment = f->fragment};
    ev.may_pass = may_pass(status);
    after_step(s, quorum_step(&s->quorum, ev));
}

static void send_one(struct send *f)
{
    struct wstripe *s = f->s;
    uint64_t cell = s->shape.cell;
    unsigned k = s->shape.k;
    uint64_t at = f->fragment < k ? f->fragment * cell : s->parity_at + (f->fragment - k) * cell;
    arena_init(&f->arena, SEND_ARENA_BYTES);
    f->req.store = s->map->index[s->quorum.frags[f->fragment].store];
    f->rpc = (struct rpc){.type = RPC_FRAG_WRITE, .req = &f->req, .arena = &f->arena, .cb = send_done};
    f->rpc.payload[0] = (struct slice){.buf = s->buf, .off = at, .len = cell};
    f->rpc.payload_count = 1;
    f->rpc.deadline_ns = loop_now_ns(s->c->loop) + CLIENT_WRITE_NS;
    s->rpcs_out++;
    client_submit(s->c, &f->rpc);
}

static void send_init(struct send *f, struct wstripe *s, unsigned fragment, const uint8_t *write_id)
{
    f->s = s;
    f->fragment = fragment;
    frag_id(write_id, s->index, fragment, f->id);
    pb__frag_write_req__init(&f->req);
    f->req.frag_id.data = f->id;
    f->req.frag_id.len = FRAG_ID_BYTES;
    f->req.k = s->map->k;
    f->req.m = s->map->m;
    f->req.epoch = s->map->epoch;
}

int wstripe_send(struct wstripe *s, const uint8_t write_id[WRITE_ID_BYTES])
{
    assert(s->coded && !s->sent);
    unsigned width = s->shape.k + s->shape.m;
    s->sends = calloc(width, sizeof *s->sends);
    if (!s->sends)
        return -ENOMEM;
    uint8_t id[STRIPE_ID_BYTES];
    uint16_t spares[QUORUM_SPARES_MAX];
    stripe_id(write_id, s->index, id);
    uint32_t pg = ring_pg(&s->map->ring, id);
    unsigned spare_count = ring_spares(&s->map->ring, pg, spares, QUORUM_SPARES_MAX);
    quorum_init(&s->quorum, &s->shape, ring_row(&s->map->ring, pg), spares, spare_count);
    s->sent = true;
    s->timer.cb = stripe_late;
    loop_timer_start(s->c->loop, &s->timer, CLIENT_WRITE_NS);
    for (unsigned f = 0; f < width; f++) {
        if (!stripe_has(&s->shape, f))
            continue;
        send_init(&s->sends[f], s, f, write_id);
        send_one(&s->sends[f]);
    }
    return 0;
}
