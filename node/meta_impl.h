/* meta_impl - what the files of the metadata service share: the service, the group of writes under way, the slots of
 * reads, and the worker of gc. meta.c takes requests and answers them, meta_gc.c collects what is due.
 *
 * Thread: the loop, except what says otherwise. */
#pragma once
#include "node/meta.h"
#include "node/meta_op.h"

#define META_READS         64          /* reads on work threads at once; more wait in order */
#define META_GROUP_MAX     512         /* requests of one group */
#define META_GROUP_BYTES   (1 * MIB)   /* a group is full when its batch reaches this */
#define META_BATCH_MAX     (3 * MIB - 64 * KIB) /* one request whose changes are larger is refused: E_LIMIT */
#define META_SCRATCH_BYTES (256 * MIB) /* memory one request may use while it is judged */
#define META_GC_ROWS       64          /* gc rows collected at once */
#define META_GC_EXTENTS    4096        /* and their extents */
#define META_EXPIRED       16          /* uploads aborted in one round */

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
    uint64_t now_ms, seq;
    int err; /* of the group as a whole */
};

enum meta_gc_step { GC_IDLE, GC_SCAN, GC_DELETE, GC_FORGET, GC_EXPIRE };
struct meta_gc {
    enum meta_gc_step step;
    struct loop_timer timer;
    struct work_req work;
    struct arena arena;
    uint64_t now_ms, expire_before_ms, next_expiry_ms;
    struct str keys[META_GC_ROWS];
    size_t key_count;
    Pb__Extent **extents;
    size_t extent_count;
    Pb__Upload *expired[META_EXPIRED];
    size_t expired_count, expired_at;
    bool more; /* another round at once */
    bool under_way;
    int err;
    struct meta_gc_done done;
    Pb__UploadAbortReq abort;
    struct rpc rpc;
    struct arena rpc_arena;
};

struct meta {
    struct meta_conf conf;
    struct kv *primary;
    struct meta_counters counters;
    uint64_t seq, epoch;
    bool writable;

    struct meta_queue writes, reads, refused;
    struct meta_group group;
    struct meta_read slots[META_READS];
    struct meta_read *free_slots;
    unsigned reads_out;
    struct loop_post refuse_post;
    bool refuse_posted;
    struct meta_gc gc;

    bool closing;
    struct work_req close_work;
    void (*closed_cb)(void *ctx);
    void *closed_ctx;
};

void meta_close_advance(struct meta *m); /* goes on with meta_close when nothing is under way any more */

void meta_gc_open(struct meta *m);
bool meta_gc_close(struct meta *m); /* true when nothing of it is under way */
