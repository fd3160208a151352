/* An exchange goes: match the route, admit (bearer token, constant time), decode ids and query, read the body, check it
 * against its schema, then the handler. Who may not come in learns nothing about routes below /v1. The exchange stays
 * valid until it is answered, also when the peer has gone, so a chain that writes rows is never cut short. */
#include "control/api.h"

#include "common/log.h"
#include "common/metrics.h"
#include "common/uri.h"
#include <stdio.h>
#include <stdlib.h>

enum { ADMIN = 1, OPEN = 0 };
#define PAGED   API_PAGED
#define CREATES API_CREATES
#define TOKEN   API_TOKEN
#define PLAIN   API_PLAIN

const struct api_route api_routes[] = {
#define API(method, path, handler, auth, flags, request, status, response, summary)                                    \
    {HTTP_M_##method,  #method,           path,   #handler, api_##handler, auth, flags,                                \
     SCHEMA_##request, SCHEMA_##response, status, summary},
#include "control/control_api.def"
#undef API
};
const size_t api_route_count = ARRAY_LEN(api_routes);

static const struct {
    const char *code;
    int status;
    const char *text;
} api_errors[] = {
#define API_ERROR(id, code, status, text) {code, status, text},
#include "control/control_errors.def"
#undef API_ERROR
};

/* ---- answers ---- */

static void common_headers(struct http_req *r, struct http_headers *h, const char *type, const char *request_id)
{
    *h = (struct http_headers){0};
    if (type)
        http_headers_add(r, h, "Content-Type", str_c(type));
    http_headers_add(r, h, "Cache-Control", STR("no-store"));
    http_headers_add(r, h, "X-Content-Type-Options", STR("nosniff"));
    http_headers_add(r, h, "X-Request-Id", str_c(request_id));
}

static void answer(struct call *c, int status, const char *type, struct str text, const char *allow)
{
    struct http_headers h;
    struct http_req *r = c->http;
    assert(!c->answered);
    c->answered = true;
    metric_add(M_CONTROL_REQUESTS, NULL, 1);
    log_event(LOG_DEBUG, "control", "request=%s method=%.*s path=%s status=%d", c->request_id, STR_ARG(r->method_text),
              log_quote(r->path), status);
    common_headers(r, &h, type, c->request_id);
    if (status == 401)
        http_headers_add(r, &h, "WWW-Authenticate", STR("Bearer"));
    if (allow)
        http_headers_add(r, &h, "Allow", str_c(allow));
    http_reply(r, status, &h, text);
}

void call_text(struct call *c, int status, const char *type, struct str text)
{
    answer(c, status, type, text, NULL);
}

void call_empty(struct call *c, int status)
{
    answer(c, status, NULL, STR_NONE, NULL);
}

void call_json(struct call *c, int status, json_t *takes)
{
    char *text = takes ? json_dumps(takes, JSON_COMPACT) : NULL;
    json_decref(takes);
    if (!text) {
        call_fail(c, API_INTERNAL, NULL);
        return;
    }
    answer(c, status, "application/json", str_c(text), NULL);
    free(text);
}

static char *error_text(enum api_error e, const char *message, const char *request_id)
{
    json_t *j = json_pack("{s:s, s:s, s:s}", "code", api_errors[e].code, "message", message, "request_id", request_id);
    char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
    json_decref(j);
    return text;
}

static void fail_with(struct call *c, enum api_error e, const char *message, const char *allow)
{
    char *text = error_text(e, message, c->request_id);
    if (!text) /* a message that was cut inside a letter is no text */
        text = error_text(e, api_errors[e].text, c->request_id);
    answer(c, api_errors[e].status, "application/json", text ? str_c(text) : STR("{}"), allow);
    free(text);
}

void call_fail(struct call *c, enum api_error e, const char *fmt, ...)
{
    char message[1024];
    va_list args;
    if (!fmt) {
        fail_with(c, e, api_errors[e].text, NULL);
        return;
    }
    va_start(args, fmt);
    vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    fail_with(c, e, message, NULL);
}

void call_fail_rows(struct call *c, int status)
{
    assert(status < 0);
    log_event(LOG_WARN, "control_rows", "request=%s error=%s", c->request_id, log_quote(str_c(err_text(status))));
    if (status == -ENOMEM || status == E_CORRUPT || status == E_VERSION || status == -EINVAL || status == E_PROTOCOL)
        call_fail(c, API_INTERNAL, NULL);
    else
        call_fail(c, API_UNAVAILABLE, NULL);
}

struct str call_body_str(const struct call *c, const char *name)
{
    const json_t *v = json_object_get(c->body, name);
    return v ? (struct str){json_string_value(v), json_string_length(v)} : STR_NONE;
}

uint64_t call_now_ms(const struct call *c)
{
    struct clock *clock = loop_clock(c->control->loop);
    return clock->wall_ms(clock);
}

uint64_t call_now_s(const struct call *c)
{
    return call_now_ms(c) / 1000;
}

/* ---- routing ---- */

/* Does the path fit the template? Parameters are taken raw. */
static bool fits(const char *template, struct str path, struct str *params, unsigned *ret_count)
{
    struct str want = str_c(template), part, got;
    *ret_count = 0;
    while (str_split(&want, '/', &part)) {
        if (!str_split(&path, '/', &got))
            return false;
        if (part.len && part.p[0] == '{') {
            assert(*ret_count < API_PARAMS_MAX);
            params[(*ret_count)++] = got;
        } else if (!str_eq(part, got)) {
            return false;
        }
    }
    return path.p == NULL;
}

/* A literal segment wins over a parameter because its row stands first. */
static const struct api_route *route_find(struct call *c, struct http_req *r, char *allow, size_t allow_cap)
{
    enum http_method method = r->method == HTTP_M_HEAD ? HTTP_M_GET : r->method;
    const struct api_route *found = NULL;
    const char *path = NULL;
    allow[0] = 0;
    for (size_t i = 0; i < api_route_count; i++) {
        const struct api_route *route = &api_routes[i];
        if ((path && strcmp(path, route->path) != 0) || !fits(route->path, r->path, c->params, &c->param_count))
            continue;
        path = route->path; /* the first template that fits is the path's, whatever the method */
        if (route->method == method) {
            found = route;
            break;
        }
        size_t len = strlen(allow);
        snprintf(allow + len, allow_cap - len, "%s%s", len ? ", " : "", route->method_text);
    }
    return found;
}

/* Both sides are hashed first, so neither length nor place of a difference shows in the time. */
static bool admitted(const struct control *control, const struct http_req *r)
{
    uint8_t given[DIGEST_MAX];
    struct str all[2], scheme = STR("Bearer ");
    if (http_header_all(r, "Authorization", all, 2) != 1 || all[0].len <= scheme.len ||
        !str_ieq((struct str){all[0].p, scheme.len}, scheme))
        return false;
    struct str token = str_trim((struct str){all[0].p + scheme.len, all[0].len - scheme.len});
    digest_once(DIGEST_SHA256, token.p, token.len, given);
    return bytes_eq_ct(given, control->admin_digest, digest_len(DIGEST_SHA256));
}

static bool params_decode(struct call *c)
{
    for (unsigned i = 0; i < c->param_count; i++) {
        struct str decoded;
        if (uri_decode(&c->arena, c->params[i], &decoded) || !schema_id_ok(decoded)) {
            call_fail(c, API_ID_INVALID, NULL);
            return false;
        }
        c->params[i] = decoded;
    }
    return true;
}

static bool query_decode(struct call *c, const struct http_req *r)
{
    struct uri_param *params;
    size_t count;
    c->limit = API_PAGE_DEFAULT;
    if (!(c->route->flags & (API_PAGED | API_TOKEN)))
        return true;
    if (uri_query(&c->arena, r->query, &params, &count)) {
        call_fail(c, API_QUERY_INVALID, NULL);
        return false;
    }
    const struct uri_param *after = uri_param(params, count, "after"), *limit = uri_param(params, count, "limit"),
                           *token = uri_param(params, count, "token");
    uint64_t n = API_PAGE_DEFAULT;
    if (c->route->flags & API_TOKEN) {
        if (token)
            c->token = token->value;
        return true;
    }
    if (after && !schema_id_ok(after->value)) {
        call_fail(c, API_QUERY_INVALID, "after must be the id that an earlier page gave as next");
        return false;
    }
    if (limit && (str_u64(limit->value, &n) || n < 1 || n > API_PAGE_MAX)) {
        call_fail(c, API_QUERY_INVALID, "limit must be 1 to %d", API_PAGE_MAX);
        return false;
    }
    c->after = after ? after->value : STR_NONE;
    c->limit = (uint32_t)n;
    return true;
}

/* ---- bodies ---- */

static void run(struct call *c)
{
    c->route->handler(c);
}

static bool blank(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!strchr(" \t\r\n", s.p[i]) || !s.p[i])
            return false;
    }
    return true;
}

