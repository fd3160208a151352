/* loop, work, buf: timers by the clock, posts from threads, pools that push back. */
#include "common/buf.h"
#include "common/work.h"
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct timed {
    struct loop_timer timer;
    int id;
};
static int order[64], order_count;

static void note(struct loop_timer *t)
{
    order[order_count++] = container_of(t, struct timed, timer)->id;
}

Test(loop, timers_fire_in_order_of_a_manual_clock_and_never_when_stopped)
{
    struct clock_manual clock;
    clock_manual_init(&clock, 0);
    struct loop *l;
    cr_assert_eq(loop_create(&clock.clock, &l), 0);
    struct timed t[40] = {0};
    order_count = 0;
    for (int i = 0; i < 40; i++) {
        t[i].id = i * 7 % 40;
        t[i].timer.cb = note;
        loop_timer_start(l, &t[i].timer, (uint64_t)t[i].id * SEC_NS + 1);
    }
    for (int i = 0; i < 40; i++)
        if (t[i].id % 3 == 0)
            loop_timer_stop(l, &t[i].timer);
    loop_turn(l);
    cr_assert_eq(order_count, 0, "nothing is due yet");
    clock.mono_now_ns += 100 * SEC_NS;
    loop_turn(l);
    cr_assert_eq(order_count, 26);
    for (int i = 1; i < order_count; i++)
        cr_assert_lt(order[i - 1], order[i]);
    for (int i = 0; i < 40; i++)
        cr_assert_not(loop_timer_armed(&t[i].timer));
    loop_destroy(l);
}

struct poster {
    struct loop *loop;
    struct loop_post posts[1000];
    int *count;
};
static int posted;
static struct loop *posted_loop;

static void on_post(struct loop_post *p)
{
    (void)p;
    if (++posted == 4000)
        loop_stop(posted_loop);
}

static void *post_all(void *arg)
{
    struct poster *p = arg;
    for (int i = 0; i < 1000; i++) {
        p->posts[i].cb = on_post;
        loop_post(p->loop, &p->posts[i]);
    }
    return NULL;
}

Test(loop, posts_of_many_threads_all_run)
{
    struct loop *l;
    cr_assert_eq(loop_create(clock_real(), &l), 0);
    posted = 0;
    posted_loop = l;
    static struct poster p[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        p[i].loop = l;
        pthread_create(&threads[i], NULL, post_all, &p[i]);
    }
    loop_run(l);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(posted, 4000);
    loop_destroy(l);
}

static void on_fd(void *ctx)
{
    uint64_t n;
    cr_assert_eq(read(*(int *)ctx, &n, 8), 8);
    loop_stop(posted_loop);
}

Test(loop, a_watched_eventfd_wakes_the_loop)
{
    cr_assert_eq(loop_create(clock_real(), &posted_loop), 0);
    int fd = eventfd(0, EFD_NONBLOCK);
    struct loop_fd *f;
    cr_assert_eq(loop_fd_open(posted_loop, fd, on_fd, &fd, &f), 0);
    uint64_t one = 1;
    cr_assert_eq(write(fd, &one, 8), 8);
    loop_run(posted_loop);
    loop_fd_close(f);
    loop_destroy(posted_loop);
    close(fd);
}

struct job {
    struct work_req req;
    pthread_t ran_on;
};
static int jobs_done;

static void job_run(struct work_req *r)
{
    container_of(r, struct job, req)->ran_on = pthread_self();
}

static void job_done(struct work_req *r)
{
    cr_assert_not(pthread_equal(container_of(r, struct job, req)->ran_on, pthread_self()));
    if (++jobs_done == 100)
        loop_stop(posted_loop);
}

Test(work, runs_on_a_thread_and_comes_back_on_the_loop)
{
    cr_assert_eq(loop_create(clock_real(), &posted_loop), 0);
    struct work *w;
    cr_assert_eq(work_create(posted_loop, 3, &w), 0);
    static struct job jobs[100];
    jobs_done = 0;
    for (int i = 0; i < 100; i++) {
        jobs[i].req = (struct work_req){.run = job_run, .cb = job_done};
        work_submit(w, &jobs[i].req);
    }
    loop_run(posted_loop);
    cr_assert_eq(jobs_done, 100);
    work_destroy(w);
    loop_destroy(posted_loop);
}

struct waiter {
    struct bufpool_wait wait;
    struct bufpool *pool;
    struct buf *got;
    int *turn;
    int served;
};

static void take_again(struct bufpool_wait *w)
{
    struct waiter *me = container_of(w, struct waiter, wait);
    me->got = bufpool_take(me->pool, me->wait.cap);
    if (me->got)
        me->served = ++*me->turn;
    else
        bufpool_wait(me->pool, w);
}

Test(buf, a_pool_pushes_back_and_serves_waiters_first_come_first_served)
{
    struct loop *l;
    cr_assert_eq(loop_create(clock_real(), &l), 0);
    struct bufpool *pool;
    cr_assert_eq(bufpool_create(l, 64 * KIB, &pool), 0);
    struct buf *big = bufpool_take(pool, 60 * KIB);
    cr_assert_not_null(big);
    cr_assert_null(bufpool_take(pool, 8 * KIB));
    int turn = 0;
    struct waiter w[3] = {0};
    size_t caps[] = {48 * KIB, 8 * KIB, 32 * KIB};
    for (int i = 0; i < 3; i++) {
        w[i] = (struct waiter){.wait = {.cb = take_again, .cap = caps[i]}, .pool = pool, .turn = &turn};
        bufpool_wait(pool, &w[i].wait);
    }
    cr_assert_null(bufpool_take(pool, 4 * KIB), "a late small taker stands behind the waiters");
    buf_unref(big);
    for (int i = 0; i < 5; i++)
        loop_turn(l);
    cr_assert_eq(w[0].served, 1);
    cr_assert_eq(w[1].served, 2);
    cr_assert_eq(w[2].served, 0);
    buf_unref(w[0].got);
    for (int i = 0; i < 5; i++)
        loop_turn(l);
    cr_assert_eq(w[2].served, 3);
    buf_unref(w[1].got);
    buf_unref(w[2].got);
    cr_assert_eq(bufpool_used_bytes(pool), 0);
    bufpool_destroy(pool);
    loop_destroy(l);
}

Test(buf, a_cancelled_waiter_is_never_called)
{
    struct loop *l;
    cr_assert_eq(loop_create(clock_real(), &l), 0);
    struct bufpool *pool;
    cr_assert_eq(bufpool_create(l, 4 * KIB, &pool), 0);
    struct buf *b = bufpool_take(pool, 4 * KIB);
    int turn = 0;
    struct waiter w = {.wait = {.cb = take_again, .cap = 4096}, .pool = pool, .turn = &turn};
    bufpool_wait(pool, &w.wait);
    bufpool_cancel(pool, &w.wait);
    buf_unref(b);
    loop_turn(l);
    cr_assert_eq(turn, 0);
    bufpool_destroy(pool);
    loop_destroy(l);
}
