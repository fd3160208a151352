/* http_exch - one request and its answer: memory, the hand-over to the handler, and the request's body.
 *
 * Exchanges are recycled with the first block of their arena, so a busy connection allocates nothing for a usual
 * request. */
#include "common/http_impl.h"
#include <stdlib.h>

static struct http_exch *exch_of(const struct http_req *r)
{
    return container_of(r, struct http_exch, req);
}

struct http_exch *http_exch_create(struct http_conn *c)
{
    static _Atomic uint64_t last_id;
    struct http_server *s = c->server;
    struct http_exch *x = s->spare;
    struct arena arena;
    if (x) {
        s->spare = x->next;
        s->spare_count--;
        arena = x->req.arena;
    } else {
        x = malloc(sizeof *x);
        if (!x)
            return NULL;
        arena_init(&arena, HTTP_ARENA_BYTES);
    }
    *x = (struct http_exch){.req = {
                                .method = HTTP_M_OTHER,
                                .path = STR(""),
                                .host = STR(""),
                                .content_length = -1,
                                .arena = arena,
                                .id = atomic_fetch_add_explicit(&last_id, 1, memory_order_relaxed) + 1,
                                .server = s,
                                .conn = c,
                            }};
    memcpy(x->req.peer, c->peer, sizeof c->peer);
    return x;
}

void http_exch_free(struct http_server *s, struct http_exch *x)
{
    buf_unref(x->held.buf);
    if (s->spare_count == HTTP_SPARE_COUNT) {
        arena_fini(&x->req.arena);
        free(x);
        return;
    }
    arena_reset(&x->req.arena);
    x->next = s->spare;
    s->spare = x;
    s->spare_count++;
}

static void refuse(struct http_conn *c, struct http_exch *x)
{
    struct http_handler *h = &c->server->handler;
    struct http_req *r = &x->req;
    x->close = true;
    r->keep_alive = false;
    if (h->on_refusal)
        h->on_refusal(h->ctx, r, x->refusal, x->refusal_reason);
    if (x->begun || x->finished)
        return;
    struct http_headers headers = {0};
    http_headers_add(r, &headers, "Content-Type", STR("text/plain; charset=utf-8"));
    char text[160];
    int n = snprintf(text, sizeof text, "%d %s: %s\n", x->refusal, http_status_text(x->refusal), x->refusal_reason);
    http_reply(r, x->refusal, &headers, (struct str){text, MIN_OF((size_t)n, sizeof text - 1)});
}

void http_exch_start(struct http_conn *c, struct http_exch *x)
{
    struct http_handler *h = &c->server->handler;
    x->started = true;
    c->looked_ns = c->server->now_ns;
    if (x->refusal)
        refuse(c, x);
    else
        h->on_head(h->ctx, &x->req);
}

/* ---- body ---- */

static void take(struct http_conn *c, size_t n)
{
    c->in += n;
    c->in_len -= n;
}

static void body_broken(struct http_conn *c, struct http_exch *x, int err)
{
    c->in_body = false;
    c->in_len = 0;
    c->stop = true; /* where the next request would begin nobody knows */
    if (!c->body_of) {
        http_conn_end(c);
        return;
    }
    c->body_of = NULL;
    x->close = true;
    x->body_ended = true;
    x->body->on_end(&x->req, err);
}

static void body_data(struct http_conn *c, struct http_exch *x, size_t n)
{
    if (!c->body_of) { /* nobody reads it */
        if (n > c->drop_left) {
            http_conn_end(c);
            return;
        }
        c->drop_left -= n;
        http_frame_eat(&c->frame, n);
        take(c, n);
        return;
    }
    x->paused = true; /* on_data may call http_body_resume */
    size_t taken = x->body->on_data(&x->req, c->in, n);
    assert(taken <= n);
    if (c->gone)
        return;
    if (taken == n)
        x->paused = false;
    x->req.received_bytes += taken;
    http_frame_eat(&c->frame, taken);
    take(c, taken);
}

static bool body_end(struct http_exch *x)
{
    if (!x || !x->body || x->body_ended || x->finished || !x->body_over)
        return false;
    x->body_ended = true;
    x->body->on_end(&x->req, 0);
    return true;
}

bool http_body_step(struct http_conn *c)
{
    struct http_exch *x = c->first;
    size_t skip, n;
    if (!c->in_body)
        return body_end(x);
    if (c->body_of && (c->body_of != x || !x->body || x->paused || x->finished))
        return false;
    int step = http_frame_next(&c->frame, c->in, c->in_len, &skip, &n);
    if (step < 0) {
        body_broken(c, x, step);
        return true;
    }
    take(c, skip);
    if (step == HTTP_FRAME_DATA) {
        body_data(c, x, n);
        return true;
    }
    if (step == HTTP_FRAME_END) {
        c->in_body = false;
        if (c->body_of)
            x->body_over = true;
        c->body_of = NULL;
        c->idle_ns = c->server->now_ns;
        return true;
    }
    if (!c->eof || !c->body_of)
        return false;
    http_conn_fail(c, -ECONNRESET); /* the peer closed in the middle of its body */
    return true;
}

void http_body_read(struct http_req *r, const struct http_body *body)
{
    struct http_exch *x = exch_of(r);
    struct http_conn *c = r->conn;
    assert(!x->body && !x->finished && x == c->first);
    x->body = body;
    c->read_ns = http_server_now(c->server);
    if (!c->gone && r->expect_continue && !x->begun && (c->body_of == x || r->content_length == 0)) {
        x->continue_sent = true;
        if (c->in_len == 0 && http_net_continue(c) != 0) /* else the client did not wait */
            http_conn_fail(c, -ECONNRESET);
    }
    http_soon(c);
}

void http_body_resume(struct http_req *r)
{
    struct http_exch *x = exch_of(r);
    if (!x->paused)
        return;
    x->paused = false;
    r->conn->read_ns = http_server_now(r->conn->server);
    http_soon(r->conn);
}

bool http_gone(const struct http_req *r)
{
    return r->conn->gone != 0;
}

/* ---- headers ---- */

struct str http_header(const struct http_req *r, const char *name)
{
    struct str value = STR_NONE;
    http_header_all(r, name, &value, 1);
    return value;
}

size_t http_header_all(const struct http_req *r, const char *name, struct str *ret, size_t cap)
{
    struct str wanted = str_c(name);
    size_t count = 0;
    for (size_t i = 0; i < r->header_count; i++)
        if (str_ieq(r->headers[i].name, wanted)) {
            if (count < cap)
                ret[count] = r->headers[i].value;
            count++;
        }
    return count;
}
