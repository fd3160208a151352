/* segment - the format. Header pages carry a checksum over themselves, so a page is either wholly ours or nothing; they
 * name segment and offset, so neither a stale page of a recycled file nor a misdirected write passes for a record.
 *
 * The scan steps by pages wherever a record does not stand where one is expected and goes on to the end: looking only
 * at the next record would miss most corruption. A gap is proven corrupt by any later record that was written when the
 * gap's first byte was durable already. */
#include "node/segment.h"
#include <endian.h>
#include <stdlib.h>

static const char head_magic[8] = "LECTSEGM";
static const char record_magic[8] = "LECTFRAG";

struct disk_head {
    char magic[8];
    uint32_t format;
    uint32_t zero;
    uint8_t uuid[16];
    uint8_t drive_id[16];
    uint64_t number, bytes, created_seq;
    uint8_t reserved[4096 - 72 - 8];
    uint64_t sum; /* XXH3-64 of the page before it */
};
static_assert(sizeof(struct disk_head) == SEGMENT_PAGE, "a head is one page");
static_assert(offsetof(struct disk_head, number) == 48 && offsetof(struct disk_head, sum) == 4088, "head layout");

struct disk_record {
    char magic[8];
    uint32_t format;
    uint8_t kind, k, m, zero;
    uint8_t uuid[16];
    uint64_t offset, seq, synced, epoch;
    uint8_t frag_id[FRAG_ID_BYTES];
    uint8_t zero2[7];
    uint32_t length, sum_count;
    uint64_t skip_bytes;
    uint64_t whole_lo, whole_hi;
    uint64_t sums[SEGMENT_SUMS_MAX];
    uint8_t reserved[4096 - 632 - 8];
    uint64_t sum; /* XXH3-64 of the page before it */
};
static_assert(sizeof(struct disk_record) == SEGMENT_PAGE, "a header is one page");
static_assert(offsetof(struct disk_record, offset) == 32 && offsetof(struct disk_record, frag_id) == 64 &&
                  offsetof(struct disk_record, length) == 88 && offsetof(struct disk_record, sums) == 120 &&
                  offsetof(struct disk_record, sum) == 4088,
              "record layout");
static_assert(SEGMENT_SUMS_MAX * SEGMENT_BLOCK == SEGMENT_PAYLOAD_MAX, "a sum for every block of the largest payload");
static_assert(offsetof(struct disk_head, sum) == offsetof(struct disk_record, sum), "one place for page sums");

#define PAGE_SUMMED offsetof(struct disk_record, sum)

static uint64_t page_sum(const uint8_t *page)
{
    return htole64(xxh64of(page, PAGE_SUMMED, 0));
}

static bool page_whole(const uint8_t *page, const char magic[8])
{
    uint64_t sum;
    memcpy(&sum, page + PAGE_SUMMED, sizeof sum);
    return memcmp(page, magic, 8) == 0 && sum == page_sum(page);
}

bool segment_page_zero(const uint8_t *page)
{
    return page[0] == 0 && memcmp(page, page + 1, SEGMENT_PAGE - 1) == 0;
}

void segment_head_encode(const struct segment_head *h, uint8_t *page)
{
    struct disk_head d = {.format = htole32(SEGMENT_FORMAT),
                          .number = htole64(h->number),
                          .bytes = htole64(h->bytes),
                          .created_seq = htole64(h->created_seq)};
    memcpy(d.magic, head_magic, sizeof d.magic);
    memcpy(d.uuid, h->uuid, sizeof d.uuid);
    memcpy(d.drive_id, h->drive_id, sizeof d.drive_id);
    memcpy(page, &d, sizeof d);
    d.sum = page_sum(page);
    memcpy(page + PAGE_SUMMED, &d.sum, sizeof d.sum);
}

