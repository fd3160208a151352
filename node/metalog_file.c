/* metalog_file - appending. The active file takes records until the next does not fit; then the spare becomes active
 * and a job on a work thread makes the database durable and gives the full file a new head, number and uuid: that makes
 * it the next spare, and no old record in it can pass for a new one. An append that comes before the spare is ready
 * waits for it. */
#include "node/metalog_file_impl.h"
#include "common/crypt.h"
#include <stdio.h>
#include <stdlib.h>

int metalog_entry_init(struct metalog_entry *e, struct str bytes)
{
    if (bytes.len > METALOG_ENTRY_MAX)
        return E_LIMIT;
    size_t padded = (size_t)align_up(MAX_OF(bytes.len, 1), SEGMENT_PAGE);
    struct buf *b = buf_create(padded);
    if (!b)
        return -ENOMEM;
    if (bytes.len)
        memcpy(b->data, bytes.p, bytes.len);
    memset(b->data + bytes.len, 0, padded - bytes.len);
    e->payload = b;
    e->record = (struct segment_record){.kind = SEGMENT_FRAGMENT, .k = 1, .length = (uint32_t)bytes.len};
    segment_record_sum(&e->record, b->data);
    return 0;
}

void metalog_entry_fini(struct metalog_entry *e)
{
    buf_unref(e->payload);
    e->payload = NULL;
}

void log_entry_id(uint64_t epoch, uint64_t seq, uint8_t id[FRAG_ID_BYTES])
{
    memset(id, 0, FRAG_ID_BYTES);
    put_be64(id, epoch);
    put_be64(id + 8, seq);
}

/* ---- files ---- */

int log_path(const struct metalog_file *l, uint64_t number, const char *suffix, char *ret, size_t cap)
{
    int n = snprintf(ret, cap, "%s/%016llx%s", l->dir, (unsigned long long)number, suffix);
    return n < 0 || (size_t)n >= cap ? -ENAMETOOLONG : 0;
}

/* Gives a file its head, durably: from then on nothing that an earlier use left in it can pass for a record. */
static int head_write(struct metalog_file *l, struct log_seg *s, uint64_t number, uint64_t next_seq)
{
    uint8_t *page = aligned_alloc(SEGMENT_PAGE, SEGMENT_PAGE);
    if (!page)
        return -ENOMEM;
    struct segment_head h = {.number = number, .bytes = l->file_bytes, .created_seq = next_seq};
    random_bytes(s->uuid, sizeof s->uuid);
    memcpy(h.uuid, s->uuid, sizeof h.uuid);
    memcpy(h.drive_id, l->drive_id, sizeof h.drive_id);
    segment_head_encode(&h, page);
    int err = l->disk->ops->write_now(l->disk, s->file, 0, page, SEGMENT_PAGE);
    if (!err)
        err = l->disk->ops->zero(l->disk, s->file, 0, 0); /* nothing to zero: it syncs */
    free(page);
    s->used = s->synced = SEGMENT_PAGE;
    return err;
}

int log_seg_create(struct metalog_file *l, struct log_seg *s, uint64_t next_seq)
{
    char tmp[LOG_PATH_MAX], path[LOG_PATH_MAX];
    *s = (struct log_seg){.number = l->next_number++};
    int err = log_path(l, s->number, ".tmp", tmp, sizeof tmp);
    if (!err)
        err = log_path(l, s->number, ".log", path, sizeof path);
    if (!err)
        err = l->disk->ops->open(l->disk, tmp, DISK_CREATE | DISK_DIRECT, &s->file);
    if (err)
        return err;
    err = l->disk->ops->zero(l->disk, s->file, 0, l->file_bytes);
    if (!err)
        err = head_write(l, s, s->number, next_seq);
    if (!err)
        err = l->disk->ops->rename(l->disk, tmp, path);
    if (err) {
        l->disk->ops->close(l->disk, s->file);
        s->file = NULL;
    }
    return err;
}

/* A file whose entries nobody needs any more becomes an empty one with the next number. The new head comes before the
 * new name: were it the other way round, a crash between would show the old entries under the new number. */
int log_seg_recycle(struct metalog_file *l, struct log_seg *s, uint64_t next_seq)
{
    char from[LOG_PATH_MAX], to[LOG_PATH_MAX];
    int err = log_path(l, s->number, ".log", from, sizeof from);
    if (!err)
        err = log_path(l, l->next_number, ".log", to, sizeof to);
    if (!err)
        err = head_write(l, s, l->next_number, next_seq);
    if (!err)
        err = l->disk->ops->rename(l->disk, from, to);
    if (!err)
        s->number = l->next_number++;
    return err;
}

/* ---- the spare ---- */

static void append_begin(struct metalog_append *a);

