/* buf - reference-counted, page-aligned payload that travels from socket to codec to disk and back without a copy.
 *
 * Thread: ref/unref from any thread (atomic); the bytes are written by one owner before they are shared.
 * Memory: buf_create returns owned; unref of the last reference frees (or gives back to its pool).
 * Limits: a bufpool has a byte budget; when it is used up the caller waits in a queue it embeds (back-pressure). */
#pragma once
#include "common/base.h"
#include <stdatomic.h>

#define BUF_ALIGN 4096

struct bufpool;

struct buf {
    uint8_t *data; /* aligned to BUF_ALIGN */
    size_t cap;    /* a multiple of BUF_ALIGN */
    atomic_int refs;
    struct bufpool *pool; /* NULL: plain heap */
};

/* A run inside a buf; holds no reference by itself: slice_ref/unref say when it does. */
struct slice {
    struct buf *buf;
    size_t off;
    size_t len;
};

struct buf *buf_create(size_t cap); /* returns owned, zero bytes not promised; NULL: out of memory */
struct buf *buf_ref(struct buf *b); /* shares */
void buf_unref(struct buf *b);      /* NULL is fine */

static inline uint8_t *slice_data(struct slice s)
{
    return s.buf ? s.buf->data + s.off : NULL;
}

/* A budget of bytes. Thread: the pool's loop, except that unref may come from any thread (then the waiters are woken
 * through the loop). */
struct loop;
struct bufpool_wait {
    void (*cb)(struct bufpool_wait *w); /* runs on the loop when cap bytes may be there; take again, may wait again */
    size_t cap;
    struct bufpool_wait *next, *prev; /* private */
    bool queued;                      /* private */
};
int bufpool_create(struct loop *loop, size_t budget_bytes, struct bufpool **ret_pool);
void bufpool_destroy(struct bufpool *p);                 /* every buf must be back and no waiter queued */
struct buf *bufpool_take(struct bufpool *p, size_t cap); /* returns owned; NULL: budget used up, see bufpool_wait */
void bufpool_wait(struct bufpool *p, struct bufpool_wait *w); /* caller's memory until cb or cancel; FIFO */
void bufpool_cancel(struct bufpool *p, struct bufpool_wait *w);
size_t bufpool_used_bytes(const struct bufpool *p);