int segment_head_decode(const uint8_t *page, struct segment_head *ret)
{
    struct disk_head d;
    if (!page_whole(page, head_magic))
        return E_CORRUPT;
    memcpy(&d, page, sizeof d);
    if (le32toh(d.format) > SEGMENT_FORMAT)
        return E_VERSION;
    uint64_t bytes = le64toh(d.bytes);
    if (le32toh(d.format) == 0 || bytes < SEGMENT_LEAST_BYTES || bytes > SEGMENT_MOST_BYTES || bytes % SEGMENT_PAGE)
        return E_CORRUPT;
    *ret = (struct segment_head){.number = le64toh(d.number), .bytes = bytes, .created_seq = le64toh(d.created_seq)};
    memcpy(ret->uuid, d.uuid, sizeof d.uuid);
    memcpy(ret->drive_id, d.drive_id, sizeof d.drive_id);
    return 0;
}

uint64_t segment_record_bytes(const struct segment_record *r)
{
    return r->kind == SEGMENT_VOID ? r->skip_bytes : segment_bytes_of(r->length);
}

void segment_record_sum(struct segment_record *r, const uint8_t *payload)
{
    assert(r->length <= SEGMENT_PAYLOAD_MAX);
    for (uint32_t i = 0; i < segment_sum_count(r->length); i++) {
        size_t at = (size_t)i * SEGMENT_BLOCK;
        r->sums[i] = xxh64of(payload + at, MIN_OF((size_t)SEGMENT_BLOCK, r->length - at), 0);
    }
    r->whole = xxh128of(payload, r->length);
}

void segment_record_encode(const struct segment_record *r, const uint8_t uuid[16], uint8_t *page)
{
    assert(r->offset % SEGMENT_PAGE == 0 && r->synced <= r->offset && r->length <= SEGMENT_PAYLOAD_MAX);
    struct disk_record d = {.format = htole32(SEGMENT_FORMAT),
                            .kind = (uint8_t)r->kind,
                            .k = r->k,
                            .m = r->m,
                            .offset = htole64(r->offset),
                            .seq = htole64(r->seq),
                            .synced = htole64(r->synced),
                            .epoch = htole64(r->epoch),
                            .length = htole32(r->length),
                            .sum_count = htole32(segment_sum_count(r->length)),
                            .skip_bytes = htole64(r->kind == SEGMENT_VOID ? r->skip_bytes : 0),
                            .whole_lo = htole64(r->whole.lo),
                            .whole_hi = htole64(r->whole.hi)};
    memcpy(d.magic, record_magic, sizeof d.magic);
    memcpy(d.uuid, uuid, sizeof d.uuid);
    memcpy(d.frag_id, r->frag_id, sizeof d.frag_id);
    for (uint32_t i = 0; i < segment_sum_count(r->length); i++)
        d.sums[i] = htole64(r->sums[i]);
    memcpy(page, &d, sizeof d);
    d.sum = page_sum(page);
    memcpy(page + PAGE_SUMMED, &d.sum, sizeof d.sum);
}

/* The checksum is right, so it is what some Lectern wrote; whether it may stand here is another question. */
static bool record_fits(const struct segment_record *r, uint32_t sum_count, uint64_t limit)
{
    if (r->kind < SEGMENT_FRAGMENT || r->kind > SEGMENT_SEAL || r->synced > r->offset)
        return false;
    if (r->length > SEGMENT_PAYLOAD_MAX || sum_count != segment_sum_count(r->length))
        return false;
    if ((r->kind == SEGMENT_END || r->kind == SEGMENT_SEAL || r->kind == SEGMENT_VOID) && r->length)
        return false;
    if (r->kind == SEGMENT_FRAGMENT && r->length == 0)
        return false;
    if (r->kind == SEGMENT_DELETE && r->length % SEGMENT_TOMB_BYTES)
        return false;
    if (r->kind == SEGMENT_VOID && (r->skip_bytes == 0 || r->skip_bytes % SEGMENT_PAGE))
        return false;
    uint64_t room = limit - r->offset; /* the caller has the page, so offset < limit */
    return segment_record_bytes(r) <= room;
}

