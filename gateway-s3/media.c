/* A media request goes: method, path, entitlement, object, conditions, ranges, bytes. Each step either goes on or
 * answers; the order is the same for every path, so what is denied is denied before anything about the object is known.
 * Content types come from the upload, or from the name's ending where the upload said nothing useful. */
#include "gateway-s3/media_priv.h"

#include "common/log.h"
#include "common/metrics.h"
#include "common/uri.h"
#include "control/media_kind.h"
#include "control/path.h"
#include "gateway-s3/s3_conditions.h"
#include <stdio.h>
#include <stdlib.h>

#define EXPOSED "Accept-Ranges, Content-Disposition, Content-Length, Content-Range, ETag, Last-Modified, X-Request-Id"
#define METHODS "GET, HEAD, OPTIONS"

static const struct {
    const char *code;
    int status;
    const char *text;
} errors[] = {
#define MEDIA_ERROR(id, code, status, text) {code, status, text},
#include "gateway-s3/media_errors.def"
#undef MEDIA_ERROR
};

bool media_path(struct str path)
{
    return str_eq(path, STR("/t")) || str_starts(path, PATH_MEDIA);
}

/* ---- answers ---- */

/* Random: a count would tell strangers how busy we are, and begin again with every start. */
static void request_id_make(char ret[17])
{
    uint8_t random[8];
    random_bytes(random, sizeof(random));
    hex_encode(random, sizeof(random), ret);
}

static void common_headers(struct http_req *r, struct http_headers *h, const char *request_id)
{
    http_headers_add(r, h, "Access-Control-Allow-Origin", STR("*"));
    http_headers_add(r, h, "Access-Control-Expose-Headers", STR(EXPOSED));
    http_headers_add(r, h, "Cross-Origin-Resource-Policy", STR("cross-origin"));
    http_headers_add(r, h, "Referrer-Policy", STR("no-referrer"));
    http_headers_add(r, h, "X-Content-Type-Options", STR("nosniff"));
    http_headers_add(r, h, "X-Request-Id", str_c(request_id));
}

/* code and text come from tables and reason from http: none needs escaping in JSON. */
static void refuse(struct http_req *r, struct http_headers *h, int status, const char *code, const char *text,
                   const char *request_id)
{
    char body[512];
    int n = snprintf(body, sizeof(body), "{\"code\":\"%s\",\"message\":\"%s\",\"request_id\":\"%s\"}", code, text,
                     request_id);
    http_headers_add(r, h, "Content-Type", STR("application/json"));
    http_headers_add(r, h, "Cache-Control", STR("no-store"));
    if (status == 503)
        http_headers_add(r, h, "Retry-After", STR("1"));
    http_reply(r, status, h, (struct str){body, MIN_OF((size_t)n, sizeof(body) - 1)});
}

void media_fail(struct media *m, enum media_error e)
{
    struct http_headers h = {0};
    m->code = errors[e].code;
    if (http_replied(m->r)) {
        http_abort(m->r);
        return;
    }
    common_headers(m->r, &h, m->request_id);
    if (e == MEDIA_E_METHOD)
        http_headers_add(m->r, &h, "Allow", STR(METHODS));
    if (e == MEDIA_E_RANGE)
        http_headers_addf(m->r, &h, "Content-Range", "bytes */%llu", (unsigned long long)m->object->size);
    refuse(m->r, &h, errors[e].status, errors[e].code, errors[e].text, m->request_id);
}

void media_fail_status(struct media *m, int status)
{
    if (status == RPC_NOT_FOUND || status == RPC_NO_BUCKET) {
        media_fail(m, MEDIA_E_OBJECT_MISSING);
        return;
    }
    log_event(LOG_WARN, "media_failed", "request=%s error=%s", m->request_id,
              status < 0 ? log_quote(str_c(err_text(status))) : "outcome");
    media_fail(m, status == -ENOMEM || status == -EINVAL || status > 0 ? MEDIA_E_INTERNAL : MEDIA_E_UNAVAILABLE);
}

static void deny(struct media *m, enum deny d)
{
    struct http_headers h = {0};
    m->code = deny_code(d);
    metric_add(M_MEDIA_DENIED, m->code, 1);
    common_headers(m->r, &h, m->request_id);
    refuse(m->r, &h, deny_status(d), m->code, deny_text(d), m->request_id);
}

static void preflight(struct media *m)
{
    struct http_headers h = {0};
    common_headers(m->r, &h, m->request_id);
    http_headers_add(m->r, &h, "Access-Control-Allow-Methods", STR(METHODS));
    http_headers_add(
        m->r, &h, "Access-Control-Allow-Headers",
        STR("Range, If-Range, If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since, Cache-Control, "
            "CMCD-Object, CMCD-Request, CMCD-Session, CMCD-Status"));
    http_headers_add(m->r, &h, "Access-Control-Max-Age", STR("86400"));
    http_headers_add(m->r, &h, "Allow", STR(METHODS));
    http_reply(m->r, 204, &h, STR_NONE);
}

/* ---- what the object is ---- */

