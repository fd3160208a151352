/* chunk_index - entries in a hash table and in one of three lists: idle (clean and unpinned, least recently used first,
 * thrown out past CHUNK_CACHE_MAX), dirty (to be written), flushing (being written). A pinned clean entry is in none.
 *
 * Why a look-up can trust a state that it reads later: an entry exists and is pinned before the kv is asked. If a
 * change is applied meanwhile, the state is known and the kv's older answer is dropped; if none is, the kv was right.
 */
#include "node/chunk_index.h"
#include <endian.h>
#include <stdlib.h>

#define BUCKETS_LEAST 256 /* a power of two */

struct disk_loc {
    uint64_t segment, offset, seq, oldest;
    uint32_t length;
    uint8_t format, many, zero[10];
};
static_assert(sizeof(struct disk_loc) == CHUNK_ROW_BYTES, "a row's layout");

static void list_add(struct chunk_list *l, struct chunk_entry *e)
{
    e->prev = l->last;
    e->next = NULL;
    *(l->last ? &l->last->next : &l->first) = e;
    l->last = e;
    l->count++;
}

static void list_remove(struct chunk_list *l, struct chunk_entry *e)
{
    *(e->prev ? &e->prev->next : &l->first) = e->next;
    *(e->next ? &e->next->prev : &l->last) = e->prev;
    e->prev = e->next = NULL;
    assert(l->count > 0);
    l->count--;
}

static bool entry_idle(const struct chunk_entry *e)
{
    return e->pins == 0 && !e->dirty && !e->flushing;
}

static struct chunk_entry **bucket_of(struct chunk_index *ix, const uint8_t *id)
{
    return &ix->buckets[xxh64of(id, FRAG_ID_BYTES, 0) & (ix->bucket_count - 1)];
}

int chunk_index_init(struct chunk_index *ix, struct kv *kv)
{
    *ix = (struct chunk_index){.kv = kv, .bucket_count = BUCKETS_LEAST};
    ix->buckets = calloc(BUCKETS_LEAST, sizeof *ix->buckets);
    return ix->buckets ? 0 : -ENOMEM;
}

/* Without memory the chains grow longer. */
static void buckets_grow(struct chunk_index *ix)
{
    struct chunk_index to = {.bucket_count = ix->bucket_count * 4};
    to.buckets = calloc(to.bucket_count, sizeof *to.buckets);
    if (!to.buckets)
        return;
    for (size_t i = 0; i < ix->bucket_count; i++)
        for (struct chunk_entry *e = ix->buckets[i], *next; e; e = next) {
            next = e->hash_next;
            struct chunk_entry **bucket = bucket_of(&to, e->frag_id);
            e->hash_next = *bucket;
            *bucket = e;
        }
    free(ix->buckets);
    ix->buckets = to.buckets;
    ix->bucket_count = to.bucket_count;
}

static void entry_free(struct chunk_index *ix, struct chunk_entry *e)
{
    struct chunk_entry **at = bucket_of(ix, e->frag_id);
    while (*at != e)
        at = &(*at)->hash_next;
    *at = e->hash_next;
    ix->count--;
    free(e->sums);
    free(e);
}

void chunk_index_fini(struct chunk_index *ix)
{
    for (size_t i = 0; ix->buckets && i < ix->bucket_count; i++)
        while (ix->buckets[i]) {
            assert(ix->buckets[i]->pins == 0);
            entry_free(ix, ix->buckets[i]);
        }
    free(ix->buckets);
    ix->buckets = NULL;
}

struct chunk_entry *chunk_pin(struct chunk_index *ix, const uint8_t frag_id[FRAG_ID_BYTES])
{
    struct chunk_entry **bucket = bucket_of(ix, frag_id), *e = *bucket;
    while (e && memcmp(e->frag_id, frag_id, FRAG_ID_BYTES) != 0)
        e = e->hash_next;
    if (!e) {
        e = calloc(1, sizeof *e);
        if (!e)
            return NULL;
        memcpy(e->frag_id, frag_id, FRAG_ID_BYTES);
        if (ix->count >= ix->bucket_count) {
            buckets_grow(ix);
            bucket = bucket_of(ix, frag_id);
        }
        e->hash_next = *bucket;
        *bucket = e;
        ix->count++;
    } else if (entry_idle(e)) {
        list_remove(&ix->idle, e);
    }
    e->pins++;
    return e;
}

static void entry_rest(struct chunk_index *ix, struct chunk_entry *e)
{
    if (!entry_idle(e))
        return;
    assert(e->writers == 0 && e->deleters == 0);
    if (e->state == CHUNK_UNKNOWN) {
        entry_free(ix, e);
        return;
    }
    list_add(&ix->idle, e);
    if (ix->idle.count > CHUNK_CACHE_MAX) {
        struct chunk_entry *oldest = ix->idle.first;
        list_remove(&ix->idle, oldest);
        entry_free(ix, oldest);
    }
}

void chunk_unpin(struct chunk_index *ix, struct chunk_entry *e)
{
    assert(e->pins > 0);
    e->pins--;
    entry_rest(ix, e);
}

static void entry_changed(struct chunk_index *ix, struct chunk_entry *e)
{
    assert(e->pins > 0);
    free(e->sums);
    e->sums = NULL;
    if (e->dirty)
        return;
    if (e->flushing) { /* the batch under way carries the state before this change */
        list_remove(&ix->flushing, e);
        e->flushing = false;
    }
    e->dirty = true;
    list_add(&ix->dirty, e);
}

