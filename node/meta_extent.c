/* meta_extent - what is written in the same batch as a change of data: rows that commit write ids, repair rows for
 * fragments that are still missing, gc rows for data that nobody names any more. */
#include "node/meta_op.h"

#define GC_EXTENTS_MAX 256 /* extents of one gc row */
enum { WRITE_COMMITTED = 1, WRITE_CLAIMED = 2 };

int meta_load(struct meta_op *op, struct str key, const ProtobufCMessageDescriptor *type, struct arena *a,
              void *ret_msg)
{
    struct str value;
    int err = meta_view_get(op->view, key, op->scratch, &value);
    return err ? err : meta_unpack(a, type, value, ret_msg);
}

int meta_store(struct meta_op *op, struct str key, const ProtobufCMessage *msg)
{
    struct str value;
    int err = meta_pack(op->scratch, msg, &value);
    if (err)
        return err;
    meta_view_put(op->view, key, value);
    return op->view->err;
}

static int write_id_commit(struct meta_op *op, struct str id)
{
    struct meta_key k;
    Pb__WriteRow *was, now = PB__WRITE_ROW__INIT;
    if (id.len != META_WRITE_ID)
        return -EINVAL;
    /* A committed id belongs to data that stands already (or that gc has not ended): nobody else may name it. */
    int err = meta_load(op, meta_key_id(&k, 'w', id), &pb__write_row__descriptor, op->scratch, &was);
    if (err != KV_NOT_FOUND)
        return err ? err : RPC_CLAIMED;
    now.format = META_FORMAT;
    now.state = WRITE_COMMITTED;
    now.at_ms = op->now_ms;
    return meta_store(op, meta_key_str(&k), &now.base);
}

/* The extent as a repair row keeps it: without the list of what else is missing, and with the handoffs of that stripe
 * alone. A row that held them all would make a long write with one sick drive grow with the square of its length. */
static int repair_extent(struct meta_op *op, const Pb__Extent *e, uint32_t stripe, Pb__Extent *ret)
{
    size_t n = 0;
    *ret = *e;
    ret->n_lost = ret->n_handoffs = 0;
    for (size_t i = 0; i < e->n_handoffs; i++)
        n += e->handoffs[i]->stripe == stripe;
    if (n == 0)
        return 0;
    ret->handoffs = arena_alloc(op->scratch, n * sizeof *ret->handoffs);
    if (!ret->handoffs)
        return -ENOMEM;
    for (size_t i = 0; i < e->n_handoffs; i++)
        if (e->handoffs[i]->stripe == stripe)
            ret->handoffs[ret->n_handoffs++] = e->handoffs[i];
    return 0;
}

static int repair_rows(struct meta_op *op, struct str bucket, struct str key, const Pb__Extent *e)
{
    char *name = arena_copy(op->scratch, bucket.p, bucket.len);
    if (!name)
        return -ENOMEM;
    for (size_t i = 0; i < e->n_lost; i++) {
        struct meta_key k;
        Pb__Extent slim;
        Pb__RepairRow row = PB__REPAIR_ROW__INIT;
        int err = repair_extent(op, e, e->lost[i]->stripe, &slim);
        if (err)
            return err;
        row.format = META_FORMAT;
        row.extent = &slim;
        row.stripe = e->lost[i]->stripe;
        row.fragment = e->lost[i]->fragment;
        row.bucket = name;
        row.key = meta_bin_of(key);
        err = meta_store(op, meta_key_repair(&k, meta_bin(e->write_id), row.stripe, row.fragment), &row.base);
        if (err)
            return err;
        op->view->counters.repair_rows++;
    }
    return 0;
}

static bool id_of_extents(struct str id, Pb__Extent *const *extents, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(id, meta_bin(extents[i]->write_id)))
            return true;
    return false;
}

int meta_extents_commit(struct meta_op *op, struct str bucket, struct str key, Pb__Extent *const *extents, size_t n,
                        const ProtobufCBinaryData *more_ids, size_t more_count)
{
    for (size_t i = 0; i < n; i++) {
        int err = write_id_commit(op, meta_bin(extents[i]->write_id));
        if (!err)
            err = repair_rows(op, bucket, key, extents[i]);
        if (err)
            return err;
    }
    for (size_t i = 0; i < more_count; i++) {
        struct str id = meta_bin(more_ids[i]);
        int err = id_of_extents(id, extents, n) ? 0 : write_id_commit(op, id);
        if (err)
            return err;
    }
    return 0;
}

static int gc_row_put(struct meta_op *op, Pb__GcRow *row, uint64_t due_ms)
{
    struct meta_key k;
    row->format = META_FORMAT;
    row->due_ms = due_ms;
    op->view->counters.gc_rows++;
    return meta_store(op, meta_key_gc(&k, due_ms, ++op->view->counters.revision), &row->base);
}

int meta_extents_drop(struct meta_op *op, Pb__Extent *const *extents, size_t n)
{
    for (size_t i = 0; i < n; i += GC_EXTENTS_MAX) {
        Pb__GcRow row = PB__GC_ROW__INIT;
        row.n_extents = MIN_OF(n - i, GC_EXTENTS_MAX);
        row.extents = (Pb__Extent **)(uintptr_t)(extents + i);
        int err = gc_row_put(op, &row, op->now_ms + op->gc_delay_ms);
        if (err)
            return err;
    }
    return 0;
}

