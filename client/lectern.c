/* lectern - the loop thread inside the library, and the calls of lectern.h that are one metadata call.
 *
 * Everything asynchronous belongs to the loop thread; a caller's thread posts a job there and sleeps until it has
 * ended. */
#include "client/lectern_impl.h"
#include "common/log.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#define WORK_THREADS     2
#define WRITE_POOL_BYTES (96 * MIB)
#define READ_POOL_BYTES  (64 * MIB)
#define SOCKET_NAME      "lectern.sock"
#define LIST_PAGE        1000

/* ---- jobs ---- */

static void job_posted(struct loop_post *p)
{
    struct job *j = container_of(p, struct job, post);
    j->begin(j);
}

int job_run(struct lectern *l, struct job *j, void (*begin)(struct job *j))
{
    *j = (struct job){.l = l, .begin = begin, .post.cb = job_posted};
    pthread_mutex_init(&j->lock, NULL);
    pthread_cond_init(&j->ended, NULL);
    loop_post(l->loop, &j->post);
    pthread_mutex_lock(&j->lock);
    while (!j->done)
        pthread_cond_wait(&j->ended, &j->lock);
    pthread_mutex_unlock(&j->lock);
    pthread_cond_destroy(&j->ended);
    pthread_mutex_destroy(&j->lock);
    return j->err;
}

void job_end(struct job *j, int err)
{
    pthread_mutex_lock(&j->lock);
    j->err = err;
    j->done = true;
    pthread_cond_signal(&j->ended); /* under the lock: the waiter destroys both once it has it */
    pthread_mutex_unlock(&j->lock);
}

/* ---- errors ---- */

int lectern_public(int err)
{
    switch (err) {
    case RPC_NOT_FOUND:
        return -ENOENT;
    case RPC_NO_BUCKET:
        return -ENXIO;
    case RPC_CONDITION:
        return -EEXIST;
    case E_UNAVAILABLE:
    case E_LIMIT:
    case RPC_CLAIMED:
        return -EAGAIN;
    case E_DEADLINE:
    case -ECONNRESET:
        return -ETIMEDOUT;
    case E_CORRUPT:
    case E_KV:
    case E_LIB:
        return -EIO;
    case E_QUORUM:
        return -ENOSPC;
    case E_PROTOCOL:
    case E_VERSION:
        return -EPROTO;
    default:
        return err > 0 ? -EPROTO : err;
    }
}

const char *lectern_error(int err)
{
    switch (err) {
    case 0:
        return "success";
    case -ENOENT:
        return "no such object, or no server at that path";
    case -ENXIO:
        return "no such bucket";
    case -EEXIST:
        return "the object is not as the condition asks";
    case -ETIMEDOUT:
        return "no answer in time: not known whether it was done";
    case -EAGAIN:
        return "the server is not reachable or too busy";
    case -EIO:
        return "stored bytes are missing or damaged beyond repair";
    case -ENOSPC:
        return "too few drives are fit to take this write";
    case -EPROTO:
        return "the server speaks another version of the protocol";
    default:
        return err_text(err);
    }
}

/* ---- opening and closing ---- */

static void *loop_thread(void *arg)
{
    struct lectern *l = arg;
    loop_run(l->loop);
    return NULL;
}

struct open_job {
    struct job job;
    const char *path;
};

static void opened(void *ctx, int err)
{
    struct open_job *o = ctx;
    job_end(&o->job, err);
}

static void open_begin(struct job *j)
{
    struct open_job *o = container_of(j, struct open_job, job);
    struct lectern *l = j->l;
    struct client_conf conf = {.write_pool_bytes = WRITE_POOL_BYTES, .read_pool_bytes = READ_POOL_BYTES};
    int err = peer_socket_create(l->loop, o->path, &l->peer);
    if (!err)
        err = client_open(l->loop, l->work, peer_socket_peer(l->peer), &conf, &l->client, opened, o);
    if (err)
        job_end(j, err);
}

static void close_ended(void *ctx)
{
    struct job *j = ctx;
    loop_stop(j->l->loop);
    job_end(j, 0);
}

static void close_drained(void *ctx)
{
    struct job *j = ctx;
    client_close(j->l->client);
    peer_socket_close(j->l->peer, close_ended, j);
}

