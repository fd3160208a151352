/* PutObject: everything that the head alone can refuse is refused before the body; then the body streams into a write;
 * then one metadata change makes it visible. The answer's ETag is the MD5 of the bytes that were stored. */
#include "gateway-s3/s3_object.h"

struct put {
    Pb__Object *object;
    Pb__Condition *condition;
};

static void on_committed(struct s3_request *s, int status, void *rep)
{
    struct put *p = s->state;
    (void)rep;
    s3_body_settled(s, status);
    if (s3_gone(s))
        return;
    if (status) {
        s3_object_refused(s, status);
        return;
    }
    s3_etag_header(s, p->object->etag);
    s3_checksum_headers(s, p->object->checksums, p->object->n_checksums, 0);
    s3_reply_empty(s, 200);
}

static void on_body(struct s3_request *s, enum s3_error e)
{
    struct put *p = s->state;
    if (e != S3_OK) {
        s3_fail(s, e);
        return;
    }
    p->object->etag = arena_alloc(&s->arena, 33);
    if (!p->object->etag) {
        s3_fail(s, S3_InternalError);
        return;
    }
    hex_encode(s->body.md5, 16, p->object->etag);
    if (s3_object_set_checksum(s, p->object, s->body.kind, s->body.value, false))
        s3_object_commit(s, p->object, s->body.result, p->condition, on_committed);
}

static void read_body(struct s3_request *s)
{
    enum s3_error e = s3_body_to_write(s, true, CHECKSUM_CRC64NVME, on_body);
    if (e != S3_OK)
        s3_fail(s, e);
}

void s3_put_object(struct s3_request *s)
{
    struct s3_meta meta;
    struct put *p = arena_alloc(&s->arena, sizeof *p);
    if (!p) {
        s3_fail(s, S3_InternalError);
        return;
    }
    if (!s3_meta_read(s, &meta) || !s3_write_condition(s, &p->condition) || !(p->object = s3_object_new(s, &meta)))
        return;
    s->state = p;
    s3_write_condition_first(s, p->condition, read_body);
}
