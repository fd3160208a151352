/* http_conn - the state machine of a connection: what may happen next, one step at a time.
 *
 * conn_step looks at the state and takes the first step that is possible: report a send, start or end an exchange,
 * deliver body, parse a head. It is the only caller of the handler. After a run, conn_settle makes the outside fit the
 * state: input that was left is copied, the socket is read exactly while no input is left (that is the whole of
 * back-pressure), and the timer stands at the next deadline. The timer is lazy: it is only ever moved nearer; a
 * deadline that moved away is noticed when the timer fires. */
#include "common/http_impl.h"
#include <stdlib.h>

#define NEVER UINT64_MAX

/* ---- exchanges of the queue ---- */

static void queue_add(struct http_conn *c, struct http_exch *x)
{
    *(c->last ? &c->last->next : &c->first) = x;
    c->last = x;
    c->exch_count++;
}

static struct http_exch *queue_pop(struct http_conn *c)
{
    struct http_exch *x = c->first;
    c->first = x->next;
    if (!c->first)
        c->last = NULL;
    c->exch_count--;
    return x;
}

/* Drops what no handler has seen. */
static void drop_unstarted(struct http_conn *c)
{
    struct http_exch *kept = c->first && c->first->started ? c->first : NULL;
    for (struct http_exch *x = kept ? kept->next : c->first, *next; x; x = next) {
        next = x->next;
        http_exch_free(c->server, x);
    }
    c->first = c->last = kept;
    c->exch_count = kept != NULL;
    if (kept)
        kept->next = NULL;
    if (c->incoming)
        http_exch_free(c->server, c->incoming);
    c->incoming = NULL;
    c->stop = true;
}

/* ---- ends ---- */

void http_conn_fail(struct http_conn *c, int err)
{
    if (c->gone)
        return;
    c->gone = err;
    if (c->first) { /* of what is still ours, count nothing as sent */
        uint64_t unsent = MIN_OF(http_net_unsent(c), c->out_body);
        c->first->req.sent_bytes -= MIN_OF(unsent, c->first->req.sent_bytes);
    }
    http_net_close(c, true);
    http_soon(c);
}

static void conn_close(struct http_conn *c)
{
    if (c->gone)
        return;
    c->gone = -ECONNRESET;
    http_net_close(c, false);
    http_soon(c);
}

/* The last answer has left. The peer gets it whole only if we do not close with its input unread: that would reset. */
void http_conn_end(struct http_conn *c)
{
    drop_unstarted(c);
    c->in_body = false;
    c->body_of = NULL;
    c->in_len = 0;
    if (c->eof) {
        conn_close(c);
        return;
    }
    c->lingering = true;
    /* A server that stops waits less for a peer that only keeps the connection. */
    c->linger_ns = c->server->now_ns + (c->server->closing ? HTTP_LINGER_MS / 10 : HTTP_LINGER_MS) * MS_NS;
    http_net_shutdown(c);
}

static void exch_end(struct http_conn *c, struct http_exch *x)
{
    queue_pop(c);
    if (x->req.on_done)
        x->req.on_done(&x->req);
    bool close = x->close || c->server->closing;
    if (c->in_body && c->body_of == x) {
        c->body_of = NULL; /* what is left of the body is dropped */
        c->drop_left = c->server->limits.drain_bytes;
    }
    http_exch_free(c->server, x);
    c->server->stats.requests_total++;
    c->idle_ns = c->read_ns = c->server->now_ns;
    if (close && !c->gone)
        http_conn_end(c);
}

/* ---- steps: true when one was taken ---- */

static bool step_send(struct http_conn *c, struct http_exch *x)
{
    if (!x->send_cb || (!x->send_done && (c->writes || x->held.buf)))
        return false;
    void (*cb)(struct http_req *, int) = x->send_cb;
    x->send_cb = NULL;
    x->send_done = false;
    cb(&x->req, c->gone);
    return true;
}

static bool step_gone(struct http_conn *c)
{
    struct http_exch *x = c->first;
    drop_unstarted(c);
    c->in_len = 0;
    c->in_body = false;
    if (!x || !x->started)
        return false;
    buf_unref(x->held.buf);
    x->held = (struct slice){0};
    if (step_send(c, x))
        return true;
    if (x->body && !x->body_ended && !x->finished) {
        x->body_ended = true;
        x->body->on_end(&x->req, c->gone);
        return true;
    }
    if (!x->finished || c->writes)
        return false;
    exch_end(c, x);
    return true;
}

