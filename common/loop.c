/* loop - libuv's loop with three things of ours on top: timers in a binary heap (so that a simulated clock drives them
 * too), posts from other threads, and watched descriptors.
 *
 * One uv_timer is armed for the earliest of our timers. Posts are a mutex-guarded FIFO and one uv_async, which keeps
 * the loop alive: another thread may post at any time. */
#include "common/loop.h"
#include "common/err.h"
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

struct loop {
    uv_loop_t uv;
    struct clock *clock;
    uv_timer_t alarm;
    uv_async_t wake;
    pthread_mutex_t post_lock;
    struct loop_post *post_first, **post_last;
    struct loop_timer **heap; /* heap[1] is the earliest; heap[0] unused */
    size_t heap_count, heap_cap;
    struct loop_signal *signals;
    bool closing;
};

struct loop_fd {
    uv_poll_t poll;
    void (*cb)(void *ctx);
    void *ctx;
};

struct loop_signal {
    uv_signal_t uv;
    void (*cb)(void *ctx, int signo);
    void *ctx;
    struct loop_signal *next;
};

static void posts_run(uv_async_t *async)
{
    struct loop *l = async->data;
    pthread_mutex_lock(&l->post_lock);
    struct loop_post *p = l->post_first;
    l->post_first = NULL;
    l->post_last = &l->post_first;
    pthread_mutex_unlock(&l->post_lock);
    for (struct loop_post *next; p; p = next) {
        next = p->next; /* the callback may free or reuse p */
        p->cb(p);
    }
}

void loop_post(struct loop *l, struct loop_post *p)
{
    p->next = NULL;
    pthread_mutex_lock(&l->post_lock);
    bool first = l->post_first == NULL;
    *l->post_last = p;
    l->post_last = &p->next;
    if (first) /* under the lock: loop_destroy cannot close the async between the two */
        uv_async_send(&l->wake);
    pthread_mutex_unlock(&l->post_lock);
}

static void heap_set(struct loop *l, size_t i, struct loop_timer *t)
{
    l->heap[i] = t;
    t->heap_index = i;
}

static void heap_up(struct loop *l, size_t i, struct loop_timer *t)
{
    for (; i > 1 && l->heap[i / 2]->at_ns > t->at_ns; i /= 2)
        heap_set(l, i, l->heap[i / 2]);
    heap_set(l, i, t);
}

static void heap_down(struct loop *l, size_t i, struct loop_timer *t)
{
    for (;;) {
        size_t child = i * 2;
        if (child > l->heap_count)
            break;
        if (child < l->heap_count && l->heap[child + 1]->at_ns < l->heap[child]->at_ns)
            child++;
        if (l->heap[child]->at_ns >= t->at_ns)
            break;
        heap_set(l, i, l->heap[child]);
        i = child;
    }
    heap_set(l, i, t);
}

static void alarm_cb(uv_timer_t *alarm);

static void alarm_set(struct loop *l)
{
    if (l->heap_count == 0) {
        uv_timer_stop(&l->alarm);
        return;
    }
    uint64_t now = l->clock->mono_ns(l->clock), at = l->heap[1]->at_ns;
    uint64_t ms = at > now ? (at - now + MS_NS - 1) / MS_NS : 0;
    uv_update_time(&l->uv);
    uv_timer_start(&l->alarm, alarm_cb, ms, 0);
}

static void timers_run(struct loop *l)
{
    uint64_t now = l->clock->mono_ns(l->clock);
    while (l->heap_count && l->heap[1]->at_ns <= now) {
        struct loop_timer *t = l->heap[1];
        loop_timer_stop(l, t);
        t->cb(t);
    }
}

static void alarm_cb(uv_timer_t *alarm)
{
    struct loop *l = alarm->data;
    timers_run(l);
    alarm_set(l);
}

void loop_timer_start(struct loop *l, struct loop_timer *t, uint64_t after_ns)
{
    if (t->heap_index)
        loop_timer_stop(l, t);
    t->at_ns = l->clock->mono_ns(l->clock) + after_ns;
    if (l->heap_count + 2 > l->heap_cap) {
        size_t cap = l->heap_cap ? l->heap_cap * 2 : 64;
        struct loop_timer **heap = realloc(l->heap, cap * sizeof *heap);
        if (!heap)
            abort(); /* a deadline that silently never fires would be worse */
        l->heap = heap;
        l->heap_cap = cap;
    }
    heap_up(l, ++l->heap_count, t);
    if (l->heap[1] == t)
        alarm_set(l);
}