int segment_record_decode(const uint8_t *page, const uint8_t uuid[16], uint64_t offset, uint64_t limit,
                          struct segment_record *ret)
{
    struct disk_record d;
    if (!page_whole(page, record_magic))
        return E_CORRUPT;
    memcpy(&d, page, sizeof d);
    if (uuid && memcmp(d.uuid, uuid, sizeof d.uuid) != 0)
        return E_CORRUPT;
    if (le32toh(d.format) > SEGMENT_FORMAT)
        return E_VERSION;
    if (le32toh(d.format) == 0 || le64toh(d.offset) != offset || offset >= limit)
        return E_CORRUPT;
    ret->kind = d.kind;
    ret->k = d.k;
    ret->m = d.m;
    ret->epoch = le64toh(d.epoch);
    ret->offset = offset;
    ret->seq = le64toh(d.seq);
    ret->synced = le64toh(d.synced);
    ret->length = le32toh(d.length);
    ret->skip_bytes = le64toh(d.skip_bytes);
    ret->whole = (struct hash128){.lo = le64toh(d.whole_lo), .hi = le64toh(d.whole_hi)};
    memcpy(ret->frag_id, d.frag_id, sizeof d.frag_id);
    if (!record_fits(ret, le32toh(d.sum_count), limit))
        return E_CORRUPT;
    for (uint32_t i = 0; i < segment_sum_count(ret->length); i++)
        ret->sums[i] = le64toh(d.sums[i]);
    return 0;
}

bool segment_blocks_good(const uint64_t *sums, uint64_t length, uint32_t first, uint32_t last, const uint8_t *p)
{
    assert(first <= last && last < segment_sum_count(length));
    for (uint32_t i = first; i <= last; i++) {
        uint64_t at = (uint64_t)i * SEGMENT_BLOCK;
        size_t n = (size_t)MIN_OF((uint64_t)SEGMENT_BLOCK, length - at);
        if (xxh64of(p + (size_t)(i - first) * SEGMENT_BLOCK, n, 0) != sums[i])
            return false;
    }
    return true;
}

void segment_tomb_encode(const struct segment_tomb *t, uint8_t *p)
{
    uint64_t oldest = htole64(t->oldest), before = htole64(t->before_seq);
    memset(p, 0, SEGMENT_TOMB_BYTES);
    memcpy(p, t->frag_id, FRAG_ID_BYTES);
    p[FRAG_ID_BYTES] = t->many;
    memcpy(p + 24, &oldest, 8);
    memcpy(p + 32, &before, 8);
}

int segment_tomb_decode(const uint8_t *p, struct segment_tomb *ret)
{
    uint64_t oldest, before;
    if (p[FRAG_ID_BYTES] > 1)
        return E_CORRUPT;
    memcpy(&oldest, p + 24, 8);
    memcpy(&before, p + 32, 8);
    memcpy(ret->frag_id, p, FRAG_ID_BYTES);
    ret->many = p[FRAG_ID_BYTES];
    ret->oldest = le64toh(oldest);
    ret->before_seq = le64toh(before);
    return 0;
}

void segment_scan_init(struct segment_scan *s, const uint8_t uuid[16], uint64_t from, uint64_t limit, bool verify,
                       uint64_t quiet_bytes)
{
    assert(from % SEGMENT_PAGE == 0);
    *s = (struct segment_scan){.verify = verify,
                               .any_uuid = uuid == NULL,
                               .limit = limit / SEGMENT_PAGE * SEGMENT_PAGE,
                               .quiet_bytes = quiet_bytes,
                               .pos = from,
                               .want = SEGMENT_PAGE,
                               .tail = from,
                               .dirty_end = from};
    if (uuid)
        memcpy(s->uuid, uuid, sizeof s->uuid);
}

