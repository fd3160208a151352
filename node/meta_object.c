/* meta_object - one object: put, get, delete. Small bytes stand in a row of their own beside the object's (so that
 * lists need not carry them), long lists of parts and extents in a manifest row. A change of a key carries the end of
 * what it replaces in the same batch. */
#include "node/meta_op.h"
#include "common/crypt.h"

#define READ_TRIES 4 /* a reader meets the end of a replaced object's rows at most so often in a row */

static bool key_ok(ProtobufCBinaryData key)
{
    return meta_name_ok(meta_bin(key), META_KEY_MAX);
}

static bool etag_eq(const char *a, const char *b)
{
    return str_ieq(str_c(a), str_c(b));
}

int meta_condition(const Pb__Condition *c, const Pb__Object *existing)
{
    if (!c)
        return 0;
    bool any = strcmp(c->if_match, "*") == 0;
    if ((c->if_match[0] || c->if_version.len) && !existing)
        return RPC_NOT_FOUND;
    if (c->if_match[0] && !any && !etag_eq(c->if_match, existing->etag))
        return RPC_CONDITION;
    if (c->if_version.len && !str_eq(meta_bin(c->if_version), meta_bin(existing->version_id)))
        return RPC_CONDITION;
    if (c->if_none_match_any && existing)
        return RPC_CONDITION;
    if (c->if_none_match[0] && existing && etag_eq(c->if_none_match, existing->etag))
        return RPC_CONDITION;
    return 0;
}

static int manifest_load(struct meta_op *op, struct arena *a, Pb__Object *o)
{
    struct meta_key k;
    Pb__Object *m;
    if (o->manifest_id.len == 0)
        return 0;
    int err = meta_load(op, meta_key_id(&k, 'm', meta_bin(o->manifest_id)), &pb__object__descriptor, a, &m);
    if (err)
        return err;
    o->parts = m->parts;
    o->n_parts = m->n_parts;
    o->extents = m->extents;
    o->n_extents = m->n_extents;
    return 0;
}

static int object_row(struct meta_op *op, struct str bucket, struct str key, struct arena *a, Pb__Object **ret)
{
    struct meta_key k;
    return meta_load(op, meta_key_object(&k, bucket, key), &pb__object__descriptor, a, ret);
}

int meta_object_load(struct meta_op *op, struct str bucket, struct str key, struct arena *a, Pb__Object **ret_object)
{
    Pb__Object *o;
    int err = object_row(op, bucket, key, a, &o);
    if (!err)
        err = manifest_load(op, a, o);
    if (!err)
        *ret_object = o;
    return err;
}

/* Room for an id of fresh random bytes. */
static int random_id(struct arena *a, size_t len, ProtobufCBinaryData *ret)
{
    uint8_t *p = arena_alloc(a, len);
    if (!p)
        return -ENOMEM;
    random_bytes(p, len);
    *ret = (ProtobufCBinaryData){.len = len, .data = p};
    return 0;
}

/* The object's row, with parts and extents moved to a manifest row when there are many. */
static int object_row_put(struct meta_op *op, struct str bucket, struct str key, Pb__Object *o)
{
    struct meta_key k;
    Pb__Object row = *o;
    if (o->n_extents > META_EXTENTS_INLINE || o->n_parts > META_EXTENTS_INLINE) {
        Pb__Object m = PB__OBJECT__INIT;
        m.format = META_FORMAT;
        m.n_parts = o->n_parts;
        m.parts = o->parts;
        m.n_extents = o->n_extents;
        m.extents = o->extents;
        int err = random_id(op->scratch, META_ROW_ID, &o->manifest_id);
        if (!err)
            err = meta_store(op, meta_key_id(&k, 'm', meta_bin(o->manifest_id)), &m.base);
        if (err)
            return err;
        row.manifest_id = o->manifest_id;
        row.n_parts = row.n_extents = 0;
    }
    return meta_store(op, meta_key_object(&k, bucket, key), &row.base);
}

