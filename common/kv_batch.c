/* kv_batch - the encoding of a batch: operations one behind the other, each `op | be32 key length | be32 value length |
 * key | value`. The same bytes are applied to a database, appended to the metadata log and read back from it after a
 * crash, so the walk trusts nothing: an unknown operation or a length past the end is E_CORRUPT. */
#include "common/kv.h"

#define HEAD_BYTES 9

void kv_batch_init(struct kv_batch *b)
{
    *b = (struct kv_batch){0};
}

void kv_batch_fini(struct kv_batch *b)
{
    sbuf_fini(&b->ops);
    b->count = 0;
}

void kv_batch_clear(struct kv_batch *b)
{
    b->ops.len = 0;
    b->ops.err = 0;
    b->count = 0;
}

static void batch_add(struct kv_batch *b, int op, struct str key, struct str value)
{
    if (key.len > UINT32_MAX || value.len > UINT32_MAX) {
        b->ops.err = b->ops.err ? b->ops.err : -EINVAL;
        return;
    }
    uint8_t head[HEAD_BYTES];
    head[0] = (uint8_t)op;
    put_be32(head + 1, (uint32_t)key.len);
    put_be32(head + 5, (uint32_t)value.len);
    sbuf_add(&b->ops, head, sizeof head);
    sbuf_str(&b->ops, key);
    sbuf_str(&b->ops, value);
    b->count++;
}

void kv_batch_put(struct kv_batch *b, struct str key, struct str value)
{
    batch_add(b, KV_OP_PUT, key, value);
}

void kv_batch_del(struct kv_batch *b, struct str key)
{
    batch_add(b, KV_OP_DEL, key, STR_NONE);
}

void kv_batch_del_range(struct kv_batch *b, struct str from, struct str to)
{
    batch_add(b, KV_OP_DEL_RANGE, from, to);
}

int kv_batch_each(struct str bytes, int (*each)(void *ctx, int op, struct str key, struct str value_or_to), void *ctx)
{
    const uint8_t *p = (const uint8_t *)bytes.p;
    size_t left = bytes.len;
    while (left > 0) {
        if (left < HEAD_BYTES)
            return E_CORRUPT;
        int op = p[0];
        size_t key_len = get_be32(p + 1), value_len = get_be32(p + 5);
        left -= HEAD_BYTES;
        p += HEAD_BYTES;
        if (op < KV_OP_PUT || op > KV_OP_DEL_RANGE || key_len > left || value_len > left - key_len)
            return E_CORRUPT;
        if (op == KV_OP_DEL && value_len != 0)
            return E_CORRUPT;
        struct str key = {(const char *)p, key_len};
        struct str value = {op == KV_OP_DEL ? NULL : (const char *)p + key_len, value_len};
        int err = each(ctx, op, key, value);
        if (err)
            return err;
        p += key_len + value_len;
        left -= key_len + value_len;
    }
    return 0;
}
