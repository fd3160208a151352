/* node_gc - deletes the fragments of extents that no object names any more, as the metadata service asks. Every
 * fragment is asked for at its home and, where the extent was written around a sick drive, at its handoff. Ids are
 * gathered into one batch a drive; when one is full all are sent, and the walk goes on when they came back.
 *
 * A drive that cannot delete counts as unreachable for the rest of the run, so that one that dies does not keep the
 * space of all the others. What it should have deleted is remembered, up to NODE_GC_LEFT_MAX ids until the node stops,
 * and tried first by the next run; what is forgotten is left for scrub. */
#include "common/log.h"
#include "common/metrics.h"
#include "node/node_impl.h"
#include "replication/stripe.h"
#include <stdlib.h>

#define GC_BATCH 512

struct gc_batch {
    struct node_gc *gc;
    struct store_delete delete;
    bool failed; /* in this run */
    uint8_t ids[GC_BATCH][FRAG_ID_BYTES];
};
struct node_gc {
    struct node *node;
    Pb__Extent *const *extents;
    size_t count, at; /* the extent being walked */
    uint32_t stripe;
    void (*done)(void *arg, int err);
    void *arg;
    int err;
    size_t pending;
    struct loop_post post;
    struct gc_batch batches[]; /* one a drive */
};

static void gc_walk(struct node_gc *gc);

static void gc_end(struct node_gc *gc)
{
    struct node *n = gc->node;
    gc->done(gc->arg, gc->err);
    free(gc);
    n->gcs--;
    node_idle(n);
}

static void gc_keep(struct node_drive *d, const uint8_t (*ids)[FRAG_ID_BYTES], size_t count)
{
    count = MIN_OF(count, NODE_GC_LEFT_MAX - d->gc_left_count);
    if (d->gc_left_count + count > d->gc_left_cap) {
        size_t cap = MAX_OF(d->gc_left_cap * 2, d->gc_left_count + GC_BATCH);
        uint8_t(*more)[FRAG_ID_BYTES] = realloc(d->gc_left, cap * FRAG_ID_BYTES);
        if (!more)
            return;
        d->gc_left = more;
        d->gc_left_cap = cap;
    }
    memcpy(d->gc_left + d->gc_left_count, ids, count * FRAG_ID_BYTES);
    d->gc_left_count += count;
}

/* What earlier runs could not delete goes first. */
static void gc_again(struct node_gc *gc)
{
    for (size_t i = 0; i < gc->node->map->n_stores; i++) {
        struct node_drive *d = &gc->node->drives[i];
        struct gc_batch *b = &gc->batches[i];
        if (d->gc_left_count == 0 || b->failed || b->delete.count > 0)
            continue;
        size_t n = MIN_OF(d->gc_left_count, (size_t)GC_BATCH);
        d->gc_left_count -= n;
        memcpy(b->ids, d->gc_left + d->gc_left_count, n * FRAG_ID_BYTES);
        b->delete.count = n;
    }
}

static void gc_add(struct node_gc *gc, uint32_t store, const uint8_t id[FRAG_ID_BYTES])
{
    if (store >= gc->node->map->n_stores || gc->node->drives[store].state != NODE_DRIVE_OPEN)
        return; /* scrub finds what is left there */
    struct gc_batch *b = &gc->batches[store];
    if (b->failed || b->delete.count == GC_BATCH) /* full: gc_room keeps from it as long as extents keep their rules */
        gc_keep(&gc->node->drives[store], (const uint8_t(*)[FRAG_ID_BYTES])id, 1);
    else
        memcpy(b->ids[b->delete.count++], id, FRAG_ID_BYTES);
}

