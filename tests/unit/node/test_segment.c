/* The segment format by itself: encode and decode, what a decoder must refuse, and the scan's judgement between torn
 * and corrupt, with a flip at every byte of a small segment. */
#include "node/segment.h"
#include <criterion/criterion.h>
#include <stdlib.h>

#define BYTES (128 * KIB)

TestSuite(segment, .timeout = 60);

static const uint8_t uuid[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
static const uint8_t other_uuid[16] = {9};

static _Alignas(4096) uint8_t file[BYTES];

static void fill(uint8_t *p, size_t n, unsigned salt)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(i * 31 + salt * 7 + 1);
}

/* Appends a record at `at`; returns where the next one stands. */
static uint64_t put(enum segment_kind kind, uint64_t at, uint32_t length, uint64_t seq, uint64_t synced)
{
    struct segment_record r = {.kind = kind, .k = 4, .m = 2, .epoch = 3, .offset = at, .seq = seq, .synced = synced};
    r.length = length;
    memset(r.frag_id, (int)seq, sizeof r.frag_id);
    if (kind == SEGMENT_VOID)
        r.skip_bytes = length, r.length = 0;
    fill(file + at + SEGMENT_PAGE, r.length, (unsigned)seq);
    segment_record_sum(&r, file + at + SEGMENT_PAGE);
    segment_record_encode(&r, uuid, file + at);
    return at + segment_record_bytes(&r);
}

struct found {
    uint64_t seqs[64];
    size_t count;
    struct segment_scan scan;
};

/* Feeds at most `chunk` bytes a step (or what the scan asks for). */
static int scan_all(const uint8_t *p, uint64_t limit, bool verify, uint64_t quiet, size_t chunk, struct found *ret)
{
    struct segment_record r;
    ret->count = 0;
    segment_scan_init(&ret->scan, uuid, SEGMENT_PAGE, limit, verify, quiet);
    for (;;) {
        uint64_t left = ret->scan.limit - ret->scan.pos;
        size_t n = (size_t)MIN_OF(left, MAX_OF((uint64_t)chunk, ret->scan.want));
        int step = segment_scan_step(&ret->scan, p + ret->scan.pos, n, &r);
        if (step == SEGMENT_DONE || step < 0)
            return step;
        if (step == SEGMENT_RECORD && ret->count < ARRAY_LEN(ret->seqs))
            ret->seqs[ret->count++] = r.seq;
    }
}

Test(segment, a_head_comes_back_as_it_was)
{
    struct segment_head h = {.number = 7, .bytes = BYTES, .created_seq = 99}, back;
    memcpy(h.uuid, uuid, 16);
    memset(h.drive_id, 0xab, 16);
    segment_head_encode(&h, file);
    cr_assert_eq(segment_head_decode(file, &back), 0);
    cr_assert_eq(memcmp(&h, &back, sizeof h), 0);
    for (size_t i = 0; i < SEGMENT_PAGE; i++) {
        file[i] ^= 0x10;
        cr_assert_eq(segment_head_decode(file, &back), E_CORRUPT, "byte %zu", i);
        file[i] ^= 0x10;
    }
}

Test(segment, a_record_comes_back_as_it_was)
{
    static const uint32_t lengths[] = {1, 4096, 65536, 65537, 100000};
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        struct segment_record r;
        uint64_t end = put(SEGMENT_FRAGMENT, SEGMENT_PAGE, lengths[i], 5, 4096);
        cr_assert_eq(end, SEGMENT_PAGE + segment_bytes_of(lengths[i]));
        cr_assert_eq(segment_record_decode(file + SEGMENT_PAGE, uuid, SEGMENT_PAGE, BYTES, &r), 0);
        cr_assert_eq(r.kind, SEGMENT_FRAGMENT);
        cr_assert_eq(r.length, lengths[i]);
        cr_assert(r.k == 4 && r.m == 2 && r.epoch == 3 && r.seq == 5 && r.synced == 4096);
        cr_assert(segment_blocks_good(r.sums, r.length, 0, segment_sum_count(r.length) - 1, file + 2 * SEGMENT_PAGE));
        struct hash128 whole = xxh128of(file + 2 * SEGMENT_PAGE, r.length);
        cr_assert(whole.lo == r.whole.lo && whole.hi == r.whole.hi);
        file[2 * SEGMENT_PAGE + lengths[i] - 1] ^= 1;
        uint32_t last = segment_sum_count(r.length) - 1;
        cr_assert_not(
            segment_blocks_good(r.sums, r.length, last, last, file + 2 * SEGMENT_PAGE + (size_t)last * SEGMENT_BLOCK));
    }
}

