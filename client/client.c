/* client - opening and closing; the rest stands in write.c, read.c and map.c.
 *
 * The client is reference-counted inside: writes and reads that were freed while rpcs of theirs were out ("ghosts")
 * keep it until those have answered, so client_close may come right after the last free. */
#include "client/internal.h"
#include <stdlib.h>

struct opening {
    struct client *c;
    struct map_wait wait;
    void (*ready_cb)(void *ctx, int err);
    void *ctx;
};

struct client *client_ref(struct client *c)
{
    c->refs++;
    return c;
}

static void drained_check(struct client *c)
{
    if (c->refs > 1 || !c->drained_cb || c->drained_posted)
        return;
    c->drained_posted = true;
    loop_post(c->loop, &c->drained_post);
}

void client_unref(struct client *c)
{
    assert(c->refs > 0);
    if (--c->refs > 0) {
        drained_check(c);
        return;
    }
    assert(!c->decode_first && c->decodes == 0);
    map_cache_fini(&c->maps);
    if (c->write_pool)
        bufpool_destroy(c->write_pool);
    if (c->read_pool)
        bufpool_destroy(c->read_pool);
    free(c);
}

static void opened(struct map_wait *w, int err, struct map *map)
{
    struct opening *o = container_of(w, struct opening, wait);
    (void)map; /* kept by the cache */
    struct client *c = o->c;
    o->ready_cb(o->ctx, err);
    free(o);
    client_unref(c);
}

static int client_begin(struct client *c, const struct client_conf *conf, struct opening *o)
{
    int err = bufpool_create(c->loop, conf->write_pool_bytes, &c->write_pool);
    if (!err)
        err = bufpool_create(c->loop, conf->read_pool_bytes, &c->read_pool);
    if (!err)
        err = map_get(c, 0, &o->wait);
    return err;
}

int client_open(struct loop *loop, struct work *work, struct rpc_peer *peer, const struct client_conf *conf,
                struct client **ret_client, void (*ready_cb)(void *ctx, int err), void *ctx)
{
    struct client *c = calloc(1, sizeof *c);
    struct opening *o = calloc(1, sizeof *o);
    if (!c || !o) {
        free(c);
        free(o);
        return -ENOMEM;
    }
    *c = (struct client){.loop = loop, .work = work, .peer = peer, .refs = 1};
    c->read_pool_bytes = conf->read_pool_bytes;
    *o = (struct opening){.c = c, .wait.cb = opened, .ready_cb = ready_cb, .ctx = ctx};
    int err = client_begin(c, conf, o);
    if (err) {
        free(o);
        client_unref(c);
        return err;
    }
    client_ref(c); /* the opening's */
    *ret_client = c;
    return 0;
}

static void drained(struct loop_post *p)
{
    struct client *c = container_of(p, struct client, drained_post);
    void (*cb)(void *ctx) = c->drained_cb;
    c->drained_posted = false;
    if (c->refs > 1) /* a sweep began meanwhile: its end comes here again */
        return;
    c->drained_cb = NULL;
    cb(c->drained_ctx);
}

void client_drain(struct client *c, void (*drained_cb)(void *ctx), void *ctx)
{
    assert(!c->drained_cb && !c->closed);
    c->drained_post.cb = drained;
    c->drained_cb = drained_cb;
    c->drained_ctx = ctx;
    drained_check(c);
}

void client_close(struct client *c)
{
    assert(!c->drained_cb);
    c->closed = true;
    client_unref(c);
}

static void refuse(struct loop_post *p)
{
    struct client *c = container_of(p, struct client, refuse_post);
    struct rpc *r = c->refused;
    c->refused = NULL;
    for (struct rpc *next; r; r = next) {
        next = r->next;
        r->status = -ECANCELED;
        r->rep = NULL;
        r->rep_payload = (struct slice){0};
        r->cb(r);
    }
    client_unref(c);
}

void client_submit(struct client *c, struct rpc *r)
{
    if (!c->closed) {
        c->peer->submit(c->peer, r);
        return;
    }
    r->next = NULL;
    if (!c->refused) {
        client_ref(c);
        c->refuse_post.cb = refuse;
        c->refused_last = &c->refused;
        loop_post(c->loop, &c->refuse_post);
    }
    *c->refused_last = r;
    c->refused_last = &r->next;
}

void client_call(struct client *c, struct rpc *r)
{
    client_submit(c, r);
}
