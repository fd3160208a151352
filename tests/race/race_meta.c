/* Under ThreadSanitizer: writers, readers and listings at once on three replicas while one drive fails and is mended.
 * The databases are in memory, because RocksDB is not built for the sanitizer. */
#include "tests/lib/disk_fault.h"
#include "tests/lib/kv_door.h"
#include "tests/lib/meta_fixture.h"
#include <stdio.h>
#include <stdlib.h>

#define REQUESTS 60
#define ROUNDS   40

static struct kv *databases[META_REPLICAS_MAX];

static int kv_open(void *ctx, unsigned replica, bool empty, struct kv **ret_kv)
{
    (void)ctx;
    if (empty && databases[replica]) {
        databases[replica]->ops->close(databases[replica]);
        databases[replica] = NULL;
    }
    int err = databases[replica] ? 0 : kv_mem_open(&databases[replica]);
    return err ? err : kv_door_open(databases[replica], ret_kv);
}

struct one {
    struct rpc rpc;
    struct arena arena;
    Pb__Object o;
    Pb__ObjectPutReq put;
    Pb__ObjectGetReq get;
    Pb__ObjectListReq list;
    char key[16];
    bool done;
};

static bool all_in_sync(void *ctx)
{
    struct meta_fixture *f = ctx;
    struct meta_status s;
    unsigned n = 0;
    meta_status(f->meta, &s);
    for (unsigned i = 0; i < s.replica_count; i++)
        n += s.replicas[i].in_sync;
    return n == 3;
}

static void submit(struct meta_fixture *f, struct one *q, int n)
{
    snprintf(q->key, sizeof q->key, "k%d", n % 17);
    pb__object__init(&q->o);
    pb__object_put_req__init(&q->put);
    pb__object_get_req__init(&q->get);
    pb__object_list_req__init(&q->list);
    q->put.bucket = q->get.bucket = q->list.bucket = (char *)(uintptr_t) "b";
    q->put.key = q->get.key = fix_bin(q->key);
    q->put.object = &q->o;
    q->o.size = 4;
    q->put.inline_data = fix_bin("text");
    q->get.want_inline = true;
    q->list.limit = 10;
    q->done = false;
    arena_init(&q->arena, MIB);
    static const enum rpc_type types[] = {RPC_OBJECT_PUT, RPC_OBJECT_GET, RPC_OBJECT_LIST};
    const void *reqs[] = {&q->put, &q->get, &q->list};
    q->rpc = (struct rpc){
        .type = types[n % 3], .req = reqs[n % 3], .arena = &q->arena, .cb = fix_mark_done, .user = &q->done};
    meta_submit(f->meta, &q->rpc);
}

int main(void)
{
    static struct meta_fixture f;
    static struct one ones[REQUESTS];
    struct disk_fault *faults;
    meta_fixture_init(&f, 3);
    struct disk *real = f.disk;
    if (disk_fault_create(f.loop, real, &faults))
        return 1;
    f.disk = f.conf.disk = disk_fault_disk(faults);
    f.conf.kv_open = kv_open;
    if (meta_fixture_open(&f) || fix_bucket(&f, "b"))
        return 1;
    for (int round = 0; round < ROUNDS; round++) {
        if (round % 10 == 3)
            disk_fault_set(faults, f.dirs[round / 10 % 3], 5, -EIO, false);
        for (int i = 0; i < REQUESTS; i++)
            submit(&f, &ones[i], round * REQUESTS + i);
        f.clock.mono_now_ns += 11000 * MS_NS;
        f.clock.wall_now_ms += 11000;
        for (int i = 0; i < REQUESTS; i++) {
            meta_fixture_until(&f, fix_is_done, &ones[i].done);
            if (ones[i].rpc.status < 0)
                return 1;
            arena_fini(&ones[i].arena);
        }
        if (round % 10 == 9)
            meta_fixture_until(&f, all_in_sync, &f);
    }
    struct meta_status s;
    meta_status(f.meta, &s);
    printf("epoch %llu, seq %llu\n", (unsigned long long)s.epoch, (unsigned long long)s.seq);
    meta_fixture_fini(&f);
    real->ops->destroy(real);
    for (unsigned i = 0; i < META_REPLICAS_MAX; i++)
        databases[i]->ops->close(databases[i]);
    return s.epoch > 4 && s.objects == 17 ? 0 : 1;
}