static void head_refused(struct http_conn *c, int status, const char *reason)
{
    struct http_exch *x = c->incoming;
    c->incoming = NULL;
    c->stop = true;
    x->refusal = status;
    x->refusal_reason = reason;
    x->body_over = true;
    c->server->stats.refused_total++;
    queue_add(c, x);
}

static void head_complete(struct http_conn *c)
{
    struct http_exch *x = c->incoming;
    c->incoming = NULL;
    c->in_body = http_frame_init(&c->frame, &x->req, c->server->limits.body_bytes);
    c->body_of = c->in_body ? x : NULL;
    x->body_over = !c->in_body;
    queue_add(c, x);
}

static bool head_begin(struct http_conn *c)
{
    c->incoming = http_exch_create(c);
    if (!c->incoming) {
        http_conn_fail(c, -ECONNRESET);
        return false;
    }
    http_parse_init(&c->parse);
    c->head_ns = c->incoming->req.started_ns = c->server->now_ns;
    return true;
}

static bool step_parse(struct http_conn *c)
{
    if (c->stop && !c->in_body)
        c->in_len = 0;
    if (c->in_len == 0) {
        if (c->eof && !c->first)
            conn_close(c);
        return false;
    }
    if (c->in_body || c->exch_count > c->server->limits.pipeline_count)
        return false;
    if (!c->incoming && !head_begin(c))
        return true;
    size_t used;
    enum http_parse_result result =
        http_parse_feed(&c->parse, &c->incoming->req, &c->server->limits, c->in, c->in_len, &used);
    c->in += used;
    c->in_len -= used;
    if (result == HTTP_PARSE_DONE)
        head_complete(c);
    else if (result == HTTP_PARSE_REFUSED)
        head_refused(c, c->parse.status, c->parse.reason);
    return result != HTTP_PARSE_MORE;
}

static bool conn_step(struct http_conn *c)
{
    struct http_exch *x = c->first;
    if (c->gone)
        return step_gone(c);
    if (x && !x->started) {
        http_exch_start(c, x);
        return true;
    }
    if (x && step_send(c, x))
        return true;
    if (x && c->writes == 0 && http_reply_due(x)) {
        http_reply_flush(c, x);
        return true;
    }
    if (x && x->finished && c->writes == 0) {
        exch_end(c, x);
        return true;
    }
    return http_body_step(c) || step_parse(c);
}

/* ---- deadlines ---- */

enum wait { WAIT_NOTHING, WAIT_LINGER, WAIT_SEND, WAIT_BODY, WAIT_PROBE, WAIT_HEAD, WAIT_REQUEST };

/* What the connection waits for, and when it has waited long enough (or must be looked at). */
static enum wait conn_wait(const struct http_conn *c, uint64_t *ret_at_ns)
{
    const struct http_limits *limits = &c->server->limits;
    const struct http_exch *x = c->first;
    uint64_t idle;
    if (c->gone) {
        *ret_at_ns = NEVER;
        return WAIT_NOTHING;
    }
    if (c->lingering) {
        *ret_at_ns = c->linger_ns;
        return WAIT_LINGER;
    }
    if (c->writes) {
        idle = limits->send_idle_ms * MS_NS;
        *ret_at_ns = MIN_OF(c->progress_ns + idle, c->looked_ns + idle / 4);
        return WAIT_SEND;
    }
    if (c->in_body && c->in_len == 0 && c->body_of == x && (!x || (x->body && !x->finished))) {
        *ret_at_ns = c->read_ns + limits->body_idle_ms * MS_NS;
        return WAIT_BODY;
    }
    if (x) {
        *ret_at_ns = c->reading ? NEVER : c->looked_ns + HTTP_PROBE_MS * MS_NS;
        return c->reading ? WAIT_NOTHING : WAIT_PROBE;
    }
    if (c->incoming) {
        *ret_at_ns = MAX_OF(c->head_ns, c->idle_ns) + limits->head_ms * MS_NS;
        return WAIT_HEAD;
    }
    *ret_at_ns = c->idle_ns + limits->keepalive_ms * MS_NS;
    return WAIT_REQUEST;
}

static void send_look(struct http_conn *c)
{
    uint64_t now = c->server->now_ns;
    size_t unsent = http_net_unsent(c);
    if (unsent != c->out_seen)
        c->progress_ns = now;
    c->out_seen = unsent;
    c->looked_ns = now;
    if (now - c->progress_ns >= c->server->limits.send_idle_ms * MS_NS)
        http_conn_fail(c, -ETIMEDOUT);
}

