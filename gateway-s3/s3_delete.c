/* DeleteObject and DeleteObjects. Deleting what is not there succeeds, as in S3. Of DeleteObjects, all keys without a
 * condition go in one metadata change; keys with an ETag follow one by one, for each may be refused by itself. */
#include "gateway-s3/s3_object.h"

#define DELETE_KEYS_MAX 1000

static Pb__ObjectDeleteReq *delete_request(struct s3_request *s, size_t key_cap)
{
    Pb__ObjectDeleteReq *req = arena_alloc(&s->arena, sizeof *req);
    ProtobufCBinaryData *keys = arena_alloc(&s->arena, key_cap * sizeof *keys);
    char *bucket = s3_text(s, s->route.bucket);
    if (!req || !keys || !bucket)
        return NULL;
    pb__object_delete_req__init(req);
    req->bucket = bucket;
    req->keys = keys;
    return req;
}

/* With If-Match too, an object that is not there counts as deleted (AWS, DeleteObject). */
static void on_deleted(struct s3_request *s, int status, void *rep)
{
    (void)rep;
    if (status && status != RPC_NOT_FOUND)
        s3_object_refused(s, status);
    else
        s3_reply_empty(s, 204);
}

void s3_delete_object(struct s3_request *s)
{
    Pb__ObjectDeleteReq *req = delete_request(s, 1);
    if (!req) {
        s3_fail(s, S3_InternalError);
        return;
    }
    if (!s3_version_ok(s) || !s3_write_condition(s, &req->condition))
        return;
    req->keys[0] = s3_bytes(s->route.key);
    req->n_keys = 1;
    s3_call(s, RPC_OBJECT_DELETE, req, on_deleted);
}

/* ---- many ---- */

struct entry {
    struct str key, etag;
    enum s3_error error;
};
struct many {
    struct entry *entries;
    size_t count, at; /* at: the next entry with a condition */
    bool quiet;
};

static void reply_many(struct s3_request *s)
{
    struct many *m = s->state;
    struct sbuf out = {0};
    sbuf_puts(&out, XML_DECLARATION);
    xml_open_ns(&out, "DeleteResult");
    for (size_t i = 0; i < m->count; i++) {
        const struct entry *e = &m->entries[i];
        if (e->error == S3_OK && m->quiet)
            continue;
        xml_open(&out, e->error == S3_OK ? "Deleted" : "Error");
        xml_str(&out, "Key", e->key);
        if (e->error != S3_OK) {
            xml_c(&out, "Code", s3_error_code(e->error));
            xml_c(&out, "Message", s3_error_text(e->error));
        }
        xml_close(&out, e->error == S3_OK ? "Deleted" : "Error");
    }
    xml_close(&out, "DeleteResult");
    s3_reply_xml(s, &out);
}

static void next_conditional(struct s3_request *s);

static void on_conditional(struct s3_request *s, int status, void *rep)
{
    struct many *m = s->state;
    (void)rep;
    if (status && status != RPC_NOT_FOUND)
        m->entries[m->at].error = s3_error_of(status);
    m->at++;
    next_conditional(s);
}

static void next_conditional(struct s3_request *s)
{
    struct many *m = s->state;
    while (m->at < m->count && (m->entries[m->at].error != S3_OK || !m->entries[m->at].etag.p))
        m->at++;
    if (m->at == m->count || s3_gone(s)) {
        reply_many(s);
        return;
    }
    Pb__ObjectDeleteReq *req = delete_request(s, 1);
    Pb__Condition *c = arena_alloc(&s->arena, sizeof *c);
    if (!req || !c) {
        s3_fail(s, S3_InternalError);
        return;
    }
    pb__condition__init(c);
    c->if_match = s3_text(s, m->entries[m->at].etag);
    req->keys[0] = s3_bytes(m->entries[m->at].key);
    req->n_keys = 1;
    req->condition = c;
    s3_call(s, RPC_OBJECT_DELETE, req, on_conditional);
}

static void on_unconditional(struct s3_request *s, int status, void *rep)
{
    (void)rep;
    if (status && status != RPC_NOT_FOUND) {
        s3_fail(s, s3_error_of(status));
        return;
    }
    next_conditional(s);
}

static void read_entry(struct s3_request *s, const struct xml_node *n, struct entry *e)
{
    struct str version = xml_text(n, "VersionId"), etag = xml_text(n, "ETag");
    *e = (struct entry){.key = xml_text(n, "Key"), .etag = etag};
    if (etag.len >= 2 && etag.p[0] == '"' && etag.p[etag.len - 1] == '"')
        e->etag = (struct str){etag.p + 1, etag.len - 2};
    if (e->key.len > S3_KEY_MAX)
        e->error = S3_KeyTooLongError;
    else if (etag.p && e->etag.len == 0) /* no object's ETag: never "without a condition" */
        e->error = S3_PreconditionFailed;
    else if (version.len && !str_eq(version, STR("null")))
        e->error = S3_NoSuchVersion;
    else if (xml_child(n, "LastModifiedTime") || xml_child(n, "Size"))
        e->error = S3_NotImplemented;
    (void)s;
}

/* S3_OK, or what is wrong with the document. */
static enum s3_error read_document(struct s3_request *s, struct many *m)
{
    struct xml_node *root;
    struct str text = {s->body.memory.p, s->body.memory.len};
    if (text.len == 0)
        return S3_MissingRequestBodyError;
    if (xml_parse(&s->arena, text, &root) != 0 || !str_eq(root->name, STR("Delete")))
        return S3_MalformedXML;
    m->quiet = str_ieq(xml_text(root, "Quiet"), STR("true"));
    m->entries = arena_alloc(&s->arena, DELETE_KEYS_MAX * sizeof *m->entries);
    if (!m->entries)
        return S3_InternalError;
    for (const struct xml_node *n = xml_child(root, "Object"); n; n = xml_next(n, "Object")) {
        if (m->count == DELETE_KEYS_MAX || xml_text(n, "Key").len == 0)
            return S3_MalformedXML;
        read_entry(s, n, &m->entries[m->count++]);
    }
    return m->count ? S3_OK : S3_MalformedXML;
}

static void on_document(struct s3_request *s, enum s3_error e)
{
    struct many *m = s->state;
    if (e == S3_OK)
        e = read_document(s, m);
    Pb__ObjectDeleteReq *req = e == S3_OK ? delete_request(s, m->count) : NULL;
    if (!req) {
        s3_fail(s, e == S3_OK ? S3_InternalError : e);
        return;
    }
    for (size_t i = 0; i < m->count; i++)
        if (m->entries[i].error == S3_OK && !m->entries[i].etag.p)
            req->keys[req->n_keys++] = s3_bytes(m->entries[i].key);
    if (req->n_keys)
        s3_call(s, RPC_OBJECT_DELETE, req, on_unconditional);
    else
        next_conditional(s);
}

void s3_delete_objects(struct s3_request *s)
{
    s->state = arena_alloc(&s->arena, sizeof(struct many));
    enum s3_error e = s->state ? s3_body_to_memory(s, on_document) : S3_InternalError;
    if (e != S3_OK)
        s3_fail(s, e);
}
