/* A batch read back from a log is bytes that anybody may have damaged: the walk stays inside, and what it accepts is
 * exactly what encoding the same operations gives. */
#include "common/kv.h"
#include <stdlib.h>

static int again(void *ctx, int op, struct str key, struct str value)
{
    struct kv_batch *b = ctx;
    if (op == KV_OP_PUT)
        kv_batch_put(b, key, value);
    else if (op == KV_OP_DEL)
        kv_batch_del(b, key);
    else
        kv_batch_del_range(b, key, value);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kv_batch b;
    kv_batch_init(&b);
    int err = kv_batch_each((struct str){(const char *)data, size}, again, &b);
    if (err && err != E_CORRUPT)
        abort();
    if (!err && (b.ops.len != size || (size && memcmp(b.ops.p, data, size) != 0)))
        abort();
    kv_batch_fini(&b);
    return 0;
}
