/* work - the seam for blocking or long work: a bounded pool of threads; the end comes back on the loop.
 *
 * Thread: submit on the loop; run() on a pool thread; cb() on the loop, never inside submit.
 * Memory: the request is the caller's until cb. */
#pragma once
#include "common/loop.h"

struct work;
struct work_req {
    void (*run)(struct work_req *r); /* pool thread: must touch only what the request owns */
    void (*cb)(struct work_req *r);  /* loop */
    struct loop_post post;           /* private */
    struct work_req *next;           /* private */
    struct work *pool;               /* private */
};

int work_create(struct loop *loop, unsigned thread_count, struct work **ret_work);
void work_submit(struct work *w, struct work_req *r); /* cannot fail; FIFO start order */
void work_destroy(struct work *w); /* waits for running requests; all callbacks must have run or the loop be stopped */
