/* Both sides are authorised: the target by its row before the handler ran, the source here. The pump holds one unit
 * that was read and verified, and moves it into the write's buffers as they have room. */
#include "gateway-s3/s3_source.h"
#include <stdlib.h>

static struct s3_source *source_of(struct s3_request *s)
{
    return s->state; /* handlers that copy keep it first in their state */
}

/* ---- finding ---- */

static bool judge(struct s3_request *s, const Pb__Object *o)
{
    struct s3_conditions c = {
        .if_match = s3_header(s, "x-amz-copy-source-if-match"),
        .if_none_match = s3_header(s, "x-amz-copy-source-if-none-match"),
        .if_modified_since = s3_header(s, "x-amz-copy-source-if-modified-since"),
        .if_unmodified_since = s3_header(s, "x-amz-copy-source-if-unmodified-since"),
    };
    if (s3_conditions_judge(&c, str_c(o->etag), o->mtime_ms / 1000, s->now_ms / 1000) == S3_CONDITIONS_PASS)
        return true;
    s3_fail(s, S3_PreconditionFailed);
    return false;
}

static void on_object(struct s3_request *s, int status, void *rep)
{
    struct s3_source *c = source_of(s);
    const Pb__ObjectGetRep *got = status == 0 ? rep : NULL;
    if (s3_gone(s))
        return;
    if (!got || !got->object) {
        s->about_key = c->key;
        s3_fail(s, status ? s3_error_of(status) : S3_InternalError);
        return;
    }
    c->object = got->object;
    c->inline_data = (struct str){(const char *)got->inline_data.data, got->inline_data.len};
    if (judge(s, c->object))
        c->then(s);
}

static void authorised(struct s3_request *s, const char *owner)
{
    struct s3_source *c = source_of(s);
    if (!(s3_rights(s, c->bucket, str_c(owner)) & RIGHT_READ) ||
        !s3_owner_expected(s, "x-amz-source-expected-bucket-owner", owner))
        s3_fail(s, S3_AccessDenied);
    else
        s3_object_find(s, c->bucket, c->key, true, on_object);
}

static void on_bucket(struct s3_request *s, int status, void *rep)
{
    const Pb__BucketGetRep *got = status == 0 ? rep : NULL;
    if (s3_gone(s))
        return;
    if (!got || !got->bucket) {
        s->about_bucket = source_of(s)->bucket;
        s3_fail(s, status == RPC_NOT_FOUND ? S3_NoSuchBucket : status ? s3_error_of(status) : S3_InternalError);
        return;
    }
    authorised(s, got->bucket->owner);
}

void s3_source_find(struct s3_request *s, struct s3_source *c, void (*then)(struct s3_request *s))
{
    struct str header = s3_header(s, "x-amz-copy-source"), version;
    assert(s->state == c);
    c->then = then;
    if (s3_route_source(&s->arena, header, &c->bucket, &c->key, &version) != S3_OK) {
        s3_invalid_argument(s, "x-amz-copy-source", header,
                            "Copy Source must mention the source bucket and key: sourcebucket/sourcekey");
        return;
    }
    if (version.p && !str_eq(version, STR("null"))) {
        s3_fail(s, S3_NoSuchVersion);
        return;
    }
    bool same_bucket = str_eq(c->bucket, s->route.bucket);
    c->same = same_bucket && str_eq(c->key, s->route.key);
    if (same_bucket) {
        authorised(s, s->bucket->owner);
        return;
    }
    Pb__BucketGetReq *req = arena_alloc(&s->arena, sizeof *req);
    char *name = s3_text(s, c->bucket);
    if (!req || !name) {
        s3_fail(s, S3_InternalError);
        return;
    }
    pb__bucket_get_req__init(req);
    req->name = name;
    s3_call(s, RPC_BUCKET_GET, req, on_bucket);
}

