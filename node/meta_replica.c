/* meta_replica - opening tells good copies from damaged ones, and nothing is repaired here but by replay or by a fill
 * from a good copy. A fill writes the row s/applied last, so a copy that was interrupted has none and counts as
 * damaged.
 *
 * Applied entries are not synced one by one, and what a power cut takes of them need not be the end: between the switch
 * of a memtable and its flush RocksDB has two write-ahead logs, and the tail of the first may be gone while the second
 * is there. So s/applied alone proves nothing. The log holds every entry since the database was last made durable, and
 * entries are absolute: unless the row s/clean says that this very state was left by a clean stop, an open applies them
 * all again. */
#include "node/meta_replica.h"
#include "common/log.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILL_BATCH_BYTES (1 * MIB)

void meta_replica_bad(struct meta_replica *r, int err, const char *what)
{
    r->state = META_COPY_BAD;
    r->err = err;
    snprintf(r->why, sizeof r->why, "%s: %s", what, err_text(err));
}

static int path_in(const struct meta_replica *r, const char *name, char *ret, size_t cap)
{
    int n = snprintf(ret, cap, "%s/%s", r->dir, name);
    return n < 0 || (size_t)n >= cap ? -ENAMETOOLONG : 0;
}

/* A folder whose name is durable; 0 also when it is there. */
static int folder_make(const char *path)
{
    char parent[META_PATH_MAX + 64];
    snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');
    if (mkdir(path, 0700) < 0)
        return errno == EEXIST ? 0 : -errno;
    if (slash)
        slash[slash == parent] = 0;
    int fd = open(slash ? parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int err = fsync(fd) < 0 ? -errno : 0;
    close(fd);
    return err;
}

static int sync_applied(void *ctx)
{
    struct meta_replica *r = ctx;
    return r->kv->ops->sync(r->kv);
}

static int kv_open(struct meta_replica *r, bool empty, char *why, size_t why_cap)
{
    const struct meta_conf *c = r->conf;
    struct kv_conf kc = {.block_cache_bytes = c->kv_cache_bytes / MAX_OF(c->replica_count, 1)};
    char dir[META_PATH_MAX + 16];
    if (c->kv_open)
        return c->kv_open(c->ctx, r->number, empty, &r->kv);
    int err = path_in(r, "db", dir, sizeof dir);
    return err ? err : kv_rocks_open(dir, &kc, &r->kv, why, why_cap);
}

static const struct str applied_key = {"s/applied", 9}, clean_key = {"s/clean", 7};

static int mark_load(struct meta_replica *r, struct str key, uint64_t *ret_epoch, uint64_t *ret_seq)
{
    struct arena a;
    struct str value;
    Pb__MetaApplied *row;
    arena_init(&a, MIB);
    int err = r->kv->ops->get(r->kv, key, &a, &value);
    if (!err)
        err = meta_unpack(&a, &pb__meta_applied__descriptor, value, &row);
    if (!err) {
        *ret_epoch = row->epoch;
        *ret_seq = row->seq;
    }
    arena_fini(&a);
    return err;
}

static int applied_load(struct meta_replica *r)
{
    int err = mark_load(r, applied_key, &r->applied_epoch, &r->applied_seq);
    return err == KV_NOT_FOUND ? E_CORRUPT : err; /* every whole copy has the row */
}

static void log_idle(void *ctx)
{
    struct meta_replica *r = ctx;
    if (r->idle)
        r->idle(r);
}

static int log_open(struct meta_replica *r, char *why, size_t why_cap)
{
    char dir[META_PATH_MAX + 16];
    struct metalog_file_conf mc = {
        .loop = r->conf->loop,
        .disk = r->conf->disk,
        .work = r->conf->work,
        .dir = dir,
        .drive_id = r->self.id,
        .file_bytes = r->conf->log_bytes ? r->conf->log_bytes : 16 * MIB,
        .sync_applied = sync_applied,
        .idle = log_idle,
        .ctx = r,
    };
    int err = path_in(r, "log", dir, sizeof dir);
    if (!err)
        err = folder_make(dir);
    return err ? err : metalog_file_open(&mc, &r->log, why, why_cap);
}

/* Errors that no other copy can mend. */
static bool fatal(int err)
{
    return err == E_VERSION || err == E_FOREIGN || err == -ENOMEM;
}

static int part_failed(struct meta_replica *r, int err, const char *what, char *why, size_t why_cap)
{
    if (fatal(err)) {
        snprintf(why, why_cap, "%s: %s %s", r->dir, what, err_text(err));
        return err;
    }
    meta_replica_bad(r, err, what);
    return 0;
}

/* A history with a hole between what is applied and what the log holds is no history. */
static void history_check(struct meta_replica *r)
{
    struct metalog_run run = metalog_file_run(r->log);
    if (run.last_seq > r->applied_seq && run.first_seq > r->applied_seq + 1)
        meta_replica_bad(r, E_CORRUPT, "the log lacks entries that the database has not applied");
}

static int batch_copy(void *ctx, int op, struct str key, struct str value)
{
    struct kv_batch *b = ctx;
    if (op == KV_OP_PUT)
        kv_batch_put(b, key, value);
    else if (op == KV_OP_DEL)
        kv_batch_del(b, key);
    else
        kv_batch_del_range(b, key, value);
    return b->ops.err;
}

struct replay {
    struct meta_replica *to;
    struct kv_batch batch;
};

/* Entries behind the last applied one are left for the replay: only the start knows whether they were committed. */
static int mend_entry(void *ctx, uint64_t epoch, uint64_t seq, struct str bytes)
{
    struct replay *p = ctx;
    (void)epoch;
    if (seq > p->to->applied_seq)
        return 0;
    kv_batch_clear(&p->batch);
    int err = kv_batch_each(bytes, batch_copy, &p->batch);
    return err ? err : p->to->kv->ops->write(p->to->kv, &p->batch, false);
}

/* Applies again what is applied and still in the log. A log that ends before the last applied entry was about to be
 * emptied: all of it is durable, and applying a piece of it would take newer rows back. */
static int mend(struct meta_replica *r)
{
    struct metalog_run run = metalog_file_run(r->log);
    uint64_t clean_epoch = 0, clean_seq = 0;
    int err = mark_load(r, clean_key, &clean_epoch, &clean_seq);
    if (err && err != KV_NOT_FOUND)
        return err;
    bool clean = !err && clean_seq == r->applied_seq && clean_epoch == r->applied_epoch;
    if (clean || run.last_seq < r->applied_seq || run.first_seq > r->applied_seq)
        return 0;
    struct replay p = {.to = r};
    log_event(LOG_INFO, "metadata_mend", "drive=%u entries=%llu", r->self.index,
              (unsigned long long)(r->applied_seq - run.first_seq + 1));
    kv_batch_init(&p.batch);
    err = metalog_file_each(r->log, run.first_seq, mend_entry, &p);
    kv_batch_fini(&p.batch);
    return err ? err : r->kv->ops->sync(r->kv);
}

/* No register was ever written: then there must be no data either, or somebody took the register away. */
static int empty_check(struct meta_replica *r, char *why, size_t why_cap)
{
    char path[META_PATH_MAX + 16], detail[256];
    struct stat st;
    int err = path_in(r, "db/CURRENT", path, sizeof path);
    if (err || (!r->conf->kv_open && stat(path, &st) < 0))
        return err;
    err = kv_open(r, false, detail, sizeof detail);
    if (!err && applied_load(r) == 0 && r->applied_seq > 0)
        return part_failed(r, E_CORRUPT, "data without its register", why, why_cap);
    return 0;
}

/* A copy on a full drive is left as it is. */
static int space_check(struct meta_replica *r)
{
    char why[sizeof r->why];
    int err = meta_space_start(r->conf->disk, r->dir, why, sizeof why);
    if (err) {
        meta_replica_bad(r, err, "space");
        snprintf(r->why, sizeof r->why, "%s", why);
    }
    return err;
}

int meta_replica_open(struct meta_replica *r, const struct meta_conf *conf, unsigned number, struct arena *a, char *why,
                      size_t why_cap)
{
    char path[META_PATH_MAX + 16], detail[256] = "";
    *r = (struct meta_replica){.conf = conf, .self = conf->replicas[number], .number = number};
    int n = snprintf(r->dir, sizeof r->dir, "%s", conf->replicas[number].dir);
    r->self.dir = r->dir;
    int err = n < 0 || (size_t)n >= sizeof r->dir ? -ENAMETOOLONG : folder_make(r->dir);
    if (!err)
        err = path_in(r, "register", path, sizeof path);
    if (!err)
        err = meta_register_open(conf->disk, path, a, &r->reg, &r->config);
    if (err)
        return part_failed(r, err < 0 ? err : E_CORRUPT, "the register", why, why_cap);
    if (!r->config)
        return empty_check(r, why, why_cap);
    if (space_check(r))
        return 0;
    r->state = META_COPY_GOOD;
    err = kv_open(r, false, detail, sizeof detail);
    if (!err)
        err = applied_load(r);
    if (err)
        return part_failed(r, err, "the database", why, why_cap);
    err = log_open(r, detail, sizeof detail);
    if (err)
        return part_failed(r, err, "the log", why, why_cap);
    history_check(r);
    if (r->state != META_COPY_GOOD)
        return 0;
    err = mend(r);
    r->whole = !err;
    return err ? part_failed(r, err, "applying its log again", why, why_cap) : 0;
}

static int mark_put(struct kv_batch *b, struct str key, uint64_t epoch, uint64_t seq)
{
    Pb__MetaApplied row = PB__META_APPLIED__INIT;
    uint8_t bytes[64];
    row.format = META_FORMAT;
    row.epoch = epoch;
    row.seq = seq;
    assert(pb__meta_applied__get_packed_size(&row) <= sizeof bytes);
    size_t len = pb__meta_applied__pack(&row, bytes);
    kv_batch_put(b, key, (struct str){(const char *)bytes, len});
    return b->ops.err;
}

/* A stop is clean when everything applied is durable: then the next start need not apply anything again. */
static int clean_mark(struct meta_replica *r)
{
    struct kv_batch b;
    int err = r->kv->ops->sync(r->kv);
    if (err || !r->whole || r->state != META_COPY_GOOD)
        return err;
    kv_batch_init(&b);
    err = mark_put(&b, clean_key, r->applied_epoch, r->applied_seq);
    if (!err)
        err = r->kv->ops->write(r->kv, &b, true);
    kv_batch_fini(&b);
    return err;
}

void meta_replica_close(struct meta_replica *r)
{
    if (r->log)
        metalog_file_close(r->log);
    if (r->kv) {
        int err = r->failed ? 0 : clean_mark(r);
        if (err)
            log_event(LOG_WARN, "metadata_sync_failed", "replica=%u err=%s", r->self.index,
                      log_quote(str_c(err_text(err))));
        r->kv->ops->close(r->kv);
    }
    if (r->reg)
        meta_register_close(r->reg);
    r->log = NULL;
    r->kv = NULL;
    r->reg = NULL;
}

void meta_replica_last(const struct meta_replica *r, uint64_t *ret_epoch, uint64_t *ret_seq)
{
    struct metalog_run run = metalog_file_run(r->log);
    bool logged = run.last_seq > r->applied_seq;
    *ret_epoch = logged ? run.last_epoch : r->applied_epoch;
    *ret_seq = logged ? run.last_seq : r->applied_seq;
}

int meta_applied_put(struct kv_batch *b, uint64_t epoch, uint64_t seq)
{
    return mark_put(b, applied_key, epoch, seq);
}

int meta_replica_apply(struct meta_replica *r, const struct kv_batch *batch, uint64_t epoch, uint64_t seq)
{
    assert(seq == r->applied_seq + 1);
    int err = r->kv->ops->write(r->kv, batch, false);
    if (!err) {
        r->applied_epoch = epoch;
        r->applied_seq = seq;
    }
    return err;
}

static int replay_entry(void *ctx, uint64_t epoch, uint64_t seq, struct str bytes)
{
    struct replay *p = ctx;
    kv_batch_clear(&p->batch);
    int err = kv_batch_each(bytes, batch_copy, &p->batch);
    if (!err)
        err = meta_applied_put(&p->batch, epoch, seq);
    return err ? err : meta_replica_apply(p->to, &p->batch, epoch, seq);
}

int meta_replica_replay(struct meta_replica *r, struct meta_replica *from)
{
    struct replay p = {.to = r};
    kv_batch_init(&p.batch);
    int err = metalog_file_each(from->log, r->applied_seq + 1, replay_entry, &p);
    kv_batch_fini(&p.batch);
    return err;
}

/* ---- filling ---- */

static int folder_empty(const char *path)
{
    DIR *d = opendir(path);
    if (!d)
        return errno == ENOENT ? 0 : -errno;
    int err = 0;
    for (struct dirent *e = readdir(d); !err && e; e = readdir(d))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && unlinkat(dirfd(d), e->d_name, 0) < 0)
            err = -errno;
    closedir(d);
    return err;
}