int meta_object_replace(struct meta_op *op, struct str bucket, struct str key, Pb__Object *o, const Pb__Object *old)
{
    int err = old ? meta_object_drop(op, old) : 0;
    if (err)
        return err;
    op->view->counters.objects += old ? 0 : 1;
    return object_row_put(op, bucket, key, o);
}

/* A reply's own copy: the request may be gone while the reply is still read. */
static int reply_copy(struct meta_op *op, struct arena *a, const Pb__Object *o, Pb__Object **ret)
{
    Pb__Object slim = *o;
    struct str bytes;
    slim.n_extents = slim.n_parts = 0;
    int err = meta_pack(op->scratch, &slim.base, &bytes);
    return err ? err : meta_unpack(a, &pb__object__descriptor, bytes, ret);
}

/* What the caller must have made right: the bytes are either inline or in extents, and their number is size. */
static bool put_shape_ok(const Pb__ObjectPutReq *req)
{
    const Pb__Object *o = req->object;
    uint64_t sum = req->inline_data.len;
    if (!o || !key_ok(req->key) || req->inline_data.len > META_INLINE_MAX)
        return false;
    if (req->inline_data.len > 0 && o->n_extents > 0)
        return false;
    for (size_t i = 0; i < o->n_extents; i++)
        sum += o->extents[i]->size;
    return sum == o->size;
}

static int object_fill(struct meta_op *op, const Pb__ObjectPutReq *req, Pb__Object *o)
{
    struct meta_key k;
    int err = 0;
    *o = *req->object;
    o->format = META_FORMAT;
    o->mtime_ms = o->mtime_ms ? o->mtime_ms : op->now_ms;
    o->inline_id = o->manifest_id = (ProtobufCBinaryData){0};
    if (o->version_id.len == 0)
        err = random_id(op->scratch, META_ROW_ID, &o->version_id);
    if (err || req->inline_data.len == 0)
        return err;
    err = random_id(op->scratch, META_ROW_ID, &o->inline_id);
    if (!err)
        meta_view_put(op->view, meta_key_id(&k, 'i', meta_bin(o->inline_id)), meta_bin(req->inline_data));
    return err;
}

/* keep_data: the standing version gets another description; its bytes, parts, ETag and checksums stay where they are.
 */
static int object_describe(struct meta_op *op, const Pb__ObjectPutReq *req, const Pb__Object *old, struct arena *a,
                           Pb__Object **ret)
{
    const Pb__Object *o = req->object;
    struct meta_key k;
    if (!req->condition || !req->condition->if_version.len || !o->version_id.len || req->inline_data.len ||
        o->n_extents)
        return -EINVAL;
    int err = meta_condition(req->condition, old);
    if (err)
        return err;
    Pb__Object row = *old;
    row.version_id = o->version_id;
    row.mtime_ms = o->mtime_ms ? o->mtime_ms : op->now_ms;
    row.headers = o->headers;
    row.n_headers = o->n_headers;
    row.user_meta = o->user_meta;
    row.n_user_meta = o->n_user_meta;
    row.tags = o->tags;
    row.n_tags = o->n_tags;
    row.owner = o->owner;
    err = meta_store(op, meta_key_object(&k, str_c(req->bucket), meta_bin(req->key)), &row.base);
    return err ? err : reply_copy(op, a, &row, ret);
}

