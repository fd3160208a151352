/* store_read - reads the 64 KiB blocks that a range touches and verifies each before a byte is handed out. The sums
 * come from memory where they are known; else the header page is read with the first blocks when it is adjacent, or
 * beside them at the same time. What fails is read once more; a second failure is corruption and goes into quarantine.
 */
#include "common/metrics.h"
#include "node/store_internal.h"
#include <stdlib.h>

#define READ_TRIES 2 /* one direct re-read */

static void read_find(struct store_read *r);
static void read_start(struct store_read *r);

static void read_end(struct store_read *r, int status)
{
    struct store *s = r->store;
    if (r->segment)
        store_segment_unref(s, r->segment);
    if (r->slot.entry)
        chunk_unpin(&s->index, r->slot.entry);
    buf_unref(r->head);
    if (status != 0)
        buf_unref(r->buf);
    r->status = status;
    metric_add(M_STORE_READS, s->conf.label, 1);
    r->cb(r);
    store_op_done(s);
}

static void read_bad(struct store_read *r, int err)
{
    struct store *s = r->store;
    store_failed(s, "read", err, false);
    store_bad_add(s, r->frag_id, r->loc.segment, r->loc.offset, segment_bytes_of(r->loc.length), false);
    store_flush_soon(s);
    read_end(r, err);
}

/* The sums of the record that the index named; NULL: the header is not that record's. */
static const uint64_t *read_sums(struct store_read *r, struct segment_record *record)
{
    if (!r->with_head)
        return r->slot.entry
            ->sums; /* read_start saw them, the entry is pinned, and the caller knows it is the same record */
    const uint8_t *uuid = r->segment->uuid_known ? r->segment->uuid : NULL;
    int err = segment_record_decode(r->head->data, uuid, r->loc.offset, r->segment->bytes, record);
    if (err || record->kind != SEGMENT_FRAGMENT || record->length != r->loc.length || record->seq != r->loc.seq ||
        memcmp(record->frag_id, r->frag_id, FRAG_ID_BYTES) != 0)
        return NULL;
    chunk_learn_sums(r->slot.entry, &r->loc, record->sums);
    return record->sums;
}

/* The entry speaks of another record now, so its sums are not those of what was read. */
static bool read_moved(const struct store_read *r)
{
    const struct chunk_entry *e = r->slot.entry;
    return !r->with_head && (e->state != CHUNK_PRESENT || e->loc.seq != r->loc.seq);
}

static void read_verify(struct store_read *r)
{
    struct segment_record record;
    if (read_moved(r)) {
        store_segment_unref(r->store, r->segment);
        r->segment = NULL;
        read_find(r);
        return;
    }
    int err = r->io_err;
    if (err == 0) {
        const uint64_t *sums = read_sums(r, &record);
        bool good = sums && segment_blocks_good(sums, r->loc.length, r->first, r->last, r->buf->data);
        err = good ? 0 : E_CORRUPT;
    }
    if (err && ++r->tries < READ_TRIES) {
        read_start(r);
        return;
    }
    if (err) {
        read_bad(r, err);
        return;
    }
    r->data = (struct slice){r->buf, (size_t)(r->offset - (uint64_t)r->first * SEGMENT_BLOCK), (size_t)r->length};
    read_end(r, 0);
}

static void read_part(struct store_read *r, const struct disk_req *io)
{
    if (io->status)
        r->io_err = io->status;
    else if (io->result_bytes < io->wanted_bytes)
        r->io_err = E_CORRUPT; /* the file ends early */
    metric_add(M_STORE_READ_BYTES, r->store->conf.label, io->result_bytes);
    if (--r->pending == 0)
        read_verify(r);
}

static void read_data_came(struct disk_req *io)
{
    read_part(container_of(io, struct store_read, io), io);
}

static void read_head_came(struct disk_req *io)
{
    read_part(container_of(io, struct store_read, head_io), io);
}

static void read_submit(struct store_read *r, struct disk_req *io, uint64_t offset, void (*cb)(struct disk_req *io))
{
    io->op = DISK_READ;
    io->file = r->segment->file;
    io->offset = offset;
    io->cb = cb;
    r->store->conf.disk->ops->submit(r->store->conf.disk, io);
}

