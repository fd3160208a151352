/* serve_socket - one struct for each connection, one for each call under way on it. A call goes: frame in, unpacked
 * into its arena, submitted, answered, frame out, freed when that is written. A connection that ended stays until its
 * calls have. */
#include "node/serve_socket.h"
#include "common/log.h"
#include "common/stream.h"
#include "common/wire.h"
#include "common/xxh.h"
#include <stdlib.h>

struct conn {
    struct node_socket *s;
    struct stream *stream; /* NULL: ended */
    struct wire_in in;
    unsigned calls;
    uint64_t bytes;
    struct conn *next;
};
struct call {
    struct conn *c;
    uint64_t id, bytes;
    struct rpc rpc;
    struct arena arena;
    struct buf *payload;
    struct stream_write write;
    uint8_t head[WIRE_HEAD_BYTES];
    uint8_t *message;
};
struct node_socket {
    struct loop *loop;
    struct rpc_peer *peer;
    struct stream_server *server;
    struct conn *conns;
    unsigned conn_count;
    bool closing;
    void (*closed_cb)(void *ctx);
    void *closed_ctx;
    struct loop_post post;
};

/* ---- ends ---- */

static void closed(struct loop_post *p)
{
    struct node_socket *s = container_of(p, struct node_socket, post);
    void (*cb)(void *ctx) = s->closed_cb;
    void *ctx = s->closed_ctx;
    free(s);
    cb(ctx);
}

static void closed_check(struct node_socket *s)
{
    if (!s->closing || s->conns)
        return;
    s->post.cb = closed;
    loop_post(s->loop, &s->post);
}

/* Frees a connection that has ended when its last call has. */
static void conn_settle(struct conn *c)
{
    struct node_socket *s = c->s;
    if (c->stream || c->calls)
        return;
    struct conn **at = &s->conns;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    s->conn_count--;
    wire_in_fini(&c->in);
    free(c);
    closed_check(s);
}

static void conn_end(struct conn *c)
{
    if (c->stream)
        stream_close(c->stream);
    c->stream = NULL;
    conn_settle(c);
}

static bool conn_full(const struct conn *c)
{
    return c->calls >= NODE_SOCKET_CALLS || c->bytes >= NODE_SOCKET_BYTES;
}

static void call_free(struct call *k)
{
    struct conn *c = k->c;
    bool was_full = conn_full(c);
    buf_unref(k->payload);
    buf_unref(k->rpc.rep_payload.buf);
    arena_fini(&k->arena);
    free(k->message);
    c->calls--;
    c->bytes -= k->bytes;
    free(k);
    if (c->stream && was_full && !conn_full(c))
        stream_read(c->stream);
    conn_settle(c);
}

/* ---- answers ---- */

static void call_written(struct stream_write *w, int err)
{
    (void)err; /* the stream tells its end itself */
    call_free(container_of(w, struct call, write));
}

static void call_answer(struct call *k)
{
    const struct rpc *r = &k->rpc;
    struct wire_head h = {.kind = WIRE_REPLY, .type = (uint16_t)r->type, .id = k->id, .status = r->status};
    struct slice s = r->status >= 0 ? r->rep_payload : (struct slice){0};
    if (!k->c->stream) {
        call_free(k);
        return;
    }
    int err = wire_pack(&h, r->status >= 0 ? r->rep : NULL, &k->message);
    if (!err && s.len > WIRE_PAYLOAD_MAX)
        err = -EMSGSIZE;
    if (err) {
        h.status = err;
        h.has_message = false;
        h.message_bytes = 0;
        h.message_sum = 0;
        s.len = 0;
    }
    h.payload_bytes = (uint32_t)s.len;
    h.payload_sum = s.len ? xxh64of(slice_data(s), s.len, 0) : 0;
    wire_head_encode(&h, k->head);
    k->write.iov[0] = (struct iovec){k->head, WIRE_HEAD_BYTES};
    k->write.iov[1] = (struct iovec){k->message, h.message_bytes};
    k->write.iov[2] = (struct iovec){slice_data(s), s.len};
    k->write.iov_count = s.len ? 3 : 2;
    k->write.cb = call_written;
    stream_send(k->c->stream, &k->write);
}