void loop_timer_stop(struct loop *l, struct loop_timer *t)
{
    size_t i = t->heap_index;
    if (!i)
        return;
    assert(l->heap[i] == t);
    t->heap_index = 0;
    struct loop_timer *last = l->heap[l->heap_count--];
    if (last == t)
        return;
    if (i > 1 && l->heap[i / 2]->at_ns > last->at_ns)
        heap_up(l, i, last);
    else
        heap_down(l, i, last);
}

int loop_create(struct clock *clock, struct loop **ret_loop)
{
    struct loop *l = calloc(1, sizeof *l);
    if (!l)
        return -ENOMEM;
    int err = uv_loop_init(&l->uv);
    if (err) {
        free(l);
        return err;
    }
    l->clock = clock;
    l->post_last = &l->post_first;
    pthread_mutex_init(&l->post_lock, NULL);
    l->uv.data = l;
    uv_timer_init(&l->uv, &l->alarm);
    uv_async_init(&l->uv, &l->wake, posts_run);
    l->alarm.data = l->wake.data = l;
    *ret_loop = l;
    return 0;
}

static void handle_freed(uv_handle_t *h)
{
    free(h->data);
}

void loop_destroy(struct loop *l)
{
    posts_run(&l->wake);
    for (struct loop_signal *s = l->signals, *next; s; s = next) {
        next = s->next;
        s->uv.data = s;
        uv_close((uv_handle_t *)&s->uv, handle_freed);
    }
    uv_close((uv_handle_t *)&l->alarm, NULL);
    uv_close((uv_handle_t *)&l->wake, NULL);
    uv_run(&l->uv, UV_RUN_DEFAULT);
    int err = uv_loop_close(&l->uv);
    assert(err == 0 && "a handle was left open on the loop");
    (void)err;
    pthread_mutex_destroy(&l->post_lock);
    free(l->heap);
    free(l);
}

int loop_run(struct loop *l)
{
    return uv_run(&l->uv, UV_RUN_DEFAULT) < 0 ? E_LIB : 0;
}

void loop_stop(struct loop *l)
{
    uv_stop(&l->uv);
}

bool loop_turn(struct loop *l)
{
    timers_run(l); /* a simulated clock may have jumped without the kernel knowing */
    bool more = uv_run(&l->uv, UV_RUN_NOWAIT) != 0;
    alarm_set(l);
    return more || l->heap_count > 0;
}

uint64_t loop_now_ns(struct loop *l)
{
    return l->clock->mono_ns(l->clock);
}

struct clock *loop_clock(struct loop *l)
{
    return l->clock;
}

struct uv_loop_s *loop_uv(struct loop *l)
{
    return &l->uv;
}

static void fd_ready(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events; /* an error shows when the owner reads the descriptor */
    struct loop_fd *f = poll->data;
    f->cb(f->ctx);
}

int loop_fd_open(struct loop *l, int fd, void (*cb)(void *ctx), void *ctx, struct loop_fd **ret_fd)
{
    struct loop_fd *f = calloc(1, sizeof *f);
    if (!f)
        return -ENOMEM;
    int err = uv_poll_init(&l->uv, &f->poll, fd);
    if (err) {
        free(f);
        return err;
    }
    f->poll.data = f;
    f->cb = cb;
    f->ctx = ctx;
    uv_poll_start(&f->poll, UV_READABLE, fd_ready);
    uv_unref((uv_handle_t *)&f->poll); /* a watched eventfd alone does not keep the loop alive */
    *ret_fd = f;
    return 0;
}

void loop_fd_close(struct loop_fd *f)
{
    uv_poll_stop(&f->poll);
    uv_close((uv_handle_t *)&f->poll, handle_freed);
}

static void signal_cb(uv_signal_t *h, int signo)
{
    struct loop_signal *s = h->data;
    s->cb(s->ctx, signo);
}

int loop_on_signal(struct loop *l, int signo, void (*cb)(void *ctx, int signo), void *ctx)
{
    struct loop_signal *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->cb = cb;
    s->ctx = ctx;
    s->uv.data = s;
    uv_signal_init(&l->uv, &s->uv);
    int err = uv_signal_start(&s->uv, signal_cb, signo);
    uv_unref((uv_handle_t *)&s->uv);
    s->next = l->signals;
    l->signals = s;
    return err;
}
