/* meta_fixture - see the header. Calls turn the real loop until their callback has run. */
#include "tests/lib/meta_fixture.h"
#include "common/crypt.h"
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define START_WALL_MS UINT64_C(1750000000000)
#define MUST(cond)                                                                                                     \
    do {                                                                                                               \
        if (!(cond)) {                                                                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                                                 \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

static void frag_deleted(struct loop_post *p)
{
    struct meta_fixture *f = container_of(p, struct meta_fixture, delete_post);
    f->delete_done(f->delete_arg, f->delete_err);
}

static void frag_delete(void *ctx, Pb__Extent *const *extents, size_t n, void (*done)(void *arg, int err), void *arg)
{
    struct meta_fixture *f = ctx;
    for (size_t i = 0; i < n && !f->delete_err; i++) {
        MUST(extents[i]->write_id.len == 12);
        if (f->deleted_extents < ARRAY_LEN(f->deleted_ids))
            memcpy(f->deleted_ids[f->deleted_extents], extents[i]->write_id.data, 12);
        f->deleted_extents++;
    }
    f->delete_done = done;
    f->delete_arg = arg;
    f->delete_post.cb = frag_deleted;
    loop_post(f->loop, &f->delete_post);
}

void meta_fixture_init(struct meta_fixture *f, unsigned replica_count)
{
    *f = (struct meta_fixture){0};
    snprintf(f->dir, sizeof f->dir, "%s/lectern-meta-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/var/tmp");
    MUST(mkdtemp(f->dir));
    clock_manual_init(&f->clock, START_WALL_MS);
    MUST(loop_create(&f->clock.clock, &f->loop) == 0);
    MUST(work_create(f->loop, 2, &f->work) == 0);
    MUST(disk_create(f->loop, "threads", &f->disk, f->why, sizeof f->why) == 0);
    for (unsigned i = 0; i < replica_count; i++) {
        snprintf(f->dirs[i], sizeof f->dirs[i], "%s/%u", f->dir, i);
        f->replicas[i] = (struct meta_replica_conf){.dir = f->dirs[i], .index = i};
        memset(f->replicas[i].id, (int)(0xa0 + i), META_ID_BYTES);
    }
    f->conf = (struct meta_conf){
        .loop = f->loop,
        .work = f->work,
        .disk = f->disk,
        .replicas = f->replicas,
        .replica_count = replica_count,
        .replica_total = replica_count,
        .kv_cache_bytes = 4 * MIB,
        .log_bytes = MIB,
        .gc_delay_ms = 60000,
        .upload_expire_ms = 0,
        .frag_delete = frag_delete,
        .ctx = f,
    };
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void)st, (void)type, (void)walk;
    return remove(path);
}

void meta_fixture_fini(struct meta_fixture *f)
{
    if (f->meta)
        meta_fixture_close(f);
    f->disk->ops->destroy(f->disk);
    work_destroy(f->work);
    loop_destroy(f->loop);
    nftw(f->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int meta_fixture_open(struct meta_fixture *f)
{
    f->why[0] = 0;
    return meta_open(&f->conf, &f->meta, f->why, sizeof f->why);
}

void meta_fixture_until(struct meta_fixture *f, bool (*done)(void *ctx), void *ctx)
{
    for (unsigned idle = 0; !done(ctx); idle++) {
        loop_turn(f->loop);
        if (idle > 50)
            usleep(idle > 2000 ? 1000 : 20);
        MUST(idle < 60000); /* somebody never answered */
    }
}

bool fix_is_done(void *flag)
{
    return *(bool *)flag;
}

void fix_mark_done(struct rpc *r)
{
    *(bool *)r->user = true;
}

static void closed(void *ctx)
{
    *(bool *)ctx = true;
}

void meta_fixture_close(struct meta_fixture *f)
{
    bool done = false;
    meta_close(f->meta, closed, &done);
    meta_fixture_until(f, fix_is_done, &done);
    f->meta = NULL;
}

void meta_fixture_reopen(struct meta_fixture *f)
{
    if (f->meta)
        meta_fixture_close(f);
    int err = meta_fixture_open(f);
    if (err)
        fprintf(stderr, "meta_open: %d %s\n", err, f->why);
    MUST(err == 0);
}

void meta_fixture_advance_ms(struct meta_fixture *f, uint64_t ms)
{
    f->clock.mono_now_ns += ms * MS_NS;
    f->clock.wall_now_ms += ms;
    for (int i = 0; i < 1500; i++) { /* what the jump sets off runs on threads and the disk: real time, also when busy */
        loop_turn(f->loop);
        usleep(100);
    }
}

struct call {
    struct rpc rpc;
    bool done;
};

static void called(struct rpc *r)
{
    container_of(r, struct call, rpc)->done = true;
}

int meta_call(struct meta_fixture *f, enum rpc_type type, const void *req, struct arena *a, void *ret_rep)
{
    struct arena own;
    arena_init(&own, 64 * MIB);
    struct call c = {.rpc = {.type = type, .req = req, .arena = a ? a : &own, .cb = called}};
    meta_submit(f->meta, &c.rpc);
    MUST(!c.done); /* never inside submit */
    meta_fixture_until(f, fix_is_done, &c.done);
    if (ret_rep && a)
        memcpy(ret_rep, &c.rpc.rep, sizeof c.rpc.rep);
    arena_fini(&own);
    return c.rpc.status;
}

ProtobufCBinaryData fix_bin(const char *text)
{
    return (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *)(uintptr_t)text};
}

int fix_bucket(struct meta_fixture *f, const char *name)
{
    Pb__Bucket b = PB__BUCKET__INIT;
    Pb__BucketCreateReq req = PB__BUCKET_CREATE_REQ__INIT;
    b.name = (char *)(uintptr_t)name;
    b.owner = (char *)(uintptr_t) "me";
    req.bucket = &b;
    return meta_call(f, RPC_BUCKET_CREATE, &req, NULL, NULL);
}

static void etag_of(const char *text, char etag[33])
{
    uint8_t sum[DIGEST_MAX];
    digest_once(DIGEST_MD5, text, strlen(text), sum);
    hex_encode(sum, 16, etag);
}

int fix_put(struct meta_fixture *f, const char *bucket, const char *key, const char *text)
{
    Pb__Object o = PB__OBJECT__INIT;
    Pb__ObjectPutReq req = PB__OBJECT_PUT_REQ__INIT;
    char etag[33];
    etag_of(text, etag);
    o.etag = etag;
    o.size = strlen(text);
    req.bucket = (char *)(uintptr_t)bucket;
    req.key = fix_bin(key);
    req.object = &o;
    req.inline_data = fix_bin(text);
    return meta_call(f, RPC_OBJECT_PUT, &req, NULL, NULL);
}

void fix_write_id(uint8_t id[12], uint32_t write_number)
{
    memset(id, 0x77, 12);
    put_be32(id + 8, write_number);
}

int fix_put_extent(struct meta_fixture *f, const char *bucket, const char *key, uint64_t size, uint32_t write_number)
{
    Pb__Object o = PB__OBJECT__INIT;
    Pb__Extent e = PB__EXTENT__INIT, *list[1] = {&e};
    Pb__ObjectPutReq req = PB__OBJECT_PUT_REQ__INIT;
    uint8_t id[12];
    fix_write_id(id, write_number);
    e.write_id = (ProtobufCBinaryData){12, id};
    e.size = o.size = size;
    e.k = 2;
    e.m = 1;
    o.etag = (char *)(uintptr_t) "00112233445566778899aabbccddeeff";
    o.extents = list;
    o.n_extents = 1;
    req.bucket = (char *)(uintptr_t)bucket;
    req.key = fix_bin(key);
    req.object = &o;
    req.write_ids = &e.write_id;
    req.n_write_ids = 1;
    return meta_call(f, RPC_OBJECT_PUT, &req, NULL, NULL);
}

int fix_delete(struct meta_fixture *f, const char *bucket, const char *key)
{
    Pb__ObjectDeleteReq req = PB__OBJECT_DELETE_REQ__INIT;
    ProtobufCBinaryData keys[1] = {fix_bin(key)};
    req.bucket = (char *)(uintptr_t)bucket;
    req.keys = keys;
    req.n_keys = 1;
    return meta_call(f, RPC_OBJECT_DELETE, &req, NULL, NULL);
}

int fix_get(struct meta_fixture *f, const char *bucket, const char *key, char *buf, size_t cap)
{
    Pb__ObjectGetReq req = PB__OBJECT_GET_REQ__INIT;
    Pb__ObjectGetRep *rep;
    struct arena a;
    arena_init(&a, 16 * MIB);
    req.bucket = (char *)(uintptr_t)bucket;
    req.key = fix_bin(key);
    req.want_inline = true;
    int err = meta_call(f, RPC_OBJECT_GET, &req, &a, &rep);
    if (!err)
        snprintf(buf, cap, "%.*s", (int)rep->inline_data.len, (char *)rep->inline_data.data);
    arena_fini(&a);
    return err;
}

int fix_list(struct meta_fixture *f, const char *bucket, const char *prefix, const char *delimiter, const char *after,
             unsigned limit, char *buf, size_t cap)
{
    Pb__ObjectListReq req = PB__OBJECT_LIST_REQ__INIT;
    Pb__ObjectListRep *rep;
    struct arena a;
    arena_init(&a, 16 * MIB);
    req.bucket = (char *)(uintptr_t)bucket;
    req.prefix = fix_bin(prefix);
    req.delimiter = fix_bin(delimiter);
    req.after = fix_bin(after);
    req.limit = limit;
    buf[0] = 0;
    int err = meta_call(f, RPC_OBJECT_LIST, &req, &a, &rep);
    for (size_t i = 0, at = 0; !err && i < rep->n_entries; i++) {
        Pb__ListEntry *e = rep->entries[i];
        at += (size_t)snprintf(buf + at, cap - at, "%s%.*s%s", at ? " " : "", (int)e->key.len, (char *)e->key.data,
                               e->is_prefix ? "+" : "");
        if (i + 1 == rep->n_entries && rep->truncated)
            snprintf(buf + at, cap - at, " ...");
    }
    arena_fini(&a);
    return err;
}
