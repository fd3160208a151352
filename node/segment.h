/* segment - the format of the files that hold fragments: encode, decode, check, and the scan that recovery runs.
 *
 * A segment is a file of fixed size, zeroed before use and only ever appended to, in 4 KiB pages. Page 0 is its head;
 * then records follow, each a header page and a payload padded to 4 KiB. A record names its segment, its own offset and
 * how far the segment was durable when it was written (synced): from these the scan tells a torn tail from corruption.
 * This is the pure part: no files, no clocks, no allocation but the scan's list of gaps.
 * Thread: pure. Memory: the caller's; segment_scan_fini frees the gaps.
 * Limits: SEGMENT_*. Errors: E_VERSION (a greater format, checksum right), E_CORRUPT, -ENOMEM.
 * Bytes on disk are little-endian. Source: the record layout of design.md, "Chunk store". */
#pragma once
#include "common/base.h"
#include "common/err.h"
#include "common/xxh.h"

#define SEGMENT_FORMAT      1
#define SEGMENT_PAGE        4096
#define SEGMENT_BLOCK       65536 /* one checksum covers so much of a payload */
#define SEGMENT_PAYLOAD_MAX (4 * MIB)
#define SEGMENT_SUMS_MAX    64
#define SEGMENT_LEAST_BYTES (64 * KIB)
#define SEGMENT_MOST_BYTES  (64 * GIB)

#define FRAG_ID_BYTES 17 /* 12 bytes write id, big-endian 32-bit stripe number, fragment index */

struct segment_head {
    uint8_t uuid[16];
    uint8_t drive_id[16];
    uint64_t number;      /* of the segment; never used again on this drive */
    uint64_t bytes;       /* of the file */
    uint64_t created_seq; /* every record in here has a greater or equal sequence */
};

enum segment_kind {
    SEGMENT_FRAGMENT = 1,
    SEGMENT_DELETE = 2, /* payload: segment_tomb entries */
    SEGMENT_END = 3,    /* nothing: proves that what stands before it was durable */
    SEGMENT_VOID = 4,   /* recovery's: the next skip_bytes (this page included) hold nothing */
    SEGMENT_SEAL = 5,   /* the last record: later ones stand in the next segment */
};

struct segment_record {
    enum segment_kind kind;
    uint8_t frag_id[FRAG_ID_BYTES];
    uint8_t k, m;
    uint64_t epoch;
    uint64_t offset; /* of the header page */
    uint64_t seq;
    uint64_t synced; /* everything before this offset was durable when the record was written */
    uint32_t length; /* of the payload */
    uint64_t skip_bytes;
    uint64_t sums[SEGMENT_SUMS_MAX]; /* XXH3-64 of each block of the payload */
    struct hash128 whole;            /* XXH3-128 of the payload */
};

/* A fragment that was deleted: kills its records with a sequence below before_seq. */
struct segment_tomb {
    uint8_t frag_id[FRAG_ID_BYTES];
    bool many;       /* records of it may stand in other segments than oldest, too */
    uint64_t oldest; /* the lowest segment that may hold a record of it */
    uint64_t before_seq;
};
#define SEGMENT_TOMB_BYTES 40
#define SEGMENT_TOMBS_MAX  (SEGMENT_PAYLOAD_MAX / SEGMENT_TOMB_BYTES)

static inline uint32_t segment_sum_count(uint64_t length)
{
    return (uint32_t)((length + SEGMENT_BLOCK - 1) / SEGMENT_BLOCK);
}
/* What a payload takes in the file with its header page. */
static inline uint64_t segment_bytes_of(uint64_t length)
{
    return SEGMENT_PAGE + align_up(length, SEGMENT_PAGE);
}
uint64_t segment_record_bytes(const struct segment_record *r);

/* page: SEGMENT_PAGE bytes. */
void segment_head_encode(const struct segment_head *h, uint8_t *page);
int segment_head_decode(const uint8_t *page, struct segment_head *ret); /* E_CORRUPT, E_VERSION */

/* Fills sums and whole from r->length bytes of payload. */
void segment_record_sum(struct segment_record *r, const uint8_t *payload);
void segment_record_encode(const struct segment_record *r, const uint8_t uuid[16], uint8_t *page);
/* The page must be a record of that segment at that offset, and end by limit. uuid NULL: any segment's. */
int segment_record_decode(const uint8_t *page, const uint8_t uuid[16], uint64_t offset, uint64_t limit,
                          struct segment_record *ret);
/* Checks blocks [first, last] of a payload of length bytes; p points at block first. */
bool segment_blocks_good(const uint64_t *sums, uint64_t length, uint32_t first, uint32_t last, const uint8_t *p);
bool segment_page_zero(const uint8_t *page);

void segment_tomb_encode(const struct segment_tomb *t, uint8_t *p);
int segment_tomb_decode(const uint8_t *p, struct segment_tomb *ret);

/* A run where no valid record stands though one comes later. */
struct segment_gap {
    uint64_t from, to;
    bool proven; /* a later record says that this was durable: corruption. Else it never was: torn */
    bool has_id; /* the gap begins with a whole header whose payload is bad */
    uint8_t frag_id[FRAG_ID_BYTES];
};

/* Walks a segment page by page. The caller feeds bytes; nothing is read here. */
struct segment_scan {
    uint8_t uuid[16];
    bool any_uuid;        /* the head was bad: the first whole record names the segment */
    bool verify;          /* payloads too; false: headers only */
    uint64_t limit;       /* end of the segment */
    uint64_t quiet_bytes; /* the scan ends after so many zero bytes without a record */
    uint64_t pos;         /* feed the bytes from here on */
    uint64_t want;        /* at least so many, unless limit comes first */
    uint64_t tail;        /* end of the last valid record */
    uint64_t dirty_end;   /* end of the last page that is not zero; at least tail */
    uint64_t last_seq, last_synced;
    uint64_t record_count;
    bool sealed; /* a SEAL record was the last */
    struct segment_gap *gaps;
    size_t gap_count;
    size_t gap_cap, gap_proven; /* private */
    bool in_gap;                /* private */
    struct segment_gap gap;     /* private: the one being walked through */
};
enum segment_step { SEGMENT_MORE = 1, SEGMENT_RECORD = 2, SEGMENT_DONE = 3 };

void segment_scan_init(struct segment_scan *s, const uint8_t uuid[16], uint64_t from, uint64_t limit, bool verify,
                       uint64_t quiet_bytes);
/* p: n bytes from s->pos on. SEGMENT_MORE: feed again with at least want bytes from pos. SEGMENT_RECORD: *ret is a
 * valid record; its payload stands at p + SEGMENT_PAGE when verify is set; then go on at pos. SEGMENT_DONE: tail,
 * dirty_end and gaps are final; gaps that are not proven never were durable. Negative: E_VERSION, -ENOMEM. */
int segment_scan_step(struct segment_scan *s, const uint8_t *p, size_t n, struct segment_record *ret);
void segment_scan_fini(struct segment_scan *s);
