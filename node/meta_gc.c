/* meta_gc - the worker that collects what is due. One round: scan due gc rows on a work thread, ask the node to delete
 * their fragments, then forget the rows in one write; and now and then look for uploads that nobody finished, which are
 * aborted like any client would. A round that failed is tried again later; nothing is lost by that, because a row goes
 * only after its fragments did. */
#include "node/meta_impl.h"
#include "common/log.h"
#include "common/metrics.h"

#define GC_TICK_MS       1000   /* between rounds, at most; a shorter delay shortens it */
#define GC_RETRY_MS      30000  /* after a failure */
#define EXPIRY_TICK_MS   600000 /* between looks for unfinished uploads, at most */
#define GC_SCRATCH_BYTES (256 * MIB)

static void gc_advance(struct meta *m);

static uint64_t wall_ms(struct meta *m)
{
    struct clock *c = loop_clock(m->conf.loop);
    return c->wall_ms(c);
}

static void gc_tick(struct loop_timer *t)
{
    struct meta *m = container_of(container_of(t, struct meta_gc, timer), struct meta, gc);
    gc_advance(m);
}

static void gc_rest(struct meta *m, int err)
{
    uint64_t tick = MIN_OF(MAX_OF(m->conf.gc_delay_ms / 2, 20), GC_TICK_MS);
    uint64_t ms = err ? MAX_OF(MIN_OF(m->conf.gc_delay_ms * 4, GC_RETRY_MS), tick) : tick;
    arena_fini(&m->gc.arena);
    m->gc.step = GC_IDLE;
    m->gc.under_way = false;
    if (m->closing) {
        meta_settle(m);
        return;
    }
    m->gc.timer.cb = gc_tick;
    loop_timer_start(m->conf.loop, &m->gc.timer, m->gc.more && !err ? 0 : ms * MS_NS);
}

void meta_gc_open(struct meta *m)
{
    gc_rest(m, 0);
}

bool meta_gc_close(struct meta *m)
{
    loop_timer_stop(m->conf.loop, &m->gc.timer);
    return !m->gc.under_way;
}

/* ---- the scan, on a work thread ---- */

static int row_extents(struct meta_op *op, Pb__GcRow *row, Pb__Extent ***ret, size_t *ret_count)
{
    struct meta_key k;
    Pb__Object *manifest;
    *ret = row->extents;
    *ret_count = row->n_extents;
    if (row->manifest_id.len == 0)
        return 0;
    int err = meta_load(op, meta_key_id(&k, 'm', meta_bin(row->manifest_id)), &pb__object__descriptor, op->scratch,
                        &manifest);
    if (err)
        return err == KV_NOT_FOUND ? 0 : err;
    *ret = manifest->extents;
    *ret_count = manifest->n_extents;
    return 0;
}

/* Takes one due row into the round; 1 when the round is full. */
static int scan_row(struct meta_gc *gc, struct meta_op *op, struct str key, struct str value)
{
    Pb__GcRow *row;
    Pb__Extent **extents;
    size_t count;
    if (gc->key_count == META_GC_ROWS)
        return 1;
    int err = meta_unpack(&gc->arena, &pb__gc_row__descriptor, value, &row);
    if (!err)
        err = row_extents(op, row, &extents, &count);
    if (err)
        return err;
    if (gc->key_count > 0 && gc->extent_count + count > META_GC_EXTENTS)
        return 1;
    Pb__Extent **grown = arena_alloc(&gc->arena, (gc->extent_count + count + 1) * sizeof *grown);
    struct str copy = arena_str(&gc->arena, key);
    if (!grown || !copy.p)
        return -ENOMEM;
    if (gc->extent_count)
        memcpy(grown, gc->extents, gc->extent_count * sizeof *grown);
    if (count)
        memcpy(grown + gc->extent_count, extents, count * sizeof *grown);
    gc->extents = grown;
    gc->extent_count += count;
    gc->keys[gc->key_count++] = copy;
    return 0;
}

static int scan_due(struct meta *m, struct meta_op *op)
{
    struct meta_key from, to;
    struct kv *kv = m->gc.kv;
    struct kv_iter *it = kv->ops->iter(kv);
    if (!it)
        return -ENOMEM;
    struct str end = meta_key_gc(&to, m->gc.now_ms + 1, 0);
    int err = 0;
    it->ops->seek(it, meta_key_gc(&from, 0, 0));
    for (; !err && it->ops->valid(it) && str_cmp(it->ops->key(it), end) < 0; it->ops->next(it))
        err = scan_row(&m->gc, op, it->ops->key(it), it->ops->value(it));
    int status = it->ops->status(it);
    it->ops->close(it);
    m->gc.more = err == 1;
    return err < 0 ? err : status;
}

/* Takes the upload at the iterator into the round when it is old; 1 when the round is full. */
static int scan_upload(struct meta_gc *gc, struct kv_iter *it)
{
    Pb__Upload *u;
    if (gc->expired_count == META_EXPIRED || gc->arena.used_bytes > GC_SCRATCH_BYTES / 2)
        return 1;
    int err = meta_unpack(&gc->arena, &pb__upload__descriptor, it->ops->value(it), &u);
    if (!err && u->created_ms < gc->expire_before_ms)
        gc->expired[gc->expired_count++] = u;
    return err;
}

/* Goes on behind the upload that the last look ended at, so that one that cannot be aborted does not stand in the way
 * of the others. */
