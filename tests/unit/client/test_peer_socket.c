/* rpc over a Unix socket: the same client, the same node of memory, a connection between them that may break. */
#include "client/internal.h"
#include "client/peer_socket.h"
#include "common/err.h"
#include "common/wire.h"
#include "node/serve_socket.h"
#include "tests/lib/client_rig.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static const struct rig_conf six = {.k = 4, .m = 2, .stores = 6};
static uint8_t bytes[9 * MIB];
static char folder[32], path[64];

struct line {
    struct rig rig;
    struct node_socket *server;
    struct peer_socket *peer;
    bool server_closed, peer_closed;
};

static void before(void)
{
    rig_fill(bytes, sizeof bytes, 4);
    snprintf(folder, sizeof folder, "test-socket-XXXXXX");
    cr_assert(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/lectern.sock", folder);
}
static void after(void)
{
    unlink(path);
    rmdir(folder);
}
TestSuite(peer_socket, .init = before, .fini = after);

static void set_flag(void *ctx)
{
    *(bool *)ctx = true;
}

static void serve(struct line *l)
{
    char why[256];
    l->server_closed = false;
    cr_assert_eq(node_socket_open(l->rig.loop, &l->rig.peer->peer, path, &l->server, why, sizeof why), 0, "%s", why);
}

static void line_open(struct line *l)
{
    *l = (struct line){0};
    rig_open(&l->rig, &six);
    client_close(l->rig.client);
    serve(l);
    cr_assert_eq(peer_socket_create(l->rig.loop, path, &l->peer), 0);
    l->rig.via = peer_socket_peer(l->peer);
    rig_client(&l->rig, &six);
}

static void unserve(struct line *l)
{
    node_socket_close(l->server, set_flag, &l->server_closed);
    rig_until(&l->rig, &l->server_closed);
}

/* rig_close closes a client: give it one that talks to the peer itself. */
static void line_end(struct line *l)
{
    client_close(l->rig.client);
    l->peer_closed = false;
    peer_socket_close(l->peer, set_flag, &l->peer_closed);
    rig_until(&l->rig, &l->peer_closed);
    unserve(l);
    l->rig.via = NULL;
    rig_client(&l->rig, &six);
    rig_close(&l->rig);
}

Test(peer_socket, objects_go_through_it_whole)
{
    struct line l;
    line_open(&l);
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600);
    static const uint64_t sizes[] = {1, 64 * KIB + 1, 4 * MIB, 9 * MIB};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct rig_put put;
        cr_assert_eq(rig_put(&l.rig, &put, bytes, sizes[i]), 0);
        cr_assert_eq(rig_get(&l.rig, &put, 0, sizes[i], bytes, NULL), 0);
        l.rig.peer->stores[i].mode = PEER_CORRUPT;
        cr_assert_eq(rig_get(&l.rig, &put, sizes[i] / 2, sizes[i] / 3, bytes + sizes[i] / 2, NULL), 0);
        l.rig.peer->stores[i].mode = PEER_GOOD;
        rig_put_free(&l.rig, &put, i % 2);
    }
    line_end(&l);
}

Test(peer_socket, a_broken_connection_ends_calls_and_is_made_again)
{
    struct line l;
    struct rig_put put, lost;
    line_open(&l);
    cr_assert_eq(rig_put(&l.rig, &put, bytes, 5 * MIB), 0);
    for (unsigned s = 0; s < 6; s++)
        l.rig.peer->stores[s].mode = PEER_HANG;
    rig_put_start(&l.rig, &lost, &(struct rig_put_conf){.p = bytes, .n = MIB});
    while (l.rig.peer->waiting < 6)
        rig_turns(&l.rig, 1);
    node_socket_close(l.server, set_flag, &l.server_closed); /* waits for what hangs */
    rig_until(&l.rig, &lost.done);
    cr_assert_eq(lost.err, E_QUORUM);
    rig_put_free(&l.rig, &lost, false);
    for (unsigned s = 0; s < 6; s++)
        l.rig.peer->stores[s].mode = PEER_GOOD;
    peer_mem_release(l.rig.peer);
    rig_until(&l.rig, &l.server_closed);
    cr_assert_eq(rig_get(&l.rig, &put, 0, 100, bytes, NULL), E_UNAVAILABLE, "nobody listens");
    serve(&l);
    l.rig.clock.mono_now_ns += PEER_SOCKET_PAUSE_NS;
    cr_assert_eq(rig_get(&l.rig, &put, 0, 5 * MIB, bytes, NULL), 0);
    rig_put_free(&l.rig, &put, true);
    line_end(&l);
}

