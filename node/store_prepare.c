/* store_prepare - makes the next segment before it is needed: temporary name, zeroes one piece after the other through
 * the disk's queue (so that foreground writes get between), fdatasync, rename, fsync of the folder.
 *
 * The last room of a drive is kept for deletes and compaction: a segment made when less than two more would fit is
 * `reserved`, and ordinary writes get -ENOSPC until a check finds room again. */
#include "common/crypt.h"
#include "common/log.h"
#include "node/store_internal.h"
#include <stdlib.h>

#define ZERO_PIECE ((size_t)MIB)

static void prepare_io(struct disk_req *r);
static void prepare_came(struct work_req *w);
static void prepare_open(struct work_req *w);
static void prepare_name(struct work_req *w);
static void prepare_undo(struct work_req *w);

static struct store *store_of(struct store_prepare *p)
{
    return container_of(p, struct store, prepare);
}

static void prepare_work(struct store_prepare *p, enum store_prepare_step step, void (*run)(struct work_req *w))
{
    p->step = step;
    p->work.run = run;
    p->work.cb = prepare_came;
    work_submit(store_of(p)->conf.work, &p->work);
}

/* Work thread. How large the segment may be, or -ENOSPC. */
static int prepare_size(struct store *s, struct store_prepare *p)
{
    uint64_t unit = s->conf.segment_bytes, free_bytes, total_bytes;
    int err = s->conf.disk->ops->space(s->conf.disk, s->conf.dir, &free_bytes, &total_bytes);
    if (err)
        return err;
    uint64_t bytes = p->first ? MIN_OF(unit, STORE_FIRST_BYTES) : unit;
    uint64_t need = align_up((p->need_bytes + 2 * SEGMENT_PAGE) * 16 / 15, SEGMENT_PAGE) + 2 * SEGMENT_PAGE;
    bytes = MAX_OF(bytes, need);
    p->reserved = free_bytes < bytes + 2 * unit;
    if (p->reserved && !p->urgent)
        return -ENOSPC;
    while (p->reserved && free_bytes < bytes + STORE_SMALL_BYTES / 2 && bytes / 2 >= MAX_OF(need, STORE_SMALL_BYTES))
        bytes = bytes / 2 / SEGMENT_PAGE * SEGMENT_PAGE;
    if (free_bytes < bytes)
        return -ENOSPC;
    p->head.bytes = bytes;
    return 0;
}

static void prepare_open(struct work_req *w)
{
    struct store_prepare *p = container_of(w, struct store_prepare, work);
    struct store *s = store_of(p);
    p->err = prepare_size(s, p);
    if (p->err || p->check_only)
        return;
    char *path = store_path(s, p->head.number, ".tmp");
    p->zeroes = buf_create(SEGMENT_PAGE + ZERO_PIECE);
    p->err = path && p->zeroes ? 0 : -ENOMEM;
    if (p->err == 0)
        p->err = s->conf.disk->ops->open(s->conf.disk, path, DISK_CREATE | DISK_DIRECT, &p->file);
    if (p->err == 0) {
        random_bytes(p->head.uuid, sizeof p->head.uuid);
        segment_head_encode(&p->head, p->zeroes->data);
        memset(p->zeroes->data + SEGMENT_PAGE, 0, ZERO_PIECE);
    }
    free(path);
}

static void prepare_name(struct work_req *w)
{
    struct store_prepare *p = container_of(w, struct store_prepare, work);
    struct store *s = store_of(p);
    char *from = store_path(s, p->head.number, ".tmp"), *to = store_path(s, p->head.number, "");
    p->err = from && to ? s->conf.disk->ops->rename(s->conf.disk, from, to) : -ENOMEM;
    free(from);
    free(to);
}

/* Work thread: takes back what a failure left. The final name too: a rename whose folder sync failed may have happened.
 */
static void prepare_undo(struct work_req *w)
{
    struct store_prepare *p = container_of(w, struct store_prepare, work);
    struct store *s = store_of(p);
    static const char *const suffix[] = {".tmp", ""};
    for (size_t i = 0; i < ARRAY_LEN(suffix); i++) {
        char *path = store_path(s, p->head.number, suffix[i]);
        if (path)
            s->conf.disk->ops->unlink(s->conf.disk, path); /* what cannot be unlinked, the next start finds */
        free(path);
    }
}

static void prepare_zero(struct store_prepare *p)
{
    size_t head = p->at == 0 ? SEGMENT_PAGE : 0;
    size_t piece = (size_t)MIN_OF(ZERO_PIECE, p->head.bytes - p->at - head);
    p->step = PREPARE_ZERO;
    p->io = (struct disk_req){.op = DISK_WRITE, .file = p->file, .offset = p->at, .iov_count = 1, .cb = prepare_io};
    p->io.iov[0].iov_base = p->zeroes->data + (head ? 0 : SEGMENT_PAGE);
    p->io.iov[0].iov_len = head + piece;
    p->at += head + piece;
    store_of(p)->conf.disk->ops->submit(store_of(p)->conf.disk, &p->io);
}

