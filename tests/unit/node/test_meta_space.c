/* Drives that run full: what grows is refused while there is room, what makes room goes on, and a start that has no
 * room says so. */
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
}

static void end(void)
{
    meta_fixture_fini(&f);
    real_disk->ops->destroy(real_disk);
}

TestSuite(meta_space, .timeout = 100);

static int upload_create(const char *id)
{
    Pb__Upload u = PB__UPLOAD__INIT;
    Pb__UploadCreateReq req = PB__UPLOAD_CREATE_REQ__INIT;
    u.bucket = (char *)(uintptr_t) "b";
    u.key = fix_bin("u");
    u.upload_id = (char *)(uintptr_t)id;
    req.upload = &u;
    return meta_call(&f, RPC_UPLOAD_CREATE, &req, NULL, NULL);
}

static int upload_abort(const char *id)
{
    Pb__UploadAbortReq req = PB__UPLOAD_ABORT_REQ__INIT;
    req.bucket = (char *)(uintptr_t) "b";
    req.key = fix_bin("u");
    req.upload_id = (char *)(uintptr_t)id;
    return meta_call(&f, RPC_UPLOAD_ABORT, &req, NULL, NULL);
}

static int row_txn(const char *put, const char *del)
{
    Pb__RowsTxnReq req = PB__ROWS_TXN_REQ__INIT;
    Pb__Row row = PB__ROW__INIT, *rows[1] = {&row};
    ProtobufCBinaryData keys[1];
    req.table = (char *)(uintptr_t) "t";
    if (put) {
        row.key = fix_bin(put);
        row.value = fix_bin("v");
        req.puts = rows;
        req.n_puts = 1;
    }
    if (del) {
        keys[0] = fix_bin(del);
        req.deletes = keys;
        req.n_deletes = 1;
    }
    return meta_call(&f, RPC_ROWS_TXN, &req, NULL, NULL);
}

Test(meta_space, what_grows_is_refused_and_what_makes_room_goes_on)
{
    static const unsigned full[] = {0, 2}; /* any drive */
    char text[16];
    for (size_t i = 0; i < ARRAY_LEN(full); i++) {
        struct meta_status s;
        begin(3);
        cr_assert_eq(fix_put_extent(&f, "b", "k", 100, 1), 0);
        cr_assert_eq(fix_put(&f, "b", "l", "one"), 0);
        cr_assert_eq(upload_create("1"), 0);
        cr_assert_eq(row_txn("r", NULL), 0);
        disk_fault_space(faults, f.dirs[full[i]], 255 * MIB);
        cr_expect_eq(fix_put(&f, "b", "m", "two"), -ENOSPC);
        cr_expect_eq(fix_put_extent(&f, "b", "n", 100, 2), -ENOSPC);
        cr_expect_eq(upload_create("2"), -ENOSPC);
        cr_expect_eq(row_txn("q", NULL), -ENOSPC);
        cr_expect_eq(row_txn("q", "r"), -ENOSPC);
        cr_expect_eq(fix_get(&f, "b", "l", text, sizeof text), 0);
        cr_expect_eq(row_txn(NULL, "r"), 0);
        cr_expect_eq(upload_abort("1"), 0);
        cr_expect_eq(fix_delete(&f, "b", "k"), 0);
        meta_fixture_advance_ms(&f, f.conf.gc_delay_ms + 2000);
        for (int n = 0; n < 100 && f.deleted_extents == 0; n++)
            meta_fixture_advance_ms(&f, 1000);
        cr_expect_eq(f.deleted_extents, 1);
        meta_status(f.meta, &s);
        cr_expect(s.writable);
        disk_fault_space(faults, f.dirs[full[i]], 256 * MIB);
        cr_expect_eq(fix_put(&f, "b", "m", "two"), 0);
        end();
    }
}

Test(meta_space, a_start_on_a_full_drive_says_so_and_touches_nothing)
{
    char text[16] = "";
    begin(1);
    cr_assert_eq(fix_put(&f, "b", "k", "one"), 0);
    meta_fixture_close(&f);
    disk_fault_space(faults, f.dirs[0], MIB);
    cr_expect_eq(meta_fixture_open(&f), -ENOSPC);
    cr_expect(strstr(f.why, f.dirs[0]) && strstr(f.why, "is full: 1024 KiB are free"), "%s", f.why);
    disk_fault_space(faults, NULL, 0);
    cr_assert_eq(meta_fixture_open(&f), 0, "%s", f.why);
    cr_expect_eq(fix_get(&f, "b", "k", text, sizeof text), 0);
    cr_expect_str_eq(text, "one");
    end();
}

Test(meta_space, a_new_installation_on_a_full_drive_says_so)
{
    meta_fixture_init(&f, 1);
    real_disk = f.disk;
    cr_assert_eq(disk_fault_create(f.loop, real_disk, &faults), 0);
    f.disk = f.conf.disk = disk_fault_disk(faults);
    disk_fault_space(faults, f.dirs[0], MIB);
    cr_expect_eq(meta_fixture_open(&f), -ENOSPC);
    cr_expect(strstr(f.why, "is full: 1024 KiB are free"), "%s", f.why);
    disk_fault_space(faults, NULL, 0);
    cr_expect_eq(meta_fixture_open(&f), 0, "%s", f.why);
    end();
}

Test(meta_space, one_full_drive_of_three_does_not_keep_the_others_from_starting)
{
    struct meta_status s;
    char text[16] = "";
    begin(3);
    cr_assert_eq(fix_put(&f, "b", "k", "one"), 0);
    meta_fixture_close(&f);
    disk_fault_space(faults, f.dirs[1], MIB);
    cr_assert_eq(meta_fixture_open(&f), 0, "%s", f.why);
    meta_status(f.meta, &s);
    cr_expect(s.replicas[0].in_sync && !s.replicas[1].in_sync && s.replicas[2].in_sync);
    cr_expect(strstr(s.replicas[1].why, "is full"), "%s", s.replicas[1].why);
    cr_expect_eq(fix_put(&f, "b", "l", "two"), 0);
    meta_fixture_close(&f);
    disk_fault_space(faults, NULL, 0);
    cr_assert_eq(meta_fixture_open(&f), 0, "%s", f.why);
    meta_status(f.meta, &s);
    cr_expect(s.replicas[0].in_sync && s.replicas[1].in_sync && s.replicas[2].in_sync);
    cr_expect_eq(fix_get(&f, "b", "l", text, sizeof text), 0);
    cr_expect_str_eq(text, "two");
    end();
}
