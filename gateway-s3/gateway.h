/* gateway - one HTTP listener's handler: the S3 API and the signed media path /t/<token>/..., /healthz, /readyz.
 *
 * Thread: the loop. Memory: gateway_open returns owned. It stands on client (objects) and control (keys, entitlement).
 */
#pragma once
#include "control/control.h"

struct gateway;
struct gateway_conf {
    const char *domain; /* virtual-host style: BUCKET.domain */
    const char *region;
    const char *assets_dir; /* where the player page finds hls.min.js; NULL or "": none (watch.h) */
};
int gateway_open(struct loop *loop, struct work *work, struct client *client, struct control *control,
                 const struct gateway_conf *conf, struct gateway **ret_gateway);
struct http_handler gateway_handler(struct gateway *g);
/* Nothing of the gateway's is under way when cb runs (never inside the call): a call whose exchange has ended may still
 * hold a write. After the listener is closed and before gateway_close; the client must outlive it. */
void gateway_drain(struct gateway *g, void (*cb)(void *ctx), void *ctx);
void gateway_close(struct gateway *g); /* drained */
