/* node_impl - what the files of the node share. Nobody else includes it.
 *
 * node.c opens and closes; node_map.c makes, loads and keeps the map; node_drive.c opens drives and their stores;
 * node_frag.c answers FRAG_*; node_status.c STATUS and MAP_GET; node_gc.c deletes the fragments of extents. */
#pragma once
#include "node/drive.h"
#include "node/meta.h"
#include "node/node.h"
#include "node/store.h"
#include "placement/ring.h"
#include <pthread.h>

#define NODE_INDEX_CACHE_BYTES    (8 * MIB) /* of each drive's chunk index */
#define NODE_INDEX_MEMTABLE_BYTES (8 * MIB)
#define NODE_MAP_FILE             "lectern.map"
#define NODE_MAP_BYTES_MAX        (4 * MIB)
#define NODE_WHY                  256
#define NODE_GC_LEFT_MAX          ((size_t)65536) /* ids that a drive could not delete */

enum node_drive_state { NODE_DRIVE_MISSING, NODE_DRIVE_FAILED, NODE_DRIVE_OPEN };

struct node_drive { /* one place of the map */
    struct node *node;
    enum node_drive_state state;
    struct drive drive; /* when not missing */
    struct kv *kv;
    struct store *store; /* when open */
    char label[12];
    char why[NODE_WHY];
    pthread_t thread;
    bool threaded;
    uint8_t (*gc_left)[FRAG_ID_BYTES]; /* node_gc.c's: to be deleted when the drive can */
    size_t gc_left_count, gc_left_cap;
};

struct node_gc;
struct node {
    struct rpc_peer peer;
    struct loop *loop;
    struct work *work;
    struct disk *disk;
    struct node_conf conf; /* dirs is not kept */
    uint8_t cluster_id[DRIVE_ID_BYTES];
    Pb__Map *map; /* owned; stores[i]->index == i */
    struct ring ring;
    struct node_drive *drives; /* map->n_stores of them */
    struct meta *meta;
    uint64_t opened_ns;
    struct rpc *done_first, **done_last; /* answered at once, but never inside submit */
    struct loop_post done_post;
    bool done_posted;
    size_t rpcs, gcs; /* of the stores: under way */
    size_t stores_open;
    bool closing;
    void (*closed_cb)(void *ctx);
    void *closed_ctx;
};

/* node.c */
void node_answer(struct node *n, struct rpc *r, int status); /* from the loop, not inside the rpc's cb */
void node_idle(struct node *n);                              /* one of rpcs or gcs ended */

/* node_drive.c */
/* Takes what is in found[0..count), in the order of the command line; fills drives by the map. */
int node_drives_open(struct node *n, char *why, size_t why_cap);
void node_drives_free(struct node *n);

/* node_map.c */
int node_map_make(struct node *n, const struct drive *drives, unsigned count, char *why, size_t why_cap);
int node_map_load(const struct drive *d, Pb__Map **ret_map); /* -ENOENT, E_CORRUPT, E_VERSION, -errno */
int node_map_save(struct node *n, const struct drive *d);
int node_map_use(struct node *n, char *why, size_t why_cap); /* checks n->map and builds n->ring */

/* node_frag.c */
void node_frag_submit(struct node *n, struct rpc *r);

/* node_status.c */
int node_status_answer(struct node *n, struct rpc *r);
int node_map_answer(struct node *n, struct rpc *r);

/* node_gc.c */
void node_gc_delete(void *node, Pb__Extent *const *extents, size_t count, void (*done)(void *arg, int err), void *arg);