void chunk_learn_sums(struct chunk_entry *e, const struct chunk_loc *loc, const uint64_t *sums)
{
    if (e->sums || e->state != CHUNK_PRESENT || e->loc.seq != loc->seq)
        return;
    size_t bytes = segment_sum_count(loc->length) * sizeof *sums;
    e->sums = bytes ? malloc(bytes) : NULL;
    if (e->sums)
        memcpy(e->sums, sums, bytes);
}

void chunk_put(struct chunk_index *ix, struct chunk_entry *e, const struct chunk_loc *loc, const uint64_t *sums)
{
    entry_changed(ix, e);
    e->state = CHUNK_PRESENT;
    e->loc = *loc;
    if (sums)
        chunk_learn_sums(e, loc, sums);
}

void chunk_del(struct chunk_index *ix, struct chunk_entry *e)
{
    entry_changed(ix, e);
    e->state = CHUNK_ABSENT;
}

static void key_of(const uint8_t *frag_id, char key[CHUNK_KEY_BYTES])
{
    key[0] = 'f';
    memcpy(key + 1, frag_id, FRAG_ID_BYTES);
}

static int loc_decode(struct str row, struct chunk_loc *ret)
{
    struct disk_loc d;
    if (row.len != sizeof d)
        return E_CORRUPT;
    memcpy(&d, row.p, sizeof d);
    if (d.format != SEGMENT_FORMAT)
        return d.format > SEGMENT_FORMAT ? E_VERSION : E_CORRUPT;
    *ret = (struct chunk_loc){.segment = le64toh(d.segment),
                              .offset = le64toh(d.offset),
                              .seq = le64toh(d.seq),
                              .oldest = le64toh(d.oldest),
                              .length = le32toh(d.length),
                              .many = d.many != 0};
    return ret->length <= SEGMENT_PAYLOAD_MAX && ret->offset % SEGMENT_PAGE == 0 ? 0 : E_CORRUPT;
}

bool chunk_get_begin(struct chunk_index *ix, struct chunk_get *g, struct chunk_slot *slots, size_t count)
{
    bool any = false;
    *g = (struct chunk_get){.slots = slots, .count = count, .kv = ix->kv};
    for (size_t i = 0; i < count; i++) {
        assert(slots[i].entry->pins > 0);
        slots[i].ask = slots[i].entry->state == CHUNK_UNKNOWN;
        any |= slots[i].ask;
    }
    return any;
}

void chunk_get_run(struct chunk_get *g)
{
    struct arena a;
    arena_init(&a, 64 * KIB);
    for (size_t i = 0; i < g->count && g->err == 0; i++) {
        struct chunk_slot *slot = &g->slots[i];
        if (!slot->ask)
            continue;
        char key[CHUNK_KEY_BYTES];
        struct str row;
        key_of(slot->entry->frag_id, key); /* a pinned entry's id never changes */
        int err = g->kv->ops->get(g->kv, (struct str){key, sizeof key}, &a, &row);
        slot->found = err == 0;
        g->err = err == KV_NOT_FOUND ? 0 : err;
        if (err == 0)
            g->err = loc_decode(row, &slot->loc);
        if (a.used_bytes > 32 * KIB) {
            arena_fini(&a);
            arena_init(&a, 64 * KIB);
        }
    }
    arena_fini(&a);
}

int chunk_get_end(struct chunk_get *g)
{
    for (size_t i = 0; i < g->count && g->err == 0; i++) {
        struct chunk_slot *slot = &g->slots[i];
        if (!slot->ask || slot->entry->state != CHUNK_UNKNOWN)
            continue;
        slot->entry->state = slot->found ? CHUNK_PRESENT : CHUNK_ABSENT;
        slot->entry->loc = slot->loc;
    }
    return g->err;
}

int chunk_get_now(struct chunk_index *ix, struct chunk_entry *e)
{
    struct chunk_slot slot = {.entry = e};
    struct chunk_get g;
    if (!chunk_get_begin(ix, &g, &slot, 1))
        return 0;
    chunk_get_run(&g);
    return chunk_get_end(&g);
}

static void row_add(struct kv_batch *batch, const struct chunk_entry *e)
{
    char key[CHUNK_KEY_BYTES];
    key_of(e->frag_id, key);
    if (e->state == CHUNK_ABSENT) {
        kv_batch_del(batch, (struct str){key, sizeof key});
        return;
    }
    struct disk_loc d = {.segment = htole64(e->loc.segment),
                         .offset = htole64(e->loc.offset),
                         .seq = htole64(e->loc.seq),
                         .oldest = htole64(e->loc.oldest),
                         .length = htole32(e->loc.length),
                         .format = SEGMENT_FORMAT,
                         .many = e->loc.many};
    kv_batch_put(batch, (struct str){key, sizeof key}, (struct str){(const char *)&d, sizeof d});
}

void chunk_flush_begin(struct chunk_index *ix, struct kv_batch *batch)
{
    assert(ix->flushing.count == 0);
    for (struct chunk_entry *e; (e = ix->dirty.first);) {
        row_add(batch, e);
        list_remove(&ix->dirty, e);
        e->dirty = false;
        e->flushing = true;
        list_add(&ix->flushing, e);
    }
}

void chunk_flush_end(struct chunk_index *ix, int err)
{
    for (struct chunk_entry *e; (e = ix->flushing.first);) {
        list_remove(&ix->flushing, e);
        e->flushing = false;
        if (err) {
            e->dirty = true;
            list_add(&ix->dirty, e);
        } else {
            entry_rest(ix, e);
        }
    }
}
