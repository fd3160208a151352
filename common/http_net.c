/* http_net - the libuv side of the HTTP server: sockets in, sockets out.
 *
 * Input of every connection arrives in one buffer of the server, because libuv reads and reports in one breath; what a
 * connection cannot take at once it copies and stops reading. Output is tried at once (one system call, no copy) and
 * only what the kernel does not take becomes a libuv write. */
#include "common/http_impl.h"
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- input ---- */

static void read_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
    (void)suggested;
    struct http_conn *c = h->data;
    *ret = uv_buf_init((char *)c->server->read, HTTP_READ_BYTES);
}

static void read_done(uv_stream_t *h, ssize_t n, const uv_buf_t *buf)
{
    struct http_conn *c = h->data;
    if (n > 0)
        http_conn_input(c, (const uint8_t *)buf->base, (size_t)n);
    else if (n < 0)
        http_conn_input_end(c, n == UV_EOF ? 0 : -ECONNRESET);
}

void http_net_read(struct http_conn *c, bool on)
{
    if (on == c->reading)
        return;
    c->reading = on;
    if (!on)
        uv_read_stop((uv_stream_t *)&c->tcp);
    else if (uv_read_start((uv_stream_t *)&c->tcp, read_alloc, read_done) != 0)
        http_conn_fail(c, -ECONNRESET);
}

bool http_net_reset_seen(struct http_conn *c)
{
    struct tcp_info info;
    socklen_t len = sizeof info;
    uv_os_fd_t fd;
    if (uv_fileno((uv_handle_t *)&c->tcp, &fd) != 0 || getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return false;
    return info.tcpi_state == TCP_CLOSE;
}

/* ---- output ---- */

static void write_done(uv_write_t *w, int status)
{
    struct http_conn *c = w->handle->data;
    buf_unref(c->out_buf);
    free(c->out_heap);
    c->out_buf = NULL;
    c->out_heap = NULL;
    c->writes--;
    if (status < 0)
        http_conn_fail(c, -ECONNRESET);
    http_conn_run(c);
}

/* Drops n written bytes and empty parts off the front and the middle; returns how many parts are left. */
static unsigned parts_left(uv_buf_t parts[HTTP_PARTS], unsigned *volatile_mask, size_t n)
{
    unsigned count = 0, mask = 0;
    for (unsigned i = 0; i < HTTP_PARTS; i++) {
        size_t skip = MIN_OF(n, parts[i].len);
        n -= skip;
        if (parts[i].len == skip)
            continue;
        mask |= (*volatile_mask >> i & 1) << count;
        parts[count++] = uv_buf_init(parts[i].base + skip, (unsigned)(parts[i].len - skip));
    }
    *volatile_mask = mask;
    return count;
}

static bool parts_keep(struct http_conn *c, uv_buf_t *parts, unsigned count, unsigned volatile_mask)
{
    size_t n = 0;
    for (unsigned i = 0; i < count; i++)
        n += volatile_mask >> i & 1 ? parts[i].len : 0;
    if (!n)
        return true;
    char *p = c->out_heap = malloc(n);
    for (unsigned i = 0; i < count && p; i++) {
        if (!(volatile_mask >> i & 1))
            continue;
        memcpy(p, parts[i].base, parts[i].len);
        parts[i].base = p;
        p += parts[i].len;
    }
    return p != NULL;
}

static void write_begun(struct http_conn *c)
{
    c->writes++;
    c->progress_ns = c->looked_ns = http_server_now(c->server);
    c->out_seen = http_net_unsent(c);
}

int http_net_write(struct http_conn *c, uv_buf_t parts[HTTP_PARTS], unsigned volatile_mask, struct buf *buf)
{
    assert(!c->out_buf && !c->out_heap);
    ssize_t n = 0;
    unsigned count = parts_left(parts, &volatile_mask, 0);
    for (unsigned i = count; i < HTTP_PARTS; i++)
        parts[i].len = 0;
    if (count == 0)
        return 0;
    if (c->writes == 0) /* else libuv keeps the order */
        n = uv_try_write((uv_stream_t *)&c->tcp, parts, count);
    if (n == UV_EAGAIN)
        n = 0;
    if (n < 0)
        return -ECONNRESET;
    count = parts_left(parts, &volatile_mask, (size_t)n);
    size_t left = 0;
    for (unsigned i = 0; i < count; i++)
        left += parts[i].len;
    c->server->stats.out_bytes += (uint64_t)n + left;
    if (count == 0)
        return 0;
    if (!parts_keep(c, parts, count, volatile_mask))
        return -ENOMEM;
    if (uv_write(&c->write, (uv_stream_t *)&c->tcp, parts, count, write_done) != 0) {
        free(c->out_heap);
        c->out_heap = NULL;
        return -ECONNRESET;
    }
    c->out_buf = buf ? buf_ref(buf) : NULL;
    write_begun(c);
    return 1;
}

static void continue_done(uv_write_t *w, int status)
{
    struct http_conn *c = w->handle->data;
    free(w);
    c->writes--;
    if (status < 0)
        http_conn_fail(c, -ECONNRESET);
    http_conn_run(c);
}

int http_net_continue(struct http_conn *c)
{
    static char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    uv_buf_t part = uv_buf_init(text, sizeof text - 1);
    int n = c->writes ? 0 : uv_try_write((uv_stream_t *)&c->tcp, &part, 1);
    if (n == (int)part.len)
        return 0;
    if (n < 0 && n != UV_EAGAIN)
        return -ECONNRESET;
    part = uv_buf_init(text + MAX_OF(n, 0), (unsigned)(part.len - (size_t)MAX_OF(n, 0)));
    uv_write_t *w = malloc(sizeof *w);
    if (!w || uv_write(w, (uv_stream_t *)&c->tcp, &part, 1, continue_done) != 0) {
        free(w);
        return -ECONNRESET;
    }
    write_begun(c);
    return 0;
}

size_t http_net_unsent(const struct http_conn *c)
{
    return uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp);
}

