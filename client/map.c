/* map - fetched by MAP_GET, checked, decoded once, kept by epoch. One fetch serves everyone who waits for its epoch. A
 * map of an epoch never changes, so nothing is ever invalidated; beyond CLIENT_MAPS_MAX the least used goes. */
#include "client/internal.h"
#include <stdlib.h>

#define MAP_FORMAT      1
#define MAP_ARENA_BYTES (16 * MIB)

struct map_fetch {
    struct client *c;
    uint64_t epoch;
    struct map_wait *first;
    Pb__MapGetReq req;
    struct arena arena;
    struct rpc rpc;
    struct loop_timer timer;
    bool given_up; /* not in the list any more; waits for its rpc only */
    struct map_fetch *next;
};

struct map *map_ref(struct map *m)
{
    m->refs++;
    return m;
}

void map_unref(struct map *m)
{
    if (!m || --m->refs > 0)
        return;
    ring_fini(&m->ring);
    codec_destroy(m->codec);
    free(m->index);
    free(m);
}

void map_cache_fini(struct map_cache *cache)
{
    assert(!cache->fetches);
    for (struct map *m = cache->first, *next; m; m = next) {
        next = m->next;
        map_unref(m);
    }
    *cache = (struct map_cache){0};
}

struct map *map_find(struct client *c, uint64_t epoch)
{
    struct map *m = c->maps.newest;
    if (epoch) {
        for (m = c->maps.first; m && m->epoch != epoch; m = m->next)
            ;
    }
    if (m)
        m->used = ++c->maps.tick;
    return m;
}

static int map_make(const Pb__Map *pb, struct map **ret_map)
{
    if (pb->format > MAP_FORMAT)
        return E_VERSION;
    struct map *m = calloc(1, sizeof *m);
    if (!m)
        return -ENOMEM;
    m->refs = 1;
    m->epoch = pb->epoch;
    m->k = pb->k;
    m->m = pb->m;
    int err = pb->epoch ? ring_decode(pb, &m->ring) : E_CORRUPT;
    if (!err)
        err = codec_create(m->k, m->m, &m->codec);
    if (!err && !(m->index = calloc(MAX_OF(pb->n_stores, 1), sizeof *m->index)))
        err = -ENOMEM;
    if (err) {
        map_unref(m);
        return err;
    }
    for (size_t i = 0; i < pb->n_stores; i++)
        m->index[i] = pb->stores[i]->index;
    *ret_map = m;
    return 0;
}

static void evict_least_used(struct map_cache *cache)
{
    struct map **least = NULL;
    for (struct map **at = &cache->first; *at; at = &(*at)->next) {
        if (*at != cache->newest && (!least || (*at)->used < (*least)->used))
            least = at;
    }
    if (!least)
        return;
    struct map *m = *least;
    *least = m->next;
    cache->count--;
    map_unref(m); /* whoever uses it has a reference */
}

/* Takes the caller's reference; returns the kept map of that epoch. */
static struct map *map_keep(struct client *c, struct map *m)
{
    struct map *same = map_find(c, m->epoch);
    if (same) {
        map_unref(m);
        return same;
    }
    struct map_cache *cache = &c->maps;
    m->next = cache->first;
    m->used = ++cache->tick;
    cache->first = m;
    if (!cache->newest || m->epoch > cache->newest->epoch)
        cache->newest = m;
    if (++cache->count > CLIENT_MAPS_MAX)
        evict_least_used(cache);
    return m;
}

static void fetch_unlink(struct map_fetch *f)
{
    struct map_fetch **at = &f->c->maps.fetches;
    while (*at != f)
        at = &(*at)->next;
    *at = f->next;
}

static int fetch_result(struct map_fetch *f, struct map **ret_map)
{
    const Pb__MapGetRep *rep = f->rpc.rep;
    if (f->rpc.status < 0)
        return f->rpc.status;
    if (f->rpc.status > 0)
        return E_UNAVAILABLE;
    if (!rep || !rep->map || (f->epoch && rep->map->epoch != f->epoch))
        return E_PROTOCOL;
    int err = map_make(rep->map, ret_map);
    if (!err)
        *ret_map = map_keep(f->c, *ret_map);
    return err;
}

/* Tells the waiters, then leaves the list: a callback may cancel other waiters, which must still be found. */
static void fetch_tell(struct map_fetch *f, int err, struct map *m)
{
    while (f->first) {
        struct map_wait *w = f->first;
        f->first = w->next;
        w->cb(w, err, m);
    }
    fetch_unlink(f);
}

static void fetch_late(struct loop_timer *t)
{
    struct map_fetch *f = container_of(t, struct map_fetch, timer);
    f->given_up = true;
    fetch_tell(f, E_DEADLINE, NULL);
}

static void fetch_done(struct rpc *r)
{
    struct map_fetch *f = container_of(r, struct map_fetch, rpc);
    struct client *c = f->c;
    struct map *m = NULL;
    loop_timer_stop(c->loop, &f->timer);
    int err = fetch_result(f, &m);
    buf_unref(r->rep_payload.buf);
    if (!f->given_up) {
        if (m)
            map_ref(m);
        fetch_tell(f, err, m);
        map_unref(m);
    }
    arena_fini(&f->arena);
    free(f);
    client_unref(c);
}

static struct map_fetch *fetch_start(struct client *c, uint64_t epoch)
{
    struct map_fetch *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->c = client_ref(c);
    f->epoch = epoch;
    pb__map_get_req__init(&f->req);
    f->req.epoch = epoch;
    arena_init(&f->arena, MAP_ARENA_BYTES);
    f->rpc = (struct rpc){.type = RPC_MAP_GET, .req = &f->req, .arena = &f->arena, .cb = fetch_done};
    f->rpc.deadline_ns = loop_now_ns(c->loop) + CLIENT_CALL_NS;
    f->next = c->maps.fetches;
    c->maps.fetches = f;
    f->timer.cb = fetch_late;
    loop_timer_start(c->loop, &f->timer, CLIENT_CALL_NS);
    client_submit(c, &f->rpc);
    return f;
}

static struct map_fetch *fetch_find(struct client *c, uint64_t epoch)
{
    struct map_fetch *f = c->maps.fetches;
    while (f && f->epoch != epoch)
        f = f->next;
    return f;
}

int map_get(struct client *c, uint64_t epoch, struct map_wait *w)
{
    struct map_fetch *f = fetch_find(c, epoch);
    if (!f)
        f = fetch_start(c, epoch);
    if (!f)
        return -ENOMEM;
    /* Waiters are appended; the list's end is found by walking, as cancelling leaves no tail to keep. */
    struct map_wait **at = &f->first;
    while (*at)
        at = &(*at)->next;
    w->next = NULL;
    *at = w;
    return 0;
}

void map_cancel(struct client *c, struct map_wait *w)
{
    for (struct map_fetch *f = c->maps.fetches; f; f = f->next) {
        for (struct map_wait **at = &f->first; *at; at = &(*at)->next) {
            if (*at == w) {
                *at = w->next;
                return;
            }
        }
    }
}

void map_refresh(struct client *c)
{
    if (!fetch_find(c, 0))
        fetch_start(c, 0);
}
