/* meta - takes requests from the loop and answers them. Writes queue; while one group is judged, logged and applied the
 * next one collects, so under load a log write carries many changes and without load a change waits for nobody. Reads
 * have slots on the work threads. Nothing is ever answered inside meta_submit: even a refusal goes through a post. */
#include "node/meta_impl.h"
#include "common/log.h"
#include "common/metrics.h"
#include <stdio.h>
#include <stdlib.h>

static const struct {
    int type;
    bool write;
    meta_op_fn fn;
} ops[] = {
    {RPC_BUCKET_CREATE, true, meta_bucket_create},
    {RPC_BUCKET_GET, false, meta_bucket_get},
    {RPC_BUCKET_DELETE, true, meta_bucket_delete},
    {RPC_BUCKET_LIST, false, meta_bucket_list},
    {RPC_OBJECT_PUT, true, meta_object_put},
    {RPC_OBJECT_GET, false, meta_object_get},
    {RPC_OBJECT_DELETE, true, meta_object_delete},
    {RPC_OBJECT_LIST, false, meta_object_list},
    {RPC_UPLOAD_CREATE, true, meta_upload_create},
    {RPC_UPLOAD_GET, false, meta_upload_get},
    {RPC_UPLOAD_ABORT, true, meta_upload_abort},
    {RPC_UPLOAD_LIST, false, meta_upload_list},
    {RPC_PART_PUT, true, meta_part_put},
    {RPC_PART_LIST, false, meta_part_list},
    {RPC_UPLOAD_COMPLETE, true, meta_upload_complete},
    {RPC_ROWS_TXN, true, meta_rows_txn},
    {RPC_ROWS_GET, false, meta_rows_get},
    {RPC_ROWS_RANGE, false, meta_rows_range},
    {META_GC_DONE, true, meta_gc_done},
    {META_CLAIM, true, meta_gc_claim},
};

meta_op_fn meta_op_find(int type, bool *ret_write)
{
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        if (ops[i].type == type) {
            *ret_write = ops[i].write;
            return ops[i].fn;
        }
    }
    return NULL;
}

void meta_queue_add(struct meta_queue *q, struct rpc *r)
{
    r->next = NULL;
    if (q->last)
        q->last->next = r;
    else
        q->first = r;
    q->last = r;
    q->count++;
}

struct rpc *meta_queue_take(struct meta_queue *q)
{
    struct rpc *r = q->first;
    if (!r)
        return NULL;
    q->first = r->next;
    q->last = q->first ? q->last : NULL;
    q->count--;
    r->next = NULL;
    return r;
}

/* ---- answers that nobody had to think about ---- */

static void refuse_run(struct loop_post *p)
{
    struct meta *m = container_of(p, struct meta, refuse_post);
    struct meta_queue q = m->refused;
    m->refused = (struct meta_queue){0};
    m->refuse_posted = false;
    for (struct rpc *r = meta_queue_take(&q); r; r = meta_queue_take(&q))
        r->cb(r);
    meta_settle(m);
}

static void refuse(struct meta *m, struct rpc *r, int status)
{
    r->status = status;
    r->rep = NULL;
    meta_queue_add(&m->refused, r);
    if (m->refuse_posted)
        return;
    m->refuse_posted = true;
    m->refuse_post.cb = refuse_run;
    loop_post(m->conf.loop, &m->refuse_post);
}

/* ---- reads ---- */

static void judge(struct meta_op *op, struct rpc *r)
{
    bool write;
    meta_op_fn fn = meta_op_find((int)r->type, &write);
    assert(fn);
    r->rep = NULL;
    r->status = fn(op, r);
    if (r->status < 0)
        r->rep = NULL;
}

static void read_run(struct work_req *work)
{
    struct meta_read *read = container_of(work, struct meta_read, work);
    struct arena scratch;
    struct meta_view view;
    arena_init(&scratch, META_SCRATCH_BYTES);
    meta_view_init(&view, read->kv, META_SCRATCH_BYTES);
    struct meta_op op = {.view = &view, .scratch = &scratch, .now_ms = read->now_ms};
    judge(&op, read->rpc);
    meta_view_fini(&view);
    arena_fini(&scratch);
}

static void reads_start(struct meta *m);

static void read_done(struct work_req *work)
{
    struct meta_read *read = container_of(work, struct meta_read, work);
    struct meta *m = read->meta;
    struct rpc *r = read->rpc;
    read->rpc = NULL;
    read->next = m->free_slots;
    m->free_slots = read;
    m->reads_out--;
    reads_start(m);
    r->cb(r);
    meta_settle(m);
}

static uint64_t now_ms(struct meta *m)
{
    struct clock *c = loop_clock(m->conf.loop);
    return c->wall_ms(c);
}

