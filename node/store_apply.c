/* store_apply - what a durable record changes: the fragment's entry, the accounts of the segments, and then the kv. A
 * flush writes everything that changed up to one position of the log, and that position, in one batch, and every batch
 * is synced before the next one: so the kv is always the state after some prefix of the log. Unsynced batches would not
 * do: RocksDB has more than one write-ahead log at a time, and a power cut may take the end of the older one and leave
 * the younger, a position without the entries before it. What a sync costs is paid a few times a second
 * (STORE_FLUSH_NS), and a start after a power cut reads what was appended in that time.
 *
 * Recovery calls the same functions with the records that it finds. */
#include "common/log.h"
#include "common/metrics.h"
#include "node/store_internal.h"
#include <endian.h>
#include <stdlib.h>

/* ---- accounts ---- */

static void account_add(struct store *s, struct store_segment *seg, uint64_t bytes)
{
    seg->live_bytes += bytes;
    seg->changed = true;
    s->live_bytes += bytes;
}

static void account_dead(struct store *s, const struct chunk_loc *loc)
{
    struct store_segment *seg = store_segment_find(s, loc->segment);
    uint64_t bytes = segment_bytes_of(loc->length);
    s->live_bytes -= MIN_OF(s->live_bytes, bytes);
    s->fragments -= MIN_OF(s->fragments, UINT64_C(1));
    if (!seg)
        return;
    seg->live_bytes -= MIN_OF(seg->live_bytes, bytes);
    seg->fragments -= MIN_OF(seg->fragments, UINT64_C(1));
    seg->changed = true;
}

void store_apply_fragment(struct store *s, struct store_segment *seg, const struct segment_record *r,
                          struct chunk_entry *e)
{
    struct chunk_loc loc = {.segment = seg->number, .offset = r->offset, .seq = r->seq, .length = r->length};
    loc.oldest = seg->number;
    assert(e->state != CHUNK_UNKNOWN);
    if (e->state == CHUNK_PRESENT) {
        if (e->loc.seq >= r->seq)
            return;
        loc.oldest = MIN_OF(e->loc.oldest, loc.oldest);
        loc.many = true;
        account_dead(s, &e->loc);
    }
    account_add(s, seg, segment_record_bytes(r));
    seg->fragments++;
    s->fragments++;
    chunk_put(&s->index, e, &loc, r->sums);
    store_bad_healed(s, e->frag_id);
}

void store_apply_tomb(struct store *s, struct chunk_entry *e, const struct segment_tomb *t)
{
    assert(e->state != CHUNK_UNKNOWN);
    if (e->state != CHUNK_PRESENT || e->loc.seq >= t->before_seq)
        return;
    account_dead(s, &e->loc);
    chunk_del(&s->index, e);
    store_bad_healed(s, e->frag_id);
}

void store_apply_kept(struct store *s, struct store_segment *seg, const struct segment_record *r)
{
    account_add(s, seg, r->length); /* without header and padding: compaction puts many of them into one record */
}

/* ---- quarantine ---- */

void store_bad_add(struct store *s, const uint8_t *frag_id, uint64_t segment, uint64_t offset, uint64_t bytes,
                   bool known)
{
    size_t shown = 0;
    for (struct store_bad *b = s->bad; b; b = b->next, shown++)
        if (b->segment == segment && b->offset == offset)
            return;
    if (!known) {
        metric_add(M_STORE_CORRUPT, s->conf.label, 1);
        log_event(LOG_ERROR, "store.corrupt", "store=%s segment=%016llx offset=%llu bytes=%llu", s->conf.label,
                  (unsigned long long)segment, (unsigned long long)offset, (unsigned long long)bytes);
    }
    struct store_bad *b = shown < STORE_BAD_MAX ? calloc(1, sizeof *b) : NULL;
    if (!b)
        return; /* found again by whoever reads it */
    b->saved = known;
    b->has_id = frag_id != NULL;
    if (frag_id)
        memcpy(b->frag_id, frag_id, FRAG_ID_BYTES);
    b->segment = segment;
    b->offset = offset;
    b->bytes = bytes;
    b->next = s->bad;
    s->bad = b;
    s->bad_count++;
}

