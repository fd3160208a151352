/* meta_list - listings: objects and unfinished uploads in the order of their keys' bytes, grouped at a delimiter. Keys
 * under a common prefix are never walked: one seek passes them all. */
#include "node/meta_op.h"

#define SCRATCH_KEEP (256 * KIB) /* rows are unpacked into scratch, which is emptied when it holds more */

/* A walk over the rows `base` + key + NUL + tail. */
struct list_walk {
    struct kv_iter *it;
    struct meta_key base; /* "o/<bucket>\0" */
    struct str prefix, delimiter;
};
struct list_row {
    struct str key, tail, value;
    bool is_prefix; /* key is a common prefix */
};

static void walk_seek(struct list_walk *w, const struct meta_key *k)
{
    w->it->ops->seek(w->it, meta_key_str(k));
}

/* Begins at the prefix or behind `after`, whichever comes later. tail: the row's rest behind after's key, or NONE for
 * all rows of that key. */
static void walk_begin(struct list_walk *w, struct str after, bool whole_prefix, struct str tail)
{
    struct meta_key first = w->base, behind = w->base;
    meta_key_add(&first, w->prefix);
    meta_key_add(&behind, after);
    if (after.len == 0) {
        walk_seek(w, &first);
        return;
    }
    if (whole_prefix) {
        meta_key_successor(&behind);
    } else if (tail.len > 0) {
        meta_key_add(&behind, (struct str){"", 1});
        meta_key_add(&behind, tail);
        meta_key_add(&behind, (struct str){"", 1});
    } else {
        meta_key_add(&behind, (struct str){"\1", 1}); /* keys hold no NUL: the least key above after */
    }
    walk_seek(w, str_cmp(meta_key_str(&behind), meta_key_str(&first)) > 0 ? &behind : &first);
}

/* The row the walk stands at; false at the end. */
static bool walk_at(struct list_walk *w, struct list_row *ret)
{
    if (!w->it->ops->valid(w->it))
        return false;
    struct str row = w->it->ops->key(w->it);
    if (!str_starts(row, meta_key_str(&w->base)))
        return false;
    struct str rest = {row.p + w->base.len, row.len - w->base.len};
    const char *nul = memchr(rest.p, 0, rest.len);
    struct str key = {rest.p, nul ? (size_t)(nul - rest.p) : rest.len};
    if (!str_starts(key, w->prefix))
        return false;
    *ret = (struct list_row){.key = key, .value = w->it->ops->value(w->it)};
    if (nul)
        ret->tail = (struct str){nul + 1, rest.len - key.len - 1};
    const char *d = NULL;
    if (w->delimiter.len > 0)
        d = memmem(key.p + w->prefix.len, key.len - w->prefix.len, w->delimiter.p, w->delimiter.len);
    if (d) {
        ret->key.len = (size_t)(d - key.p) + w->delimiter.len;
        ret->is_prefix = true;
    }
    return true;
}

static void walk_next(struct list_walk *w, const struct list_row *row)
{
    if (!row->is_prefix) {
        w->it->ops->next(w->it);
        return;
    }
    struct meta_key k = w->base;
    meta_key_add(&k, row->key);
    meta_key_successor(&k);
    walk_seek(w, &k);
}

static int walk_open(struct meta_op *op, char space, const char *bucket, ProtobufCBinaryData prefix,
                     ProtobufCBinaryData delimiter, struct list_walk *ret)
{
    ret->prefix = meta_bin(prefix);
    ret->delimiter = meta_bin(delimiter);
    meta_key_prefix(&ret->base, space, str_c(bucket));
    ret->it = op->view->base->ops->iter(op->view->base);
    return ret->it ? 0 : -ENOMEM;
}

static int walk_close(struct list_walk *w)
{
    int err = w->it->ops->status(w->it);
    w->it->ops->close(w->it);
    return err;
}

/* What a listing shows of an object. */
static int list_object(struct meta_op *op, struct arena *a, struct str value, Pb__Object **ret)
{
    Pb__Object *full, *o = arena_alloc(a, sizeof *o);
    if (op->scratch->used_bytes > SCRATCH_KEEP)
        arena_fini(op->scratch);
    int err = o ? meta_unpack(op->scratch, &pb__object__descriptor, value, &full) : -ENOMEM;
    if (err)
        return err;
    pb__object__init(o);
    o->format = full->format;
    o->size = full->size;
    o->mtime_ms = full->mtime_ms;
    o->version_id = meta_bin_of(arena_str(a, meta_bin(full->version_id)));
    o->etag = arena_copy(a, full->etag, strlen(full->etag));
    o->owner = arena_copy(a, full->owner, strlen(full->owner));
    o->checksums = arena_alloc(a, (full->n_checksums + 1) * sizeof *o->checksums);
    if (!o->version_id.data || !o->etag || !o->owner || !o->checksums)
        return -ENOMEM;
    for (size_t i = 0; i < full->n_checksums; i++) {
        Pb__Checksum *c = arena_alloc(a, sizeof *c);
        if (!c)
            return -ENOMEM;
        *c = *full->checksums[i];
        c->value = meta_bin_of(arena_str(a, meta_bin(c->value)));
        o->checksums[o->n_checksums++] = c;
    }
    *ret = o;
    return 0;
}