static void body_ready(struct call *c)
{
    json_error_t err;
    char why[512];
    if (c->body_text.err) {
        call_fail(c, API_INTERNAL, NULL);
        return;
    }
    if (blank((struct str){c->body_text.p, c->body_text.len}))
        c->body = json_object();
    else
        c->body = json_loadb(c->body_text.p, c->body_text.len, JSON_REJECT_DUPLICATES, &err);
    if (!c->body || !json_is_object(c->body)) {
        call_fail(c, API_BODY_INVALID, c->body ? NULL : "the body is not JSON: line %d, column %d", err.line,
                  err.column);
        return;
    }
    if (!schema_check(c->route->request, c->body, why, sizeof(why))) {
        call_fail(c, API_FIELD_INVALID, "%s", why);
        return;
    }
    run(c);
}

static size_t body_data(struct http_req *r, const uint8_t *p, size_t n)
{
    struct call *c = r->user;
    if (c->body_text.len + n > API_BODY_MAX)
        c->body_too_large = true; /* the rest is read and dropped, so that the answer arrives */
    else
        sbuf_add(&c->body_text, p, n);
    return n;
}

static void body_end(struct http_req *r, int err)
{
    struct call *c = r->user;
    if (c->answered)
        return;
    if (c->body_too_large || err == -EMSGSIZE)
        call_fail(c, API_BODY_TOO_LARGE, NULL);
    else if (err)
        call_fail(c, API_BODY_INVALID, "the body did not arrive whole");
    else
        body_ready(c);
}

