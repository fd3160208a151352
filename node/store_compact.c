/* store_compact - gives the dead bytes of a sealed segment back. Its records are walked with the scan of recovery; live
 * fragments are verified by that and appended again, deletes that still hide a record somewhere are gathered into a new
 * DELETE record; when all of that is durable in the log and in the kv, the file is unlinked.
 *
 * Crash-safe at every point: until the unlink both copies exist, the newer one wins by its sequence; the kv is synced
 * first, so it never names a segment that is gone. A fragment is copied only while nobody deletes or rewrites it,
 * judged in the same turn of the loop in which its copy joins the log: so no copy ever follows the delete of its
 * original. */
#include "common/log.h"
#include "common/metrics.h"
#include "node/store_internal.h"
#include <stdlib.h>

static void compact_scan(struct store_compact *c);
static void compact_tombs(struct store_compact *c);

static struct store *store_of(struct store_compact *c)
{
    return container_of(c, struct store, compact);
}

static void compact_end(struct store_compact *c, int err)
{
    struct store *s = store_of(c);
    segment_scan_fini(&c->scan);
    buf_unref(c->buf);
    buf_unref(c->pages);
    free(c->tombs);
    c->buf = c->pages = NULL;
    c->tombs = NULL;
    if (c->slot.entry)
        chunk_unpin(&s->index, c->slot.entry);
    c->slot.entry = NULL;
    struct store_segment *seg = c->segment;
    c->segment = NULL;
    c->step = COMPACT_IDLE;
    seg->tried |= err != 0 && err != -ECANCELED && err != -ENOSPC;
    if (err && err != -ECANCELED)
        log_event(LOG_WARN, "store.compact", "store=%s segment=%016llx error=%s", s->conf.label,
                  (unsigned long long)seg->number, log_quote(str_c(err_text(err))));
    if (err) {
        c->not_before_ns = loop_now_ns(s->conf.loop) + STORE_RETRY_NS;
        if (s->closing == STORE_RUNS)
            loop_timer_start(s->conf.loop, &s->compact_timer, STORE_RETRY_NS);
    }
    store_segment_unref(s, seg);
    if (err == 0)
        store_compact_look(s);
    store_op_done(s);
}

/* ---- the end: kv synced, file unlinked ---- */

static void compact_unlink(struct work_req *w)
{
    struct store_compact *c = container_of(w, struct store_compact, work);
    struct store *s = store_of(c);
    char *path = store_path(s, c->segment->number, "");
    c->err = path ? s->conf.disk->ops->unlink(s->conf.disk, path) : -ENOMEM;
    free(path);
}

static void compact_unlinked(struct work_req *w)
{
    struct store_compact *c = container_of(w, struct store_compact, work);
    struct store *s = store_of(c);
    if (c->err == 0) {
        metric_add(M_COMPACTED_BYTES, s->conf.label, c->segment->bytes);
        store_segment_forget(s, c->segment);
        c->segment->gone = true;
        c->segment->changed = false;
        s->full = false;
        s->prepare.not_before_ns = 0; /* there may be room now */
        store_flush_soon(s);
    }
    compact_end(c, c->err);
}

static void compact_flushed(struct store_flush_wait *w, int err)
{
    struct store_compact *c = container_of(w, struct store_compact, flushed);
    if (err) {
        c->segment->dropped = false;
        c->segment->changed = true;
        compact_end(c, err);
        return;
    }
    c->step = COMPACT_UNLINK;
    c->work.run = compact_unlink;
    c->work.cb = compact_unlinked;
    work_submit(store_of(c)->conf.work, &c->work);
}

static void compact_finish(struct store_compact *c)
{
    c->step = COMPACT_FLUSH;
    c->segment->dropped = true;
    c->segment->changed = true;
    c->flushed.cb = compact_flushed;
    c->flushed.clean = false;
    store_flush_now(store_of(c), &c->flushed);
}

/* ---- deletes that are still needed ---- */

/* Some record that it kills may stand in another segment. */
static bool tomb_needed(struct store_compact *c, const struct segment_tomb *t)
{
    struct store *s = store_of(c);
    if (t->many)
        return store_segment_any(s, t->oldest, c->segment->number);
    return t->oldest != c->segment->number && store_segment_find(s, t->oldest) != NULL;
}

static int tombs_gather(struct store_compact *c)
{
    for (uint32_t at = 0; at < c->record.length; at += SEGMENT_TOMB_BYTES) {
        struct segment_tomb t;
        if (segment_tomb_decode(c->payload + at, &t) != 0 || !tomb_needed(c, &t))
            continue;
        if (c->tomb_count == c->tomb_cap) {
            size_t cap = c->tomb_cap ? c->tomb_cap * 2 : 256;
            uint8_t *p = realloc(c->tombs, cap * SEGMENT_TOMB_BYTES);
            if (!p)
                return -ENOMEM;
            c->tombs = p;
            c->tomb_cap = cap;
        }
        memcpy(c->tombs + c->tomb_count++ * SEGMENT_TOMB_BYTES, c->payload + at, SEGMENT_TOMB_BYTES);
    }
    return 0;
}

