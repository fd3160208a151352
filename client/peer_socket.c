/* peer_socket - one connection, many calls: requests go out as they come, replies find their call by id.
 *
 * A call has two halves that end in either order: the rpc (its reply, its deadline, the loss of the connection) and the
 * write of its request (whose bytes libuv reads until the write's callback, so payload buffers are referenced until
 * then). It is freed when both are over. */
#include "client/peer_socket.h"
#include "common/stream.h"
#include "common/wire.h"
#include "common/xxh.h"
#include <stdlib.h>

#define SLOTS 256 /* hash of calls by id */

struct call {
    struct peer_socket *p;
    struct rpc *rpc; /* NULL: ended */
    uint64_t id;
    struct loop_timer timer;
    struct loop_post post; /* ends a call that could not be begun */
    int post_status;
    bool writing, posted, queued;
    struct stream_write write;
    uint8_t head[WIRE_HEAD_BYTES];
    uint8_t *message;
    struct buf *payload[RPC_PAYLOAD_MAX];
    struct call *next;       /* in its slot */
    struct call *queue_next; /* waits for the connection */
};

struct peer_socket {
    struct rpc_peer peer;
    struct loop *loop;
    char *path;
    struct stream *stream;
    bool open; /* stream is connected */
    uint64_t next_id, tried_ns;
    bool tried;
    unsigned calls; /* not freed yet */
    struct call *slots[SLOTS];
    struct call *queue_first, *queue_last;
    struct wire_in in;
    bool closing;
    void (*closed_cb)(void *ctx);
    void *closed_ctx;
    struct loop_post closed_post;
    bool closed_posted;
};

/* ---- calls ---- */

static struct call **slot_of(struct peer_socket *p, uint64_t id)
{
    struct call **at = &p->slots[id % SLOTS];
    while (*at && (*at)->id != id)
        at = &(*at)->next;
    return at;
}

static void closed_check(struct peer_socket *p);

/* Frees the call when both halves are over. */
static void call_settle(struct call *c)
{
    struct peer_socket *p = c->p;
    if (c->rpc || c->writing || c->posted || c->queued)
        return;
    free(c->message);
    for (unsigned i = 0; i < RPC_PAYLOAD_MAX; i++)
        buf_unref(c->payload[i]);
    free(c);
    p->calls--;
    closed_check(p);
}

static void queue_remove(struct call *c)
{
    struct peer_socket *p = c->p;
    struct call *before = NULL;
    for (struct call *at = p->queue_first; at != c; at = at->queue_next)
        before = at;
    *(before ? &before->queue_next : &p->queue_first) = c->queue_next;
    if (p->queue_last == c)
        p->queue_last = before;
    c->queued = false;
}

/* The rpc is over: c may be gone afterwards. */
static void call_end(struct call *c, int status)
{
    struct rpc *r = c->rpc;
    struct call **at = slot_of(c->p, c->id);
    assert(*at == c && r);
    *at = c->next;
    c->rpc = NULL;
    loop_timer_stop(c->p->loop, &c->timer);
    if (c->queued)
        queue_remove(c);
    call_settle(c);
    r->status = status;
    r->cb(r);
}

static void call_posted(struct loop_post *post)
{
    struct call *c = container_of(post, struct call, post);
    c->posted = false;
    if (c->rpc)
        call_end(c, c->post_status);
    else
        call_settle(c);
}

static void call_end_soon(struct call *c, int status)
{
    c->posted = true;
    c->post_status = status;
    c->post.cb = call_posted;
    loop_post(c->p->loop, &c->post);
}

static void call_late(struct loop_timer *t)
{
    call_end(container_of(t, struct call, timer), E_DEADLINE);
}

static void call_written(struct stream_write *w, int err)
{
    struct call *c = container_of(w, struct call, write);
    (void)err; /* the stream ends too, and that ends the calls */
    c->writing = false;
    call_settle(c);
}

static void call_send(struct call *c)
{
    c->writing = true;
    c->write.cb = call_written;
    stream_send(c->p->stream, &c->write);
}

/* ---- the connection ---- */