static void gc_stripe(struct node_gc *gc, const Pb__Extent *e, uint32_t index)
{
    struct stripe s = extent_stripe(e, index);
    uint8_t id[STRIPE_ID_BYTES], frag[FRAG_ID_BYTES];
    stripe_id(e->write_id.data, index, id);
    const uint16_t *row = ring_row(&gc->node->ring, ring_pg(&gc->node->ring, id));
    for (unsigned f = 0; f < s.k + s.m; f++) {
        if (!stripe_has(&s, f))
            continue;
        frag_id(e->write_id.data, index, f, frag);
        if (f < gc->node->ring.width)
            gc_add(gc, row[f], frag);
        for (size_t h = 0; h < e->n_handoffs; h++)
            if (e->handoffs[h]->stripe == index && e->handoffs[h]->fragment == f)
                gc_add(gc, e->handoffs[h]->store, frag);
    }
}

static void gc_failed(struct gc_batch *b)
{
    struct node_drive *d = &b->gc->node->drives[b - b->gc->batches];
    b->failed = true;
    gc_keep(d, (const uint8_t(*)[FRAG_ID_BYTES])b->ids, b->delete.count);
    log_event(LOG_WARN, "gc.drive", "store=%s error=%s left=%zu", d->label,
              log_quote(str_c(err_text(b->delete.status))), d->gc_left_count);
}

static void gc_deleted(struct store_delete *d)
{
    struct gc_batch *b = d->user;
    struct node_gc *gc = b->gc;
    if (d->status == -ECANCELED && gc->err == 0)
        gc->err = d->status;
    if (d->status && d->status != -ECANCELED)
        gc_failed(b);
    metric_add(M_GC_FRAGMENTS, NULL, d->deleted);
    d->count = 0;
    if (--gc->pending == 0)
        gc_walk(gc);
}

static bool gc_room(const struct node_gc *gc)
{
    for (size_t i = 0; i < gc->node->map->n_stores; i++)
        if (gc->batches[i].delete.count + 2 * CODEC_WIDTH_MAX > GC_BATCH)
            return false;
    return true;
}

/* Fills batches and sends them; ends the run when nothing is left. */
static void gc_walk(struct node_gc *gc)
{
    struct node *n = gc->node;
    gc_again(gc);
    while (gc->at < gc->count && gc_room(gc) && gc->err == 0) {
        const Pb__Extent *e = gc->extents[gc->at];
        if (extent_check(e) != 0) {
            log_event(LOG_ERROR, "gc.extent", "error=%s",
                      log_quote(STR("an extent breaks the rules; its fragments stay")));
            gc->at++;
            continue;
        }
        if (gc->stripe < extent_stripes(e)) {
            gc_stripe(gc, e, gc->stripe++);
        } else {
            gc->at++;
            gc->stripe = 0;
        }
    }
    gc->pending = 1;
    for (size_t i = 0; i < n->map->n_stores && !n->closing; i++) {
        struct gc_batch *b = &gc->batches[i];
        if (b->delete.count == 0)
            continue;
        gc->pending++;
        size_t count = b->delete.count;
        b->delete = (struct store_delete){
            .frag_ids = (const uint8_t(*)[FRAG_ID_BYTES])b->ids, .count = count, .cb = gc_deleted, .user = b};
        store_delete(n->drives[i].store, &b->delete);
    }
    if (n->closing && gc->err == 0)
        gc->err = -ECANCELED;
    if (--gc->pending == 0)
        gc_end(gc);
}

static void gc_begin(struct loop_post *p)
{
    gc_walk(container_of(p, struct node_gc, post));
}

void node_gc_delete(void *node, Pb__Extent *const *extents, size_t count, void (*done)(void *arg, int err), void *arg)
{
    struct node *n = node;
    struct node_gc *gc = calloc(1, sizeof *gc + n->map->n_stores * sizeof gc->batches[0]);
    if (!gc)
        abort(); /* nothing to post the refusal with; the metadata would wait for ever */
    *gc = (struct node_gc){.node = n, .extents = extents, .count = count, .done = done, .arg = arg};
    for (size_t i = 0; i < n->map->n_stores; i++)
        gc->batches[i].gc = gc;
    n->gcs++;
    gc->post.cb = gc_begin;
    loop_post(n->loop, &gc->post);
}
