/* disk_sim - files are byte arrays; the trace is the list of everything that changed them. A power cut replays the
 * trace into a new disk: each file has what is stable, and of the writes that no completed sync covered what the kind
 * of cut lets through. Names are durable at once, as the real disk syncs the folder before rename and unlink return. */
#include "tests/lib/disk_sim.h"
#include "common/err.h"
#include <pthread.h>
#include <stdlib.h>

enum step_kind { STEP_CREATE, STEP_WRITE, STEP_DONE, STEP_SYNC, STEP_LOST, STEP_RENAME, STEP_UNLINK, STEP_NOTE };

struct step {
    enum step_kind kind;
    unsigned file;   /* its number, whatever its name is */
    uint64_t offset; /* WRITE */
    size_t len;      /* WRITE */
    uint8_t *data;   /* WRITE; owned */
    size_t of;       /* DONE: the step of the write. SYNC, LOST: writes done before that step are meant */
    char *path;      /* CREATE, RENAME: the new name; owned */
};

struct sim_file {
    unsigned number;
    char *path; /* NULL: unlinked */
    uint8_t *bytes;
    size_t len, cap;
};
struct disk_file {
    struct sim_file *file;
};
struct pending {
    struct disk_req *req;
    size_t step; /* of its WRITE, or where a SYNC was submitted */
};

struct disk_sim {
    struct disk disk;
    struct loop *loop;
    pthread_mutex_t lock;
    uint64_t random, capacity;
    uint64_t fail_in;
    bool fail_stays, failed;
    int fail_err;
    unsigned fail_kinds;
    struct sim_file **files;
    size_t file_count;
    struct step *steps;
    size_t step_count, step_cap;
    struct pending *pending;
    size_t pending_count, pending_cap;
    struct loop_post deliver;
    bool delivering;
};

static struct disk_sim *sim_of(struct disk *d)
{
    return container_of(d, struct disk_sim, disk);
}

static uint64_t next_random(uint64_t *state) /* splitmix64 */
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void *grown(void *p, size_t count, size_t *cap, size_t size)
{
    if (count < *cap)
        return p;
    *cap = *cap ? *cap * 2 : 64;
    p = realloc(p, *cap * size);
    if (!p)
        abort(); /* the test's own memory */
    return p;
}

static size_t step_add(struct disk_sim *s, struct step st)
{
    s->steps = grown(s->steps, s->step_count, &s->step_cap, sizeof *s->steps);
    s->steps[s->step_count] = st;
    return s->step_count++;
}

/* Counts a call of that kind; the error when it is the chosen one. */
static int call_fails(struct disk_sim *s, enum disk_sim_call kind)
{
    if (s->fail_in == 0 || !(s->fail_kinds & 1u << kind) || --s->fail_in > 0)
        return 0;
    s->fail_in = s->fail_stays ? 1 : 0;
    s->failed = true;
    return s->fail_err;
}

/* ---- files ---- */

static struct sim_file *file_find(const struct disk_sim *s, const char *path)
{
    for (size_t i = 0; i < s->file_count; i++)
        if (s->files[i]->path && strcmp(s->files[i]->path, path) == 0)
            return s->files[i];
    return NULL;
}

static struct sim_file *file_add(struct disk_sim *s, const char *path)
{
    struct sim_file *f = calloc(1, sizeof *f);
    struct sim_file **files = realloc(s->files, (s->file_count + 1) * sizeof(struct sim_file *));
    if (!f || !files)
        abort();
    s->files = files;
    f->number = (unsigned)s->file_count;
    f->path = path ? strdup(path) : NULL;
    s->files[s->file_count++] = f;
    return f;
}

static void file_put(struct sim_file *f, uint64_t offset, const uint8_t *p, size_t n)
{
    size_t end = (size_t)offset + n;
    if (n == 0)
        return;
    if (end > f->cap) {
        f->cap = (size_t)align_up(end, 65536);
        f->bytes = realloc(f->bytes, f->cap);
        if (!f->bytes)
            abort();
    }
    if (end > f->len) {
        memset(f->bytes + f->len, 0, end - f->len);
        f->len = end;
    }
    memcpy(f->bytes + offset, p, n);
}