void segment_scan_fini(struct segment_scan *s)
{
    free(s->gaps);
    s->gaps = NULL;
}

static int gap_close(struct segment_scan *s, uint64_t to)
{
    if (!s->in_gap)
        return 0;
    if (s->gap_count == s->gap_cap) {
        size_t cap = s->gap_cap ? s->gap_cap * 2 : 8;
        struct segment_gap *gaps = realloc(s->gaps, cap * sizeof *gaps);
        if (!gaps)
            return -ENOMEM;
        s->gaps = gaps;
        s->gap_cap = cap;
    }
    s->gap.to = to;
    s->gaps[s->gap_count++] = s->gap;
    s->in_gap = false;
    return 0;
}

/* synced never goes back along a segment, so the gaps it proves are always the first ones. */
static void gaps_prove(struct segment_scan *s, uint64_t synced)
{
    while (s->gap_proven < s->gap_count && s->gaps[s->gap_proven].from < synced)
        s->gaps[s->gap_proven++].proven = true;
}

/* bad: the page is a whole header whose payload is not; it opens a gap of its own, so that its name is known. */
static int gap_page(struct segment_scan *s, const uint8_t *page, const struct segment_record *bad)
{
    int err = bad ? gap_close(s, s->pos) : 0;
    if (err)
        return err;
    if (!s->in_gap) {
        s->in_gap = true;
        s->gap = (struct segment_gap){.from = s->pos, .has_id = bad && bad->kind == SEGMENT_FRAGMENT};
        if (s->gap.has_id)
            memcpy(s->gap.frag_id, bad->frag_id, FRAG_ID_BYTES);
    }
    s->pos += SEGMENT_PAGE;
    s->want = SEGMENT_PAGE;
    if (!segment_page_zero(page))
        s->dirty_end = s->pos;
    return 0;
}

static int record_found(struct segment_scan *s, const uint8_t *page, const struct segment_record *r)
{
    int err = gap_close(s, r->offset);
    if (err)
        return err;
    gaps_prove(s, r->synced);
    if (s->any_uuid) {
        memcpy(s->uuid, page + offsetof(struct disk_record, uuid), sizeof s->uuid);
        s->any_uuid = false;
    }
    s->pos = s->tail = s->dirty_end = r->offset + segment_record_bytes(r);
    s->want = SEGMENT_PAGE;
    s->last_seq = MAX_OF(s->last_seq, r->seq);
    s->last_synced = MAX_OF(s->last_synced, r->synced);
    s->record_count++;
    s->sealed = r->kind == SEGMENT_SEAL;
    return SEGMENT_RECORD;
}

int segment_scan_step(struct segment_scan *s, const uint8_t *p, size_t n, struct segment_record *ret)
{
    for (;;) {
        if (s->pos >= s->limit || s->pos - s->dirty_end >= s->quiet_bytes) {
            while (s->gap_count > 0 && s->gaps[s->gap_count - 1].from >= s->tail)
                s->gap_count--; /* split off the tail by a whole header: no record came after all */
            return SEGMENT_DONE;
        }
        if (n < s->want)
            return SEGMENT_MORE;
        int err = segment_record_decode(p, s->any_uuid ? NULL : s->uuid, s->pos, s->limit, ret);
        if (err == E_VERSION)
            return err;
        if (err == 0) {
            uint64_t need = s->verify && ret->kind != SEGMENT_VOID ? segment_record_bytes(ret) : SEGMENT_PAGE;
            if (n < need) {
                s->want = need;
                return SEGMENT_MORE;
            }
            if (!s->verify || ret->length == 0 ||
                segment_blocks_good(ret->sums, ret->length, 0, segment_sum_count(ret->length) - 1, p + SEGMENT_PAGE))
                return record_found(s, p, ret);
        }
        err = gap_page(s, p, err == 0 ? ret : NULL);
        if (err)
            return err;
        p += SEGMENT_PAGE;
        n -= SEGMENT_PAGE;
    }
}
