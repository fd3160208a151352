/* The scan of a segment over arbitrary bytes. Random pages never carry a right checksum, so the input says which pages
 * are to be made whole: such a page gets magic, format, segment, its own offset (or not) and the checksum, with every
 * other field as the input has it. Whatever comes out must keep the scan's promises. */
#include "node/segment.h"
#include <stdlib.h>

#define PAGES_MAX 24

static const uint8_t uuid[16] = "a fuzzed segment";

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void make_whole(uint8_t *page, uint64_t offset, uint8_t how)
{
    static const char magic[8] = "LECTFRAG";
    uint32_t format = how & 2 ? 2 : 1;
    memcpy(page, magic, sizeof magic);
    memcpy(page + 8, &format, sizeof format);
    memcpy(page + 16, uuid, sizeof uuid);
    if (!(how & 4))
        memcpy(page + 32, &offset, sizeof offset);
    if (how & 8) { /* lengths and sums that fit, so that payloads are looked at */
        uint32_t length = (uint32_t)(page[88] | page[89] << 8), count = segment_sum_count(length);
        memcpy(page + 88, &length, sizeof length);
        memcpy(page + 92, &count, sizeof count);
        page[12] = (uint8_t)(1 + page[12] % 5);
        memset(page + 48, 0, 6);
    }
    uint64_t sum = xxh64of(page, 4088, 0);
    memcpy(page + 4088, &sum, sizeof sum);
}

static void check_gaps(const struct segment_scan *s)
{
    uint64_t end = 0;
    for (size_t i = 0; i < s->gap_count; i++) {
        require(s->gaps[i].from >= end && s->gaps[i].to > s->gaps[i].from && s->gaps[i].to <= s->limit);
        end = s->gaps[i].to;
    }
    require(end <= s->tail);
}

static void scan_over(const uint8_t *p, uint64_t limit, bool verify, bool any, uint64_t quiet)
{
    struct segment_scan s;
    struct segment_record r;
    segment_scan_init(&s, any ? NULL : uuid, 0, limit, verify, quiet);
    uint64_t last = 0, records = 0;
    for (;;) {
        uint64_t before = s.pos;
        size_t n = (size_t)MIN_OF(s.want, s.limit - s.pos);
        require(s.pos <= s.limit && s.want <= SEGMENT_PAGE + SEGMENT_PAYLOAD_MAX);
        int step = segment_scan_step(&s, p + s.pos, n, &r);
        require(s.pos >= before);
        if (step == SEGMENT_RECORD) {
            require(r.offset >= last && segment_record_bytes(&r) > 0 && r.offset + segment_record_bytes(&r) <= limit);
            require(r.synced <= r.offset && s.pos == r.offset + segment_record_bytes(&r) && s.tail == s.pos);
            if (verify && r.length > 0) /* what is called good is good */
                require(segment_blocks_good(r.sums, r.length, 0, segment_sum_count(r.length) - 1,
                                            p + r.offset + SEGMENT_PAGE));
            struct segment_tomb t;
            for (uint32_t at = 0; verify && r.kind == SEGMENT_DELETE && at < r.length; at += SEGMENT_TOMB_BYTES)
                segment_tomb_decode(p + r.offset + SEGMENT_PAGE + at, &t);
            last = s.pos;
            records++;
        } else if (step == SEGMENT_DONE) {
            check_gaps(&s);
            break;
        } else if (step != SEGMENT_MORE) {
            require(step == E_VERSION);
            break;
        } else {
            require(s.pos > before || s.want > n);
        }
    }
    require(records == s.record_count && s.tail <= s.dirty_end && s.dirty_end <= s.limit);
    segment_scan_fini(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static _Alignas(4096) uint8_t file[PAGES_MAX * SEGMENT_PAGE];
    if (size < PAGES_MAX)
        return 0;
    /* One byte of control a page, then few bytes a page spread over it: the fuzzer should not have to find 4 KiB. */
    const uint8_t *control = data, *bytes = data + PAGES_MAX;
    size_t left = size - PAGES_MAX, each = MIN_OF(left / PAGES_MAX, (size_t)SEGMENT_PAGE);
    memset(file, 0, sizeof file);
    for (size_t i = 0; i < PAGES_MAX; i++) {
        uint8_t *page = file + i * SEGMENT_PAGE;
        memcpy(page, bytes + i * each, each);
        if (each > 12 && control[i] & 1) {
            memcpy(page + 12, bytes + i * each, MIN_OF(each, (size_t)600));
            make_whole(page, i * SEGMENT_PAGE, control[i]);
        }
    }
    struct segment_head h;
    if (segment_head_decode(file, &h) == 0)
        require(h.bytes >= SEGMENT_LEAST_BYTES && h.bytes <= SEGMENT_MOST_BYTES);
    uint64_t limit = (uint64_t)(control[0] % PAGES_MAX + 1) * SEGMENT_PAGE;
    scan_over(file, limit, true, false, UINT64_MAX);
    scan_over(file, limit, false, false, UINT64_MAX);
    scan_over(file, limit, true, true, 5 * SEGMENT_PAGE);
    return 0;
}
