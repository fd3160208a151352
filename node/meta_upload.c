/* meta_upload - multipart uploads: create, parts, list, abort. A part is a row; putting the same number again replaces
 * it and leaves the old data to gc. Parts are never inlined (an object made of parts is a run of extents), so a client
 * writes even a small part to the stores. */
#include "node/meta_op.h"
#include <stdlib.h>

static bool upload_words_ok(const char *bucket, ProtobufCBinaryData key, const char *upload_id)
{
    return meta_name_ok(str_c(bucket), META_BUCKET_MAX) && meta_name_ok(meta_bin(key), META_KEY_MAX) &&
           meta_name_ok(str_c(upload_id), META_UPLOAD_ID_MAX);
}

/* 0, RPC_NO_BUCKET, RPC_NO_UPLOAD. */
static int upload_load(struct meta_op *op, const char *bucket, ProtobufCBinaryData key, const char *upload_id,
                       struct arena *a, Pb__Upload **ret)
{
    struct meta_key k;
    int err = meta_bucket_check(op, bucket);
    if (err)
        return err;
    if (!upload_words_ok(bucket, key, upload_id))
        return RPC_NO_UPLOAD;
    err = meta_load(op, meta_key_upload(&k, str_c(bucket), meta_bin(key), str_c(upload_id)), &pb__upload__descriptor, a,
                    ret);
    return err == KV_NOT_FOUND ? RPC_NO_UPLOAD : err;
}

int meta_upload_create(struct meta_op *op, struct rpc *r)
{
    const Pb__UploadCreateReq *req = r->req;
    struct meta_key k;
    struct str was;
    if (!req->upload || !upload_words_ok(req->upload->bucket, req->upload->key, req->upload->upload_id))
        return -EINVAL;
    int err = meta_bucket_check(op, req->upload->bucket);
    if (err)
        return err;
    Pb__Upload u = *req->upload;
    struct str key = meta_key_upload(&k, str_c(u.bucket), meta_bin(u.key), str_c(u.upload_id));
    err = meta_view_get(op->view, key, op->scratch, &was);
    if (err != KV_NOT_FOUND)
        return err; /* 0: a retry; the id is the caller's and unique */
    u.format = META_FORMAT;
    u.created_ms = u.created_ms ? u.created_ms : op->now_ms;
    return meta_store(op, key, &u.base);
}

int meta_upload_get(struct meta_op *op, struct rpc *r)
{
    const Pb__UploadGetReq *req = r->req;
    Pb__UploadGetRep *rep = arena_alloc(r->arena, sizeof *rep);
    struct meta_key k;
    if (!rep)
        return -ENOMEM;
    pb__upload_get_rep__init(rep);
    r->rep = rep;
    int err = upload_load(op, req->bucket, req->key, req->upload_id, r->arena, &rep->upload);
    if (err != RPC_NO_UPLOAD || !upload_words_ok(req->bucket, req->key, req->upload_id))
        return err;
    err = meta_load(op, meta_key_tombstone(&k, str_c(req->bucket), meta_bin(req->key), str_c(req->upload_id)),
                    &pb__completed__descriptor, r->arena, &rep->completed);
    return err == KV_NOT_FOUND ? RPC_NO_UPLOAD : err;
}

/* ---- parts ---- */

static bool same_extents(const Pb__Part *a, const Pb__Part *b)
{
    if (a->n_extents != b->n_extents || a->n_extents == 0)
        return false;
    for (size_t i = 0; i < a->n_extents; i++)
        if (!str_eq(meta_bin(a->extents[i]->write_id), meta_bin(b->extents[i]->write_id)))
            return false;
    return true;
}

static bool part_shape_ok(const Pb__PartPutReq *req)
{
    uint64_t sum = 0;
    if (!req->part || req->part->number < 1 || req->part->number > META_PARTS_MAX)
        return false;
    if (req->inline_data.len > 0 || req->part->inline_id.len > 0)
        return false;
    for (size_t i = 0; i < req->part->n_extents; i++)
        sum += req->part->extents[i]->size;
    return sum == req->part->size;
}

