/* lectern_io - readers and writers of lectern.h: the client's streams, one job a step. Bytes are copied by the caller's
 * own thread, straight into the stripe buffer and out of the verified one, so the loop never copies. */
#include "client/lectern_impl.h"
#include "common/crypt.h"
#include <stdlib.h>
#include <stdio.h>

/* ---- readers ---- */

struct lectern_reader {
    struct lectern *l;
    struct client_read *read;
    struct arena arena; /* the object, which the read borrows */
    Pb__ObjectGetRep *rep;
    uint64_t offset, length;
    struct slice have; /* came, not copied yet */
    bool ended;
    int err;
    struct job job;
};

static void reader_begin(struct job *j)
{
    struct lectern_reader *r = container_of(j, struct lectern_reader, job);
    struct str data = {(const char *)r->rep->inline_data.data, r->rep->inline_data.len};
    job_end(j, client_read_open(j->l->client, r->rep->object, data, r->offset, r->length, &r->read));
}

static void reader_end(struct job *j)
{
    struct lectern_reader *r = container_of(j, struct lectern_reader, job);
    client_read_free(r->read);
    job_end(j, 0);
}

static void slice_came(void *ctx, int err, struct slice s)
{
    struct lectern_reader *r = ctx;
    r->have = s;
    job_end(&r->job, err);
}

static void next_begin(struct job *j)
{
    struct lectern_reader *r = container_of(j, struct lectern_reader, job);
    client_read_next(r->read, slice_came, r);
}

static int reader_start(struct lectern_reader *r, const char *bucket, const char *key, struct lectern_stat *ret_stat)
{
    int err = lectern_find(r->l, bucket, key, true, &r->arena, &r->rep);
    if (err)
        return err;
    uint64_t size = r->rep->object->size;
    if (r->offset > size)
        r->offset = size;
    r->length = MIN_OF(r->length, size - r->offset);
    if (ret_stat)
        lectern_stat_of(r->rep->object, ret_stat);
    return job_run(r->l, &r->job, reader_begin);
}

int lectern_reader_open(struct lectern *l, const char *bucket, const char *key, uint64_t offset, uint64_t length,
                        struct lectern_reader **ret_reader, struct lectern_stat *ret_stat)
{
    struct lectern_reader *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    *r = (struct lectern_reader){.l = l, .offset = offset, .length = length};
    arena_init(&r->arena, LECTERN_ARENA_BYTES);
    int err = reader_start(r, bucket, key, ret_stat);
    if (err) {
        lectern_reader_close(r);
        return lectern_public(err);
    }
    *ret_reader = r;
    return 0;
}

static int reader_next(struct lectern_reader *r)
{
    if (r->err || r->ended || r->have.len)
        return r->err;
    buf_unref(r->have.buf);
    r->have = (struct slice){0};
    r->err = lectern_public(job_run(r->l, &r->job, next_begin));
    r->ended = r->have.len == 0;
    return r->err;
}

int lectern_reader_read(struct lectern_reader *r, void *data, size_t size, size_t *ret_size)
{
    size_t done = 0;
    while (done < size) {
        int err = reader_next(r);
        if (err)
            return err; /* what was copied is not said to be there */
        if (r->ended)
            break;
        size_t n = MIN_OF(size - done, r->have.len);
        memcpy((uint8_t *)data + done, slice_data(r->have), n);
        done += n;
        r->have.off += n;
        r->have.len -= n;
    }
    *ret_size = done;
    return 0;
}

void lectern_reader_close(struct lectern_reader *r)
{
    if (!r)
        return;
    buf_unref(r->have.buf);
    if (r->read)
        job_run(r->l, &r->job, reader_end);
    arena_fini(&r->arena);
    free(r);
}

int lectern_get(struct lectern *l, const char *bucket, const char *key, uint64_t offset, void *data, size_t size,
                size_t *ret_size)
{
    struct lectern_reader *r;
    int err = lectern_reader_open(l, bucket, key, offset, size, &r, NULL);
    if (err)
        return err;
    err = lectern_reader_read(r, data, size, ret_size);
    lectern_reader_close(r);
    return err;
}

