/* Every answer of S3 leaves through this file: the headers that all share (request id, CORS also on errors), the error
 * document, XML, and the slow answers: a long Complete or Copy says 200 early and sends blanks in front of its XML, so
 * that no client or proxy gives up; what goes wrong after that comes as an error document inside the 200, as S3 does.
 */
#include "gateway-s3/s3_request.h"
#include "common/log.h"
#include <stdarg.h>
#include <stdio.h>

#define SERVER "Lectern"
/* "*" covers everything for requests without credentials (Fetch, 3.3.5); the names are for browsers before it. */
#define EXPOSED                                                                                                        \
    "ETag, Content-Range, Content-Length, Content-Disposition, Accept-Ranges, Last-Modified, x-amz-request-id, "       \
    "x-amz-mp-parts-count, *"

/* Always, not only when Origin was sent: an answer without them in a shared cache would break a browser later. */
void s3_reply_cors(struct http_req *r, struct http_headers *h)
{
    http_headers_add(r, h, "Access-Control-Allow-Origin", STR("*"));
    http_headers_add(r, h, "Access-Control-Expose-Headers", STR(EXPOSED));
}

void s3_reply_begin(struct s3_request *s)
{
    s->headers = (struct http_headers){0};
    s3_header_add(s, "Server", STR(SERVER));
    s3_header_add(s, "x-amz-request-id", str_c(s->request_id));
    s3_header_add(s, "x-amz-id-2", str_c(s->host_id));
    s3_reply_cors(s->r, &s->headers);
}

void s3_header_add(struct s3_request *s, const char *name, struct str value)
{
    if (s->r)
        http_headers_add(s->r, &s->headers, name, value);
}

void s3_header_addf(struct s3_request *s, const char *name, const char *fmt, ...)
{
    va_list ap;
    char small[512];
    va_start(ap, fmt);
    int n = vsnprintf(small, sizeof small, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof small)
        s->headers.failed = true;
    else
        s3_header_add(s, name, str_c(small));
}

bool s3_gone(struct s3_request *s)
{
    if (!s->r || s->finished)
        return true;
    if (!http_gone(s->r))
        return false;
    s3_abort(s);
    return true;
}

void s3_abort(struct s3_request *s)
{
    if (!s->r || s->finished)
        return;
    s3_slow_stop(s);
    s->finished = true;
    http_abort(s->r);
}

/* ---- slow answers ---- */

static void slow_sent(struct http_req *r, int err);

static void slow_send(struct s3_request *s, const void *p, size_t n)
{
    s->slow.sending = true;
    http_send_copy(s->r, p, n, slow_sent);
}

static void slow_send_final(struct s3_request *s)
{
    struct str decl = STR(XML_DECLARATION);
    assert(s->slow.final.len > decl.len);
    s->slow.last = true;
    slow_send(s, s->slow.final.p + decl.len, s->slow.final.len - decl.len);
}

static void slow_sent(struct http_req *r, int err)
{
    struct s3_request *s = r->user;
    s->slow.sending = false;
    if (s->finished)
        return;
    if (err) {
        s3_abort(s);
    } else if (s->slow.last) {
        s->finished = true;
        http_send_end(r);
    } else if (s->slow.final.len)
        slow_send_final(s);
}

static void slow_tick(struct loop_timer *t)
{
    struct s3_request *s = container_of(t, struct s3_request, slow.timer);
    if (!s->r || s->finished || http_gone(s->r)) /* a gone peer is noticed by whoever answers */
        return;
    if (!s->slow.begun) {
        s->slow.begun = true;
        s3_header_add(s, "Content-Type", STR("application/xml"));
        http_reply_start(s->r, 200, &s->headers, HTTP_CHUNKED);
        slow_send(s, XML_DECLARATION, strlen(XML_DECLARATION));
    } else if (!s->slow.sending) {
        slow_send(s, " ", 1);
    }
    loop_timer_start(s->g->loop, t, S3_SLOW_EVERY_MS * MS_NS);
}

void s3_slow_start(struct s3_request *s)
{
    s->slow.timer.cb = slow_tick;
    loop_timer_start(s->g->loop, &s->slow.timer, S3_SLOW_FIRST_MS * MS_NS);
}

void s3_slow_stop(struct s3_request *s)
{
    loop_timer_stop(s->g->loop, &s->slow.timer);
}

/* The end of a slow answer that has begun. Takes out. */
static void slow_finish(struct s3_request *s, struct sbuf *out)
{
    s3_slow_stop(s);
    if (out->err || out->len == 0) {
        sbuf_fini(out);
        s3_abort(s);
        return;
    }
    s->slow.final = *out;
    *out = (struct sbuf){0};
    if (!s->slow.sending)
        slow_send_final(s);
}

/* ---- answers ---- */

void s3_reply_empty(struct s3_request *s, int status)
{
    if (s3_gone(s))
        return;
    s3_slow_stop(s);
    s->finished = true;
    http_reply(s->r, status, &s->headers, STR_NONE);
}

void s3_reply_head(struct s3_request *s, int status, uint64_t content_length)
{
    if (s3_gone(s))
        return;
    s->finished = true;
    http_reply_head(s->r, status, &s->headers, content_length);
}

void s3_reply_xml(struct s3_request *s, struct sbuf *out)
{
    s3_reply_xml_as(s, 200, out);
}

