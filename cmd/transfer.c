/* transfer - the set: hands free slots to transfers in order, waits, and tries again with growing pauses.
 *
 * A call that failed for the moment keeps its slot and its memory until its pause is over, so that a server that is
 * down is not asked by ever more calls. SIGINT ends the run between two turns; what was finished is remembered
 * (resume.c). */
#include "cmd/transfer.h"
#include "common/crypt.h"
#include "common/err.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TURN_MS        100
#define RETRY_FIRST_MS 250
#define READ_PIECE     (1 * MIB)
#define MEMORY_MAX     (1 * GIB) /* parts in memory at once */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signo)
{
    (void)signo;
    interrupted = 1;
}

int transfer_set_open(struct transfer_set *set, const struct cmdline *l)
{
    uint64_t parallel;
    memset(set, 0, sizeof(*set));
    set->line = l;
    set->last = &set->first;
    set->quiet = cmd_has(l, OPT_QUIET);
    set->tty = !set->quiet && isatty(STDERR_FILENO);
    int rc = cmd_number(l, OPT_PARALLEL, 4, 1, TRANSFER_PARALLEL_MAX, &parallel);
    if (rc == CMD_OK)
        rc = cmd_number(l, OPT_PART_SIZE, TRANSFER_PART_DEFAULT, TRANSFER_PART_LEAST, TRANSFER_PART_MOST,
                        &set->part_bytes);
    if (rc != CMD_OK)
        return rc;
    set->parallel = (unsigned)parallel;
    return s3c_open(&set->s3, l, set->parallel);
}

static void transfer_free(struct transfer *t)
{
    if (t->fd >= 0)
        close(t->fd);
    free(t->path);
    free(t->bucket);
    free(t->key);
    free(t->parts);
    free(t->upload_id);
    free(t->state_path);
    free(t->part_path);
    if (t->etag_digest)
        digest_destroy(t->etag_digest);
    free(t);
}

void transfer_set_close(struct transfer_set *set)
{
    for (unsigned i = 0; i < TRANSFER_PARALLEL_MAX; i++) {
        s3c_call_fini(&set->slots[i].call);
        free(set->slots[i].memory);
    }
    for (struct transfer *t = set->first, *next; t; t = next) {
        next = t->next;
        transfer_free(t);
    }
    s3c_close(&set->s3);
}

void transfer_add(struct transfer_set *set, const struct transfer_way *way, const char *path, struct str bucket,
                  struct str key, uint64_t size)
{
    struct transfer *t = calloc(1, sizeof(*t));
    if (t) {
        t->path = strdup(path);
        t->bucket = strndup(bucket.p, bucket.len);
        t->key = strndup(key.p, key.len);
    }
    if (!t || !t->path || !t->bucket || !t->key)
        abort(); /* a command line without memory for names */
    t->way = way;
    t->set = set;
    t->fd = -1;
    t->size = size;
    set->total_bytes += size;
    set->count++;
    *set->last = t;
    set->last = &t->next;
}

/* Once no call writes to it any more: its number may become another file's. */
static void close_file(struct transfer *t)
{
    if (t->step < TRANSFER_DONE || t->running || t->fd < 0)
        return;
    close(t->fd);
    t->fd = -1;
}

static void ended(struct transfer *t, enum transfer_step step)
{
    assert(t->step < TRANSFER_DONE);
    t->step = step;
    t->set->ended++;
    t->set->ended_bytes += t->size;
    free(t->parts);
    t->parts = NULL;
    close_file(t);
}

void transfer_fail(struct transfer *t, const char *fmt, ...)
{
    va_list ap;
    char sentence[1024];
    if (t->step >= TRANSFER_DONE)
        return; /* calls that were under way beside the first failure */
    va_start(ap, fmt);
    vsnprintf(sentence, sizeof(sentence), fmt, ap);
    va_end(ap);
    if (t->set->tty)
        fputs("\r\033[K", stderr);
    cmd_error(t->set->line, "%s: %s", t->path, sentence);
    t->set->failed++;
    ended(t, TRANSFER_FAILED);
}

void transfer_done(struct transfer *t)
{
    t->set->done_bytes += t->size;
    ended(t, TRANSFER_DONE);
    progress_file(t);
}

bool transfer_cut(struct transfer *t)
{
    while (t->part_bytes * TRANSFER_PARTS_MAX < t->size)
        t->part_bytes *= 2;
    t->part_count = (unsigned)((t->size + t->part_bytes - 1) / t->part_bytes);
    free(t->parts);
    t->parts = calloc(MAX_OF(t->part_count, 1u), sizeof(*t->parts));
    if (!t->parts) {
        transfer_fail(t, "out of memory");
        return false;
    }
    for (unsigned i = 0; i < t->part_count; i++) {
        t->parts[i].offset = i * t->part_bytes;
        t->parts[i].bytes = MIN_OF(t->part_bytes, t->size - t->parts[i].offset);
    }
    t->part_next = t->parts_done = 0;
    return true;
}

