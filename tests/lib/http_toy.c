/* http_toy - see the header. Each path is a row; what an exchange needs lies in its arena. */
#include "tests/lib/http_toy.h"
#include "common/http_impl.h"
#include "tests/lib/http_peer.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define SLICE (64 * KIB)

struct toy_req {
    struct toy *toy;
    struct sbuf body;
    uint64_t left;
    struct loop_timer retry;
    struct http_req *r;
};

static struct toy_req *mine(struct http_req *r)
{
    return r->user;
}

static void enter(struct toy *t)
{
    cr_assert_eq(t->depth, 0, "a callback inside a call");
    t->depth++;
}

static void leave(struct toy *t)
{
    t->depth--;
}

static void on_done(struct http_req *r)
{
    struct toy_req *q = mine(r);
    enter(q->toy);
    q->toy->dones++;
    q->toy->sent_bytes = r->sent_bytes;
    loop_timer_stop(q->toy->loop, &q->retry);
    sbuf_fini(&q->body);
    leave(q->toy);
}

static uint64_t query_number(const struct http_req *r)
{
    uint64_t n = 0;
    str_u64(r->query, &n);
    return n;
}

/* ---- bodies ---- */

static size_t echo_data(struct http_req *r, const uint8_t *p, size_t n)
{
    struct toy_req *q = mine(r);
    enter(q->toy);
    sbuf_add(&q->body, p, n);
    q->toy->taken_bytes += n;
    leave(q->toy);
    return n;
}

static void body_end(struct http_req *r, int err)
{
    mine(r)->toy->ends++;
    mine(r)->toy->last_end_err = err;
}

static void echo_end(struct http_req *r, int err)
{
    struct toy_req *q = mine(r);
    enter(q->toy);
    body_end(r, err);
    http_reply(r, err ? 400 : 200, NULL, (struct str){q->body.p, q->body.len});
    leave(q->toy);
}

static size_t count_data(struct http_req *r, const uint8_t *p, size_t n)
{
    (void)p;
    struct toy *t = mine(r)->toy;
    if (t->hold_body)
        return 0;
    t->taken_bytes += n;
    return n;
}

static void count_end(struct http_req *r, int err)
{
    char text[32];
    body_end(r, err);
    if (err == -ECONNRESET || err == -ETIMEDOUT) {
        http_abort(r);
        return;
    }
    int n = snprintf(text, sizeof text, "%llu", (unsigned long long)r->received_bytes);
    http_reply(r, err ? 400 : 200, NULL, (struct str){text, (size_t)n});
}

static void sip_again(struct loop_timer *timer)
{
    http_body_resume(container_of(timer, struct toy_req, retry)->r);
}

static size_t sip_data(struct http_req *r, const uint8_t *p, size_t n)
{
    struct toy_req *q = mine(r);
    size_t take = MIN_OF(n, (size_t)7);
    sbuf_add(&q->body, p, take);
    q->toy->taken_bytes += take;
    q->retry.cb = sip_again;
    if (take < n)
        loop_timer_start(q->toy->loop, &q->retry, 0);
    return take;
}

static void late_end(struct http_req *r, int err)
{
    body_end(r, err);
    http_reply(r, 202, NULL, STR_NONE);
}

static const struct http_body echo_body = {echo_data, echo_end};
static const struct http_body count_body = {count_data, count_end};
static const struct http_body sip_body = {sip_data, echo_end};
static const struct http_body late_body = {echo_data, late_end};

static void do_echo(struct http_req *r)
{
    http_body_read(r, &echo_body);
}

static void do_count(struct http_req *r)
{
    mine(r)->toy->reader = r;
    http_body_read(r, &count_body);
}

static void do_sip(struct http_req *r)
{
    http_body_read(r, &sip_body);
}

static void do_late(struct http_req *r)
{
    http_body_read(r, &late_body);
}

/* ---- answers ---- */

static void do_hello(struct http_req *r)
{
    struct http_headers h = {0};
    http_headers_add(r, &h, "Content-Type", STR("text/plain"));
    http_reply(r, 200, &h, STR("hello"));
}

static void do_big(struct http_req *r)
{
    size_t n = query_number(r);
    char *p = malloc(n + 1);
    memset(p, 'b', n);
    http_reply(r, 200, NULL, (struct str){p, n});
    free(p);
}

static void do_refuse(struct http_req *r)
{
    http_reply(r, 403, NULL, STR("no"));
}

static void do_busy(struct http_req *r)
{
    struct toy *t = mine(r)->toy;
    cr_assert_lt(t->busy_count, ARRAY_LEN(t->busy));
    t->busy[t->busy_count++] = r;
}

