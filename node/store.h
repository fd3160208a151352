/* store - the chunk store of one drive: fragments in append-only segments, an index of them in a kv.
 *
 * A fragment is written once under its id, read by range, deleted once. Writes run side by side at assigned offsets;
 * one fdatasync at a time makes all that are written durable and acknowledges them in the order of the log. It knows
 * nothing of objects, stripes or other drives. Thread: the loop; store_open blocks and may run on any thread before
 * store_start. Memory: store_open returns owned, store_close frees; requests are embedded by the caller until their
 * callback. Limits: STORE_*. Errors: 0, -errno of disk or kv, E_CORRUPT, E_VERSION, E_FOREIGN, enum store_outcome.
 *   -ENOSPC: no room for another segment (reads and deletes go on). -ECANCELED: the store is closing.
 * Durable: a write or delete when its callback runs with 0. */
#pragma once
#include "common/buf.h"
#include "common/disk.h"
#include "node/chunk_index.h"

#define STORE_WINDOW_BYTES   (16 * MIB) /* appended but not yet durable; recovery looks twice as far */
#define STORE_DELETE_MAX     4096       /* ids of one store_delete */
#define STORE_DIRTY_MAX      8192       /* index entries not yet in the kv; past it writes wait */
#define STORE_FILES_MAX      128        /* segment files open at once */
#define STORE_FIRST_BYTES    (32 * MIB) /* the first segment of a drive is small: it is zeroed while writers wait */
#define STORE_SUSPECT_ERRORS 3          /* failed writes, syncs or preparations of a segment: the drive is suspect */

enum store_outcome { STORE_NOT_FOUND = 1 };

struct store;
struct store_conf {
    struct loop *loop;
    struct work *work;
    struct disk *disk;
    struct kv *kv; /* borrows until store_close's callback */
    /* Asked for once, inside store_open, when the kv does not fit the segments and is not empty: closes it, whose files
     * may be bad, and gives an empty one. NULL: its rows are deleted. */
    int (*kv_renew)(void *ctx, struct kv **ret_kv);
    void *kv_ctx;
    const char *dir;   /* of the segments; exists. Copied */
    const char *label; /* of metrics and logs. Copied */
    uint8_t drive_id[16];
    uint64_t segment_bytes;
    unsigned compact_percent; /* dead share of a sealed segment at which it is compacted; 0: never */
};
/* Blocking: recovers. E_VERSION, E_FOREIGN: nothing was changed. E_CORRUPT: cannot be served. why: one sentence. */
int store_open(const struct store_conf *conf, struct store **ret_store, char *why, size_t why_cap);
void store_start(struct store *s); /* on the loop's thread, once: prepares the next segment, compacts */
/* Writes what is under way, then a mark that lets the next start skip the scan, frees, then cb. */
void store_close(struct store *s, void (*cb)(void *ctx), void *ctx);

/* ---- private parts of the requests ---- */
struct store_segment;
struct store_append { /* one record on its way into the log */
    struct store *store;
    struct segment_record record;
    struct chunk_entry *entry;
    const uint8_t *payload; /* aligned, record.length bytes */
    uint8_t *header, *last; /* pages: the header; the payload's last, padded with zeroes */
    bool urgent;            /* ours: may use what is kept back from writers, is never refused for lack of dirty room */
    bool written;
    int status;
    struct disk_req io;
    struct store_append *next;
    /* Runs on the loop in the order of the log: 0 when durable and applied. */
    void (*cb)(struct store_append *a);
};

/* ---- writing ---- */
struct store_write {
    uint8_t frag_id[FRAG_ID_BYTES];
    uint8_t k, m;
    uint64_t epoch;
    struct slice payload[4]; /* borrows until cb; 1 byte to SEGMENT_PAYLOAD_MAX together. One slice at an aligned
                                address is written without a copy */
    unsigned payload_count;
    int status;
    void (*cb)(struct store_write *w);
    void *user;
    /* private */
    struct store *store;
    struct buf *pages, *copy;
    struct store_append append;
    struct chunk_slot slot;
    struct chunk_get get;
    struct work_req work;
    struct loop_post post;
    struct store_write *next;
};
/* An id that is there already is superseded (repair writes a corrupt fragment again). -EINVAL: an empty or too long
 * payload, -ENOMEM, -ENOSPC, -EIO. */
void store_write(struct store *s, struct store_write *w);

/* ---- reading ---- */
struct store_read {
    uint8_t frag_id[FRAG_ID_BYTES];
    uint64_t offset, length; /* length 0 or past the end: to the end */
    struct buf *into;        /* may be NULL; borrows until cb: read into it when the blocks fit */
    int status;
    uint64_t fragment_bytes;
    struct slice data; /* verified; takes: the caller unrefs data.buf */
    void (*cb)(struct store_read *r);
    void *user;
    /* private */
    struct store *store;
    struct store_segment *segment;
    struct chunk_loc loc;
    struct buf *buf, *head;
    uint32_t first, last;
    unsigned tries, pending;
    bool with_head, apart; /* the header page is read too; by a request of its own */
    int io_err;
    struct disk_req io, head_io;
    struct chunk_slot slot;
    struct chunk_get get;
    struct work_req work;
    struct loop_post post;
};
/* Reads only the 64 KiB blocks it needs and verifies each. STORE_NOT_FOUND; -EINVAL: offset past the end; E_CORRUPT:
 * the bytes are bad, also read a second time (the fragment is in quarantine); -EIO. */
void store_read(struct store *s, struct store_read *r);

/* ---- deleting ---- */
struct store_delete {
    const uint8_t (*frag_ids)[FRAG_ID_BYTES]; /* borrows until cb */
    size_t count;                             /* at most STORE_DELETE_MAX */
    int status;
    size_t deleted; /* how many were there */
    void (*cb)(struct store_delete *d);
    void *user;
    /* private */
    struct store *store;
    struct chunk_slot *slots;
    struct buf *pages;
    struct store_append append;
    struct chunk_get get;
    struct work_req work;
    struct loop_post post;
    struct store_delete *next;
};
void store_delete(struct store *s, struct store_delete *d);

/* ---- looking ---- */
enum store_state { STORE_OK, STORE_FULL, STORE_SUSPECT }; /* full: too little room for another segment */
struct store_stat {
    enum store_state state;
    uint64_t live_bytes, dead_bytes,
        fragments;                      /* live and dead as they lie in segments, headers and padding included */
    uint64_t free_bytes, total_bytes;   /* of the file system */
    uint64_t segments, errors, corrupt; /* corrupt: rows in quarantine */
    bool rebuilt;                       /* this start had to rebuild the index */
    uint64_t scanned_bytes;             /* this start's recovery */
};
void store_stat(struct store *s, struct store_stat *ret);
const char *store_state_name(enum store_state state);