void s3_reply_xml_as(struct s3_request *s, int status, struct sbuf *out)
{
    if (s3_gone(s)) {
        sbuf_fini(out);
    } else if (s->slow.begun) {
        slow_finish(s, out);
    } else if (out->err) {
        sbuf_fini(out);
        s3_fail(s, S3_InternalError);
    } else {
        s3_slow_stop(s);
        s3_header_add(s, "Content-Type", STR("application/xml"));
        s->finished = true;
        http_reply(s->r, status, &s->headers, (struct str){out->p, out->len});
        sbuf_fini(out);
    }
}

void s3_extra(struct s3_request *s, const char *name, struct str value)
{
    if (s->extra_count == S3_EXTRAS_MAX)
        return;
    s->extras[s->extra_count].name = name;
    s->extras[s->extra_count++].value = arena_str(&s->arena, value);
}

static void error_document(struct s3_request *s, enum s3_error e, struct str text, struct sbuf *out)
{
    sbuf_puts(out, XML_DECLARATION);
    xml_open(out, "Error");
    xml_c(out, "Code", s3_error_code(e));
    xml_str(out, "Message", text);
    if (e == S3_NoSuchBucket || e == S3_BucketNotEmpty || e == S3_BucketAlreadyExists ||
        e == S3_BucketAlreadyOwnedByYou || e == S3_InvalidBucketName)
        xml_str(out, "BucketName", s->about_bucket.p ? s->about_bucket : s->route.bucket);
    if (e == S3_NoSuchKey)
        xml_str(out, "Key", s->about_key.p ? s->about_key : s->route.key);
    if (e == S3_MethodNotAllowed) {
        xml_str(out, "Method", s->r->method_text);
        xml_c(out, "ResourceType", s->route.key.len ? "OBJECT" : s->route.bucket.p ? "BUCKET" : "SERVICE");
    }
    for (unsigned i = 0; i < s->extra_count; i++)
        xml_str(out, s->extras[i].name, s->extras[i].value);
    xml_str(out, "Resource", s->r->path);
    xml_c(out, "RequestId", s->request_id);
    xml_c(out, "HostId", s->host_id);
    xml_close(out, "Error");
}

static void error_headers(struct s3_request *s, enum s3_error e)
{
    s3_reply_begin(s);
    s3_header_add(s, "Content-Type", STR("application/xml"));
    if (s3_error_status(e) == 503)
        s3_header_add(s, "Retry-After", STR("1"));
    if (e == S3_InvalidRange)
        s3_header_addf(s, "Content-Range", "bytes */%llu", (unsigned long long)s->object_size);
    if (e == S3_MethodNotAllowed)
        s3_header_add(s, "Allow", s->route.bucket.p ? STR("DELETE, GET, HEAD, POST, PUT") : STR("GET"));
}

static void fail(struct s3_request *s, enum s3_error e, struct str text)
{
    assert(e != S3_OK);
    s->error = e;
    if (s3_gone(s))
        return;
    if (http_replied(s->r) && !s->slow.begun) {
        s3_abort(s); /* the status line is out: never a short clean end */
        return;
    }
    struct sbuf out = {0};
    error_document(s, e, text, &out);
    if (s->slow.begun) {
        slow_finish(s, &out);
        return;
    }
    s3_slow_stop(s);
    error_headers(s, e);
    s->finished = true;
    http_reply(s->r, s3_error_status(e), &s->headers, out.err ? STR_NONE : (struct str){out.p, out.len});
    sbuf_fini(&out);
}

void s3_fail(struct s3_request *s, enum s3_error e)
{
    fail(s, e, str_c(s3_error_text(e)));
}

void s3_fail_text(struct s3_request *s, enum s3_error e, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fail(s, e, n > 0 ? str_c(text) : str_c(s3_error_text(e)));
}

void s3_invalid_argument(struct s3_request *s, const char *name, struct str value, const char *text)
{
    s3_extra(s, "ArgumentName", str_c(name));
    s3_extra(s, "ArgumentValue", value);
    fail(s, S3_InvalidArgument, str_c(text));
}

static enum s3_error refusal_code(int status)
{
    switch (status) {
    case 413:
        return S3_EntityTooLarge;
    case 408:
        return S3_RequestTimeout;
    case 414:
        return S3_InvalidURI;
    case 431:
        return S3_RequestHeaderSectionTooLarge;
    case 501:
        return S3_NotImplemented;
    case 503:
        return S3_SlowDown;
    default:
        return status >= 500 ? S3_InternalError : S3_BadRequest;
    }
}

void s3_request_refuse(struct gateway *g, struct http_req *r, int status, const char *reason)
{
    struct http_headers h = {0};
    struct sbuf out = {0};
    (void)g;
    sbuf_puts(&out, XML_DECLARATION);
    xml_open(&out, "Error");
    xml_c(&out, "Code", s3_error_code(refusal_code(status)));
    xml_c(&out, "Message", reason && *reason ? reason : s3_error_text(refusal_code(status)));
    xml_str(&out, "Resource", r->path);
    xml_close(&out, "Error");
    http_headers_add(r, &h, "Server", STR(SERVER));
    http_headers_add(r, &h, "Content-Type", STR("application/xml"));
    s3_reply_cors(r, &h);
    http_reply(r, status, &h, out.err ? STR_NONE : (struct str){out.p, out.len});
    sbuf_fini(&out);
}
