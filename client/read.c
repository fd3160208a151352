/* read - a range of an object as a stream of verified slices.
 *
 * The range is cut into pieces, none across a cell, so each is one read of one fragment and is handed over without a
 * copy. A queue holds the pieces that were asked for and not yet handed over; normally one unit (CLIENT_READ_UNIT) and
 * only while the reader waits, so a slow reader holds what it was handed and nothing more. A reader that comes back
 * quickly twice in a row gets the next unit asked for ahead, unless the pool is more than half used up. The first piece
 * waits for the pool in its FIFO; pieces ahead never wait. Objects in the metadata (and the inline tail of a multipart
 * object) are copied into a pool buffer so that one rule holds for the memory. */
#include "client/piece.h"
#include <stdlib.h>

#define QUICK_ENOUGH 2

struct client_read {
    struct client *c;
    const Pb__Object *obj;
    struct str inline_data;
    uint64_t extents_bytes; /* the inline bytes stand behind them */
    uint64_t at, end;       /* the next byte to ask for, and the first not wanted */
    size_t extent;          /* at stands in this one, which starts at extent_start */
    uint64_t extent_start;
    struct piece *first, *last;
    uint64_t queued_bytes;
    uint64_t handed_ns; /* when the last slice was handed over */
    unsigned quick;
    int status; /* sticky */
    void (*cb)(void *ctx, int err, struct slice s);
    void *ctx;
    struct bufpool_wait wait;
    struct loop_post post;
    bool posted, pumping, freed;
};

static void read_pump(struct client_read *r, bool may_call);

/* ---- cutting ---- */

static bool in_extents(const struct client_read *r)
{
    return r->at < r->extents_bytes;
}

/* The next piece of the extents. */
static struct cell_range next_range(struct client_read *r)
{
    const Pb__Extent *e = r->obj->extents[r->extent];
    while (r->at >= r->extent_start + e->size) {
        r->extent_start += e->size;
        e = r->obj->extents[++r->extent];
    }
    uint64_t offset = r->at - r->extent_start;
    return extent_locate(e, offset, MIN_OF(r->end - r->at, e->size - offset), CLIENT_READ_UNIT);
}

static void queue_add(struct client_read *r, struct piece *p)
{
    *(r->last ? &r->last->next : &r->first) = p;
    r->last = p;
    r->queued_bytes += p->length;
    r->at += p->length;
}

static struct piece *queue_take(struct client_read *r)
{
    struct piece *p = r->first;
    r->first = p->next;
    if (!r->first)
        r->last = NULL;
    r->queued_bytes -= p->length;
    return p;
}

static void piece_came(void *owner, struct piece *p)
{
    (void)p;
    read_pump(owner, true);
}

static struct piece *inline_piece(struct client_read *r, uint64_t bytes, struct buf *buf)
{
    struct piece *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    memcpy(buf->data, r->inline_data.p + (r->at - r->extents_bytes), bytes);
    *p = (struct piece){.buf = buf, .length = bytes, .ready = true, .step = PIECE_DONE, .c = r->c};
    return p;
}

/* Asks for the next piece. 1: no memory in the pool now. */
static int ask_next(struct client_read *r)
{
    bool stored = in_extents(r);
    struct cell_range range = stored ? next_range(r) : (struct cell_range){0};
    uint64_t bytes = stored ? piece_bytes(&range) : MIN_OF(r->end - r->at, CLIENT_READ_UNIT);
    r->wait.cap = bytes;
    struct buf *buf = bufpool_take(r->c->read_pool, bytes);
    if (!buf)
        return 1;
    struct piece *p = stored ? piece_create(r->c, r->obj->extents[r->extent], &range, buf, piece_came, r)
                             : inline_piece(r, bytes, buf);
    if (!p) {
        buf_unref(buf);
        return -ENOMEM;
    }
    queue_add(r, p);
    if (stored)
        piece_start(p);
    return 0;
}

/* ---- handing over ---- */

static bool reads_ahead(const struct client_read *r)
{
    return r->quick >= QUICK_ENOUGH && bufpool_used_bytes(r->c->read_pool) < r->c->read_pool_bytes / 2;
}

/* How many bytes may stand in the queue now. */
static uint64_t window(const struct client_read *r)
{
    uint64_t unit = r->cb && !(r->first && r->first->ready) ? CLIENT_READ_UNIT : 0;
    return reads_ahead(r) ? 2 * CLIENT_READ_UNIT : unit;
}

