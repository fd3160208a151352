/* internal - what the files of client/ share: the client itself, and the named limits of its own.
 *
 * Thread: the loop, but for what a work request owns. */
#pragma once
#include "client/client.h"
#include "client/map.h"
#include "placement/ring.h"
#include "replication/codec.h"
#include "replication/quorum.h"
#include "replication/stripe.h"

#define CLIENT_MAPS_MAX    8  /* maps kept besides those in use */
#define CLIENT_DECODES_MAX 16 /* degraded ranges rebuilt at once: each holds up to k * CLIENT_READ_UNIT of heap */
#define CLIENT_STRIPES_MAX 2  /* stripe buffers of one write stream: one fills while one is on its way */
#define CLIENT_TAP_BYTES   (512 * KIB) /* a filling stripe is shown to the tap in such steps */
#define CLIENT_SWEEP_IDS   256         /* fragment ids in one FRAG_DELETE */

#define CLIENT_READ_NS      (10 * SEC_NS) /* a store that has not answered a read by then is read around */
#define CLIENT_SUSPECT_NS   (30 * SEC_NS) /* and for so long not asked, if it has answered nobody meanwhile */
#define CLIENT_WRITE_NS     (30 * SEC_NS) /* fragments not durable by then are lost (recorded, repaired later) */
#define CLIENT_STRAGGLER_NS (3 * SEC_NS)  /* the same for those that remain once W are durable */
#define CLIENT_CALL_NS      (30 * SEC_NS) /* MAP_GET, FRAG_DELETE */
#define CLIENT_AHEAD_NS     (10 * MS_NS)  /* a reader that wants more within this reads ahead */

/* How a store has behaved lately. */
struct client_store {
    uint64_t answered_ns;      /* last good answer to a read */
    uint64_t suspect_until_ns; /* read around it until then */
};

struct piece;
struct client {
    struct loop *loop;
    struct work *work;
    struct rpc_peer *peer;
    struct bufpool *write_pool, *read_pool;
    uint64_t read_pool_bytes;
    unsigned refs; /* the owner's, and one of each request that may outlive its handle */
    struct map_cache maps;
    unsigned decodes;                         /* degraded ranges under way */
    struct piece *decode_first, *decode_last; /* and those that wait for a turn */
    bool turning;
    struct client_store stores[RING_STORES_MAX];
    bool closed;
    struct rpc *refused, **refused_last; /* submitted after client_close by ghosts; end by refuse_post */
    struct loop_post refuse_post;
    void (*drained_cb)(void *ctx);
    void *drained_ctx;
    struct loop_post drained_post;
    bool drained_posted;
};

/* Every call of the client goes this way: once it is closed the peer may be gone, and what its ghosts still want to
 * send ends with -ECANCELED instead. */
void client_submit(struct client *c, struct rpc *r);

struct client *client_ref(struct client *c);
void client_unref(struct client *c); /* the last one frees */
