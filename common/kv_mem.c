/* kv_mem - an ordered store in memory, for tests and fault loops. A skip list of keys, each with its versions, newest
 * first; an iterator is a sequence number and sees the newest version not above it. Keys never leave the list; versions
 * that no iterator can see are freed at the next write. Any call can be made the one that fails. */
#include "common/kv.h"
#include <pthread.h>
#include <stdlib.h>

#define LEVELS 16

struct version {
    struct version *older;
    uint64_t seq;
    size_t len;
    bool dead;
    char bytes[];
};
struct knode {
    struct version *newest;
    size_t key_len;
    char *key;
    struct knode *prev; /* on the lowest level; the head for the first */
    struct knode *next[LEVELS];
};
struct kv_mem {
    struct kv kv;
    pthread_mutex_t mutex;
    struct knode head;
    uint64_t seq, bytes;
    unsigned iter_count;
    uint32_t random;
    uint64_t fail_in; /* 0: no call fails */
    int fail_err;
};
struct kv_mem_iter {
    struct kv_iter it;
    struct kv_mem *mem;
    uint64_t seq;
    struct knode *at;
    int err;
};

static struct kv_mem *mem_of(struct kv *kv)
{
    return container_of(kv, struct kv_mem, kv);
}

static struct str knode_key(const struct knode *n)
{
    return (struct str){n->key, n->key_len};
}

/* Counts a call; the error when it is the chosen one. */
static int mem_call(struct kv_mem *m)
{
    if (m->fail_in == 0 || --m->fail_in > 0)
        return 0;
    return m->fail_err;
}

/* The last node whose key is < key (the head when none), and the ones before it on every level. */
static struct knode *find_before(struct kv_mem *m, struct str key, struct knode *ret_before[LEVELS])
{
    struct knode *n = &m->head;
    for (int level = LEVELS - 1; level >= 0; level--) {
        while (n->next[level] && str_cmp(knode_key(n->next[level]), key) < 0)
            n = n->next[level];
        if (ret_before)
            ret_before[level] = n;
    }
    return n;
}

static struct version *visible(const struct knode *n, uint64_t seq)
{
    struct version *v = n->newest;
    while (v && v->seq > seq)
        v = v->older;
    return v && !v->dead ? v : NULL;
}

static int mem_get(struct kv *kv, struct str key, struct arena *a, struct str *ret_value)
{
    struct kv_mem *m = mem_of(kv);
    pthread_mutex_lock(&m->mutex);
    int err = mem_call(m);
    struct knode *n = find_before(m, key, NULL)->next[0];
    struct version *v = n && str_eq(knode_key(n), key) ? visible(n, m->seq) : NULL;
    if (!err && v) {
        struct str copy = arena_str(a, (struct str){v->bytes, v->len});
        err = copy.p ? 0 : -ENOMEM;
        *ret_value = copy.p ? copy : *ret_value;
    } else if (!err) {
        err = KV_NOT_FOUND;
    }
    pthread_mutex_unlock(&m->mutex);
    return err;
}

static struct knode *knode_add(struct kv_mem *m, struct str key, struct knode *before[LEVELS])
{
    struct knode *n = calloc(1, sizeof *n);
    char *copy = malloc(key.len + 1);
    if (!n || !copy) {
        free(n);
        free(copy);
        return NULL;
    }
    if (key.len)
        memcpy(copy, key.p, key.len);
    n->key = copy;
    n->key_len = key.len;
    m->random = m->random * 1664525 + 1013904223; /* the shape of the list needs no real randomness */
    int levels = 1 + __builtin_ctz((m->random >> 8) | 1U << (LEVELS - 1));
    for (int level = 0; level < levels; level++) {
        n->next[level] = before[level]->next[level];
        before[level]->next[level] = n;
    }
    n->prev = before[0];
    if (n->next[0])
        n->next[0]->prev = n;
    return n;
}

