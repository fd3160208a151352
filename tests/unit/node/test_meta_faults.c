/* Fault loops: the first, second, third ... call of a drive or a database fails until a run meets no fault. After each,
 * what was answered is there, what was refused is not, and the service goes on or says that it cannot. */
#include "tests/lib/disk_fault.h"
#include "tests/lib/kv_door.h"
#include "tests/lib/meta_fixture.h"
#include <criterion/criterion.h>
#include <stdio.h>

#define KEYS 12

static struct meta_fixture f;
static struct disk_fault *faults;
static struct disk *real_disk;

/* The faults of this file are the disk's, and RocksDB never sees it: a database in memory, that stays behind its door
 * when the service ends, saves a thousand opens. */
static struct kv *kept[META_REPLICAS_MAX];

static int kv_kept(void *ctx, unsigned replica, bool empty, struct kv **ret_kv)
{
    (void)ctx;
    if (empty && kept[replica])
        kept[replica]->ops->close(kept[replica]);
    if (empty)
        kept[replica] = NULL;
    int err = kept[replica] ? 0 : kv_mem_open(&kept[replica]);
    return err ? err : kv_door_open(kept[replica], ret_kv);
}

static void begin(unsigned replicas)
{
    meta_fixture_init(&f, replicas);
    f.conf.kv_open = kv_kept;
    real_disk = f.disk;
    cr_assert_eq(disk_fault_create(f.loop, real_disk, &faults), 0);
    f.disk = f.conf.disk = disk_fault_disk(faults);
}

static void end(void)
{
    meta_fixture_fini(&f); /* destroys the faulty disk */
    real_disk->ops->destroy(real_disk);
    for (size_t i = 0; i < META_REPLICAS_MAX; i++) {
        if (kept[i])
            kept[i]->ops->close(kept[i]);
        kept[i] = NULL;
    }
}

/* What the client knows of a key: the text that must be there, or that either may be. */
struct known {
    char sure[16], maybe[16];
};

static void work(struct known known[KEYS], int round, unsigned *ret_good)
{
    for (int i = 0; i < KEYS; i++) {
        char key[8], text[16];
        snprintf(key, sizeof key, "k%d", i);
        snprintf(text, sizeof text, "v%d-%d", round, i);
        int err = fix_put(&f, "b", key, text);
        if (err == 0) {
            snprintf(known[i].sure, sizeof known[i].sure, "%s", text);
            known[i].maybe[0] = 0;
            ++*ret_good;
        } else {
            cr_expect_lt(err, 0);
            snprintf(known[i].maybe, sizeof known[i].maybe, "%s", text);
        }
    }
}

static void check(const struct known known[KEYS], const char *when)
{
    for (int i = 0; i < KEYS; i++) {
        char key[8], text[64] = "";
        snprintf(key, sizeof key, "k%d", i);
        int err = fix_get(&f, "b", key, text, sizeof text);
        bool sure = known[i].sure[0] ? err == 0 && strcmp(text, known[i].sure) == 0 : err == RPC_NOT_FOUND;
        bool maybe = known[i].maybe[0] && err == 0 && strcmp(text, known[i].maybe) == 0;
        cr_expect(sure || maybe, "%s: %s is \"%s\" (%d), not \"%s\" or \"%s\"", when, key, text, err, known[i].sure,
                  known[i].maybe);
    }
}

static unsigned in_sync_count(void)
{
    struct meta_status s;
    unsigned n = 0;
    meta_status(f.meta, &s);
    for (unsigned i = 0; i < s.replica_count; i++)
        n += s.replicas[i].in_sync;
    return n;
}

TestSuite(meta_faults, .timeout = 100);

/* A drive of three dies at its n-th call: every write goes on. */
Test(meta_faults, one_drive_of_three_may_die_at_any_call)
{
    static const bool sticky[] = {true, false};
    for (size_t k = 0; k < ARRAY_LEN(sticky); k++) {
        bool hit = true;
        for (uint64_t n = 1; hit; n += n < 6 ? 1 : 5) {
            struct known known[KEYS] = {0};
            unsigned good = 0;
            begin(3);
            cr_assert_eq(meta_fixture_open(&f), 0, "%s", f.why);
            cr_assert_eq(fix_bucket(&f, "b"), 0);
            disk_fault_set(faults, f.dirs[n % 3], n, -EIO, sticky[k]);
            work(known, 1, &good);
            hit = disk_fault_hit(faults);
            cr_expect_eq(good, KEYS, "call %d: %u", (int)n, good);
            cr_expect_eq(in_sync_count(), hit ? 2 : 3, "call %d", (int)n);
            check(known, "after");
            meta_fixture_close(&f);
            disk_fault_set(faults, NULL, 0, 0, false);
            cr_assert_eq(meta_fixture_open(&f), 0, "%s", f.why);
            cr_expect_eq(in_sync_count(), 3);
            check(known, "again");
            end();
        }
    }
}

