/* sweep - takes back the fragments of a write that was never committed: FRAG_DELETE to every store that may have one.
 * Only a kindness: what it misses (a store that is down) is an orphan that the node's gc finds. */
#pragma once
#include "client/internal.h"

struct sweep_handoff {
    uint32_t stripe, fragment;
    uint16_t store; /* place in the map */
};
/* stripes: how many may have been sent. Takes handoffs (malloc'd) whatever happens; shares map. */
void sweep_start(struct client *c, struct map *map, const uint8_t write_id[WRITE_ID_BYTES], uint32_t stripes,
                 struct sweep_handoff *handoffs, size_t handoff_count);
