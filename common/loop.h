/* loop - one event loop a thread (libuv behind it), timers, and the only way in from other threads: loop_post.
 *
 * Thread: everything but loop_post belongs to the loop's own thread.
 * Memory: timers and posts are embedded by the caller and must stay until their callback ran or they were cancelled. */
#pragma once
#include "common/clock.h"

struct loop;
struct uv_loop_s;

int loop_create(struct clock *clock, struct loop **ret_loop);
void loop_destroy(struct loop *l); /* after loop_run returned and all handles are closed */
int loop_run(struct loop *l);      /* until loop_stop: it waits for posts even when nothing else is left */
void loop_stop(struct loop *l);
bool loop_turn(struct loop *l); /* tests: one non-blocking turn; a test's own condition ends its loop of turns */
uint64_t loop_now_ns(struct loop *l);
struct clock *loop_clock(struct loop *l);
struct uv_loop_s *loop_uv(struct loop *l); /* for the libuv doors only (net, work, disk) */

struct loop_timer {
    void (*cb)(struct loop_timer *t);
    uint64_t at_ns;    /* private */
    size_t heap_index; /* private; 0 when idle (zero-initialise before first use) */
};
void loop_timer_start(struct loop *l, struct loop_timer *t, uint64_t after_ns); /* restarts when running */
void loop_timer_stop(struct loop *l, struct loop_timer *t);                     /* idle timer: nothing happens */
static inline bool loop_timer_armed(const struct loop_timer *t)
{
    return t->heap_index != 0;
}

/* Runs cb on the loop's thread, never inside the call, in posting order. Thread: any. */
struct loop_post {
    void (*cb)(struct loop_post *p);
    struct loop_post *next; /* private */
};
void loop_post(struct loop *l, struct loop_post *p);

/* A file descriptor watched for reading (eventfd of io_uring, curl's sockets). */
struct loop_fd;
int loop_fd_open(struct loop *l, int fd, void (*cb)(void *ctx), void *ctx, struct loop_fd **ret_fd);
void loop_fd_close(struct loop_fd *f); /* the memory goes by itself; cb never runs again; fd stays the caller's */

/* SIGINT and SIGTERM on the loop. */
int loop_on_signal(struct loop *l, int signo, void (*cb)(void *ctx, int signo), void *ctx); /* lives as long as l */
