/* http_reply - answers: the head as text, whole bodies, streams by slices.
 *
 * A head is built in the server's one buffer. A whole answer leaves from there with its body in one write; only what
 * the kernel does not take is copied. A stream's head waits in the arena for the first slice, so that both leave
 * together, but no longer than until the handler returns. Lengths are kept: what a client could take for a whole answer
 * is never a part. */
#include "common/http_impl.h"
#include "common/log.h"
#include <stdio.h>
#include <stdlib.h>

#define NO_LENGTH (UINT64_MAX - 1) /* beside HTTP_CHUNKED */

static struct http_exch *exch_of(const struct http_req *r)
{
    return container_of(r, struct http_exch, req);
}

const char *http_status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } rows[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].status == status)
            return rows[i].text;
    return "Unknown";
}

/* ---- headers of an answer ---- */

static bool all_of(struct str s, uint8_t class)
{
    for (size_t i = 0; i < s.len; i++)
        if (!(http_class[(uint8_t)s.p[i]] & class))
            return false;
    return true;
}

static bool headers_room(struct http_req *r, struct http_headers *h)
{
    if (h->count < h->cap)
        return true;
    size_t cap = h->cap ? h->cap * 2 : 16;
    struct http_header *items = arena_alloc(&r->arena, cap * sizeof *items);
    if (!items)
        return false;
    if (h->count)
        memcpy(items, h->items, h->count * sizeof *items);
    h->items = items;
    h->cap = cap;
    return true;
}

void http_headers_add(struct http_req *r, struct http_headers *h, const char *name, struct str value)
{
    struct http_header item = {str_c(name), value};
    if (item.name.len == 0 || !all_of(item.name, HTTP_TCHAR) || !all_of(value, HTTP_FIELD) || !headers_room(r, h)) {
        h->failed = true;
        return;
    }
    item.name = arena_str(&r->arena, item.name);
    item.value = arena_str(&r->arena, value);
    if (!item.name.p || !item.value.p) {
        h->failed = true;
        return;
    }
    h->items[h->count++] = item;
}

void http_headers_addf(struct http_req *r, struct http_headers *h, const char *name, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof text)
        h->failed = true;
    else
        http_headers_add(r, h, name, (struct str){text, (size_t)n});
}

/* ---- the head's text ---- */

struct head {
    char *p;
    size_t len;
    bool over;
};

static void put(struct head *h, const void *p, size_t n)
{
    if (n > HTTP_REPLY_HEAD_BYTES - h->len) {
        h->over = true;
        return;
    }
    if (n)
        memcpy(h->p + h->len, p, n);
    h->len += n;
}

static void put_line(struct head *h, struct str name, struct str value)
{
    put(h, name.p, name.len);
    put(h, ": ", 2);
    put(h, value.p, value.len);
    put(h, "\r\n", 2);
}

static struct str number(char text[24], uint64_t v)
{
    char *end = text + 24, *p = end;
    do
        *--p = (char)('0' + v % 10);
    while (v /= 10);
    return (struct str){p, (size_t)(end - p)};
}

static struct str date_now(struct http_server *s)
{
    struct clock *clock = loop_clock(s->loop);
    uint64_t now_s = clock->wall_ms(clock) / 1000;
    if (now_s != s->date_s || !s->date[0]) {
        http_date(now_s, s->date);
        s->date_s = now_s;
    }
    return (struct str){s->date, 29};
}

/* Whether the connection ends with this answer: it must be known before the head leaves. */
static void decide_close(struct http_conn *c, struct http_exch *x)
{
    const struct http_req *r = &x->req;
    if (!r->keep_alive || c->server->closing)
        x->close = true;
    /* A client that still waits for 100 Continue may send its body or may not. botocore before 1.36 also waits with an
     * empty body, and takes a final answer in its place for the beginning of the next one unless the connection ends.
     */
    bool waits = r->expect_continue && !x->continue_sent;
    bool body_left = c->in_body && c->body_of == x;
    if ((waits && (body_left || r->content_length == 0)) ||
        (body_left && c->frame.left > c->server->limits.drain_bytes))
        x->close = true;
}

static void put_handlers(struct head *out, struct http_exch *x, const struct http_headers *h)
{
    for (size_t i = 0; i < h->count; i++) {
        struct str name = h->items[i].name, value = h->items[i].value;
        bool connection = str_ieq(name, STR("Connection"));
        if (connection && str_ieq(value, STR("close")))
            x->close = true;
        if (!connection && !str_ieq(name, STR("Content-Length")) && !str_ieq(name, STR("Transfer-Encoding")) &&
            !str_ieq(name, STR("Date")))
            put_line(out, name, value);
    }
}

