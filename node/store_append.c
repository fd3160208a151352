/* store_append - the log. An append waits in the queue until it has a place: room in the active segment and in the
 * window of bytes that are not durable yet. Placed ones are written side by side. One fdatasync at a time covers the
 * run of written ones at the front; then they are applied and answered in the order of the log. An append behind a
 * slower one waits for it: so what is acknowledged is always a prefix of the log, which is what recovery and the
 * index's position rest on.
 *
 * A segment is left only when nothing of it is in flight: first a SEAL record, then the next one. After a failed write
 * or sync its descriptor is never used for either again (a second fdatasync may answer 0 for data that is lost):
 * everything in flight fails and the log goes on in a new segment. */
#include "common/log.h"
#include "common/metrics.h"
#include "node/store_internal.h"
#include <stdlib.h>

static void commit(struct store *s);

/* ---- placing ---- */

static bool marker_kind(enum segment_kind k)
{
    return k == SEGMENT_END || k == SEGMENT_SEAL;
}

static bool fits(const struct store_segment *seg, const struct store_append *a)
{
    uint64_t kept = marker_kind(a->record.kind) ? 0 : SEGMENT_PAGE + (a->urgent ? 0 : store_kept_bytes(seg));
    return seg->tail + segment_record_bytes(&a->record) + kept <= seg->bytes;
}

static void append_written(struct disk_req *r)
{
    struct store_append *a = container_of(r, struct store_append, io);
    struct store *s = a->store;
    s->writes_out--;
    a->written = true;
    a->status = r->status;
    if (a->status && !s->active->failed) {
        s->active->failed = true;
        store_failed(s, "write", a->status, true);
    }
    commit(s);
}

static void append_place(struct store *s, struct store_append *a)
{
    struct store_segment *seg = s->active;
    struct segment_record *r = &a->record;
    r->offset = seg->tail;
    r->seq = s->next_seq++;
    r->synced = s->synced_to;
    segment_record_encode(r, seg->uuid, a->header);
    uint64_t bytes = segment_record_bytes(r);
    seg->tail += bytes;
    a->written = false;
    a->next = NULL;
    *s->flight_last = a;
    s->flight_last = &a->next;
    s->writes_out++;
    a->io = (struct disk_req){.op = DISK_WRITE, .file = seg->file, .offset = r->offset, .cb = append_written};
    struct iovec *iov = a->io.iov;
    *iov++ = (struct iovec){a->header, SEGMENT_PAGE};
    size_t whole = r->length / SEGMENT_PAGE * SEGMENT_PAGE;
    if (whole)
        *iov++ = (struct iovec){(void *)(uintptr_t)a->payload, whole};
    if (whole < r->length)
        *iov++ = (struct iovec){a->last, SEGMENT_PAGE};
    a->io.iov_count = (unsigned)(iov - a->io.iov);
    s->marked = marker_kind(r->kind);
    loop_timer_stop(s->conf.loop, &s->idle);
    metric_add(M_STORE_WRITE_BYTES, s->conf.label, bytes);
    s->conf.disk->ops->submit(s->conf.disk, &a->io);
}

/* The spare becomes the active segment. False: out of memory for the table. */
static bool roll(struct store *s)
{
    int err = store_segment_add(s, s->spare);
    if (err)
        return false;
    if (s->active) {
        s->active->sealed = true;
        s->active->changed = true;
        store_segment_unref(s, s->active); /* the log's own reference kept its file open */
    }
    s->active = s->spare;
    s->spare = NULL;
    s->active->refs++;
    s->active->changed = true;
    s->synced_to = s->active->tail;
    s->applied = (struct store_pos){s->active->number, s->active->tail};
    store_compact_look(s);
    return true;
}

enum place { PLACE_NOW, PLACE_WAIT };

/* Brings the log to where a may be placed. Negative: it never will be. */
static int place_find(struct store *s, struct store_append *a)
{
    for (;;) {
        struct store_segment *seg = s->active;
        bool usable = seg && !seg->failed && !seg->sealed;
        bool allowed = a->urgent || !(seg && seg->reserved);
        if (usable && allowed && fits(seg, a)) {
            bool window = seg->tail + segment_record_bytes(&a->record) - s->synced_to <= STORE_WINDOW_BYTES;
            return window || !s->flight_first ? PLACE_NOW : PLACE_WAIT;
        }
        if (s->flight_first || s->prepare.step != PREPARE_IDLE)
            return PLACE_WAIT;
        if (s->spare && (a->urgent || !s->spare->reserved) && (allowed || !usable)) {
            if (usable) {
                store_mark(s, SEGMENT_SEAL);
                return PLACE_WAIT;
            }
            if (!roll(s))
                return -ENOMEM;
            continue; /* a spare that is too small for this record is sealed empty next time round */
        }
        struct store_prepare *p = &s->prepare;
        if (p->err && loop_now_ns(s->conf.loop) < p->not_before_ns && (p->urgent || !a->urgent))
            return p->err;
        store_prepare_want(s, segment_record_bytes(&a->record), a->urgent);
        return PLACE_WAIT;
    }
}

static bool dirty_room(struct store *s, const struct store_append *a, int *ret_err)
{
    *ret_err = 0;
    if (a->urgent || s->index.dirty.count + s->index.flushing.count < STORE_DIRTY_MAX)
        return true;
    if (s->flush.err)
        *ret_err = s->flush.err;
    store_flush_soon(s);
    return false;
}

