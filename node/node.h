/* node - the storage node: its stores (drives), its metadata replicas, its gc and compaction, and the service that
 * answers rpc. It never includes client/: they meet in rpc.
 *
 * A drive is a directory: DIR/drive.json-like identity file `lectern.drive` (format version, cluster id, drive id,
 * index), DIR/segments/, DIR/index/ (RocksDB chunk index), and on metadata drives DIR/meta/ (log segments, RocksDB).
 * Thread: the loop. Memory: node_open returns owned; node_close frees.
 * Errors: one sentence in why. A drive that cannot be opened is reported and left out while enough others remain.
 * Durable: FRAG_WRITE answers 0 only after fdatasync; a metadata change only when it is durable on every in-sync
 * replica. */
#pragma once
#include "common/disk.h"
#include "common/rpc.h"
#include "common/work.h"

#define NODE_DRIVES_MAX    64
#define NODE_META_REPLICAS 3

struct node;
struct node_conf {
    const char *const *dirs;
    unsigned dir_count;
    unsigned k, m; /* 0, 0: by the number of drives (node_default_code) */
    uint64_t segment_bytes;
    unsigned compact_percent;
    uint64_t kv_cache_bytes;
    uint64_t gc_delay_ms;
    uint64_t upload_expire_ms;
    bool accept_missing; /* start with fewer metadata replicas than a majority (operator's word) */
};
/* 1 -> 1+0; 2 -> 1+1; 3 -> 2+1; 4-5 -> 2+2; 6+ -> 4+2; 12+ -> 8+3. */
void node_default_code(unsigned drives, unsigned *ret_k, unsigned *ret_m);
/* Fragments that must be durable before a write is acknowledged: k when m = 0, all of a mirror pair or of k+1, else k+1
 * up to: 1+1 2, 2+1 3, 2+2 3, 4+2 5, 8+3 10. */
unsigned node_write_quorum(unsigned k, unsigned m);

/* Blocking (before the loop runs): opens drives, recovers segments and metadata, makes the first map. */
int node_open(struct loop *loop, struct work *work, struct disk *disk, const struct node_conf *conf,
              struct node **ret_node, char *why, size_t why_cap);
struct rpc_peer *node_peer(struct node *n);
/* Ends requests under way, writes checkpoints, then closed_cb. */
void node_close(struct node *n, void (*closed_cb)(void *ctx), void *ctx);