static uint64_t bytes_used(const struct disk_sim *s)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < s->file_count; i++)
        sum += s->files[i]->path ? s->files[i]->len : 0;
    return sum;
}

static bool room_for(const struct disk_sim *s, const struct sim_file *f, uint64_t end)
{
    return end <= f->len || bytes_used(s) + end - f->len <= s->capacity;
}

static int sim_open(struct disk *d, const char *path, unsigned flags, struct disk_file **ret_file)
{
    struct disk_sim *s = sim_of(d);
    pthread_mutex_lock(&s->lock);
    int err = call_fails(s, SIM_OPEN);
    struct sim_file *f = file_find(s, path);
    if (err == 0 && f && flags & DISK_EXCL)
        err = -EEXIST;
    if (err == 0 && !f && !(flags & DISK_CREATE))
        err = -ENOENT;
    if (err == 0 && !f) {
        f = file_add(s, path);
        step_add(s, (struct step){.kind = STEP_CREATE, .file = f->number, .path = strdup(path)});
    }
    pthread_mutex_unlock(&s->lock);
    if (err)
        return err;
    struct disk_file *h = malloc(sizeof *h);
    if (!h)
        return -ENOMEM;
    h->file = f;
    *ret_file = h;
    return 0;
}

static void sim_close(struct disk *d, struct disk_file *f)
{
    (void)d;
    free(f);
}

static int sim_size(struct disk *d, struct disk_file *f, uint64_t *ret_bytes)
{
    struct disk_sim *s = sim_of(d);
    pthread_mutex_lock(&s->lock);
    *ret_bytes = f->file->len;
    pthread_mutex_unlock(&s->lock);
    return 0;
}

static int sim_rename(struct disk *d, const char *from, const char *to)
{
    struct disk_sim *s = sim_of(d);
    pthread_mutex_lock(&s->lock);
    int err = call_fails(s, SIM_RENAME);
    struct sim_file *f = file_find(s, from), *old = file_find(s, to);
    if (err == 0 && !f)
        err = -ENOENT;
    if (err == 0) {
        if (old) {
            free(old->path);
            old->path = NULL;
        }
        free(f->path);
        f->path = strdup(to);
        step_add(s, (struct step){.kind = STEP_RENAME, .file = f->number, .path = strdup(to)});
    }
    pthread_mutex_unlock(&s->lock);
    return err;
}

static int sim_unlink(struct disk *d, const char *path)
{
    struct disk_sim *s = sim_of(d);
    pthread_mutex_lock(&s->lock);
    int err = call_fails(s, SIM_UNLINK);
    struct sim_file *f = file_find(s, path);
    if (err == 0 && !f)
        err = -ENOENT;
    if (err == 0) {
        free(f->path);
        f->path = NULL;
        step_add(s, (struct step){.kind = STEP_UNLINK, .file = f->number});
    }
    pthread_mutex_unlock(&s->lock);
    return err;
}

static int sim_list(struct disk *d, const char *dir, void (*each)(void *ctx, const char *name), void *ctx)
{
    struct disk_sim *s = sim_of(d);
    size_t n = strlen(dir);
    pthread_mutex_lock(&s->lock);
    int err = call_fails(s, SIM_LIST);
    for (size_t i = 0; err == 0 && i < s->file_count; i++) {
        const char *path = s->files[i]->path;
        if (path && strncmp(path, dir, n) == 0 && path[n] == '/' && !strchr(path + n + 1, '/'))
            each(ctx, path + n + 1);
    }
    pthread_mutex_unlock(&s->lock);
    return err;
}

static int sim_space(struct disk *d, const char *dir, uint64_t *ret_free_bytes, uint64_t *ret_total_bytes)
{
    struct disk_sim *s = sim_of(d);
    (void)dir;
    pthread_mutex_lock(&s->lock);
    uint64_t used = bytes_used(s);
    *ret_total_bytes = s->capacity;
    *ret_free_bytes = s->capacity > used ? s->capacity - used : 0;
    pthread_mutex_unlock(&s->lock);
    return 0;
}