static void connection_drop(struct peer_socket *p)
{
    if (p->stream)
        stream_close(p->stream);
    p->stream = NULL;
    p->open = false;
    wire_in_fini(&p->in);
}

/* Everybody's call is over. New calls made by callbacks meanwhile are not touched: they have greater ids. */
static void end_all(struct peer_socket *p, int status, int queued_status)
{
    uint64_t last = p->next_id;
    for (unsigned i = 0; i < SLOTS; i++) {
        for (struct call *c = p->slots[i]; c;) {
            if (c->id > last || !c->rpc || c->posted) {
                c = c->next;
                continue;
            }
            call_end(c, c->queued ? queued_status : status);
            c = p->slots[i]; /* the slot may have changed meanwhile */
        }
    }
}

static void lost(void *ctx, int err)
{
    struct peer_socket *p = ctx;
    connection_drop(p);
    end_all(p, err == E_VERSION || err == E_PROTOCOL ? err : -ECONNRESET, E_UNAVAILABLE);
}

static void opened(void *ctx, int err)
{
    struct peer_socket *p = ctx;
    if (err) {
        lost(p, err);
        return;
    }
    p->open = true;
    stream_read(p->stream);
    while (p->queue_first) {
        struct call *c = p->queue_first;
        queue_remove(c);
        call_send(c);
    }
}

static void space(void *ctx, uint8_t **ret_p, size_t *ret_len)
{
    struct peer_socket *p = ctx;
    wire_in_space(&p->in, ret_p, ret_len);
}

static void came(void *ctx, size_t n)
{
    struct peer_socket *p = ctx;
    int err = wire_in_advance(&p->in, n);
    if (err)
        lost(p, err);
}

static void connect_now(struct peer_socket *p)
{
    struct stream_handler h = {.opened = opened, .space = space, .came = came, .ended = lost, .ctx = p};
    p->tried = true;
    p->tried_ns = loop_now_ns(p->loop);
    if (stream_open(p->loop, p->path, &h, &p->stream))
        p->stream = NULL;
}

/* ---- replies ---- */

static int reply_begin(struct wire_in *in, struct buf **ret_payload)
{
    struct peer_socket *p = in->ctx;
    struct call *c = *slot_of(p, in->head.id);
    if (c && c->rpc && c->rpc->into && c->rpc->into->cap >= in->head.payload_bytes)
        *ret_payload = buf_ref(c->rpc->into);
    else
        *ret_payload = buf_create(in->head.payload_bytes);
    return *ret_payload ? 0 : -ENOMEM;
}

static int reply_came(struct wire_in *in)
{
    struct peer_socket *p = in->ctx;
    struct call *c = *slot_of(p, in->head.id);
    if (in->head.kind != WIRE_REPLY)
        return E_PROTOCOL;
    if (!c || !c->rpc || c->posted) /* its deadline has passed */
        return 0;
    struct rpc *r = c->rpc;
    if (in->head.type != r->type)
        return E_PROTOCOL;
    int status = in->head.status;
    if (status >= 0) {
        int err = wire_unpack(&in->head, in->message, r->arena, &r->rep);
        if (err)
            return err;
        r->rep_payload = (struct slice){.buf = in->payload, .len = in->payload ? in->head.payload_bytes : 0};
        in->payload = NULL;
    }
    wire_in_fini(in); /* the callback may close this peer */
    call_end(c, status);
    return 0;
}

/* ---- from outside ---- */