static void waited(struct http_conn *c, enum wait wait)
{
    switch (wait) {
    case WAIT_SEND:
        send_look(c);
        break;
    case WAIT_BODY:
        http_conn_fail(c, -ETIMEDOUT);
        break;
    case WAIT_PROBE:
        c->looked_ns = c->server->now_ns;
        if (http_net_reset_seen(c))
            http_conn_fail(c, -ECONNRESET);
        break;
    case WAIT_HEAD:
        head_refused(c, 408, "the head did not come in time");
        break;
    case WAIT_LINGER:
    case WAIT_REQUEST:
        conn_close(c);
        break;
    case WAIT_NOTHING:
        break;
    }
}

static void timer_fired(struct loop_timer *t)
{
    struct http_conn *c = container_of(t, struct http_conn, timer);
    uint64_t at_ns, now = http_server_now(c->server);
    enum wait wait = conn_wait(c, &at_ns);
    if (now >= at_ns)
        waited(c, wait);
    http_conn_run(c);
}

static void timer_set(struct http_conn *c)
{
    uint64_t at_ns, now = c->server->now_ns;
    conn_wait(c, &at_ns);
    if (at_ns == NEVER || (loop_timer_armed(&c->timer) && c->timer_at_ns <= at_ns))
        return;
    c->timer_at_ns = at_ns;
    loop_timer_start(c->server->loop, &c->timer, at_ns > now ? at_ns - now : 0);
}

/* ---- runs ---- */

static void conn_free(struct http_conn *c)
{
    struct http_server *s = c->server;
    assert(!c->incoming && !c->writes && !c->out_buf && !c->out_heap);
    loop_timer_stop(s->loop, &c->timer);
    *(c->prev ? &c->prev->next : &s->conns) = c->next;
    if (c->next)
        c->next->prev = c->prev;
    free(c->rest);
    free(c);
    http_server_conn_gone(s);
}

/* Input that no step took is copied out of the server's buffer. */
static bool keep_rest(struct http_conn *c)
{
    if (c->in_len == 0) {
        free(c->rest);
        c->rest = NULL;
    } else if (!c->rest) {
        c->rest = malloc(c->in_len);
        if (!c->rest)
            return false;
        memcpy(c->rest, c->in, c->in_len);
        c->in = c->rest;
    }
    return true;
}

static void conn_settle(struct http_conn *c)
{
    if (c->gone)
        c->in_len = 0;
    if (!keep_rest(c))
        http_conn_fail(c, -ECONNRESET);
    if (!c->gone)
        http_net_read(c, c->in_len == 0 && !c->eof);
    if (!c->gone)
        timer_set(c);
    else if (c->closed && !c->first && !c->queued)
        conn_free(c);
}

void http_conn_run(struct http_conn *c)
{
    if (c->running)
        return;
    c->running = true;
    http_server_now(c->server);
    unsigned steps = 0;
    while (steps < HTTP_STEP_COUNT && conn_step(c))
        steps++;
    c->running = false;
    if (steps == HTTP_STEP_COUNT)
        http_soon(c);
    conn_settle(c);
}

void http_conn_input(struct http_conn *c, const uint8_t *p, size_t n)
{
    assert(c->in_len == 0 && !c->rest);
    c->in = p;
    c->in_len = n;
    c->read_ns = http_server_now(c->server);
    c->server->stats.in_bytes += n;
    http_conn_run(c);
}

void http_conn_input_end(struct http_conn *c, int err)
{
    c->eof = true;
    c->reading = false; /* libuv stopped by itself */
    if (err)
        http_conn_fail(c, err);
    http_conn_run(c);
}

void http_conn_drain(struct http_conn *c)
{
    c->stop = true;
    if (!c->first && !c->lingering)
        conn_close(c);
}

int http_conn_create(struct http_server *s)
{
    struct http_conn *c = calloc(1, sizeof *c);
    if (!c)
        return -ENOMEM;
    c->server = s;
    c->timer.cb = timer_fired;
    c->idle_ns = http_server_now(s);
    c->next = s->conns;
    if (s->conns)
        s->conns->prev = c;
    s->conns = c;
    s->stats.conns_open++;
    s->stats.conns_total++;
    int err = http_net_accept(c);
    if (err)
        conn_close(c);
    http_conn_run(c);
    return err;
}
