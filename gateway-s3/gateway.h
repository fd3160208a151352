/* gateway - one HTTP listener's handler: the S3 API and the signed media path /t/<token>/..., /healthz, /readyz.
 *
 * Thread: the loop. Memory: gateway_open returns owned. It stands on client (objects) and control (keys, entitlement). */
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
void gateway_close(struct gateway *g);
