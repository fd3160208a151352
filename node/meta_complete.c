/* meta_complete - the end of a multipart upload: the parts as the client lists them are checked against the rows, then
 * one batch makes the object, drops the upload, leaves unlisted parts to gc, and sets a tombstone. A retry that names
 * the same parts finds the tombstone and gets the same answer. */
#include "node/meta_op.h"
#include "common/crypt.h"
#include "common/xxh.h"
#include <stdio.h>

#define MD5_BYTES 16

struct complete {
    struct meta_op *op;
    const Pb__UploadCompleteReq *req;
    Pb__UploadCompleteRep *rep;
    struct arena *arena; /* of the reply */
    Pb__Part **parts;    /* the stored ones, as listed */
    bool *listed;        /* by part number */
};

/* Identifies the list of parts, for retries. */
static int parts_digest(struct arena *a, const Pb__UploadCompleteReq *req, ProtobufCBinaryData *ret)
{
    struct sbuf text = {0};
    uint8_t *p = arena_alloc(a, sizeof(struct hash128));
    for (size_t i = 0; i < req->n_parts; i++)
        sbuf_printf(&text, "%u %s\n", req->parts[i]->number, req->parts[i]->etag);
    for (size_t i = 0; i < text.len; i++)
        if (text.p[i] >= 'A' && text.p[i] <= 'Z')
            text.p[i] = (char)(text.p[i] + ('a' - 'A'));
    int err = text.err ? text.err : p ? 0 : -ENOMEM;
    if (!err) {
        struct hash128 h = xxh128of(text.p ? text.p : "", text.len);
        put_be64(p, h.hi);
        put_be64(p + 8, h.lo);
        *ret = (ProtobufCBinaryData){.len = 16, .data = p};
    }
    sbuf_fini(&text);
    return err;
}

/* The upload is gone: either it was completed by the same list before, or there is none. */
static int complete_again(struct complete *c)
{
    Pb__Completed *done;
    Pb__Object *o = arena_alloc(c->arena, sizeof *o);
    ProtobufCBinaryData digest;
    struct meta_key k;
    struct str key = meta_key_tombstone(&k, str_c(c->req->bucket), meta_bin(c->req->key), str_c(c->req->upload_id));
    int err = meta_load(c->op, key, &pb__completed__descriptor, c->arena, &done);
    if (err)
        return err == KV_NOT_FOUND ? RPC_NO_UPLOAD : err;
    err = o ? parts_digest(c->op->scratch, c->req, &digest) : -ENOMEM;
    if (err)
        return err;
    if (!str_eq(meta_bin(digest), meta_bin(done->parts_digest)))
        return RPC_NO_UPLOAD;
    pb__object__init(o);
    o->etag = done->etag;
    o->mtime_ms = done->at_ms;
    o->version_id = done->version_id;
    o->checksums = done->checksums;
    o->n_checksums = done->n_checksums;
    c->rep->object = o;
    return 0;
}

static bool checksums_agree(const Pb__Part *stored, const Pb__Part *given)
{
    for (size_t i = 0; i < given->n_checksums; i++) {
        bool found = false;
        for (size_t j = 0; j < stored->n_checksums; j++)
            if (stored->checksums[j]->kind == given->checksums[i]->kind)
                found = str_eq(meta_bin(stored->checksums[j]->value), meta_bin(given->checksums[i]->value));
        if (!found)
            return false;
    }
    return true;
}

static int part_find(struct complete *c, size_t i)
{
    const Pb__Part *given = c->req->parts[i];
    struct meta_key k;
    c->rep->bad_part = given->number;
    if (given->number < 1 || given->number > META_PARTS_MAX)
        return RPC_INVALID_PART;
    int err = meta_load(c->op, meta_key_part(&k, str_c(c->req->upload_id), given->number), &pb__part__descriptor,
                        c->op->scratch, &c->parts[i]);
    if (err)
        return err == KV_NOT_FOUND ? RPC_INVALID_PART : err;
    if (!str_ieq(str_c(given->etag), str_c(c->parts[i]->etag)) || !checksums_agree(c->parts[i], given))
        return RPC_INVALID_PART;
    c->listed[given->number] = true;
    return 0;
}

