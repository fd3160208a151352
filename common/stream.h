/* stream - connections over a Unix socket: the door to libuv's pipes.
 *
 * Thread: the loop. Memory: stream_open and accepted give owned streams; stream_close frees by itself, later; a
 * stream_write is the caller's until its cb, its bytes are borrowed until then.
 * Reading: the handler says where bytes go and gets them there; no room means no reading until stream_read.
 * Errors: -errno; the end of the peer is -ECONNRESET (also a clean one: frames end by their own length). */
#pragma once
#include "common/loop.h"
#include <sys/uio.h>

#define STREAM_IOV_MAX  6
#define STREAM_PATH_MAX 107 /* sun_path */

struct stream;
struct stream_handler {
    void (*opened)(void *ctx, int err); /* stream_open only: connected, or not (then close it) */
    void (*space)(void *ctx, uint8_t **ret_p, size_t *ret_len); /* len 0: not now */
    void (*came)(void *ctx, size_t n);                          /* n bytes are there */
    void (*ended)(void *ctx, int err);                          /* once; then close it */
    void *ctx;
};
struct stream_write {
    struct iovec iov[STREAM_IOV_MAX];
    unsigned iov_count;
    void (*cb)(struct stream_write *w, int err); /* exactly once, never inside stream_send, also when it is closed */
    /* private */
    _Alignas(16) unsigned char uv[256]; /* uv_write_t */
    struct loop_post failed;
    int err;
};

int stream_open(struct loop *l, const char *path, const struct stream_handler *h, struct stream **ret_stream);
void stream_handle(struct stream *s, const struct stream_handler *h); /* for accepted ones; then stream_read */
void stream_read(struct stream *s); /* goes on reading; nothing happens when it reads */
void stream_send(struct stream *s, struct stream_write *w);
void stream_close(struct stream *s); /* no callback but those of writes runs after it */

struct stream_server;
/* The socket file gets mode 0600 before anybody can connect; a stale one is replaced. why: one sentence. */
int stream_listen(struct loop *l, const char *path, void (*accepted)(void *ctx, struct stream *s), void *ctx,
                  struct stream_server **ret_server, char *why, size_t why_cap);
void stream_server_close(struct stream_server *s); /* and removes the file */