static int version_add(struct kv_mem *m, struct str key, struct str value, bool dead)
{
    struct knode *before[LEVELS];
    struct knode *n = find_before(m, key, before)->next[0];
    if (!n || !str_eq(knode_key(n), key)) {
        if (dead)
            return 0;
        n = knode_add(m, key, before);
        if (!n)
            return -ENOMEM;
    }
    struct version *v = malloc(sizeof *v + value.len);
    if (!v)
        return -ENOMEM;
    *v = (struct version){.older = n->newest, .seq = m->seq, .len = value.len, .dead = dead};
    if (value.len)
        memcpy(v->bytes, value.p, value.len);
    n->newest = v;
    m->bytes += key.len + value.len;
    while (m->iter_count == 0 && v->older) {
        struct version *old = v->older;
        v->older = old->older;
        m->bytes -= MIN_OF(m->bytes, old->len + n->key_len);
        free(old);
    }
    return 0;
}

static int mem_apply(void *ctx, int op, struct str key, struct str value)
{
    struct kv_mem *m = ctx;
    if (op == KV_OP_PUT)
        return version_add(m, key, value, false);
    if (op == KV_OP_DEL)
        return version_add(m, key, STR_NONE, true);
    for (struct knode *n = find_before(m, key, NULL)->next[0]; n && str_cmp(knode_key(n), value) < 0; n = n->next[0]) {
        int err = version_add(m, knode_key(n), STR_NONE, true);
        if (err)
            return err;
    }
    return 0;
}

static int batch_check(void *ctx, int op, struct str key, struct str value)
{
    (void)ctx, (void)op, (void)key, (void)value;
    return 0;
}

static int mem_write(struct kv *kv, const struct kv_batch *b, bool sync)
{
    (void)sync;
    struct kv_mem *m = mem_of(kv);
    struct str bytes = {b->ops.p, b->ops.len};
    if (b->ops.err)
        return b->ops.err;
    pthread_mutex_lock(&m->mutex);
    int err = mem_call(m);
    if (!err)
        err = kv_batch_each(bytes, batch_check, NULL); /* all of a batch or nothing */
    if (!err) {
        m->seq++;
        err = kv_batch_each(bytes, mem_apply, m);
    }
    pthread_mutex_unlock(&m->mutex);
    return err;
}

static int mem_sync(struct kv *kv)
{
    struct kv_mem *m = mem_of(kv);
    pthread_mutex_lock(&m->mutex);
    int err = mem_call(m);
    pthread_mutex_unlock(&m->mutex);
    return err;
}

static int mem_checkpoint(struct kv *kv, const char *dir)
{
    (void)kv, (void)dir;
    return -ENOTSUP;
}

static uint64_t mem_bytes(struct kv *kv)
{
    struct kv_mem *m = mem_of(kv);
    pthread_mutex_lock(&m->mutex);
    uint64_t n = m->bytes;
    pthread_mutex_unlock(&m->mutex);
    return n;
}

static void mem_close(struct kv *kv)
{
    struct kv_mem *m = mem_of(kv);
    assert(m->iter_count == 0);
    for (struct knode *n = m->head.next[0], *next; n; n = next) {
        next = n->next[0];
        for (struct version *v = n->newest, *older; v; v = older) {
            older = v->older;
            free(v);
        }
        free(n->key);
        free(n);
    }
    pthread_mutex_destroy(&m->mutex);
    free(m);
}

static struct kv_mem_iter *iter_of(struct kv_iter *it)
{
    return container_of(it, struct kv_mem_iter, it);
}

/* Begins a move: false when this is the call that fails (the iterator is then invalid and says why). */
static bool move_begin(struct kv_mem_iter *i)
{
    pthread_mutex_lock(&i->mem->mutex);
    int err = mem_call(i->mem);
    i->err = i->err ? i->err : err;
    if (i->err)
        i->at = NULL;
    return !i->err;
}

static void move_end(struct kv_mem_iter *i, bool forward)
{
    while (i->at && i->at != &i->mem->head && !visible(i->at, i->seq))
        i->at = forward ? i->at->next[0] : i->at->prev;
    if (i->at == &i->mem->head)
        i->at = NULL;
    pthread_mutex_unlock(&i->mem->mutex);
}