/* Every listed part exists as listed; numbers ascend; all but the last are large enough. */
static int parts_check(struct complete *c)
{
    const Pb__UploadCompleteReq *req = c->req;
    if (req->n_parts == 0)
        return RPC_INVALID_PART;
    for (size_t i = 0; i < req->n_parts; i++) {
        int err = part_find(c, i);
        if (err)
            return err;
    }
    for (size_t i = 1; i < req->n_parts; i++) {
        c->rep->bad_part = req->parts[i]->number;
        if (req->parts[i]->number <= req->parts[i - 1]->number)
            return RPC_INVALID_PART_ORDER;
    }
    for (size_t i = 0; i + 1 < req->n_parts; i++) {
        c->rep->bad_part = req->parts[i]->number;
        if (c->parts[i]->size < req->min_part_bytes)
            return RPC_PART_TOO_SMALL;
    }
    c->rep->bad_part = 0;
    return 0;
}

/* S3's multipart ETag: the MD5 of the parts' binary MD5s, and their number. */
static int multipart_etag(struct complete *c, char **ret)
{
    size_t n = c->req->n_parts;
    uint8_t *all = arena_alloc(c->op->scratch, n * MD5_BYTES), sum[DIGEST_MAX];
    char hex[2 * MD5_BYTES + 1];
    if (!all)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        size_t len;
        int err = hex_decode(str_c(c->parts[i]->etag), all + i * MD5_BYTES, MD5_BYTES, &len);
        if (err || len != MD5_BYTES) {
            c->rep->bad_part = c->parts[i]->number;
            return RPC_INVALID_PART; /* its ETag is no MD5, so the object's cannot be made */
        }
    }
    digest_once(DIGEST_MD5, all, n * MD5_BYTES, sum);
    hex_encode(sum, MD5_BYTES, hex);
    *ret = arena_printf(c->op->scratch, "%s-%zu", hex, n);
    return *ret ? 0 : -ENOMEM;
}

/* The parts' sizes and extents, one behind the other. */
static int object_of_parts(struct complete *c, Pb__Object *o)
{
    struct arena *a = c->op->scratch;
    size_t n = c->req->n_parts, extents = 0;
    for (size_t i = 0; i < n; i++)
        extents += c->parts[i]->n_extents;
    o->parts = arena_alloc(a, n * sizeof *o->parts);
    o->extents = arena_alloc(a, (extents + 1) * sizeof *o->extents);
    Pb__Part *copies = arena_alloc(a, n * sizeof *copies);
    if (!o->parts || !o->extents || !copies)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < c->parts[i]->n_extents; j++)
            o->extents[o->n_extents++] = c->parts[i]->extents[j];
        copies[i] = *c->parts[i];
        copies[i].n_extents = 0;
        o->parts[o->n_parts++] = &copies[i];
        o->size += c->parts[i]->size;
    }
    return 0;
}

static int object_build(struct complete *c, const Pb__Upload *u, Pb__Object *o)
{
    pb__object__init(o);
    o->format = META_FORMAT;
    o->version_id = c->req->version_id;
    o->mtime_ms = c->req->mtime_ms ? c->req->mtime_ms : c->op->now_ms;
    o->headers = u->headers;
    o->n_headers = u->n_headers;
    o->user_meta = u->user_meta;
    o->n_user_meta = u->n_user_meta;
    o->tags = u->tags;
    o->n_tags = u->n_tags;
    o->owner = u->owner;
    o->checksums = c->req->checksums;
    o->n_checksums = c->req->n_checksums;
    if (o->version_id.len == 0) {
        uint8_t *id = arena_alloc(c->op->scratch, META_ROW_ID);
        if (!id)
            return -ENOMEM;
        random_bytes(id, META_ROW_ID);
        o->version_id = (ProtobufCBinaryData){.len = META_ROW_ID, .data = id};
    }
    int err = multipart_etag(c, &o->etag);
    return err ? err : object_of_parts(c, o);
}

