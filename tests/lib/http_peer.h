/* http_peer - a raw HTTP client for tests: a socket that says exactly what it is told, beside the server on one loop.
 *
 * Thread: the loop's; every wait turns the loop. Real time bounds each wait (PEER_WAIT_MS), so a broken server fails a
 * test and does not hang it. */
#pragma once
#include "common/arena.h"
#include "common/loop.h"

#define PEER_WAIT_MS 5000

struct peer {
    struct loop *loop;
    int fd;
    struct sbuf got;
    bool eof; /* the server closed its side */
    int err;  /* of recv or send, as ECONNRESET; 0: none */
};

void peer_open(struct peer *p, struct loop *loop, unsigned port);
void peer_open_small(struct peer *p, struct loop *loop, unsigned port, int rcvbuf); /* a small receive window */
void peer_close(struct peer *p);                             /* with unread input this resets, as close(2) does */
void peer_reset(struct peer *p);                             /* RST */
void peer_shut(struct peer *p);                              /* half-close: no more requests */
void peer_send(struct peer *p, const void *bytes, size_t n); /* all of it, turning the loop while the socket is full */
void peer_puts(struct peer *p, const char *text);
size_t peer_push(struct peer *p, const void *bytes, size_t n); /* what the socket takes now */
void peer_recv(struct peer *p);                                /* what is there now, without waiting */
bool peer_ended(struct peer *p);                               /* eof or err */
bool peer_until(struct peer *p, const char *text);             /* reads until text is in got */
bool peer_until_count(struct peer *p, const char *text, unsigned count);
bool peer_until_len(struct peer *p, size_t len);
bool peer_until_end(struct peer *p);
unsigned peer_count(const struct peer *p, const char *text);
void turns(struct loop *loop, unsigned ms); /* lets the loop run for so long */
uint64_t real_ms(void);

/* Turns the loop until cond holds; false: it did not in time. */
#define TURN_UNTIL(loop_, cond)                                                                                        \
    ({                                                                                                                 \
        uint64_t until_ = real_ms() + PEER_WAIT_MS;                                                                    \
        while (!(cond) && real_ms() < until_)                                                                          \
            turns((loop_), 0);                                                                                         \
        (cond);                                                                                                        \
    })
