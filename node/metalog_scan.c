/* metalog_scan - recovery of the log: find the files, scan them in the order of their numbers, keep the places of the
 * entries. The sequence numbers say all there is to say about damage: one append is under way at a time, so a crash can
 * tear only the last entry, and a hole with later entries behind it was durable once. What stands before a hole is
 * dropped; whether the database still needs it is for the caller to see (run.first_seq). */
#include "node/metalog_file_impl.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define SCAN_CHUNK  ((size_t)MIB)
#define SCAN_BUFFER ((size_t)(SEGMENT_PAYLOAD_MAX + SEGMENT_PAGE) + SCAN_CHUNK)
#define SCAN_QUIET  (SEGMENT_PAYLOAD_MAX + SCAN_CHUNK) /* no hole is longer than the largest entry */

static void log_free(struct metalog_file *l)
{
    struct log_seg *segs[] = {&l->active, &l->spare, &l->retired};
    for (size_t i = 0; i < ARRAY_LEN(segs); i++)
        if (segs[i]->file)
            l->disk->ops->close(l->disk, segs[i]->file);
    for (unsigned i = 0; i < l->found_count; i++)
        if (l->found[i].file)
            l->disk->ops->close(l->disk, l->found[i].file);
    free(l->places);
    free(l);
}

/* Entries rise, first by epoch, then by seq. What does not is left over from an earlier use of a file whose head was
 * damaged; what begins a later epoch at a lower seq replaces the tail (R9). */
static int place_add(struct metalog_file *l, struct log_place p)
{
    const struct log_place *last = l->place_count > 0 ? &l->places[l->place_count - 1] : NULL;
    if (last && (p.epoch < last->epoch || (p.epoch == last->epoch && p.seq <= last->seq)))
        return 0;
    while (l->place_count > 0 && l->places[l->place_count - 1].seq >= p.seq)
        l->place_count--;
    if (l->place_count > 0 && l->places[l->place_count - 1].seq + 1 != p.seq)
        l->place_count = 0; /* a hole: only what comes behind it is unbroken */
    if (l->place_count == l->place_cap) {
        size_t cap = l->place_cap ? l->place_cap * 2 : 256;
        struct log_place *grown = realloc(l->places, cap * sizeof *grown);
        if (!grown)
            return -ENOMEM;
        l->places = grown;
        l->place_cap = cap;
    }
    l->places[l->place_count++] = p;
    return 0;
}

static int record_take(struct metalog_file *l, unsigned file, const struct segment_record *r)
{
    uint8_t id[FRAG_ID_BYTES];
    if (r->kind != SEGMENT_FRAGMENT || r->seq == 0)
        return 0;
    log_entry_id(r->epoch, r->seq, id);
    if (memcmp(id, r->frag_id, sizeof id) != 0)
        return E_CORRUPT;
    return place_add(l, (struct log_place){r->epoch, r->seq, r->offset, r->length, file});
}

static int scan_records(struct metalog_file *l, unsigned file, struct segment_scan *s, uint8_t *buf)
{
    struct log_seg *seg = &l->found[file];
    struct segment_record r;
    uint64_t at = 0;
    size_t have = 0;
    for (;;) {
        size_t skip = s->pos - at <= have ? (size_t)(s->pos - at) : have;
        int step = segment_scan_step(s, buf + skip, have - skip, &r);
        if (step == SEGMENT_DONE || step < 0)
            return step < 0 ? step : 0;
        if (step == SEGMENT_RECORD) {
            int err = record_take(l, file, &r);
            if (err)
                return err;
            continue;
        }
        size_t want = MIN_OF(MAX_OF((size_t)s->want, SCAN_CHUNK), SCAN_BUFFER);
        int err = l->disk->ops->read_now(l->disk, seg->file, s->pos, buf, want, &have);
        if (err)
            return err;
        at = s->pos;
        if (have < s->want)
            s->limit = MIN_OF(s->limit, s->pos + have); /* the file is shorter than its head says */
    }
}