static void close_begin(struct job *j)
{
    if (j->l->client)
        client_drain(j->l->client, close_drained, j);
    else if (j->l->peer)
        peer_socket_close(j->l->peer, close_ended, j);
    else
        close_ended(j);
}

/* The thread inherits a mask that blocks every signal: they are the program's. */
static int thread_start(struct lectern *l)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = work_create(l->loop, WORK_THREADS, &l->work);
    if (!err) {
        err = -pthread_create(&l->thread, NULL, loop_thread, l);
        if (err)
            work_destroy(l->work);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}

static int socket_path(const char *path, char *ret, size_t cap)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return -errno;
    int n = snprintf(ret, cap, "%s%s", path, S_ISDIR(st.st_mode) ? "/" SOCKET_NAME : "");
    if (n < 0 || (size_t)n >= cap)
        return -ENAMETOOLONG;
    return stat(ret, &st) == 0 ? 0 : -errno;
}

int lectern_open(const char *path, struct lectern **ret_lectern)
{
    char socket[4096];
    int err = socket_path(path, socket, sizeof socket);
    if (err)
        return err;
    struct lectern *l = calloc(1, sizeof *l);
    if (!l)
        return -ENOMEM;
    log_set_level(LOG_ERROR);
    err = loop_create(clock_real(), &l->loop);
    if (!err && (err = thread_start(l)))
        loop_destroy(l->loop);
    if (err) {
        free(l);
        return err;
    }
    struct open_job o = {.path = socket};
    err = job_run(l, &o.job, open_begin);
    if (err) {
        lectern_close(l);
        return lectern_public(err);
    }
    *ret_lectern = l;
    return 0;
}

void lectern_close(struct lectern *l)
{
    struct job j;
    if (!l)
        return;
    job_run(l, &j, close_begin);
    pthread_join(l->thread, NULL);
    work_destroy(l->work);
    loop_destroy(l->loop);
    free(l);
}

/* ---- one metadata call ---- */

struct call_job {
    struct job job;
    struct rpc rpc;
};

static void call_ended(struct rpc *r)
{
    struct call_job *c = container_of(r, struct call_job, rpc);
    buf_unref(r->rep_payload.buf);
    job_end(&c->job, r->status);
}

static void call_begin(struct job *j)
{
    struct call_job *c = container_of(j, struct call_job, job);
    client_call(j->l->client, &c->rpc);
}

/* A read may be asked for again whatever became of it. A change may not: one that was done and then replaced by
 * somebody else's would be done a second time (the requests carry no id by which the node could tell). */
static bool repeatable(enum rpc_type type)
{
    return type == RPC_OBJECT_GET || type == RPC_OBJECT_LIST || type == RPC_BUCKET_GET || type == RPC_BUCKET_LIST ||
           type == RPC_STATUS || type == RPC_MAP_GET;
}

int lectern_call(struct lectern *l, enum rpc_type type, const void *req, struct arena *arena, void **ret_rep)
{
    struct call_job c;
    int err = 0;
    for (unsigned i = 0; i < LECTERN_TRIES; i++) {
        c.rpc = (struct rpc){.type = type, .req = req, .arena = arena, .cb = call_ended};
        err = job_run(l, &c.job, call_begin);
        if (err != E_UNAVAILABLE && !(err == -ECONNRESET && repeatable(type)))
            break; /* E_UNAVAILABLE: it never reached the node, or the node turned it away untouched */
        nanosleep(&(struct timespec){.tv_nsec = LECTERN_PAUSE_MS * 1000000L}, NULL);
    }
    if (ret_rep)
        *ret_rep = c.rpc.rep;
    return err == 0 && ret_rep && !c.rpc.rep ? E_PROTOCOL : err;
}

/* ---- stat, delete, list ---- */

static ProtobufCBinaryData bin_of(const char *text)
{
    return (ProtobufCBinaryData){.len = text ? strlen(text) : 0, .data = (uint8_t *)(uintptr_t)text};
}

void lectern_stat_of(const Pb__Object *o, struct lectern_stat *ret)
{
    *ret = (struct lectern_stat){.size = o->size, .mtime_ms = o->mtime_ms};
    snprintf(ret->etag, sizeof ret->etag, "%s", o->etag);
    for (size_t i = 0; i < o->n_headers; i++) {
        const Pb__Pair *p = o->headers[i];
        if (strcmp(p->name, "content-type") == 0)
            snprintf(ret->content_type, sizeof ret->content_type, "%.*s", (int)MIN_OF(p->value.len, 255),
                     (const char *)p->value.data);
    }
    memcpy(ret->version, o->version_id.data, MIN_OF(o->version_id.len, sizeof ret->version));
}