static void reads_start(struct meta *m)
{
    while (m->free_slots && m->reads.count > 0 && !m->restart.paused) {
        struct meta_read *read = m->free_slots;
        m->free_slots = read->next;
        read->rpc = meta_queue_take(&m->reads);
        read->now_ms = now_ms(m);
        read->kv = m->primary;
        read->work.run = read_run;
        read->work.cb = read_done;
        m->reads_out++;
        work_submit(m->conf.work, &read->work);
    }
}

/* ---- writes ---- */

static void group_advance(struct meta *m);

/* Judges one request; its changes stay only when it answers 0. */
static void judge_write(struct meta_group *g, struct meta_op *op, struct rpc *r)
{
    size_t before = g->view.batch.ops.len;
    meta_view_begin(&g->view);
    judge(op, r);
    if (r->status == 0 && g->view.batch.ops.len - before > META_BATCH_MAX) {
        r->status = E_LIMIT;
        r->rep = NULL;
    }
    if (r->status != 0) {
        meta_view_undo(&g->view);
        return;
    }
    r->status = meta_view_keep(&g->view);
    if (r->status < 0)
        r->rep = NULL;
}

static int counters_put(struct meta_group *g)
{
    struct meta_op op = {.view = &g->view, .scratch = &g->scratch};
    Pb__MetaCounters row = PB__META_COUNTERS__INIT;
    row.format = META_FORMAT;
    row.buckets = g->view.counters.buckets;
    row.objects = g->view.counters.objects;
    row.repair_rows = g->view.counters.repair_rows;
    row.gc_rows = g->view.counters.gc_rows;
    row.revision = g->view.counters.revision;
    meta_view_begin(&g->view);
    int err = meta_store(&op, STR("s/counters"), &row.base);
    return err ? err : meta_view_keep(&g->view);
}

static void group_judge(struct work_req *work)
{
    struct meta_group *g = container_of(work, struct meta_group, work);
    struct meta *m = container_of(g, struct meta, group);
    struct meta_op op = {
        .view = &g->view, .scratch = &g->scratch, .now_ms = g->now_ms, .gc_delay_ms = m->conf.gc_delay_ms};
    g->full = meta_space_low(m);
    while (g->rpcs.count > 0 && g->view.batch.ops.len < META_GROUP_BYTES) {
        struct rpc *r = meta_queue_take(&g->rpcs);
        if (g->full && meta_space_grows(r)) {
            r->status = -ENOSPC;
            r->rep = NULL;
        } else {
            judge_write(g, &op, r);
        }
        meta_queue_add(&g->judged, r);
        arena_fini(&g->scratch);
    }
    arena_fini(&g->scratch);
    if (g->view.batch.count == 0)
        return;
    g->err = counters_put(g);
    if (!g->err)
        g->err = metalog_entry_init(&g->entry, (struct str){g->view.batch.ops.p, g->view.batch.ops.len});
    arena_fini(&g->scratch);
}

static void group_apply(struct work_req *work)
{
    struct meta_group *g = container_of(work, struct meta_group, work);
    struct meta *m = container_of(g, struct meta, group);
    meta_apply(m);
}

static void group_work_done(struct work_req *work)
{
    group_advance(container_of(container_of(work, struct meta_group, work), struct meta, group));
}

static void group_work(struct meta *m, enum meta_step step, void (*run)(struct work_req *r))
{
    m->group.step = step;
    m->group.work.run = run;
    m->group.work.cb = group_work_done;
    work_submit(m->conf.work, &m->group.work);
}

static void group_start(struct meta *m)
{
    struct meta_group *g = &m->group;
    if (g->step != META_IDLE || m->writes.count == 0 || m->restart.paused)
        return;
    while (m->writes.count > 0 && g->rpcs.count < META_GROUP_MAX)
        meta_queue_add(&g->rpcs, meta_queue_take(&m->writes));
    meta_view_init(&g->view, m->primary, META_SCRATCH_BYTES);
    arena_init(&g->scratch, META_SCRATCH_BYTES);
    g->view.counters = m->counters;
    g->now_ms = now_ms(m);
    g->watched = 0;
    for (unsigned i = 0; i < m->replica_count; i++)
        g->watched |= m->replicas[i].failed || m->replicas[i].state != META_COPY_GOOD ? 0 : 1U << i;
    g->err = 0;
    group_work(m, META_JUDGE, group_judge);
}

/* Requests that found no room in the group go back to the head of the queue. */
static void group_give_back(struct meta *m)
{
    struct meta_queue *rest = &m->group.rpcs;
    if (rest->count == 0)
        return;
    rest->last->next = m->writes.first;
    if (!m->writes.last)
        m->writes.last = rest->last;
    m->writes.first = rest->first;
    m->writes.count += rest->count;
    *rest = (struct meta_queue){0};
}

