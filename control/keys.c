/* A sorted array of pointers: look-ups outnumber changes by millions, and a change of 65,536 pointers is one memmove.
 */
#include "control/keys.h"

#include "common/err.h"
#include <stdlib.h>

void keys_init(struct keys *k, struct loop *loop)
{
    *k = (struct keys){.loop = loop};
}

static void entry_free(struct key_entry *e)
{
    explicit_bzero(e->text, strlen(e->pub.access) + 1 + strlen(e->pub.secret));
    free(e->buckets);
    free(e);
}

/* An entry that is leaving is on its own: it needs nothing of keys, which may be gone before the loop turns. */
static void entry_gone(struct loop_post *post)
{
    entry_free(container_of(post, struct key_entry, gone));
}

static void entry_leave(struct keys *k, struct key_entry *e)
{
    e->gone.cb = entry_gone;
    loop_post(k->loop, &e->gone);
}

void keys_fini(struct keys *k)
{
    for (size_t i = 0; i < k->count; i++)
        entry_free(k->items[i]);
    free(k->items);
    *k = (struct keys){0};
}

/* Where access is, or where it belongs. */
static size_t position(const struct keys *k, struct str access, bool *ret_found)
{
    size_t low = 0, high = k->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int c = str_cmp(str_c(k->items[mid]->pub.access), access);
        if (c == 0) {
            *ret_found = true;
            return mid;
        }
        if (c < 0)
            low = mid + 1;
        else
            high = mid;
    }
    *ret_found = false;
    return low;
}

const struct key_entry *keys_find(const struct keys *k, struct str access)
{
    bool found;
    size_t at = position(k, access, &found);
    return found ? k->items[at] : NULL;
}

static struct key_entry *entry_create(struct str access, struct str secret, struct str creator,
                                      const struct key_bucket *buckets, size_t bucket_count)
{
    struct key_entry *e = calloc(1, sizeof(*e) + access.len + secret.len + creator.len + 3);
    if (!e)
        return NULL;
    if (bucket_count) {
        e->buckets = malloc(bucket_count * sizeof(*buckets));
        if (!e->buckets) {
            free(e);
            return NULL;
        }
        memcpy(e->buckets, buckets, bucket_count * sizeof(*buckets));
    }
    e->bucket_count = bucket_count;
    char *p = e->text;
    e->pub.access = memcpy(p, access.p, access.len);
    e->pub.secret = memcpy(p + access.len + 1, secret.p, secret.len);
    e->pub.creator = memcpy(p + access.len + secret.len + 2, creator.p, creator.len);
    return e;
}

static int make_room(struct keys *k)
{
    if (k->count < k->cap)
        return 0;
    if (k->count == KEYS_MAX)
        return E_LIMIT;
    size_t cap = k->cap ? k->cap * 2 : 64;
    struct key_entry **items = realloc(k->items, cap * sizeof(struct key_entry *));
    if (!items)
        return -ENOMEM;
    k->items = items;
    k->cap = cap;
    return 0;
}

int keys_put(struct keys *k, struct str access, struct str secret, struct str creator, const struct key_bucket *buckets,
             size_t bucket_count)
{
    bool found;
    size_t at = position(k, access, &found);
    assert(bucket_count <= KEY_BUCKETS_MAX);
    int err = found ? 0 : make_room(k);
    if (err)
        return err;
    struct key_entry *e = entry_create(access, secret, creator, buckets, bucket_count);
    if (!e)
        return -ENOMEM;
    if (found) {
        entry_leave(k, k->items[at]);
    } else {
        memmove(k->items + at + 1, k->items + at, (k->count - at) * sizeof(struct key_entry *));
        k->count++;
    }
    k->items[at] = e;
    return 0;
}

void keys_remove(struct keys *k, struct str access)
{
    bool found;
    size_t at = position(k, access, &found);
    if (!found)
        return;
    entry_leave(k, k->items[at]);
    k->count--;
    memmove(k->items + at, k->items + at + 1, (k->count - at) * sizeof(struct key_entry *));
}
