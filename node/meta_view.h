/* meta_view - the newest state of metadata: a database and, over it, the changes of the group that is being judged.
 *
 * A request's changes are made between meta_view_begin and meta_view_keep (or meta_view_undo, which takes back all of
 * them); what was kept stands in the batch, in order. With no change made it is a plain reader.
 * Thread: one at a time. Memory: entries live in the view's arena until fini; returned values borrow the arena given
 * or the view. Errors: kv's, -ENOMEM; KV_NOT_FOUND is the outcome of get. */
#pragma once
#include "common/kv.h"

struct meta_counters {
    uint64_t buckets, objects, repair_rows, gc_rows, revision;
};

struct view_entry;
struct view_undo;
struct meta_view {
    struct kv *base;
    struct arena arena;
    struct view_entry **entries; /* sorted by key */
    size_t count, cap;
    struct view_undo *undo; /* of the request under way, newest first */
    struct kv_batch batch;
    size_t batch_mark;
    uint32_t batch_mark_count;
    struct meta_counters counters, counters_mark;
    int err; /* sticky: a change could not be recorded */
};

void meta_view_init(struct meta_view *v, struct kv *base, size_t limit_bytes);
void meta_view_fini(struct meta_view *v);

int meta_view_get(struct meta_view *v, struct str key, struct arena *a, struct str *ret_value);
void meta_view_put(struct meta_view *v, struct str key, struct str value); /* fails sticky: v->err */
void meta_view_del(struct meta_view *v, struct str key);

void meta_view_begin(struct meta_view *v);
int meta_view_keep(struct meta_view *v); /* v->err: then everything since begin was undone */
void meta_view_undo(struct meta_view *v);

/* Forward over database and changes together; the view must not change while it is open. */
struct meta_view_iter {
    struct meta_view *view;
    struct kv_iter *base;
    size_t at; /* in view->entries */
};
int meta_view_iter_open(struct meta_view *v, struct meta_view_iter *it);
void meta_view_iter_close(struct meta_view_iter *it);
void meta_view_iter_seek(struct meta_view_iter *it, struct str key);
bool meta_view_iter_valid(struct meta_view_iter *it);
void meta_view_iter_next(struct meta_view_iter *it);
struct str meta_view_iter_key(struct meta_view_iter *it);
struct str meta_view_iter_value(struct meta_view_iter *it);
int meta_view_iter_status(struct meta_view_iter *it);