/* A header page with right checksum whose fields break the rules. Offsets are those of the layout. */
static void patch(size_t at, uint64_t value, size_t n)
{
    memcpy(file + SEGMENT_PAGE + at, &value, n); /* the tests run on little-endian machines */
    uint64_t sum = xxh64of(file + SEGMENT_PAGE, 4088, 0);
    memcpy(file + SEGMENT_PAGE + 4088, &sum, 8);
}

Test(segment, a_record_that_may_not_stand_there_is_refused)
{
    static const struct {
        const char *what;
        size_t at;
        uint64_t value;
        size_t n;
        int err;
    } rows[] = {
        {"another segment", 16, 0, 1, E_CORRUPT},
        {"another offset", 32, 8192, 8, E_CORRUPT},
        {"a newer format", 8, 2, 4, E_VERSION},
        {"format zero", 8, 0, 4, E_CORRUPT},
        {"an unknown kind", 12, 99, 1, E_CORRUPT},
        {"kind zero", 12, 0, 1, E_CORRUPT},
        {"synced beyond itself", 48, 8192, 8, E_CORRUPT},
        {"longer than allowed", 88, 4 * MIB + 1, 4, E_CORRUPT},
        {"longer than the segment", 88, 126 * 1024, 4, E_CORRUPT},
        {"sums that do not match the length", 92, 2, 4, E_CORRUPT},
        {"an empty fragment", 88, 0, 8, E_CORRUPT},
        {"an END with a payload", 12, SEGMENT_END, 1, E_CORRUPT},
        {"a VOID with a payload", 12, SEGMENT_VOID, 1, E_CORRUPT},
        {"a DELETE of half an entry", 12, SEGMENT_DELETE, 1, E_CORRUPT},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct segment_record r;
        put(SEGMENT_FRAGMENT, SEGMENT_PAGE, 5001, 1, 0);
        patch(rows[i].at, rows[i].value, rows[i].n);
        cr_assert_eq(segment_record_decode(file + SEGMENT_PAGE, uuid, SEGMENT_PAGE, BYTES, &r), rows[i].err, "%s",
                     rows[i].what);
    }
    struct segment_record r;
    put(SEGMENT_FRAGMENT, SEGMENT_PAGE, 5000, 1, 0);
    cr_assert_eq(segment_record_decode(file + SEGMENT_PAGE, other_uuid, SEGMENT_PAGE, BYTES, &r), E_CORRUPT);
    cr_assert_eq(segment_record_decode(file + SEGMENT_PAGE, NULL, SEGMENT_PAGE, BYTES, &r), 0);
}

Test(segment, a_tomb_comes_back_as_it_was)
{
    struct segment_tomb t = {.many = true, .oldest = 12, .before_seq = 1ull << 40}, back = {0};
    uint8_t bytes[SEGMENT_TOMB_BYTES];
    memset(t.frag_id, 0x77, sizeof t.frag_id);
    segment_tomb_encode(&t, bytes);
    cr_assert_eq(segment_tomb_decode(bytes, &back), 0);
    cr_assert(back.many && back.oldest == 12 && back.before_seq == 1ull << 40);
    cr_assert_eq(memcmp(back.frag_id, t.frag_id, sizeof t.frag_id), 0);
    bytes[FRAG_ID_BYTES] = 2;
    cr_assert_eq(segment_tomb_decode(bytes, &back), E_CORRUPT);
}

/* ---- the scan ---- */

Test(segment, the_scan_finds_every_record_in_any_portions)
{
    static const size_t chunks[] = {4096, 8192, 65536, BYTES};
    memset(file, 0, sizeof file);
    uint64_t at = SEGMENT_PAGE;
    for (uint64_t seq = 1; seq <= 5; seq++)
        at = put(seq == 3 ? SEGMENT_END : SEGMENT_FRAGMENT, at, seq == 3 ? 0 : (uint32_t)(seq * 3000), seq, at);
    for (size_t i = 0; i < ARRAY_LEN(chunks); i++) {
        struct found f;
        cr_assert_eq(scan_all(file, BYTES, i % 2 == 0, UINT64_MAX, chunks[i], &f), SEGMENT_DONE);
        cr_assert_eq(f.count, 5);
        for (size_t k = 0; k < 5; k++)
            cr_assert_eq(f.seqs[k], k + 1);
        cr_assert_eq(f.scan.tail, at);
        cr_assert_eq(f.scan.dirty_end, at);
        cr_assert_eq(f.scan.gap_count, 0);
        cr_assert_eq(f.scan.last_seq, 5);
        segment_scan_fini(&f.scan);
    }
}

