/* gateway_priv - what the files of the gateway share: the gateway itself. Only gateway.c, s3_*.c and media.c include it.
 *
 * Thread: the loop. Memory: gateway.c owns it; everybody else borrows. */
#pragma once
#include "gateway-s3/gateway.h"

struct gateway {
    struct loop *loop;
    struct work *work;
    struct client *client;
    struct control *control;
    struct watch *watch; /* the player page */
    struct gateway_conf conf; /* strings owned by the gateway */
};
