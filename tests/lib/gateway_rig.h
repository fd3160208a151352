/* gateway_rig - the whole server in one process for tests of the S3 gateway: a real node on a folder, client, control,
 * gateway and listener on one loop with a clock set by hand; every call from client to node passes a hook that can fail
 * it, hold it, or perform it and lie about its outcome. Requests are signed here, by a signer of its own.
 *
 * Everything aborts the test when it fails. */
#pragma once
#include "gateway-s3/gateway.h"
#include "node/node.h"
#include "tests/lib/http_peer.h"

struct gateway_rig_hook {
    enum rpc_type type; /* 0: none */
    unsigned skip;      /* calls of that type that pass first */
    enum { HOOK_FAIL, HOOK_LIE, HOOK_HOLD } how;
    int status; /* FAIL and LIE */
};
struct gateway_rig_call;
struct gateway_rig {
    struct clock_manual clock;
    struct loop *loop;
    struct work *work;
    struct disk *disk;
    struct node *node;
    struct client *client;
    struct control *control;
    struct gateway *gateway;
    struct http_server *server;
    struct rpc_peer peer; /* the hook */
    struct gateway_rig_hook hook;
    struct gateway_rig_call *held;
    unsigned held_count, out; /* calls held; calls under way */
    unsigned seen[64];        /* calls, by type */
    char dir[64];
    uint8_t master_key[32];
    bool flag;
    int status;
};
void gateway_rig_open(struct gateway_rig *r);
void gateway_rig_close(struct gateway_rig *r); /* what is held is released first */
void gateway_rig_release(struct gateway_rig *r,
                         int status); /* 0: what is held goes to the node; else it fails with it */
void gateway_rig_advance(struct gateway_rig *r, uint64_t ms);

/* Sends a signed request. headers: "name: value" lines in lower case, each ended by \n, or "". body NULL: none; the
 * declared Content-Length is length. Only the first sent bytes of the body are sent. */
void gateway_rig_send(struct gateway_rig *r, struct peer *p, const char *method, const char *target,
                      const char *headers, const void *body, size_t length, size_t sent);
/* Sends, waits for the whole answer; returns its status. The text stays in p->got until peer_close. */
int gateway_rig_ask(struct gateway_rig *r, struct peer *p, const char *method, const char *target, const char *headers,
                    const void *body, size_t length);
/* The same on a connection of its own, closed again. ret_code: the S3 error's code, "" when there was none. */
int gateway_rig_call(struct gateway_rig *r, const char *method, const char *target, const char *headers,
                     const void *body, size_t length, char ret_code[64]);
