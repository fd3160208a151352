/* kv - the seam for an ordered key-value store: RocksDB (kv_rocks.c) or memory (kv_mem.c, for tests and fault loops).
 *
 * Thread: any; calls block (run them on work threads). A batch is atomic. Keys and values are bytes.
 * Errors: 0, KV_NOT_FOUND, E_KV (kv_last_error tells), E_CORRUPT, -ENOSPC, -ENOMEM.
 * Durable: after kv_write with sync, or kv_sync; an unsynced batch survives a killed process, not a power cut. */
#pragma once
#include "common/arena.h"
#include "common/err.h"

enum { KV_NOT_FOUND = 1 };
struct kv;
struct kv_iter;

struct kv_batch {
    struct sbuf ops; /* private encoding: the same bytes go to the metadata log */
    uint32_t count;
};
void kv_batch_init(struct kv_batch *b);
void kv_batch_fini(struct kv_batch *b);
void kv_batch_clear(struct kv_batch *b);
void kv_batch_put(struct kv_batch *b, struct str key, struct str value); /* fails sticky: b->ops.err */
void kv_batch_del(struct kv_batch *b, struct str key);
void kv_batch_del_range(struct kv_batch *b, struct str from, struct str to); /* [from, to) */
/* Walks a batch (also one read back from a log): returns 0 or E_CORRUPT. value.p is NULL for a delete; to is set for
 * a range delete. Bounded: never reads past bytes.len. */
int kv_batch_each(struct str bytes, int (*each)(void *ctx, int op, struct str key, struct str value_or_to), void *ctx);
enum { KV_OP_PUT = 1, KV_OP_DEL = 2, KV_OP_DEL_RANGE = 3 };

struct kv_ops {
    int (*get)(struct kv *kv, struct str key, struct arena *a, struct str *ret_value); /* value in the arena */
    int (*write)(struct kv *kv, const struct kv_batch *b, bool sync);
    int (*sync)(struct kv *kv);                        /* everything written before is durable */
    struct kv_iter *(*iter)(struct kv *kv);            /* a snapshot; NULL: out of memory */
    int (*checkpoint)(struct kv *kv, const char *dir); /* a consistent copy (hard links where possible) */
    uint64_t (*bytes)(struct kv *kv);                  /* about how much it occupies */
    void (*close)(struct kv *kv);
};
struct kv_iter_ops {
    void (*seek)(struct kv_iter *it, struct str key);      /* first key >= key */
    void (*seek_prev)(struct kv_iter *it, struct str key); /* last key <= key */
    bool (*valid)(struct kv_iter *it);
    void (*next)(struct kv_iter *it);
    void (*prev)(struct kv_iter *it);
    struct str (*key)(struct kv_iter *it); /* borrowed until the next move */
    struct str (*value)(struct kv_iter *it);
    int (*status)(struct kv_iter *it);
    void (*close)(struct kv_iter *it);
};
struct kv {
    const struct kv_ops *ops;
};
struct kv_iter {
    const struct kv_iter_ops *ops;
};

struct kv_conf {
    uint64_t block_cache_bytes;
    uint64_t memtable_bytes;
};
int kv_rocks_open(const char *dir, const struct kv_conf *conf, struct kv **ret_kv, char *why, size_t why_cap);
int kv_mem_open(struct kv **ret_kv);
/* Memory only: calls are counted from 1; the n-th from now fails with err (get, write, sync, iter as NULL, iterator
 * moves through their status). n = 0: none. Thread: any. */
void kv_mem_fail_nth(struct kv *kv, uint64_t n, int err);
bool kv_mem_fail_pending(struct kv *kv); /* the n-th call has not come yet */
/* What the last failure of this thread was, for logs; "" when there was none. */
const char *kv_last_error(void);
