/* client_rig - a client over a peer_mem, with simple blocking put and get for tests. The clock is set by hand; the rig
 * moves it only when a test asks. */
#pragma once
#include "client/client.h"
#include "tests/lib/peer_mem.h"

struct rig {
    struct clock_manual clock;
    struct loop *loop;
    struct work *work;
    struct peer_mem *peer;
    struct client *client;
    struct rpc_peer *via; /* what rig_client opens on; NULL: peer itself */
    int ready;            /* 1: not yet */
};
struct rig_conf {
    unsigned k, m, stores;
    uint64_t write_pool_bytes, read_pool_bytes; /* 0: plenty */
};
void rig_open(struct rig *r, const struct rig_conf *conf);   /* a client that is ready */
void rig_client(struct rig *r, const struct rig_conf *conf); /* another one (the caller has closed the one before) */
void rig_close(struct rig *r);                               /* waits until everything has ended */
/* Turns the loop until *flag is true; fails the test after 20 s. */
void rig_until(struct rig *r, const bool *flag);
void rig_turns(struct rig *r, unsigned n);    /* lets things go on for a while */
void rig_advance(struct rig *r, uint64_t ns); /* moves the clock, then turns */
void rig_settle(struct rig *r); /* until all that is left under way hangs or waits for the clock, and work is done */
void rig_quiet(struct rig *r);  /* until no call is under way and work is done */

/* Bytes that differ from place to place; the same for the same seed. */
void rig_fill(uint8_t *p, size_t n, uint64_t seed);

/* An object that was written. */
struct rig_put {
    struct rig *rig;
    struct client_write *w;
    Pb__Object object;
    Pb__Extent *extents[1];
    struct str inline_data;
    int err;
    bool done, closed;
    uint64_t tapped, tap_calls;
    uint64_t tap_hash; /* order-dependent */
    /* private */
    const uint8_t *p;
    size_t left;
    size_t step;
};
struct rig_put_conf {
    const uint8_t *p;
    size_t n;
    uint64_t expected; /* 0: n */
    bool may_inline;
    size_t step; /* bytes of one advance; 0: as many as fit */
};
void rig_put_start(struct rig *r, struct rig_put *put, const struct rig_put_conf *conf);
int rig_put(struct rig *r, struct rig_put *put, const uint8_t *p, size_t n); /* start and wait; returns put->err */
void rig_put_free(struct rig *r, struct rig_put *put, bool committed);
uint64_t rig_hash(const uint8_t *p, size_t n); /* what tap_hash must be */

/* Reads a range to its end and compares; returns the error of the read. *ret_n: bytes that came. */
int rig_get(struct rig *r, const struct rig_put *put, uint64_t offset, uint64_t length, const uint8_t *want,
            uint64_t *ret_n);