static void ask_more(struct client_read *r)
{
    while (!r->status && r->at < r->end && !r->wait.queued && r->queued_bytes < window(r)) {
        int err = ask_next(r);
        if (err < 0)
            r->status = err;
        else if (err && !r->first && r->cb)
            bufpool_wait(r->c->read_pool, &r->wait);
        if (err)
            return;
    }
}

static bool can_hand(const struct client_read *r)
{
    return r->cb && (r->first ? r->first->ready : r->status || r->at == r->end);
}

static void hand_over(struct client_read *r)
{
    void (*cb)(void *ctx, int err, struct slice s) = r->cb;
    struct slice s = {0};
    int err = 0;
    if (r->first) {
        struct piece *p = queue_take(r);
        err = p->status;
        if (!err) {
            s = (struct slice){.buf = p->buf, .off = p->skip, .len = p->length};
            p->buf = NULL;
        } else {
            r->status = err;
            while (r->first) /* nothing behind the gap is handed over */
                piece_free(queue_take(r));
        }
        piece_free(p);
    } else {
        err = r->status;
    }
    r->cb = NULL;
    r->handed_ns = loop_now_ns(r->c->loop);
    cb(r->ctx, err, s);
}

static void post_pump(struct client_read *r)
{
    if (r->posted)
        return;
    r->posted = true;
    loop_post(r->c->loop, &r->post);
}

/* Everything that can be done now. may_call: a callback may be made here; else it is posted. It runs outermost and
 * last, since the reader may ask again or free r in it. */
static void read_pump(struct client_read *r, bool may_call)
{
    if (r->pumping || r->freed)
        return;
    r->pumping = true;
    ask_more(r);
    r->pumping = false;
    if (!can_hand(r))
        return;
    if (may_call)
        hand_over(r);
    else
        post_pump(r);
}

static void read_release(struct client_read *r)
{
    struct client *c = r->c;
    free(r);
    client_unref(c);
}

static void pump_posted(struct loop_post *post)
{
    struct client_read *r = container_of(post, struct client_read, post);
    r->posted = false;
    if (r->freed)
        read_release(r);
    else
        read_pump(r, true);
}

static void pool_has_room(struct bufpool_wait *w)
{
    read_pump(container_of(w, struct client_read, wait), true);
}

/* ---- from outside ---- */

static int object_check(const Pb__Object *obj, struct str inline_data, uint64_t *ret_extents_bytes)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < obj->n_extents; i++) {
        int err = extent_check(obj->extents[i]);
        if (err || obj->extents[i]->size > obj->size - sum)
            return E_CORRUPT;
        sum += obj->extents[i]->size;
    }
    *ret_extents_bytes = sum;
    return inline_data.len == obj->size - sum || sum == obj->size ? 0 : E_CORRUPT;
}

int client_read_open(struct client *c, const Pb__Object *obj, struct str inline_data, uint64_t offset, uint64_t length,
                     struct client_read **ret_r)
{
    uint64_t extents_bytes;
    if (offset > obj->size || length > obj->size - offset)
        return -EINVAL;
    int err = object_check(obj, inline_data, &extents_bytes);
    if (err)
        return err;
    struct client_read *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    *r = (struct client_read){.c = client_ref(c), .obj = obj, .inline_data = inline_data, .at = offset};
    r->extents_bytes = extents_bytes;
    r->end = offset + length;
    r->wait.cb = pool_has_room;
    r->post.cb = pump_posted;
    *ret_r = r;
    return 0;
}

void client_read_next(struct client_read *r, void (*cb)(void *ctx, int err, struct slice s), void *ctx)
{
    assert(!r->cb && !r->freed);
    uint64_t now = loop_now_ns(r->c->loop);
    r->quick = r->handed_ns && now - r->handed_ns < CLIENT_AHEAD_NS ? r->quick + 1 : 0;
    r->cb = cb;
    r->ctx = ctx;
    read_pump(r, false);
}

void client_read_free(struct client_read *r)
{
    bufpool_cancel(r->c->read_pool, &r->wait);
    while (r->first)
        piece_free(queue_take(r));
    r->freed = true;
    r->cb = NULL;
    if (!r->posted)
        read_release(r);
}
