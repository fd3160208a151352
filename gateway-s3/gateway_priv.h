/* gateway_priv - what the files of the gateway share: the gateway itself. Only gateway.c, s3_*.c and media.c include
 * it.
 *
 * Thread: the loop. Memory: gateway.c owns it; everybody else borrows. A request that may still be owed a callback when
 * its exchange is over says so by gateway_enter and gateway_leave: gateway_drain waits for it. */
#pragma once
#include "gateway-s3/gateway.h"

struct gateway {
    unsigned live; /* requests */
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