struct one {
    struct rpc rpc;
    struct arena arena;
    bool done;
};
static void one_done(struct rpc *r)
{
    container_of(r, struct one, rpc)->done = true;
}
static void one_start(struct one *o, struct rpc_peer *peer, enum rpc_type type, const void *req, uint64_t deadline_ns)
{
    *o = (struct one){0};
    arena_init(&o->arena, MIB);
    o->rpc = (struct rpc){.type = type, .req = req, .arena = &o->arena, .cb = one_done, .deadline_ns = deadline_ns};
    peer->submit(peer, &o->rpc);
    cr_assert(!o->done, "never inside submit");
}

Test(peer_socket, a_call_that_hangs_ends_at_its_deadline_and_its_late_reply_is_dropped)
{
    struct line l;
    struct one o;
    Pb__FragReadReq req = PB__FRAG_READ_REQ__INIT;
    uint8_t id[FRAG_ID_BYTES] = {0};
    req.frag_id = (ProtobufCBinaryData){.len = sizeof id, .data = id};
    line_open(&l);
    l.rig.peer->stores[0].mode = PEER_HANG;
    one_start(&o, l.rig.via, RPC_FRAG_READ, &req, l.rig.clock.mono_now_ns + SEC_NS);
    while (!l.rig.peer->hung)
        rig_turns(&l.rig, 1);
    rig_advance(&l.rig, SEC_NS / 2);
    cr_assert(!o.done);
    rig_advance(&l.rig, SEC_NS);
    rig_until(&l.rig, &o.done);
    cr_assert_eq(o.rpc.status, E_DEADLINE);
    arena_fini(&o.arena);
    l.rig.peer->stores[0].mode = PEER_GOOD;
    peer_mem_release(l.rig.peer);
    rig_turns(&l.rig, 20);
    one_start(&o, l.rig.via, RPC_FRAG_READ, &req, 0);
    rig_until(&l.rig, &o.done);
    cr_assert_eq(o.rpc.status, RPC_NOT_FOUND);
    arena_fini(&o.arena);
    line_end(&l);
}

Test(peer_socket, closing_ends_what_is_under_way)
{
    struct line l;
    struct one o[3];
    Pb__MapGetReq req = PB__MAP_GET_REQ__INIT;
    line_open(&l);
    for (unsigned i = 0; i < 3; i++)
        one_start(&o[i], l.rig.via, RPC_MAP_GET, &req, 0);
    client_close(l.rig.client);
    peer_socket_close(l.peer, set_flag, &l.peer_closed);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert(o[i].done);
        cr_assert_eq(o[i].rpc.status, -ECANCELED);
        arena_fini(&o[i].arena);
    }
    rig_until(&l.rig, &l.peer_closed);
    unserve(&l);
    l.rig.via = NULL;
    rig_client(&l.rig, &six);
    rig_close(&l.rig);
}

/* ---- bytes that nobody should send ---- */