static void do_headers(struct http_req *r)
{
    struct http_headers h = {0};
    uint64_t n = query_number(r);
    struct str said[2] = {STR_NONE, STR_NONE};
    for (unsigned i = 0; i < n; i++) {
        char name[32];
        snprintf(name, sizeof name, "X-%u", i);
        http_headers_addf(r, &h, name, "%u of %u", i, (unsigned)n);
    }
    size_t count = http_header_all(r, "x-say", said, 2);
    cr_assert(str_eq(http_header(r, "X-SAY"), said[0]));
    for (size_t i = 0; i < MIN_OF(count, (size_t)2); i++)
        http_headers_add(r, &h, "X-Said", said[i]);
    cr_assert_not(http_replied(r));
    http_reply(r, 200, &h, STR("headers"));
    cr_assert(http_replied(r));
}

static void do_split(struct http_req *r)
{
    struct http_headers h = {0};
    http_headers_add(r, &h, "X-Note", STR("a\r\nSet-Cookie: b"));
    http_reply(r, 200, &h, STR("hello"));
}

static void do_status(struct http_req *r)
{
    http_reply(r, (int)query_number(r), NULL, STR_NONE);
}

static void do_headlen(struct http_req *r)
{
    http_reply_head(r, 200, NULL, 12345);
}

static void do_close(struct http_req *r)
{
    struct http_headers h = {0};
    http_headers_add(r, &h, "Connection", STR("close"));
    http_headers_add(r, &h, "Content-Length", STR("999"));
    http_reply(r, 200, &h, STR("bye"));
}

static void slice_sent(struct http_req *r, int err);

static void send_slice(struct http_req *r)
{
    struct toy_req *q = mine(r);
    size_t n = MIN_OF(q->left, SLICE);
    struct buf *b = buf_create(SLICE);
    memset(b->data, 's', SLICE);
    q->left -= n;
    http_send(r, (struct slice){b, 0, n}, slice_sent);
    buf_unref(b);
}

static void note_sent(struct http_req *r, int err)
{
    mine(r)->toy->sends++;
    mine(r)->toy->last_send_err = err;
}

static void slice_sent(struct http_req *r, int err)
{
    struct toy_req *q = mine(r);
    enter(q->toy);
    note_sent(r, err);
    if (err)
        http_abort(r);
    else if (q->left)
        send_slice(r);
    else
        http_send_end(r);
    leave(q->toy);
}

static void do_stream(struct http_req *r)
{
    mine(r)->left = query_number(r);
    http_reply_start(r, 200, NULL, mine(r)->left);
    send_slice(r);
}

static void do_chunks(struct http_req *r)
{
    mine(r)->left = query_number(r);
    http_reply_start(r, 200, NULL, HTTP_CHUNKED);
    send_slice(r);
}

static void copy_sent(struct http_req *r, int err)
{
    char text[3] = "abc";
    note_sent(r, err);
    if (err)
        http_abort(r);
    else if (mine(r)->left-- == 0)
        http_send_end(r);
    else
        http_send_copy(r, text, sizeof text, copy_sent);
    memset(text, '?', sizeof text);
}

static void do_copies(struct http_req *r)
{
    mine(r)->left = query_number(r);
    http_reply_start(r, 200, NULL, HTTP_CHUNKED);
    http_send_copy(r, "", 0, copy_sent); /* an empty piece must not end the body */
}

static void piece_sent(struct http_req *r, int err)
{
    const size_t size = 30000;
    note_sent(r, err);
    if (err) {
        http_abort(r);
    } else if (mine(r)->left-- == 0) {
        http_send_end(r);
    } else {
        char *p = malloc(size);
        memset(p, 'p', size);
        http_send_copy(r, p, size, piece_sent);
        memset(p, '?', size);
        free(p);
    }
}

static void do_pieces(struct http_req *r)
{
    mine(r)->left = query_number(r);
    http_reply_start(r, 200, NULL, HTTP_CHUNKED);
    http_send_copy(r, "", 0, piece_sent);
}

static void lazy_sent(struct http_req *r, int err)
{
    const struct http_exch *x = container_of(r, struct http_exch, req);
    cr_assert(http_gone(r) || (r->conn->writes == 0 && !x->held.buf), "the callback came before the bytes had left");
    note_sent(r, err);
    http_send_end(r);
}

static void lazy_now(struct loop_timer *timer)
{
    struct toy_req *q = container_of(timer, struct toy_req, retry);
    if (q->left) {
        struct buf *b = buf_create(q->left);
        memset(b->data, 'z', q->left);
        http_send(q->r, (struct slice){b, 0, q->left}, lazy_sent);
        buf_unref(b);
    } else {
        char text[] = "lazy";
        http_send_copy(q->r, text, 4, lazy_sent);
        memset(text, '?', 4);
    }
}