/* ---- writers ---- */

struct lectern_writer {
    struct lectern *l;
    struct client_write *write;
    struct digest *md5;
    struct arena arena;
    Pb__ObjectPutReq req;
    Pb__Object object;
    Pb__Condition condition;
    Pb__Pair header;
    Pb__Pair *headers[1];
    Pb__Extent *extents[1];
    ProtobufCBinaryData write_id;
    uint8_t version[16];
    char etag[33];
    uint64_t expected;
    uint8_t *space; /* of the stripe that fills; the caller's thread copies there */
    size_t room, filled;
    bool committed;
    int err;
    struct job job;
};

static void writer_tap(void *ctx, const uint8_t *p, size_t n)
{
    struct lectern_writer *w = ctx;
    digest_update(w->md5, p, n);
}

static void writer_closed(void *ctx)
{
    struct lectern_writer *w = ctx;
    job_end(&w->job, 0);
}

static void writer_begin(struct job *j)
{
    struct lectern_writer *w = container_of(j, struct lectern_writer, job);
    struct client_write_conf conf = {
        .expected_bytes = w->expected, .may_inline = true, .tap = writer_tap, .closed = writer_closed, .ctx = w};
    job_end(j, client_write_open(j->l->client, &conf, &w->write));
}

static void space_look(void *ctx)
{
    struct lectern_writer *w = ctx;
    int err = client_write_status(w->write);
    if (!err)
        client_write_space(w->write, &w->space, &w->room, space_look, w);
    if (err || w->room)
        job_end(&w->job, err);
}

/* What was filled is the stream's; then room for more. */
static void space_begin(struct job *j)
{
    struct lectern_writer *w = container_of(j, struct lectern_writer, job);
    client_write_advance(w->write, w->filled);
    w->filled = w->room = 0;
    space_look(w);
}

static void finished(void *ctx, int err, const struct client_write_result *res)
{
    struct lectern_writer *w = ctx;
    if (!err) {
        w->object.size = res->size;
        w->req.inline_data.data = slice_data(res->inline_data);
        w->req.inline_data.len = res->inline_data.len;
        if (res->extent) {
            w->extents[0] = res->extent;
            w->object.extents = w->extents;
            w->object.n_extents = 1;
            w->write_id = res->extent->write_id;
            w->req.write_ids = &w->write_id;
            w->req.n_write_ids = 1;
        }
    }
    job_end(&w->job, err);
}

static void finish_begin(struct job *j)
{
    struct lectern_writer *w = container_of(j, struct lectern_writer, job);
    client_write_advance(w->write, w->filled);
    w->filled = 0;
    client_write_finish(w->write, finished, w);
}

static void writer_end(struct job *j)
{
    struct lectern_writer *w = container_of(j, struct lectern_writer, job);
    client_write_free(w->write, w->committed); /* `closed` ends the job: then no tap runs any more */
}

static void writer_free(struct lectern_writer *w)
{
    if (w->write)
        job_run(w->l, &w->job, writer_end);
    digest_destroy(w->md5);
    arena_fini(&w->arena);
    free(w);
}

void lectern_writer_abort(struct lectern_writer *w)
{
    if (w)
        writer_free(w);
}

static char *text_copy(struct lectern_writer *w, const char *text)
{
    return arena_copy(&w->arena, text, strlen(text));
}

static int describe(struct lectern_writer *w, const char *bucket, const char *key,
                    const struct lectern_put_options *options)
{
    char *k = text_copy(w, key);
    pb__object_put_req__init(&w->req);
    pb__object__init(&w->object);
    pb__condition__init(&w->condition);
    pb__pair__init(&w->header);
    w->req.bucket = text_copy(w, bucket);
    w->req.key = (ProtobufCBinaryData){.len = strlen(key), .data = (uint8_t *)k};
    w->req.object = &w->object;
    w->object.version_id = (ProtobufCBinaryData){.len = sizeof w->version, .data = w->version};
    w->object.format = 1;
    random_bytes(w->version, sizeof w->version);
    if (!k || !w->req.bucket)
        return -ENOMEM;
    if (!options)
        return 0;
    w->req.condition = &w->condition;
    w->condition.if_none_match_any = options->only_new;
    if (options->if_etag && !(w->condition.if_match = text_copy(w, options->if_etag)))
        return -ENOMEM;
    if (options->content_type) {
        char *type = text_copy(w, options->content_type), *name = text_copy(w, "content-type");
        if (!type || !name)
            return -ENOMEM;
        w->header.name = name;
        w->header.value = (ProtobufCBinaryData){.len = strlen(type), .data = (uint8_t *)type};
        w->headers[0] = &w->header;
        w->object.headers = w->headers;
        w->object.n_headers = 1;
    }
    return 0;
}