/* ---- reading and writing ---- */

static size_t read_at(const struct sim_file *f, uint64_t offset, void *p, size_t n)
{
    size_t got = offset < f->len ? (size_t)MIN_OF((uint64_t)n, f->len - offset) : 0;
    if (got)
        memcpy(p, f->bytes + offset, got);
    return got;
}

static size_t write_begin(struct disk_sim *s, struct sim_file *f, uint64_t offset, const struct iovec *iov,
                          unsigned count)
{
    size_t n = 0;
    for (unsigned i = 0; i < count; i++)
        n += iov[i].iov_len;
    uint8_t *data = malloc(n ? n : 1);
    if (!data)
        abort();
    size_t at = 0;
    for (unsigned i = 0; i < count; at += iov[i++].iov_len)
        memcpy(data + at, iov[i].iov_base, iov[i].iov_len);
    return step_add(s, (struct step){.kind = STEP_WRITE, .file = f->number, .offset = offset, .len = n, .data = data});
}

/* A write that fails has still moved some of its sectors. */
static void write_partly(struct disk_sim *s, const struct step *st)
{
    for (size_t at = 0; at < st->len; at += DISK_SIM_SECTOR)
        if (next_random(&s->random) & 1)
            file_put(s->files[st->file], st->offset + at, st->data + at, MIN_OF((size_t)DISK_SIM_SECTOR, st->len - at));
}

static int write_end(struct disk_sim *s, size_t step)
{
    const struct step *st = &s->steps[step];
    struct sim_file *f = s->files[st->file];
    int err = call_fails(s, SIM_WRITE);
    if (err == 0 && !room_for(s, f, st->offset + st->len))
        err = -ENOSPC;
    if (err) {
        if (err != -ENOSPC)
            write_partly(s, st);
        return err;
    }
    file_put(f, st->offset, st->data, st->len);
    step_add(s, (struct step){.kind = STEP_DONE, .file = f->number, .of = step});
    return 0;
}

static int sync_end(struct disk_sim *s, const struct sim_file *f, size_t of)
{
    int err = call_fails(s, SIM_SYNC);
    step_add(s, (struct step){.kind = err ? STEP_LOST : STEP_SYNC, .file = f->number, .of = of});
    return err;
}

static int sim_read_now(struct disk *d, struct disk_file *f, uint64_t offset, void *p, size_t n, size_t *ret_bytes)
{
    struct disk_sim *s = sim_of(d);
    pthread_mutex_lock(&s->lock);
    int err = call_fails(s, SIM_READ);
    if (err == 0)
        *ret_bytes = read_at(f->file, offset, p, n);
    pthread_mutex_unlock(&s->lock);
    return err;
}

static int sim_write_now(struct disk *d, struct disk_file *f, uint64_t offset, const void *p, size_t n)
{
    struct disk_sim *s = sim_of(d);
    struct iovec iov = {(void *)(uintptr_t)p, n};
    pthread_mutex_lock(&s->lock);
    int err = write_end(s, write_begin(s, f->file, offset, &iov, 1));
    pthread_mutex_unlock(&s->lock);
    return err;
}

static int sim_zero(struct disk *d, struct disk_file *f, uint64_t from, uint64_t to)
{
    struct disk_sim *s = sim_of(d);
    int err = 0;
    if (from < to) {
        void *zeroes = calloc(1, (size_t)(to - from));
        if (!zeroes)
            return -ENOMEM;
        err = sim_write_now(d, f, from, zeroes, (size_t)(to - from));
        free(zeroes);
    }
    pthread_mutex_lock(&s->lock);
    if (err == 0)
        err = sync_end(s, f->file, s->step_count);
    pthread_mutex_unlock(&s->lock);
    return err;
}

