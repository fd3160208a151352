/* node - composes the drives' stores and the metadata service into one rpc peer. Opening is blocking and in order:
 * drives (parallel), map, metadata. Closing goes the other way: metadata first, because its gc deletes through the
 * stores, then the stores, then their indexes and locks. */
#include "common/log.h"
#include "node/node_impl.h"
#include "replication/quorum.h"
#include <stdio.h>
#include <stdlib.h>

void node_default_code(unsigned drives, unsigned *ret_k, unsigned *ret_m)
{
    static const struct {
        unsigned drives, k, m;
    } rows[] = {{12, 8, 3}, {6, 4, 2}, {4, 2, 2}, {3, 2, 1}, {2, 1, 1}, {0, 1, 0}};
    size_t i = 0;
    while (drives < rows[i].drives)
        i++;
    *ret_k = rows[i].k;
    *ret_m = rows[i].m;
}

unsigned node_write_quorum(unsigned k, unsigned m)
{
    return quorum_for(k, m);
}

/* ---- rpc ---- */

static void answers_run(struct loop_post *p)
{
    struct node *n = container_of(p, struct node, done_post);
    struct rpc *r = n->done_first;
    n->done_first = NULL;
    n->done_last = &n->done_first;
    n->done_posted = false;
    for (struct rpc *next; r; r = next) {
        next = r->next;
        r->cb(r);
        n->rpcs--;
    }
    node_idle(n);
}

void node_answer(struct node *n, struct rpc *r, int status)
{
    r->status = status;
    r->next = NULL;
    n->rpcs++;
    *n->done_last = r;
    n->done_last = &r->next;
    if (n->done_posted)
        return;
    n->done_posted = true;
    loop_post(n->loop, &n->done_post);
}

static void node_submit(struct rpc_peer *p, struct rpc *r)
{
    struct node *n = container_of(p, struct node, peer);
    r->rep = NULL;
    r->rep_payload = (struct slice){0};
    switch (r->type) {
    case RPC_FRAG_WRITE:
    case RPC_FRAG_READ:
    case RPC_FRAG_DELETE:
        node_frag_submit(n, r);
        return;
    case RPC_STATUS:
        node_answer(n, r, node_status_answer(n, r));
        return;
    case RPC_MAP_GET:
        node_answer(n, r, node_map_answer(n, r));
        return;
    default:
        if (n->meta && !n->closing)
            meta_submit(n->meta, r);
        else
            node_answer(n, r, E_UNAVAILABLE);
        return;
    }
}

struct rpc_peer *node_peer(struct node *n)
{
    return &n->peer;
}

/* ---- opening ---- */

static int meta_begin(struct node *n, char *why, size_t why_cap)
{
    struct meta_replica_conf replicas[META_REPLICAS_MAX];
    char *dirs[META_REPLICAS_MAX] = {NULL};
    unsigned total = (unsigned)MIN_OF(n->map->n_stores, (size_t)META_REPLICAS_MAX), count = 0;
    int err = 0;
    for (unsigned i = 0; i < total && err == 0; i++) {
        struct node_drive *d = &n->drives[i];
        if (d->state != NODE_DRIVE_OPEN)
            continue;
        dirs[count] = drive_path(&d->drive, "meta");
        err = dirs[count] ? 0 : -ENOMEM;
        replicas[count] = (struct meta_replica_conf){.dir = dirs[count], .index = i};
        memcpy(replicas[count].id, d->drive.id, sizeof replicas[count].id);
        count++;
    }
    struct meta_conf conf = {.loop = n->loop,
                             .work = n->work,
                             .disk = n->disk,
                             .replicas = replicas,
                             .replica_count = count,
                             .replica_total = total,
                             .kv_cache_bytes = n->conf.kv_cache_bytes,
                             .gc_delay_ms = n->conf.gc_delay_ms,
                             .upload_expire_ms = n->conf.upload_expire_ms,
                             .accept_missing = n->conf.accept_missing,
                             .frag_delete = node_gc_delete,
                             .ctx = n};
    if (err == 0)
        err = meta_open(&conf, &n->meta, why, why_cap);
    for (unsigned i = 0; i < META_REPLICAS_MAX; i++)
        free(dirs[i]);
    return err;
}

