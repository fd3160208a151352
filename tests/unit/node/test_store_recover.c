/* What recovery must make of damage that is put into the files by hand: torn gaps and tails, flips, a lost or wrong
 * index, files of other drives and other versions. */
#include "tests/lib/store_rig.h"
#include <criterion/criterion.h>
#include <stdio.h>

#define SEGMENT_BYTES (128 * KIB)

static struct clock_manual clock_;

static void rig_begin(struct store_rig *r)
{
    store_rig_init_clock(r, "sim", SEGMENT_BYTES, &clock_);
    cr_assert_eq(store_rig_open(r), 0, "%s", r->why);
}

static void rig_end(struct store_rig *r)
{
    store_rig_close(r);
    store_rig_fini(r);
}

/* The first segment with records in it. */
static uint8_t *segment_bytes(struct store_rig *r, size_t *ret_len, uint8_t uuid[16])
{
    uint8_t *p = disk_sim_bytes(r->sim, disk_sim_file(r->sim, ".seg", 0), ret_len);
    struct segment_head h;
    cr_assert_not_null(p);
    cr_assert_eq(segment_head_decode(p, &h), 0);
    memcpy(uuid, h.uuid, 16);
    return p;
}

/* The offset of fragment n's record, and where the records end. */
static uint64_t record_of(struct store_rig *r, uint64_t n, uint64_t *ret_end, uint64_t *ret_last_seq)
{
    size_t len;
    uint8_t uuid[16], id[FRAG_ID_BYTES];
    uint8_t *p = segment_bytes(r, &len, uuid);
    uint64_t at = 0;
    struct segment_record rec;
    store_rig_id(n, id);
    for (uint64_t o = SEGMENT_PAGE; o < len; o += SEGMENT_PAGE)
        if (segment_record_decode(p + o, uuid, o, len, &rec) == 0) {
            *ret_end = o + segment_record_bytes(&rec);
            *ret_last_seq = rec.seq;
            if (rec.kind == SEGMENT_FRAGMENT && memcmp(rec.frag_id, id, sizeof id) == 0)
                at = o;
        }
    return at;
}

/* Puts fragment n's record behind everything, as a crash in the middle of appending could leave it. Returns its end. */
static uint64_t append_by_hand(struct store_rig *r, uint64_t n, uint32_t length, uint64_t at, uint64_t seq,
                               uint64_t synced)
{
    size_t len;
    uint8_t uuid[16];
    uint8_t *p = segment_bytes(r, &len, uuid);
    struct segment_record rec = {.kind = SEGMENT_FRAGMENT, .k = 1, .offset = at, .seq = seq, .synced = synced};
    rec.length = length;
    store_rig_id(n, rec.frag_id);
    cr_assert_leq(at + segment_bytes_of(length), len);
    store_rig_fill(n, p + at + SEGMENT_PAGE, length);
    segment_record_sum(&rec, p + at + SEGMENT_PAGE);
    segment_record_encode(&rec, uuid, p + at);
    return at + segment_record_bytes(&rec);
}

/* As after kill -9 with that index; the rig's store is closed already. */
static void reopen(struct store_rig *r, bool lose_index)
{
    if (lose_index)
        store_rig_kv_reopen(r, true);
    cr_assert_eq(store_rig_open(r), 0, "%s", r->why);
}

Test(store_recover, a_clean_stop_leaves_nothing_to_scan)
{
    struct store_rig r;
    rig_begin(&r);
    for (uint64_t n = 0; n < 30; n++)
        cr_assert_eq(store_rig_write(&r, n, 9000), 0);
    store_rig_close(&r);
    reopen(&r, false);
    struct store_stat st = store_rig_stat(&r);
    cr_assert_eq(st.scanned_bytes, 0);
    cr_assert_not(st.rebuilt);
    cr_assert_eq(st.fragments, 30);
    for (uint64_t n = 0; n < 30; n++)
        cr_assert_eq(store_rig_read(&r, n, 0, 0, 9000), 0);
    rig_end(&r);
}

Test(store_recover, a_lost_index_is_rebuilt_with_the_same_accounts)
{
    struct store_rig r;
    rig_begin(&r);
    for (uint64_t n = 0; n < 40; n++)
        cr_assert_eq(store_rig_write(&r, n, 5000), 0);
    for (uint64_t n = 0; n < 40; n += 3)
        cr_assert_eq(store_rig_delete(&r, n), 0);
    cr_assert_eq(store_rig_write(&r, 1, 7000), 0); /* written again, larger */
    struct store_stat before = store_rig_stat(&r);
    store_rig_close(&r);
    reopen(&r, true);
    struct store_stat after = store_rig_stat(&r);
    cr_assert(after.rebuilt);
    cr_assert_eq(after.fragments, before.fragments);
    cr_assert_eq(after.live_bytes, before.live_bytes);
    cr_assert_eq(after.corrupt, 0);
    for (uint64_t n = 0; n < 40; n++)
        cr_assert_eq(store_rig_read(&r, n, 0, 0, n == 1 ? 7000 : 5000), n % 3 == 0 ? STORE_NOT_FOUND : 0, "%llu",
                     (unsigned long long)n);
    rig_end(&r);
}

