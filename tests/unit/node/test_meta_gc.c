/* gc: what is replaced or deleted goes after its delay, once, and only after the stores have let go of it. */
#include "node/meta_schema.h"
#include "tests/lib/meta_fixture.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

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

/* A write of `stripes` stripes, each without one of its fragments and with another one that stands elsewhere. */
static int put_lost(const char *key, uint32_t write, uint32_t stripes)
{
    Pb__Object o = PB__OBJECT__INIT;
    Pb__Extent e = PB__EXTENT__INIT, *list[1] = {&e};
    Pb__Lost *lost = calloc(stripes, sizeof *lost), **losts = calloc(stripes, sizeof *losts);
    Pb__Handoff *handoffs = calloc(stripes, sizeof *handoffs), **handoff_list = calloc(stripes, sizeof *handoff_list);
    Pb__ObjectPutReq req = PB__OBJECT_PUT_REQ__INIT;
    uint8_t id[12];
    cr_assert(lost && losts && handoffs && handoff_list);
    fix_write_id(id, write);
    for (uint32_t i = 0; i < stripes; i++) {
        pb__lost__init(&lost[i]);
        lost[i].stripe = i;
        lost[i].fragment = 2;
        losts[i] = &lost[i];
        pb__handoff__init(&handoffs[i]);
        handoffs[i].stripe = i;
        handoffs[i].fragment = 1;
        handoffs[i].store = 4;
        handoff_list[i] = &handoffs[i];
    }
    e.write_id = (ProtobufCBinaryData){12, id};
    e.size = o.size = 100;
    e.lost = losts;
    e.handoffs = handoff_list;
    e.n_lost = e.n_handoffs = stripes;
    o.etag = (char *)(uintptr_t) "00112233445566778899aabbccddeeff";
    o.extents = list;
    o.n_extents = 1;
    req.bucket = (char *)(uintptr_t) "b";
    req.key = fix_bin(key);
    req.object = &o;
    int err = meta_call(&f, RPC_OBJECT_PUT, &req, NULL, NULL);
    free(lost);
    free(losts);
    free(handoffs);
    free(handoff_list);
    return err;
}

/* 5 GiB, the largest PUT, are 1280 stripes of 4 MiB. */
Test(meta_gc, repair_rows_come_with_the_write_and_go_with_its_data)
{
    static const uint32_t stripes[] = {2, 1280};
    struct meta_status s;
    for (uint32_t i = 0; i < ARRAY_LEN(stripes); i++) {
        cr_assert_eq(put_lost("k", i + 1, stripes[i]), 0, "%u stripes", stripes[i]);
        meta_status(f.meta, &s);
        cr_expect_eq(s.repair_rows, stripes[i]);
        cr_assert_eq(fix_delete(&f, "b", "k"), 0);
        meta_fixture_advance_ms(&f, f.conf.gc_delay_ms + 2000);
        meta_status(f.meta, &s);
        for (int n = 0; n < 100 && s.repair_rows > 0; n++) { /* on a busy machine one advance is not enough */
            meta_fixture_advance_ms(&f, 1000);
            meta_status(f.meta, &s);
        }
        cr_expect_eq(s.repair_rows, 0);
        meta_fixture_reopen(&f);
        meta_status(f.meta, &s);
        cr_expect_eq(s.repair_rows, 0);
    }
}

/* What heals a fragment needs its own stripe's places, and no other's. */
Test(meta_gc, a_repair_row_names_one_stripe_alone)
{
    struct arena a;
    struct str value;
    struct meta_key k;
    uint8_t id[12];
    Pb__RepairRow *row;
    cr_assert_eq(put_lost("k", 1, 50), 0);
    meta_fixture_close(&f);
    char dir[256], why[256];
    snprintf(dir, sizeof dir, "%s/db", f.dirs[0]);
    struct kv_conf kc = {0};
    struct kv *kv;
    cr_assert_eq(kv_rocks_open(dir, &kc, &kv, why, sizeof why), 0, "%s", why);
    arena_init(&a, MIB);
    fix_write_id(id, 1);
    struct str key = meta_key_repair(&k, (struct str){(const char *)id, sizeof id}, 7, 2);
    cr_assert_eq(kv->ops->get(kv, key, &a, &value), 0);
    cr_assert_eq(meta_unpack(&a, &pb__repair_row__descriptor, value, &row), 0);
    cr_expect_eq(row->stripe, 7);
    cr_expect_eq(row->extent->n_lost, 0);
    cr_assert_eq(row->extent->n_handoffs, 1);
    cr_expect_eq(row->extent->handoffs[0]->stripe, 7);
    cr_expect_eq(row->extent->handoffs[0]->fragment, 1);
    cr_expect_eq(row->extent->handoffs[0]->store, 4);
    cr_expect_eq(row->extent->size, 100);
    arena_fini(&a);
    kv->ops->close(kv);
    cr_assert_eq(meta_fixture_open(&f), 0);
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
