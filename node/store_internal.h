/* store_internal - what the files of the store share. Nobody else includes it.
 *
 * store.c open, close, stat; store_file.c the table of segments and their files; store_prepare.c the next segment;
 * store_append.c the log; store_apply.c accounts and the way into the kv; store_write.c writes and deletes;
 * store_read.c; store_recover.c; store_compact.c. */
#pragma once
#include "node/store.h"

#define STORE_FLUSH_COUNT 2048          /* so many changes, or so long after the first: they are written to the kv */
#define STORE_FLUSH_NS    (250 * MS_NS) /* and synced; what was appended since is read after a power cut */
#define STORE_RETRY_NS    (1 * SEC_NS)  /* after the kv or the preparation of a segment failed */
#define STORE_IDLE_NS     (100 * MS_NS) /* then an END record proves the last batch */
#define STORE_KEPT_BYTES  (256 * KIB)   /* the end of every segment that only deletes and compaction may use */
#define STORE_SMALL_BYTES (2 * MIB)     /* least segment for deletes and compaction on a full disk */
#define STORE_SCAN_BYTES  (SEGMENT_PAYLOAD_MAX + SEGMENT_PAGE + MIB) /* buffer of a scan */
#define STORE_BAD_MAX     1024                                       /* quarantine rows */

struct store_segment {
    uint64_t number;
    uint8_t uuid[16];
    bool uuid_known; /* false: the head page is bad and no record has told yet */
    uint64_t bytes;
    uint64_t tail;       /* the next record stands here */
    uint64_t live_bytes; /* of records that count: fragments, and deletes until compaction has looked at them */
    uint64_t fragments;
    bool sealed;            /* nothing is appended any more */
    bool failed;            /* its descriptor had an error: never written or synced again */
    bool reserved;          /* made on a nearly full disk: for deletes and compaction only */
    bool dropped;           /* empty and being unlinked */
    bool gone;              /* unlinked: leaves the table with its last reader */
    bool changed, flushing; /* its row in the kv is old; is being written */
    bool tried;             /* compaction could not read it: left alone until the next start */
    struct disk_file *file; /* NULL: closed */
    unsigned refs;          /* reads and appends under way */
    uint64_t used_at;       /* for closing the least recently used file */
};

struct store_pos { /* a position of the log */
    uint64_t segment, offset;
};

enum store_prepare_step { PREPARE_IDLE, PREPARE_OPEN, PREPARE_ZERO, PREPARE_SYNC, PREPARE_NAME, PREPARE_UNDO };
struct store_prepare {
    enum store_prepare_step step;
    struct segment_head head;
    uint64_t need_bytes; /* the record that waits for it must fit */
    uint64_t at;         /* zeroed so far */
    bool urgent, check_only, first, reserved;
    int err;
    struct disk_file *file;
    struct buf *zeroes; /* the head page, then zeroes */
    struct disk_req io;
    struct work_req work;
    uint64_t not_before_ns; /* after a failure */
};

struct store_bad { /* a quarantine row */
    uint8_t frag_id[FRAG_ID_BYTES];
    bool has_id, saved, in_batch;
    uint64_t segment, offset, bytes;
    struct store_bad *next;
};

struct store_flush_wait { /* someone who needs the kv to be as new as now, and durable */
    void (*cb)(struct store_flush_wait *w, int err);
    bool clean; /* nothing will be written any more */
    struct store_flush_wait *next;
};

struct store_flush {
    bool busy, clean, was_clean; /* was_clean: as the kv has it */
    int err, result;             /* of the last one; of the one under way */
    struct kv_batch batch;
    struct kv_batch extra; /* rows to delete: quarantine that healed, segments that are gone */
    uint32_t extra_count;  /* of them in the batch */
    struct store_pos pos;  /* in the batch */
    struct work_req work;
    struct loop_timer timer;
    struct store_flush_wait *waiting, *served; /* next flush; this one */
};

enum store_compact_step {
    COMPACT_IDLE,
    COMPACT_READ,
    COMPACT_LOOKUP,
    COMPACT_COPY,
    COMPACT_TOMBS,
    COMPACT_FLUSH,
    COMPACT_UNLINK
};
struct store_compact {
    enum store_compact_step step;
    struct store_segment *segment;
    struct segment_scan scan;
    struct segment_record record;
    const uint8_t *payload;
    struct buf *buf, *pages;
    uint64_t base; /* offset of buf's first byte in the segment */
    size_t filled;
    uint8_t *tombs;
    size_t tomb_count, tomb_cap, tomb_sent;
    struct store_append append;
    struct chunk_slot slot;
    struct chunk_get get;
    struct disk_req io;
    struct work_req work;
    struct store_flush_wait flushed;
    bool waiting; /* for a write or delete of the record's fragment to end */
    int err;
    struct loop_post go;
    bool go_posted;
    uint64_t not_before_ns; /* after a failure */
};

enum store_closing { STORE_RUNS, STORE_DRAINS, STORE_MARKS, STORE_FLUSHES };

