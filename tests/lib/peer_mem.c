/* peer_mem - see peer_mem.h. */
#include "tests/lib/peer_mem.h"
#include "common/xxh.h"
#include <stdlib.h>

#define TABLE_SIZE 4096
#define FRAG_ID    17

struct peer_frag {
    unsigned store;
    uint8_t id[FRAG_ID];
    size_t len;
    struct peer_frag *next;
    uint8_t bytes[];
};
struct peer_call {
    struct peer_mem *p;
    struct rpc *rpc;
    struct loop_post post;
    struct loop_timer timer;
    int forced; /* status that the script demands */
    struct peer_call *next;
};

/* ---- fragments ---- */

static struct peer_frag **slot(struct peer_mem *p, unsigned store, const uint8_t *id)
{
    struct peer_frag **at = &p->table[xxh64of(id, FRAG_ID, store) % TABLE_SIZE];
    while (*at && ((*at)->store != store || memcmp((*at)->id, id, FRAG_ID) != 0))
        at = &(*at)->next;
    return at;
}

const uint8_t *peer_mem_find(struct peer_mem *p, unsigned store, const uint8_t frag_id[17], size_t *ret_len)
{
    struct peer_frag *f = *slot(p, store, frag_id);
    if (f && ret_len)
        *ret_len = f->len;
    return f ? f->bytes : NULL;
}

static void drop(struct peer_mem *p, struct peer_frag **at)
{
    struct peer_frag *f = *at;
    *at = f->next;
    free(f);
    p->frag_count--;
}

void peer_mem_forget(struct peer_mem *p, unsigned store)
{
    for (unsigned i = 0; i < TABLE_SIZE; i++) {
        for (struct peer_frag **at = &p->table[i]; *at;) {
            if ((*at)->store == store)
                drop(p, at);
            else
                at = &(*at)->next;
        }
    }
}

static int frag_write(struct peer_mem *p, struct rpc *r)
{
    const Pb__FragWriteReq *q = r->req;
    size_t len = 0;
    for (unsigned i = 0; i < r->payload_count; i++)
        len += r->payload[i].len;
    assert(q->frag_id.len == FRAG_ID && q->k == p->k && q->m == p->m && q->epoch >= 1);
    p->stores[q->store].writes++;
    struct peer_frag **at = slot(p, q->store, q->frag_id.data);
    if (*at)
        drop(p, at);
    struct peer_frag *f = malloc(sizeof *f + len);
    f->store = q->store;
    memcpy(f->id, q->frag_id.data, FRAG_ID);
    f->len = len;
    f->next = NULL;
    for (unsigned i = 0, off = 0; i < r->payload_count; off += (unsigned)r->payload[i++].len)
        memcpy(f->bytes + off, slice_data(r->payload[i]), r->payload[i].len);
    *slot(p, q->store, q->frag_id.data) = f;
    p->frag_count++;
    return 0;
}

static int frag_read(struct peer_mem *p, struct rpc *r)
{
    const Pb__FragReadReq *q = r->req;
    assert(q->offset % (64 * KIB) == 0 && "reads begin on a block");
    p->stores[q->store].reads++;
    struct peer_frag *f = *slot(p, q->store, q->frag_id.data);
    if (!f)
        return RPC_NOT_FOUND;
    if (p->stores[q->store].mode == PEER_CORRUPT)
        return E_CORRUPT;
    assert(q->offset + q->length <= f->len);
    size_t len = p->stores[q->store].mode == PEER_LIE ? q->length - 1 : q->length;
    struct buf *b = p->fills_into && r->into ? buf_ref(r->into) : buf_create(len);
    memcpy(b->data, f->bytes + q->offset, len);
    r->rep_payload = (struct slice){.buf = b, .len = len};
    Pb__FragReadRep *rep = arena_alloc(r->arena, sizeof *rep);
    pb__frag_read_rep__init(rep);
    rep->fragment_bytes = f->len;
    r->rep = rep;
    p->read_bytes += len;
    return 0;
}

static int frag_delete(struct peer_mem *p, struct rpc *r)
{
    const Pb__FragDeleteReq *q = r->req;
    p->stores[q->store].deletes++;
    for (size_t i = 0; i < q->n_frag_ids; i++) {
        struct peer_frag **at = slot(p, q->store, q->frag_ids[i].data);
        if (*at)
            drop(p, at);
    }
    return 0;
}

/* ---- maps ---- */

void peer_mem_new_map(struct peer_mem *p)
{
    struct ring_store stores[PEER_STORES_MAX];
    for (unsigned i = 0; i < p->store_count; i++)
        stores[i] = (struct ring_store){.key = i + 1, .weight = p->stores[i].weight, .node = i};
    assert(p->map_count < PEER_MAPS_MAX);
    const struct ring *before = p->map_count ? &p->rings[p->map_count - 1] : NULL;
    int err = ring_build(stores, p->store_count, p->k + p->m, RING_PGS_LEAST, before, &p->rings[p->map_count]);
    assert(err == 0);
    (void)err;
    p->map_count++;
}

