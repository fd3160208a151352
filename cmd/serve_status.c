/* serve_status - what `lectern status` shows: the node's answer to STATUS, asked for on a timer and kept as JSON with
 * what this process knows of itself; and the gauges that nobody else sets. */
#include "cmd/serve.h"
#include "common/crypt.h"
#include "common/metrics.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define STATUS_EVERY_NS    SEC_NS
#define STATUS_ARENA_MAX   (1 * MIB)
#define STATUS_DEADLINE_NS (10 * SEC_NS)

static json_t *store_json(const Pb__StoreStatus *st)
{
    char id[65] = "";
    if (st->id.len <= 32)
        hex_encode(st->id.data, st->id.len, id);
    return json_pack("{s:i,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:s,s:b,s:b,s:I,s:I}", "index", (int)st->index, "id", id,
                     "path", st->path, "state", st->state, "live_bytes", (json_int_t)st->live_bytes, "dead_bytes",
                     (json_int_t)st->dead_bytes, "free_bytes", (json_int_t)st->free_bytes, "total_bytes",
                     (json_int_t)st->total_bytes, "fragments", (json_int_t)st->fragments, "why", st->why, "metadata",
                     (int)st->metadata, "metadata_in_sync", (int)st->metadata_in_sync, "errors", (json_int_t)st->errors,
                     "corrupt", (json_int_t)st->corrupt);
}

static json_t *status_json(const struct serve *s, const Pb__StatusRep *rep)
{
    char s3[300], control[300], cluster[65] = "";
    serve_address(s, SERVE_S3, s3, sizeof(s3));
    serve_address(s, SERVE_CONTROL, control, sizeof(control));
    if (rep->cluster_id.len <= 32)
        hex_encode(rep->cluster_id.data, rep->cluster_id.len, cluster);
    json_t *stores = json_array();
    for (size_t i = 0; i < rep->n_stores; i++)
        json_array_append_new(stores, store_json(rep->stores[i]));
    return json_pack("{s:s,s:s,s:I,s:s,s:{s:i,s:i,s:i},s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:b,s:s,s:s,s:s,s:s,s:o}", "version",
                     LECTERN_VERSION, "cluster_id", cluster, "uptime_s",
                     (json_int_t)((loop_now_ns(s->loop) - s->started_ns) / SEC_NS), "disk_engine", s->disk->name,
                     "code", "k", (int)rep->k, "m", (int)rep->m, "write_quorum", (int)node_write_quorum(rep->k, rep->m),
                     "map_epoch", (json_int_t)rep->map_epoch, "metadata_epoch", (json_int_t)rep->meta_epoch,
                     "metadata_sequence", (json_int_t)rep->meta_seq, "buckets", (json_int_t)rep->buckets, "objects",
                     (json_int_t)rep->objects, "repair_rows", (json_int_t)rep->repair_rows, "gc_rows",
                     (json_int_t)rep->gc_rows, "metadata_writable", (int)rep->writable, "metadata_why", rep->halted_why,
                     "s3", s3, "control", control, "external_url", s->external_url, "stores", stores);
}

static void set_gauges(const struct serve *s, const Pb__StatusRep *rep)
{
    metric_set(M_UPTIME, NULL, (double)(loop_now_ns(s->loop) - s->started_ns) / (double)SEC_NS);
    unsigned in_sync = 0;
    for (size_t i = 0; i < rep->n_stores; i++) {
        const Pb__StoreStatus *st = rep->stores[i];
        char label[16];
        snprintf(label, sizeof(label), "%u", st->index);
        in_sync += st->metadata_in_sync;
        metric_set(M_STORE_LIVE_BYTES, label, (double)st->live_bytes);
        metric_set(M_STORE_DEAD_BYTES, label, (double)st->dead_bytes);
        metric_set(M_STORE_FREE_BYTES, label, (double)st->free_bytes);
    }
    metric_set(M_META_REPLICAS, NULL, in_sync);
}

/* The listeners count for themselves; what came since the last look goes to the metrics. */
static void count_listeners(struct serve *s)
{
    static const char *const names[SERVE_SERVERS] = {"s3", "control"};
    for (int i = 0; i < SERVE_SERVERS; i++) {
        struct http_server_stats now, *old = &s->status.counted[i];
        if (!s->listeners[i].server)
            continue;
        http_server_stats(s->listeners[i].server, &now);
        metric_set(M_HTTP_CONNS, names[i], (double)now.conns_open);
        metric_add(M_HTTP_REQUESTS, names[i], now.requests_total - old->requests_total);
        metric_add(M_HTTP_REFUSED, names[i], now.refused_total - old->refused_total);
        metric_add(M_HTTP_IN_BYTES, names[i], now.in_bytes - old->in_bytes);
        metric_add(M_HTTP_OUT_BYTES, names[i], now.out_bytes - old->out_bytes);
        *old = now;
    }
}

static void answered(struct rpc *r)
{
    struct serve *s = r->user;
    struct serve_status *st = &s->status;
    st->asking = false;
    if (r->status == 0 && r->rep) {
        const Pb__StatusRep *rep = r->rep;
        json_t *json = status_json(s, rep);
        char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
        json_decref(json);
        if (text) {
            free(st->json);
            st->json = text;
        }
        snprintf(st->halted, sizeof(st->halted), "%s", rep->writable ? "" : rep->halted_why);
        st->k = rep->k;
        st->m = rep->m;
        st->drives = (unsigned)rep->n_stores;
        st->serving = 0;
        for (size_t i = 0; i < rep->n_stores; i++)
            st->serving += strcmp(rep->stores[i]->state, "ok") == 0;
        set_gauges(s, rep);
        serve_announce(s);
    }
    count_listeners(s);
    arena_fini(&st->arena);
    if (!s->stopping)
        loop_timer_start(s->loop, &st->timer, STATUS_EVERY_NS);
}

static void ask(struct loop_timer *t)
{
    struct serve_status *st = container_of(t, struct serve_status, timer);
    struct serve *s = container_of(st, struct serve, status);
    arena_init(&st->arena, STATUS_ARENA_MAX);
    st->req = (Pb__StatusReq)PB__STATUS_REQ__INIT;
    st->rpc = (struct rpc){.type = RPC_STATUS,
                           .req = &st->req,
                           .arena = &st->arena,
                           .deadline_ns = loop_now_ns(s->loop) + STATUS_DEADLINE_NS,
                           .cb = answered,
                           .user = s};
    st->asking = true;
    struct rpc_peer *peer = node_peer(s->node); /* past the client: the node answers it even while it closes */
    peer->submit(peer, &st->rpc);
}

void serve_status_start(struct serve *s)
{
    s->status.timer.cb = ask;
    ask(&s->status.timer);
}

void serve_status_stop(struct serve *s)
{
    loop_timer_stop(s->loop, &s->status.timer);
}

void serve_status_fini(struct serve *s)
{
    assert(!s->status.asking); /* the node answers everything before it is closed */
    free(s->status.json);
    s->status.json = NULL;
}

void serve_status_json(void *serve, struct sbuf *json)
{
    const struct serve *s = serve;
    sbuf_puts(json, s->status.json ? s->status.json : "{}");
}

const char *serve_status_halted(void *serve)
{
    const struct serve *s = serve;
    return s->status.halted[0] ? s->status.halted : NULL;
}