/* In the server's buffer; len 0: the headers were bad or too many. */
static struct str build_head(struct http_exch *x, int status, const struct http_headers *h, uint64_t length)
{
    struct http_conn *c = x->req.conn;
    struct http_server *s = c->server;
    struct head out = {.p = s->head};
    char text[24];
    if (h && h->failed)
        return STR_NONE;
    decide_close(c, x);
    put(&out, "HTTP/1.1 ", 9);
    struct str code = number(text, (uint64_t)status), reason = str_c(http_status_text(status));
    put(&out, code.p, code.len);
    put(&out, " ", 1);
    put(&out, reason.p, reason.len);
    put(&out, "\r\n", 2);
    if (h)
        put_handlers(&out, x, h);
    if (length == HTTP_CHUNKED)
        put_line(&out, STR("Transfer-Encoding"), STR("chunked"));
    else if (length != NO_LENGTH)
        put_line(&out, STR("Content-Length"), number(text, length));
    put_line(&out, STR("Date"), date_now(s));
    if (x->close)
        put_line(&out, STR("Connection"), STR("close"));
    else if (x->req.http10)
        put_line(&out, STR("Connection"), STR("keep-alive"));
    put(&out, "\r\n", 2);
    return out.over ? STR_NONE : (struct str){out.p, out.len};
}

/* ---- writing ---- */

static uv_buf_t part(struct str s)
{
    return (uv_buf_t){.base = (char *)s.p, .len = s.len};
}

static int reply_write(struct http_exch *x, uv_buf_t parts[HTTP_PARTS], unsigned volatile_mask, struct buf *buf,
                       size_t body)
{
    struct http_conn *c = x->req.conn;
    x->req.sent_bytes += body;
    c->out_body = body;
    int err = http_net_write(c, parts, volatile_mask, buf);
    if (err < 0) {
        x->req.sent_bytes -= body;
        http_conn_fail(c, -ECONNRESET);
    }
    http_soon(c);
    return err;
}

/* The peer is gone: nothing is written; the exchange is over as soon as the handler finished. */
static bool is_gone(struct http_exch *x, int status)
{
    assert(!x->begun && !x->finished && x == x->req.conn->first);
    x->begun = true;
    x->req.status = status;
    return x->req.conn->gone;
}

static bool bodyless(const struct http_req *r, int status)
{
    return r->method == HTTP_M_HEAD || status == 204 || status == 304;
}

static const struct str bad_answer = STR("500 Internal Server Error: the answer's headers were refused\n");

/* Writes a whole answer; body_len is announced unless NO_LENGTH. */
static void reply_whole(struct http_req *r, int status, const struct http_headers *h, uint64_t announced,
                        struct str body)
{
    struct http_exch *x = exch_of(r);
    bool gone = is_gone(x, status);
    x->finished = true;
    if (gone) {
        http_soon(r->conn);
        return;
    }
    struct str head = build_head(x, status, h, announced);
    if (!head.p) {
        log_event(LOG_ERROR, "http_bad_answer", "request=%llu status=%d", (unsigned long long)r->id, status);
        body = r->method == HTTP_M_HEAD ? STR_NONE : bad_answer;
        r->status = 500;
        head = build_head(x, 500, NULL, bad_answer.len);
    }
    uv_buf_t parts[HTTP_PARTS] = {part(head), part(body)};
    reply_write(x, parts, 3, NULL, body.len);
}

void http_reply(struct http_req *r, int status, const struct http_headers *h, struct str body)
{
    bool none = status == 204 || (status == 304 && body.len == 0);
    reply_whole(r, status, h, none ? NO_LENGTH : body.len, bodyless(r, status) ? STR_NONE : body);
}

void http_reply_head(struct http_req *r, int status, const struct http_headers *h, uint64_t content_length)
{
    if (status == 204 || (bodyless(r, status) && content_length == UINT64_MAX))
        content_length = NO_LENGTH;
    else if (!bodyless(r, status))
        content_length = 0;
    reply_whole(r, status, h, content_length, STR_NONE);
}

/* ---- streams ---- */

void http_reply_start(struct http_req *r, int status, const struct http_headers *h, uint64_t content_length)
{
    struct http_exch *x = exch_of(r);
    bool chunked = content_length == HTTP_CHUNKED;
    if (is_gone(x, status))
        return;
    x->out_dropped = bodyless(r, status);
    x->out_chunked = chunked && !r->http10 && !x->out_dropped;
    x->out_left = content_length;
    if (chunked && r->http10)
        x->close = true; /* the end of the connection is the end of the body */
    if (status == 204 || (chunked && (r->http10 || status == 304)))
        content_length = NO_LENGTH;
    struct str head = build_head(x, status, h, content_length), body = STR_NONE;
    if (!head.p) {
        log_event(LOG_ERROR, "http_bad_answer", "request=%llu status=%d", (unsigned long long)r->id, status);
        body = r->method == HTTP_M_HEAD ? STR_NONE : bad_answer;
        r->status = 500;
        x->out_dropped = true;
        x->out_chunked = false;
        head = build_head(x, 500, NULL, bad_answer.len);
    }
    x->head_len = head.len + body.len;
    x->head = arena_alloc(&r->arena, x->head_len);
    if (!x->head) {
        http_conn_fail(r->conn, -ECONNRESET);
        return;
    }
    memcpy(x->head, head.p, head.len);
    if (body.len)
        memcpy(x->head + head.len, body.p, body.len);
    http_soon(r->conn);
}

