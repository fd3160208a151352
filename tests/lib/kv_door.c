/* kv_door - hands every call on, but close. */
#include "tests/lib/kv_door.h"
#include <stdlib.h>

atomic_uint kv_door_writes;

struct kv_door {
    struct kv kv;
    struct kv *real;
};

static struct kv *behind(struct kv *kv)
{
    return container_of(kv, struct kv_door, kv)->real;
}

static int door_get(struct kv *kv, struct str key, struct arena *a, struct str *ret_value)
{
    return behind(kv)->ops->get(behind(kv), key, a, ret_value);
}

static int door_write(struct kv *kv, const struct kv_batch *b, bool sync)
{
    atomic_fetch_add(&kv_door_writes, 1);
    return behind(kv)->ops->write(behind(kv), b, sync);
}

static int door_sync(struct kv *kv)
{
    return behind(kv)->ops->sync(behind(kv));
}

static struct kv_iter *door_iter(struct kv *kv)
{
    return behind(kv)->ops->iter(behind(kv));
}

static int door_checkpoint(struct kv *kv, const char *dir)
{
    return behind(kv)->ops->checkpoint(behind(kv), dir);
}

static uint64_t door_bytes(struct kv *kv)
{
    return behind(kv)->ops->bytes(behind(kv));
}

static void door_close(struct kv *kv)
{
    free(container_of(kv, struct kv_door, kv));
}

static const struct kv_ops door_ops = {
    .get = door_get,
    .write = door_write,
    .sync = door_sync,
    .iter = door_iter,
    .checkpoint = door_checkpoint,
    .bytes = door_bytes,
    .close = door_close,
};

int kv_door_open(struct kv *real, struct kv **ret_kv)
{
    struct kv_door *d = calloc(1, sizeof *d);
    if (!d)
        return -ENOMEM;
    d->kv.ops = &door_ops;
    d->real = real;
    *ret_kv = &d->kv;
    return 0;
}
