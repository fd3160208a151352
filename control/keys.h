/* keys - the access keys in memory: every S3 request looks one up. Rows are the truth, this is their copy.
 *
 * Thread: the loop. Memory: an entry that was replaced or removed stays until the loop turns, as control_key promises.
 * Limits: KEYS_MAX keys, KEY_BUCKETS_MAX buckets a key. */
#pragma once
#include "common/loop.h"
#include "control/control.h"

#define KEYS_MAX        65536
#define KEY_BUCKETS_MAX 256

struct key_bucket {
    char name[64];
    unsigned rights;
};
struct key_entry {
    struct access_key pub;
    struct key_bucket *buckets;
    size_t bucket_count;
    struct loop_post gone;
    char text[]; /* access, secret, creator */
};
struct keys {
    struct loop *loop;
    struct key_entry **items; /* sorted by access */
    size_t count, cap;
};
void keys_init(struct keys *k, struct loop *loop);
void keys_fini(struct keys *k);
const struct key_entry *keys_find(const struct keys *k, struct str access);
/* Adds or replaces. E_LIMIT, -ENOMEM. */
int keys_put(struct keys *k, struct str access, struct str secret, struct str creator, const struct key_bucket *buckets,
             size_t bucket_count);
void keys_remove(struct keys *k, struct str access);
