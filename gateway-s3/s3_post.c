/* PostObject: a browser's upload form. The signature is in the form, so up to S3_FORM_BYTES are read before anybody is
 * known; then the connection waits while the policy, the key's rights and the bucket are judged; only then does the
 * file stream into a write. From the judgement on the form's fields stand in the place of the request's headers, so
 * that one code reads metadata and checksums of both. */
#include "gateway-s3/s3_object.h"
#include "gateway-s3/s3_policy.h"
#include <stdio.h>

enum phase { READ_FIELDS, JUDGE, READ_FILE };
struct post {
    enum phase phase;
    struct s3_form form;
    struct s3_policy_limits limits;
    Pb__Object *object;
    struct str redirect, host;
    unsigned status;
};

static void cleanup(struct s3_request *s)
{
    struct post *p = s->state;
    s3_form_fini(&p->form);
}

static void refuse(struct s3_request *s, enum s3_error e)
{
    s->body.ended = true;
    s3_fail(s, e);
}

/* ---- the answer ---- */

static void reply_created(struct s3_request *s, const struct post *p)
{
    struct sbuf out = {0};
    sbuf_puts(&out, XML_DECLARATION);
    xml_open(&out, "PostResponse");
    xml_open(&out, "Location");
    sbuf_puts(&out, "http://");
    xml_escape(&out, p->host);
    sbuf_puts(&out, "/");
    if (!s->route.virtual_host) {
        xml_escape(&out, s->route.bucket);
        sbuf_puts(&out, "/");
    }
    uri_encode_to(&out, s->route.key, true);
    xml_close(&out, "Location");
    xml_str(&out, "Bucket", s->route.bucket);
    xml_str(&out, "Key", s->route.key);
    s3_xml_etag(&out, p->object->etag);
    xml_close(&out, "PostResponse");
    s3_reply_xml_as(s, 201, &out);
}

static void reply_redirect(struct s3_request *s, const struct post *p)
{
    struct sbuf url = {0};
    sbuf_str(&url, p->redirect);
    sbuf_puts(&url, memchr(p->redirect.p, '?', p->redirect.len) ? "&bucket=" : "?bucket=");
    uri_encode_to(&url, s->route.bucket, false);
    sbuf_puts(&url, "&key=");
    uri_encode_to(&url, s->route.key, false);
    sbuf_printf(&url, "&etag=%%22%s%%22", p->object->etag);
    if (!url.err)
        s3_header_add(s, "Location", (struct str){url.p, url.len});
    sbuf_fini(&url);
    s3_reply_empty(s, 303);
}

static void on_committed(struct s3_request *s, int status, void *rep)
{
    const struct post *p = s->state;
    (void)rep;
    s3_body_settled(s, status);
    if (s3_gone(s))
        return;
    if (status) {
        s3_object_refused(s, status);
        return;
    }
    s3_etag_header(s, p->object->etag);
    if (p->redirect.len)
        reply_redirect(s, p);
    else if (p->status == 201)
        reply_created(s, p);
    else
        s3_reply_empty(s, (int)p->status);
}

static void on_file(struct s3_request *s, enum s3_error e)
{
    struct post *p = s->state;
    if (e == S3_OK && !(p->object->etag = arena_alloc(&s->arena, 33)))
        e = S3_InternalError;
    if (e != S3_OK) {
        s3_fail(s, e);
        return;
    }
    hex_encode(s->body.md5, 16, p->object->etag);
    if (s3_object_set_checksum(s, p->object, s->body.kind, s->body.value, false))
        s3_object_commit(s, p->object, s->body.result, NULL, on_committed);
}

/* ---- judging ---- */

static const char *secret_of(void *ctx, struct str access)
{
    struct gateway *g = ctx;
    const struct access_key *k = control_key(g->control, access);
    return k ? k->secret : NULL;
}

/* The key with ${filename} replaced by the file's name, without the folders that some browsers send along. */
static bool choose_key(struct s3_request *s, struct post *p)
{
    struct str name = p->form.file_name, mark = STR("${filename}");
    for (size_t i = 0; i < name.len; i++)
        if (name.p[i] == '/' || name.p[i] == '\\') {
            name = (struct str){name.p + i + 1, name.len - i - 1};
            i = SIZE_MAX;
        }
    for (unsigned i = 0; i < p->form.count; i++) {
        struct s3_form_field *f = &p->form.fields[i];
        const char *at = f->value.len ? memmem(f->value.p, f->value.len, mark.p, mark.len) : NULL;
        if (!at || !str_eq(f->name, STR("key")))
            continue;
        size_t before = (size_t)(at - f->value.p), behind = f->value.len - before - mark.len;
        char *key = arena_alloc(&s->arena, before + name.len + behind + 1);
        if (!key)
            return false;
        memcpy(key, f->value.p, before);
        memcpy(key + before, name.p ? name.p : "", name.len);
        memcpy(key + before + name.len, at + mark.len, behind);
        f->value = (struct str){key, before + name.len + behind};
    }
    s->route.key = s3_form_value(&p->form, "key");
    return s->route.key.len > 0 && !memchr(s->route.key.p, 0, s->route.key.len);
}

