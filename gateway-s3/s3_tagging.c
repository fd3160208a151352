/* Tags of an object: read, replaced and removed without touching its bytes or its Last-Modified. The change names the
 * version that was read; when another write came between, it is tried again on the new one. */
#include "gateway-s3/s3_object.h"

#define TRIES_MAX 4

static const Pb__Object *found(struct s3_request *s, int status, void *rep)
{
    const Pb__ObjectGetRep *got = status == 0 ? rep : NULL;
    if (got && got->object)
        return got->object;
    s3_fail(s, status ? s3_error_of(status) : S3_InternalError);
    return NULL;
}

/* ---- get ---- */

static void on_tagged(struct s3_request *s, int status, void *rep)
{
    const Pb__Object *o = found(s, status, rep);
    struct sbuf out = {0};
    if (!o)
        return;
    sbuf_puts(&out, XML_DECLARATION);
    xml_open_ns(&out, "Tagging");
    xml_open(&out, "TagSet");
    for (size_t i = 0; i < o->n_tags; i++) {
        xml_open(&out, "Tag");
        xml_c(&out, "Key", o->tags[i]->name);
        xml_str(&out, "Value", (struct str){(const char *)o->tags[i]->value.data, o->tags[i]->value.len});
        xml_close(&out, "Tag");
    }
    xml_close(&out, "TagSet");
    xml_close(&out, "Tagging");
    s3_reply_xml(s, &out);
}

void s3_get_tagging(struct s3_request *s)
{
    if (s3_version_ok(s))
        s3_object_find(s, s->route.bucket, s->route.key, false, on_tagged);
}

/* ---- put, delete ---- */

struct tagging {
    struct s3_meta meta; /* the new tags */
    unsigned tries;
    int answer; /* status */
};

static void look(struct s3_request *s);

static void on_changed(struct s3_request *s, int status, void *rep)
{
    struct tagging *t = s->state;
    (void)rep;
    if (status == RPC_CONDITION && ++t->tries < TRIES_MAX && !s3_gone(s))
        look(s);
    else if (status)
        s3_fail(s, status == RPC_CONDITION ? S3_ConditionalRequestConflict : s3_error_of(status));
    else
        s3_reply_empty(s, t->answer);
}

static void on_standing(struct s3_request *s, int status, void *rep)
{
    const struct tagging *t = s->state;
    const Pb__Object *standing = found(s, status, rep);
    if (!standing)
        return;
    struct s3_meta m = {.headers = standing->headers,
                        .header_count = standing->n_headers,
                        .user_meta = standing->user_meta,
                        .user_meta_count = standing->n_user_meta,
                        .tags = t->meta.tags,
                        .tag_count = t->meta.tag_count};
    Pb__Object *o = s3_object_new(s, &m);
    if (!o)
        return;
    o->mtime_ms = standing->mtime_ms;
    o->owner = standing->owner;
    s3_object_describe(s, o, standing, NULL, on_changed);
}

static void look(struct s3_request *s)
{
    s3_object_find(s, s->route.bucket, s->route.key, false, on_standing);
}

static struct tagging *begin(struct s3_request *s, int answer)
{
    struct tagging *t = arena_alloc(&s->arena, sizeof *t);
    if (!t) {
        s3_fail(s, S3_InternalError);
        return NULL;
    }
    t->answer = answer;
    s->state = t;
    return s3_version_ok(s) ? t : NULL;
}

static void on_document(struct s3_request *s, enum s3_error e)
{
    struct tagging *t = s->state;
    struct str text = {s->body.memory.p, s->body.memory.len};
    struct xml_node *root = NULL;
    if (e == S3_OK && (xml_parse(&s->arena, text, &root) != 0 || !str_eq(root->name, STR("Tagging"))))
        e = S3_MalformedXML;
    const struct xml_node *set = e == S3_OK ? xml_child(root, "TagSet") : NULL;
    if (!set) {
        s3_fail(s, e == S3_OK ? S3_MalformedXML : e);
        return;
    }
    for (const struct xml_node *n = xml_child(set, "Tag"); n; n = xml_next(n, "Tag"))
        if (!s3_meta_tag_add(s, &t->meta, xml_text(n, "Key"), xml_text(n, "Value")))
            return;
    look(s);
}

void s3_put_tagging(struct s3_request *s)
{
    if (!begin(s, 200))
        return;
    enum s3_error e = s3_body_to_memory(s, on_document);
    if (e != S3_OK)
        s3_fail(s, e);
}

void s3_delete_tagging(struct s3_request *s)
{
    if (begin(s, 204))
        look(s);
}
