/* meta_view - a group's changes are a sorted array of entries over the database: a value, a deletion, or (after an
 * undo) nothing, which lets the database shine through. A group is small, so an array beats a tree. Every change leaves
 * a note of what stood there before; undo plays the notes back and cuts the batch to where the request began. */
#include "node/meta_view.h"
#include <stdlib.h>

enum entry_state { ENTRY_NONE, ENTRY_PUT, ENTRY_DEL };
struct view_entry {
    struct str key, value;
    enum entry_state state;
};
struct view_undo {
    struct view_undo *older;
    struct view_entry *entry;
    struct str value;
    enum entry_state state;
};

void meta_view_init(struct meta_view *v, struct kv *base, size_t limit_bytes)
{
    *v = (struct meta_view){.base = base};
    arena_init(&v->arena, limit_bytes);
    kv_batch_init(&v->batch);
}

void meta_view_fini(struct meta_view *v)
{
    kv_batch_fini(&v->batch);
    arena_fini(&v->arena);
    free(v->entries);
}

/* The first entry whose key is >= key. */
static size_t entry_at(const struct meta_view *v, struct str key)
{
    size_t lo = 0, hi = v->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (str_cmp(v->entries[mid]->key, key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static struct view_entry *entry_find(const struct meta_view *v, struct str key)
{
    size_t i = entry_at(v, key);
    return i < v->count && str_eq(v->entries[i]->key, key) ? v->entries[i] : NULL;
}

static struct view_entry *entry_add(struct meta_view *v, struct str key)
{
    if (v->count == v->cap) {
        size_t cap = v->cap ? v->cap * 2 : 64;
        struct view_entry **grown = realloc(v->entries, cap * sizeof *grown);
        if (!grown)
            return NULL;
        v->entries = grown;
        v->cap = cap;
    }
    struct view_entry *e = arena_alloc(&v->arena, sizeof *e);
    if (!e)
        return NULL;
    e->key = arena_str(&v->arena, key);
    if (!e->key.p)
        return NULL;
    size_t i = entry_at(v, key);
    memmove(v->entries + i + 1, v->entries + i, (v->count - i) * sizeof v->entries[0]);
    v->entries[i] = e;
    v->count++;
    return e;
}

static void view_change(struct meta_view *v, struct str key, struct str value, enum entry_state state)
{
    if (v->err)
        return;
    struct view_entry *e = entry_find(v, key);
    if (!e)
        e = entry_add(v, key);
    struct view_undo *u = arena_alloc(&v->arena, sizeof *u);
    struct str copy = state == ENTRY_PUT ? arena_str(&v->arena, value) : STR_NONE;
    if (!e || !u || (state == ENTRY_PUT && !copy.p)) {
        v->err = -ENOMEM;
        return;
    }
    *u = (struct view_undo){v->undo, e, e->value, e->state};
    v->undo = u;
    e->value = copy;
    e->state = state;
    if (state == ENTRY_PUT)
        kv_batch_put(&v->batch, key, value);
    else
        kv_batch_del(&v->batch, key);
    v->err = v->batch.ops.err;
}

void meta_view_put(struct meta_view *v, struct str key, struct str value)
{
    view_change(v, key, value, ENTRY_PUT);
}

void meta_view_del(struct meta_view *v, struct str key)
{
    view_change(v, key, STR_NONE, ENTRY_DEL);
}

int meta_view_get(struct meta_view *v, struct str key, struct arena *a, struct str *ret_value)
{
    struct view_entry *e = v->count ? entry_find(v, key) : NULL;
    if (!e || e->state == ENTRY_NONE)
        return v->base->ops->get(v->base, key, a, ret_value);
    if (e->state == ENTRY_DEL)
        return KV_NOT_FOUND;
    struct str copy = arena_str(a, e->value);
    if (!copy.p)
        return -ENOMEM;
    *ret_value = copy;
    return 0;
}

void meta_view_begin(struct meta_view *v)
{
    assert(!v->err);
    v->undo = NULL;
    v->batch_mark = v->batch.ops.len;
    v->batch_mark_count = v->batch.count;
    v->counters_mark = v->counters;
}

int meta_view_keep(struct meta_view *v)
{
    int err = v->err;
    if (err)
        meta_view_undo(v);
    v->undo = NULL;
    return err;
}

void meta_view_undo(struct meta_view *v)
{
    for (struct view_undo *u = v->undo; u; u = u->older) {
        u->entry->value = u->value;
        u->entry->state = u->state;
    }
    v->undo = NULL;
    v->batch.ops.len = v->batch_mark;
    v->batch.ops.err = 0;
    v->batch.count = v->batch_mark_count;
    v->counters = v->counters_mark;
    v->err = 0;
}

int meta_view_iter_open(struct meta_view *v, struct meta_view_iter *it)
{
    struct kv_iter *base = v->base->ops->iter(v->base);
    if (!base)
        return -ENOMEM;
    *it = (struct meta_view_iter){.view = v, .base = base, .at = v->count};
    return 0;
}

void meta_view_iter_close(struct meta_view_iter *it)
{
    it->base->ops->close(it->base);
}

static struct view_entry *iter_entry(struct meta_view_iter *it)
{
    return it->at < it->view->count ? it->view->entries[it->at] : NULL;
}

/* Below 0: the entry comes first; 0: both stand on one key; above 0: the database's row comes first. */
static int iter_order(struct meta_view_iter *it)
{
    struct view_entry *e = iter_entry(it);
    if (!it->base->ops->valid(it->base))
        return e ? -1 : 1;
    return e ? str_cmp(e->key, it->base->ops->key(it->base)) : 1;
}

/* Leaves deleted rows and entries that say nothing. */
static void iter_settle(struct meta_view_iter *it)
{
    for (struct view_entry *e = iter_entry(it); e; e = iter_entry(it)) {
        int order = iter_order(it);
        if (order > 0 || e->state == ENTRY_PUT)
            return;
        if (order == 0 && e->state == ENTRY_DEL)
            it->base->ops->next(it->base);
        it->at++;
    }
}

void meta_view_iter_seek(struct meta_view_iter *it, struct str key)
{
    it->base->ops->seek(it->base, key);
    it->at = entry_at(it->view, key);
    iter_settle(it);
}

bool meta_view_iter_valid(struct meta_view_iter *it)
{
    return iter_entry(it) || it->base->ops->valid(it->base);
}

void meta_view_iter_next(struct meta_view_iter *it)
{
    int order = iter_order(it);
    if (order >= 0 && it->base->ops->valid(it->base))
        it->base->ops->next(it->base);
    if (order <= 0)
        it->at++;
    iter_settle(it);
}

struct str meta_view_iter_key(struct meta_view_iter *it)
{
    return iter_order(it) <= 0 ? iter_entry(it)->key : it->base->ops->key(it->base);
}

struct str meta_view_iter_value(struct meta_view_iter *it)
{
    return iter_order(it) <= 0 ? iter_entry(it)->value : it->base->ops->value(it->base);
}

int meta_view_iter_status(struct meta_view_iter *it)
{
    return it->base->ops->status(it->base);
}