static void finish(struct disk_sim *s, const struct pending *p)
{
    struct disk_req *r = p->req;
    struct sim_file *f = r->file->file;
    if (r->op == DISK_WRITE) {
        r->status = write_end(s, p->step);
        r->result_bytes = r->status ? 0 : s->steps[p->step].len;
    } else if (r->op == DISK_SYNC) {
        r->status = sync_end(s, f, p->step);
    } else {
        r->status = call_fails(s, SIM_READ);
        uint64_t at = r->offset;
        for (unsigned i = 0; i < r->iov_count && r->status == 0; i++) {
            size_t got = read_at(f, at, r->iov[i].iov_base, r->iov[i].iov_len);
            r->result_bytes += got;
            at += r->iov[i].iov_len;
        }
    }
}

/* One request a turn, chosen by the seed. */
static void deliver(struct loop_post *post)
{
    struct disk_sim *s = container_of(post, struct disk_sim, deliver);
    pthread_mutex_lock(&s->lock);
    size_t i = (size_t)(next_random(&s->random) % s->pending_count);
    struct pending p = s->pending[i];
    s->pending[i] = s->pending[--s->pending_count];
    finish(s, &p);
    s->delivering = s->pending_count > 0;
    if (s->delivering)
        loop_post(s->loop, &s->deliver);
    pthread_mutex_unlock(&s->lock);
    p.req->cb(p.req);
}

static void sim_submit(struct disk *d, struct disk_req *r)
{
    struct disk_sim *s = sim_of(d);
    assert(r->file);
    pthread_mutex_lock(&s->lock);
    r->result_bytes = r->wanted_bytes = 0;
    for (unsigned i = 0; i < r->iov_count; i++)
        r->wanted_bytes += r->iov[i].iov_len;
    struct pending p = {.req = r, .step = s->step_count};
    if (r->op == DISK_WRITE)
        p.step = write_begin(s, r->file->file, r->offset, r->iov, r->iov_count);
    s->pending = grown(s->pending, s->pending_count, &s->pending_cap, sizeof *s->pending);
    s->pending[s->pending_count++] = p;
    if (!s->delivering) {
        s->delivering = true;
        loop_post(s->loop, &s->deliver);
    }
    pthread_mutex_unlock(&s->lock);
}

static void steps_clear(struct disk_sim *s)
{
    for (size_t i = 0; i < s->step_count; i++) {
        free(s->steps[i].data);
        free(s->steps[i].path);
    }
    s->step_count = 0;
}

static void sim_destroy(struct disk *d)
{
    struct disk_sim *s = sim_of(d);
    assert(s->pending_count == 0 && !s->delivering);
    for (size_t i = 0; i < s->file_count; i++) {
        free(s->files[i]->path);
        free(s->files[i]->bytes);
        free(s->files[i]);
    }
    steps_clear(s);
    pthread_mutex_destroy(&s->lock);
    free(s->files);
    free(s->steps);
    free(s->pending);
    free(s);
}

static const struct disk_ops sim_ops = {.open = sim_open,
                                        .close = sim_close,
                                        .submit = sim_submit,
                                        .read_now = sim_read_now,
                                        .write_now = sim_write_now,
                                        .size = sim_size,
                                        .rename = sim_rename,
                                        .unlink = sim_unlink,
                                        .list = sim_list,
                                        .zero = sim_zero,
                                        .space = sim_space,
                                        .destroy = sim_destroy};

int disk_sim_create(struct loop *loop, uint64_t seed, struct disk_sim **ret_sim)
{
    struct disk_sim *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->disk = (struct disk){&sim_ops, "simulated"};
    s->loop = loop;
    s->random = seed;
    s->capacity = GIB;
    s->fail_kinds = ~0u;
    s->deliver.cb = deliver;
    pthread_mutex_init(&s->lock, NULL);
    *ret_sim = s;
    return 0;
}

struct disk *disk_sim_disk(struct disk_sim *s)
{
    return &s->disk;
}

void disk_sim_capacity(struct disk_sim *s, uint64_t bytes)
{
    s->capacity = bytes;
}

