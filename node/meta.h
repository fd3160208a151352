/* meta - the metadata service: buckets, objects, uploads, parts and the rows of other floors, on up to
 * META_REPLICAS_MAX drives.
 *
 * Every change goes one way: requests queue on the loop, a group of them is judged one after the other on a work
 * thread against the newest state (so conditions see what the group before them did), becomes ONE batch, is appended
 * to the log of every in-sync replica, applied to their databases, and only then answered. Reads run on work threads
 * against the primary's database and see every change that was answered before they came.
 * It is not the chunk store: fragments are deleted through the hook frag_delete.
 *
 * Thread: the loop; meta_open blocks and runs before the loop does.
 * Memory: meta_open returns owned, meta_close frees; an rpc is the caller's as rpc.h says.
 * Limits: META_* below. Errors: err.h; rpc outcomes as rpc.h lists them.
 *   E_QUORUM: too few replicas are in sync to take a write (reads go on). A write that was under way then has an
 *   unknown outcome.
 *   -ENOSPC: a drive of a replica has little room left, so what grows is refused (deletes, aborts and gc go on).
 *   E_UNAVAILABLE: the queue is full, or no replica can be opened; it is tried again by itself.
 *   -EINVAL, E_LIMIT: the caller broke the contract (empty or over-long key, inlined part, too many rows).
 * Durable: a change is on every in-sync replica's stable storage before its callback runs with status >= 0.
 * Start: a majority of the replicas must be there (1 of 1, 2 of 2, 2 of 3) unless accept_missing; the newest copy
 * wins, stale, empty and corrupt copies are filled from it again. The same is done while running, when a replica has
 * failed and its drive takes writes again: requests wait meanwhile. */
#pragma once
#include "common/disk.h"
#include "common/kv.h"
#include "common/rpc.h"
#include "common/work.h"

#define META_REPLICAS_MAX   3
#define META_ID_BYTES       16
#define META_KEY_MAX        1024       /* bytes of an object's key (AWS, object keys) */
#define META_BUCKET_MAX     255        /* bytes of a bucket's name */
#define META_UPLOAD_ID_MAX  128        /* bytes of an upload's id */
#define META_INLINE_MAX     (64 * KIB) /* bytes kept inside metadata */
#define META_LIST_MAX       1000       /* entries of one answer to a list, a smaller limit asks for fewer */
#define META_DELETE_MAX     1000       /* keys of one OBJECT_DELETE (AWS, DeleteObjects) */
#define META_PARTS_MAX      10000      /* parts of an upload (AWS, multipart limits) */
#define META_TXN_MAX        1024       /* compares, puts and deletes of one ROWS_TXN together */
#define META_TABLE_MAX      64         /* bytes of a table's name */
#define META_ROW_MAX        (1 * MIB)  /* bytes of a row's value */
#define META_EXTENTS_INLINE 64         /* extents in an object's row; more go to a manifest row */
#define META_QUEUE_MAX      65536      /* writes waiting; past it E_UNAVAILABLE */
#define META_TOMBSTONE_MS   (24 * 3600 * UINT64_C(1000)) /* how long a completed upload answers a retry */

struct meta;

struct meta_replica_conf {
    const char *dir;           /* DIR/meta of the drive; is made where absent. Borrows until meta_open returns */
    uint8_t id[META_ID_BYTES]; /* the drive's id */
    uint32_t index;            /* of the drive, for status and logs */
};

struct meta_conf {
    struct loop *loop;
    struct work *work;
    struct disk *disk;
    const struct meta_replica_conf *replicas; /* those whose drive is there */
    unsigned replica_count;
    unsigned replica_total;    /* how many the installation has, missing ones included; a majority of it is needed */
    uint64_t kv_cache_bytes;   /* of the primary and the others together */
    uint64_t log_bytes;        /* of one log file; 0: 16 MiB */
    uint64_t gc_delay_ms;      /* how long replaced or deleted data stays */
    uint64_t upload_expire_ms; /* age at which an unfinished upload is aborted; 0: never */
    bool accept_missing;       /* start below a majority: the operator's word that the missing copies are not newer */
    /* Tests: the database of a replica, in place of RocksDB in DIR/db; empty asks for it without any row. NULL:
     * RocksDB. */
    int (*kv_open)(void *ctx, unsigned replica, bool empty, struct kv **ret_kv);
    /* gc asks for the fragments of these extents to be deleted. done(arg, 0) when every store that can be reached has
     * done so (what is left is found by scrub), < 0: asked again later. done never runs inside the call. The extents
     * are borrowed until done. NULL: gc rows are kept (tests). */
    void (*frag_delete)(void *ctx, Pb__Extent *const *extents, size_t n, void (*done)(void *arg, int err), void *arg);
    void *ctx;
};

/* Blocking, before the loop runs. why: one sentence when it fails. E_QUORUM: too few replicas; E_VERSION: written by a
 * newer Lectern; E_CORRUPT: every copy is bad; E_FOREIGN: a copy of another installation's. */
int meta_open(const struct meta_conf *conf, struct meta **ret_meta, char *why, size_t why_cap);

/* Takes any rpc from BUCKET_CREATE to ROWS_RANGE; cb as rpc.h promises. */
void meta_submit(struct meta *m, struct rpc *r);

/* Ends what is under way (queued writes with -ECANCELED), makes the databases durable, frees m, then closed_cb. */
void meta_close(struct meta *m, void (*closed_cb)(void *ctx), void *ctx);

struct meta_replica_status {
    uint32_t index;
    bool in_sync;
    char why[128]; /* why it is not, "" otherwise */
};
struct meta_status {
    uint64_t buckets, objects, repair_rows, gc_rows; /* exact, as of the last commit */
    uint64_t seq, epoch;
    bool writable;
    unsigned replica_count;
    struct meta_replica_status replicas[META_REPLICAS_MAX];
};
void meta_status(struct meta *m, struct meta_status *ret);

/* Orphans (scrub): claims write ids that no commit has named; from then on a commit that names them gets RPC_CLAIMED.
 * ret_claimed[i] tells whether ids[i] is claimed now, so that its fragments may be deleted. Everything is the caller's
 * until cb; ids are 12 bytes each. */
struct meta_claim {
    const uint8_t (*ids)[12];
    size_t count; /* at most META_TXN_MAX */
    bool *ret_claimed;
    void (*cb)(struct meta_claim *c, int err);
    struct rpc rpc;     /* private */
    struct arena arena; /* private */
};
void meta_claim(struct meta *m, struct meta_claim *c);