Test(store_recover, a_torn_gap_is_never_called_corrupt_later)
{
    struct store_rig r;
    uint64_t end, seq;
    rig_begin(&r);
    cr_assert_eq(store_rig_write(&r, 0, 5000), 0);
    store_rig_close(&r);
    record_of(&r, 0, &end, &seq);
    size_t len;
    uint8_t uuid[16];
    uint64_t gap = end, next = append_by_hand(&r, 1, 5000, gap, seq + 1, gap);
    append_by_hand(&r, 2, 5000, next, seq + 2, gap); /* whole, but never acknowledged */
    segment_bytes(&r, &len, uuid)[gap + 100] ^= 1;
    for (unsigned round = 0; round < 3; round++) {
        reopen(&r, true);
        cr_assert_eq(store_rig_stat(&r).corrupt, 0, "round %u", round);
        cr_assert_eq(store_rig_read(&r, 0, 0, 0, 5000), 0);
        cr_assert_eq(store_rig_read(&r, 1, 0, 0, 5000), STORE_NOT_FOUND);
        cr_assert_eq(store_rig_read(&r, 2, 0, 0, 5000), 0);
        cr_assert_eq(store_rig_write(&r, 10 + round, 5000), 0); /* durable behind the gap */
        store_rig_close(&r);
    }
    store_rig_fini(&r);
}

Test(store_recover, a_stale_tail_never_comes_back)
{
    struct store_rig r;
    uint64_t end, seq;
    rig_begin(&r);
    cr_assert_eq(store_rig_write(&r, 0, 5000), 0);
    store_rig_close(&r);
    record_of(&r, 0, &end, &seq);
    size_t len;
    uint8_t uuid[16];
    /* A torn record whose header is whole, in the last two pages, which appends of 16 KiB will not reach. */
    uint64_t far = SEGMENT_BYTES - 2 * SEGMENT_PAGE;
    append_by_hand(&r, 1, 4000, far, seq + 1, end);
    segment_bytes(&r, &len, uuid)[far + SEGMENT_PAGE + 17] ^= 1;
    reopen(&r, true);
    cr_assert_eq(store_rig_read(&r, 1, 0, 0, 4000), STORE_NOT_FOUND);
    for (uint64_t n = 10; n < 60; n++) /* the segment is sealed and two more follow */
        cr_assert_eq(store_rig_write(&r, n, 9000), 0);
    store_rig_close(&r);
    reopen(&r, true); /* headers only, for a sealed segment */
    cr_assert_eq(store_rig_read(&r, 1, 0, 0, 4000), STORE_NOT_FOUND);
    cr_assert_eq(store_rig_stat(&r).corrupt, 0);
    for (uint64_t n = 10; n < 60; n++)
        cr_assert_eq(store_rig_read(&r, n, 0, 0, 9000), 0);
    rig_end(&r);
}

Test(store_recover, a_flip_in_the_log_is_corruption_and_neighbours_stay)
{
    struct store_rig r;
    uint64_t end, seq;
    rig_begin(&r);
    for (uint64_t n = 0; n < 5; n++)
        cr_assert_eq(store_rig_write(&r, n, 5000), 0);
    store_rig_close(&r);
    uint64_t at = record_of(&r, 2, &end, &seq);
    size_t len;
    uint8_t uuid[16];
    for (unsigned round = 0; round < 2; round++) { /* in the payload, then in the header */
        segment_bytes(&r, &len, uuid)[at + (round == 0 ? SEGMENT_PAGE + 4000 : 40)] ^= 4;
        reopen(&r, true);
        cr_assert_eq(store_rig_stat(&r).corrupt, 1);
        for (uint64_t n = 0; n < 5; n++)
            cr_assert_eq(store_rig_read(&r, n, 0, 0, 5000), n == 2 ? STORE_NOT_FOUND : 0);
        store_rig_close(&r);
        reopen(&r, false);
        cr_assert_eq(store_rig_stat(&r).corrupt, 1, "the quarantine row is kept");
        store_rig_close(&r);
    }
    store_rig_fini(&r);
}

Test(store_recover, a_flip_found_by_a_read_is_quarantined_until_it_is_written_again)
{
    struct store_rig r;
    uint64_t end, seq;
    rig_begin(&r);
    for (uint64_t n = 0; n < 3; n++)
        cr_assert_eq(store_rig_write(&r, n, 200000 / 4), 0);
    store_rig_close(&r);
    uint64_t at = record_of(&r, 1, &end, &seq);
    size_t len;
    uint8_t uuid[16];
    segment_bytes(&r, &len, uuid)[at + SEGMENT_PAGE + 40000] ^= 4;
    reopen(&r, false);
    cr_assert_eq(store_rig_read(&r, 1, 0, 0, 50000), E_CORRUPT);
    cr_assert_eq(store_rig_read(&r, 0, 0, 0, 50000), 0);
    cr_assert_eq(store_rig_read(&r, 2, 0, 0, 50000), 0);
    cr_assert_eq(store_rig_stat(&r).corrupt, 1);
    cr_assert_eq(store_rig_write(&r, 1, 50000), 0);
    cr_assert_eq(store_rig_read(&r, 1, 0, 0, 50000), 0);
    cr_assert_eq(store_rig_stat(&r).corrupt, 0);
    rig_end(&r);
}