/* The bucket must be there before bytes are sent; its owner owns the object. */
static int take_owner(struct lectern_writer *w)
{
    Pb__BucketGetReq req = PB__BUCKET_GET_REQ__INIT;
    void *rep = NULL;
    req.name = w->req.bucket;
    int err = lectern_call(w->l, RPC_BUCKET_GET, &req, &w->arena, &rep);
    const Pb__BucketGetRep *got = rep;
    if (!err)
        w->object.owner = got->bucket ? got->bucket->owner : w->object.owner;
    return err == RPC_NOT_FOUND ? RPC_NO_BUCKET : err;
}

int lectern_writer_open(struct lectern *l, const char *bucket, const char *key, uint64_t size,
                        const struct lectern_put_options *options, struct lectern_writer **ret_writer)
{
    struct lectern_writer *w = calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    w->l = l;
    w->expected = size;
    arena_init(&w->arena, LECTERN_ARENA_BYTES);
    int err = describe(w, bucket, key, options);
    if (!err)
        err = take_owner(w);
    if (!err)
        err = digest_create(DIGEST_MD5, &w->md5);
    if (!err)
        err = job_run(l, &w->job, writer_begin);
    if (err) {
        writer_free(w);
        return lectern_public(err);
    }
    *ret_writer = w;
    return 0;
}

int lectern_writer_write(struct lectern_writer *w, const void *data, size_t size)
{
    const uint8_t *p = data;
    while (size && !w->err) {
        if (w->filled == w->room) {
            w->err = lectern_public(job_run(w->l, &w->job, space_begin));
            continue;
        }
        size_t n = MIN_OF(size, w->room - w->filled);
        memcpy(w->space + w->filled, p, n);
        w->filled += n;
        p += n;
        size -= n;
    }
    return w->err;
}

static int commit(struct lectern_writer *w, struct lectern_stat *ret_stat)
{
    uint8_t md5[DIGEST_MAX];
    void *rep = NULL;
    int err = job_run(w->l, &w->job, finish_begin);
    if (err)
        return err;
    digest_final(w->md5, md5);
    hex_encode(md5, 16, w->etag);
    w->object.etag = w->etag;
    w->committed = true; /* until it is known not to be: a lost answer must not sweep what may stand */
    err = lectern_call(w->l, RPC_OBJECT_PUT, &w->req, &w->arena, &rep);
    /* Only an outcome, or a call that never began, proves that nothing refers to the fragments. A failure may come
     * after the change was made durable (the node's database was full, the answer was lost): then they must stay. */
    w->committed = err <= 0 && err != E_UNAVAILABLE;
    const Pb__ObjectPutRep *put = rep;
    if (!err && ret_stat)
        lectern_stat_of(put->object ? put->object : &w->object, ret_stat);
    return err;
}

int lectern_writer_commit(struct lectern_writer *w, struct lectern_stat *ret_stat)
{
    int err = w->err ? w->err : lectern_public(commit(w, ret_stat));
    writer_free(w);
    return err;
}

int lectern_put(struct lectern *l, const char *bucket, const char *key, const void *data, size_t size,
                const struct lectern_put_options *options, struct lectern_stat *ret_stat)
{
    struct lectern_writer *w;
    int err = lectern_writer_open(l, bucket, key, size, options, &w);
    if (err)
        return err;
    err = lectern_writer_write(w, data, size);
    if (err) {
        lectern_writer_abort(w);
        return err;
    }
    return lectern_writer_commit(w, ret_stat);
}