static int prepare_finish(struct store_prepare *p)
{
    struct store *s = store_of(p);
    struct store_segment *seg = calloc(1, sizeof *seg);
    if (!seg)
        return -ENOMEM;
    *seg = (struct store_segment){.number = p->head.number,
                                  .bytes = p->head.bytes,
                                  .tail = SEGMENT_PAGE,
                                  .reserved = p->reserved,
                                  .uuid_known = true,
                                  .changed = true,
                                  .file = p->file,
                                  .used_at = ++s->use_clock};
    memcpy(seg->uuid, p->head.uuid, sizeof seg->uuid);
    s->open_files++;
    s->spare = seg;
    p->file = NULL;
    return 0;
}

static void prepare_end(struct store_prepare *p, int err)
{
    struct store *s = store_of(p);
    if (p->file)
        s->conf.disk->ops->close(s->conf.disk, p->file);
    p->file = NULL;
    buf_unref(p->zeroes);
    p->zeroes = NULL;
    p->err = err;
    if (err && p->step != PREPARE_UNDO && !p->check_only) {
        prepare_work(p, PREPARE_UNDO, prepare_undo);
        return;
    }
    p->step = PREPARE_IDLE;
    if (err) {
        p->not_before_ns = loop_now_ns(s->conf.loop) + STORE_RETRY_NS;
        if (err != -ENOSPC)
            store_failed(s, "preparing a segment", err,
                         err != -ENOMEM); /* a drive that died has no write left to fail */
        else if (!s->full)
            log_event(LOG_WARN, "store.full", "store=%s urgent=%d", s->conf.label, p->urgent);
    }
    s->full = err == -ENOSPC;
    store_pump(s);
    store_op_done(s);
}

static void prepare_advance(struct store_prepare *p, int err)
{
    if (err && p->step != PREPARE_UNDO) {
        prepare_end(p, err);
        return;
    }
    switch (p->step) {
    case PREPARE_OPEN:
        if (p->check_only) {
            struct store *s = store_of(p);
            struct store_segment *seg = s->spare ? s->spare : s->active;
            seg->reserved = false;
            if (s->active)
                s->active->reserved = false;
            prepare_end(p, 0);
            return;
        }
        p->at = 0;
        prepare_zero(p);
        return;
    case PREPARE_ZERO:
        if (p->at < p->head.bytes) {
            prepare_zero(p);
            return;
        }
        p->step = PREPARE_SYNC;
        p->io = (struct disk_req){.op = DISK_SYNC, .file = p->file, .cb = prepare_io};
        store_of(p)->conf.disk->ops->submit(store_of(p)->conf.disk, &p->io);
        return;
    case PREPARE_SYNC:
        prepare_work(p, PREPARE_NAME, prepare_name);
        return;
    case PREPARE_NAME:
        prepare_end(p, prepare_finish(p));
        return;
    case PREPARE_UNDO:
        prepare_end(p, p->err);
        return;
    case PREPARE_IDLE:
        break;
    }
    assert(p->step != PREPARE_IDLE);
}

static void prepare_io(struct disk_req *r)
{
    prepare_advance(container_of(r, struct store_prepare, io), r->status);
}

static void prepare_came(struct work_req *w)
{
    struct store_prepare *p = container_of(w, struct store_prepare, work);
    prepare_advance(p, p->step == PREPARE_UNDO ? 0 : p->err);
}

void store_prepare_want(struct store *s, uint64_t need_bytes, bool urgent)
{
    struct store_prepare *p = &s->prepare;
    if (p->step != PREPARE_IDLE || !s->started || s->closing != STORE_RUNS)
        return;
    s->ops++;
    *p = (struct store_prepare){.need_bytes = need_bytes,
                                .urgent = urgent,
                                .first = s->segment_count == 0 && !s->spare,
                                .check_only = s->spare != NULL || (s->active && s->active->reserved && !urgent)};
    p->head.number = s->next_number;
    p->head.created_seq = s->next_seq;
    memcpy(p->head.drive_id, s->conf.drive_id, sizeof p->head.drive_id);
    if (!p->check_only)
        s->next_number++; /* also when it fails: a number is never used twice */
    prepare_work(p, PREPARE_OPEN, prepare_open);
}

void store_prepare_ahead(struct store *s)
{
    if (s->spare || s->prepare.step != PREPARE_IDLE || loop_now_ns(s->conf.loop) < s->prepare.not_before_ns)
        return;
    if (!s->active || s->active->sealed || s->active->tail > s->active->bytes / 4)
        store_prepare_want(s, 0, false);
}
