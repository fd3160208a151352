/* http_peer - see the header. Sockets are non-blocking and looked at between turns of the loop. */
#include "tests/lib/http_peer.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

uint64_t real_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / MS_NS;
}

void turns(struct loop *loop, unsigned ms)
{
    uint64_t until = real_ms() + ms;
    do {
        loop_turn(loop);
        if (ms)
            usleep(200);
    } while (real_ms() < until);
}

void peer_open_small(struct peer *p, struct loop *loop, unsigned port, int rcvbuf)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *p = (struct peer){.loop = loop, .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (rcvbuf)
        setsockopt(p->fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof rcvbuf);
    if (connect(p->fd, (struct sockaddr *)&a, sizeof a) != 0) { /* the kernel answers for the backlog */
        perror("connect");
        abort();
    }
    fcntl(p->fd, F_SETFL, O_NONBLOCK);
}

void peer_open(struct peer *p, struct loop *loop, unsigned port)
{
    peer_open_small(p, loop, port, 0);
}

void peer_close(struct peer *p)
{
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
    sbuf_fini(&p->got);
}

void peer_reset(struct peer *p)
{
    struct linger l = {1, 0};
    setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
    peer_close(p);
}

void peer_shut(struct peer *p)
{
    shutdown(p->fd, SHUT_WR);
}

size_t peer_push(struct peer *p, const void *bytes, size_t n)
{
    ssize_t sent = send(p->fd, bytes, n, MSG_NOSIGNAL);
    if (sent >= 0)
        return (size_t)sent;
    if (errno != EAGAIN && !p->err)
        p->err = errno;
    return 0;
}

void peer_send(struct peer *p, const void *bytes, size_t n)
{
    const char *from = bytes;
    uint64_t until = real_ms() + PEER_WAIT_MS;
    while (n && !p->err && real_ms() < until) {
        size_t sent = peer_push(p, from, n);
        from += sent;
        n -= sent;
        loop_turn(p->loop);
    }
}

void peer_puts(struct peer *p, const char *text)
{
    peer_send(p, text, strlen(text));
}

void peer_recv(struct peer *p)
{
    char bytes[65536];
    while (!peer_ended(p)) {
        ssize_t n = recv(p->fd, bytes, sizeof bytes, 0);
        if (n > 0)
            sbuf_add(&p->got, bytes, (size_t)n);
        else if (n == 0)
            p->eof = true;
        else if (errno == EAGAIN)
            return;
        else
            p->err = errno;
    }
}

bool peer_ended(struct peer *p)
{
    return p->eof || p->err;
}

unsigned peer_count(const struct peer *p, const char *text)
{
    unsigned count = 0;
    size_t n = strlen(text);
    for (const char *at = p->got.p; at && (at = memmem(at, (size_t)(p->got.p + p->got.len - at), text, n)) != NULL;
         at += n)
        count++;
    return count;
}

bool peer_until_count(struct peer *p, const char *text, unsigned count)
{
    return TURN_UNTIL(p->loop, (peer_recv(p), peer_count(p, text) >= count || peer_ended(p))) &&
           peer_count(p, text) >= count;
}

bool peer_until(struct peer *p, const char *text)
{
    return peer_until_count(p, text, 1);
}

bool peer_until_len(struct peer *p, size_t len)
{
    return TURN_UNTIL(p->loop, (peer_recv(p), p->got.len >= len || peer_ended(p))) && p->got.len >= len;
}

bool peer_until_end(struct peer *p)
{
    return TURN_UNTIL(p->loop, (peer_recv(p), peer_ended(p)));
}