/* The group has ended: everyone in it is answered, and the next one begins. */
static void group_end(struct meta *m)
{
    struct meta_group *g = &m->group;
    struct meta_queue judged = g->judged;
    int err = g->err;
    if (!err && g->view.batch.count > 0) {
        m->counters = g->view.counters;
        metric_add(M_META_GROUPS, NULL, 1);
        metric_add(M_META_COMMITS, NULL, judged.count);
    }
    g->judged = (struct meta_queue){0};
    meta_view_fini(&g->view);
    metalog_entry_fini(&g->entry);
    g->step = META_IDLE;
    group_start(m);
    for (struct rpc *r = meta_queue_take(&judged); r; r = meta_queue_take(&judged)) {
        if (err) {
            r->status = err;
            r->rep = NULL;
        }
        r->cb(r);
    }
    meta_settle(m);
}

static void group_advance(struct meta *m)
{
    struct meta_group *g = &m->group;
    switch (g->step) {
    case META_JUDGE:
        group_give_back(m);
        if (g->err || g->view.batch.count == 0)
            break;
        if (!meta_writable(m)) {
            g->err = E_QUORUM;
            break;
        }
        g->step = META_LOG;
        meta_commit(m);
        return;
    case META_LOG:
        if (g->err)
            break;
        meta_apply_begin(m);
        group_work(m, META_APPLY, group_apply);
        return;
    case META_APPLY:
        meta_applied(m);
        break;
    case META_IDLE:
        assert(false);
    }
    if (g->err)
        log_event(LOG_ERROR, "metadata_write_failed", "err=%s", log_quote(str_c(err_text(g->err))));
    group_end(m);
}

void meta_committed(struct meta *m)
{
    group_advance(m);
}

void meta_submit(struct meta *m, struct rpc *r)
{
    bool write;
    if (!meta_op_find((int)r->type, &write)) {
        refuse(m, r, -ENOSYS);
    } else if (m->closing) {
        refuse(m, r, -ECANCELED);
    } else if (m->restart.down) {
        refuse(m, r, E_UNAVAILABLE);
    } else if (!write) {
        meta_queue_add(&m->reads, r);
        reads_start(m);
    } else if (!m->restart.paused && !meta_writable(m)) {
        refuse(m, r, E_QUORUM);
    } else if (m->writes.count >= META_QUEUE_MAX) {
        refuse(m, r, E_UNAVAILABLE);
    } else {
        meta_queue_add(&m->writes, r);
        group_start(m);
    }
}

/* ---- claims ---- */

static void claim_done(struct rpc *r)
{
    struct meta_claim *c = container_of(r, struct meta_claim, rpc);
    arena_fini(&c->arena);
    c->cb(c, r->status);
}

void meta_claim(struct meta *m, struct meta_claim *c)
{
    arena_init(&c->arena, MIB);
    struct meta_claim_req *req = arena_alloc(&c->arena, sizeof *req);
    c->rpc = (struct rpc){.type = (enum rpc_type)META_CLAIM, .req = req, .arena = &c->arena, .cb = claim_done};
    if (!req || c->count > META_TXN_MAX) {
        refuse(m, &c->rpc, req ? E_LIMIT : -ENOMEM);
        return;
    }
    *req = (struct meta_claim_req){c->ids, c->count, c->ret_claimed};
    meta_submit(m, &c->rpc);
}

/* ---- open, close, status ---- */

static int counters_load(struct meta *m)
{
    struct arena a;
    struct str value;
    Pb__MetaCounters *row;
    arena_init(&a, MIB);
    int err = m->primary->ops->get(m->primary, STR("s/counters"), &a, &value);
    if (!err)
        err = meta_unpack(&a, &pb__meta_counters__descriptor, value, &row);
    if (!err)
        m->counters = (struct meta_counters){row->buckets, row->objects, row->repair_rows, row->gc_rows, row->revision};
    arena_fini(&a);
    return err == KV_NOT_FOUND ? 0 : err;
}

static void replicas_close(struct meta *m)
{
    for (unsigned i = 0; i < m->replica_count; i++)
        meta_replica_close(&m->replicas[i]);
    m->replica_count = 0;
    m->primary = NULL;
}

static void replica_idle(struct meta_replica *r)
{
    meta_settle(r->owner);
}

int meta_start_again(struct meta *m, char *why, size_t why_cap)
{
    replicas_close(m);
    arena_fini(&m->config_arena);
    arena_init(&m->config_arena, MIB);
    int err = meta_start(m, why, why_cap);
    if (!err)
        err = counters_load(m);
    if (err)
        replicas_close(m);
    for (unsigned i = 0; i < m->replica_count; i++)
        m->replicas[i].idle = replica_idle;
    return err;
}

