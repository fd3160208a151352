/* fetch - one range of one fragment, asked of one store: FRAG_READ with a time limit.
 *
 * The callback runs once, never inside fetch_start, unless the fetch is abandoned first; then what is under way ends by
 * itself and the buffer goes with it. A fetch that runs into its limit is abandoned by itself.
 * Thread: the loop. Memory: fetch_start shares `into` (one more reference until the store has answered).
 * Errors: 0; E_DEADLINE; E_CORRUPT (not there, not what was asked for, or its checksum failed); else as the store
 * answered. */
#pragma once
#include "client/internal.h"

struct fetch_ask {
    uint32_t store; /* MapStore.index */
    uint8_t frag_id[FRAG_ID_BYTES];
    uint64_t offset, bytes;
    uint64_t cell; /* what the whole fragment must measure */
};
struct fetch;
/* into: the first `bytes` of it are filled when cb(0) runs. NULL: out of memory. */
struct fetch *fetch_start(struct client *c, const struct fetch_ask *ask, struct buf *into,
                          void (*cb)(void *owner, struct fetch *f, int err), void *owner);
void fetch_abandon(struct fetch *f);

bool store_suspect(struct client *c, uint32_t store); /* it hung lately: better read around it */