static int scan_file(struct metalog_file *l, unsigned file, uint8_t *buf)
{
    struct log_seg *seg = &l->found[file];
    struct segment_head h;
    struct segment_scan s;
    uint64_t bytes;
    size_t have;
    int err = l->disk->ops->size(l->disk, seg->file, &bytes);
    if (!err)
        err = l->disk->ops->read_now(l->disk, seg->file, 0, buf, SEGMENT_PAGE, &have);
    if (err)
        return err;
    int head = have == SEGMENT_PAGE ? segment_head_decode(buf, &h) : E_CORRUPT;
    if (head == E_VERSION)
        return head;
    if (!head && memcmp(h.drive_id, l->drive_id, sizeof h.drive_id) != 0)
        return E_FOREIGN;
    segment_scan_init(&s, head ? NULL : h.uuid, SEGMENT_PAGE, bytes, true, SCAN_QUIET);
    err = scan_records(l, file, &s, buf);
    segment_scan_fini(&s);
    return err;
}

struct name_list {
    struct metalog_file *log;
    uint64_t numbers[LOG_FILES_MAX], temporary[LOG_FILES_MAX];
    unsigned count, temporary_count;
};

static void name_seen(void *ctx, const char *name)
{
    struct name_list *n = ctx;
    char *end;
    uint64_t number = strtoull(name, &end, 16);
    if (end != name + 16)
        return;
    if (strcmp(end, ".log") == 0 && n->count < LOG_FILES_MAX)
        n->numbers[n->count++] = number;
    if (strcmp(end, ".tmp") == 0 && n->temporary_count < LOG_FILES_MAX)
        n->temporary[n->temporary_count++] = number;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static int files_open(struct metalog_file *l)
{
    struct name_list n = {.log = l};
    char path[LOG_PATH_MAX];
    int err = l->disk->ops->list(l->disk, l->dir, name_seen, &n);
    for (unsigned i = 0; !err && i < n.temporary_count; i++) {
        err = log_path(l, n.temporary[i], ".tmp", path, sizeof path);
        err = err ? err : l->disk->ops->unlink(l->disk, path);
    }
    qsort(n.numbers, n.count, sizeof n.numbers[0], by_number);
    for (unsigned i = 0; !err && i < n.count; i++) {
        l->found[i].number = n.numbers[i];
        l->next_number = n.numbers[i] + 1;
        err = log_path(l, n.numbers[i], ".log", path, sizeof path);
        err = err ? err : l->disk->ops->open(l->disk, path, DISK_DIRECT, &l->found[i].file);
        l->found_count += err ? 0 : 1;
    }
    return err;
}

static int files_scan(struct metalog_file *l)
{
    uint8_t *buf = aligned_alloc(SEGMENT_PAGE, SCAN_BUFFER);
    int err = buf ? 0 : -ENOMEM;
    for (unsigned i = 0; !err && i < l->found_count; i++)
        err = scan_file(l, i, buf);
    free(buf);
    if (l->place_count > 0)
        l->run = (struct metalog_run){l->places[0].seq, l->places[l->place_count - 1].seq,
                                      l->places[l->place_count - 1].epoch};
    return err;
}

int metalog_file_open(const struct metalog_file_conf *conf, struct metalog_file **ret_log, char *why, size_t why_cap)
{
    struct metalog_file *l = calloc(1, sizeof *l);
    if (!l)
        return -ENOMEM;
    l->disk = conf->disk;
    l->work = conf->work;
    l->loop = conf->loop;
    l->file_bytes = MAX_OF(align_up(conf->file_bytes, SEGMENT_PAGE), METALOG_ENTRY_MAX + 4 * SEGMENT_PAGE);
    l->sync_applied = conf->sync_applied;
    l->idle = conf->idle;
    l->ctx = conf->ctx;
    l->next_number = 1;
    memcpy(l->drive_id, conf->drive_id, sizeof l->drive_id);
    int n = snprintf(l->dir, sizeof l->dir, "%s", conf->dir);
    int err = n < 0 || (size_t)n >= sizeof l->dir ? -ENAMETOOLONG : 0;
    if (!err && mkdir(l->dir, 0700) < 0 && errno != EEXIST)
        err = -errno;
    if (!err)
        err = files_open(l);
    if (!err)
        err = files_scan(l);
    if (err) {
        snprintf(why, why_cap, "%s: the metadata log cannot be read: %s", conf->dir, err_text(err));
        log_free(l);
        return err;
    }
    *ret_log = l;
    return 0;
}

void metalog_file_close(struct metalog_file *l)
{
    assert(metalog_file_idle(l));
    log_free(l);
}

static const struct log_place *place_of(const struct metalog_file *l, uint64_t seq)
{
    if (l->place_count == 0 || seq < l->places[0].seq || seq > l->places[l->place_count - 1].seq)
        return NULL;
    return &l->places[seq - l->places[0].seq];
}

uint64_t metalog_file_epoch_of(const struct metalog_file *l, uint64_t seq)
{
    const struct log_place *p = place_of(l, seq);
    return p ? p->epoch : 0;
}

int metalog_file_each(struct metalog_file *l, uint64_t from_seq,
                      int (*each)(void *ctx, uint64_t epoch, uint64_t seq, struct str bytes), void *ctx)
{
    const struct log_place *p = place_of(l, from_seq);
    if (!p)
        return 0;
    uint8_t *buf = aligned_alloc(SEGMENT_PAGE, METALOG_ENTRY_MAX + SEGMENT_PAGE);
    int err = buf ? 0 : -ENOMEM;
    for (; !err && p < l->places + l->place_count; p++) {
        size_t want = (size_t)segment_bytes_of(p->length), have;
        struct segment_record r;
        err = l->disk->ops->read_now(l->disk, l->found[p->file].file, p->offset, buf, want, &have);
        if (!err && have < want)
            err = E_CORRUPT;
        if (!err)
            err = segment_record_decode(buf, NULL, p->offset, p->offset + want, &r);
        if (!err && r.length &&
            !segment_blocks_good(r.sums, r.length, 0, segment_sum_count(r.length) - 1, buf + SEGMENT_PAGE))
            err = E_CORRUPT;
        if (!err)
            err = each(ctx, p->epoch, p->seq, (struct str){(const char *)buf + SEGMENT_PAGE, p->length});
    }
    free(buf);
    return err;
}

/* Old files of another size (a setting changed) or more of them than two are not worth keeping. */
static int found_take(struct metalog_file *l, uint64_t next_seq)
{
    char path[LOG_PATH_MAX];
    for (unsigned i = 0; i < l->found_count; i++) {
        struct log_seg *s = &l->found[i], *to = !l->active.file ? &l->active : !l->spare.file ? &l->spare : NULL;
        uint64_t bytes;
        int err = l->disk->ops->size(l->disk, s->file, &bytes);
        if (!err && to && bytes == l->file_bytes) {
            err = log_seg_recycle(l, s, next_seq);
            *to = *s;
            s->file = NULL;
        } else if (!err) {
            err = log_path(l, s->number, ".log", path, sizeof path);
            l->disk->ops->close(l->disk, s->file);
            s->file = NULL;
            err = err ? err : l->disk->ops->unlink(l->disk, path);
        }
        if (err)
            return err;
    }
    l->found_count = 0;
    return 0;
}

int metalog_file_reset(struct metalog_file *l, uint64_t next_seq)
{
    assert(metalog_file_idle(l) && !l->active.file);
    int err = found_take(l, next_seq);
    if (!err && !l->active.file)
        err = log_seg_create(l, &l->active, next_seq);
    if (!err && !l->spare.file)
        err = log_seg_create(l, &l->spare, next_seq);
    free(l->places);
    l->places = NULL;
    l->place_count = l->place_cap = 0;
    l->run = (struct metalog_run){0};
    return err;
}