/* The caller's list of replicas is gone after meta_open; a restart needs it. */
static int confs_copy(struct meta *m)
{
    const struct meta_conf *c = &m->conf;
    if (c->replica_count > META_REPLICAS_MAX)
        return -EINVAL;
    for (unsigned i = 0; i < c->replica_count; i++) {
        m->dirs[i] = strdup(c->replicas[i].dir);
        if (!m->dirs[i])
            return -ENOMEM;
        m->replica_confs[i] = c->replicas[i];
        m->replica_confs[i].dir = m->dirs[i];
    }
    m->conf.replicas = m->replica_confs;
    return 0;
}

static void meta_free(struct meta *m)
{
    for (unsigned i = 0; i < META_REPLICAS_MAX; i++)
        free(m->dirs[i]);
    sbuf_fini(&m->gc.expiry_after);
    arena_fini(&m->config_arena);
    free(m);
}

int meta_open(const struct meta_conf *conf, struct meta **ret_meta, char *why, size_t why_cap)
{
    struct meta *m = calloc(1, sizeof *m);
    if (!m)
        return -ENOMEM;
    m->conf = *conf;
    arena_init(&m->config_arena, MIB);
    for (size_t i = 0; i < META_READS; i++) {
        m->slots[i].meta = m;
        m->slots[i].next = m->free_slots;
        m->free_slots = &m->slots[i];
    }
    int err = confs_copy(m);
    if (!err)
        err = meta_start_again(m, why, why_cap);
    if (err) {
        meta_free(m);
        return err;
    }
    metric_set(M_META_REPLICAS, NULL, __builtin_popcount(metalog_in_set(&m->core)));
    meta_restart_want(m);
    meta_gc_open(m);
    *ret_meta = m;
    return 0;
}

void meta_status(struct meta *m, struct meta_status *ret)
{
    if (m->restart.paused || m->restart.down) {
        *ret = m->restart.status;
        return;
    }
    *ret = (struct meta_status){
        .buckets = m->counters.buckets,
        .objects = m->counters.objects,
        .repair_rows = m->counters.repair_rows,
        .gc_rows = m->counters.gc_rows,
        .seq = m->core.commit,
        .epoch = m->core.epoch,
        .writable = meta_writable(m),
        .replica_count = m->replica_count,
    };
    uint32_t set = metalog_in_set(&m->core);
    for (unsigned i = 0; i < m->replica_count; i++) {
        ret->replicas[i].index = m->replicas[i].self.index;
        snprintf(ret->replicas[i].why, sizeof ret->replicas[i].why, "%s", m->replicas[i].why);
    }
    for (unsigned i = 0; i < m->core.member_count; i++)
        if (m->replica_of[i] >= 0)
            ret->replicas[m->replica_of[i]].in_sync = set & 1U << i;
}

static void refuse_all(struct meta *m, struct meta_queue *q, int status)
{
    for (struct rpc *r = meta_queue_take(q); r; r = meta_queue_take(q))
        refuse(m, r, status);
}

void meta_resume(struct meta *m)
{
    if (m->restart.down) {
        refuse_all(m, &m->writes, E_UNAVAILABLE);
        refuse_all(m, &m->reads, E_UNAVAILABLE);
    }
    group_start(m);
    reads_start(m);
    meta_settle(m);
}

static void close_run(struct work_req *work)
{
    struct meta *m = container_of(work, struct meta, close_work);
    replicas_close(m);
}

static void close_done(struct work_req *work)
{
    struct meta *m = container_of(work, struct meta, close_work);
    void (*cb)(void *) = m->closed_cb;
    void *ctx = m->closed_ctx;
    meta_free(m);
    cb(ctx);
}

void meta_settle(struct meta *m)
{
    meta_restart_advance(m);
    if (!m->closing || m->close_work.run || !meta_restart_close(m))
        return;
    if (m->group.step != META_IDLE || m->reads_out > 0 || m->refuse_posted || !meta_gc_close(m) || !meta_commit_idle(m))
        return;
    m->close_work.run = close_run;
    m->close_work.cb = close_done;
    work_submit(m->conf.work, &m->close_work);
}

void meta_close(struct meta *m, void (*closed_cb)(void *ctx), void *ctx)
{
    assert(!m->closing);
    m->closing = true;
    m->closed_cb = closed_cb;
    m->closed_ctx = ctx;
    refuse_all(m, &m->writes, -ECANCELED);
    refuse_all(m, &m->reads, -ECANCELED);
    meta_settle(m);
}
