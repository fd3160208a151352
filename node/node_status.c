/* node_status - STATUS and MAP_GET: what this node is and how its drives are. */
#include "common/metrics.h"
#include "node/node_impl.h"
#include <stdio.h>
#include <stdlib.h>

static void store_fill(struct node *n, size_t i, const struct meta_status *ms, Pb__StoreStatus *st)
{
    static const char *const states[] = {"missing", "failed", "ok"};
    struct node_drive *d = &n->drives[i];
    const Pb__MapStore *in_map = n->map->stores[i];
    pb__store_status__init(st);
    st->index = (uint32_t)i;
    st->id = in_map->id;
    st->path = d->drive.dir ? d->drive.dir : in_map->label;
    st->state = (char *)(uintptr_t)states[d->state];
    st->why = d->state == NODE_DRIVE_OPEN ? (char *)(uintptr_t) "" : d->why;
    for (unsigned k = 0; k < ms->replica_count; k++)
        if (ms->replicas[k].index == i) {
            st->metadata = true;
            st->metadata_in_sync = ms->replicas[k].in_sync;
        }
    if (d->state != NODE_DRIVE_OPEN || !d->store)
        return;
    struct store_stat stat;
    store_stat(d->store, &stat);
    st->state = (char *)(uintptr_t)store_state_name(stat.state);
    if (stat.state == STORE_SUSPECT)
        st->why = (char *)(uintptr_t) "writes to it failed since the start; the log tells which";
    st->live_bytes = stat.live_bytes;
    st->dead_bytes = stat.dead_bytes;
    st->free_bytes = stat.free_bytes;
    st->total_bytes = stat.total_bytes;
    st->fragments = stat.fragments;
    st->errors = stat.errors;
    st->corrupt = stat.corrupt;
}

/* What is the matter with the metadata's drives, as one line. */
static char *halted_why(const struct meta_status *ms, struct arena *a)
{
    char text[META_REPLICAS_MAX * 160] = "too few of its drives can be written";
    size_t at = 0;
    for (unsigned i = 0; i < ms->replica_count && at < sizeof text; i++)
        if (ms->replicas[i].why[0])
            at += (size_t)snprintf(text + at, sizeof text - at, "%sdrive %u: %s", at ? "; " : "", ms->replicas[i].index,
                                   ms->replicas[i].why);
    return arena_copy(a, text, strlen(text));
}

/* Everything that may change before cb reads it is copied; drives and map live as long as the node. */
int node_status_answer(struct node *n, struct rpc *r)
{
    struct meta_status ms = {0};
    size_t count = n->map->n_stores;
    Pb__StatusRep *rep = arena_alloc(r->arena, sizeof *rep);
    Pb__StoreStatus *stores = arena_alloc(r->arena, count * sizeof *stores);
    Pb__StoreStatus **list = arena_alloc(r->arena, count * sizeof(Pb__StoreStatus *));
    if (!rep || !stores || !list)
        return -ENOMEM;
    if (n->meta)
        meta_status(n->meta, &ms);
    pb__status_rep__init(rep);
    for (size_t i = 0; i < count; i++) {
        store_fill(n, i, &ms, &stores[i]);
        list[i] = &stores[i];
    }
    rep->version = (char *)(uintptr_t)LECTERN_VERSION;
    rep->cluster_id = n->map->cluster_id;
    rep->map_epoch = n->map->epoch;
    rep->k = n->map->k;
    rep->m = n->map->m;
    rep->n_stores = count;
    rep->stores = list;
    rep->buckets = ms.buckets;
    rep->objects = ms.objects;
    rep->repair_rows = ms.repair_rows;
    rep->gc_rows = ms.gc_rows;
    rep->meta_seq = ms.seq;
    rep->writable = n->meta && ms.writable;
    if (!rep->writable && !(rep->halted_why = halted_why(&ms, r->arena)))
        return -ENOMEM;
    rep->meta_epoch = ms.epoch;
    rep->disk_engine = (char *)(uintptr_t)n->disk->name;
    rep->uptime_s = (loop_now_ns(n->loop) - n->opened_ns) / SEC_NS;
    r->rep = rep;
    return 0;
}

int node_map_answer(struct node *n, struct rpc *r)
{
    const Pb__MapGetReq *q = r->req;
    if (q->epoch != 0 && q->epoch != n->map->epoch)
        return RPC_NOT_FOUND;
    Pb__MapGetRep *rep = arena_alloc(r->arena, sizeof *rep);
    if (!rep)
        return -ENOMEM;
    pb__map_get_rep__init(rep);
    rep->map = n->map; /* lives as long as the node */
    r->rep = rep;
    return 0;
}