static void bad_key(const struct store_bad *b, uint8_t key[17])
{
    key[0] = 'q';
    put_be64(key + 1, b->segment);
    put_be64(key + 9, b->offset);
}

/* A newer record took the fragment's place, or it was deleted. Rows without an id go with their segment. */
void store_bad_healed(struct store *s, const uint8_t *frag_id)
{
    for (struct store_bad **at = &s->bad, *b; (b = *at);) {
        if (!b->has_id || memcmp(b->frag_id, frag_id, FRAG_ID_BYTES) != 0) {
            at = &b->next;
            continue;
        }
        uint8_t key[17];
        bad_key(b, key);
        kv_batch_del(&s->flush.extra, (struct str){(const char *)key, sizeof key});
        *at = b->next;
        s->bad_count--;
        free(b);
    }
}

static void bad_rows(struct store *s, struct kv_batch *batch)
{
    for (struct store_bad *b = s->bad; b; b = b->next) {
        b->in_batch = !b->saved;
        if (b->saved)
            continue;
        uint8_t key[17], row[32] = {SEGMENT_FORMAT, b->has_id};
        bad_key(b, key);
        put_be64(row + 4, b->bytes);
        memcpy(row + 12, b->frag_id, FRAG_ID_BYTES);
        kv_batch_put(batch, (struct str){(const char *)key, sizeof key}, (struct str){(const char *)row, sizeof row});
    }
}

/* ---- rows ---- */

struct disk_mark {
    uint32_t format, clean;
    uint64_t segment, offset, next_seq, next_number;
    uint8_t drive_id[16];
};
static_assert(sizeof(struct disk_mark) == 56, "the mark's layout");
struct disk_segment {
    uint32_t format, flags;
    uint64_t bytes, tail, live_bytes, fragments;
    uint8_t uuid[16];
};
static_assert(sizeof(struct disk_segment) == 56, "a segment row's layout");
enum { ROW_SEALED = 1, ROW_DROPPED = 2, ROW_UUID = 4 };

int store_mark_decode(struct str row, struct store_mark_row *ret)
{
    struct disk_mark d;
    if (row.len != sizeof d)
        return E_CORRUPT;
    memcpy(&d, row.p, sizeof d);
    if (le32toh(d.format) != SEGMENT_FORMAT)
        return le32toh(d.format) > SEGMENT_FORMAT ? E_VERSION : E_CORRUPT;
    *ret = (struct store_mark_row){.clean = d.clean != 0,
                                   .pos = {le64toh(d.segment), le64toh(d.offset)},
                                   .next_seq = le64toh(d.next_seq),
                                   .next_number = le64toh(d.next_number)};
    memcpy(ret->drive_id, d.drive_id, sizeof d.drive_id);
    return ret->pos.offset % SEGMENT_PAGE ? E_CORRUPT : 0;
}

static void mark_row(struct store *s, struct kv_batch *batch, bool clean)
{
    struct disk_mark d = {.format = htole32(SEGMENT_FORMAT),
                          .clean = htole32(clean),
                          .segment = htole64(s->applied.segment),
                          .offset = htole64(s->applied.offset),
                          .next_seq = htole64(s->next_seq),
                          .next_number = htole64(s->next_number)};
    memcpy(d.drive_id, s->conf.drive_id, sizeof d.drive_id);
    kv_batch_put(batch, STORE_MARK_KEY, (struct str){(const char *)&d, sizeof d});
}

static void segment_key(uint64_t number, uint8_t key[STORE_SEGMENT_KEY_BYTES])
{
    key[0] = 's';
    put_be64(key + 1, number);
}