static void spare_run(struct work_req *work)
{
    struct metalog_file *l = container_of(work, struct metalog_file, spare_work);
    l->spare_err = l->sync_applied(l->ctx);
    if (!l->spare_err)
        l->spare_err = log_seg_recycle(l, &l->retired, l->spare_seq);
}

static void spare_done(struct work_req *work)
{
    struct metalog_file *l = container_of(work, struct metalog_file, spare_work);
    struct metalog_append *a = l->waiting;
    l->making_spare = false;
    l->spare = l->retired;
    l->retired = (struct log_seg){0};
    l->waiting = NULL;
    if (a)
        append_begin(a);
    else
        l->idle(l->ctx);
}

/* The spare becomes active; false when there is none yet. */
static bool rotate(struct metalog_file *l, uint64_t seq)
{
    if (l->making_spare || l->spare_err)
        return false;
    assert(l->spare.file && !l->retired.file);
    l->retired = l->active;
    l->active = l->spare;
    l->spare = (struct log_seg){0};
    l->spare_seq = seq;
    l->making_spare = true;
    l->spare_work.run = spare_run;
    l->spare_work.cb = spare_done;
    work_submit(l->work, &l->spare_work);
    return true;
}

/* ---- appending ---- */

static void append_end(struct metalog_append *a, int err)
{
    struct metalog_file *l = a->log;
    free(a->page);
    a->page = NULL;
    l->appending = NULL;
    l->failed = err ? err : l->failed;
    if (!err) {
        l->active.synced = l->active.used;
        l->run.first_seq = l->run.last_seq ? l->run.first_seq : a->entry->seq;
        l->run.last_seq = a->entry->seq;
        l->run.last_epoch = a->entry->epoch;
    }
    a->cb(a, err);
}

static void synced(struct disk_req *r)
{
    append_end(container_of(r, struct metalog_append, req), r->status);
}

static void written(struct disk_req *r)
{
    struct metalog_append *a = container_of(r, struct metalog_append, req);
    struct metalog_file *l = a->log;
    if (r->status) {
        append_end(a, r->status);
        return;
    }
    l->active.used += segment_bytes_of(a->entry->record.length);
    a->req = (struct disk_req){.op = DISK_SYNC, .file = l->active.file, .cb = synced};
    l->disk->ops->submit(l->disk, &a->req);
}

static void append_write(struct metalog_append *a)
{
    struct metalog_file *l = a->log;
    const struct metalog_entry *e = a->entry;
    struct segment_record r = e->record;
    log_entry_id(e->epoch, e->seq, r.frag_id);
    r.epoch = e->epoch;
    r.seq = e->seq;
    r.offset = l->active.used;
    r.synced = l->active.synced;
    segment_record_encode(&r, l->active.uuid, a->page);
    a->req = (struct disk_req){.op = DISK_WRITE, .file = l->active.file, .offset = r.offset, .cb = written};
    a->req.iov[a->req.iov_count++] = (struct iovec){a->page, SEGMENT_PAGE};
    if (e->record.length)
        a->req.iov[a->req.iov_count++] =
            (struct iovec){e->payload->data, (size_t)align_up(e->record.length, SEGMENT_PAGE)};
    l->disk->ops->submit(l->disk, &a->req);
}

static void fail_run(struct loop_post *p)
{
    struct metalog_file *l = container_of(p, struct metalog_file, fail_post);
    append_end(l->appending, l->failed);
}

static void append_fail(struct metalog_file *l, int err)
{
    l->failed = l->failed ? l->failed : err;
    l->fail_post.cb = fail_run;
    loop_post(l->loop, &l->fail_post);
}

static void append_begin(struct metalog_append *a)
{
    struct metalog_file *l = a->log;
    bool fits = l->active.used + segment_bytes_of(a->entry->record.length) <= l->file_bytes;
    if (l->failed || l->spare_err) {
        append_fail(l, l->failed ? l->failed : l->spare_err);
    } else if (fits || rotate(l, a->entry->seq)) {
        a->page = aligned_alloc(SEGMENT_PAGE, SEGMENT_PAGE);
        if (a->page)
            append_write(a);
        else
            append_fail(l, -ENOMEM);
    } else {
        l->waiting = a;
    }
}

void metalog_file_append(struct metalog_file *l, const struct metalog_entry *e, struct metalog_append *a)
{
    assert(!l->appending && l->active.file);
    a->log = l;
    a->entry = e;
    a->page = NULL;
    l->appending = a;
    append_begin(a);
}

bool metalog_file_idle(const struct metalog_file *l)
{
    return !l->appending && !l->making_spare;
}

struct metalog_run metalog_file_run(const struct metalog_file *l)
{
    return l->run;
}