struct store {
    struct store_conf conf; /* dir and label are ours */
    struct chunk_index index;
    struct store_segment **segments; /* by number, ascending; the spare is not among them */
    size_t segment_count, segment_cap;
    struct store_segment *active, *spare;
    uint64_t next_number, next_seq, use_clock;
    size_t open_files;

    struct store_append *queue_first, **queue_last;   /* not placed yet */
    struct store_append *flight_first, **flight_last; /* placed, not durable; by offset */
    size_t writes_out;                                /* of those in flight */
    uint64_t synced_to, sync_to;                      /* in the active segment */
    bool syncing, started, pumping;
    struct disk_req sync_io;
    struct store_pos applied; /* every record before it is in the index's entries */

    struct store_append marker; /* END and SEAL */
    struct buf *marker_page;
    bool marking, marked; /* a marker is under way; the last record is one */
    struct loop_timer idle;

    struct store_prepare prepare;
    struct store_flush flush;
    struct store_compact compact;
    struct loop_timer compact_timer;     /* after a failure */
    struct store_delete *delete_waiting; /* for writes of the same fragments */

    struct store_bad *bad;
    size_t bad_count;  /* quarantine rows, in memory or kv */
    bool rebuild_next; /* the kv gave a row that cannot be: rebuild at the next start */
    uint64_t live_bytes, fragments, errors, write_errors, scanned_bytes;
    bool rebuilt, full;
    uint64_t free_bytes, total_bytes;

    size_t ops; /* everything under way that store_close waits for */
    enum store_closing closing;
    void (*closed_cb)(void *ctx);
    void *closed_ctx;
    struct loop_post close_post;
    struct store_flush_wait close_flush;
};

/* store.c */
void store_op_done(struct store *s); /* one of ops; may end the closing */
void store_failed(struct store *s, const char *what, int err, bool write);

/* store_file.c */
char *store_path(const struct store *s, uint64_t number, const char *suffix); /* returns owned; NULL: no memory */
bool store_path_number(const char *name, uint64_t *ret_number, bool *ret_temporary);
struct store_segment *store_segment_find(struct store *s, uint64_t number);
bool store_segment_any(struct store *s, uint64_t from, uint64_t to);   /* some segment has a number in [from, to) */
int store_segment_add(struct store *s, struct store_segment *seg);     /* takes on success */
void store_segment_remove(struct store *s, struct store_segment *seg); /* frees it; refs are 0 */
int store_segment_ref(struct store *s, struct store_segment *seg);     /* opens its file */
void store_segment_unref(struct store *s, struct store_segment *seg);
void store_segment_close(struct store *s, struct store_segment *seg);
uint64_t store_segment_dead(const struct store_segment *seg);
uint64_t store_kept_bytes(const struct store_segment *seg);

/* store_prepare.c: a spare that need_bytes fit in; the pump runs when it is there or failed. */
void store_prepare_want(struct store *s, uint64_t need_bytes, bool urgent);
void store_prepare_ahead(struct store *s); /* when a quarter of the active segment is used */

/* store_append.c */
void store_append(struct store *s,
                  struct store_append *a); /* record's kind, id, length, sums ...; offset and seq are set here */
void store_append_cancel(struct store *s, int err); /* everything that is not placed */
void store_pump(struct store *s);
void store_mark(struct store *s, enum segment_kind kind); /* END or SEAL; nothing is in flight */
void store_idle_timer(struct loop_timer *t);

/* store_apply.c */
void store_apply_fragment(struct store *s, struct store_segment *seg, const struct segment_record *r,
                          struct chunk_entry *e);
void store_apply_tomb(struct store *s, struct chunk_entry *e, const struct segment_tomb *t);
void store_apply_kept(struct store *s, struct store_segment *seg, const struct segment_record *r); /* a DELETE record */
void store_flush_soon(struct store *s);
void store_flush_now(struct store *s, struct store_flush_wait *w);           /* calls back when the kv has it */
int store_flush_blocking(struct store *s, bool always, bool clean);          /* always: also when nothing changed */
void store_segment_forget(struct store *s, const struct store_segment *seg); /* its rows go with the next flush */
void store_flush_timer(struct loop_timer *t);
/* known: a row of the kv, not news. */
void store_bad_add(struct store *s, const uint8_t *frag_id, uint64_t segment, uint64_t offset, uint64_t bytes,
                   bool known);
void store_bad_healed(struct store *s, const uint8_t *frag_id);

/* Rows of the kv beside the fragments'. */
struct store_mark_row {
    bool clean;
    struct store_pos pos;
    uint64_t next_seq, next_number;
    uint8_t drive_id[16];
};
#define STORE_MARK_KEY          ((struct str){"c", 1})
#define STORE_SEGMENT_KEY_BYTES 9
int store_mark_decode(struct str row, struct store_mark_row *ret);
int store_segment_row_decode(struct str key, struct str row, struct store_segment *ret);

/* store_write.c */
void store_delete_retry(struct store *s);

/* store_recover.c */
int store_recover(struct store *s, char *why, size_t why_cap);

/* store_compact.c */
void store_compact_look(struct store *s); /* starts one when a segment has enough dead bytes */
void store_compact_retry(struct store *s);
void store_compact_timer(struct loop_timer *t);