static void fail_set(struct disk_sim *s, uint64_t n, int err, bool stays)
{
    pthread_mutex_lock(&s->lock);
    s->fail_in = n;
    s->fail_err = err;
    s->fail_stays = stays;
    s->failed = false;
    pthread_mutex_unlock(&s->lock);
}

void disk_sim_fail_nth(struct disk_sim *s, uint64_t n, int err)
{
    fail_set(s, n, err, false);
}

void disk_sim_fail_from(struct disk_sim *s, uint64_t n, int err)
{
    fail_set(s, n, err, true);
}

bool disk_sim_fail_pending(struct disk_sim *s)
{
    pthread_mutex_lock(&s->lock);
    bool pending = s->fail_in > 0 && !s->failed;
    pthread_mutex_unlock(&s->lock);
    return pending;
}

void disk_sim_fail_kinds(struct disk_sim *s, unsigned kinds)
{
    s->fail_kinds = kinds;
}

size_t disk_sim_steps(const struct disk_sim *s)
{
    return s->step_count;
}

size_t disk_sim_note(struct disk_sim *s)
{
    pthread_mutex_lock(&s->lock);
    size_t step = step_add(s, (struct step){.kind = STEP_NOTE});
    pthread_mutex_unlock(&s->lock);
    return step;
}

uint8_t *disk_sim_bytes(struct disk_sim *s, const char *path, size_t *ret_len)
{
    struct sim_file *f = file_find(s, path);
    *ret_len = f ? f->len : 0;
    return f ? f->bytes : NULL;
}

const char *disk_sim_file(struct disk_sim *s, const char *suffix, size_t n)
{
    const char *last = NULL;
    for (size_t found = 0;; found++) {
        const char *best = NULL;
        for (size_t i = 0; i < s->file_count; i++) {
            const char *path = s->files[i]->path;
            if (!path || strlen(path) < strlen(suffix) || strcmp(path + strlen(path) - strlen(suffix), suffix) != 0)
                continue;
            if ((!last || strcmp(path, last) > 0) && (!best || strcmp(path, best) < 0))
                best = path;
        }
        if (!best || found == n)
            return best;
        last = best;
    }
}

/* ---- cutting the power ---- */

enum fate { FATE_NONE, FATE_ISSUED, FATE_DONE, FATE_STABLE, FATE_LOST };

/* What became of each write by then. */
static void fates(const struct disk_sim *s, size_t steps, uint8_t *fate)
{
    size_t *done_at = calloc(steps ? steps : 1, sizeof *done_at);
    if (!done_at)
        abort();
    for (size_t i = 0; i < steps; i++) {
        const struct step *st = &s->steps[i];
        if (st->kind == STEP_WRITE)
            fate[i] = FATE_ISSUED;
        if (st->kind == STEP_DONE) {
            fate[st->of] = FATE_DONE;
            done_at[st->of] = i;
        }
        if (st->kind != STEP_SYNC && st->kind != STEP_LOST)
            continue;
        for (size_t w = 0; w < st->of; w++)
            if (fate[w] == FATE_DONE && s->steps[w].file == st->file && done_at[w] < st->of)
                fate[w] = st->kind == STEP_SYNC ? FATE_STABLE : FATE_LOST;
    }
    free(done_at);
}

struct cutting {
    enum disk_sim_cut kind;
    uint64_t random;
    const uint8_t *stale;
    size_t stale_len;
    size_t unstable, torn; /* how many there are; which of them is torn */
};

static void cut_dropped(const struct cutting *c, struct sim_file *f, uint64_t offset, size_t n)
{
    if (c->kind == CUT_STALE && c->stale && offset + n <= c->stale_len)
        file_put(f, offset, c->stale + offset, n);
}

static void cut_sectors(struct cutting *c, struct sim_file *f, const struct step *st)
{
    for (size_t at = 0; at < st->len; at += DISK_SIM_SECTOR) {
        size_t n = MIN_OF((size_t)DISK_SIM_SECTOR, st->len - at);
        if (next_random(&c->random) & 1)
            file_put(f, st->offset + at, st->data + at, n);
        else
            cut_dropped(c, f, st->offset + at, n);
    }
}