static void node_free(struct node *n)
{
    node_drives_free(n);
    ring_fini(&n->ring);
    if (n->map)
        pb__map__free_unpacked(n->map, NULL);
    free(n);
}

static void store_closed(void *ctx)
{
    size_t *open = ctx;
    --*open;
}

/* node_open failed with stores open: the loop does not run yet, so it is turned here until they are closed. */
static void open_undo(struct node *n)
{
    size_t open = 0;
    for (size_t i = 0; n->drives && i < n->map->n_stores; i++) {
        if (!n->drives[i].store)
            continue;
        open++;
        store_close(n->drives[i].store, store_closed, &open);
        n->drives[i].store = NULL;
    }
    while (open > 0)
        loop_turn(n->loop);
    node_free(n);
}

int node_open(struct loop *loop, struct work *work, struct disk *disk, const struct node_conf *conf,
              struct node **ret_node, char *why, size_t why_cap)
{
    if (why_cap)
        why[0] = '\0';
    if (conf->dir_count == 0 || conf->dir_count > NODE_DRIVES_MAX) {
        snprintf(why, why_cap, "%u drives were given; 1 to %d can be used", conf->dir_count, NODE_DRIVES_MAX);
        return -EINVAL;
    }
    struct node *n = calloc(1, sizeof *n);
    if (!n) {
        snprintf(why, why_cap, "%s", err_text(-ENOMEM));
        return -ENOMEM;
    }
    n->peer.submit = node_submit;
    n->loop = loop;
    n->work = work;
    n->disk = disk;
    n->conf = *conf;
    n->opened_ns = loop_now_ns(loop);
    n->done_last = &n->done_first;
    n->done_post.cb = answers_run;
    int err = node_drives_open(n, why, why_cap);
    n->conf.dirs = NULL;
    if (err == 0)
        err = meta_begin(n, why, why_cap);
    if (err) {
        if (why_cap && why[0] == '\0')
            snprintf(why, why_cap, "%s", err_text(err));
        open_undo(n);
        return err;
    }
    for (size_t i = 0; i < n->map->n_stores; i++)
        if (n->drives[i].state == NODE_DRIVE_OPEN)
            store_start(n->drives[i].store);
    log_event(LOG_INFO, "node.open", "drives=%zu of=%zu code=%u+%u engine=%s ms=%llu", n->stores_open, n->map->n_stores,
              n->map->k, n->map->m, disk->name, (unsigned long long)((loop_now_ns(loop) - n->opened_ns) / MS_NS));
    *ret_node = n;
    return 0;
}

/* ---- closing ---- */

static void close_end(struct node *n)
{
    void (*cb)(void *ctx) = n->closed_cb;
    void *ctx = n->closed_ctx;
    node_free(n);
    cb(ctx);
}

static void drive_closed(void *ctx)
{
    struct node *n = ctx;
    n->stores_open--;
    node_idle(n);
}

static void meta_closed(void *ctx)
{
    struct node *n = ctx;
    n->meta = NULL;
    for (size_t i = 0; i < n->map->n_stores; i++) {
        struct store *s = n->drives[i].store;
        n->drives[i].store = NULL;
        if (s)
            store_close(s, drive_closed, n);
    }
}

void node_idle(struct node *n)
{
    if (n->closing && !n->meta && n->rpcs == 0 && n->gcs == 0 && n->stores_open == 0)
        close_end(n);
}

void node_close(struct node *n, void (*closed_cb)(void *ctx), void *ctx)
{
    assert(!n->closing);
    n->closing = true;
    n->closed_cb = closed_cb;
    n->closed_ctx = ctx;
    meta_close(n->meta, meta_closed, n);
}
