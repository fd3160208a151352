/* store_rig - see the header. Content is a function of the fragment's number and the position, so that a wrong byte, a
 * wrong fragment and a wrong offset all show. */
#include "tests/lib/store_rig.h"
#include "common/log.h"
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void die(const char *what, int err)
{
    fprintf(stderr, "store_rig: %s: %s\n", what, err_text(err));
    abort();
}

static void kv_begin(struct store_rig *r)
{
    char path[300];
    const struct kv_conf conf = {1 * MIB, 1 * MIB};
    snprintf(path, sizeof path, "%s/index", r->dir);
    int err = r->sim         ? kv_sim_create(r->sim, &r->kv)
              : r->kv_memory ? kv_mem_open(&r->kv)
                             : kv_rocks_open(path, &conf, &r->kv, r->why, sizeof r->why);
    if (err)
        die("kv", err);
}

void store_rig_init(struct store_rig *r, const char *engine, uint64_t segment_bytes)
{
    store_rig_init_clock(r, engine, segment_bytes, NULL);
}

void store_rig_sub(struct store_rig *r, const struct store_rig *parent, struct disk_sim *sim, struct kv *kv)
{
    *r = (struct store_rig){.loop = parent->loop,
                            .work = parent->work,
                            .disk = disk_sim_disk(sim),
                            .sim = sim,
                            .kv = kv,
                            .segment_bytes = parent->segment_bytes,
                            .compact_percent = parent->compact_percent,
                            .clock = parent->clock};
    memcpy(r->dir, parent->dir, sizeof r->dir);
    memcpy(r->drive_id, parent->drive_id, sizeof r->drive_id);
}

void store_rig_init_clock(struct store_rig *r, const char *engine, uint64_t segment_bytes, struct clock_manual *clock)
{
    *r = (struct store_rig){.segment_bytes = segment_bytes, .owns_loop = true, .clock = clock};
    memset(r->drive_id, 0xd1, sizeof r->drive_id);
    log_set_level(LOG_ERROR + 1);
    if (clock)
        clock_manual_init(clock, 0);
    int err = loop_create(clock ? &clock->clock : clock_real(), &r->loop);
    err = err ? err : work_create(r->loop, 2, &r->work);
    if (err)
        die("loop", err);
    if (strcmp(engine, "sim") == 0) {
        snprintf(r->dir, sizeof r->dir, "/sim");
        err = disk_sim_create(r->loop, 1, &r->sim);
        r->disk = err ? NULL : disk_sim_disk(r->sim);
    } else {
        const char *tmp = getenv("TMPDIR");
        snprintf(r->dir, sizeof r->dir, "%s/lectern-store-XXXXXX", tmp ? tmp : ".");
        if (!mkdtemp(r->dir))
            die("mkdtemp", -errno);
        char path[300];
        snprintf(path, sizeof path, "%s/segments", r->dir);
        mkdir(path, 0700);
        char name[16];
        const char *slash = strchr(engine, '/');
        r->kv_memory = slash != NULL;
        snprintf(name, sizeof name, "%.*s", slash ? (int)(slash - engine) : (int)strlen(engine), engine);
        err = disk_create(r->loop, name, &r->disk, r->why, sizeof r->why);
    }
    if (err)
        die(r->why, err);
    kv_begin(r);
}

void store_rig_kv_reopen(struct store_rig *r, bool lose)
{
    r->kv->ops->close(r->kv);
    if (lose && !r->sim) {
        char path[300];
        snprintf(path, sizeof path, "%s/index", r->dir);
        nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    }
    kv_begin(r);
}