static int dial(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

/* Sends bytes; returns how many come back before the end of the connection, or -1 when it stays open. */
static ssize_t answer_to(struct rig *r, const void *p, size_t n, uint8_t *ret, size_t cap)
{
    int fd = dial();
    size_t have = 0;
    cr_assert_eq(write(fd, p, n), (ssize_t)n);
    for (unsigned i = 0; i < 200; i++) {
        rig_turns(r, 1);
        ssize_t got = read(fd, ret + have, cap - have);
        if (got == 0 || (got < 0 && errno == ECONNRESET)) {
            close(fd);
            return (ssize_t)have;
        }
        have += got > 0 ? (size_t)got : 0;
        if (have >= WIRE_HEAD_BYTES)
            break;
    }
    close(fd);
    return have ? (ssize_t)have : -1;
}

Test(peer_socket, strange_bytes_end_their_connection_and_no_other)
{
    struct line l;
    struct rig_put put;
    uint8_t out[256], head[WIRE_HEAD_BYTES];
    line_open(&l);
    cr_assert_eq(rig_put(&l.rig, &put, bytes, 100000), 0);
    static const char http[] = "GET / HTTP/1.1\r\nHost: somebody-who-took-the-wrong-door\r\n\r\n";
    cr_assert_eq(answer_to(&l.rig, http, sizeof http - 1, out, sizeof out), 0);
    struct wire_head h = {.kind = WIRE_REPLY, .type = RPC_MAP_GET, .id = 1};
    wire_head_encode(&h, head);
    cr_assert_eq(answer_to(&l.rig, head, sizeof head, out, sizeof out), 0, "a reply to a server");
    h.kind = WIRE_REQUEST;
    h.type = 999;
    wire_head_encode(&h, head);
    struct wire_head back;
    cr_assert_eq(answer_to(&l.rig, head, sizeof head, out, sizeof out), WIRE_HEAD_BYTES);
    cr_assert_eq(wire_head_decode(out, &back), 0);
    cr_assert(back.id == 1 && back.kind == WIRE_REPLY && back.status == E_VERSION);
    h.type = RPC_MAP_GET;
    wire_head_encode(&h, head);
    cr_assert_eq(answer_to(&l.rig, head, sizeof head, out, sizeof out), WIRE_HEAD_BYTES);
    cr_assert_eq(wire_head_decode(out, &back), 0);
    cr_assert_eq(back.status, E_PROTOCOL, "a request without a message");
    head[20] ^= 1;
    cr_assert_eq(answer_to(&l.rig, head, sizeof head, out, sizeof out), 0, "a flipped bit");
    cr_assert_eq(rig_get(&l.rig, &put, 0, 100000, bytes, NULL), 0);
    rig_put_free(&l.rig, &put, true);
    line_end(&l);
}

Test(peer_socket, more_connections_than_allowed_are_turned_away)
{
    struct line l;
    int fds[NODE_SOCKET_CONNS];
    line_open(&l);
    for (unsigned i = 0; i < NODE_SOCKET_CONNS - 1; i++)
        fds[i] = dial();
    rig_turns(&l.rig, 20);
    uint8_t head[WIRE_HEAD_BYTES] = {0}, out[256];
    int extra = dial();
    rig_turns(&l.rig, 20);
    cr_assert_eq(read(extra, out, sizeof out), 0);
    close(extra);
    close(fds[0]);
    rig_turns(&l.rig, 20);
    cr_assert_eq(answer_to(&l.rig, head, 1, out, sizeof out), -1, "there is room again");
    for (unsigned i = 1; i < NODE_SOCKET_CONNS - 1; i++)
        close(fds[i]);
    line_end(&l);
}

Test(peer_socket, too_long_a_path_is_refused_with_a_reason)
{
    char longer[200], why[256] = "";
    struct rig r;
    struct node_socket *s;
    struct peer_socket *p;
    rig_open(&r, &six);
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = 0;
    cr_assert_eq(node_socket_open(r.loop, &r.peer->peer, longer, &s, why, sizeof why), -ENAMETOOLONG);
    cr_assert(strstr(why, "longer than"));
    cr_assert_eq(node_socket_open(r.loop, &r.peer->peer, "no/such/folder/x.sock", &s, why, sizeof why), -ENOENT);
    cr_assert(strstr(why, "no/such/folder"));
    cr_assert_eq(peer_socket_create(r.loop, longer, &p), -ENAMETOOLONG);
    rig_turns(&r, 3);
    rig_close(&r);
}
