/* work - threads of our own rather than libuv's pool: their number is a setting of Lectern, their start order is FIFO,
 * and a simulated loop can run the same code. Finished requests come back through loop_post.
 *
 * The pool keeps the loop alive while requests are out by counting nothing: whoever waits for a request holds a
 * connection or timer that does. */
#include "common/work.h"
#include "common/err.h"
#include <pthread.h>
#include <stdlib.h>

struct work {
    struct loop *loop;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct work_req *first, **last;
    bool stopping;
    unsigned thread_count;
    pthread_t threads[];
};

static void came_back(struct loop_post *p)
{
    struct work_req *r = container_of(p, struct work_req, post);
    r->cb(r);
}

static void *worker(void *arg)
{
    struct work *w = arg;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (!w->first && !w->stopping)
            pthread_cond_wait(&w->more, &w->lock);
        struct work_req *r = w->first;
        if (!r)
            break;
        w->first = r->next;
        if (!w->first)
            w->last = &w->first;
        pthread_mutex_unlock(&w->lock);
        r->run(r);
        loop_post(w->loop, &r->post);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

int work_create(struct loop *loop, unsigned thread_count, struct work **ret_work)
{
    assert(thread_count > 0);
    struct work *w = calloc(1, sizeof *w + thread_count * sizeof w->threads[0]);
    if (!w)
        return -ENOMEM;
    w->loop = loop;
    w->last = &w->first;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->more, NULL);
    for (unsigned i = 0; i < thread_count; i++) {
        int err = pthread_create(&w->threads[i], NULL, worker, w);
        if (err) {
            work_destroy(w);
            return -err;
        }
        w->thread_count++;
    }
    *ret_work = w;
    return 0;
}

void work_submit(struct work *w, struct work_req *r)
{
    r->post.cb = came_back;
    r->pool = w;
    r->next = NULL;
    pthread_mutex_lock(&w->lock);
    *w->last = r;
    w->last = &r->next;
    pthread_cond_signal(&w->more);
    pthread_mutex_unlock(&w->lock);
}

void work_destroy(struct work *w)
{
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_broadcast(&w->more);
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->thread_count; i++)
        pthread_join(w->threads[i], NULL);
    pthread_cond_destroy(&w->more);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