static void cut_write(struct cutting *c, struct sim_file *f, const struct step *st, size_t nth)
{
    bool coin = next_random(&c->random) & 1;
    size_t sectors = st->len / DISK_SIM_SECTOR;
    size_t part = (size_t)(next_random(&c->random) % (sectors + 1)) * DISK_SIM_SECTOR;
    if (c->kind == CUT_KEEP || (c->kind == CUT_WRITES && coin) || (c->kind == CUT_TEAR && nth < c->torn))
        file_put(f, st->offset, st->data, st->len);
    else if (c->kind == CUT_TEAR && nth == c->torn)
        file_put(f, st->offset, st->data, part);
    else if (c->kind == CUT_SECTORS || c->kind == CUT_STALE)
        cut_sectors(c, f, st);
}

static void cut_step(struct cutting *c, struct disk_sim *to, const struct step *st, enum fate fate, size_t *nth)
{
    struct sim_file *f = to->file_count > st->file ? to->files[st->file] : NULL;
    switch (st->kind) {
    case STEP_CREATE:
        file_add(to, st->path);
        return;
    case STEP_WRITE:
        if (fate == FATE_STABLE)
            file_put(f, st->offset, st->data, st->len);
        else
            cut_write(c, f, st, (*nth)++);
        return;
    case STEP_RENAME:
    case STEP_UNLINK:
        for (size_t i = 0; st->path && i < to->file_count; i++)
            if (to->files[i]->path && strcmp(to->files[i]->path, st->path) == 0) {
                free(to->files[i]->path);
                to->files[i]->path = NULL;
            }
        free(f->path);
        f->path = st->path ? strdup(st->path) : NULL;
        return;
    case STEP_DONE:
    case STEP_SYNC:
    case STEP_LOST:
    case STEP_NOTE:
        return;
    }
}

int disk_sim_cut(const struct disk_sim *s, struct loop *loop, size_t steps, enum disk_sim_cut cut, uint64_t seed,
                 const uint8_t *stale, size_t stale_len, struct disk_sim **ret_sim)
{
    struct disk_sim *to;
    struct cutting c = {.kind = cut, .random = seed, .stale = stale, .stale_len = stale_len};
    uint8_t *fate = calloc(steps ? steps : 1, 1);
    int err = fate ? disk_sim_create(loop, seed, &to) : -ENOMEM;
    if (err) {
        free(fate);
        return err;
    }
    to->capacity = s->capacity;
    fates(s, steps, fate);
    for (size_t i = 0; i < steps; i++)
        c.unstable += s->steps[i].kind == STEP_WRITE && fate[i] != FATE_STABLE;
    c.torn = c.unstable ? (size_t)(next_random(&c.random) % c.unstable) : 0;
    size_t nth = 0;
    for (size_t i = 0; i < steps; i++)
        cut_step(&c, to, &s->steps[i], fate[i], &nth);
    free(fate);
    *ret_sim = to;
    return 0;
}

void disk_sim_settle(struct disk_sim *s)
{
    assert(s->pending_count == 0);
    steps_clear(s);
    for (size_t i = 0; i < s->file_count; i++) {
        struct sim_file *f = s->files[i];
        struct iovec iov = {f->bytes, f->len};
        step_add(s, (struct step){.kind = STEP_CREATE, .file = f->number, .path = strdup(f->path ? f->path : "")});
        if (!f->path)
            step_add(s, (struct step){.kind = STEP_UNLINK, .file = f->number});
        if (!f->path || f->len == 0)
            continue;
        size_t w = write_begin(s, f, 0, &iov, 1);
        step_add(s, (struct step){.kind = STEP_DONE, .file = f->number, .of = w});
        step_add(s, (struct step){.kind = STEP_SYNC, .file = f->number, .of = s->step_count});
    }
}