static void do_lazy(struct http_req *r)
{
    struct toy_req *q = mine(r);
    q->left = query_number(r);
    q->retry.cb = lazy_now;
    http_reply_start(r, 200, NULL, q->left ? q->left : HTTP_CHUNKED);
    loop_timer_start(q->toy->loop, &q->retry, 0);
}

static void cut_sent(struct http_req *r, int err)
{
    note_sent(r, err);
    http_abort(r);
}

static void do_cut(struct http_req *r)
{
    struct buf *b = buf_create(SLICE);
    memset(b->data, 'c', SLICE);
    http_reply_start(r, 200, NULL, query_number(r));
    http_send(r, (struct slice){b, 0, SLICE}, cut_sent);
    buf_unref(b);
}

static void end_sent(struct http_req *r, int err)
{
    note_sent(r, err);
    http_send_end(r);
}

static void do_short(struct http_req *r)
{
    http_reply_start(r, 200, NULL, 100);
    http_send_copy(r, "0123456789", 10, end_sent);
}

static void do_long(struct http_req *r)
{
    char text[100] = {0};
    http_reply_start(r, 200, NULL, 10);
    http_send_copy(r, text, sizeof text, end_sent);
}

static void do_splitstream(struct http_req *r)
{
    struct http_headers h = {0};
    http_headers_add(r, &h, "X-Note", (struct str){"a\0b", 3});
    http_reply_start(r, 200, &h, 10);
    http_send_copy(r, "0123456789", 10, end_sent);
}

static const struct {
    const char *path;
    void (*run)(struct http_req *r);
} rows[] = {
    {"/hello", do_hello},     {"/big", do_big},         {"/echo", do_echo},
    {"/sip", do_sip},         {"/count", do_count},     {"/refuse", do_refuse},
    {"/busy", do_busy},       {"/stream", do_stream},   {"/chunks", do_chunks},
    {"/copies", do_copies},   {"/cut", do_cut},         {"/short", do_short},
    {"/long", do_long},       {"/split", do_split},     {"/splitstream", do_splitstream},
    {"/status", do_status},   {"/headlen", do_headlen}, {"/close", do_close},
    {"/late", do_late},       {"/pieces", do_pieces},   {"/lazy", do_lazy},
    {"/headers", do_headers},
};

static void on_head(void *ctx, struct http_req *r)
{
    struct toy *t = ctx;
    enter(t);
    t->heads++;
    if (t->send_buffer)
        uv_send_buffer_size((uv_handle_t *)&r->conn->tcp, &(int){t->send_buffer});
    struct toy_req *q = arena_alloc(&r->arena, sizeof *q);
    q->toy = t;
    q->r = r;
    r->user = q;
    r->on_done = on_done;
    snprintf(t->last_path, sizeof t->last_path, STR_FMT, STR_ARG(r->path));
    void (*run)(struct http_req *) = NULL;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (str_eq(r->path, str_c(rows[i].path)))
            run = rows[i].run;
    if (run)
        run(r);
    else
        http_reply(r, 404, NULL, r->target);
    leave(t);
}

static void on_refusal(void *ctx, struct http_req *r, int status, const char *reason)
{
    struct toy *t = ctx;
    t->refusals++;
    t->last_refusal = status;
    if (status == 413) {
        struct http_headers h = {0};
        http_headers_add(r, &h, "Content-Type", STR("application/xml"));
        http_reply(r, status, &h, str_c(reason));
    }
}

void toy_open(struct toy *t, const struct http_limits *limits, bool manual_clock)
{
    char why[200] = "";
    *t = (struct toy){0};
    clock_manual_init(&t->clock, 1136214245000);
    cr_assert_eq(loop_create(manual_clock ? &t->clock.clock : clock_real(), &t->loop), 0);
    struct http_handler handler = {on_head, on_refusal, t};
    cr_assert_eq(http_server_open(t->loop, "127.0.0.1:0", limits, &handler, &t->server, why, sizeof why), 0, "%s", why);
    t->port = http_server_port(t->server);
}

static void closed(void *ctx)
{
    ((struct toy *)ctx)->closed = true;
}

void toy_close(struct toy *t)
{
    http_server_close(t->server, 0, closed, t);
    cr_assert(TURN_UNTIL(t->loop, t->closed), "the server did not close: %u heads, %u done", t->heads, t->dones);
    cr_assert_eq(t->heads, t->dones, "every exchange is done exactly once: %u heads, %u done", t->heads, t->dones);
    loop_destroy(t->loop);
}

void toy_release(struct toy *t)
{
    unsigned n = t->busy_count;
    t->busy_count = 0;
    for (unsigned i = 0; i < n; i++)
        http_reply(t->busy[i], 200, NULL, STR("released"));
}
