/* gc: what is replaced or deleted goes after its delay, once, and only after the stores have let go of it. */
#include "tests/lib/meta_fixture.h"
#include <criterion/criterion.h>
#include <stdio.h>

static struct meta_fixture f;

static void open_one(void)
{
    meta_fixture_init(&f, 1);
    cr_assert_eq(meta_fixture_open(&f), 0, "%s", f.why);
    cr_assert_eq(fix_bucket(&f, "b"), 0);
}

static void close_one(void)
{
    meta_fixture_fini(&f);
}

TestSuite(meta_gc, .init = open_one, .fini = close_one);

static uint64_t gc_rows(void)
{
    struct meta_status s;
    meta_status(f.meta, &s);
    return s.gc_rows;
}

Test(meta_gc, takes_what_was_replaced_or_deleted_after_the_delay)
{
    cr_assert_eq(fix_put_extent(&f, "b", "k", 100, 1), 0);
    cr_assert_eq(fix_put_extent(&f, "b", "k", 100, 2), 0);
    cr_assert_eq(fix_put_extent(&f, "b", "l", 100, 3), 0);
    cr_assert_eq(fix_delete(&f, "b", "l"), 0);
    cr_expect_eq(gc_rows(), 2);
    meta_fixture_advance_ms(&f, f.conf.gc_delay_ms - 2000);
    cr_expect_eq(f.deleted_extents, 0);
    meta_fixture_advance_ms(&f, 4000);
    cr_expect_eq(f.deleted_extents, 2);
    cr_expect_eq(gc_rows(), 0);
    meta_fixture_advance_ms(&f, 2 * f.conf.gc_delay_ms);
    cr_expect_eq(f.deleted_extents, 2);
    /* the ids are free again, as far as metadata goes */
    cr_expect_eq(fix_put_extent(&f, "b", "m", 100, 1), 0);
    cr_expect_eq(fix_put_extent(&f, "b", "m", 100, 2), RPC_CLAIMED, "2 stands in k");
}

Test(meta_gc, asks_again_when_the_stores_failed)
{
    cr_assert_eq(fix_put_extent(&f, "b", "k", 100, 1), 0);
    cr_assert_eq(fix_delete(&f, "b", "k"), 0);
    f.delete_err = -EIO;
    meta_fixture_advance_ms(&f, f.conf.gc_delay_ms + 2000);
    cr_expect_eq(gc_rows(), 1);
    cr_expect_eq(f.deleted_extents, 0);
    f.delete_err = 0;
    meta_fixture_advance_ms(&f, 60000);
    cr_expect_eq(gc_rows(), 0);
    cr_expect_eq(f.deleted_extents, 1);
}

Test(meta_gc, goes_on_after_a_restart)
{
    for (uint32_t i = 1; i <= 100; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%u", i);
        cr_assert_eq(fix_put_extent(&f, "b", key, 100, i), 0);
        cr_assert_eq(fix_delete(&f, "b", key), 0);
    }
    meta_fixture_reopen(&f);
    cr_expect_eq(gc_rows(), 100);
    meta_fixture_advance_ms(&f, f.conf.gc_delay_ms + 2000);
    cr_expect_eq(gc_rows(), 0);
    cr_expect_eq(f.deleted_extents, 100);
}

Test(meta_gc, a_close_in_the_middle_of_a_round_loses_nothing)
{
    cr_assert_eq(fix_put_extent(&f, "b", "k", 100, 1), 0);
    cr_assert_eq(fix_delete(&f, "b", "k"), 0);
    f.clock.mono_now_ns += 2 * f.conf.gc_delay_ms * MS_NS;
    f.clock.wall_now_ms += 2 * f.conf.gc_delay_ms;
    for (int turns = 0; turns < 40; turns++) {
        for (int i = 0; i < turns; i++)
            loop_turn(f.loop);
        meta_fixture_close(&f);
        cr_assert_eq(meta_fixture_open(&f), 0);
    }
    meta_fixture_advance_ms(&f, 2 * f.conf.gc_delay_ms);
    cr_expect_eq(gc_rows(), 0);
    cr_expect_geq(f.deleted_extents, 1);
}

static int put_lost(const char *key, uint32_t write)
{
    Pb__Object o = PB__OBJECT__INIT;
    Pb__Extent e = PB__EXTENT__INIT, *list[1] = {&e};
    Pb__Lost lost[2], *losts[2] = {&lost[0], &lost[1]};
    Pb__ObjectPutReq req = PB__OBJECT_PUT_REQ__INIT;
    uint8_t id[12];
    fix_write_id(id, write);
    for (uint32_t i = 0; i < 2; i++) {
        pb__lost__init(&lost[i]);
        lost[i].stripe = i;
        lost[i].fragment = 2;
    }
    e.write_id = (ProtobufCBinaryData){12, id};
    e.size = o.size = 100;
    e.lost = losts;
    e.n_lost = 2;
    o.etag = (char *)(uintptr_t) "00112233445566778899aabbccddeeff";
    o.extents = list;
    o.n_extents = 1;
    req.bucket = (char *)(uintptr_t) "b";
    req.key = fix_bin(key);
    req.object = &o;
    return meta_call(&f, RPC_OBJECT_PUT, &req, NULL, NULL);
}

Test(meta_gc, repair_rows_come_with_the_write_and_go_with_its_data)
{
    struct meta_status s;
    cr_assert_eq(put_lost("k", 1), 0);
    meta_status(f.meta, &s);
    cr_expect_eq(s.repair_rows, 2);
    cr_assert_eq(fix_delete(&f, "b", "k"), 0);
    meta_fixture_advance_ms(&f, f.conf.gc_delay_ms + 2000);
    meta_status(f.meta, &s);
    cr_expect_eq(s.repair_rows, 0);
    meta_fixture_reopen(&f);
    meta_status(f.meta, &s);
    cr_expect_eq(s.repair_rows, 0);
}

static void ignore(struct rpc *r)
{
    *(int *)r->user += r->status == -ECANCELED ? 1 : 1000;
}

Test(meta_gc, a_close_answers_everything_that_waits)
{
    enum { COUNT = 300 };
    static struct rpc rpcs[COUNT];
    static struct arena arenas[COUNT];
    Pb__ObjectGetReq get = PB__OBJECT_GET_REQ__INIT;
    Pb__BucketDeleteReq del = PB__BUCKET_DELETE_REQ__INIT;
    int answers = 0;
    get.bucket = del.name = (char *)(uintptr_t) "none";
    get.key = fix_bin("k");
    for (size_t i = 0; i < COUNT; i++) {
        arena_init(&arenas[i], MIB);
        rpcs[i] = (struct rpc){.type = i % 2 ? RPC_OBJECT_GET : RPC_BUCKET_DELETE,
                               .req = i % 2 ? (const void *)&get : (const void *)&del,
                               .arena = &arenas[i],
                               .cb = ignore,
                               .user = &answers};
        meta_submit(f.meta, &rpcs[i]);
    }
    meta_fixture_close(&f);
    cr_expect_eq(answers % 1000 + answers / 1000, COUNT);
    cr_expect_gt(answers % 1000, 0);
    for (size_t i = 0; i < COUNT; i++)
        arena_fini(&arenas[i]);
}