static void tombs_appended(struct store_append *a)
{
    struct store_compact *c = container_of(a, struct store_compact, append);
    if (a->status)
        compact_end(c, a->status);
    else
        compact_tombs(c);
}

static void compact_tombs(struct store_compact *c)
{
    size_t n = MIN_OF(c->tomb_count - c->tomb_sent, (size_t)STORE_DELETE_MAX);
    if (n == 0) {
        compact_finish(c);
        return;
    }
    c->step = COMPACT_TOMBS;
    uint32_t length = (uint32_t)(n * SEGMENT_TOMB_BYTES);
    uint8_t *payload = c->buf->data; /* the scan is over: its buffer is free */
    static_assert(STORE_DELETE_MAX * SEGMENT_TOMB_BYTES <= STORE_SCAN_BYTES, "they fit into the buffer of a scan");
    memset(payload, 0, align_up(length, SEGMENT_PAGE));
    memcpy(payload, c->tombs + c->tomb_sent * SEGMENT_TOMB_BYTES, length);
    c->tomb_sent += n;
    c->append = (struct store_append){.record = {.kind = SEGMENT_DELETE, .length = length},
                                      .header = c->pages->data,
                                      .payload = payload,
                                      .last = payload + length / SEGMENT_PAGE * SEGMENT_PAGE,
                                      .urgent = true,
                                      .cb = tombs_appended};
    segment_record_sum(&c->append.record, payload);
    store_append(store_of(c), &c->append);
}

/* ---- fragments that live ---- */

static void copy_appended(struct store_append *a)
{
    struct store_compact *c = container_of(a, struct store_compact, append);
    struct store *s = store_of(c);
    c->slot.entry->writers--;
    chunk_unpin(&s->index, c->slot.entry);
    c->slot.entry = NULL;
    store_delete_retry(s);
    if (a->status)
        compact_end(c, a->status);
    else
        compact_scan(c);
}

static void compact_judge(struct store_compact *c)
{
    struct store *s = store_of(c);
    struct chunk_entry *e = c->slot.entry;
    bool live = e->state == CHUNK_PRESENT && e->loc.segment == c->segment->number && e->loc.offset == c->record.offset;
    if (live && (e->writers || e->deleters)) {
        c->waiting = true; /* store_compact_retry */
        return;
    }
    if (!live) {
        chunk_unpin(&s->index, e);
        c->slot.entry = NULL;
        compact_scan(c);
        return;
    }
    c->step = COMPACT_COPY;
    e->writers++;
    uint8_t *last = c->pages->data + SEGMENT_PAGE;
    size_t rest = c->record.length % SEGMENT_PAGE;
    memcpy(last, c->payload + c->record.length - rest, rest);
    memset(last + rest, 0, SEGMENT_PAGE - rest);
    c->append = (struct store_append){.record = c->record,
                                      .entry = e,
                                      .header = c->pages->data,
                                      .payload = c->payload,
                                      .last = last,
                                      .urgent = true,
                                      .cb = copy_appended};
    store_append(s, &c->append);
}

static void compact_looked(struct work_req *w)
{
    struct store_compact *c = container_of(w, struct store_compact, work);
    int err = chunk_get_end(&c->get);
    if (err)
        compact_end(c, err);
    else
        compact_judge(c);
}

static void compact_look(struct work_req *w)
{
    chunk_get_run(&container_of(w, struct store_compact, work)->get);
}

static void compact_fragment(struct store_compact *c)
{
    struct store *s = store_of(c);
    c->slot.entry = chunk_pin(&s->index, c->record.frag_id);
    if (!c->slot.entry) {
        compact_end(c, -ENOMEM);
        return;
    }
    c->step = COMPACT_LOOKUP;
    if (!chunk_get_begin(&s->index, &c->get, &c->slot, 1)) {
        compact_judge(c);
        return;
    }
    c->work.run = compact_look;
    c->work.cb = compact_looked;
    work_submit(s->conf.work, &c->work);
}

/* ---- walking ---- */

static void compact_came(struct disk_req *io)
{
    struct store_compact *c = container_of(io, struct store_compact, io);
    if (io->status) {
        store_failed(store_of(c), "read", io->status, false);
        compact_end(c, io->status);
        return;
    }
    c->filled += io->result_bytes;
    compact_scan(c);
}