static int kv_open_empty(struct meta_replica *r)
{
    char dir[META_PATH_MAX + 16], detail[256];
    if (r->kv)
        r->kv->ops->close(r->kv);
    r->kv = NULL;
    int err = path_in(r, "db", dir, sizeof dir);
    if (!err && !r->conf->kv_open)
        err = folder_empty(dir);
    return err ? err : kv_open(r, true, detail, sizeof detail);
}

static int rows_copy(struct meta_replica *r, struct kv_iter *it, struct kv_batch *b)
{
    int err = 0;
    for (it->ops->seek(it, STR_NONE); !err && it->ops->valid(it); it->ops->next(it)) {
        if (str_eq(it->ops->key(it), applied_key) || str_eq(it->ops->key(it), clean_key))
            continue;
        kv_batch_put(b, it->ops->key(it), it->ops->value(it));
        if (b->ops.len < FILL_BATCH_BYTES)
            continue;
        err = r->kv->ops->write(r->kv, b, false);
        kv_batch_clear(b);
    }
    return err ? err : it->ops->status(it);
}

int meta_replica_fill(struct meta_replica *r, struct meta_replica *from)
{
    struct kv_batch b;
    int err = space_check(r);
    if (!err)
        err = kv_open_empty(r);
    if (err)
        return err;
    struct kv_iter *it = from->kv->ops->iter(from->kv);
    if (!it)
        return -ENOMEM;
    kv_batch_init(&b);
    err = rows_copy(r, it, &b);
    it->ops->close(it);
    if (!err && b.count > 0)
        err = r->kv->ops->write(r->kv, &b, true);
    kv_batch_clear(&b);
    if (!err)
        err = meta_applied_put(&b, from->applied_epoch, from->applied_seq);
    if (!err)
        err = r->kv->ops->write(r->kv, &b, true);
    kv_batch_fini(&b);
    if (!err) {
        r->applied_epoch = from->applied_epoch;
        r->applied_seq = from->applied_seq;
        r->state = META_COPY_GOOD;
        r->whole = true;
        r->why[0] = 0;
    }
    return err;
}