/* With one drive a failed log ends writing; what was answered stays, and a start goes on. */
Test(meta_faults, one_drive_alone_may_fail_at_any_call)
{
    bool hit = true;
    for (uint64_t n = 1; hit; n++) {
        struct known known[KEYS] = {0};
        unsigned good = 0;
        begin(1);
        cr_assert_eq(meta_fixture_open(&f), 0, "%s", f.why);
        cr_assert_eq(fix_bucket(&f, "b"), 0);
        disk_fault_set(faults, f.dirs[0], n, -ENOSPC, false);
        work(known, 1, &good);
        hit = disk_fault_hit(faults);
        cr_expect_eq(good == KEYS, !hit);
        check(known, "after"); /* reads go on */
        meta_fixture_close(&f);
        disk_fault_set(faults, NULL, 0, 0, false);
        cr_assert_eq(meta_fixture_open(&f), 0, "%s", f.why);
        check(known, "again");
        work(known, 2, &good);
        check(known, "later");
        end();
    }
}

/* A start may fail at any call, and the next one finds everything. */
Test(meta_faults, a_start_may_fail_at_any_call)
{
    bool hit = true;
    struct known known[KEYS] = {0};
    unsigned good = 0;
    begin(3);
    cr_assert_eq(meta_fixture_open(&f), 0, "%s", f.why);
    cr_assert_eq(fix_bucket(&f, "b"), 0);
    work(known, 1, &good);
    meta_fixture_close(&f);
    for (uint64_t n = 1; hit; n++) {
        disk_fault_set(faults, "/", n, -EIO, n % 2);
        int err = meta_fixture_open(&f);
        hit = disk_fault_hit(faults);
        disk_fault_set(faults, NULL, 0, 0, false);
        if (err == 0) {
            check(known, "in spite of it");
            work(known, (int)n, &good);
            meta_fixture_close(&f);
        } else {
            cr_expect_str_not_empty(f.why);
        }
        cr_assert_eq(meta_fixture_open(&f), 0, "call %d: %s", (int)n, f.why);
        check(known, "next start");
        cr_expect_eq(in_sync_count(), 3, "call %d", (int)n);
        meta_fixture_close(&f);
    }
    end();
}

Test(meta_faults, a_creation_may_fail_at_any_call_and_begins_again)
{
    bool hit = true;
    for (uint64_t n = 1; hit; n += n < 12 ? 1 : 7) {
        begin(3);
        disk_fault_set(faults, "/", n, -ENOSPC, true);
        int err = meta_fixture_open(&f);
        hit = disk_fault_hit(faults);
        cr_expect_eq(err == 0, !hit, "call %d: %d", (int)n, err);
        disk_fault_set(faults, NULL, 0, 0, false);
        if (err)
            cr_assert_eq(meta_fixture_open(&f), 0, "call %d: %s", (int)n, f.why);
        cr_expect_eq(fix_bucket(&f, "b"), 0);
        end();
    }
}

/* ---- drives that hang ---- */

struct slow_put {
    Pb__Object o;
    Pb__ObjectPutReq req;
    struct arena arena;
    struct rpc rpc;
    bool done;
};

static void slow_put(struct slow_put *p, const char *key)
{
    *p = (struct slow_put){.o = PB__OBJECT__INIT, .req = PB__OBJECT_PUT_REQ__INIT};
    arena_init(&p->arena, MIB);
    p->o.etag = (char *)(uintptr_t) "00112233445566778899aabbccddeeff";
    p->o.size = 3;
    p->req.bucket = (char *)(uintptr_t) "b";
    p->req.key = fix_bin(key);
    p->req.object = &p->o;
    p->req.inline_data = fix_bin("one");
    p->rpc =
        (struct rpc){.type = RPC_OBJECT_PUT, .req = &p->req, .arena = &p->arena, .cb = fix_mark_done, .user = &p->done};
    meta_submit(f.meta, &p->rpc);
}

static bool held(void *ctx)
{
    (void)ctx;
    return disk_fault_holding(faults);
}

static void has(const char *key, const char *text)
{
    char found[16] = "";
    cr_expect_eq(fix_get(&f, "b", key, found, sizeof found), 0, "%s", key);
    cr_expect_str_eq(found, text);
}