static void call_done(struct rpc *r)
{
    call_answer(container_of(r, struct call, rpc));
}

/* ---- requests ---- */

static int request_begin(struct wire_in *in, struct buf **ret_payload)
{
    *ret_payload = buf_create(in->head.payload_bytes);
    return *ret_payload ? 0 : -ENOMEM;
}

static int request_came(struct wire_in *in)
{
    struct conn *c = in->ctx;
    struct node_socket *s = c->s;
    const struct wire_head *h = &in->head;
    struct call *k = h->kind == WIRE_REQUEST ? calloc(1, sizeof *k) : NULL;
    if (!k)
        return h->kind == WIRE_REQUEST ? -ENOMEM : E_PROTOCOL;
    *k = (struct call){.c = c, .id = h->id, .bytes = h->message_bytes + h->payload_bytes};
    k->payload = in->payload;
    in->payload = NULL;
    arena_init(&k->arena, NODE_SOCKET_ARENA_BYTES);
    c->calls++;
    c->bytes += k->bytes;
    void *req = NULL;
    int err = !wire_knows(h->type) ? E_VERSION
              : !h->has_message    ? E_PROTOCOL
                                   : wire_unpack(h, in->message, &k->arena, &req);
    k->rpc =
        (struct rpc){.type = (enum rpc_type)h->type, .req = req, .arena = &k->arena, .cb = call_done, .status = err};
    if (err) {
        call_answer(k);
        return 0;
    }
    if (k->payload) {
        k->rpc.payload[0] = (struct slice){.buf = k->payload, .len = h->payload_bytes};
        k->rpc.payload_count = 1;
    }
    if (h->deadline_ms)
        k->rpc.deadline_ns = loop_now_ns(s->loop) + h->deadline_ms * MS_NS;
    s->peer->submit(s->peer, &k->rpc);
    return 0;
}

/* ---- the connection ---- */

static void space(void *ctx, uint8_t **ret_p, size_t *ret_len)
{
    struct conn *c = ctx;
    if (!conn_full(c) || c->in.part != WIRE_IN_HEAD || c->in.have) /* what was begun is read to its end */
        wire_in_space(&c->in, ret_p, ret_len);
}

static void came(void *ctx, size_t n)
{
    struct conn *c = ctx;
    int err = wire_in_advance(&c->in, n);
    if (!err)
        return;
    log_event(LOG_WARN, "socket.refused", "error=%s", log_quote(str_c(err_text(err))));
    conn_end(c);
}

static void ended(void *ctx, int err)
{
    (void)err;
    conn_end(ctx);
}

static void accepted(void *ctx, struct stream *stream)
{
    struct node_socket *s = ctx;
    struct conn *c = s->conn_count < NODE_SOCKET_CONNS ? calloc(1, sizeof *c) : NULL;
    if (!c) {
        stream_close(stream);
        return;
    }
    c->s = s;
    c->stream = stream;
    c->in.begin = request_begin;
    c->in.frame = request_came;
    c->in.ctx = c;
    c->next = s->conns;
    s->conns = c;
    s->conn_count++;
    stream_handle(stream, &(struct stream_handler){.space = space, .came = came, .ended = ended, .ctx = c});
    stream_read(stream);
}

int node_socket_open(struct loop *l, struct rpc_peer *peer, const char *path, struct node_socket **ret_socket,
                     char *why, size_t why_cap)
{
    struct node_socket *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->loop = l;
    s->peer = peer;
    int err = stream_listen(l, path, accepted, s, &s->server, why, why_cap);
    if (err) {
        free(s);
        return err;
    }
    *ret_socket = s;
    return 0;
}

void node_socket_close(struct node_socket *s, void (*closed_cb)(void *ctx), void *ctx)
{
    s->closing = true;
    s->closed_cb = closed_cb;
    s->closed_ctx = ctx;
    stream_server_close(s->server);
    if (!s->conns) {
        closed_check(s);
        return;
    }
    for (struct conn *c = s->conns, *next; c; c = next) {
        next = c->next;
        conn_end(c);
    }
}
