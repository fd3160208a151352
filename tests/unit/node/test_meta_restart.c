/* Mending without a new process: a failed drive comes back, a halted service writes again, and a close at any moment of
 * it ends well. */
#include "tests/lib/disk_fault.h"
#include "tests/lib/meta_fixture.h"
#include <criterion/criterion.h>
#include <stdio.h>

static struct meta_fixture f;
static struct disk_fault *faults;
static struct disk *real_disk;

static void begin(unsigned replicas)
{
    meta_fixture_init(&f, replicas);
    real_disk = f.disk;
    cr_assert_eq(disk_fault_create(f.loop, real_disk, &faults), 0);
    f.disk = f.conf.disk = disk_fault_disk(faults);
    cr_assert_eq(meta_fixture_open(&f), 0, "%s", f.why);
    cr_assert_eq(fix_bucket(&f, "b"), 0);
    cr_assert_eq(fix_put(&f, "b", "before", "one"), 0);
}

static void end(void)
{
    disk_fault_set(faults, NULL, 0, 0, false);
    meta_fixture_fini(&f);
    real_disk->ops->destroy(real_disk);
}

TestSuite(meta_restart, .timeout = 100);

static unsigned in_sync_count(void)
{
    struct meta_status s;
    unsigned n = 0;
    meta_status(f.meta, &s);
    for (unsigned i = 0; i < s.replica_count; i++)
        n += s.replicas[i].in_sync;
    return n;
}

static const char *get(const char *key)
{
    static char text[64];
    int err = fix_get(&f, "b", key, text, sizeof text);
    if (err)
        snprintf(text, sizeof text, "!%d", err);
    return text;
}

/* Waits, moving the clock, until `count` replicas are in sync. */
static void wait_in_sync(unsigned count)
{
    for (int i = 0; i < 100 && in_sync_count() != count; i++)
        meta_fixture_advance_ms(&f, 5000);
    cr_assert_eq(in_sync_count(), count);
}

Test(meta_restart, a_drive_that_failed_is_filled_and_counts_again)
{
    begin(3);
    disk_fault_set(faults, f.dirs[1], 1, -EIO, true);
    cr_expect_eq(fix_put(&f, "b", "during", "two"), 0);
    cr_expect_eq(in_sync_count(), 2);
    meta_fixture_advance_ms(&f, 40000);
    cr_expect_eq(in_sync_count(), 2, "the probe fails: nobody is disturbed");
    cr_expect_eq(fix_put(&f, "b", "during", "three"), 0);
    disk_fault_set(faults, NULL, 0, 0, false);
    wait_in_sync(3);
    cr_expect_str_eq(get("during"), "three");
    /* now another one may go */
    disk_fault_set(faults, f.dirs[0], 1, -EIO, true);
    cr_expect_eq(fix_put(&f, "b", "after", "four"), 0);
    cr_expect_str_eq(get("after"), "four");
    cr_expect_str_eq(get("before"), "one");
    end();
}

Test(meta_restart, a_halted_service_writes_again_when_its_drive_does)
{
    begin(1);
    disk_fault_set(faults, f.dirs[0], 1, -ENOSPC, true);
    cr_expect_eq(fix_put(&f, "b", "k", "two"), E_QUORUM);
    cr_expect_eq(fix_put(&f, "b", "k", "two"), E_QUORUM);
    meta_fixture_advance_ms(&f, 5000);
    cr_expect_str_eq(get("before"), "one", "reads go on");
    disk_fault_set(faults, NULL, 0, 0, false);
    wait_in_sync(1);
    cr_expect_eq(fix_put(&f, "b", "k", "three"), 0);
    cr_expect_str_eq(get("k"), "three");
    meta_fixture_reopen(&f);
    cr_expect_str_eq(get("k"), "three");
    end();
}

Test(meta_restart, a_start_that_fails_is_tried_again)
{
    begin(1);
    disk_fault_set(faults, "/log/", 1, -EIO, true); /* the probe beside it goes well */
    cr_expect_eq(fix_put(&f, "b", "k", "two"), E_QUORUM);
    for (int i = 0; i < 20 && strcmp(get("before"), "one") == 0; i++)
        meta_fixture_advance_ms(&f, 1000);
    char unavailable[16];
    snprintf(unavailable, sizeof unavailable, "!%d", E_UNAVAILABLE);
    cr_expect_str_eq(get("before"), unavailable);
    cr_expect_eq(fix_put(&f, "b", "k", "two"), E_UNAVAILABLE);
    disk_fault_set(faults, NULL, 0, 0, false);
    for (int i = 0; i < 100 && strcmp(get("before"), "one") != 0; i++)
        meta_fixture_advance_ms(&f, 5000);
    cr_expect_str_eq(get("before"), "one");
    cr_expect_eq(fix_put(&f, "b", "k", "three"), 0);
    end();
}

struct many {
    struct rpc rpc;
    struct arena arena;
    Pb__ObjectGetReq get;
    Pb__BucketDeleteReq del;
    bool done;
};

static void many_submit(struct many *q, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        pb__object_get_req__init(&q[i].get);
        pb__bucket_delete_req__init(&q[i].del);
        q[i].get.bucket = q[i].del.name = (char *)(uintptr_t) "b";
        q[i].get.key = fix_bin("before");
        q[i].done = false;
        arena_init(&q[i].arena, MIB);
        q[i].rpc = (struct rpc){.type = i % 2 ? RPC_OBJECT_GET : RPC_BUCKET_DELETE,
                                .req = i % 2 ? (const void *)&q[i].get : (const void *)&q[i].del,
                                .arena = &q[i].arena,
                                .cb = fix_mark_done,
                                .user = &q[i].done};
        meta_submit(f.meta, &q[i].rpc);
    }
}

Test(meta_restart, requests_that_come_meanwhile_wait_and_are_answered)
{
    enum { COUNT = 200 };
    static struct many q[COUNT];
    begin(3);
    disk_fault_set(faults, f.dirs[2], 1, -EIO, false);
    cr_expect_eq(fix_put(&f, "b", "during", "two"), 0);
    for (int round = 0; round < 30 && in_sync_count() != 3; round++) {
        f.clock.mono_now_ns += 10000 * MS_NS;
        f.clock.wall_now_ms += 10000;
        for (int i = 0; i < round; i++)
            loop_turn(f.loop);
        many_submit(q, COUNT);
        for (size_t i = 0; i < COUNT; i++) {
            meta_fixture_until(&f, fix_is_done, &q[i].done);
            cr_expect_eq(q[i].rpc.status, i % 2 ? 0 : RPC_NOT_EMPTY);
            arena_fini(&q[i].arena);
        }
    }
    cr_expect_eq(in_sync_count(), 3);
    end();
}

Test(meta_restart, a_close_at_any_moment_of_it_ends_well)
{
    for (int turns = 0; turns < 60; turns += 3) {
        begin(2);
        disk_fault_set(faults, f.dirs[1], 1, -EIO, false);
        cr_expect_eq(fix_put(&f, "b", "k", "two"), E_QUORUM);
        f.clock.mono_now_ns += 2000 * MS_NS;
        f.clock.wall_now_ms += 2000;
        for (int i = 0; i < turns; i++)
            loop_turn(f.loop);
        meta_fixture_close(&f);
        disk_fault_set(faults, NULL, 0, 0, false);
        cr_assert_eq(meta_fixture_open(&f), 0, "%s", f.why);
        cr_expect_str_eq(get("before"), "one");
        end();
    }
}
