/* map - the cluster's maps as the client needs them: the newest, and those older ones that extents were placed by.
 *
 * Thread: the loop. Memory: a map is reference-counted; map_wait is the caller's until its callback or map_cancel.
 * Errors: those of MAP_GET; E_UNAVAILABLE where the node does not know the epoch; E_VERSION, E_CORRUPT for a map that
 * this client cannot use. */
#pragma once
#include "common/rpc.h"
#include "placement/ring.h"
#include "replication/codec.h"

struct client;
struct map {
    unsigned refs;
    uint64_t epoch, used; /* used: tick of the last look-up */
    unsigned k, m;
    struct ring ring;
    struct codec *codec;
    uint32_t *index; /* MapStore.index of each place in the map: what rpcs call a store */
    struct map *next;
};

struct map_wait {
    void (*cb)(struct map_wait *w, int err, struct map *map); /* shares map */
    struct map_wait *next;                                    /* private */
};

struct map_fetch;
struct map_cache {
    struct map *first; /* every kept map holds one reference */
    struct map *newest;
    unsigned count;
    uint64_t tick;
    struct map_fetch *fetches;
};

/* The map of an epoch (0: the newest known) when it is here; NULL: map_get fetches it. Borrowed. */
struct map *map_find(struct client *c, uint64_t epoch);
/* epoch 0 asks the node for its newest. The callback never runs inside the call. */
int map_get(struct client *c, uint64_t epoch, struct map_wait *w);
void map_cancel(struct client *c, struct map_wait *w); /* nothing happens when w does not wait */
void map_refresh(struct client *c); /* asks for the newest in the background, unless already asking */

struct map *map_ref(struct map *m);
void map_unref(struct map *m);
void map_cache_fini(struct map_cache *cache); /* no fetch is under way */
