/* chunk_index - where each fragment of a drive stands: a key-value store below, a bounded memory of entries above.
 *
 * No request waits for the kv: what it lacks is read from the segments at the next start. Changes are applied to
 * entries in the order of the log and reach the kv later, all of them up to one position of the log in one batch with
 * that position, so the kv is always the state of some moment. An entry that is pinned or not yet in the kv stays in
 * memory; that makes it the truth while a look-up is on a work thread. It is not the judge of what exists:
 * store_recover.c rebuilds it whenever anything does not fit. Thread: the loop, except chunk_get_run (work thread) and,
 * before the loop runs, everything on one thread. Memory: entries belong to the index; a pin keeps one. chunk_get is
 * embedded by the caller until it ended. Limits: CHUNK_CACHE_MAX clean entries. Errors: kv's, -ENOMEM. */
#pragma once
#include "common/kv.h"
#include "common/work.h"
#include "node/segment.h"

#define CHUNK_CACHE_MAX 16384
#define CHUNK_ROW_BYTES 48
#define CHUNK_KEY_BYTES (1 + FRAG_ID_BYTES)

struct chunk_loc {
    uint64_t segment, offset, seq; /* of the record */
    uint64_t oldest;               /* the lowest segment that may hold a record of this fragment */
    uint32_t length;               /* of the payload */
    bool many;                     /* records of it may stand in other segments than oldest, too */
};

enum chunk_state { CHUNK_UNKNOWN, CHUNK_ABSENT, CHUNK_PRESENT };

struct chunk_entry {
    uint8_t frag_id[FRAG_ID_BYTES];
    enum chunk_state state;
    struct chunk_loc loc; /* when present */
    uint64_t *sums;       /* of loc's blocks, when known; owned */
    unsigned pins;
    unsigned writers;                            /* the store's: appends of this fragment that are not applied */
    unsigned deleters;                           /* the store's: deletes of it that are not applied */
    bool dirty;                                  /* not in the kv */
    bool flushing;                               /* in the batch that is being written */
    struct chunk_entry *hash_next, *prev, *next; /* private */
};

struct chunk_list {
    struct chunk_entry *first, *last;
    size_t count;
};

struct chunk_index {
    struct kv *kv;
    struct chunk_entry **buckets;
    size_t bucket_count, count;              /* of entries */
    struct chunk_list idle, dirty, flushing; /* an entry stands in one of them, or (pinned and clean) in none */
};

int chunk_index_init(struct chunk_index *ix, struct kv *kv); /* borrows kv; -ENOMEM */
void chunk_index_fini(struct chunk_index *ix);               /* what is dirty is dropped */

/* Finds or makes the entry; NULL: out of memory. */
struct chunk_entry *chunk_pin(struct chunk_index *ix, const uint8_t frag_id[FRAG_ID_BYTES]);
void chunk_unpin(struct chunk_index *ix, struct chunk_entry *e);

/* Applies one change of the log. sums may be NULL; they are copied when memory allows. e is pinned and known. */
void chunk_put(struct chunk_index *ix, struct chunk_entry *e, const struct chunk_loc *loc, const uint64_t *sums);
void chunk_del(struct chunk_index *ix, struct chunk_entry *e);
void chunk_learn_sums(struct chunk_entry *e, const struct chunk_loc *loc, const uint64_t *sums);

/* Looks unknown entries up. begin and end on the loop, run on any thread between them. */
struct chunk_slot {
    struct chunk_entry *entry; /* pinned by the caller */
    bool ask, found;           /* private */
    struct chunk_loc loc;      /* private */
};
struct chunk_get {
    struct chunk_slot *slots;
    size_t count;
    struct kv *kv;
    int err;
};
bool chunk_get_begin(struct chunk_index *ix, struct chunk_get *g, struct chunk_slot *slots,
                     size_t count); /* false: all known */
void chunk_get_run(struct chunk_get *g);
int chunk_get_end(struct chunk_get *g);                           /* the entries are known now, or the kv's error */
int chunk_get_now(struct chunk_index *ix, struct chunk_entry *e); /* blocking: all three */

/* Adds a row for every dirty entry; they are clean once chunk_flush_end(0) was called, dirty again after an error. */
void chunk_flush_begin(struct chunk_index *ix, struct kv_batch *batch);
void chunk_flush_end(struct chunk_index *ix, int err);
