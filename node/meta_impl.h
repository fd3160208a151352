/* meta_impl - what the files of the metadata service share: the service, the group of writes under way, the slots of
 * reads, and the worker of gc. meta.c takes requests and answers them, meta_gc.c collects what is due.
 *
 * Thread: the loop, except what says otherwise. */
#pragma once
#include "node/meta.h"
#include "node/meta_op.h"
#include "node/meta_replica.h"
#include "replication/metalog.h"

#define META_READS         64                   /* reads on work threads at once; more wait in order */
#define META_GROUP_MAX     512                  /* requests of one group */
#define META_GROUP_BYTES   (1 * MIB)            /* a group is full when its batch reaches this */
#define META_BATCH_MAX     (3 * MIB - 64 * KIB) /* one request whose changes are larger is refused: E_LIMIT */
#define META_SCRATCH_BYTES (256 * MIB)          /* memory one request may use while it is judged */
#define META_GC_ROWS       64                   /* gc rows collected at once */
#define META_GC_EXTENTS    4096                 /* and their extents */
#define META_EXPIRED       16                   /* uploads aborted in one round */
#define META_STALL_MS      10000                /* a drive that holds up a commit for longer counts as failed */

struct meta_queue {
    struct rpc *first, *last;
    size_t count;
};
void meta_queue_add(struct meta_queue *q, struct rpc *r);
struct rpc *meta_queue_take(struct meta_queue *q); /* NULL when empty */

struct meta_read {
    struct work_req work;
    struct meta *meta;
    struct rpc *rpc;
    struct kv *kv; /* the primary when it began: on the loop it may become another one */
    struct meta_read *next;
    uint64_t now_ms;
};

/* The one group of writes under way. */
enum meta_step { META_IDLE, META_JUDGE, META_LOG, META_APPLY };
struct meta_group {
    enum meta_step step;
    struct work_req work;
    struct meta_queue rpcs;   /* judged ones come first */
    struct meta_queue judged; /* filled by the work thread */
    struct meta_view view;
    struct arena scratch;
    struct metalog_entry entry;
    unsigned appends_out;
    uint64_t now_ms, seq, epoch;
    uint32_t watched; /* replicas whose space counts, a bit each */
    bool full;        /* what grows is refused */
    int err;          /* of the group as a whole */
};

/* A change of configuration: a promise to every register, then the configuration to every register. */
struct meta_change {
    bool under_way, promising;
    uint64_t epoch;
    uint32_t set;
    unsigned out, good; /* register writes under way, and done well */
};

enum meta_gc_step { GC_IDLE, GC_SCAN, GC_DELETE, GC_FORGET, GC_EXPIRE };
struct meta_gc {
    enum meta_gc_step step;
    struct loop_timer timer;
    struct work_req work;
    struct arena arena;
    struct kv *kv; /* the primary when the round began */
    uint64_t now_ms, expire_before_ms, next_expiry_ms;
    struct sbuf expiry_after; /* key of the upload that the last look ended at; empty: the next begins at the first */
    struct str keys[META_GC_ROWS];
    size_t key_count;
    Pb__Extent **extents;
    size_t extent_count;
    Pb__Upload *expired[META_EXPIRED];
    size_t expired_count, expired_at;
    bool more;        /* another round at once */
    bool expiry_more; /* the look for unfinished uploads has not come to the end */
    bool under_way;
    int err;
    struct meta_gc_done done;
    Pb__UploadAbortReq abort;
    struct rpc rpc;
    struct arena rpc_arena;
};

enum meta_restart_step { META_RESTART_IDLE, META_RESTART_PROBE, META_RESTART_DRAIN, META_RESTART_START };
struct meta_restart {
    enum meta_restart_step step;
    bool paused; /* requests wait in their queues */
    bool down;   /* the last start failed: no replica is open */
    bool worth_it;
    uint32_t broken; /* for the probe: replicas to be mended, and how many must be fit */
    unsigned least;
    unsigned attempts; /* in a row that mended nothing */
    struct loop_timer timer;
    struct work_req work;
    int err;
    char why[256];
    struct meta_status status; /* as of before */
};

struct meta {
    struct meta_conf conf;
    struct meta_replica_conf replica_confs[META_REPLICAS_MAX]; /* conf.replicas points here */
    char *dirs[META_REPLICAS_MAX];
    struct kv *primary;
    struct meta_counters counters;
    struct meta_replica replicas[META_REPLICAS_MAX];
    unsigned replica_count;
    struct arena config_arena; /* what the registers said at start, and config */
    Pb__MetaConfig *config;    /* the newest; its in_sync flags are set from the core for every write */
    struct metalog core;
    struct loop_timer append_timer, change_timer; /* META_STALL_MS */
    uint64_t change_round;                        /* of register writes; those of an earlier one come too late */
    int replica_of[METALOG_MEMBERS_MAX];          /* of a member; -1: its drive is missing */
    struct meta_change change;

    struct meta_queue writes, reads, refused;
    struct meta_group group;
    struct meta_read slots[META_READS];
    struct meta_read *free_slots;
    unsigned reads_out;
    struct loop_post refuse_post;
    bool refuse_posted;
    struct meta_gc gc;
    struct meta_restart restart;

    bool closing;
    struct work_req close_work;
    void (*closed_cb)(void *ctx);
    void *closed_ctx;
};

/* meta.c */
void meta_settle(struct meta *m); /* something has ended: a restart or a close may go on. m may be gone afterwards */
void meta_resume(struct meta *m); /* what waited for a restart goes on, or is refused */
int meta_start_again(struct meta *m, char *why, size_t why_cap); /* closes the replicas and starts; work thread */

/* meta_restart.c */
void meta_restart_want(struct meta *m); /* something has failed */
void meta_restart_advance(struct meta *m);
bool meta_restart_close(struct meta *m); /* true when nothing of it is under way */

/* meta_space.c. Thread: any */
bool meta_space_low(const struct meta *m);  /* a drive that the group is written to has little room left */
bool meta_space_grows(const struct rpc *r); /* refused then: -ENOSPC */

/* meta_start.c: opens the replicas, chooses, fills, makes the first configuration; blocking. */
int meta_start(struct meta *m, char *why, size_t why_cap);

/* meta_commit.c: the group's entry goes to the log of every in-sync replica; meta_committed runs when it is committed,
 * or never will be (group.err). Never inside the call. */
void meta_commit(struct meta *m);
void meta_committed(struct meta *m); /* meta.c */
bool meta_commit_idle(const struct meta *m);
bool meta_commit_stalled(const struct meta *m); /* a drive has not ended a write that it was given up for */
/* Applies the committed entry to every in-sync database: begin on the loop, apply on a work thread. */
void meta_apply_begin(struct meta *m);
void meta_apply(struct meta *m);
/* On the loop, after meta_apply: replicas that failed leave, the primary is one that did not. */
void meta_applied(struct meta *m);
bool meta_writable(const struct meta *m);
/* Packs the core's state into m->config and writes it; for meta_start. */
void meta_config_write(struct meta *m, struct meta_replica *r, uint64_t epoch, uint32_t set, bool promise_only);

void meta_gc_open(struct meta *m);
bool meta_gc_close(struct meta *m); /* true when nothing of it is under way */