static enum s3_error authenticate(struct s3_request *s, struct post *p)
{
    const struct s3_form *f = &p->form;
    struct sigv4_conf conf = {.region = s->g->conf.region, .now_s = s->now_ms / 1000, .secret = secret_of, .ctx = s->g};
    struct sigv4_form form = {.algorithm = s3_form_value(f, "x-amz-algorithm"),
                              .credential = s3_form_value(f, "x-amz-credential"),
                              .date = s3_form_value(f, "x-amz-date"),
                              .signature = s3_form_value(f, "x-amz-signature"),
                              .policy = s3_form_value(f, "policy")};
    enum s3_error e = sigv4_form_check(&conf, &form, &s->sig);
    const struct access_key *k = e == S3_OK ? control_key(s->g->control, s->sig.access_key) : NULL;
    if (!k)
        return e == S3_OK ? S3_InvalidAccessKeyId : e;
    s->access = arena_str(&s->arena, str_c(k->access));
    s->creator = arena_str(&s->arena, str_c(k->creator));
    s->root = k->root;
    s->auth = S3_AUTH_FORM;
    return s->access.p && s->creator.p ? S3_OK : S3_InternalError;
}

/* False: refused. */
static bool policy_holds(struct s3_request *s, struct post *p)
{
    struct str text = s3_form_value(&p->form, "policy");
    uint8_t *json = arena_alloc(&s->arena, text.len + 1);
    size_t n = 0;
    const char *why = NULL;
    enum s3_error e = !json ? S3_InternalError : S3_OK;
    if (e == S3_OK && base64_decode(text, json, text.len, &n) != 0)
        e = S3_InvalidPolicyDocument;
    if (e == S3_OK)
        e = s3_policy_check(&s->arena, (struct str){(char *)json, n}, &p->form, s->route.bucket, s->now_ms / 1000,
                            &p->limits, &why);
    if (e == S3_OK)
        return true;
    s->body.ended = true;
    s3_fail_text(s, e, "%s", why ? why : s3_error_text(e));
    return false;
}

/* A field that becomes a header must be one by its name, too (RFC 9110, 5.1: a token). */
static bool name_ok(struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.p[i];
        if (c <= 0x20 || c >= 0x7F || strchr("\"(),/:;<=>?@[\\]{}", c))
            return false;
    }
    return name.len > 0;
}

static bool value_ok(struct str v)
{
    for (size_t i = 0; i < v.len; i++)
        if ((unsigned char)v.p[i] < 0x20 || v.p[i] == 0x7F)
            return false;
    return true;
}

/* The form's fields take the headers' place. False: refused. */
static bool fields_to_headers(struct s3_request *s, struct post *p)
{
    struct http_header *h = arena_alloc(&s->arena, (p->form.count + 1) * sizeof *h);
    size_t n = 0;
    if (!h) {
        refuse(s, S3_InternalError);
        return false;
    }
    for (unsigned i = 0; i < p->form.count; i++) {
        struct s3_form_field f = p->form.fields[i];
        bool acl = str_eq(f.name, STR("acl"));
        if (!name_ok(f.name) || !value_ok(f.value) || str_eq(f.name, STR("tagging"))) {
            s->body.ended = true;
            s3_invalid_argument(s, s3_text(s, f.name), f.value, "The form has a field that is not supported");
            return false;
        }
        h[n++] = (struct http_header){acl ? STR("x-amz-acl") : f.name, f.value};
    }
    s->r->headers = h;
    s->r->header_count = n;
    return true;
}

static void read_answer_fields(struct post *p)
{
    struct str status = s3_form_value(&p->form, "success_action_status");
    struct str url = s3_form_value(&p->form, "success_action_redirect");
    p->status = str_eq(status, STR("200")) ? 200 : str_eq(status, STR("201")) ? 201 : 204;
    if (value_ok(url) && (str_starts(url, STR("http://")) || str_starts(url, STR("https://"))))
        p->redirect = url;
}

static void on_bucket(struct s3_request *s, int status, void *rep)
{
    struct post *p = s->state;
    const Pb__BucketGetRep *got = status == 0 ? rep : NULL;
    struct s3_meta meta;
    if (s3_gone(s))
        return;
    s->body.ended = true; /* until the file may be read */
    if (!got || !got->bucket) {
        s3_fail(s, status == RPC_NOT_FOUND || status == RPC_NO_BUCKET ? S3_NoSuchBucket
                   : status                                           ? s3_error_of(status)
                                                                      : S3_InternalError);
        return;
    }
    s->bucket = got->bucket;
    if (!(s3_rights(s, s->route.bucket, str_c(got->bucket->owner)) & RIGHT_WRITE)) {
        s3_fail(s, S3_AccessDenied);
        return;
    }
    if (!fields_to_headers(s, p) || !s3_meta_read(s, &meta) || !(p->object = s3_object_new(s, &meta)))
        return;
    enum s3_error e = s3_body_form_open(s, CHECKSUM_CRC64NVME, on_file);
    if (e != S3_OK) {
        s3_fail(s, e);
        return;
    }
    s->body.ended = false;
    p->phase = READ_FILE;
    http_body_resume(s->r);
}