#define LOG_NAMES_MAX 64
#define LOG_NAME_MAX  32
struct log_names {
    char names[LOG_NAMES_MAX][LOG_NAME_MAX];
    unsigned count;
};

static void log_seen(void *ctx, const char *name)
{
    struct log_names *n = ctx;
    size_t len = strlen(name);
    bool ours =
        len > 4 && len < LOG_NAME_MAX && (strcmp(name + len - 4, ".log") == 0 || strcmp(name + len - 4, ".tmp") == 0);
    if (ours && n->count < LOG_NAMES_MAX)
        memcpy(n->names[n->count++], name, len + 1);
}

/* A log that could not be read is of no use: its files go. */
static int log_discard(struct meta_replica *r)
{
    char dir[META_PATH_MAX + 16], path[META_PATH_MAX + 16 + LOG_NAME_MAX];
    struct disk *disk = r->conf->disk;
    struct log_names n = {.count = 0};
    int err = path_in(r, "log", dir, sizeof dir);
    if (!err)
        err = folder_make(dir);
    if (!err)
        err = disk->ops->list(disk, dir, log_seen, &n);
    for (unsigned i = 0; !err && i < n.count; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, n.names[i]);
        err = disk->ops->unlink(disk, path);
    }
    return err;
}

int meta_replica_log_reset(struct meta_replica *r, uint64_t seq)
{
    char detail[256];
    int err = 0;
    if (!r->log) {
        err = log_discard(r);
        if (!err)
            err = log_open(r, detail, sizeof detail);
    }
    return err ? err : metalog_file_reset(r->log, seq);
}

int meta_replica_create(struct meta_replica *r, char *why, size_t why_cap)
{
    struct kv_batch b;
    if (!r->reg) {
        snprintf(why, why_cap, "%s: %s", r->dir, r->why);
        return r->err;
    }
    int full = space_check(r);
    if (full) {
        snprintf(why, why_cap, "%s: %s", r->dir, r->why);
        return full;
    }
    if (r->log)
        metalog_file_close(r->log);
    r->log = NULL;
    r->applied_epoch = r->applied_seq = 0;
    kv_batch_init(&b);
    int err = kv_open_empty(r);
    if (!err)
        err = meta_applied_put(&b, 0, 0);
    if (!err)
        err = r->kv->ops->write(r->kv, &b, true);
    kv_batch_fini(&b);
    if (!err)
        err = log_discard(r);
    if (!err)
        err = meta_replica_log_reset(r, 1);
    if (err)
        snprintf(why, why_cap, "%s: the metadata cannot be made: %s", r->dir, err_text(err));
    else
        r->state = META_COPY_GOOD;
    r->whole = !err;
    return err;
}
