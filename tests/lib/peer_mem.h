/* peer_mem - a node made of memory: maps and fragments, and a script of what goes wrong.
 *
 * Answers FRAG_WRITE, FRAG_READ, FRAG_DELETE and MAP_GET as node/ does; everything else gets E_PROTOCOL. Callbacks come
 * from the loop, after a post or a delay on the loop's clock. Thread: the loop. */
#pragma once
#include "common/rpc.h"
#include "placement/ring.h"

#define PEER_STORES_MAX 32
#define PEER_MAPS_MAX   8

enum peer_mode {
    PEER_GOOD,
    PEER_FAIL,    /* every call to the store fails with store.err */
    PEER_CORRUPT, /* reads fail with E_CORRUPT, writes work */
    PEER_LIE,     /* reads answer with fewer bytes than asked */
    PEER_HANG,    /* calls wait until peer_mem_release */
};
struct peer_store {
    enum peer_mode mode;
    int err;
    uint64_t delay_ns;
    uint64_t weight; /* in the next map; 0: not in it */
    unsigned reads, writes, deletes;
};
struct peer_call;
struct peer_frag;
struct peer_mem {
    struct rpc_peer peer;
    struct loop *loop;
    unsigned k, m;
    struct peer_store stores[PEER_STORES_MAX];
    unsigned store_count;
    struct ring rings[PEER_MAPS_MAX]; /* of epochs 1, 2, ... */
    unsigned map_count;
    struct peer_frag **table; /* chained hash of fragments */
    struct peer_call *hung;
    bool fills_into;         /* reads go straight into rpc.into */
    int map_err;             /* MAP_GET fails with it */
    uint64_t fail_at, calls; /* the fail_at-th call from now fails with fail_err (0: none) */
    int fail_err;
    unsigned out;     /* calls under way */
    unsigned waiting; /* those of them that hang or are delayed */
    unsigned map_gets;
    uint64_t read_bytes, frag_count;
};

struct peer_mem *peer_mem_create(struct loop *loop, unsigned k, unsigned m, unsigned stores); /* with map 1 */
void peer_mem_destroy(struct peer_mem *p); /* nothing may be under way */
void peer_mem_new_map(struct peer_mem *p); /* the next epoch, from the weights */
void peer_mem_release(struct peer_mem *p); /* what hangs is answered now (as the store's mode then says) */
void peer_mem_forget(struct peer_mem *p, unsigned store); /* loses every fragment of a store */
/* The stored bytes of a fragment, or NULL. */
const uint8_t *peer_mem_find(struct peer_mem *p, unsigned store, const uint8_t frag_id[17], size_t *ret_len);
