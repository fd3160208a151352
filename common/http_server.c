/* http_server - a listening address and the connections that came through it.
 *
 * Accepting stops at conn_count: then the kernel's backlog holds the others. Connections that a handler's call from
 * elsewhere changed are queued and run in the next loop turn by an idle handle, which also keeps the poll from waiting.
 */
#include "common/http_impl.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

const struct http_limits http_limits_default = {
    .head_bytes = 16 * KIB,
    .header_count = 100,
    .body_bytes = 6 * GIB, /* S3's largest part and its chunk signatures */
    .head_ms = 15000,
    .body_idle_ms = 60000,
    .keepalive_ms = 75000,
    .send_idle_ms = 120000,
    .conn_count = 10000,
    .pipeline_count = 8,
    .drain_bytes = 256 * KIB,
};

uint64_t http_server_now(struct http_server *s)
{
    return s->now_ns = loop_now_ns(s->loop);
}

static void turn_run(uv_idle_t *turn)
{
    struct http_server *s = turn->data;
    struct http_conn *c = s->soon_first;
    s->soon_first = NULL;
    s->soon_last = &s->soon_first;
    for (struct http_conn *next; c; c = next) {
        next = c->soon_next; /* running c may free it or queue it again */
        c->queued = false;
        http_conn_run(c);
    }
    if (!s->soon_first)
        uv_idle_stop(&s->turn);
}

void http_soon(struct http_conn *c)
{
    struct http_server *s = c->server;
    if (c->running || c->queued)
        return;
    c->queued = true;
    c->soon_next = NULL;
    *s->soon_last = c;
    s->soon_last = &c->soon_next;
    if (!uv_is_active((const uv_handle_t *)&s->turn))
        uv_idle_start(&s->turn, turn_run);
}

void http_server_accept(struct http_server *s)
{
    while (s->waiting && !s->closing && s->stats.conns_open < s->limits.conn_count) {
        s->waiting = false; /* libuv calls again when another waits */
        if (http_conn_create(s) != 0)
            break;
    }
}

/* ---- opening ---- */

static void opened_failed(uv_handle_t *h)
{
    struct http_server *s = h->data;
    if (--s->handles == 0)
        free(s);
}

int http_server_open(struct loop *loop, const char *listen, const struct http_limits *limits,
                     const struct http_handler *handler, struct http_server **ret_server, char *why, size_t why_cap)
{
    struct sigaction old;
    struct http_server *s = calloc(1, sizeof *s);
    if (!s) {
        snprintf(why, why_cap, "out of memory");
        return -ENOMEM;
    }
    /* libuv writes with write(2): a peer that left must be an error, not the end of the process. */
    if (sigaction(SIGPIPE, NULL, &old) == 0 && old.sa_handler == SIG_DFL)
        signal(SIGPIPE, SIG_IGN);
    s->loop = loop;
    s->limits = limits ? *limits : http_limits_default;
    s->handler = *handler;
    s->soon_last = &s->soon_first;
    uv_tcp_init(loop_uv(loop), &s->listener);
    uv_idle_init(loop_uv(loop), &s->turn);
    s->listener.data = s->turn.data = s;
    s->handles = 2;
    int err = http_net_listen(s, listen, why, why_cap);
    if (err) {
        uv_close((uv_handle_t *)&s->listener, opened_failed);
        uv_close((uv_handle_t *)&s->turn, opened_failed);
        return err;
    }
    *ret_server = s;
    return 0;
}

unsigned http_server_port(const struct http_server *s)
{
    return s->port;
}

void http_server_stats(const struct http_server *s, struct http_server_stats *ret)
{
    *ret = s->stats;
}

/* ---- closing ---- */

static void server_closed(uv_handle_t *h)
{
    struct http_server *s = h->data;
    if (--s->handles)
        return;
    for (struct http_exch *x = s->spare, *next; x; x = next) {
        next = x->next;
        arena_fini(&x->req.arena);
        free(x);
    }
    void (*cb)(void *) = s->closed_cb;
    void *ctx = s->closed_ctx;
    free(s);
    if (cb)
        cb(ctx);
}

static void close_if_empty(struct http_server *s)
{
    if (!s->closing || s->stats.conns_open)
        return;
    loop_timer_stop(s->loop, &s->deadline);
    uv_close((uv_handle_t *)&s->turn, server_closed);
}

void http_server_conn_gone(struct http_server *s)
{
    s->stats.conns_open--;
    close_if_empty(s);
    http_server_accept(s);
}

static void deadline_fired(struct loop_timer *t)
{
    struct http_server *s = container_of(t, struct http_server, deadline);
    for (struct http_conn *c = s->conns; c; c = c->next)
        http_conn_fail(c, -ECONNRESET);
}

void http_server_close(struct http_server *s, uint64_t deadline_ms, void (*closed_cb)(void *ctx), void *ctx)
{
    assert(!s->closing);
    s->closing = true;
    s->closed_cb = closed_cb;
    s->closed_ctx = ctx;
    s->deadline.cb = deadline_fired;
    uv_close((uv_handle_t *)&s->listener, server_closed);
    for (struct http_conn *c = s->conns; c; c = c->next)
        http_conn_drain(c);
    loop_timer_start(s->loop, &s->deadline, deadline_ms * MS_NS);
    close_if_empty(s);
}