static struct str head_take(struct http_exch *x)
{
    struct str head = {x->head, x->head_len};
    x->head = NULL;
    x->head_len = 0;
    return head;
}

/* Hex and CR LF. */
static struct str chunk_line(struct http_exch *x, uint64_t n)
{
    int len = snprintf(x->chunk_line, sizeof x->chunk_line, "%llx\r\n", (unsigned long long)n);
    return (struct str){x->chunk_line, (size_t)len};
}

static void send_now(struct http_exch *x, struct str data, struct buf *buf)
{
    uv_buf_t parts[HTTP_PARTS] = {part(head_take(x)), part(STR_NONE), part(data), part(STR_NONE)};
    if (x->out_chunked) {
        parts[1] = part(chunk_line(x, data.len));
        parts[3] = part(STR("\r\n"));
    }
    x->send_done = reply_write(x, parts, buf ? 0 : 4, buf, data.len) <= 0;
}

/* True: nothing is to be written for this send; its callback is due. */
static bool send_begin(struct http_exch *x, size_t n, void (*cb)(struct http_req *r, int err))
{
    struct http_conn *c = x->req.conn;
    assert(x->begun && !x->finished && !x->send_cb && cb);
    x->send_cb = cb;
    x->send_done = false;
    bool endless = x->out_chunked || (x->req.http10 && x->out_left == HTTP_CHUNKED);
    if (!c->gone && !x->out_dropped && !endless) {
        if (n > x->out_left) {
            log_event(LOG_ERROR, "http_long_answer", "request=%llu", (unsigned long long)x->req.id);
            http_conn_fail(c, -ECONNRESET);
        } else {
            x->out_left -= n;
        }
    }
    if (!c->gone && !x->out_dropped && n)
        return false;
    x->send_done = true;
    http_soon(c);
    return true;
}

void http_send(struct http_req *r, struct slice s, void (*cb)(struct http_req *r, int err))
{
    struct http_exch *x = exch_of(r);
    if (send_begin(x, s.len, cb))
        return;
    if (r->conn->writes) {
        x->held = s;
        buf_ref(s.buf);
        return;
    }
    send_now(x, (struct str){(const char *)slice_data(s), s.len}, s.buf);
}

void http_send_copy(struct http_req *r, const void *p, size_t n, void (*cb)(struct http_req *r, int err))
{
    struct http_exch *x = exch_of(r);
    if (send_begin(x, n, cb))
        return;
    if (!r->conn->writes) {
        send_now(x, (struct str){p, n}, NULL);
        return;
    }
    x->held = (struct slice){buf_create(n), 0, n};
    if (x->held.buf)
        memcpy(x->held.buf->data, p, n);
    else
        http_conn_fail(r->conn, -ECONNRESET);
}

void http_send_end(struct http_req *r)
{
    struct http_exch *x = exch_of(r);
    assert(x->begun && !x->finished);
    x->finished = true;
    bool endless = x->out_chunked || (r->http10 && x->out_left == HTTP_CHUNKED);
    if (!endless && !x->out_dropped && x->out_left && !r->conn->gone) {
        log_event(LOG_ERROR, "http_short_answer", "request=%llu missing=%llu", (unsigned long long)r->id,
                  (unsigned long long)x->out_left);
        http_conn_fail(r->conn, -ECONNRESET);
    }
    x->tail_due = x->out_chunked && !r->conn->gone;
    http_soon(r->conn);
}

bool http_reply_due(const struct http_exch *x)
{
    return x->head || x->tail_due || x->held.buf;
}

void http_reply_flush(struct http_conn *c, struct http_exch *x)
{
    assert(c->writes == 0);
    if (x->held.buf) {
        struct slice s = x->held;
        x->held = (struct slice){0};
        send_now(x, (struct str){(const char *)slice_data(s), s.len}, s.buf);
        buf_unref(s.buf);
        return;
    }
    uv_buf_t parts[HTTP_PARTS] = {part(head_take(x))};
    if (x->tail_due)
        parts[1] = part(STR("0\r\n\r\n"));
    x->tail_due = false;
    reply_write(x, parts, 0, NULL, 0);
}

void http_abort(struct http_req *r)
{
    struct http_exch *x = exch_of(r);
    assert(!x->finished);
    x->finished = true;
    x->send_cb = NULL;
    x->tail_due = false;
    http_conn_fail(r->conn, -ECONNRESET);
    http_soon(r->conn);
}

bool http_replied(const struct http_req *r)
{
    return exch_of(r)->begun;
}