int meta_object_put(struct meta_op *op, struct rpc *r)
{
    const Pb__ObjectPutReq *req = r->req;
    struct str bucket = str_c(req->bucket), key = meta_bin(req->key);
    Pb__ObjectPutRep *rep = arena_alloc(r->arena, sizeof *rep);
    Pb__Object *old = NULL, o;
    if (!rep)
        return -ENOMEM;
    pb__object_put_rep__init(rep);
    r->rep = rep;
    if (!req->keep_data && !put_shape_ok(req))
        return -EINVAL;
    if (!req->object || !key_ok(req->key))
        return -EINVAL;
    int err = meta_bucket_check(op, req->bucket);
    if (err)
        return err;
    err = object_row(op, bucket, key, op->scratch, &old);
    if (err && err != KV_NOT_FOUND)
        return err;
    struct str version = meta_bin(req->object->version_id);
    if (old && version.len && str_eq(version, meta_bin(old->version_id)))
        return reply_copy(op, r->arena, old, &rep->object); /* a retry of the write that stands */
    if (req->keep_data)
        return object_describe(op, req, old, r->arena, &rep->object);
    err = meta_condition(req->condition, old);
    if (!err)
        err = meta_extents_commit(op, bucket, key, req->object->extents, req->object->n_extents, req->write_ids,
                                  req->n_write_ids);
    if (!err)
        err = object_fill(op, req, &o);
    if (!err)
        err = meta_object_replace(op, bucket, key, &o, old);
    return err ? err : reply_copy(op, r->arena, &o, &rep->object);
}

/* One consistent look at the object's rows; KV_NOT_FOUND with *ret_object set when a row beside it has just gone. */
static int object_look(struct meta_op *op, const Pb__ObjectGetReq *req, struct rpc *r, Pb__ObjectGetRep *rep)
{
    struct meta_key k;
    struct str data;
    rep->object = NULL;
    int err = object_row(op, str_c(req->bucket), meta_bin(req->key), r->arena, &rep->object);
    if (err)
        return err;
    err = manifest_load(op, r->arena, rep->object);
    if (err || !req->want_inline || rep->object->inline_id.len == 0)
        return err;
    err = meta_view_get(op->view, meta_key_id(&k, 'i', meta_bin(rep->object->inline_id)), r->arena, &data);
    if (!err)
        rep->inline_data = meta_bin_of(data);
    return err;
}

int meta_object_get(struct meta_op *op, struct rpc *r)
{
    const Pb__ObjectGetReq *req = r->req;
    Pb__ObjectGetRep *rep = arena_alloc(r->arena, sizeof *rep);
    if (!rep)
        return -ENOMEM;
    pb__object_get_rep__init(rep);
    r->rep = rep;
    int err = meta_bucket_check(op, req->bucket);
    if (err)
        return err;
    if (!key_ok(req->key))
        return RPC_NOT_FOUND;
    for (int i = 0; i < READ_TRIES; i++) {
        err = object_look(op, req, r, rep);
        if (err != KV_NOT_FOUND)
            return err;
        if (!rep->object)
            return RPC_NOT_FOUND;
    }
    return E_CORRUPT; /* the row stands but what it names does not */
}

int meta_object_delete(struct meta_op *op, struct rpc *r)
{
    const Pb__ObjectDeleteReq *req = r->req;
    Pb__ObjectDeleteRep *rep = arena_alloc(r->arena, sizeof *rep);
    struct meta_key k;
    if (!rep)
        return -ENOMEM;
    pb__object_delete_rep__init(rep);
    r->rep = rep;
    if (req->n_keys > META_DELETE_MAX)
        return E_LIMIT;
    int err = meta_bucket_check(op, req->bucket);
    rep->existed = arena_alloc(r->arena, (req->n_keys + 1) * sizeof *rep->existed);
    if (err || !rep->existed)
        return err ? err : -ENOMEM;
    for (size_t i = 0; i < req->n_keys; i++) {
        Pb__Object *old = NULL;
        struct str key = meta_bin(req->keys[i]);
        err = key_ok(req->keys[i]) ? object_row(op, str_c(req->bucket), key, op->scratch, &old) : KV_NOT_FOUND;
        if (err && err != KV_NOT_FOUND)
            return err;
        err = meta_condition(req->condition, old);
        if (err)
            return err;
        rep->existed[rep->n_existed++] = old != NULL;
        if (!old)
            continue;
        err = meta_object_drop(op, old);
        if (err)
            return err;
        meta_view_del(op->view, meta_key_object(&k, str_c(req->bucket), key));
        op->view->counters.objects--;
    }
    return 0;
}
