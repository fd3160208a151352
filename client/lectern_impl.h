/* lectern_impl - what the files behind lectern.h share: a job is a piece of work for the loop thread that a caller's
 * thread waits for. */
#pragma once
#include "client/client.h"
#include "client/lectern.h"
#include "client/peer_socket.h"
#include <pthread.h>

#define LECTERN_ARENA_BYTES (32 * MIB) /* one answer */
#define LECTERN_TRIES       4          /* calls that may be repeated, when the connection breaks */
#define LECTERN_PAUSE_MS    250

struct lectern {
    struct loop *loop;
    struct work *work;
    struct peer_socket *peer;
    struct client *client;
    pthread_t thread;
};

struct job {
    struct loop_post post;
    struct lectern *l;
    void (*begin)(struct job *j); /* loop thread; job_end runs once, there or later */
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool done;
    int err;
};
/* Runs it on the loop and waits for its end. Any thread but the loop's. */
int job_run(struct lectern *l, struct job *j, void (*begin)(struct job *j));
void job_end(struct job *j, int err); /* loop thread; j may be gone when it returns */

/* One metadata call, repeated when the connection broke (so: only what may be done twice). Returns 0, a negative error,
 * or the outcome. */
int lectern_call(struct lectern *l, enum rpc_type type, const void *req, struct arena *arena, void **ret_rep);
/* Our errors and rpc outcomes as the errnos of lectern.h. */
int lectern_public(int err);
void lectern_stat_of(const Pb__Object *o, struct lectern_stat *ret);
int lectern_find(struct lectern *l, const char *bucket, const char *key, bool want_inline, struct arena *a,
                 Pb__ObjectGetRep **ret_rep);
