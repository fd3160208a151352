/* store_recover - from files and index to a store that may append. Blocking; runs on any thread before the loop does.
 *
 * The index says up to which position of the log it is right; only what stands behind is scanned, and after a clean
 * stop nothing is. Where index and files do not fit each other, the index is thrown away and built again from every
 * segment. A scan ends after a window without a byte: nothing was ever in flight further ahead of the durable front.
 *
 * What recovery writes: a VOID record over each torn gap that has valid (but unacknowledged) records behind it, so that
 * a later scan does not take it for corruption; zeroes over the torn tail, so that no stale record can ever become
 * valid again; both before anything is appended. A crash in between leaves what the next recovery handles in the same
 * way. */
#include "common/log.h"
#include "node/store_internal.h"
#include <stdio.h>
#include <stdlib.h>

#define QUIET_BYTES (STORE_WINDOW_BYTES + SEGMENT_PAYLOAD_MAX + MIB)

struct recover {
    struct store *s;
    struct store_mark_row mark;
    bool rebuild;
    uint64_t *numbers; /* of files, ascending */
    size_t number_count, number_cap;
    uint64_t *temporary;
    size_t temporary_count, temporary_cap;
    int list_err;
    uint8_t *buf, *page;
    size_t buf_bytes;
    uint64_t base;
    size_t filled;
    char *why;
    size_t why_cap;
};

static int complain(struct recover *rc, uint64_t number, const char *what, int err)
{
    snprintf(rc->why, rc->why_cap, "%s/%016llx.seg: %s: %s", rc->s->conf.dir, (unsigned long long)number, what,
             err_text(err));
    return err;
}

/* ---- what is there ---- */

static int number_add(uint64_t **list, size_t *count, size_t *cap, uint64_t n)
{
    if (*count == *cap) {
        size_t more = *cap ? *cap * 2 : 64;
        uint64_t *p = realloc(*list, more * sizeof *p);
        if (!p)
            return -ENOMEM;
        *list = p;
        *cap = more;
    }
    (*list)[(*count)++] = n;
    return 0;
}

static void file_seen(void *ctx, const char *name)
{
    struct recover *rc = ctx;
    uint64_t n;
    bool temporary;
    if (rc->list_err || strlen(name) < 20 || !store_path_number(name, &n, &temporary))
        return;
    rc->list_err = temporary ? number_add(&rc->temporary, &rc->temporary_count, &rc->temporary_cap, n)
                             : number_add(&rc->numbers, &rc->number_count, &rc->number_cap, n);
    rc->s->next_number = MAX_OF(rc->s->next_number, n + 1);
}

