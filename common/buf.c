/* buf - page-aligned payload with a reference count, and pools that bound how much of it is alive.
 *
 * A pool counts bytes rather than keeping slabs: sizes differ (4 KiB to 4 MiB) and glibc's aligned allocation is far
 * from any profile's top. The last unref may come from a work thread, so the count is guarded and waiters are woken by
 * a post. */
#include "common/buf.h"
#include "common/err.h"
#include "common/loop.h"
#include <pthread.h>
#include <stdlib.h>

struct bufpool {
    struct loop *loop;
    pthread_mutex_t lock;
    size_t budget_bytes, used_bytes;
    struct bufpool_wait *first, *last; /* loop only */
    struct loop_post wake;
    bool wake_posted;
    bool granting; /* a waiter's callback runs: its take is not queued behind the others */
    atomic_bool has_waiters;
};

static struct buf *buf_new(size_t cap, struct bufpool *pool)
{
    cap = align_up(cap ? cap : 1, BUF_ALIGN);
    struct buf *b = malloc(sizeof *b);
    if (!b)
        return NULL;
    b->data = aligned_alloc(BUF_ALIGN, cap);
    if (!b->data) {
        free(b);
        return NULL;
    }
    b->cap = cap;
    b->pool = pool;
    atomic_init(&b->refs, 1);
    return b;
}

struct buf *buf_create(size_t cap)
{
    return buf_new(cap, NULL);
}

struct buf *buf_ref(struct buf *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

static void pool_give(struct bufpool *p, size_t cap)
{
    pthread_mutex_lock(&p->lock);
    assert(p->used_bytes >= cap);
    p->used_bytes -= cap;
    bool wake = atomic_load(&p->has_waiters) && !p->wake_posted;
    if (wake) {
        p->wake_posted = true;
        loop_post(p->loop, &p->wake); /* under the lock: the pool cannot be destroyed before the post ran */
    }
    pthread_mutex_unlock(&p->lock);
}

void buf_unref(struct buf *b)
{
    if (!b || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
        return;
    struct bufpool *pool = b->pool;
    size_t cap = b->cap;
    free(b->data);
    free(b);
    if (pool)
        pool_give(pool, cap);
}

static bool pool_fits(struct bufpool *p, size_t cap)
{
    pthread_mutex_lock(&p->lock);
    /* A buffer larger than the whole budget is let through alone rather than waiting for ever. */
    bool fits = p->used_bytes + cap <= p->budget_bytes || p->used_bytes == 0;
    pthread_mutex_unlock(&p->lock);
    return fits;
}

static void pool_unlink(struct bufpool *p, struct bufpool_wait *w)
{
    *(w->prev ? &w->prev->next : &p->first) = w->next;
    *(w->next ? &w->next->prev : &p->last) = w->prev;
    w->next = w->prev = NULL;
    w->queued = false;
    atomic_store(&p->has_waiters, p->first != NULL);
}

/* Wakes from the head while there is room; each takes (or waits again) inside its callback. */
static void pool_woken(struct loop_post *post)
{
    struct bufpool *p = container_of(post, struct bufpool, wake);
    pthread_mutex_lock(&p->lock);
    p->wake_posted = false;
    pthread_mutex_unlock(&p->lock);
    struct bufpool_wait *last = p->last;
    for (bool more = last != NULL; more && p->first && pool_fits(p, align_up(p->first->cap, BUF_ALIGN));) {
        struct bufpool_wait *w = p->first;
        more = w != last; /* those that wait again inside their callback are for the next wake */
        pool_unlink(p, w);
        p->granting = true;
        w->cb(w);
        p->granting = false;
    }
}

int bufpool_create(struct loop *loop, size_t budget_bytes, struct bufpool **ret_pool)
{
    struct bufpool *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    p->loop = loop;
    p->budget_bytes = budget_bytes;
    p->wake.cb = pool_woken;
    pthread_mutex_init(&p->lock, NULL);
    *ret_pool = p;
    return 0;
}

void bufpool_destroy(struct bufpool *p)
{
    assert(p->used_bytes == 0 && !p->first && !p->wake_posted);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

struct buf *bufpool_take(struct bufpool *p, size_t cap)
{
    cap = align_up(cap ? cap : 1, BUF_ALIGN);
    if (p->first && !p->granting) /* first come, first served: a small taker never starves a large waiter */
        return NULL;
    pthread_mutex_lock(&p->lock);
    bool fits = p->used_bytes + cap <= p->budget_bytes || p->used_bytes == 0;
    if (fits)
        p->used_bytes += cap;
    pthread_mutex_unlock(&p->lock);
    if (!fits)
        return NULL;
    struct buf *b = buf_new(cap, p);
    if (!b)
        pool_give(p, cap);
    return b;
}

void bufpool_wait(struct bufpool *p, struct bufpool_wait *w)
{
    assert(!w->queued);
    w->queued = true;
    w->next = NULL;
    w->prev = p->last;
    *(p->last ? &p->last->next : &p->first) = w;
    p->last = w;
    atomic_store(&p->has_waiters, true);
    pthread_mutex_lock(&p->lock);
    /* Room may have come between the failed take and now, from a thread that saw no waiter. */
    bool wake = !p->wake_posted && (p->used_bytes + align_up(w->cap, BUF_ALIGN) <= p->budget_bytes || !p->used_bytes);
    if (wake) {
        p->wake_posted = true;
        loop_post(p->loop, &p->wake);
    }
    pthread_mutex_unlock(&p->lock);
}

void bufpool_cancel(struct bufpool *p, struct bufpool_wait *w)
{
    if (w->queued)
        pool_unlink(p, w);
}

size_t bufpool_used_bytes(const struct bufpool *p)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)&p->lock; /* an unref may come from a work thread meanwhile */
    pthread_mutex_lock(lock);
    size_t used = p->used_bytes;
    pthread_mutex_unlock(lock);
    return used;
}