static const struct http_body body = {body_data, body_end};

/* ---- the exchange ---- */

static void on_done(struct http_req *r)
{
    struct call *c = r->user;
    assert(c->answered);
    json_decref(c->body);
    sbuf_fini(&c->body_text);
    arena_fini(&c->arena);
    control_end(c->control);
    free(c);
}

static void request_id_print(const struct control *control, const struct http_req *r, char ret[28])
{
    snprintf(ret, 28, "%08x-%llx", control->process_id, (unsigned long long)r->id);
}

static struct call *call_create(struct control *control, struct http_req *r)
{
    struct call *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->control = control;
    c->http = r;
    arena_init(&c->arena, API_ARENA_MAX);
    rows_init(&c->rows, control->loop, control->client, &c->arena);
    request_id_print(control, r, c->request_id);
    control_begin(control);
    r->user = c;
    r->on_done = on_done;
    return c;
}

static bool has_body(const struct http_req *r)
{
    return r->chunked || r->content_length > 0;
}

void api_on_head(void *ctx, struct http_req *r)
{
    struct control *control = ctx;
    char allow[64];
    struct call *c = call_create(control, r);
    if (!c) {
        http_reply(r, 503, NULL, STR_NONE);
        return;
    }
    c->route = route_find(c, r, allow, sizeof(allow));
    bool private = c->route ? c->route->admin : str_starts(r->path, STR("/v1"));
    if (private && !admitted(control, r)) {
        call_fail(c, API_UNAUTHORIZED, NULL);
    } else if (!c->route && allow[0]) {
        fail_with(c, API_METHOD, api_errors[API_METHOD].text, allow);
    } else if (!c->route) {
        call_fail(c, API_ROUTE_UNKNOWN, NULL);
    } else if (private && !control->ready) {
        call_fail(c, API_NOT_READY, NULL);
    } else if (r->content_length > (int64_t)API_BODY_MAX) {
        call_fail(c, API_BODY_TOO_LARGE, NULL);
    } else if (params_decode(c) && query_decode(c, r)) {
        if (c->route->request == SCHEMA_None && !has_body(r))
            run(c);
        else
            http_body_read(r, &body);
    }
}

void api_on_refusal(void *ctx, struct http_req *r, int status, const char *reason)
{
    struct http_headers h;
    char id[28];
    request_id_print(ctx, r, id);
    common_headers(r, &h, "application/json", id);
    char *text = error_text(API_HTTP, reason, id);
    http_reply(r, status, &h, text ? str_c(text) : STR("{}"));
    free(text);
}

struct http_handler control_handler(struct control *c)
{
    return (struct http_handler){api_on_head, api_on_refusal, c};
}