bool s3_checksum_asked(struct s3_request *s, enum checksum_kind dflt, enum checksum_kind *ret)
{
    struct str name = s3_header(s, "x-amz-checksum-algorithm");
    *ret = name.p ? checksum_by_name(name) : dflt;
    if (name.p && *ret == CHECKSUM_NONE) {
        s3_fail_text(s, S3_InvalidRequest,
                     "Checksum algorithm provided is unsupported. Please try again with any of the "
                     "valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]");
        return false;
    }
    return true;
}

/* ---- pumping ---- */

static void pump(struct s3_request *s);

static void on_written(void *ctx, int err, const struct client_write_result *result)
{
    struct s3_request *s = ctx;
    struct s3_source *c = source_of(s);
    uint8_t sha256[32];
    if (!err) {
        c->result = result;
        c->kind = c->set->kind;
        checksum_set_final(c->set, c->md5, sha256, c->value);
    }
    c->done(s, err ? s3_error_of(err) : S3_OK);
    s3_leave(s);
}

static void on_unit(void *ctx, int err, struct slice unit)
{
    struct s3_request *s = ctx;
    struct s3_source *c = source_of(s);
    s3_enter(s);
    if (err || unit.len == 0 || unit.len > c->left) {
        buf_unref(unit.buf);
        c->done(s, err ? s3_error_of(err) : S3_InternalError);
    } else {
        c->unit = unit;
        c->left -= unit.len;
        pump(s);
    }
    s3_leave(s);
}

static void on_space(void *ctx)
{
    struct s3_request *s = ctx;
    struct s3_source *c = source_of(s);
    s3_enter(s);
    int err = client_write_status(c->write);
    if (err)
        c->done(s, s3_error_of(err));
    else
        pump(s);
    s3_leave(s);
}

/* The unit into the write; false when there is no room now. */
static bool move_unit(struct s3_request *s, struct s3_source *c)
{
    while (c->unit.len) {
        uint8_t *to = NULL;
        size_t room = 0;
        client_write_space(c->write, &to, &room, on_space, s);
        if (room == 0)
            return false;
        room = MIN_OF(room, c->unit.len);
        memcpy(to, slice_data(c->unit), room);
        client_write_advance(c->write, room);
        c->unit.off += room;
        c->unit.len -= room;
    }
    buf_unref(c->unit.buf);
    c->unit = (struct slice){0};
    return true;
}

static void pump(struct s3_request *s)
{
    struct s3_source *c = source_of(s);
    if (s3_gone(s) || (c->unit.buf && !move_unit(s, c)))
        return;
    if (c->left) {
        client_read_next(c->read, on_unit, s);
        return;
    }
    s3_enter(s);
    client_write_finish(c->write, on_written, s);
}

void s3_source_pump(struct s3_request *s, struct s3_source *c, uint64_t offset, uint64_t length, bool may_inline,
                    enum checksum_kind kind, void (*done)(struct s3_request *s, enum s3_error e))
{
    c->done = done;
    c->left = length;
    c->set = calloc(1, sizeof *c->set);
    if (!c->set || checksum_set_init(c->set, kind, false) != 0) {
        free(c->set);
        c->set = NULL;
        done(s, S3_InternalError);
        return;
    }
    enum s3_error e = s3_write_open(s, length, may_inline, c->set, &c->write);
    if (e == S3_OK && length) {
        int err = client_read_open(s->g->client, c->object, c->inline_data, offset, length, &c->read);
        e = err ? s3_error_of(err) : S3_OK;
    }
    if (e == S3_OK)
        pump(s);
    else
        done(s, e);
}

void s3_source_settled(struct s3_source *c, int status)
{
    c->committed = status <= 0;
}

void s3_source_fini(struct s3_source *c)
{
    if (c->read)
        client_read_free(c->read);
    if (c->write)
        client_write_free(c->write, c->committed); /* the set goes with it */
    else if (c->set)
        checksum_set_fini(c->set);
    if (!c->write)
        free(c->set);
    buf_unref(c->unit.buf);
}
