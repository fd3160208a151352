/* CopyObject: the bytes are read, verified and written again, so that a copy never hangs on its source. Metadata comes
 * from the source or, with REPLACE, from the request. A copy of an object onto itself must change something; when that
 * is only its description, the bytes stay where they are. */
#include "gateway-s3/s3_source.h"

struct copy {
    struct s3_source source; /* first: s3_source_find expects it so */
    bool replace_meta, replace_tags;
    struct s3_meta meta; /* of the request */
    Pb__Condition *condition;
    Pb__Object *object;
    size_t part_count;
};

static void cleanup(struct s3_request *s)
{
    struct copy *c = s->state;
    s3_source_fini(&c->source);
}

static void on_committed(struct s3_request *s, int status, void *rep)
{
    struct copy *c = s->state;
    (void)rep;
    s3_source_settled(&c->source, status);
    if (status) {
        s3_fail(s, s3_error_of(status));
        return;
    }
    struct sbuf out = {0};
    sbuf_puts(&out, XML_DECLARATION);
    xml_open_ns(&out, "CopyObjectResult");
    s3_xml_mtime(&out, c->object->mtime_ms);
    s3_xml_etag(&out, c->object->etag);
    s3_checksum_xml(s, &out, c->object->checksums, c->object->n_checksums, c->part_count, true);
    xml_close(&out, "CopyObjectResult");
    s3_reply_xml(s, &out);
}

static void on_described(struct s3_request *s, int status, void *rep)
{
    const struct copy *c = s->state;
    if (status == RPC_CONDITION && !c->condition)
        s3_fail(s, S3_ConditionalRequestConflict);
    else
        on_committed(s, status, rep);
}

/* The same bytes under a new description. */
static void describe_again(struct s3_request *s, struct copy *c)
{
    const Pb__Object *from = c->source.object;
    c->object->etag = from->etag;
    c->object->checksums = from->checksums;
    c->object->n_checksums = from->n_checksums;
    c->object->mtime_ms = loop_clock(s->g->loop)->wall_ms(loop_clock(s->g->loop));
    c->part_count = from->n_parts;
    s3_object_describe(s, c->object, from, c->condition, on_described);
}

static void on_copied(struct s3_request *s, enum s3_error e)
{
    struct copy *c = s->state;
    Pb__Object *o = c->object;
    if (s3_gone(s))
        return;
    if (e == S3_OK && !(o->etag = arena_alloc(&s->arena, 33)))
        e = S3_InternalError;
    if (e != S3_OK) {
        s3_fail(s, e);
        return;
    }
    hex_encode(c->source.md5, 16, o->etag);
    if (s3_object_set_checksum(s, o, c->source.kind, c->source.value, false))
        s3_object_commit(s, o, c->source.result, c->condition, on_committed);
}

/* The new row's description: each half from the source unless the request replaces it. */
static Pb__Object *describe(struct s3_request *s, const struct copy *c)
{
    const Pb__Object *from = c->source.object;
    struct s3_meta m = c->meta;
    if (!c->replace_meta) {
        m.headers = from->headers;
        m.header_count = from->n_headers;
        m.user_meta = from->user_meta;
        m.user_meta_count = from->n_user_meta;
    }
    if (!c->replace_tags) {
        m.tags = from->tags;
        m.tag_count = from->n_tags;
    }
    return s3_object_new(s, &m);
}

static void on_source(struct s3_request *s)
{
    struct copy *c = s->state;
    const Pb__Object *from = c->source.object;
    if (c->source.same && !c->replace_meta && !c->replace_tags) {
        s3_fail_text(s, S3_InvalidRequest,
                     "This copy request is illegal because it is trying to copy an object to itself without changing "
                     "the object's metadata, storage class, website redirect location or encryption attributes.");
        return;
    }
    if (from->size > S3_OBJECT_MAX && !c->source.same) {
        s3_fail_text(s, S3_InvalidRequest,
                     "The specified copy source is larger than the maximum allowable size for a "
                     "copy source: 5368709120");
        return;
    }
    enum checksum_kind kind = CHECKSUM_CRC64NVME;
    if (from->n_checksums && from->checksums[0]->kind < CHECKSUM_KINDS)
        kind = (enum checksum_kind)from->checksums[0]->kind;
    bool same_kind = !s3_header(s, "x-amz-checksum-algorithm").p;
    if (!s3_checksum_asked(s, kind, &kind) || !(c->object = describe(s, c)))
        return;
    if (c->source.same && same_kind) {
        describe_again(s, c);
        return;
    }
    s3_slow_start(s);
    s3_source_pump(s, &c->source, 0, from->size, true, kind, on_copied);
}

static bool directive(struct s3_request *s, const char *name, bool *ret_replace)
{
    struct str v = s3_header(s, name);
    *ret_replace = str_eq(v, STR("REPLACE"));
    if (!v.p || *ret_replace || str_eq(v, STR("COPY")))
        return true;
    s3_invalid_argument(s, name, v, "Unknown directive: it must be COPY or REPLACE");
    return false;
}

void s3_copy_object(struct s3_request *s)
{
    struct copy *c = arena_alloc(&s->arena, sizeof *c);
    if (!c) {
        s3_fail(s, S3_InternalError);
        return;
    }
    s->state = c;
    s->cleanup = cleanup;
    if (directive(s, "x-amz-metadata-directive", &c->replace_meta) &&
        directive(s, "x-amz-tagging-directive", &c->replace_tags) && s3_meta_read(s, &c->meta) &&
        s3_write_condition(s, &c->condition))
        s3_source_find(s, &c->source, on_source);
}