struct transfer_part *transfer_next_part(struct transfer *t, unsigned *ret_index)
{
    for (; t->part_next < t->part_count; t->part_next++) {
        struct transfer_part *p = &t->parts[t->part_next];
        if (p->state != PART_WAITING)
            continue;
        p->state = PART_RUNNING;
        *ret_index = t->part_next++;
        return p;
    }
    return NULL;
}

int transfer_read(int fd, uint8_t *p, uint64_t offset, size_t n)
{
    while (n) {
        ssize_t got = pread(fd, p, n, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -errno : -EIO;
        p += got;
        offset += (uint64_t)got;
        n -= (size_t)got;
    }
    return 0;
}

int transfer_md5(int fd, uint64_t offset, uint64_t n, uint8_t ret[16])
{
    struct digest *d;
    uint8_t *piece = malloc(READ_PIECE);
    int err = piece ? digest_create(DIGEST_MD5, &d) : -ENOMEM;
    if (err) {
        free(piece);
        return err;
    }
    while (err == 0 && n) {
        size_t step = MIN_OF(n, READ_PIECE);
        err = transfer_read(fd, piece, offset, step);
        if (err == 0)
            digest_update(d, piece, step);
        offset += step;
        n -= step;
    }
    digest_final(d, ret);
    digest_destroy(d);
    free(piece);
    return err;
}

static void start_call(struct slot *s)
{
    http_call_fini(&s->call.http); /* what an earlier try left */
    s3c_call_sign(&s->set->s3, &s->call);
    s->running = true;
    http_client_start(s->set->s3.http, &s->call.http);
}

static void free_slot(struct slot *s)
{
    s->transfer->running--;
    close_file(s->transfer);
    s->transfer = NULL;
    s3c_call_fini(&s->call);
    memset(&s->call, 0, sizeof(s->call));
}

static void call_done(struct http_call *h)
{
    struct slot *s = h->user;
    struct transfer *t = s->transfer;
    s->running = false;
    if (t->step < TRANSFER_DONE && s3c_call_failed_for_now(&s->call) && ++s->tries < TRANSFER_TRIES) {
        s->retry_at_ms = progress_now_ms() + (RETRY_FIRST_MS << (s->tries - 1));
        return;
    }
    if (t->step < TRANSFER_DONE)
        t->way->answered(t, s);
    free_slot(s);
}

/* Gives a free slot to the first transfer that has something to begin. */
static bool fill_slot(struct transfer_set *set, struct slot *s)
{
    unsigned open = 0;
    for (struct transfer *t = set->first; t && open < set->parallel; t = t->next) {
        if (t->step >= TRANSFER_DONE)
            continue;
        open++; /* no more files are open at once than calls may run */
        s->set = set;
        if (!t->way->next(t, s))
            continue;
        s->transfer = t;
        s->tries = 0;
        s->step = t->step;
        s->call.http.on_done = call_done;
        s->call.http.user = s;
        t->running++;
        start_call(s);
        return true;
    }
    return false;
}

static bool memory_left(const struct transfer_set *set)
{
    uint64_t held = 0;
    for (unsigned i = 0; i < set->parallel; i++)
        held += set->slots[i].transfer ? set->slots[i].memory_cap : 0;
    return held < MEMORY_MAX;
}

static void fill_slots(struct transfer_set *set)
{
    uint64_t now = progress_now_ms();
    for (unsigned i = 0; i < set->parallel; i++) {
        struct slot *s = &set->slots[i];
        if (s->transfer && !s->running && s->transfer->step >= TRANSFER_DONE)
            free_slot(s);
        else if (s->transfer && !s->running && s->retry_at_ms <= now)
            start_call(s);
        if (!s->transfer && (!memory_left(set) || !fill_slot(set, s)))
            continue;
    }
}

/* Transfers begin in order, so those that ended stand among the first ones: they leave the list there, and a million
 * files do not make every look at it long. */
static void drop_ended(struct transfer_set *set)
{
    unsigned open = 0;
    for (struct transfer **at = &set->first; *at && open < set->parallel;) {
        struct transfer *t = *at;
        if (t->step < TRANSFER_DONE || t->running) {
            open++;
            at = &t->next;
            continue;
        }
        *at = t->next;
        if (!*at)
            set->last = at;
        transfer_free(t);
    }
}

int transfer_run(struct transfer_set *set)
{
    struct sigaction act = {.sa_handler = on_interrupt}, old;
    sigaction(SIGINT, &act, &old);
    set->started_ms = progress_now_ms();
    while (set->first && !interrupted) {
        fill_slots(set);
        if (http_client_running(set->s3.http))
            http_client_turn(set->s3.http, TURN_MS);
        else if (set->ended < set->count)
            usleep(TURN_MS * 100); /* every slot waits for its next try */
        drop_ended(set);
        progress_paint(set, progress_now_ms(), false);
    }
    progress_paint(set, progress_now_ms(), true);
    sigaction(SIGINT, &old, NULL);
    if (interrupted) {
        cmd_error(set->line, "stopped; the same command goes on where this one stopped");
        return CMD_STOPPED;
    }
    return set->failed ? CMD_FAILED : CMD_OK;
}