static struct str stored(const Pb__Object *o, const char *name)
{
    for (size_t i = 0; i < o->n_headers; i++) {
        if (str_ieq(str_c(o->headers[i]->name), str_c(name)))
            return (struct str){(const char *)o->headers[i]->value.data, o->headers[i]->value.len};
    }
    return STR_NONE;
}

static bool starts_any(struct str s, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(words[i]);
        if (s.len >= len && str_ieq((struct str){s.p, len}, (struct str){words[i], len}))
            return true;
    }
    return false;
}

/* Tools guess .ts as a translation file and .m3u8 as text: a player that obeys types and nosniff would refuse them. */
struct str media_type_of(struct str type, const struct media_kind *kind)
{
    static const char *const generic[] = {"binary/octet-stream", "application/octet-stream"};
    static const char *const playable[] = {"video/", "audio/", "application/", "text/vtt"};
    bool media = kind->class == MEDIA_STREAM || kind->class == MEDIA_PLAYLIST;
    if (type.len == 0 || starts_any(type, generic, ARRAY_LEN(generic)) ||
        (media && !starts_any(type, playable, ARRAY_LEN(playable))))
        return str_c(kind->type);
    return type;
}

/* What a browser would run under our origin is shut into a sandbox. */
static bool runs_scripts(struct str type)
{
    static const char *const active[] = {
        "text/html",       "application/xhtml",     "image/svg", "text/xml", "application/xml",
        "text/javascript", "application/javascript"};
    return starts_any(type, active, ARRAY_LEN(active));
}

static struct str last_segment(struct str key)
{
    const char *slash = memrchr(key.p, '/', key.len);
    return slash ? (struct str){slash + 1, key.len - (size_t)(slash + 1 - key.p)} : key;
}

static void disposition_header(struct media *m)
{
    struct str said = stored(m->object, "content-disposition");
    if (m->check.token.audience == TOKEN_DOWNLOAD) {
        struct str name = uri_encode(&m->arena, last_segment(m->check.path), false);
        /* Up to three bytes a byte of the key: more than http_headers_addf formats. */
        char *text = arena_printf(&m->arena, "attachment; filename*=UTF-8''" STR_FMT, STR_ARG(name));
        http_headers_add(m->r, &m->headers, "Content-Disposition", text ? str_c(text) : STR("attachment"));
    } else if (said.p) {
        http_headers_add(m->r, &m->headers, "Content-Disposition", said);
    }
}

static struct str cache_control(enum media_class class)
{
    if (class == MEDIA_KEY)
        return STR("no-store");
    return class == MEDIA_PLAYLIST ? STR("private, no-cache") : STR("private, max-age=3600");
}

static void object_headers(struct media *m, bool with_body)
{
    static const char *const passed[][2] = {{"content-encoding", "Content-Encoding"},
                                            {"content-language", "Content-Language"}};
    const Pb__Object *o = m->object;
    const struct media_kind *kind = media_kind(m->check.path);
    char date[30];
    common_headers(m->r, &m->headers, m->request_id);
    http_date(o->mtime_ms / 1000, date);
    http_headers_add(m->r, &m->headers, "Last-Modified", str_c(date));
    http_headers_addf(m->r, &m->headers, "ETag", "\"%s\"", o->etag);
    http_headers_add(m->r, &m->headers, "Cache-Control", cache_control(kind->class));
    http_headers_add(m->r, &m->headers, "Accept-Ranges", STR("bytes"));
    if (!with_body)
        return;
    http_headers_add(m->r, &m->headers, "Content-Type", m->type);
    if (runs_scripts(m->type))
        http_headers_add(m->r, &m->headers, "Content-Security-Policy", STR("sandbox; default-src 'none'"));
    disposition_header(m);
    for (size_t i = 0; i < ARRAY_LEN(passed); i++) {
        struct str value = stored(o, passed[i][0]);
        if (value.p)
            http_headers_add(m->r, &m->headers, passed[i][1], value);
    }
    if (m->status == 206 && m->count == 1)
        http_headers_addf(
            m->r, &m->headers, "Content-Range", "bytes %llu-%llu/%llu", (unsigned long long)m->ranges[0].first,
            (unsigned long long)(m->ranges[0].first + m->ranges[0].length - 1), (unsigned long long)o->size);
}

/* ---- conditions and ranges ---- */

/* False: answered. */
static bool conditions_hold(struct media *m)
{
    struct http_req *r = m->r;
    struct s3_conditions c = {http_header(r, "If-Match"), http_header(r, "If-None-Match"),
                              http_header(r, "If-Modified-Since"), http_header(r, "If-Unmodified-Since")};
    struct clock *clock = loop_clock(m->g->loop);
    switch (s3_conditions_judge(&c, str_c(m->object->etag), m->object->mtime_ms / 1000, clock->wall_ms(clock) / 1000)) {
    case S3_CONDITIONS_PASS:
        return true;
    case S3_CONDITIONS_NOT_MODIFIED:
        object_headers(m, false);
        http_reply_head(r, 304, &m->headers, UINT64_MAX);
        return false;
    case S3_CONDITIONS_FAILED:
        break;
    }
    media_fail(m, MEDIA_E_PRECONDITION);
    return false;
}