Test(segment, a_bad_record_is_torn_unless_a_later_one_proves_that_it_was_durable)
{
    static const struct {
        const char *what;
        uint64_t synced_third, synced_last; /* as seen by the 3rd and 5th record; the 2nd is spoilt */
        bool proven;
    } rows[] = {
        /* the spoilt record is in pages 3 and 4 */
        {"nothing was synced beyond it", SEGMENT_PAGE, SEGMENT_PAGE, false},
        {"synced up to its first byte", 3 * SEGMENT_PAGE, 3 * SEGMENT_PAGE, false},
        {"the next record knew it durable", 5 * SEGMENT_PAGE, 5 * SEGMENT_PAGE, true},
        {"only a later one knew it durable", SEGMENT_PAGE, 9 * SEGMENT_PAGE, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        memset(file, 0, sizeof file);
        uint64_t at = put(SEGMENT_FRAGMENT, SEGMENT_PAGE, 100, 1, 0), bad = at;
        at = put(SEGMENT_FRAGMENT, at, 100, 2, SEGMENT_PAGE);
        at = put(SEGMENT_FRAGMENT, at, 100, 3, rows[i].synced_third);
        at = put(SEGMENT_FRAGMENT, at, 100, 4, rows[i].synced_third);
        at = put(SEGMENT_FRAGMENT, at, 100, 5, rows[i].synced_last);
        file[bad + SEGMENT_PAGE + 50] ^= 1;
        struct found f;
        cr_assert_eq(scan_all(file, BYTES, true, UINT64_MAX, 4096, &f), SEGMENT_DONE);
        cr_assert_eq(f.count, 4, "%s: neighbours are kept", rows[i].what);
        cr_assert_eq(f.scan.gap_count, 1);
        cr_assert_eq(f.scan.gaps[0].from, bad);
        cr_assert_eq(f.scan.gaps[0].to, bad + 2 * SEGMENT_PAGE);
        cr_assert(f.scan.gaps[0].has_id && f.scan.gaps[0].frag_id[0] == 2);
        cr_assert_eq(f.scan.gaps[0].proven, rows[i].proven, "%s", rows[i].what);
        segment_scan_fini(&f.scan);
    }
}

Test(segment, a_torn_tail_ends_the_scan_and_is_no_gap)
{
    memset(file, 0, sizeof file);
    uint64_t at = put(SEGMENT_FRAGMENT, SEGMENT_PAGE, 100, 1, 0), tail = at;
    at = put(SEGMENT_FRAGMENT, at, 9000, 2, 0);
    file[tail + SEGMENT_PAGE + 8999] ^= 1;
    struct found f;
    cr_assert_eq(scan_all(file, BYTES, true, UINT64_MAX, 4096, &f), SEGMENT_DONE);
    cr_assert_eq(f.count, 1);
    cr_assert_eq(f.scan.tail, tail);
    cr_assert_eq(f.scan.dirty_end, at);
    cr_assert_eq(f.scan.gap_count, 0);
    segment_scan_fini(&f.scan);
}

Test(segment, bad_records_at_the_end_are_one_torn_tail)
{
    memset(file, 0, sizeof file);
    uint64_t at = put(SEGMENT_FRAGMENT, SEGMENT_PAGE, 100, 1, 0), tail = at;
    for (uint64_t seq = 2; seq <= 4; seq++) { /* whole headers, bad payloads */
        uint64_t next = put(SEGMENT_FRAGMENT, at, 5000, seq, 0);
        file[at + SEGMENT_PAGE + 10] ^= 1;
        at = next;
    }
    struct found f;
    cr_assert_eq(scan_all(file, BYTES, true, UINT64_MAX, 4096, &f), SEGMENT_DONE);
    cr_assert_eq(f.count, 1);
    cr_assert_eq(f.scan.tail, tail);
    cr_assert_eq(f.scan.gap_count, 0);
    segment_scan_fini(&f.scan);
}

Test(segment, a_void_is_jumped_over_whatever_it_hides)
{
    memset(file, 0, sizeof file);
    uint64_t at = put(SEGMENT_FRAGMENT, SEGMENT_PAGE, 100, 1, 0), hole = at;
    at = put(SEGMENT_FRAGMENT, at, 9000, 2, 0);
    uint64_t hidden = hole + SEGMENT_PAGE;
    put(SEGMENT_FRAGMENT, hidden, 100, 77, 0);
    put(SEGMENT_FRAGMENT, at, 100, 3, hole);
    put(SEGMENT_VOID, hole, (uint32_t)(at - hole), 4, 0);
    struct found f;
    cr_assert_eq(scan_all(file, BYTES, true, UINT64_MAX, 4096, &f), SEGMENT_DONE);
    cr_assert_eq(f.count, 3);
    cr_assert(f.seqs[0] == 1 && f.seqs[1] == 4 && f.seqs[2] == 3);
    cr_assert_eq(f.scan.gap_count, 0);
    segment_scan_fini(&f.scan);
}

Test(segment, the_scan_ends_after_a_quiet_window)
{
    memset(file, 0, sizeof file);
    put(SEGMENT_FRAGMENT, SEGMENT_PAGE, 100, 1, 0);
    put(SEGMENT_FRAGMENT, 96 * KIB, 100, 2, 0);
    struct found f;
    cr_assert_eq(scan_all(file, BYTES, true, 32 * KIB, 4096, &f), SEGMENT_DONE);
    cr_assert_eq(f.count, 1);
    cr_assert_eq(f.scan.pos, 3 * SEGMENT_PAGE + 32 * KIB);
    segment_scan_fini(&f.scan);
    cr_assert_eq(scan_all(file, BYTES, true, 128 * KIB, 4096, &f), SEGMENT_DONE);
    cr_assert_eq(f.count, 2);
    segment_scan_fini(&f.scan);
}

Test(segment, a_newer_record_stops_the_scan)
{
    memset(file, 0, sizeof file);
    put(SEGMENT_FRAGMENT, SEGMENT_PAGE, 100, 1, 0);
    patch(8, 7, 4);
    struct found f;
    cr_assert_eq(scan_all(file, BYTES, true, UINT64_MAX, 4096, &f), E_VERSION);
    segment_scan_fini(&f.scan);
}

/* Every byte that counts, flipped: one record is lost, it is called corrupt, its neighbours stay. */
Test(segment, a_flip_anywhere_is_corruption_and_costs_one_record)
{
    memset(file, 0, sizeof file);
    uint64_t starts[8], at = SEGMENT_PAGE;
    uint32_t lengths[8] = {100, 5000, 4096, 1, 9000, 70, 20000, 3000};
    for (uint64_t i = 0; i < 8; i++) {
        starts[i] = at;
        at = put(SEGMENT_FRAGMENT, at, lengths[i], i + 1, at);
    }
    put(SEGMENT_END, at, 0, 9, at);
    size_t flips = 0;
    for (size_t i = 0; i < 8; i++) {
        uint64_t bytes = SEGMENT_PAGE + lengths[i]; /* padding carries nothing */
        for (uint64_t k = 0; k < bytes; k += k < 700 || bytes - k < 40 ? 7 : 131) {
            file[starts[i] + k] ^= (uint8_t)(1u << (k % 8));
            struct found f;
            cr_assert_eq(scan_all(file, BYTES, true, UINT64_MAX, 65536, &f), SEGMENT_DONE);
            cr_assert_eq(f.count, 8, "record %zu byte %llu: %zu found", i, (unsigned long long)k, f.count);
            for (size_t r = 0; r < f.count; r++)
                cr_assert_eq(f.seqs[r], r < i ? r + 1 : r + 2);
            cr_assert_eq(f.scan.gap_count, 1);
            cr_assert(f.scan.gaps[0].proven && f.scan.gaps[0].from == starts[i]);
            segment_scan_fini(&f.scan);
            file[starts[i] + k] ^= (uint8_t)(1u << (k % 8));
            flips++;
        }
    }
    cr_assert_gt(flips, 1000);
}