int meta_object_drop(struct meta_op *op, const Pb__Object *o)
{
    struct meta_key k;
    if (o->inline_id.len > 0)
        meta_view_del(op->view, meta_key_id(&k, 'i', meta_bin(o->inline_id)));
    if (o->manifest_id.len > 0) {
        Pb__GcRow row = PB__GC_ROW__INIT;
        row.manifest_id = o->manifest_id;
        return gc_row_put(op, &row, op->now_ms + op->gc_delay_ms);
    }
    return meta_extents_drop(op, o->extents, o->n_extents);
}

int meta_row_expire(struct meta_op *op, struct str key, uint64_t due_ms)
{
    Pb__GcRow row = PB__GC_ROW__INIT;
    ProtobufCBinaryData rows[1] = {meta_bin_of(key)};
    row.n_rows = 1;
    row.rows = rows;
    return gc_row_put(op, &row, due_ms);
}

/* ---- what gc itself changes ---- */

static int repair_rows_drop(struct meta_op *op, struct str write_id)
{
    struct meta_key k;
    struct meta_view_iter it;
    struct str prefix = meta_key_id(&k, 'r', write_id), *keys = NULL;
    size_t count = 0, cap = 0;
    int err = meta_view_iter_open(op->view, &it);
    if (err)
        return err;
    meta_view_iter_seek(&it, prefix);
    for (; meta_view_iter_valid(&it) && str_starts(meta_view_iter_key(&it), prefix); meta_view_iter_next(&it)) {
        if (count == cap) {
            struct str *grown = arena_alloc(op->scratch, (cap = cap ? cap * 2 : 16) * sizeof *grown);
            if (!grown) {
                err = -ENOMEM;
                break;
            }
            if (count)
                memcpy(grown, keys, count * sizeof *keys);
            keys = grown;
        }
        keys[count] = arena_str(op->scratch, meta_view_iter_key(&it));
        err = keys[count++].p ? 0 : -ENOMEM;
        if (err)
            break;
    }
    err = err ? err : meta_view_iter_status(&it);
    meta_view_iter_close(&it);
    for (size_t i = 0; !err && i < count; i++) {
        meta_view_del(op->view, keys[i]);
        op->view->counters.repair_rows--;
    }
    return err;
}

static int gc_extents_forget(struct meta_op *op, Pb__Extent *const *extents, size_t n)
{
    int err = 0;
    for (size_t i = 0; !err && i < n; i++) {
        struct meta_key k;
        meta_view_del(op->view, meta_key_id(&k, 'w', meta_bin(extents[i]->write_id)));
        err = repair_rows_drop(op, meta_bin(extents[i]->write_id));
    }
    return err;
}

static int gc_row_end(struct meta_op *op, struct str key)
{
    Pb__GcRow *row;
    Pb__Object *manifest;
    struct meta_key k;
    int err = meta_load(op, key, &pb__gc_row__descriptor, op->scratch, &row);
    if (err)
        return err == KV_NOT_FOUND ? 0 : err; /* ended before: the same row was collected twice */
    err = gc_extents_forget(op, row->extents, row->n_extents);
    if (!err && row->manifest_id.len > 0) {
        struct str mkey = meta_key_id(&k, 'm', meta_bin(row->manifest_id));
        err = meta_load(op, mkey, &pb__object__descriptor, op->scratch, &manifest);
        if (!err)
            err = gc_extents_forget(op, manifest->extents, manifest->n_extents);
        meta_view_del(op->view, meta_key_id(&k, 'm', meta_bin(row->manifest_id)));
        err = err == KV_NOT_FOUND ? 0 : err;
    }
    for (size_t i = 0; i < row->n_rows; i++)
        meta_view_del(op->view, meta_bin(row->rows[i]));
    meta_view_del(op->view, key);
    op->view->counters.gc_rows--;
    return err;
}

int meta_gc_done(struct meta_op *op, struct rpc *r)
{
    const struct meta_gc_done *done = r->req;
    int err = 0;
    for (size_t i = 0; !err && i < done->count; i++)
        err = gc_row_end(op, done->keys[i]);
    return err;
}

int meta_gc_claim(struct meta_op *op, struct rpc *r)
{
    const struct meta_claim_req *req = r->req;
    for (size_t i = 0; i < req->count; i++) {
        struct meta_key k;
        Pb__WriteRow *was, now = PB__WRITE_ROW__INIT;
        struct str id = {(const char *)req->ids[i], META_WRITE_ID};
        int err = meta_load(op, meta_key_id(&k, 'w', id), &pb__write_row__descriptor, op->scratch, &was);
        if (err < 0)
            return err;
        req->ret_claimed[i] = err == KV_NOT_FOUND || was->state == WRITE_CLAIMED;
        if (err != KV_NOT_FOUND)
            continue;
        now.format = META_FORMAT;
        now.state = WRITE_CLAIMED;
        now.at_ms = op->now_ms;
        err = meta_store(op, meta_key_str(&k), &now.base);
        if (err)
            return err;
    }
    return 0;
}