/* Its log, its register, or both: whatever hangs, and whether reads came from it or not. */
Test(meta_faults, a_drive_of_three_that_hangs_is_given_up)
{
    static const struct {
        unsigned drive;
        const char *part;
    } rows[] = {{0, ""}, {0, "/log/"}, {1, ""}, {2, "/log/"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct slow_put p;
        char word[200];
        begin(3);
        cr_assert_eq(meta_fixture_open(&f), 0, "%s", f.why);
        cr_assert_eq(fix_bucket(&f, "b"), 0);
        snprintf(word, sizeof word, "%s%s", f.dirs[rows[i].drive], rows[i].part);
        disk_fault_hold(faults, word);
        slow_put(&p, "during");
        meta_fixture_until(&f, held, NULL);
        meta_fixture_advance_ms(&f, 9000);
        cr_expect(!p.done, "it may come back");
        meta_fixture_advance_ms(&f, 2000);
        meta_fixture_until(&f, fix_is_done, &p.done);
        cr_expect_eq(p.rpc.status, 0);
        cr_expect_eq(in_sync_count(), 2);
        has("during", "one");
        cr_expect_eq(fix_put(&f, "b", "after", "two"), 0);
        meta_fixture_advance_ms(&f, 120000); /* nothing that mends may wait for it either */
        cr_expect_eq(fix_put(&f, "b", "later", "three"), 0);
        has("after", "two");
        disk_fault_release(faults);
        meta_fixture_close(&f);
        cr_assert_eq(meta_fixture_open(&f), 0, "%s", f.why);
        cr_expect_eq(in_sync_count(), 3);
        has("during", "one");
        has("later", "three");
        arena_fini(&p.arena);
        end();
    }
}

/* A register that hangs in the middle of a change counts as not written. */
Test(meta_faults, a_register_that_hangs_does_not_hold_up_a_change)
{
    struct slow_put p;
    char word[200];
    begin(3);
    cr_assert_eq(meta_fixture_open(&f), 0, "%s", f.why);
    cr_assert_eq(fix_bucket(&f, "b"), 0);
    snprintf(word, sizeof word, "%s/register", f.dirs[1]);
    disk_fault_hold(faults, word);
    disk_fault_set(faults, f.dirs[2], 1, -EIO, false); /* its log fails, its register does not */
    slow_put(&p, "k");
    meta_fixture_until(&f, held, NULL);
    meta_fixture_advance_ms(&f, 9000);
    cr_expect(!p.done);
    meta_fixture_advance_ms(&f, 2000);
    meta_fixture_until(&f, fix_is_done, &p.done);
    cr_expect_eq(p.rpc.status, 0);
    cr_expect_eq(in_sync_count(), 2);
    cr_expect_eq(fix_put(&f, "b", "l", "two"), 0);
    disk_fault_release(faults);
    meta_fixture_close(&f);
    cr_assert_eq(meta_fixture_open(&f), 0, "%s", f.why);
    cr_expect_eq(in_sync_count(), 3);
    has("k", "one");
    has("l", "two");
    arena_fini(&p.arena);
    end();
}

Test(meta_faults, one_drive_alone_that_hangs_is_answered_for)
{
    struct slow_put p;
    struct meta_status s;
    begin(1);
    cr_assert_eq(meta_fixture_open(&f), 0, "%s", f.why);
    cr_assert_eq(fix_bucket(&f, "b"), 0);
    cr_assert_eq(fix_put(&f, "b", "before", "one"), 0);
    disk_fault_hold(faults, f.dirs[0]);
    slow_put(&p, "k");
    meta_fixture_until(&f, held, NULL);
    meta_fixture_advance_ms(&f, 11000);
    meta_fixture_until(&f, fix_is_done, &p.done);
    cr_expect_eq(p.rpc.status, E_QUORUM);
    meta_status(f.meta, &s);
    cr_expect(!s.writable);
    has("before", "one");
    disk_fault_release(faults);
    meta_fixture_close(&f);
    cr_assert_eq(meta_fixture_open(&f), 0, "%s", f.why);
    cr_expect_eq(fix_put(&f, "b", "k", "two"), 0);
    arena_fini(&p.arena);
    end();
}

/* ---- databases that fail ---- */

static struct kv *databases[META_REPLICAS_MAX];

static int kv_open(void *ctx, unsigned replica, bool empty, struct kv **ret_kv)
{
    (void)ctx, (void)empty;
    int err = kv_mem_open(ret_kv);
    databases[replica] = err ? NULL : *ret_kv;
    return err;
}

Test(meta_faults, a_database_may_fail_at_any_call)
{
    static const unsigned replicas[] = {1, 3};
    for (size_t k = 0; k < ARRAY_LEN(replicas); k++) {
        bool pending = false;
        for (uint64_t n = 1; !pending; n += n < 10 ? 1 : 9) {
            struct known known[KEYS] = {0};
            unsigned good = 0;
            begin(replicas[k]);
            f.conf.kv_open = kv_open;
            cr_assert_eq(meta_fixture_open(&f), 0, "%s", f.why);
            cr_assert_eq(fix_bucket(&f, "b"), 0);
            kv_mem_fail_nth(databases[0], n, -ENOSPC);
            work(known, 1, &good);
            pending = kv_mem_fail_pending(databases[0]);
            kv_mem_fail_nth(databases[0], 0, 0);
            cr_expect_geq(good, replicas[k] == 3 ? KEYS - 1 : 0, "call %d: %u", (int)n, good);
            check(known, "after");
            end();
        }
    }
}
