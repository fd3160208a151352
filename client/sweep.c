/* sweep - one store after the other, up to CLIENT_SWEEP_IDS ids a message; the ids are computed again from the ring. */
#include "client/sweep.h"
#include "common/log.h"
#include <stdlib.h>

#define SWEEP_ARENA_BYTES (64 * KIB)

struct sweep {
    struct client *c;
    struct map *map;
    uint8_t write_id[WRITE_ID_BYTES];
    uint32_t stripes;
    struct sweep_handoff *handoffs;
    size_t handoff_count;
    /* the cursor */
    unsigned store;
    uint32_t stripe; /* next to look at for that store */
    size_t handoff;
    unsigned failed;
    struct rpc rpc;
    struct arena arena;
    Pb__FragDeleteReq req;
    ProtobufCBinaryData ids[CLIENT_SWEEP_IDS];
    uint8_t bytes[CLIENT_SWEEP_IDS][FRAG_ID_BYTES];
};

static void add_id(struct sweep *w, uint32_t stripe, unsigned fragment)
{
    size_t n = w->req.n_frag_ids++;
    frag_id(w->write_id, stripe, fragment, w->bytes[n]);
    w->ids[n] = (ProtobufCBinaryData){.len = FRAG_ID_BYTES, .data = w->bytes[n]};
}

/* Fills ids of the current store from the cursor on. */
static void collect(struct sweep *w)
{
    w->req.n_frag_ids = 0;
    for (; w->stripe < w->stripes && w->req.n_frag_ids < CLIENT_SWEEP_IDS; w->stripe++) {
        uint8_t id[STRIPE_ID_BYTES];
        stripe_id(w->write_id, w->stripe, id);
        const uint16_t *row = ring_row(&w->map->ring, ring_pg(&w->map->ring, id));
        for (unsigned f = 0; f < w->map->ring.width; f++) {
            if (row[f] == w->store)
                add_id(w, w->stripe, f); /* a store stands in a row once: one id a stripe */
        }
    }
    for (; w->handoff < w->handoff_count && w->req.n_frag_ids < CLIENT_SWEEP_IDS; w->handoff++) {
        const struct sweep_handoff *h = &w->handoffs[w->handoff];
        if (h->store == w->store)
            add_id(w, h->stripe, h->fragment);
    }
}

static unsigned store_count(const struct map *m)
{
    unsigned most = 0;
    for (size_t i = 0; i < (size_t)m->ring.pg_count * m->ring.width; i++)
        most = MAX_OF(most, m->ring.table[i]);
    return most + 1;
}

static void sweep_free(struct sweep *w)
{
    struct client *c = w->c;
    if (w->failed)
        log_event(LOG_INFO, "sweep_incomplete", "stores=%u stripes=%u", w->failed, w->stripes);
    map_unref(w->map);
    free(w->handoffs);
    free(w);
    client_unref(c);
}

static void sweep_advance(struct sweep *w);

static void sweep_done(struct rpc *r)
{
    struct sweep *w = container_of(r, struct sweep, rpc);
    if (r->status < 0) { /* that store is not reachable now; gc will find the rest */
        w->failed++;
        w->stripe = w->stripes;
        w->handoff = w->handoff_count;
    }
    buf_unref(r->rep_payload.buf);
    arena_fini(&w->arena);
    sweep_advance(w);
}

static void sweep_advance(struct sweep *w)
{
    unsigned stores = store_count(w->map);
    for (;;) {
        collect(w);
        if (w->req.n_frag_ids)
            break;
        w->stripe = 0;
        w->handoff = 0;
        if (++w->store >= stores) {
            sweep_free(w);
            return;
        }
    }
    arena_init(&w->arena, SWEEP_ARENA_BYTES);
    w->req.store = w->map->index[w->store];
    w->rpc = (struct rpc){.type = RPC_FRAG_DELETE, .req = &w->req, .arena = &w->arena, .cb = sweep_done};
    w->rpc.deadline_ns = loop_now_ns(w->c->loop) + CLIENT_CALL_NS;
    client_submit(w->c, &w->rpc);
}

void sweep_start(struct client *c, struct map *map, const uint8_t write_id[WRITE_ID_BYTES], uint32_t stripes,
                 struct sweep_handoff *handoffs, size_t handoff_count)
{
    struct sweep *w = calloc(1, sizeof *w);
    if (!w) {
        free(handoffs);
        return;
    }
    w->c = client_ref(c);
    w->map = map_ref(map);
    memcpy(w->write_id, write_id, WRITE_ID_BYTES);
    w->stripes = stripes;
    w->handoffs = handoffs;
    w->handoff_count = handoff_count;
    pb__frag_delete_req__init(&w->req);
    w->req.frag_ids = w->ids;
    sweep_advance(w);
}
