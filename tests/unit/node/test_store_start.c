/* Starting a store: drives with more segments than files may be open, and an index that has to be built again. */
#include "tests/lib/store_rig.h"
#include <criterion/criterion.h>

#define SEGMENT_BYTES (64 * KIB)
#define LENGTH        ((size_t)20000) /* two of them fill a segment */
#define FRAGS         (2 * STORE_FILES_MAX + 100)

static void filled(struct store_rig *r)
{
    store_rig_init(r, "sim", SEGMENT_BYTES);
    cr_assert_eq(store_rig_open(r), 0, "%s", r->why);
    for (unsigned i = 0; i < FRAGS; i++)
        cr_assert_eq(store_rig_write(r, i, LENGTH), 0);
    cr_assert_gt(store_rig_stat(r).segments, STORE_FILES_MAX);
}

static void all_there(struct store_rig *r, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        cr_assert_eq(store_rig_read(r, i, 0, 0, LENGTH), 0, "fragment %u", i);
    cr_assert_eq(store_rig_stat(r).fragments, count);
}

Test(store_start, an_index_is_rebuilt_from_more_segments_than_files_may_be_open, .timeout = 60)
{
    struct store_rig r;
    filled(&r);
    uint64_t live = store_rig_stat(&r).live_bytes;
    store_rig_close(&r);
    store_rig_kv_reopen(&r, true);
    cr_assert_eq(store_rig_open(&r), 0, "%s", r.why);
    cr_assert(store_rig_stat(&r).rebuilt);
    cr_assert_eq(store_rig_stat(&r).live_bytes, live);
    all_there(&r, FRAGS);
    for (unsigned i = 0; i < 6; i++) /* past the segment that was prepared before */
        cr_assert_eq(store_rig_write(&r, FRAGS + i, LENGTH), 0);
    all_there(&r, FRAGS + 6);
    store_rig_close(&r);
    store_rig_fini(&r);
}

#define RUNS  6
#define A_RUN 5

/* RocksDB has two write-ahead logs while a memtable is being flushed: the end of the older one may be gone and the
 * younger one there. */
Test(store_start, an_index_that_lost_a_piece_in_the_middle_loses_no_fragment, .timeout = 60)
{
    struct clock_manual clock;
    struct store_rig r;
    store_rig_init_clock(&r, "sim", MIB, &clock);
    cr_assert_eq(store_rig_open(&r), 0, "%s", r.why);
    for (unsigned i = 0; i < RUNS * A_RUN; i++) {
        cr_assert_eq(store_rig_write(&r, i, LENGTH), 0);
        if (i % A_RUN == 3)
            cr_assert_eq(store_rig_delete(&r, i - 2), 0);
        if (i % A_RUN == A_RUN - 1)
            store_rig_settle(&r, 400); /* the index is written */
    }
    size_t steps = disk_sim_steps(r.sim);
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct store_rig after;
        struct disk_sim *sim;
        struct kv *kv, *traced;
        cr_assert_eq(disk_sim_cut(r.sim, r.loop, steps, CUT_DROP, seed, NULL, 0, &sim), 0);
        cr_assert_eq(kv_sim_cut_hole(r.kv, steps, seed, &kv), 0);
        disk_sim_settle(sim);
        cr_assert_eq(kv_sim_wrap(sim, kv, &traced), 0);
        store_rig_sub(&after, &r, sim, traced);
        cr_assert_eq(store_rig_open(&after), 0, "%s", after.why);
        for (unsigned i = 0; i < RUNS * A_RUN; i++)
            cr_assert_eq(store_rig_read(&after, i, 0, 0, LENGTH), i % A_RUN == 1 ? STORE_NOT_FOUND : 0,
                         "seed %u fragment %u", (unsigned)seed, i);
        cr_assert_eq(store_rig_stat(&after).live_bytes, store_rig_stat(&r).live_bytes);
        cr_assert_eq(store_rig_stat(&after).fragments, store_rig_stat(&r).fragments);
        store_rig_close(&after);
        store_rig_fini(&after);
    }
    store_rig_close(&r);
    store_rig_fini(&r);
}