static int map_get(struct peer_mem *p, struct rpc *r)
{
    const Pb__MapGetReq *q = r->req;
    uint64_t epoch = q->epoch ? q->epoch : p->map_count;
    p->map_gets++;
    if (p->map_err)
        return p->map_err;
    if (epoch > p->map_count)
        return RPC_NOT_FOUND;
    const struct ring *ring = &p->rings[epoch - 1];
    Pb__MapGetRep *rep = arena_alloc(r->arena, sizeof *rep);
    pb__map_get_rep__init(rep);
    Pb__Map *map = rep->map = arena_alloc(r->arena, sizeof *map);
    pb__map__init(map);
    map->format = 1;
    map->epoch = epoch;
    map->k = p->k;
    map->m = p->m;
    map->n_stores = p->store_count;
    map->stores = arena_alloc(r->arena, p->store_count * sizeof *map->stores);
    for (unsigned i = 0; i < p->store_count; i++) {
        map->stores[i] = arena_alloc(r->arena, sizeof **map->stores);
        pb__map_store__init(map->stores[i]);
        map->stores[i]->index = i;
    }
    map->pg_count = ring->pg_count;
    map->pg_table.len = ring_bytes(ring);
    map->pg_table.data = arena_alloc(r->arena, map->pg_table.len);
    ring_encode(ring, map->pg_table.data);
    r->rep = rep;
    return 0;
}

/* ---- calls ---- */

static struct peer_store *store_of(struct peer_mem *p, const struct rpc *r)
{
    uint32_t store = r->type == RPC_FRAG_WRITE    ? ((const Pb__FragWriteReq *)r->req)->store
                     : r->type == RPC_FRAG_READ   ? ((const Pb__FragReadReq *)r->req)->store
                     : r->type == RPC_FRAG_DELETE ? ((const Pb__FragDeleteReq *)r->req)->store
                                                  : UINT32_MAX;
    assert(store == UINT32_MAX || store < p->store_count);
    return store == UINT32_MAX ? NULL : &p->stores[store];
}

static int answer(struct peer_mem *p, struct rpc *r)
{
    struct peer_store *s = store_of(p, r);
    if (s && s->mode == PEER_FAIL)
        return s->err;
    switch (r->type) {
    case RPC_FRAG_WRITE:
        return frag_write(p, r);
    case RPC_FRAG_READ:
        return frag_read(p, r);
    case RPC_FRAG_DELETE:
        return frag_delete(p, r);
    case RPC_MAP_GET:
        return map_get(p, r);
    default:
        return E_PROTOCOL;
    }
}

static void call_end(struct peer_call *c)
{
    struct peer_mem *p = c->p;
    struct rpc *r = c->rpc;
    r->status = c->forced ? c->forced : answer(p, r);
    p->out--;
    free(c);
    r->cb(r);
}

static void call_posted(struct loop_post *post)
{
    struct peer_call *c = container_of(post, struct peer_call, post);
    struct peer_store *s = store_of(c->p, c->rpc);
    if (s && s->mode == PEER_HANG && !c->forced) {
        c->next = c->p->hung;
        c->p->hung = c;
        c->p->waiting++;
        return;
    }
    if (s && s->delay_ns) {
        c->p->waiting++;
        loop_timer_start(c->p->loop, &c->timer, s->delay_ns);
    } else {
        call_end(c);
    }
}

static void call_due(struct loop_timer *t)
{
    struct peer_call *c = container_of(t, struct peer_call, timer);
    c->p->waiting--;
    call_end(c);
}

static void submit(struct rpc_peer *peer, struct rpc *r)
{
    struct peer_mem *p = container_of(peer, struct peer_mem, peer);
    struct peer_call *c = calloc(1, sizeof *c);
    *c = (struct peer_call){.p = p, .rpc = r, .post.cb = call_posted, .timer.cb = call_due};
    r->rep = NULL;
    r->rep_payload = (struct slice){0};
    p->out++;
    p->calls++;
    if (p->fail_at && --p->fail_at == 0)
        c->forced = p->fail_err;
    loop_post(p->loop, &c->post);
}

void peer_mem_release(struct peer_mem *p)
{
    struct peer_call *c = p->hung;
    p->hung = NULL;
    for (struct peer_call *next; c; c = next) {
        next = c->next;
        p->waiting--;
        loop_post(p->loop, &c->post);
    }
}

struct peer_mem *peer_mem_create(struct loop *loop, unsigned k, unsigned m, unsigned stores)
{
    struct peer_mem *p = calloc(1, sizeof *p);
    p->peer.submit = submit;
    p->loop = loop;
    p->k = k;
    p->m = m;
    p->store_count = stores;
    p->fail_err = E_UNAVAILABLE;
    p->table = calloc(TABLE_SIZE, sizeof *p->table);
    for (unsigned i = 0; i < stores; i++) {
        p->stores[i].weight = 100;
        p->stores[i].err = -EIO;
    }
    peer_mem_new_map(p);
    return p;
}

void peer_mem_destroy(struct peer_mem *p)
{
    assert(p->out == 0);
    for (unsigned i = 0; i < p->store_count; i++)
        peer_mem_forget(p, i);
    for (unsigned i = 0; i < p->map_count; i++)
        ring_fini(&p->rings[i]);
    free(p->table);
    free(p);
}
