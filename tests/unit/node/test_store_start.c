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