static void segment_row(const struct store_segment *seg, struct kv_batch *batch)
{
    uint8_t key[STORE_SEGMENT_KEY_BYTES];
    struct disk_segment d = {.format = htole32(SEGMENT_FORMAT),
                             .flags = htole32((seg->sealed ? ROW_SEALED : 0u) | (seg->dropped ? ROW_DROPPED : 0u) |
                                              (seg->uuid_known ? ROW_UUID : 0u)),
                             .bytes = htole64(seg->bytes),
                             .tail = htole64(seg->tail),
                             .live_bytes = htole64(seg->live_bytes),
                             .fragments = htole64(seg->fragments)};
    memcpy(d.uuid, seg->uuid, sizeof d.uuid);
    segment_key(seg->number, key);
    kv_batch_put(batch, (struct str){(const char *)key, sizeof key}, (struct str){(const char *)&d, sizeof d});
}

int store_segment_row_decode(struct str key, struct str row, struct store_segment *ret)
{
    struct disk_segment d;
    if (key.len != STORE_SEGMENT_KEY_BYTES || row.len != sizeof d)
        return E_CORRUPT;
    memcpy(&d, row.p, sizeof d);
    if (le32toh(d.format) != SEGMENT_FORMAT)
        return le32toh(d.format) > SEGMENT_FORMAT ? E_VERSION : E_CORRUPT;
    *ret = (struct store_segment){.number = get_be64((const uint8_t *)key.p + 1),
                                  .bytes = le64toh(d.bytes),
                                  .tail = le64toh(d.tail),
                                  .live_bytes = le64toh(d.live_bytes),
                                  .fragments = le64toh(d.fragments),
                                  .sealed = (le32toh(d.flags) & ROW_SEALED) != 0,
                                  .dropped = (le32toh(d.flags) & ROW_DROPPED) != 0,
                                  .uuid_known = (le32toh(d.flags) & ROW_UUID) != 0};
    memcpy(ret->uuid, d.uuid, sizeof d.uuid);
    bool sane = ret->bytes >= SEGMENT_LEAST_BYTES && ret->tail <= ret->bytes && ret->tail >= SEGMENT_PAGE &&
                ret->tail % SEGMENT_PAGE == 0 && ret->live_bytes <= ret->bytes;
    return sane ? 0 : E_CORRUPT;
}

void store_segment_forget(struct store *s, const struct store_segment *seg)
{
    uint8_t key[STORE_SEGMENT_KEY_BYTES];
    segment_key(seg->number, key);
    kv_batch_del(&s->flush.extra, (struct str){(const char *)key, sizeof key});
    for (struct store_bad **at = &s->bad, *b; (b = *at);) {
        if (b->segment != seg->number) {
            at = &b->next;
            continue;
        }
        uint8_t row[17];
        bad_key(b, row);
        kv_batch_del(&s->flush.extra, (struct str){(const char *)row, sizeof row});
        *at = b->next;
        s->bad_count--;
        free(b);
    }
}

/* ---- flush ---- */

struct join {
    struct kv_batch *to;
    uint32_t skip;
};

static int join_each(void *ctx, int op, struct str key, struct str value)
{
    struct join *j = ctx;
    (void)op, (void)value; /* extra holds deletes only */
    if (j->skip > 0)
        j->skip--;
    else
        kv_batch_del(j->to, key);
    return 0;
}

static void batch_join(struct kv_batch *to, const struct kv_batch *from, uint32_t skip)
{
    struct join j = {to, skip};
    kv_batch_each((struct str){from->ops.p, from->ops.len}, join_each, &j);
}

/* Rows that are only in memory; returns false when nothing needs writing. */
static bool flush_build(struct store *s, bool clean)
{
    struct store_flush *f = &s->flush;
    bool moved = f->pos.segment != s->applied.segment || f->pos.offset != s->applied.offset;
    kv_batch_clear(&f->batch);
    batch_join(&f->batch, &f->extra, 0);
    chunk_flush_begin(&s->index, &f->batch);
    for (size_t i = 0; i < s->segment_count; i++) {
        struct store_segment *seg = s->segments[i];
        if (!seg->changed || seg->gone)
            continue;
        segment_row(seg, &f->batch);
        seg->changed = false;
        seg->flushing = true;
    }
    bad_rows(s, &f->batch);
    bool any = moved || f->batch.count > 0 || clean != f->was_clean;
    if (s->rebuild_next)
        kv_batch_del(&f->batch, STORE_MARK_KEY);
    else
        mark_row(s, &f->batch, clean);
    f->clean = clean;
    f->pos = s->applied;
    f->extra_count = f->extra.count;
    return any;
}