static int scan_expired(struct meta *m)
{
    struct meta_gc *gc = &m->gc;
    struct sbuf *after = &gc->expiry_after;
    struct kv_iter *it = gc->kv->ops->iter(gc->kv);
    int err = 0;
    if (!it)
        return -ENOMEM;
    struct str from = after->len ? (struct str){after->p, after->len} : STR("u/");
    it->ops->seek(it, from);
    if (after->len && it->ops->valid(it) && str_eq(it->ops->key(it), from))
        it->ops->next(it);
    for (; !err && it->ops->valid(it) && str_starts(it->ops->key(it), STR("u/")); it->ops->next(it)) {
        err = scan_upload(gc, it);
        if (err)
            break;
        after->len = 0;
        sbuf_add(after, it->ops->key(it).p, it->ops->key(it).len);
    }
    int status = it->ops->status(it);
    it->ops->close(it);
    gc->expiry_more = err == 1 && !after->err;
    if (!gc->expiry_more) { /* the end: the next look begins at the first again */
        sbuf_fini(after);
        *after = (struct sbuf){0};
    }
    return err < 0 ? err : status;
}

static void gc_scan(struct work_req *work)
{
    struct meta_gc *gc = container_of(work, struct meta_gc, work);
    struct meta *m = container_of(gc, struct meta, gc);
    struct meta_view view;
    meta_view_init(&view, gc->kv, MIB);
    struct meta_op op = {.view = &view, .scratch = &gc->arena, .now_ms = gc->now_ms};
    gc->err = m->conf.frag_delete ? scan_due(m, &op) : 0;
    if (!gc->err && gc->expire_before_ms > 0)
        gc->err = scan_expired(m);
    if (gc->expiry_more)
        gc->next_expiry_ms = 0; /* look again next time */
    meta_view_fini(&view);
}

/* ---- the round, on the loop ---- */

static void gc_scan_done(struct work_req *work)
{
    struct meta *m = container_of(container_of(work, struct meta_gc, work), struct meta, gc);
    gc_advance(m);
    meta_settle(m);
}

static void gc_scan_start(struct meta *m)
{
    struct meta_gc *gc = &m->gc;
    arena_init(&gc->arena, GC_SCRATCH_BYTES);
    gc->extents = NULL;
    gc->extent_count = gc->key_count = gc->expired_count = gc->expired_at = 0;
    gc->more = gc->expiry_more = false;
    gc->kv = m->primary;
    gc->now_ms = wall_ms(m);
    gc->expire_before_ms = 0;
    if (m->conf.upload_expire_ms > 0 && gc->now_ms >= gc->next_expiry_ms) {
        gc->next_expiry_ms = gc->now_ms + MIN_OF(m->conf.upload_expire_ms / 4, EXPIRY_TICK_MS);
        gc->expire_before_ms = gc->now_ms - MIN_OF(gc->now_ms, m->conf.upload_expire_ms);
    }
    gc->step = GC_SCAN;
    gc->under_way = true;
    gc->work.run = gc_scan;
    gc->work.cb = gc_scan_done;
    work_submit(m->conf.work, &gc->work);
}

static void gc_deleted(void *arg, int err)
{
    struct meta *m = arg;
    m->gc.err = err;
    gc_advance(m);
}

static void gc_rpc_done(struct rpc *r)
{
    struct meta_gc *gc = container_of(r, struct meta_gc, rpc);
    struct meta *m = container_of(gc, struct meta, gc);
    arena_fini(&gc->rpc_arena);
    gc->err = r->status < 0 ? r->status : 0; /* an upload that is gone by now is no failure */
    gc_advance(m);
}

static void gc_submit(struct meta *m, int type, const void *req)
{
    arena_init(&m->gc.rpc_arena, MIB);
    m->gc.rpc = (struct rpc){.type = (enum rpc_type)type, .req = req, .arena = &m->gc.rpc_arena, .cb = gc_rpc_done};
    meta_submit(m, &m->gc.rpc);
}

/* Aborts the next expired upload, or ends the round. */
static void gc_expire_next(struct meta *m)
{
    struct meta_gc *gc = &m->gc;
    if (gc->expired_at == gc->expired_count) {
        gc_rest(m, 0);
        return;
    }
    const Pb__Upload *u = gc->expired[gc->expired_at++];
    pb__upload_abort_req__init(&gc->abort);
    gc->abort.bucket = u->bucket;
    gc->abort.key = u->key;
    gc->abort.upload_id = u->upload_id;
    log_event(LOG_INFO, "upload_expired", "bucket=%s upload=%s", log_quote(str_c(u->bucket)),
              log_quote(str_c(u->upload_id)));
    gc->step = GC_EXPIRE;
    gc_submit(m, RPC_UPLOAD_ABORT, &gc->abort);
}

static void gc_forget(struct meta *m)
{
    m->gc.step = GC_FORGET;
    m->gc.done = (struct meta_gc_done){m->gc.keys, m->gc.key_count};
    gc_submit(m, META_GC_DONE, &m->gc.done);
}

static void gc_advance(struct meta *m)
{
    struct meta_gc *gc = &m->gc;
    if (gc->step != GC_IDLE && (gc->err || m->closing)) {
        if (gc->err && gc->err != -ECANCELED)
            log_event(LOG_WARN, "gc_failed", "err=%s", log_quote(str_c(err_text(gc->err))));
        gc_rest(m, gc->err);
        return;
    }
    switch (gc->step) {
    case GC_IDLE:
        if (m->restart.paused || m->restart.down)
            gc_rest(m, E_UNAVAILABLE);
        else
            gc_scan_start(m);
        return;
    case GC_SCAN:
        if (gc->extent_count > 0) {
            gc->step = GC_DELETE;
            m->conf.frag_delete(m->conf.ctx, gc->extents, gc->extent_count, gc_deleted, m);
        } else if (gc->key_count > 0) {
            gc_forget(m);
        } else {
            gc_expire_next(m);
        }
        return;
    case GC_DELETE:
        gc_forget(m);
        return;
    case GC_FORGET:
    case GC_EXPIRE:
        gc_expire_next(m);
        return;
    }
}