void store_rig_fini(struct store_rig *r)
{
    if (r->kv)
        r->kv->ops->close(r->kv);
    if (r->disk)
        r->disk->ops->destroy(r->disk);
    if (!r->sim && r->dir[0])
        nftw(r->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    if (!r->owns_loop)
        return;
    loop_turn(r->loop);
    work_destroy(r->work);
    loop_destroy(r->loop);
}

int store_rig_recover(struct store_rig *r)
{
    char path[300];
    snprintf(path, sizeof path, "%s/segments", r->dir);
    struct store_conf conf = {.loop = r->loop,
                              .work = r->work,
                              .disk = r->disk,
                              .kv = r->kv,
                              .dir = path,
                              .label = "t",
                              .segment_bytes = r->segment_bytes,
                              .compact_percent = r->compact_percent};
    memcpy(conf.drive_id, r->drive_id, sizeof conf.drive_id);
    return store_open(&conf, &r->store, r->why, sizeof r->why);
}

int store_rig_open(struct store_rig *r)
{
    int err = store_rig_recover(r);
    if (err == 0)
        store_start(r->store);
    return err;
}

void store_rig_until(struct store_rig *r, const bool *done)
{
    uint64_t end = 0;
    for (unsigned turn = 0; !*done; turn++) {
        loop_turn(r->loop);
        if (turn % 256)
            continue;
        uint64_t now = clock_real()->mono_ns(clock_real());
        end = end ? end : now + 20 * SEC_NS;
        if (now > end)
            die("no answer in 20 s", -ETIMEDOUT);
    }
}

void store_rig_settle(struct store_rig *r, unsigned ms)
{
    uint64_t end = loop_now_ns(r->loop) + ms * MS_NS;
    while (loop_now_ns(r->loop) < end) {
        if (r->clock)
            r->clock->mono_now_ns += 10 * MS_NS;
        for (unsigned i = 0; r->clock && i < 8; i++) {
            usleep(20); /* the threads' turn */
            loop_turn(r->loop);
        }
        loop_turn(r->loop);
    }
}

static void flag(void *ctx)
{
    *(bool *)ctx = true;
}

void store_rig_close(struct store_rig *r)
{
    bool done = false;
    store_close(r->store, flag, &done);
    store_rig_until(r, &done);
    r->store = NULL;
}

void store_rig_id(uint64_t n, uint8_t ret[FRAG_ID_BYTES])
{
    memset(ret, 0x5a, FRAG_ID_BYTES);
    put_be64(ret + 2, n * 0x9e3779b97f4a7c15u);
    put_be32(ret + 12, (uint32_t)n);
    ret[16] = (uint8_t)(n % 7);
}

static uint8_t byte_of(uint64_t n, uint64_t at)
{
    return (uint8_t)((n * 131 + at * 7 + (at >> 8) * 13 + (at >> 16) * 29) >> (at & 1));
}

void store_rig_fill(uint64_t n, uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        p[i] = byte_of(n, i);
}

bool store_rig_same(uint64_t n, uint64_t offset, const uint8_t *p, size_t len)
{
    size_t wrong = 0;
    for (size_t i = 0; i < len; i++)
        wrong += p[i] != byte_of(n, offset + i);
    return wrong == 0;
}

static void written(struct store_write *w)
{
    *(bool *)w->user = true;
}

int store_rig_write(struct store_rig *r, uint64_t n, size_t len)
{
    bool done = false;
    struct store_write w = {.k = 4, .m = 2, .epoch = 1, .payload_count = 1, .cb = written, .user = &done};
    struct buf *b = buf_create(len);
    if (!b)
        return -ENOMEM;
    store_rig_fill(n, b->data, len);
    store_rig_id(n, w.frag_id);
    w.payload[0] = (struct slice){b, 0, len};
    store_write(r->store, &w);
    store_rig_until(r, &done);
    buf_unref(b);
    return w.status;
}

static void was_read(struct store_read *rd)
{
    *(bool *)rd->user = true;
}

int store_rig_read(struct store_rig *r, uint64_t n, uint64_t offset, uint64_t length, size_t len)
{
    bool done = false;
    struct store_read rd = {.offset = offset, .length = length, .cb = was_read, .user = &done};
    store_rig_id(n, rd.frag_id);
    store_read(r->store, &rd);
    store_rig_until(r, &done);
    if (rd.status)
        return rd.status;
    uint64_t want = length == 0 || length > len - offset ? len - offset : length;
    bool same =
        rd.fragment_bytes == len && rd.data.len == want && store_rig_same(n, offset, slice_data(rd.data), rd.data.len);
    buf_unref(rd.data.buf);
    return same ? 0 : E_PROTOCOL;
}

static void was_deleted(struct store_delete *d)
{
    *(bool *)d->user = true;
}

int store_rig_delete(struct store_rig *r, uint64_t n)
{
    bool done = false;
    uint8_t id[1][FRAG_ID_BYTES];
    store_rig_id(n, id[0]);
    struct store_delete d = {
        .frag_ids = (const uint8_t(*)[FRAG_ID_BYTES])id, .count = 1, .cb = was_deleted, .user = &done};
    store_delete(r->store, &d);
    store_rig_until(r, &done);
    return d.status ? d.status : d.deleted ? 0 : STORE_NOT_FOUND;
}

struct store_stat store_rig_stat(struct store_rig *r)
{
    struct store_stat st;
    store_stat(r->store, &st);
    return st;
}
