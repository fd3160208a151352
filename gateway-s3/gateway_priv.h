/* gateway_priv - what the files of the gateway share: the gateway itself. Only gateway.c, s3_*.c and media.c include
 * it.
 *
 * Thread: the loop. Memory: gateway.c owns it; everybody else borrows. A request that may still be owed a callback when
 * its exchange is over says so by gateway_enter and gateway_leave: gateway_drain waits for it. */
#pragma once
#include "gateway-s3/gateway.h"

/* Bodies that are read whole before they are understood, all together; past it SlowDown. The buffers may hold as much
 * again while they grow. */
#define GATEWAY_MEMORY_MAX (128 * MIB)

struct gateway {
    unsigned live;         /* requests */
    uint64_t memory_bytes; /* bodies held whole (XML), of all requests: at most GATEWAY_MEMORY_MAX */
    void (*drained)(void *ctx);
    void *drained_ctx;
    struct loop_post drained_post;
    struct loop *loop;
    struct work *work;
    struct client *client;
    struct control *control;
    struct watch *watch;      /* the player page */
    struct gateway_conf conf; /* strings owned by the gateway */
};
void gateway_enter(struct gateway *g);
void gateway_leave(struct gateway *g);
