/* serve_socket - lets programs beside this process call an rpc peer (the node) over a Unix socket, DIR/lectern.sock
 * with mode 0600: whoever may connect is this very user, and may do all that rpc can.
 *
 * Thread: the loop. Memory: node_socket_open returns owned.
 * Limits: NODE_SOCKET_*. A connection that has too much under way is not read until some of it has been answered.
 * Errors: one sentence in why. Bytes that are no frame end their connection; a type that this version does not know is
 * answered with E_VERSION, a message that is none with E_PROTOCOL. */
#pragma once
#include "common/rpc.h"

#define NODE_SOCKET_NAME        "lectern.sock"
#define NODE_SOCKET_CONNS       64
#define NODE_SOCKET_CALLS       256        /* under way on one connection */
#define NODE_SOCKET_BYTES       (64 * MIB) /* messages and payloads of those */
#define NODE_SOCKET_ARENA_BYTES (64 * MIB) /* what one request and its reply may unpack to */

struct node_socket;
int node_socket_open(struct loop *l, struct rpc_peer *peer, const char *path, struct node_socket **ret_socket,
                     char *why, size_t why_cap);
/* No new calls; those under way still end (the peer must live until then), then closed_cb from the loop. */
void node_socket_close(struct node_socket *s, void (*closed_cb)(void *ctx), void *ctx);
