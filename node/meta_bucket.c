/* meta_bucket - buckets: one row each. A bucket goes only when no object is left in it; unfinished uploads go with it.
 */
#include "node/meta_op.h"

/* Part rows that one BUCKET_DELETE may take along. */
#define DROP_PARTS_MAX META_PARTS_MAX

int meta_bucket_check(struct meta_op *op, const char *bucket)
{
    struct meta_key k;
    struct str name = str_c(bucket), value;
    if (!meta_name_ok(name, META_BUCKET_MAX))
        return RPC_NO_BUCKET;
    int err = meta_view_get(op->view, meta_key_bucket(&k, name), op->scratch, &value);
    return err == KV_NOT_FOUND ? RPC_NO_BUCKET : err;
}

int meta_bucket_create(struct meta_op *op, struct rpc *r)
{
    const Pb__BucketCreateReq *req = r->req;
    Pb__BucketCreateRep *rep = arena_alloc(r->arena, sizeof *rep);
    struct meta_key k;
    if (!rep)
        return -ENOMEM;
    pb__bucket_create_rep__init(rep);
    if (!req->bucket || !meta_name_ok(str_c(req->bucket->name), META_BUCKET_MAX))
        return -EINVAL;
    r->rep = rep;
    struct str key = meta_key_bucket(&k, str_c(req->bucket->name));
    int err = meta_load(op, key, &pb__bucket__descriptor, r->arena, &rep->existing);
    if (err != KV_NOT_FOUND)
        return err ? err : RPC_EXISTS;
    Pb__Bucket b = *req->bucket;
    b.format = META_FORMAT;
    b.created_ms = b.created_ms ? b.created_ms : op->now_ms;
    op->view->counters.buckets++;
    return meta_store(op, key, &b.base);
}

int meta_bucket_get(struct meta_op *op, struct rpc *r)
{
    const Pb__BucketGetReq *req = r->req;
    Pb__BucketGetRep *rep = arena_alloc(r->arena, sizeof *rep);
    struct meta_key k;
    if (!rep)
        return -ENOMEM;
    pb__bucket_get_rep__init(rep);
    r->rep = rep;
    if (!meta_name_ok(str_c(req->name), META_BUCKET_MAX))
        return RPC_NO_BUCKET;
    int err = meta_load(op, meta_key_bucket(&k, str_c(req->name)), &pb__bucket__descriptor, r->arena, &rep->bucket);
    return err == KV_NOT_FOUND ? RPC_NO_BUCKET : err;
}

/* 0 or RPC_NOT_EMPTY. */
static int bucket_empty(struct meta_op *op, struct str bucket)
{
    struct meta_key k;
    struct meta_view_iter it;
    struct str prefix = meta_key_prefix(&k, 'o', bucket);
    int err = meta_view_iter_open(op->view, &it);
    if (err)
        return err;
    meta_view_iter_seek(&it, prefix);
    bool any = meta_view_iter_valid(&it) && str_starts(meta_view_iter_key(&it), prefix);
    err = meta_view_iter_status(&it);
    meta_view_iter_close(&it);
    if (err)
        return err;
    return any ? RPC_NOT_EMPTY : 0;
}

int meta_bucket_delete(struct meta_op *op, struct rpc *r)
{
    const Pb__BucketDeleteReq *req = r->req;
    struct meta_key k;
    struct str name = str_c(req->name);
    int err = meta_bucket_check(op, req->name);
    if (!err)
        err = bucket_empty(op, name);
    if (!err)
        err = meta_bucket_uploads_drop(op, name, DROP_PARTS_MAX);
    if (err)
        return err;
    meta_view_del(op->view, meta_key_bucket(&k, name));
    op->view->counters.buckets--;
    return 0;
}

int meta_bucket_list(struct meta_op *op, struct rpc *r)
{
    const Pb__BucketListReq *req = r->req;
    Pb__BucketListRep *rep = arena_alloc(r->arena, sizeof *rep);
    size_t limit = MIN_OF(req->limit ? req->limit : META_LIST_MAX, META_LIST_MAX);
    struct meta_key from, prefix;
    struct meta_view_iter it;
    if (!rep || strlen(req->after) > META_BUCKET_MAX || strlen(req->prefix) > META_BUCKET_MAX)
        return rep ? -EINVAL : -ENOMEM;
    pb__bucket_list_rep__init(rep);
    r->rep = rep;
    rep->buckets = arena_alloc(r->arena, limit * sizeof *rep->buckets);
    int err = rep->buckets ? meta_view_iter_open(op->view, &it) : -ENOMEM;
    if (err)
        return err;
    meta_key_bucket(&prefix, str_c(req->prefix));
    meta_key_bucket(&from, str_c(req->after));
    if (from.len > 2)
        meta_key_add(&from, (struct str){"", 1}); /* the least name above `after` */
    bool after = str_cmp(meta_key_str(&from), meta_key_str(&prefix)) > 0;
    meta_view_iter_seek(&it, meta_key_str(after ? &from : &prefix));
    for (; !err && meta_view_iter_valid(&it); meta_view_iter_next(&it)) {
        Pb__Bucket *b;
        if (!str_starts(meta_view_iter_key(&it), meta_key_str(&prefix)))
            break;
        err = meta_unpack(r->arena, &pb__bucket__descriptor, meta_view_iter_value(&it), &b);
        if (err || (req->owner[0] && strcmp(req->owner, b->owner) != 0))
            continue;
        if (rep->n_buckets == limit) {
            rep->truncated = true;
            break;
        }
        rep->buckets[rep->n_buckets++] = b;
    }
    err = err ? err : meta_view_iter_status(&it);
    meta_view_iter_close(&it);
    return err;
}