/* What was added to extra while the batch was written stays for the next one. A row that memory did not allow stays in
 * the kv: a start ignores rows of segments that are gone. */
static void extra_written(struct store_flush *f)
{
    struct kv_batch rest;
    kv_batch_init(&rest);
    batch_join(&rest, &f->extra, f->extra_count);
    rest.ops.err = 0;
    kv_batch_fini(&f->extra);
    f->extra = rest;
}

static void flush_end(struct store *s, int err)
{
    struct store_flush *f = &s->flush;
    f->err = err;
    chunk_flush_end(&s->index, err);
    for (size_t i = 0; i < s->segment_count; i++) {
        struct store_segment *seg = s->segments[i];
        if (seg->flushing && err)
            seg->changed = true;
        seg->flushing = false;
    }
    if (err) {
        f->pos = (struct store_pos){0, 0}; /* so that the next one is not taken for empty */
        store_failed(s, "writing the index", err, true);
        return;
    }
    f->was_clean = f->clean;
    if (f->extra_count)
        extra_written(f);
    for (struct store_bad *b = s->bad; b; b = b->next)
        b->saved |= b->in_batch;
}

int store_flush_blocking(struct store *s, bool always, bool clean)
{
    struct store_flush *f = &s->flush;
    assert(!f->busy);
    if (!flush_build(s, clean) && !always) {
        flush_end(s, 0);
        return 0;
    }
    int err = f->batch.ops.err ? f->batch.ops.err : s->conf.kv->ops->write(s->conf.kv, &f->batch, true);
    flush_end(s, err);
    return err;
}

static void flush_run(struct work_req *w)
{
    struct store_flush *f = container_of(w, struct store_flush, work);
    struct store *s = container_of(f, struct store, flush);
    f->result = f->batch.ops.err ? f->batch.ops.err : s->conf.kv->ops->write(s->conf.kv, &f->batch, true);
}

static void flush_start(struct store *s, bool clean);

static void flush_done(struct work_req *w)
{
    struct store_flush *f = container_of(w, struct store_flush, work);
    struct store *s = container_of(f, struct store, flush);
    int err = f->result;
    f->busy = false;
    flush_end(s, err);
    struct store_flush_wait *served = f->served;
    f->served = NULL;
    for (struct store_flush_wait *next; served; served = next) {
        next = served->next;
        served->cb(served, err);
    }
    if (!f->busy && f->waiting)
        flush_start(s, f->waiting->clean);
    else if (!f->busy && (err || s->index.dirty.count > 0))
        store_flush_soon(s);
    store_pump(s);
    store_compact_look(s);
    store_op_done(s);
}

static void flush_start(struct store *s, bool clean)
{
    struct store_flush *f = &s->flush;
    assert(!f->busy);
    f->served = f->waiting;
    f->waiting = NULL;
    if (!flush_build(s, clean) && !f->served) {
        flush_end(s, 0);
        return;
    }
    s->ops++;
    f->busy = true;
    loop_timer_stop(s->conf.loop, &f->timer);
    f->work.run = flush_run;
    f->work.cb = flush_done;
    work_submit(s->conf.work, &f->work);
}

void store_flush_soon(struct store *s)
{
    struct store_flush *f = &s->flush;
    if (f->busy || s->closing == STORE_FLUSHES)
        return;
    if (s->index.dirty.count >= STORE_FLUSH_COUNT && !f->err)
        flush_start(s, false);
    else if (!loop_timer_armed(&f->timer))
        loop_timer_start(s->conf.loop, &f->timer, f->err ? STORE_RETRY_NS : STORE_FLUSH_NS);
}

void store_flush_now(struct store *s, struct store_flush_wait *w)
{
    w->next = s->flush.waiting;
    s->flush.waiting = w;
    if (!s->flush.busy)
        flush_start(s, w->clean);
}

void store_flush_timer(struct loop_timer *t)
{
    struct store *s = container_of(t, struct store, flush.timer);
    if (!s->flush.busy)
        flush_start(s, false);
}
