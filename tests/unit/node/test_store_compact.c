/* Dead space comes back, live fragments stay, deletes outlive their segment, and a full disk takes deletes. */
#include "tests/lib/store_rig.h"
#include <criterion/criterion.h>
#include <stdlib.h>

#define SEGMENT_BYTES (128 * KIB)

static struct clock_manual clock_;

static void rig_begin(struct store_rig *r, unsigned percent)
{
    store_rig_init_clock(r, "sim", SEGMENT_BYTES, &clock_);
    r->compact_percent = percent;
    cr_assert_eq(store_rig_open(r), 0, "%s", r->why);
}

static void rig_end(struct store_rig *r)
{
    store_rig_close(r);
    store_rig_fini(r);
}

static size_t files(struct store_rig *r)
{
    size_t n = 0;
    while (disk_sim_file(r->sim, ".seg", n))
        n++;
    return n;
}

static void write_range(struct store_rig *r, uint64_t from, uint64_t to, size_t len)
{
    for (uint64_t n = from; n < to; n++)
        cr_assert_eq(store_rig_write(r, n, len), 0, "write %llu", (unsigned long long)n);
}

Test(store_compact, segments_that_are_all_dead_are_given_back)
{
    struct store_rig r;
    rig_begin(&r, 30);
    write_range(&r, 0, 60, 9000);
    size_t most = files(&r);
    cr_assert_gt(most, 7);
    for (uint64_t n = 0; n < 60; n++)
        cr_assert_eq(store_rig_delete(&r, n), 0);
    store_rig_settle(&r, 500);
    cr_assert_leq(files(&r), 5, "%zu files left of %zu", files(&r), most);
    struct store_stat st = store_rig_stat(&r);
    cr_assert_eq(st.fragments, 0);
    store_rig_close(&r);
    store_rig_kv_reopen(&r, true);
    cr_assert_eq(store_rig_open(&r), 0);
    for (uint64_t n = 0; n < 60; n++)
        cr_assert_eq(store_rig_read(&r, n, 0, 0, 9000), STORE_NOT_FOUND, "%llu is back", (unsigned long long)n);
    rig_end(&r);
}

Test(store_compact, what_lives_is_moved_and_stays_readable)
{
    struct store_rig r;
    rig_begin(&r, 30);
    write_range(&r, 0, 70, 9000);
    size_t most = files(&r);
    for (uint64_t n = 0; n < 70; n++)
        if (n % 4)
            cr_assert_eq(store_rig_delete(&r, n), 0);
    store_rig_settle(&r, 500);
    cr_assert_lt(files(&r), most * 2 / 3, "%zu files left of %zu", files(&r), most);
    for (unsigned round = 0; round < 3; round++) {
        for (uint64_t n = 0; n < 70; n++)
            cr_assert_eq(store_rig_read(&r, n, 0, 0, 9000), n % 4 ? STORE_NOT_FOUND : 0, "round %u: %llu", round,
                         (unsigned long long)n);
        cr_assert_eq(store_rig_stat(&r).fragments, 18);
        store_rig_close(&r);
        if (round == 1)
            store_rig_kv_reopen(&r, true);
        cr_assert_eq(store_rig_open(&r), 0, "%s", r.why);
    }
    rig_end(&r);
}

/* A fragment written twice has a dead record in an old segment that lives on. Its delete must outlive its own segment.
 */
Test(store_compact, a_delete_is_kept_while_any_record_that_it_hides_exists)
{
    struct store_rig r;
    rig_begin(&r, 60);
    cr_assert_eq(store_rig_write(&r, 0, 9000), 0);
    write_range(&r, 1, 20, 9000); /* fragment 0 shares its segment with these, which stay */
    cr_assert_eq(store_rig_write(&r, 0, 9000), 0);
    write_range(&r, 100, 110, 9000);
    cr_assert_eq(store_rig_delete(&r, 0), 0);
    for (uint64_t round = 0; round < 4;
         round++) { /* the segments with the second record and the delete are compacted */
        write_range(&r, 200 + round * 20, 220 + round * 20, 9000);
        for (uint64_t n = 200 + round * 20; n < 220 + round * 20; n++)
            cr_assert_eq(store_rig_delete(&r, n), 0);
        for (uint64_t n = 100; n < 110 && round == 0; n++)
            cr_assert_eq(store_rig_delete(&r, n), 0);
        store_rig_settle(&r, 300);
    }
    cr_assert_lt(files(&r), 12, "compaction has run: %zu files", files(&r));
    store_rig_close(&r);
    store_rig_kv_reopen(&r, true);
    cr_assert_eq(store_rig_open(&r), 0);
    cr_assert_eq(store_rig_read(&r, 0, 0, 0, 9000), STORE_NOT_FOUND, "the first record came back");
    for (uint64_t n = 1; n < 20; n++)
        cr_assert_eq(store_rig_read(&r, n, 0, 0, 9000), 0);
    rig_end(&r);
}

