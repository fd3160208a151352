/* meta_fixture - a metadata service for tests: a loop, work threads, a disk, temporary folders, and calls that wait.
 * Everything aborts the test when it fails. */
#pragma once
#include "node/meta.h"

struct meta_fixture {
    struct loop *loop;
    struct work *work;
    struct disk *disk;
    struct clock_manual clock;
    struct meta *meta;
    struct meta_conf conf;
    struct meta_replica_conf replicas[META_REPLICAS_MAX];
    char dir[128]; /* removed by fini */
    char dirs[META_REPLICAS_MAX][160];
    char why[256];
    unsigned deleted_extents; /* what frag_delete was asked for */
    int delete_err;           /* what it answers */
    uint8_t deleted_ids[256][12];
    void (*delete_done)(void *arg, int err);
    void *delete_arg;
    struct loop_post delete_post;
};

/* replica_count drives; the clock stands at a fixed time and is moved by hand (mono and wall together). */
void meta_fixture_init(struct meta_fixture *f, unsigned replica_count);
void meta_fixture_fini(struct meta_fixture *f);
int meta_fixture_open(struct meta_fixture *f); /* with f->conf; f->why says why not */
void meta_fixture_close(struct meta_fixture *f);
void meta_fixture_reopen(struct meta_fixture *f);
/* Turns the loop until done(ctx) holds. */
void meta_fixture_until(struct meta_fixture *f, bool (*done)(void *ctx), void *ctx);
void meta_fixture_advance_ms(struct meta_fixture *f, uint64_t ms); /* moves the clocks and runs what is due */

/* Submits and waits. The reply lives in the arena (NULL: the reply is dropped). Returns the status. */
int meta_call(struct meta_fixture *f, enum rpc_type type, const void *req, struct arena *a, void *ret_rep);

/* For requests of the test's own: cb that sets the bool at rpc.user, and the question for meta_fixture_until. */
void fix_mark_done(struct rpc *r);
bool fix_is_done(void *flag);

/* Words for the usual requests; bytes and names as C strings. */
int fix_bucket(struct meta_fixture *f, const char *name);
int fix_put(struct meta_fixture *f, const char *bucket, const char *key, const char *text);
int fix_put_extent(struct meta_fixture *f, const char *bucket, const char *key, uint64_t size, uint32_t write_number);
int fix_delete(struct meta_fixture *f, const char *bucket, const char *key);
/* The inline text of an object in buf ("" when it has none), or the outcome. */
int fix_get(struct meta_fixture *f, const char *bucket, const char *key, char *buf, size_t cap);
void fix_write_id(uint8_t id[12], uint32_t write_number);
/* Keys of a listing as one line: "a b/ c ..." with "..." when truncated. */
int fix_list(struct meta_fixture *f, const char *bucket, const char *prefix, const char *delimiter, const char *after,
             unsigned limit, char *buf, size_t cap);
ProtobufCBinaryData fix_bin(const char *text);