static void iter_seek(struct kv_iter *it, struct str key)
{
    struct kv_mem_iter *i = iter_of(it);
    if (move_begin(i))
        i->at = find_before(i->mem, key, NULL)->next[0];
    move_end(i, true);
}

static void iter_seek_prev(struct kv_iter *it, struct str key)
{
    struct kv_mem_iter *i = iter_of(it);
    if (move_begin(i)) {
        struct knode *before = find_before(i->mem, key, NULL);
        struct knode *at = before->next[0];
        i->at = at && str_eq(knode_key(at), key) ? at : before;
    }
    move_end(i, false);
}

static bool iter_valid(struct kv_iter *it)
{
    return iter_of(it)->at != NULL;
}

static void iter_next(struct kv_iter *it)
{
    struct kv_mem_iter *i = iter_of(it);
    if (move_begin(i) && i->at)
        i->at = i->at->next[0];
    move_end(i, true);
}

static void iter_prev(struct kv_iter *it)
{
    struct kv_mem_iter *i = iter_of(it);
    if (move_begin(i) && i->at)
        i->at = i->at->prev;
    move_end(i, false);
}

static struct str iter_key(struct kv_iter *it)
{
    return knode_key(iter_of(it)->at);
}

static struct str iter_value(struct kv_iter *it)
{
    struct kv_mem_iter *i = iter_of(it);
    pthread_mutex_lock(&i->mem->mutex);
    struct version *v = visible(i->at, i->seq);
    pthread_mutex_unlock(&i->mem->mutex);
    assert(v);
    return (struct str){v->bytes, v->len};
}

static int iter_status(struct kv_iter *it)
{
    return iter_of(it)->err;
}

static void iter_close(struct kv_iter *it)
{
    struct kv_mem_iter *i = iter_of(it);
    pthread_mutex_lock(&i->mem->mutex);
    i->mem->iter_count--;
    pthread_mutex_unlock(&i->mem->mutex);
    free(i);
}

static const struct kv_iter_ops mem_iter_ops = {
    .seek = iter_seek,
    .seek_prev = iter_seek_prev,
    .valid = iter_valid,
    .next = iter_next,
    .prev = iter_prev,
    .key = iter_key,
    .value = iter_value,
    .status = iter_status,
    .close = iter_close,
};

static struct kv_iter *mem_iter(struct kv *kv)
{
    struct kv_mem *m = mem_of(kv);
    struct kv_mem_iter *i = calloc(1, sizeof *i);
    if (!i)
        return NULL;
    pthread_mutex_lock(&m->mutex);
    int err = mem_call(m);
    if (!err) {
        *i = (struct kv_mem_iter){.it.ops = &mem_iter_ops, .mem = m, .seq = m->seq};
        m->iter_count++;
    }
    pthread_mutex_unlock(&m->mutex);
    if (err) {
        free(i);
        return NULL;
    }
    return &i->it;
}

static const struct kv_ops mem_ops = {
    .get = mem_get,
    .write = mem_write,
    .sync = mem_sync,
    .iter = mem_iter,
    .checkpoint = mem_checkpoint,
    .bytes = mem_bytes,
    .close = mem_close,
};

int kv_mem_open(struct kv **ret_kv)
{
    struct kv_mem *m = calloc(1, sizeof *m);
    if (!m)
        return -ENOMEM;
    m->kv.ops = &mem_ops;
    m->random = 1;
    pthread_mutex_init(&m->mutex, NULL);
    *ret_kv = &m->kv;
    return 0;
}

void kv_mem_fail_nth(struct kv *kv, uint64_t n, int err)
{
    struct kv_mem *m = mem_of(kv);
    assert(kv->ops == &mem_ops);
    pthread_mutex_lock(&m->mutex);
    m->fail_in = n;
    m->fail_err = err;
    pthread_mutex_unlock(&m->mutex);
}

bool kv_mem_fail_pending(struct kv *kv)
{
    struct kv_mem *m = mem_of(kv);
    pthread_mutex_lock(&m->mutex);
    bool pending = m->fail_in > 0;
    pthread_mutex_unlock(&m->mutex);
    return pending;
}