void store_pump(struct store *s)
{
    if (s->pumping)
        return;
    s->pumping = true;
    while (s->queue_first && s->started && !s->marking) {
        struct store_append *a = s->queue_first;
        int err;
        if (!dirty_room(s, a, &err) && err == 0)
            break;
        if (err == 0)
            err = place_find(s, a);
        if (err == PLACE_WAIT)
            break;
        s->queue_first = a->next;
        if (!s->queue_first)
            s->queue_last = &s->queue_first;
        if (err == PLACE_NOW) {
            append_place(s, a);
        } else {
            a->status = err;
            a->cb(a);
        }
    }
    s->pumping = false;
    if (s->started && s->closing == STORE_RUNS)
        store_prepare_ahead(s);
}

void store_append(struct store *s, struct store_append *a)
{
    a->store = s;
    a->status = s->closing == STORE_RUNS ? 0 : -ECANCELED;
    a->next = NULL;
    if (a->status) {
        a->cb(a);
        return;
    }
    *s->queue_last = a;
    s->queue_last = &a->next;
    store_pump(s);
}

void store_append_cancel(struct store *s, int err)
{
    struct store_append *a = s->queue_first;
    s->queue_first = NULL;
    s->queue_last = &s->queue_first;
    for (struct store_append *next; a; a = next) {
        next = a->next;
        a->status = err;
        a->cb(a);
    }
}

/* ---- making durable ---- */

static struct store_append *flight_pop(struct store *s)
{
    struct store_append *a = s->flight_first;
    s->flight_first = a->next;
    if (!s->flight_first)
        s->flight_last = &s->flight_first;
    return a;
}

static void flight_fail(struct store *s)
{
    struct store_segment *seg = s->active;
    struct store_append *a = s->flight_first;
    int err = -EIO;
    for (const struct store_append *f = a; f; f = f->next)
        err = f->status ? f->status : err;
    s->flight_first = NULL; /* before any callback: one may lead to a placement in the next segment */
    s->flight_last = &s->flight_first;
    seg->tail = s->synced_to; /* what lies behind is nobody's */
    seg->sealed = true;
    seg->changed = true;
    for (struct store_append *next; a; a = next) {
        next = a->next;
        a->status = err;
        a->cb(a);
    }
    store_flush_soon(s);
    store_pump(s);
}

static void apply(struct store *s, struct store_append *a)
{
    const struct segment_record *r = &a->record;
    if (r->kind == SEGMENT_FRAGMENT)
        store_apply_fragment(s, s->active, r, a->entry);
    else if (r->kind == SEGMENT_DELETE)
        store_apply_kept(s, s->active, r);
    s->applied = (struct store_pos){s->active->number, r->offset + segment_record_bytes(r)};
}

static void synced(struct disk_req *req)
{
    struct store *s = container_of(req, struct store, sync_io);
    s->syncing = false;
    if (req->status) {
        if (!s->active->failed)
            store_failed(s, "sync", req->status, true);
        s->active->failed = true;
        commit(s);
        return;
    }
    s->synced_to = s->sync_to;
    while (s->flight_first && s->flight_first->record.offset < s->synced_to) {
        struct store_append *a = flight_pop(s);
        apply(s, a);
        a->status = 0;
        a->cb(a); /* may append again, behind everything placed */
    }
    store_flush_soon(s);
    commit(s);
}

/* Starts the next sync when a run of written appends stands at the front. */
static void commit(struct store *s)
{
    if (s->syncing)
        return;
    if (s->active->failed) {
        if (s->writes_out == 0)
            flight_fail(s);
        return;
    }
    uint64_t to = s->synced_to;
    for (struct store_append *a = s->flight_first; a && a->written; a = a->next)
        to = a->record.offset + segment_record_bytes(&a->record);
    if (to > s->synced_to) {
        s->syncing = true;
        s->sync_to = to;
        s->sync_io = (struct disk_req){.op = DISK_SYNC, .file = s->active->file, .cb = synced};
        metric_add(M_STORE_SYNCS, s->conf.label, 1);
        s->conf.disk->ops->submit(s->conf.disk, &s->sync_io);
    }
    store_pump(s);
    if (!s->flight_first && !s->queue_first && !s->marked && s->closing == STORE_RUNS)
        loop_timer_start(s->conf.loop, &s->idle, STORE_IDLE_NS);
}

/* ---- markers ---- */

static void marker_done(struct store_append *a)
{
    struct store *s = a->store;
    s->marking = false;
    if (a->status == 0 && a->record.kind == SEGMENT_SEAL) {
        s->active->sealed = true;
        s->active->changed = true;
    }
    store_pump(s);
    store_op_done(s);
}

void store_mark(struct store *s, enum segment_kind kind)
{
    assert(!s->flight_first && !s->marking && !s->active->failed);
    s->ops++;
    s->marking = true;
    s->marker = (struct store_append){
        .store = s, .record = {.kind = kind}, .header = s->marker_page->data, .urgent = true, .cb = marker_done};
    append_place(s, &s->marker);
}

void store_idle_timer(struct loop_timer *t)
{
    struct store *s = container_of(t, struct store, idle);
    bool room =
        s->active && !s->active->failed && !s->active->sealed && s->active->tail + 2 * SEGMENT_PAGE <= s->active->bytes;
    if (!s->flight_first && !s->queue_first && !s->marked && room && s->closing == STORE_RUNS)
        store_mark(s, SEGMENT_END);
}