static int number_cmp(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static int list_files(struct recover *rc)
{
    struct disk *d = rc->s->conf.disk;
    int err = d->ops->list(d, rc->s->conf.dir, file_seen, rc);
    err = err ? err : rc->list_err;
    if (err)
        snprintf(rc->why, rc->why_cap, "%s: cannot be listed: %s", rc->s->conf.dir, err_text(err));
    else if (rc->number_count)
        qsort(rc->numbers, rc->number_count, sizeof *rc->numbers, number_cmp);
    return err;
}

static bool file_there(const struct recover *rc, uint64_t number)
{
    return rc->number_count && bsearch(&number, rc->numbers, rc->number_count, sizeof number, number_cmp);
}

/* ---- the index ---- */

static int load_mark(struct recover *rc)
{
    struct arena a;
    struct str row;
    struct kv *kv = rc->s->conf.kv;
    arena_init(&a, 4 * KIB);
    int err = kv->ops->get(kv, STORE_MARK_KEY, &a, &row);
    if (err == 0)
        err = store_mark_decode(row, &rc->mark);
    arena_fini(&a);
    if (err == 0 && memcmp(rc->mark.drive_id, rc->s->conf.drive_id, sizeof rc->mark.drive_id) != 0)
        err = E_CORRUPT;
    rc->rebuild = err == KV_NOT_FOUND || err == E_CORRUPT;
    return rc->rebuild ? 0 : err;
}

static int load_bad(struct recover *rc, struct str key, struct str row)
{
    if (key.len != 17 || row.len != 32 || row.p[0] != SEGMENT_FORMAT)
        return E_CORRUPT;
    const uint8_t *k = (const uint8_t *)key.p, *v = (const uint8_t *)row.p;
    store_bad_add(rc->s, v[1] ? v + 12 : NULL, get_be64(k + 1), get_be64(k + 9), get_be64(v + 4), true);
    return 0;
}

static int load_row(struct recover *rc, struct str key, struct str row)
{
    if (key.len > 0 && key.p[0] == 'q')
        return load_bad(rc, key, row);
    struct store_segment *seg = malloc(sizeof *seg);
    int err = seg ? store_segment_row_decode(key, row, seg) : -ENOMEM;
    if (err == 0)
        err = store_segment_add(rc->s, seg);
    if (err)
        free(seg);
    return err;
}

/* The rows that begin with one letter. */
static int load_rows(struct recover *rc, char letter)
{
    struct kv *kv = rc->s->conf.kv;
    struct kv_iter *it = kv->ops->iter(kv);
    if (!it)
        return -ENOMEM;
    it->ops->seek(it, (struct str){&letter, 1});
    int err = 0;
    for (; err == 0 && it->ops->valid(it); it->ops->next(it)) {
        struct str key = it->ops->key(it);
        if (key.len == 0 || key.p[0] != letter)
            break;
        err = load_row(rc, key, it->ops->value(it));
    }
    if (err == 0)
        err = it->ops->status(it);
    it->ops->close(it);
    return err;
}

static void forget_all(struct store *s)
{
    while (s->segment_count)
        store_segment_remove(s, s->segments[s->segment_count - 1]);
    for (struct store_bad *b; (b = s->bad);) {
        s->bad = b->next;
        free(b);
    }
    s->bad_count = 0;
}

/* Rows and files tell one story, or the index is rebuilt. */
static bool index_fits(struct recover *rc)
{
    struct store *s = rc->s;
    for (size_t i = 0; i < s->segment_count; i++) {
        const struct store_segment *seg = s->segments[i];
        if (!seg->dropped && seg->live_bytes > 0 && !file_there(rc, seg->number))
            return false;
    }
    for (size_t i = 0; i < rc->number_count && rc->numbers[i] <= rc->mark.pos.segment; i++) {
        const struct store_segment *seg = store_segment_find(s, rc->numbers[i]);
        bool fresh = rc->numbers[i] == rc->mark.pos.segment && rc->mark.pos.offset <= SEGMENT_PAGE;
        if (!seg && !fresh)
            return false;
    }
    return rc->mark.pos.segment == 0 || file_there(rc, rc->mark.pos.segment) ||
           !store_segment_find(s, rc->mark.pos.segment) || store_segment_find(s, rc->mark.pos.segment)->dropped;
}

static int load_index(struct recover *rc)
{
    int err = load_mark(rc);
    if (err || rc->rebuild)
        return err;
    err = load_rows(rc, 's');
    if (err == 0)
        err = load_rows(rc, 'q');
    rc->rebuild = err == E_CORRUPT || (err == 0 && !index_fits(rc));
    if (rc->rebuild) {
        forget_all(rc->s);
        rc->mark = (struct store_mark_row){0};
        return 0;
    }
    rc->s->next_seq = rc->mark.next_seq;
    rc->s->next_number = MAX_OF(rc->s->next_number, rc->mark.next_number);
    rc->s->applied = rc->mark.pos;
    return err;
}

/* ---- segments ---- */

static int unlink_number(struct store *s, uint64_t number, const char *suffix)
{
    char *path = store_path(s, number, suffix);
    int err = path ? s->conf.disk->ops->unlink(s->conf.disk, path) : -ENOMEM;
    free(path);
    return err == -ENOENT ? 0 : err;
}

/* Rows of segments that are gone, and files whose compaction had ended but for the unlink. */
static int drop_dropped(struct recover *rc)
{
    struct store *s = rc->s;
    for (size_t i = s->segment_count; i-- > 0;) {
        struct store_segment *seg = s->segments[i];
        bool there = file_there(rc, seg->number);
        if (!seg->dropped && there)
            continue;
        int err = there ? unlink_number(s, seg->number, "") : 0;
        if (err)
            return complain(rc, seg->number, "cannot be removed", err);
        for (size_t k = 0; there && k < rc->number_count; k++)
            if (rc->numbers[k] == seg->number) {
                memmove(rc->numbers + k, rc->numbers + k + 1, (rc->number_count - k - 1) * sizeof *rc->numbers);
                rc->number_count--;
                break;
            }
        store_segment_forget(s, seg);
        store_segment_remove(s, seg);
    }
    return 0;
}

/* Reads the head of a file and adds or completes its segment. *ret_seg NULL: it is no segment of ours to use. */
static int adopt(struct recover *rc, uint64_t number, struct store_segment **ret_seg)
{
    struct store *s = rc->s;
    struct disk *d = s->conf.disk;
    struct store_segment *seg = store_segment_find(s, number);
    *ret_seg = NULL;
    if (!seg) {
        seg = calloc(1, sizeof *seg);
        if (!seg)
            return complain(rc, number, "opening", -ENOMEM);
        *seg = (struct store_segment){.number = number, .tail = SEGMENT_PAGE, .changed = true};
        int err = store_segment_add(s, seg);
        if (err) {
            free(seg);
            return complain(rc, number, "opening", err);
        }
    }
    int err = store_segment_ref(s, seg);
    if (err)
        return complain(rc, number, "opening", err);
    seg->refs--; /* stays open, but anyone may close it */
    uint64_t size = 0;
    size_t got = 0;
    err = d->ops->size(d, seg->file, &size);
    if (err == 0)
        err = d->ops->read_now(d, seg->file, 0, rc->page, SEGMENT_PAGE, &got);
    if (err)
        return complain(rc, number, "reading", err);
    struct segment_head h;
    err = got == SEGMENT_PAGE ? segment_head_decode(rc->page, &h) : E_CORRUPT;
    if (err == E_VERSION)
        return complain(rc, number, "its format", err);
    if (err == 0 && memcmp(h.drive_id, s->conf.drive_id, sizeof h.drive_id) != 0)
        return complain(rc, number, "another drive's", E_FOREIGN);
    bool whole = err == 0 && h.number == number && size >= h.bytes;
    if (whole) {
        seg->bytes = h.bytes;
        memcpy(seg->uuid, h.uuid, sizeof seg->uuid);
        seg->uuid_known = true;
        s->next_seq = MAX_OF(s->next_seq, h.created_seq);
    } else { /* its records may still be good; nothing is appended to it */
        seg->sealed = true;
        seg->bytes = MAX_OF(size / SEGMENT_PAGE * SEGMENT_PAGE, SEGMENT_LEAST_BYTES);
        seg->changed = true;
        store_bad_add(s, NULL, number, 0, SEGMENT_PAGE, false);
    }
    *ret_seg = seg;
    return 0;
}

/* ---- scanning ---- */

/* Bytes that cannot be read become bytes that are no record. */
static int read_some(struct recover *rc, struct store_segment *seg, uint64_t offset, uint8_t *p, size_t n)
{
    struct disk *d = rc->s->conf.disk;
    size_t got = 0;
    int err = d->ops->read_now(d, seg->file, offset, p, n, &got);
    if (err == 0) {
        memset(p + got, 0xee, n - got);
        return 0;
    }
    if (n == SEGMENT_PAGE) {
        if (err != -EIO)
            return complain(rc, seg->number, "reading", err);
        store_failed(rc->s, "read", err, false);
        memset(p, 0xee, n);
        return 0;
    }
    err = 0;
    for (size_t at = 0; at < n && err == 0; at += SEGMENT_PAGE)
        err = read_some(rc, seg, offset + at, p + at, SEGMENT_PAGE);
    return err;
}

static int apply_fragment(struct recover *rc, struct store_segment *seg, const struct segment_record *r)
{
    struct chunk_entry *e = chunk_pin(&rc->s->index, r->frag_id);
    if (!e)
        return -ENOMEM;
    int err = chunk_get_now(&rc->s->index, e);
    if (err == 0)
        store_apply_fragment(rc->s, seg, r, e);
    chunk_unpin(&rc->s->index, e);
    return err;
}

static int apply_delete(struct recover *rc, struct store_segment *seg, const struct segment_record *r,
                        const uint8_t *payload)
{
    int err = 0;
    for (uint32_t at = 0; at < r->length && err == 0; at += SEGMENT_TOMB_BYTES) {
        struct segment_tomb t;
        if (segment_tomb_decode(payload + at, &t) != 0)
            continue;
        struct chunk_entry *e = chunk_pin(&rc->s->index, t.frag_id);
        err = e ? chunk_get_now(&rc->s->index, e) : -ENOMEM;
        if (err == 0)
            store_apply_tomb(rc->s, e, &t);
        if (e)
            chunk_unpin(&rc->s->index, e);
    }
    store_apply_kept(rc->s, seg, r);
    return err;
}

/* A scan of headers only has not seen the payload of a DELETE record. */
static int fetch_delete(struct recover *rc, struct store_segment *seg, const struct segment_record *r, bool *ret_good)
{
    int err = read_some(rc, seg, r->offset, rc->buf, (size_t)segment_record_bytes(r));
    rc->filled = 0;
    *ret_good = err == 0 &&
                (r->length == 0 ||
                 segment_blocks_good(r->sums, r->length, 0, segment_sum_count(r->length) - 1, rc->buf + SEGMENT_PAGE));
    return err;
}

static int apply_record(struct recover *rc, struct store_segment *seg, const struct segment_record *r,
                        const uint8_t *payload, bool verified)
{
    struct store *s = rc->s;
    int err = 0;
    if (r->kind == SEGMENT_FRAGMENT) {
        err = apply_fragment(rc, seg, r);
    } else if (r->kind == SEGMENT_DELETE) {
        bool good = true;
        if (!verified) {
            err = fetch_delete(rc, seg, r, &good);
            payload = rc->buf + SEGMENT_PAGE;
        }
        if (err == 0 && good)
            err = apply_delete(rc, seg, r, payload);
        else if (err == 0)
            store_bad_add(s, NULL, seg->number, r->offset, segment_record_bytes(r), false);
    }
    s->next_seq = MAX_OF(s->next_seq, r->seq + 1);
    s->applied = (struct store_pos){seg->number, r->offset + segment_record_bytes(r)};
    if (err == 0 && s->index.dirty.count >= STORE_DIRTY_MAX)
        err = store_flush_blocking(s, false, false);
    return err ? complain(rc, seg->number, "indexing", err) : 0;
}

static int scan_feed(struct recover *rc, struct store_segment *seg, struct segment_scan *scan)
{
    size_t have = 0;
    if (scan->pos >= rc->base && scan->pos < rc->base + rc->filled) {
        have = (size_t)(rc->base + rc->filled - scan->pos);
        memmove(rc->buf, rc->buf + (scan->pos - rc->base), have);
    }
    rc->base = scan->pos;
    rc->filled = have;
    uint64_t more = scan->want - have;
    if (scan->verify)
        more = MAX_OF(more, MIB);
    more = MIN_OF(more, MIN_OF(rc->buf_bytes - have, scan->limit - rc->base - have));
    int err = read_some(rc, seg, rc->base + have, rc->buf + have, (size_t)more);
    rc->filled += (size_t)more;
    rc->s->scanned_bytes += more;
    return err;
}

/* No larger than a record or a segment can be. */
static int scan_buffer(struct recover *rc, const struct store_segment *seg)
{
    size_t want = (size_t)MIN_OF(STORE_SCAN_BYTES, seg->bytes);
    if (rc->buf_bytes >= want)
        return 0;
    free(rc->buf);
    rc->buf = aligned_alloc(SEGMENT_PAGE, want);
    rc->buf_bytes = rc->buf ? want : 0;
    return rc->buf ? 0 : complain(rc, seg->number, "scanning", -ENOMEM);
}

static int scan_all(struct recover *rc, struct store_segment *seg, struct segment_scan *scan)
{
    int no_memory = scan_buffer(rc, seg);
    if (no_memory)
        return no_memory;
    rc->base = scan->pos;
    rc->filled = 0;
    for (;;) {
        struct segment_record r;
        bool inside = scan->pos >= rc->base && scan->pos <= rc->base + rc->filled;
        const uint8_t *p = inside ? rc->buf + (scan->pos - rc->base) : rc->buf;
        size_t n = inside ? (size_t)(rc->base + rc->filled - scan->pos) : 0;
        int step = segment_scan_step(scan, p, n, &r);
        int err = step;
        if (step == SEGMENT_DONE)
            return 0;
        if (step == SEGMENT_MORE)
            err = scan_feed(rc, seg, scan);
        else if (step == SEGMENT_RECORD)
            err = apply_record(rc, seg, &r, rc->buf + (r.offset - rc->base) + SEGMENT_PAGE, scan->verify);
        else
            return complain(rc, seg->number, "a record's format", step);
        if (err)
            return err;
    }
}

/* Makes a segment that will be appended to provable: no torn gap inside, nothing but zeroes behind, all of it durable.
 */
static int mend(struct recover *rc, struct store_segment *seg, const struct segment_scan *scan)
{
    struct store *s = rc->s;
    struct disk *d = s->conf.disk;
    int err = 0;
    for (size_t i = 0; i < scan->gap_count && err == 0; i++) {
        const struct segment_gap *g = &scan->gaps[i];
        if (g->proven)
            continue;
        /* synced stays 0: a VOID proves nothing about the gaps before it, which may not be mended yet. */
        struct segment_record v = {.kind = SEGMENT_VOID, .offset = g->from, .seq = s->next_seq++};
        v.skip_bytes = g->to - g->from;
        segment_record_encode(&v, seg->uuid, rc->page);
        err = d->ops->write_now(d, seg->file, g->from, rc->page, SEGMENT_PAGE);
    }
    if (err == 0)
        err = d->ops->zero(d, seg->file, scan->tail, scan->dirty_end);
    return err;
}

static int scan_segment(struct recover *rc, struct store_segment *seg, uint64_t from, bool last)
{
    struct store *s = rc->s;
    struct segment_scan scan;
    bool verify = last || !rc->rebuild;
    segment_scan_init(&scan, seg->uuid_known ? seg->uuid : NULL, from, seg->bytes, verify, QUIET_BYTES);
    int err = scan_all(rc, seg, &scan);
    if (err == 0) {
        seg->tail = scan.tail;
        seg->uuid_known = !scan.any_uuid;
        memcpy(seg->uuid, scan.uuid, sizeof seg->uuid);
        seg->sealed |= scan.sealed || !last;
        seg->changed = true;
        for (size_t i = 0; i < scan.gap_count; i++) {
            const struct segment_gap *g = &scan.gaps[i];
            if (g->proven)
                store_bad_add(s, g->has_id ? g->frag_id : NULL, seg->number, g->from, g->to - g->from, false);
        }
        bool dirty = scan.record_count > 0 || scan.dirty_end > scan.tail || scan.gap_count > 0;
        if (!seg->sealed && dirty) {
            int failed = mend(rc, seg, &scan);
            if (failed) { /* readable, but not to be written: the log goes on elsewhere */
                store_failed(s, "mending a segment", failed, true);
                seg->sealed = true;
            }
        }
    }
    segment_scan_fini(&scan);
    return err;
}

/* After a clean stop: nothing stands behind the mark. */
static bool still_clean(struct recover *rc, struct store_segment *seg, uint64_t from)
{
    if (!rc->mark.clean || from >= seg->bytes)
        return rc->mark.clean;
    return read_some(rc, seg, from, rc->page, SEGMENT_PAGE) == 0 && segment_page_zero(rc->page);
}

static int scan_log(struct recover *rc)
{
    struct store *s = rc->s;
    uint64_t begin = rc->mark.pos.segment;
    size_t first = 0;
    while (first < rc->number_count && rc->numbers[first] < begin)
        first++;
    /* The last segment that has a record is the one to go on in; which one that is, only the scan tells. Segments
     * behind it were prepared and not used. */
    for (size_t i = first; i < rc->number_count; i++) {
        struct store_segment *seg = store_segment_find(s, rc->numbers[i]);
        uint64_t from = rc->numbers[i] == begin ? MAX_OF(rc->mark.pos.offset, (uint64_t)SEGMENT_PAGE) : SEGMENT_PAGE;
        bool last = i + 2 >= rc->number_count; /* the last, and the one before a prepared one */
        seg->tail = from;
        int err = store_segment_ref(s, seg); /* with more segments than files may be open it was closed again */
        if (err)
            return complain(rc, seg->number, "opening", err);
        if (!still_clean(rc, seg, from))
            err = scan_segment(rc, seg, from, last);
        store_segment_unref(s, seg);
        if (err)
            return err;
    }
    return 0;
}

static int adopt_all(struct recover *rc)
{
    for (size_t i = 0; i < rc->number_count; i++) {
        struct store_segment *seg = store_segment_find(rc->s, rc->numbers[i]);
        if (!rc->rebuild && rc->numbers[i] < rc->mark.pos.segment)
            continue;                                     /* its row says all that is needed */
        if (seg && rc->numbers[i] > rc->mark.pos.segment) /* what its row counts is counted again */
            seg->live_bytes = seg->fragments = 0;
        bool sealed = seg && seg->sealed && rc->numbers[i] == rc->mark.pos.segment;
        int err = adopt(rc, rc->numbers[i], &seg);
        if (err)
            return err;
        seg->sealed |= sealed;
    }
    return 0;
}

static void choose(struct recover *rc)
{
    struct store *s = rc->s;
    size_t used = s->segment_count;
    while (used > 0 && s->segments[used - 1]->tail <= SEGMENT_PAGE)
        used--;
    for (size_t i = 0; i + 1 < used; i++)
        if (!s->segments[i]->sealed)
            s->segments[i]->sealed = s->segments[i]->changed = true;
    for (size_t i = s->segment_count; i-- > used;) { /* all of them are empty */
        struct store_segment *seg = s->segments[i];
        if (i > used || seg->sealed || store_segment_ref(s, seg) != 0) {
            seg->sealed = true; /* one is enough; compaction gives it back */
            continue;
        }
        seg->refs--; /* outside of the table nobody closes its file, and the log expects it open */
        s->segment_count--;
        memmove(s->segments + i, s->segments + i + 1, (s->segment_count - i) * sizeof(struct store_segment *));
        s->spare = seg;
    }
    if (used == 0)
        return;
    struct store_segment *last = s->segments[used - 1];
    s->applied = (struct store_pos){last->number, last->tail};
    if (last->sealed || store_segment_ref(s, last) != 0)
        return;
    s->active = last; /* and the log's own reference */
    s->synced_to = last->tail;
    s->marked = rc->mark.clean;
}

static bool index_empty(struct kv *kv)
{
    struct kv_iter *it = kv->ops->iter(kv);
    if (!it)
        return false;
    it->ops->seek(it, STR(""));
    bool empty = !it->ops->valid(it) && it->ops->status(it) == 0;
    it->ops->close(it);
    return empty;
}

static int index_clear(struct store *s)
{
    if (index_empty(s->conf.kv))
        return 0;
    if (s->conf.kv_renew) {
        struct kv *kv;
        int err = s->conf.kv_renew(s->conf.kv_ctx, &kv);
        if (err == 0)
            s->conf.kv = s->index.kv = kv;
        return err;
    }
    struct kv_batch b;
    kv_batch_init(&b);
    kv_batch_del_range(&b, STR("a"), STR("z"));
    int err = b.ops.err ? b.ops.err : s->conf.kv->ops->write(s->conf.kv, &b, true);
    kv_batch_fini(&b);
    return err;
}

static int recover_run(struct recover *rc)
{
    struct store *s = rc->s;
    int err = list_files(rc);
    if (err)
        return err;
    err = load_index(rc);
    if (err) {
        snprintf(rc->why, rc->why_cap, "%s: its index cannot be read: %s", s->conf.dir, err_text(err));
        return err;
    }
    err = drop_dropped(rc);
    if (err == 0)
        err = adopt_all(rc);
    if (err)
        return err;
    if (rc->rebuild) {
        err = index_clear(s);
        s->rebuilt = rc->number_count > 0;
        if (s->rebuilt)
            log_event(LOG_WARN, "store.rebuild", "store=%s segments=%zu", s->conf.label, rc->number_count);
    }
    for (size_t i = 0; i < rc->temporary_count && err == 0; i++)
        err = unlink_number(s, rc->temporary[i], ".tmp");
    for (size_t i = 0; i < s->segment_count; i++) {
        s->live_bytes += s->segments[i]->live_bytes;
        s->fragments += s->segments[i]->fragments;
    }
    if (err == 0)
        err = scan_log(rc);
    if (err)
        goto out;
    choose(rc);
    s->flush.was_clean = rc->mark.clean;
    err = store_flush_blocking(s, true, false);
out:
    if (err && rc->why[0] == '\0')
        snprintf(rc->why, rc->why_cap, "%s: its index cannot be written: %s", s->conf.dir, err_text(err));
    return err;
}

int store_recover(struct store *s, char *why, size_t why_cap)
{
    struct recover rc = {.s = s, .why = why, .why_cap = why_cap};
    if (why_cap)
        why[0] = '\0';
    rc.page = aligned_alloc(SEGMENT_PAGE, SEGMENT_PAGE);
    int err = rc.page ? recover_run(&rc) : -ENOMEM;
    if (err && why_cap && why[0] == '\0')
        snprintf(why, why_cap, "%s: %s", s->conf.dir, err_text(err));
    free(rc.buf);
    free(rc.page);
    free(rc.numbers);
    free(rc.temporary);
    return err;
}