/* ---- ends ---- */

static void shutdown_done(uv_shutdown_t *s, int status)
{
    struct http_conn *c = s->handle->data;
    if (status < 0 && status != UV_ECANCELED)
        http_conn_fail(c, -ECONNRESET);
    http_conn_run(c);
}

void http_net_shutdown(struct http_conn *c)
{
    if (uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, shutdown_done) != 0)
        http_conn_fail(c, -ECONNRESET);
}

static void close_done(uv_handle_t *h)
{
    struct http_conn *c = h->data;
    c->closed = true;
    http_conn_run(c);
}

void http_net_close(struct http_conn *c, bool reset)
{
    c->reading = false;
    /* A reset is refused after a shutdown: then the stream was ended properly before, and a plain close is right. */
    if (!reset || uv_tcp_close_reset(&c->tcp, close_done) != 0)
        uv_close((uv_handle_t *)&c->tcp, close_done);
}

/* ---- beginnings ---- */

/* "127.0.0.1:50312", "[::1]:50312"; an IPv4 peer of a listener for both families is written as IPv4. */
static void write_peer(struct http_conn *c)
{
    struct sockaddr_storage a = {0};
    int len = sizeof a;
    char ip[48] = "";
    const void *any = &a;
    const struct sockaddr_in *v4 = any;
    const struct sockaddr_in6 *v6 = any;
    if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&a, &len) != 0)
        return;
    bool mapped = a.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr);
    if (a.ss_family == AF_INET)
        uv_ip4_name(v4, ip, sizeof ip);
    else if (mapped)
        uv_inet_ntop(AF_INET, v6->sin6_addr.s6_addr + 12, ip, sizeof ip);
    else
        uv_ip6_name(v6, ip, sizeof ip);
    bool six = a.ss_family == AF_INET6;
    unsigned port = ntohs(six ? v6->sin6_port : v4->sin_port);
    snprintf(c->peer, sizeof c->peer, six && !mapped ? "[%s]:%u" : "%s:%u", ip, port);
}

int http_net_accept(struct http_conn *c)
{
    uv_tcp_init(loop_uv(c->server->loop), &c->tcp);
    c->tcp.data = c;
    int err = uv_accept((uv_stream_t *)&c->server->listener, (uv_stream_t *)&c->tcp);
    if (err)
        return err;
    uv_tcp_nodelay(&c->tcp, 1);
    write_peer(c);
    return 0;
}

static void connection_waits(uv_stream_t *listener, int status)
{
    struct http_server *s = listener->data;
    if (status < 0)
        return; /* out of descriptors or the peer left: libuv goes on listening */
    s->waiting = true;
    http_server_accept(s);
}

/* "HOST:PORT" with HOST an address, in brackets for IPv6; "", "*" for all of this machine's. */
static int read_address(const char *listen, struct sockaddr_storage *ret)
{
    const char *colon = strrchr(listen, ':');
    char host[64];
    uint64_t port;
    if (!colon || str_u64(str_c(colon + 1), &port) != 0 || port > 65535)
        return -EINVAL;
    struct str h = {listen, (size_t)(colon - listen)};
    if (h.len >= 2 && h.p[0] == '[' && h.p[h.len - 1] == ']')
        h = (struct str){h.p + 1, h.len - 2};
    else if (memchr(h.p, ':', h.len))
        return -EINVAL;
    if (h.len == 0 || str_eq(h, STR("*"))) {
        int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
        h = fd < 0 ? STR("0.0.0.0") : STR("::");
        if (fd >= 0)
            close(fd);
    } else if (str_eq(h, STR("localhost"))) {
        h = STR("127.0.0.1");
    }
    if (h.len >= sizeof host)
        return -EINVAL;
    snprintf(host, sizeof host, STR_FMT, STR_ARG(h));
    void *any = ret;
    if (uv_ip4_addr(host, (int)port, any) == 0 || uv_ip6_addr(host, (int)port, any) == 0)
        return 0;
    return -EINVAL;
}

int http_net_listen(struct http_server *s, const char *listen, char *why, size_t why_cap)
{
    struct sockaddr_storage a = {0};
    int len = sizeof a, err = read_address(listen, &a);
    if (err) {
        snprintf(why, why_cap, "cannot listen on \"%s\": write ADDRESS:PORT, as 127.0.0.1:9000, [::1]:9000 or :9000",
                 listen);
        return err;
    }
    const void *any = &a;
    err = uv_tcp_bind(&s->listener, any, 0);
    if (!err)
        err = uv_listen((uv_stream_t *)&s->listener, HTTP_BACKLOG, connection_waits);
    if (!err)
        err = uv_tcp_getsockname(&s->listener, (struct sockaddr *)&a, &len);
    if (err) {
        snprintf(why, why_cap, "cannot listen on %s: %s", listen, uv_strerror(err));
        return err;
    }
    s->port = ntohs(a.ss_family == AF_INET ? ((const struct sockaddr_in *)any)->sin_port
                                           : ((const struct sockaddr_in6 *)any)->sin6_port);
    return 0;
}