static int tombstone_put(struct complete *c, const Pb__Object *o)
{
    struct meta_key k;
    Pb__Completed done = PB__COMPLETED__INIT;
    struct str key = meta_key_tombstone(&k, str_c(c->req->bucket), meta_bin(c->req->key), str_c(c->req->upload_id));
    done.format = META_FORMAT;
    done.etag = o->etag;
    done.at_ms = o->mtime_ms;
    done.checksums = o->checksums;
    done.n_checksums = o->n_checksums;
    done.version_id = o->version_id;
    int err = parts_digest(c->op->scratch, c->req, &done.parts_digest);
    if (!err)
        err = meta_store(c->op, key, &done.base);
    return err ? err : meta_row_expire(c->op, key, c->op->now_ms + META_TOMBSTONE_MS);
}

static int complete_reply(struct complete *c, const Pb__Object *o)
{
    Pb__Object slim = *o;
    struct str bytes;
    slim.n_extents = slim.n_parts = 0;
    int err = meta_pack(c->op->scratch, &slim.base, &bytes);
    return err ? err : meta_unpack(c->arena, &pb__object__descriptor, bytes, &c->rep->object);
}

static int complete_write(struct complete *c, Pb__Object *o, const Pb__Object *old)
{
    struct meta_key k;
    struct str bucket = str_c(c->req->bucket), key = meta_bin(c->req->key), id = str_c(c->req->upload_id);
    int err = meta_object_replace(c->op, bucket, key, o, old);
    if (!err)
        err = meta_parts_drop(c->op, id, c->listed);
    if (!err)
        err = tombstone_put(c, o);
    if (!err)
        err = complete_reply(c, o);
    meta_view_del(c->op->view, meta_key_upload(&k, bucket, key, id));
    return err;
}

static int complete_begin(struct complete *c, struct rpc *r)
{
    c->arena = r->arena;
    c->rep = arena_alloc(r->arena, sizeof *c->rep);
    c->parts = arena_alloc(c->op->scratch, (c->req->n_parts + 1) * sizeof *c->parts);
    c->listed = arena_alloc(c->op->scratch, (META_PARTS_MAX + 1) * sizeof *c->listed);
    if (!c->rep || !c->parts || !c->listed)
        return -ENOMEM;
    pb__upload_complete_rep__init(c->rep);
    r->rep = c->rep;
    return 0;
}

int meta_upload_complete(struct meta_op *op, struct rpc *r)
{
    struct complete c = {.op = op, .req = r->req};
    Pb__Upload *upload;
    Pb__Object *old = NULL, o;
    struct meta_key k;
    struct str bucket = str_c(c.req->bucket), key = meta_bin(c.req->key), id = str_c(c.req->upload_id);
    if (c.req->n_parts > META_PARTS_MAX)
        return E_LIMIT;
    int err = complete_begin(&c, r);
    if (!err)
        err = meta_bucket_check(op, c.req->bucket);
    if (err)
        return err;
    if (!meta_name_ok(key, META_KEY_MAX) || !meta_name_ok(id, META_UPLOAD_ID_MAX))
        return RPC_NO_UPLOAD;
    err = meta_load(op, meta_key_upload(&k, bucket, key, id), &pb__upload__descriptor, op->scratch, &upload);
    if (err)
        return err == KV_NOT_FOUND ? complete_again(&c) : err;
    err = meta_load(op, meta_key_object(&k, bucket, key), &pb__object__descriptor, op->scratch, &old);
    if (err && err != KV_NOT_FOUND)
        return err;
    err = meta_condition(c.req->condition, old);
    if (!err)
        err = parts_check(&c);
    if (!err)
        err = object_build(&c, upload, &o);
    return err ? err : complete_write(&c, &o, old);
}