int meta_part_put(struct meta_op *op, struct rpc *r)
{
    const Pb__PartPutReq *req = r->req;
    Pb__Upload *upload;
    Pb__Part *old = NULL;
    struct meta_key k;
    if (!part_shape_ok(req))
        return -EINVAL;
    int err = upload_load(op, req->bucket, req->key, req->upload_id, op->scratch, &upload);
    if (err)
        return err;
    Pb__Part part = *req->part;
    struct str key = meta_key_part(&k, str_c(req->upload_id), part.number);
    err = meta_load(op, key, &pb__part__descriptor, op->scratch, &old);
    if (err && err != KV_NOT_FOUND)
        return err;
    if (old && same_extents(old, &part))
        return 0; /* a retry */
    err = meta_extents_commit(op, str_c(req->bucket), meta_bin(req->key), part.extents, part.n_extents, req->write_ids,
                              req->n_write_ids);
    if (!err && old)
        err = meta_extents_drop(op, old->extents, old->n_extents);
    if (err)
        return err;
    part.mtime_ms = part.mtime_ms ? part.mtime_ms : op->now_ms;
    return meta_store(op, key, &part.base);
}

int meta_part_list(struct meta_op *op, struct rpc *r)
{
    const Pb__PartListReq *req = r->req;
    Pb__PartListRep *rep = arena_alloc(r->arena, sizeof *rep);
    size_t limit = MIN_OF(req->limit, META_LIST_MAX);
    struct meta_view_iter it;
    struct meta_key k, prefix;
    if (!rep)
        return -ENOMEM;
    pb__part_list_rep__init(rep);
    r->rep = rep;
    int err = upload_load(op, req->bucket, req->key, req->upload_id, r->arena, &rep->upload);
    if (err || limit == 0 || req->after >= META_PARTS_MAX)
        return err;
    rep->parts = arena_alloc(r->arena, limit * sizeof *rep->parts);
    err = rep->parts ? meta_view_iter_open(op->view, &it) : -ENOMEM;
    if (err)
        return err;
    struct str base = meta_key_prefix(&prefix, 'p', str_c(req->upload_id));
    meta_view_iter_seek(&it, meta_key_part(&k, str_c(req->upload_id), req->after + 1));
    for (; !err && meta_view_iter_valid(&it) && str_starts(meta_view_iter_key(&it), base); meta_view_iter_next(&it)) {
        if (rep->n_parts == limit) {
            rep->truncated = true;
            break;
        }
        Pb__Part *part;
        err = meta_unpack(r->arena, &pb__part__descriptor, meta_view_iter_value(&it), &part);
        if (err)
            break;
        part->n_extents = 0;
        rep->parts[rep->n_parts++] = part;
    }
    err = err ? err : meta_view_iter_status(&it);
    meta_view_iter_close(&it);
    return err;
}

/* The parts of an upload, in the order of their numbers, in scratch. */
static int parts_load(struct meta_op *op, struct str upload_id, Pb__Part ***ret_parts, size_t *ret_count)
{
    struct meta_view_iter it;
    struct meta_key k;
    struct str base = meta_key_prefix(&k, 'p', upload_id);
    Pb__Part **parts = NULL;
    size_t count = 0, cap = 0;
    int err = meta_view_iter_open(op->view, &it);
    if (err)
        return err;
    meta_view_iter_seek(&it, base);
    for (; !err && meta_view_iter_valid(&it) && str_starts(meta_view_iter_key(&it), base); meta_view_iter_next(&it)) {
        if (count == cap) {
            Pb__Part **grown = arena_alloc(op->scratch, (cap = cap ? cap * 2 : 64) * sizeof *grown);
            if (!grown) {
                err = -ENOMEM;
                break;
            }
            if (count)
                memcpy(grown, parts, count * sizeof *parts);
            parts = grown;
        }
        err = meta_unpack(op->scratch, &pb__part__descriptor, meta_view_iter_value(&it), &parts[count]);
        count += err ? 0 : 1;
    }
    err = err ? err : meta_view_iter_status(&it);
    meta_view_iter_close(&it);
    *ret_parts = parts;
    *ret_count = count;
    return err;
}