int lectern_find(struct lectern *l, const char *bucket, const char *key, bool want_inline, struct arena *a,
                 Pb__ObjectGetRep **ret_rep)
{
    Pb__ObjectGetReq req = PB__OBJECT_GET_REQ__INIT;
    void *rep = NULL;
    req.bucket = (char *)(uintptr_t)bucket;
    req.key = bin_of(key);
    req.want_inline = want_inline;
    int err = lectern_call(l, RPC_OBJECT_GET, &req, a, &rep);
    if (!err && !((Pb__ObjectGetRep *)rep)->object)
        err = E_PROTOCOL;
    if (!err)
        *ret_rep = rep;
    return err;
}

int lectern_stat(struct lectern *l, const char *bucket, const char *key, struct lectern_stat *ret_stat)
{
    struct arena a;
    Pb__ObjectGetRep *rep;
    arena_init(&a, LECTERN_ARENA_BYTES);
    int err = lectern_find(l, bucket, key, false, &a, &rep);
    if (!err)
        lectern_stat_of(rep->object, ret_stat);
    arena_fini(&a);
    return lectern_public(err);
}

int lectern_delete(struct lectern *l, const char *bucket, const char *key)
{
    Pb__ObjectDeleteReq req = PB__OBJECT_DELETE_REQ__INIT;
    ProtobufCBinaryData k = bin_of(key);
    struct arena a;
    req.bucket = (char *)(uintptr_t)bucket;
    req.keys = &k;
    req.n_keys = 1;
    arena_init(&a, LECTERN_ARENA_BYTES);
    int err = lectern_call(l, RPC_OBJECT_DELETE, &req, &a, NULL);
    arena_fini(&a);
    return lectern_public(err);
}

/* Hands one page over. Returns what each returned, or an error. */
static int list_page(struct arena *a, const Pb__ObjectListRep *rep,
                     int (*each)(void *ctx, const struct lectern_entry *e), void *ctx)
{
    int err = 0;
    for (size_t i = 0; i < rep->n_entries && !err; i++) {
        const Pb__ListEntry *e = rep->entries[i];
        struct lectern_entry out = {
            .key = arena_copy(a, e->key.data, e->key.len), .is_prefix = e->is_prefix, .etag = ""};
        if (!out.key)
            return -ENOMEM;
        if (e->object) {
            out.size = e->object->size;
            out.mtime_ms = e->object->mtime_ms;
            out.etag = e->object->etag;
        }
        err = each(ctx, &out);
    }
    return err;
}

int lectern_list(struct lectern *l, const char *bucket, const char *prefix, const char *delimiter, const char *after,
                 int (*each)(void *ctx, const struct lectern_entry *e), void *ctx)
{
    Pb__ObjectListReq req = PB__OBJECT_LIST_REQ__INIT;
    struct arena pages[2]; /* one holds where the next page begins while the other is filled */
    bool more = true;
    int err = 0;
    req.bucket = (char *)(uintptr_t)bucket;
    req.prefix = bin_of(prefix);
    req.delimiter = bin_of(delimiter);
    req.after = bin_of(after);
    req.limit = LIST_PAGE;
    arena_init(&pages[0], LECTERN_ARENA_BYTES);
    arena_init(&pages[1], LECTERN_ARENA_BYTES);
    for (unsigned page = 0; more && !err; page ^= 1) {
        void *rep = NULL;
        arena_fini(&pages[page]);
        arena_init(&pages[page], LECTERN_ARENA_BYTES);
        err = lectern_public(lectern_call(l, RPC_OBJECT_LIST, &req, &pages[page], &rep));
        if (err)
            break;
        const Pb__ObjectListRep *list = rep;
        err = list_page(&pages[page], list, each, ctx);
        more = list->truncated && list->next_after.len > 0;
        req.after = list->next_after;
        req.after_is_prefix = list->n_entries && list->entries[list->n_entries - 1]->is_prefix;
    }
    arena_fini(&pages[0]);
    arena_fini(&pages[1]);
    return err;
}