/* False: answered. */
static bool ranges_chosen(struct media *m)
{
    const Pb__Object *o = m->object;
    struct str range = http_header(m->r, "Range"), if_range = http_header(m->r, "If-Range");
    if (m->r->method == HTTP_M_HEAD) /* ranges are GET's only (RFC 9110, 14.2) */
        range = STR_NONE;
    if (if_range.p && !s3_if_range(if_range, str_c(o->etag), o->mtime_ms / 1000))
        range = STR_NONE;
    switch (s3_range_parse(range, o->size, m->ranges, &m->count)) {
    case S3_RANGE_OK:
        m->status = 206;
        break;
    case S3_RANGE_NONE:
        m->status = 200;
        m->ranges[0] = (struct s3_range){0, o->size};
        m->count = o->size ? 1 : 0;
        break;
    case S3_RANGE_UNSATISFIABLE:
        media_fail(m, MEDIA_E_RANGE);
        return false;
    }
    m->length = m->count ? m->ranges[0].length : 0;
    if (m->count > 1 && !media_send_multipart(m)) {
        media_fail(m, MEDIA_E_INTERNAL);
        return false;
    }
    return true;
}

static void object_found(struct rpc *rpc)
{
    struct media *m = rpc->user;
    const Pb__ObjectGetRep *rep = rpc->status == 0 ? rpc->rep : NULL;
    if (!rep || !rep->object) {
        media_fail_status(m, rpc->status ? rpc->status : E_PROTOCOL);
        return;
    }
    m->object = rep->object;
    m->inline_data = (struct str){(const char *)rep->inline_data.data, rep->inline_data.len};
    m->type = media_type_of(stored(m->object, "content-type"), media_kind(m->check.path));
    if (!conditions_hold(m) || !ranges_chosen(m))
        return;
    m->code = "ok";
    object_headers(m, true);
    if (m->r->method == HTTP_M_HEAD || m->count == 0)
        http_reply_head(m->r, m->status, &m->headers, m->length);
    else
        media_send(m);
}

/* ---- entitlement ---- */

static void judged(struct control_check *q)
{
    struct media *m = q->user;
    char *bucket = q->deny == DENY_NONE ? arena_copy(&m->arena, q->token.bucket.p, q->token.bucket.len) : NULL;
    if (q->deny != DENY_NONE) {
        deny(m, q->deny);
        return;
    }
    if (!bucket) {
        media_fail(m, MEDIA_E_INTERNAL);
        return;
    }
    pb__object_get_req__init(&m->req);
    m->req.bucket = bucket;
    m->req.key = (ProtobufCBinaryData){.len = q->path.len, .data = (uint8_t *)(uintptr_t)q->path.p};
    m->req.want_inline = m->r->method == HTTP_M_GET;
    m->rpc = (struct rpc){.type = RPC_OBJECT_GET, .req = &m->req, .arena = &m->arena, .cb = object_found, .user = m};
    client_call(m->g->client, &m->rpc);
}

static void on_done(struct http_req *r)
{
    struct media *m = r->user;
    metric_add(M_MEDIA_BYTES, NULL, r->sent_bytes);
    log_event(LOG_DEBUG, "media", "request=%s status=%d code=%s session=%s bucket=%s key=%s out=%llu peer=%s",
              m->request_id, r->status, m->code ? m->code : "-", log_quote(m->check.token.session),
              log_quote(m->check.token.bucket), log_quote(m->check.path), (unsigned long long)r->sent_bytes, r->peer);
    media_send_fini(m);
    arena_fini(&m->arena);
    free(m);
}

void media_start(struct gateway *g, struct http_req *r)
{
    struct str raw_key;
    struct media *m = calloc(1, sizeof(*m));
    metric_add(M_MEDIA_REQUESTS, NULL, 1);
    if (!m) {
        http_abort(r);
        return;
    }
    m->g = g;
    m->r = r;
    r->user = m;
    r->on_done = on_done;
    arena_init(&m->arena, MEDIA_ARENA_MAX);
    request_id_make(m->request_id);
    m->check.arena = &m->arena;
    m->check.cb = judged;
    m->check.user = m;
    if (r->method == HTTP_M_OPTIONS)
        preflight(m);
    else if (r->method != HTTP_M_GET && r->method != HTTP_M_HEAD)
        media_fail(m, MEDIA_E_METHOD);
    else if (path_media_split(r->path, &m->check.token_text, &raw_key) ||
             path_decode(&m->arena, raw_key, &m->check.path))
        deny(m, DENY_BAD_PATH);
    else
        control_check(g->control, &m->check);
}

/* reason is http's own word, never the client's. */
void media_refuse(struct gateway *g, struct http_req *r, int status, const char *reason)
{
    struct http_headers h = {0};
    char id[17];
    (void)g;
    request_id_make(id);
    common_headers(r, &h, id);
    refuse(r, &h, status, errors[MEDIA_E_HTTP].code, reason, id);
}