int meta_parts_drop(struct meta_op *op, struct str upload_id, const bool *keep)
{
    Pb__Part **parts;
    Pb__Extent **extents = NULL;
    size_t count, n = 0, total = 0;
    int err = parts_load(op, upload_id, &parts, &count);
    for (size_t i = 0; !err && i < count; i++)
        total += parts[i]->n_extents;
    if (!err && total > 0) {
        extents = arena_alloc(op->scratch, total * sizeof *extents);
        err = extents ? 0 : -ENOMEM;
    }
    for (size_t i = 0; !err && i < count; i++) {
        struct meta_key k;
        if (!keep || !keep[parts[i]->number])
            for (size_t j = 0; j < parts[i]->n_extents; j++)
                extents[n++] = parts[i]->extents[j];
        meta_view_del(op->view, meta_key_part(&k, upload_id, parts[i]->number));
    }
    return err ? err : meta_extents_drop(op, extents, n);
}

int meta_upload_abort(struct meta_op *op, struct rpc *r)
{
    const Pb__UploadAbortReq *req = r->req;
    Pb__Upload *upload;
    struct meta_key k;
    int err = upload_load(op, req->bucket, req->key, req->upload_id, op->scratch, &upload);
    if (!err)
        err = meta_parts_drop(op, str_c(req->upload_id), NULL);
    if (err)
        return err;
    meta_view_del(op->view, meta_key_upload(&k, str_c(req->bucket), meta_bin(req->key), str_c(req->upload_id)));
    return 0;
}

/* The rows of the bucket's uploads; RPC_NOT_EMPTY past max. */
static int bucket_upload_keys(struct meta_op *op, struct str bucket, size_t max, struct str **ret_keys,
                              size_t *ret_count)
{
    struct meta_view_iter it;
    struct meta_key k;
    struct str base = meta_key_prefix(&k, 'u', bucket);
    size_t count = 0;
    int err = meta_view_iter_open(op->view, &it);
    if (err)
        return err;
    struct str *keys = arena_alloc(op->scratch, max * sizeof *keys);
    err = keys ? 0 : -ENOMEM;
    meta_view_iter_seek(&it, base);
    for (; !err && meta_view_iter_valid(&it) && str_starts(meta_view_iter_key(&it), base); meta_view_iter_next(&it)) {
        if (count == max) {
            err = RPC_NOT_EMPTY;
            break;
        }
        keys[count] = arena_str(op->scratch, meta_view_iter_key(&it));
        err = keys[count++].p ? 0 : -ENOMEM;
    }
    int status = meta_view_iter_status(&it);
    meta_view_iter_close(&it);
    *ret_keys = keys;
    *ret_count = count;
    return err ? err : status;
}

int meta_bucket_uploads_drop(struct meta_op *op, struct str bucket, size_t max_parts)
{
    struct str *keys;
    size_t count, sum = 0;
    int err = bucket_upload_keys(op, bucket, META_LIST_MAX, &keys, &count);
    for (size_t i = 0; !err && i < count; i++) {
        Pb__Part **parts;
        size_t n;
        const char *nul = memrchr(keys[i].p, 0, keys[i].len);
        assert(nul);
        struct str id = {nul + 1, keys[i].len - (size_t)(nul + 1 - keys[i].p)};
        err = parts_load(op, id, &parts, &n);
        sum += n;
        if (!err && sum > max_parts)
            err = RPC_NOT_EMPTY;
        if (!err)
            err = meta_parts_drop(op, id, NULL);
        meta_view_del(op->view, keys[i]);
    }
    return err;
}