static void read_start(struct store_read *r)
{
    uint64_t from = (uint64_t)r->first * SEGMENT_BLOCK;
    uint64_t to = MIN_OF((uint64_t)(r->last + 1) * SEGMENT_BLOCK, align_up(r->loc.length, SEGMENT_PAGE));
    size_t bytes = (size_t)(to - from);
    /* A second try reads the header too: the sums in memory may be what is wrong. */
    r->with_head = !r->slot.entry->sums || r->tries > 0;
    r->apart = r->with_head && from > 0;
    r->io_err = 0;
    r->pending = r->apart ? 2 : 1;
    buf_unref(r->buf);
    buf_unref(r->head);
    r->buf = r->into && r->into->cap >= bytes ? buf_ref(r->into) : buf_create(bytes);
    r->head = r->with_head ? buf_create(SEGMENT_PAGE) : NULL;
    if (!r->buf || (r->with_head && !r->head)) {
        read_end(r, -ENOMEM);
        return;
    }
    struct iovec head = {r->head ? r->head->data : NULL, SEGMENT_PAGE}, data = {r->buf->data, bytes};
    uint64_t payload = r->loc.offset + SEGMENT_PAGE;
    r->io = (struct disk_req){.iov = {data}, .iov_count = 1};
    if (r->with_head && !r->apart) {
        r->io = (struct disk_req){.iov = {head, data}, .iov_count = 2};
        read_submit(r, &r->io, r->loc.offset, read_data_came);
        return;
    }
    read_submit(r, &r->io, payload + from, read_data_came);
    if (r->apart) {
        r->head_io = (struct disk_req){.iov = {head}, .iov_count = 1};
        read_submit(r, &r->head_io, r->loc.offset, read_head_came);
    }
}

/* Clips the range to the fragment. */
static int read_range(struct store_read *r)
{
    uint64_t size = r->loc.length;
    if (r->offset >= size) /* no fragment is empty */
        return -EINVAL;
    if (r->length == 0 || r->length > size - r->offset)
        r->length = size - r->offset;
    r->fragment_bytes = size;
    r->first = (uint32_t)(r->offset / SEGMENT_BLOCK);
    r->last = (uint32_t)((r->offset + r->length - 1) / SEGMENT_BLOCK);
    return 0;
}

static void read_found(struct store_read *r)
{
    struct store *s = r->store;
    const struct chunk_entry *e = r->slot.entry;
    if (e->state == CHUNK_ABSENT) {
        read_end(r, STORE_NOT_FOUND);
        return;
    }
    r->loc = e->loc;
    struct store_segment *seg = store_segment_find(s, r->loc.segment);
    int err = seg && !seg->gone ? read_range(r) : E_CORRUPT;
    if (err == 0)
        err = store_segment_ref(s, seg);
    if (err) {
        s->rebuild_next |= err == E_CORRUPT; /* the index names a segment that is not there */
        read_end(r, err);
        return;
    }
    r->segment = seg;
    read_start(r);
}

static void read_looked(struct work_req *w)
{
    struct store_read *r = container_of(w, struct store_read, work);
    int err = chunk_get_end(&r->get);
    if (err) {
        r->store->rebuild_next |= err == E_CORRUPT;
        read_end(r, err);
        return;
    }
    read_found(r);
}

static void read_look(struct work_req *w)
{
    chunk_get_run(&container_of(w, struct store_read, work)->get);
}

static void read_find(struct store_read *r)
{
    if (!chunk_get_begin(&r->store->index, &r->get, &r->slot, 1)) {
        read_found(r);
        return;
    }
    r->work.run = read_look;
    r->work.cb = read_looked;
    work_submit(r->store->conf.work, &r->work);
}

static void read_begin(struct loop_post *p)
{
    struct store_read *r = container_of(p, struct store_read, post);
    if (r->status)
        read_end(r, r->status);
    else
        read_found(r);
}

void store_read(struct store *s, struct store_read *r)
{
    r->store = s;
    r->segment = NULL;
    r->buf = r->head = NULL;
    r->data = (struct slice){0};
    r->tries = 0;
    r->fragment_bytes = 0;
    s->ops++;
    r->slot.entry = s->closing == STORE_RUNS ? chunk_pin(&s->index, r->frag_id) : NULL;
    r->status = s->closing != STORE_RUNS ? -ECANCELED : r->slot.entry ? 0 : -ENOMEM;
    if (r->status == 0 && r->slot.entry->state == CHUNK_UNKNOWN) {
        read_find(r);
        return;
    }
    r->post.cb = read_begin; /* known already: still never call back inside */
    loop_post(s->conf.loop, &r->post);
}