static void compact_read(struct store_compact *c)
{
    struct store *s = store_of(c);
    size_t have = (size_t)(c->base + c->filled - c->scan.pos);
    memmove(c->buf->data, c->buf->data + (c->scan.pos - c->base), have);
    c->base = c->scan.pos;
    c->filled = have;
    uint64_t more = MIN_OF(MAX_OF(c->scan.want - have, MIB), STORE_SCAN_BYTES - have);
    more = MIN_OF(more, c->scan.limit - c->base - have);
    c->step = COMPACT_READ;
    c->io = (struct disk_req){.op = DISK_READ,
                              .file = c->segment->file,
                              .offset = c->base + have,
                              .iov = {{c->buf->data + have, (size_t)more}},
                              .iov_count = 1,
                              .cb = compact_came};
    s->conf.disk->ops->submit(s->conf.disk, &c->io);
}

/* Every live fragment was moved, or some stand inside gaps: those would be lost with the file, so it stays until they
 * are deleted or written again. */
static void compact_walked(struct store_compact *c)
{
    struct store *s = store_of(c);
    if (c->segment->fragments == 0) {
        compact_tombs(c);
        return;
    }
    for (size_t i = 0; i < c->scan.gap_count; i++) {
        const struct segment_gap *g = &c->scan.gaps[i];
        store_bad_add(s, g->has_id ? g->frag_id : NULL, c->segment->number, g->from, g->to - g->from, false);
    }
    compact_end(c, E_CORRUPT);
}

/* Goes on from the loop, not from inside the callback of the record before: a segment of dead records would recurse. */
static void compact_go(struct loop_post *p)
{
    struct store_compact *c = container_of(p, struct store_compact, go);
    struct store *s = store_of(c);
    c->go_posted = false;
    if (s->closing != STORE_RUNS) {
        compact_end(c, -ECANCELED);
        return;
    }
    for (;;) {
        uint64_t inside = c->scan.pos - c->base; /* VOID records jump past what was read */
        if (inside > c->filled) {
            c->base = c->scan.pos;
            c->filled = 0;
            inside = 0;
        }
        int step = segment_scan_step(&c->scan, c->buf->data + inside, c->filled - (size_t)inside, &c->record);
        if (step == SEGMENT_MORE) {
            compact_read(c);
            return;
        }
        if (step == SEGMENT_DONE) {
            compact_walked(c);
            return;
        }
        if (step < 0) {
            compact_end(c, step);
            return;
        }
        c->payload = c->buf->data + (c->record.offset - c->base) + SEGMENT_PAGE;
        if (c->record.kind == SEGMENT_FRAGMENT) {
            compact_fragment(c);
            return;
        }
        int err = c->record.kind == SEGMENT_DELETE ? tombs_gather(c) : 0;
        if (err) {
            compact_end(c, err);
            return;
        }
    }
}

static void compact_scan(struct store_compact *c)
{
    assert(!c->go_posted);
    c->go_posted = true;
    c->go.cb = compact_go;
    loop_post(store_of(c)->conf.loop, &c->go);
}

void store_compact_retry(struct store *s)
{
    struct store_compact *c = &s->compact;
    if (!c->waiting)
        return;
    c->waiting = false;
    if (s->closing != STORE_RUNS)
        compact_end(c, -ECANCELED);
    else
        compact_judge(c);
}

void store_compact_timer(struct loop_timer *t)
{
    store_compact_look(container_of(t, struct store, compact_timer));
}

static struct store_segment *compact_choose(struct store *s)
{
    struct store_segment *best = NULL;
    uint64_t best_share = s->conf.compact_percent;
    for (size_t i = 0; i < s->segment_count; i++) {
        struct store_segment *seg = s->segments[i];
        if (!seg->sealed || seg == s->active || seg->dropped || seg->gone || (seg->tried && seg->fragments > 0))
            continue;
        uint64_t share = store_segment_dead(seg) * 100 / (seg->bytes - SEGMENT_PAGE);
        if (share >= best_share) {
            best = seg;
            best_share = share + 1;
        }
    }
    return best;
}

void store_compact_look(struct store *s)
{
    struct store_compact *c = &s->compact;
    if (!s->started || s->closing != STORE_RUNS || s->conf.compact_percent == 0 || c->step != COMPACT_IDLE ||
        loop_now_ns(s->conf.loop) < c->not_before_ns)
        return;
    struct store_segment *seg = compact_choose(s);
    if (!seg || store_segment_ref(s, seg) != 0)
        return;
    s->ops++;
    *c = (struct store_compact){.segment = seg, .base = SEGMENT_PAGE};
    if (seg->live_bytes == 0) {
        compact_finish(c);
        return;
    }
    c->buf = buf_create(STORE_SCAN_BYTES);
    c->pages = buf_create(2 * SEGMENT_PAGE);
    c->step = COMPACT_READ;
    segment_scan_init(&c->scan, seg->uuid_known ? seg->uuid : NULL, SEGMENT_PAGE, seg->tail, true, UINT64_MAX);
    if (!c->buf || !c->pages) {
        compact_end(c, -ENOMEM);
        return;
    }
    compact_scan(c);
}