static int call_pack(struct call *c)
{
    struct rpc *r = c->rpc;
    uint64_t now = loop_now_ns(c->p->loop), left = r->deadline_ns > now ? r->deadline_ns - now : 0;
    struct wire_head h = {.kind = WIRE_REQUEST, .type = (uint16_t)r->type, .id = c->id};
    h.deadline_ms = (uint32_t)MIN_OF((r->deadline_ns ? left : PEER_SOCKET_CALL_NS) / MS_NS + 1, UINT32_MAX);
    int err = wire_pack(&h, r->req, &c->message);
    if (err)
        return err;
    c->write.iov[0] = (struct iovec){c->head, WIRE_HEAD_BYTES};
    c->write.iov[1] = (struct iovec){c->message, h.message_bytes};
    c->write.iov_count = 2;
    assert(r->payload_count <= 1 && "the sum of a payload is of one run of bytes");
    if (r->payload_count) {
        struct slice s = r->payload[0];
        if (s.len > WIRE_PAYLOAD_MAX)
            return -EMSGSIZE;
        c->payload[0] = buf_ref(s.buf);
        h.payload_bytes = (uint32_t)s.len;
        h.payload_sum = xxh64of(slice_data(s), s.len, 0);
        c->write.iov[c->write.iov_count++] = (struct iovec){slice_data(s), s.len};
    }
    wire_head_encode(&h, c->head);
    return 0;
}

/* Sends, queues, or ends it soon. */
static void call_begin(struct call *c)
{
    struct peer_socket *p = c->p;
    int err = p->closing ? -ECANCELED : p->calls > PEER_SOCKET_CALLS ? E_LIMIT : call_pack(c);
    if (err) {
        call_end_soon(c, err);
        return;
    }
    uint64_t now = loop_now_ns(p->loop), deadline = c->rpc->deadline_ns;
    c->timer.cb = call_late;
    loop_timer_start(p->loop, &c->timer, !deadline ? PEER_SOCKET_CALL_NS : deadline > now ? deadline - now : 0);
    if (!p->stream && (!p->tried || now - p->tried_ns >= PEER_SOCKET_PAUSE_NS))
        connect_now(p);
    if (p->open) {
        call_send(c);
    } else if (p->stream) {
        c->queued = true;
        c->queue_next = NULL;
        *(p->queue_last ? &p->queue_last->queue_next : &p->queue_first) = c;
        p->queue_last = c;
    } else {
        call_end_soon(c, E_UNAVAILABLE);
    }
}

static void submit(struct rpc_peer *peer, struct rpc *r)
{
    struct peer_socket *p = container_of(peer, struct peer_socket, peer);
    struct call *c = calloc(1, sizeof *c);
    r->rep = NULL;
    r->rep_payload = (struct slice){0};
    if (!c)
        abort(); /* a call must end exactly once and nothing is left to end it with */
    c->p = p;
    c->rpc = r;
    c->id = ++p->next_id;
    struct call **at = slot_of(p, c->id);
    *at = c;
    p->calls++;
    call_begin(c);
}

int peer_socket_create(struct loop *l, const char *path, struct peer_socket **ret_peer)
{
    if (strlen(path) > STREAM_PATH_MAX)
        return -ENAMETOOLONG;
    struct peer_socket *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    p->peer.submit = submit;
    p->loop = l;
    p->path = strdup(path);
    p->in.begin = reply_begin;
    p->in.frame = reply_came;
    p->in.ctx = p;
    if (!p->path) {
        free(p);
        return -ENOMEM;
    }
    *ret_peer = p;
    return 0;
}

struct rpc_peer *peer_socket_peer(struct peer_socket *p)
{
    return &p->peer;
}

static void closed(struct loop_post *post)
{
    struct peer_socket *p = container_of(post, struct peer_socket, closed_post);
    void (*cb)(void *ctx) = p->closed_cb;
    void *ctx = p->closed_ctx;
    p->closed_posted = false;
    if (p->calls) { /* a callback has called again: it ends with -ECANCELED, then this runs again */
        return;
    }
    free(p->path);
    free(p);
    cb(ctx);
}

static void closed_check(struct peer_socket *p)
{
    if (!p->closing || p->calls || p->closed_posted)
        return;
    p->closed_posted = true;
    p->closed_post.cb = closed;
    loop_post(p->loop, &p->closed_post);
}

void peer_socket_close(struct peer_socket *p, void (*closed_cb)(void *ctx), void *ctx)
{
    assert(!p->closing);
    p->closing = true;
    p->closed_cb = closed_cb;
    p->closed_ctx = ctx;
    p->calls++; /* until the end of this function: callbacks run here */
    connection_drop(p);
    end_all(p, -ECANCELED, -ECANCELED);
    p->calls--;
    closed_check(p);
}