Test(store_recover, only_the_blocks_that_are_asked_for_must_be_good)
{
    struct store_rig r;
    uint64_t end, seq;
    store_rig_init_clock(&r, "sim", MIB, &clock_);
    cr_assert_eq(store_rig_open(&r), 0);
    cr_assert_eq(store_rig_write(&r, 0, 300000), 0);
    store_rig_close(&r);
    uint64_t at = record_of(&r, 0, &end, &seq);
    size_t len;
    uint8_t uuid[16];
    segment_bytes(&r, &len, uuid)[at + SEGMENT_PAGE + 2 * SEGMENT_BLOCK + 5] ^= 4; /* in the third block */
    cr_assert_eq(store_rig_open(&r), 0);
    cr_assert_eq(store_rig_read(&r, 0, 0, 2 * SEGMENT_BLOCK, 300000), 0);
    cr_assert_eq(store_rig_read(&r, 0, 3 * SEGMENT_BLOCK, 0, 300000), 0);
    cr_assert_eq(store_rig_read(&r, 0, 2 * SEGMENT_BLOCK + 70, 1, 300000), E_CORRUPT);
    rig_end(&r);
}

Test(store_recover, a_bad_head_page_costs_nothing_but_the_head)
{
    struct store_rig r;
    rig_begin(&r);
    for (uint64_t n = 0; n < 5; n++)
        cr_assert_eq(store_rig_write(&r, n, 5000), 0);
    store_rig_close(&r);
    size_t len;
    uint8_t uuid[16];
    segment_bytes(&r, &len, uuid)[20] ^= 1;
    store_rig_kv_reopen(&r, true);
    cr_assert_eq(store_rig_open(&r), 0, "%s", r.why);
    for (uint64_t n = 0; n < 5; n++)
        cr_assert_eq(store_rig_read(&r, n, 0, 0, 5000), 0);
    cr_assert_eq(store_rig_stat(&r).corrupt, 1);
    cr_assert_eq(store_rig_write(&r, 9, 5000), 0); /* elsewhere */
    rig_end(&r);
}

Test(store_recover, another_drives_segments_are_refused_by_name)
{
    struct store_rig r;
    rig_begin(&r);
    cr_assert_eq(store_rig_write(&r, 0, 5000), 0);
    store_rig_close(&r);
    memset(r.drive_id, 0xee, sizeof r.drive_id);
    store_rig_kv_reopen(&r, true);
    size_t steps = disk_sim_steps(r.sim);
    cr_assert_eq(store_rig_open(&r), E_FOREIGN);
    cr_assert_not_null(strstr(r.why, ".seg"));
    cr_assert_eq(disk_sim_steps(r.sim), steps, "nothing was written");
    memset(r.drive_id, 0xd1, sizeof r.drive_id);
    cr_assert_eq(store_rig_open(&r), 0, "%s", r.why);
    cr_assert_eq(store_rig_read(&r, 0, 0, 0, 5000), 0);
    rig_end(&r);
}

Test(store_recover, a_newer_format_is_refused_and_left_alone)
{
    struct store_rig r;
    rig_begin(&r);
    cr_assert_eq(store_rig_write(&r, 0, 5000), 0);
    store_rig_close(&r);
    size_t len;
    uint8_t uuid[16], *p = segment_bytes(&r, &len, uuid);
    p[8] = 9; /* format of the head */
    uint64_t sum = xxh64of(p, 4088, 0);
    memcpy(p + 4088, &sum, 8);
    size_t steps = disk_sim_steps(r.sim);
    cr_assert_eq(store_rig_open(&r), E_VERSION);
    cr_assert_not_null(strstr(r.why, ".seg"));
    cr_assert_eq(disk_sim_steps(r.sim), steps);
    store_rig_fini(&r);
}

Test(store_recover, an_index_of_another_moment_is_rebuilt)
{
    struct store_rig r;
    rig_begin(&r);
    for (uint64_t n = 0; n < 40; n++)
        cr_assert_eq(store_rig_write(&r, n, 9000), 0);
    store_rig_close(&r);
    /* A segment with live fragments disappears. */
    cr_assert_eq(r.disk->ops->unlink(r.disk, disk_sim_file(r.sim, ".seg", 0)), 0);
    cr_assert_eq(store_rig_open(&r), 0, "%s", r.why);
    cr_assert(store_rig_stat(&r).rebuilt);
    size_t there = 0;
    for (uint64_t n = 0; n < 40; n++) {
        int err = store_rig_read(&r, n, 0, 0, 9000);
        cr_assert(err == 0 || err == STORE_NOT_FOUND);
        there += err == 0;
    }
    cr_assert_eq(store_rig_stat(&r).fragments, there);
    cr_assert(there > 0 && there < 40);
    rig_end(&r);
}