struct reading {
    struct store_read read;
    uint64_t n;
    size_t *left;
};

static void was_read(struct store_read *rd)
{
    struct reading *one = rd->user;
    cr_assert_eq(rd->status, 0, "fragment %llu reads %d", (unsigned long long)one->n, rd->status);
    cr_assert(store_rig_same(one->n, 0, slice_data(rd->data), rd->data.len));
    buf_unref(rd->data.buf);
    --*one->left;
}

Test(store_compact, reads_go_on_while_their_segment_is_compacted_and_unlinked)
{
    static struct reading readings[400];
    struct store_rig r;
    rig_begin(&r, 20);
    write_range(&r, 0, 70, 9000);
    for (uint64_t n = 0; n < 70; n++)
        if (n % 5)
            cr_assert_eq(store_rig_delete(&r, n), 0);
    size_t left = 0, most = files(&r);
    for (size_t i = 0; i < ARRAY_LEN(readings); i++) {
        struct reading *one = &readings[i];
        one->n = i % 14 * 5;
        one->left = &left;
        one->read = (struct store_read){.cb = was_read, .user = one};
        store_rig_id(one->n, one->read.frag_id);
        left++;
        store_read(r.store, &one->read);
        loop_turn(r.loop);
        if (i % 40 == 0)
            store_rig_settle(&r, 10);
    }
    unsigned turns = 0;
    while (left > 0) {
        loop_turn(r.loop);
        cr_assert_lt(turns++, 100000000u);
    }
    store_rig_settle(&r, 300);
    cr_assert_lt(files(&r), most);
    rig_end(&r);
}

Test(store_compact, a_corrupt_fragment_keeps_its_segment_until_it_is_written_again)
{
    struct store_rig r;
    rig_begin(&r, 0);
    write_range(&r, 0, 20, 9000);
    store_rig_close(&r);
    size_t len;
    uint8_t *p = disk_sim_bytes(r.sim, disk_sim_file(r.sim, ".seg", 0), &len);
    p[SEGMENT_PAGE + SEGMENT_PAGE + 5000] ^= 1; /* fragment 0 */
    r.compact_percent = 20;
    cr_assert_eq(store_rig_open(&r), 0, "%s", r.why);
    for (uint64_t n = 1; n < 5; n++)
        cr_assert_eq(store_rig_delete(&r, n), 0);
    store_rig_settle(&r, 300);
    cr_assert_eq(store_rig_stat(&r).corrupt, 1);
    cr_assert_eq(store_rig_read(&r, 0, 0, 0, 9000), E_CORRUPT, "it is not forgotten");
    for (uint64_t n = 5; n < 20; n++)
        cr_assert_eq(store_rig_read(&r, n, 0, 0, 9000), 0);
    char *first = strdup(disk_sim_file(r.sim, ".seg", 0));
    cr_assert_eq(store_rig_write(&r, 0, 9000), 0);
    store_rig_settle(&r, 1500);
    cr_assert_eq(store_rig_read(&r, 0, 0, 0, 9000), 0);
    cr_assert_eq(store_rig_stat(&r).corrupt, 0);
    cr_assert_str_neq(disk_sim_file(r.sim, ".seg", 0), first, "the segment is gone");
    free(first);
    rig_end(&r);
}

Test(store_compact, a_full_disk_takes_reads_and_deletes_and_then_writes_again)
{
    struct store_rig r;
    rig_begin(&r, 30);
    disk_sim_capacity(r.sim, 10 * SEGMENT_BYTES);
    uint64_t n = 0;
    int err = 0;
    while (err == 0 && n < 200)
        err = store_rig_write(&r, n++, 9000);
    cr_assert_eq(err, -ENOSPC);
    uint64_t there = n - 1;
    cr_assert_gt(there, 30);
    cr_assert_eq(store_rig_stat(&r).state, STORE_FULL);
    for (uint64_t i = 0; i < there; i++)
        cr_assert_eq(store_rig_read(&r, i, 0, 0, 9000), 0);
    for (uint64_t i = 0; i < there; i += 2)
        cr_assert_eq(store_rig_delete(&r, i), 0, "deletes always work");
    store_rig_settle(&r, 3000);
    cr_assert_eq(store_rig_write(&r, 1000, 9000), 0, "compaction made room");
    for (uint64_t i = 1; i < there; i += 2)
        cr_assert_eq(store_rig_read(&r, i, 0, 0, 9000), 0);
    rig_end(&r);
}
