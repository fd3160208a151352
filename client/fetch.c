/* fetch - see fetch.h. A store that lets a read run into its limit and has answered nobody else meanwhile is suspect
 * for some seconds: a drive that hangs then costs one wait, not one for each range. */
#include "client/fetch.h"
#include "common/metrics.h"
#include <stdlib.h>

#define FETCH_ARENA_BYTES (64 * KIB)

struct fetch {
    struct client *c;
    struct fetch_ask ask;
    struct buf *into;
    void (*cb)(void *owner, struct fetch *f, int err); /* NULL: abandoned */
    void *owner;
    struct loop_timer timer;
    struct rpc rpc;
    Pb__FragReadReq req;
    struct arena arena;
};

static struct client_store *store_of(struct client *c, uint32_t store)
{
    return store < RING_STORES_MAX ? &c->stores[store] : NULL;
}

bool store_suspect(struct client *c, uint32_t store)
{
    const struct client_store *s = store_of(c, store);
    return s && s->suspect_until_ns > loop_now_ns(c->loop);
}

static void store_late(struct client *c, uint32_t store)
{
    struct client_store *s = store_of(c, store);
    uint64_t now = loop_now_ns(c->loop);
    if (s && now - s->answered_ns >= CLIENT_READ_NS)
        s->suspect_until_ns = now + CLIENT_SUSPECT_NS;
}

static void store_good(struct client *c, uint32_t store)
{
    struct client_store *s = store_of(c, store);
    if (!s)
        return;
    s->answered_ns = loop_now_ns(c->loop);
    s->suspect_until_ns = 0;
}

/* Is the answer what was asked for? Its bytes stand in `into` afterwards. */
static int fetch_result(struct fetch *f)
{
    const struct rpc *r = &f->rpc;
    const Pb__FragReadRep *rep = r->rep;
    if (r->status < 0)
        return r->status;
    if (r->status > 0)
        return E_CORRUPT; /* RPC_NOT_FOUND: it was there once */
    struct slice got = r->rep_payload;
    if (!rep || rep->fragment_bytes != f->ask.cell || got.len != f->ask.bytes)
        return E_CORRUPT;
    if (got.buf != f->into || got.off != 0) /* the store read into a buffer of its own */
        memmove(f->into->data, slice_data(got), got.len);
    store_good(f->c, f->ask.store);
    return 0;
}

static void fetch_done(struct rpc *r)
{
    struct fetch *f = container_of(r, struct fetch, rpc);
    struct client *c = f->c;
    loop_timer_stop(c->loop, &f->timer);
    int err = f->cb ? fetch_result(f) : E_DEADLINE;
    buf_unref(r->rep_payload.buf);
    buf_unref(f->into);
    arena_fini(&f->arena);
    if (f->cb)
        f->cb(f->owner, f, err);
    free(f);
    client_unref(c);
}

static void fetch_late(struct loop_timer *t)
{
    struct fetch *f = container_of(t, struct fetch, timer);
    void (*cb)(void *owner, struct fetch *f, int err) = f->cb;
    store_late(f->c, f->ask.store);
    f->cb = NULL;
    if (cb)
        cb(f->owner, f, E_DEADLINE);
}

struct fetch *fetch_start(struct client *c, const struct fetch_ask *ask, struct buf *into,
                          void (*cb)(void *owner, struct fetch *f, int err), void *owner)
{
    assert(into->cap >= ask->bytes);
    struct fetch *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->c = client_ref(c);
    f->ask = *ask;
    f->into = buf_ref(into);
    f->cb = cb;
    f->owner = owner;
    f->timer.cb = fetch_late;
    pb__frag_read_req__init(&f->req);
    f->req.store = ask->store;
    f->req.frag_id.data = f->ask.frag_id;
    f->req.frag_id.len = FRAG_ID_BYTES;
    f->req.offset = ask->offset;
    f->req.length = ask->bytes;
    arena_init(&f->arena, FETCH_ARENA_BYTES);
    f->rpc = (struct rpc){.type = RPC_FRAG_READ, .req = &f->req, .arena = &f->arena, .into = into, .cb = fetch_done};
    f->rpc.deadline_ns = loop_now_ns(c->loop) + CLIENT_READ_NS;
    loop_timer_start(c->loop, &f->timer, CLIENT_READ_NS);
    metric_add(M_READ_CELLS, NULL, 1);
    client_submit(c, &f->rpc);
    return f;
}

void fetch_abandon(struct fetch *f)
{
    f->cb = NULL;
    loop_timer_stop(f->c->loop, &f->timer);
}