static void judge(struct s3_request *s, struct post *p)
{
    p->phase = JUDGE;
    if (!choose_key(s, p)) {
        s->body.ended = true;
        s3_invalid_argument(s, "key", STR(""),
                            "Bucket POST must contain a field named 'key'.  If it is specified, please "
                            "check the order of the fields.");
        return;
    }
    enum s3_error e = s->route.key.len > S3_KEY_MAX ? S3_KeyTooLongError : authenticate(s, p);
    if (e != S3_OK) {
        if (e == S3_SignatureDoesNotMatch) {
            s3_extra(s, "AWSAccessKeyId", s->sig.access_key);
            s3_extra(s, "StringToSign", s->sig.string_to_sign);
            s3_extra(s, "SignatureProvided", s->sig.signature_provided);
        }
        refuse(s, e);
        return;
    }
    if (!policy_holds(s, p))
        return;
    read_answer_fields(p);
    Pb__BucketGetReq *req = arena_alloc(&s->arena, sizeof *req);
    char *name = s3_text(s, s->route.bucket);
    if (!req || !name) {
        refuse(s, S3_InternalError);
        return;
    }
    pb__bucket_get_req__init(req);
    req->name = name;
    s3_call(s, RPC_BUCKET_GET, req, on_bucket);
}

/* ---- bytes ---- */

static void on_space(void *ctx)
{
    struct s3_request *s = ctx;
    if (s3_gone(s) || s->body.ended)
        return;
    s3_enter(s);
    int err = client_write_status(s->body.write);
    if (err)
        refuse(s, s3_error_of(err));
    else
        http_body_resume(s->r);
    s3_leave(s);
}

/* Takes what it can of the file and sets *n to it; false: no room now. */
static bool take_file(struct s3_request *s, struct post *p, const uint8_t *in, size_t *n)
{
    uint8_t *out = NULL;
    size_t out_len = 0;
    if (!p->form.done) {
        client_write_space(s->body.write, &out, &out_len, on_space, s);
        if (out_len == 0)
            return false;
    }
    enum s3_error e = s3_form_feed(&p->form, in, n, out, &out_len);
    s->body.received += out_len;
    if (e == S3_OK && s->body.received > MIN_OF(p->limits.max_bytes, S3_OBJECT_MAX))
        e = S3_EntityTooLarge;
    if (e != S3_OK)
        refuse(s, e);
    else if (out_len)
        client_write_advance(s->body.write, out_len);
    return true;
}

static size_t on_data(struct http_req *r, const uint8_t *in, size_t n)
{
    struct s3_request *s = r->user;
    struct post *p = s->state;
    size_t used = 0;
    s3_enter(s);
    while (used < n && !s->body.ended && p->phase != JUDGE) {
        size_t took = n - used, none = 0;
        if (p->phase == READ_FILE) {
            if (!take_file(s, p, in + used, &took))
                break;
        } else {
            enum s3_error e = s3_form_feed(&p->form, in + used, &took, NULL, &none);
            if (e != S3_OK)
                refuse(s, e);
            else if (p->form.in_file)
                judge(s, p);
        }
        used += took;
    }
    bool ended = s->body.ended;
    s3_leave(s);
    return ended ? n : used;
}

static void on_end(struct http_req *r, int err)
{
    struct s3_request *s = r->user;
    struct post *p = s->state;
    if (s->body.ended)
        return;
    if (err && err != -EPROTO && err != -EMSGSIZE) {
        s->body.ended = true;
        s->error = S3_IncompleteBody;
        s3_abort(s);
        return;
    }
    enum s3_error e = err == -EMSGSIZE ? S3_EntityTooLarge : err ? S3_IncompleteBody : s3_form_end(&p->form);
    if (e == S3_OK && s->body.received < p->limits.min_bytes)
        e = S3_EntityTooSmall;
    if (e != S3_OK)
        refuse(s, e);
    else
        s3_body_form_end(s);
}

void s3_post_object(struct s3_request *s)
{
    static const struct http_body reader = {.on_data = on_data, .on_end = on_end};
    struct post *p = arena_alloc(&s->arena, sizeof *p);
    if (!p) {
        s3_fail(s, S3_InternalError);
        return;
    }
    enum s3_error e = s3_form_init(&p->form, &s->arena, s3_header(s, "Content-Type"));
    if (e != S3_OK) {
        s3_fail(s, e);
        return;
    }
    p->host = arena_str(&s->arena, s->r->host);
    s->state = p;
    s->cleanup = cleanup;
    http_body_read(s->r, &reader);
}
