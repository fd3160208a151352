/* kv_sim - passes everything to a kv_mem and keeps every batch with the step of the disk's trace at which it was there,
 * and whether it was synced. */
#include "tests/lib/kv_sim.h"
#include <pthread.h>
#include <stdlib.h>

struct kept {
    struct kv_batch batch;
    size_t step;
    bool synced;
};
struct kv_sim {
    struct kv kv;
    struct kv *mem;
    struct disk_sim *disk;
    pthread_mutex_t lock;
    struct kept *kept;
    size_t count, cap;
};

static struct kv_sim *sim_of(struct kv *kv)
{
    return container_of(kv, struct kv_sim, kv);
}

static int sim_get(struct kv *kv, struct str key, struct arena *a, struct str *ret_value)
{
    struct kv *mem = sim_of(kv)->mem;
    return mem->ops->get(mem, key, a, ret_value);
}

static void keep(struct kv_sim *s, const struct kv_batch *b, bool synced)
{
    if (s->count == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 64;
        s->kept = realloc(s->kept, s->cap * sizeof *s->kept);
        if (!s->kept)
            abort();
    }
    struct kept *k = &s->kept[s->count++];
    *k = (struct kept){.synced = synced};
    kv_batch_init(&k->batch);
    if (b) {
        sbuf_add(&k->batch.ops, b->ops.p, b->ops.len);
        k->batch.count = b->count;
    }
    k->step = disk_sim_note(s->disk);
}

static int sim_write(struct kv *kv, const struct kv_batch *b, bool sync)
{
    struct kv_sim *s = sim_of(kv);
    pthread_mutex_lock(&s->lock);
    int err = s->mem->ops->write(s->mem, b, sync);
    if (err == 0)
        keep(s, b, sync);
    pthread_mutex_unlock(&s->lock);
    return err;
}

static int sim_sync(struct kv *kv)
{
    struct kv_sim *s = sim_of(kv);
    pthread_mutex_lock(&s->lock);
    int err = s->mem->ops->sync(s->mem);
    if (err == 0)
        keep(s, NULL, true);
    pthread_mutex_unlock(&s->lock);
    return err;
}

static struct kv_iter *sim_iter(struct kv *kv)
{
    struct kv *mem = sim_of(kv)->mem;
    return mem->ops->iter(mem);
}

static int sim_checkpoint(struct kv *kv, const char *dir)
{
    struct kv *mem = sim_of(kv)->mem;
    return mem->ops->checkpoint(mem, dir);
}

static uint64_t sim_bytes(struct kv *kv)
{
    struct kv *mem = sim_of(kv)->mem;
    return mem->ops->bytes(mem);
}

static void sim_close(struct kv *kv)
{
    struct kv_sim *s = sim_of(kv);
    s->mem->ops->close(s->mem);
    for (size_t i = 0; i < s->count; i++)
        kv_batch_fini(&s->kept[i].batch);
    pthread_mutex_destroy(&s->lock);
    free(s->kept);
    free(s);
}

static const struct kv_ops sim_ops = {.get = sim_get,
                                      .write = sim_write,
                                      .sync = sim_sync,
                                      .iter = sim_iter,
                                      .checkpoint = sim_checkpoint,
                                      .bytes = sim_bytes,
                                      .close = sim_close};

/* What is in it already is there whatever is cut: one synced batch before the first step. */
static int begin(struct kv_sim *s)
{
    struct kv_batch all;
    kv_batch_init(&all);
    struct kv_iter *it = s->mem->ops->iter(s->mem);
    if (!it)
        return -ENOMEM;
    for (it->ops->seek(it, STR("")); it->ops->valid(it); it->ops->next(it))
        kv_batch_put(&all, it->ops->key(it), it->ops->value(it));
    it->ops->close(it);
    keep(s, &all, true);
    s->kept[0].step = 0;
    kv_batch_fini(&all);
    return 0;
}

int kv_sim_wrap(struct disk_sim *disk, struct kv *mem, struct kv **ret_kv)
{
    struct kv_sim *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->kv.ops = &sim_ops;
    s->mem = mem;
    s->disk = disk;
    pthread_mutex_init(&s->lock, NULL);
    *ret_kv = &s->kv;
    return begin(s);
}

int kv_sim_create(struct disk_sim *disk, struct kv **ret_kv)
{
    struct kv *mem;
    int err = kv_mem_open(&mem);
    return err ? err : kv_sim_wrap(disk, mem, ret_kv);
}

/* Batches that are there when `steps` had happened, and those of them that a sync has made durable. */
static size_t there_at(const struct kv_sim *s, size_t steps, size_t *ret_synced)
{
    size_t there = 0;
    *ret_synced = 0;
    for (; there < s->count && (s->kept[there].step < steps || there == 0); there++)
        if (s->kept[there].synced)
            *ret_synced = there + 1;
    return there;
}

static int put_back(const struct kv_sim *s, struct kv *to, size_t from, size_t n)
{
    int err = 0;
    for (size_t i = from; err == 0 && i < n; i++)
        err = s->kept[i].batch.count ? to->ops->write(to, &s->kept[i].batch, false) : 0;
    return err;
}

int kv_sim_cut(struct kv *kv, size_t steps, bool keep_all, uint64_t seed, struct kv **ret_kv)
{
    struct kv_sim *s = sim_of(kv);
    size_t synced, there = there_at(s, steps, &synced);
    size_t n = keep_all ? there : synced + (size_t)(seed % (there - synced + 1));
    struct kv *to;
    int err = kv_mem_open(&to);
    if (err == 0)
        err = put_back(s, to, 0, n);
    if (err == 0)
        *ret_kv = to;
    return err;
}

int kv_sim_cut_hole(struct kv *kv, size_t steps, uint64_t seed, struct kv **ret_kv)
{
    struct kv_sim *s = sim_of(kv);
    size_t synced, there = there_at(s, steps, &synced), from = synced + (size_t)(seed % (there - synced + 1));
    size_t to_piece = from + (size_t)(seed / 3 % (there - from + 1));
    struct kv *to;
    int err = kv_mem_open(&to);
    if (err == 0)
        err = put_back(s, to, 0, from);
    if (err == 0)
        err = put_back(s, to, to_piece, there);
    if (err == 0)
        *ret_kv = to;
    return err;
}

void kv_sim_fail_nth(struct kv *kv, uint64_t n, int err)
{
    kv_mem_fail_nth(sim_of(kv)->mem, n, err);
}

bool kv_sim_fail_pending(struct kv *kv)
{
    return kv_mem_fail_pending(sim_of(kv)->mem);
}