static int list_entry(struct meta_op *op, struct arena *a, const struct list_row *row, Pb__ListEntry **ret)
{
    Pb__ListEntry *e = arena_alloc(a, sizeof *e);
    if (!e)
        return -ENOMEM;
    pb__list_entry__init(e);
    e->key = meta_bin_of(arena_str(a, row->key));
    e->is_prefix = row->is_prefix;
    if (!e->key.data)
        return -ENOMEM;
    int err = row->is_prefix ? 0 : list_object(op, a, row->value, &e->object);
    if (!err)
        *ret = e;
    return err;
}

static bool list_words_ok(ProtobufCBinaryData prefix, ProtobufCBinaryData delimiter, ProtobufCBinaryData after)
{
    return prefix.len <= META_KEY_MAX && delimiter.len <= META_KEY_MAX && after.len <= META_KEY_MAX;
}

int meta_object_list(struct meta_op *op, struct rpc *r)
{
    const Pb__ObjectListReq *req = r->req;
    Pb__ObjectListRep *rep = arena_alloc(r->arena, sizeof *rep);
    size_t limit = MIN_OF(req->limit, META_LIST_MAX);
    struct list_walk w;
    struct list_row row;
    if (!rep)
        return -ENOMEM;
    pb__object_list_rep__init(rep);
    r->rep = rep;
    int err = meta_bucket_check(op, req->bucket);
    if (err || limit == 0)
        return err;
    if (!list_words_ok(req->prefix, req->delimiter, req->after))
        return E_LIMIT;
    rep->entries = arena_alloc(r->arena, limit * sizeof *rep->entries);
    err = rep->entries ? walk_open(op, 'o', req->bucket, req->prefix, req->delimiter, &w) : -ENOMEM;
    if (err)
        return err;
    walk_begin(&w, meta_bin(req->after), req->after_is_prefix, STR_NONE);
    for (; !err && walk_at(&w, &row); walk_next(&w, &row)) {
        if (rep->n_entries == limit) {
            rep->truncated = true;
            break;
        }
        err = list_entry(op, r->arena, &row, &rep->entries[rep->n_entries]);
        rep->n_entries += err ? 0 : 1;
        if (err)
            break;
    }
    int status = walk_close(&w);
    if (rep->n_entries > 0)
        rep->next_after = rep->entries[rep->n_entries - 1]->key;
    return err ? err : status;
}

/* Uploads or prefixes: the next one of the answer. */
static int upload_entry(struct arena *a, const struct list_row *row, Pb__UploadListRep *rep)
{
    if (!row->is_prefix) {
        int err = meta_unpack(a, &pb__upload__descriptor, row->value, &rep->uploads[rep->n_uploads]);
        rep->n_uploads += err ? 0 : 1;
        return err;
    }
    struct str copy = arena_str(a, row->key);
    rep->prefixes[rep->n_prefixes++] = meta_bin_of(copy);
    return copy.p ? 0 : -ENOMEM;
}

int meta_upload_list(struct meta_op *op, struct rpc *r)
{
    const Pb__UploadListReq *req = r->req;
    Pb__UploadListRep *rep = arena_alloc(r->arena, sizeof *rep);
    size_t limit = MIN_OF(req->limit, META_LIST_MAX);
    struct list_walk w;
    struct list_row row;
    if (!rep)
        return -ENOMEM;
    pb__upload_list_rep__init(rep);
    r->rep = rep;
    int err = meta_bucket_check(op, req->bucket);
    if (err || limit == 0)
        return err;
    struct str after = meta_bin(req->key_after), upload_after = str_c(req->upload_after);
    if (!list_words_ok(req->prefix, req->delimiter, req->key_after) || upload_after.len > META_UPLOAD_ID_MAX)
        return E_LIMIT;
    rep->uploads = arena_alloc(r->arena, limit * sizeof *rep->uploads);
    rep->prefixes = arena_alloc(r->arena, limit * sizeof *rep->prefixes);
    err = rep->uploads && rep->prefixes ? walk_open(op, 'u', req->bucket, req->prefix, req->delimiter, &w) : -ENOMEM;
    if (err)
        return err;
    /* A marker that ends in the delimiter is the common prefix that the page before ended with. */
    bool whole = w.delimiter.len > 0 && after.len >= w.delimiter.len &&
                 str_eq((struct str){after.p + after.len - w.delimiter.len, w.delimiter.len}, w.delimiter);
    walk_begin(&w, after, whole && upload_after.len == 0, upload_after);
    for (; !err && walk_at(&w, &row); walk_next(&w, &row)) {
        if (rep->n_uploads + rep->n_prefixes == limit) {
            rep->truncated = true;
            break;
        }
        err = upload_entry(r->arena, &row, rep);
        if (err)
            break;
    }
    int status = walk_close(&w);
    return err ? err : status;
}
