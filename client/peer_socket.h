/* peer_socket - an rpc peer over a Unix socket: for programs beside the node's process.
 *
 * It connects at the first call and again after it lost the connection (not more often than PEER_SOCKET_PAUSE_NS).
 * Calls that wait for a connection fail with E_UNAVAILABLE when there is none; calls that were sent and lost theirs
 * fail with -ECONNRESET: their outcome is not known. Every call has a deadline (its own, or PEER_SOCKET_CALL_NS).
 * Thread: the loop. Memory: peer_socket_create returns owned. Limits: PEER_SOCKET_CALLS under way, then E_LIMIT.
 * Errors: those of the node; E_UNAVAILABLE, -ECONNRESET, E_DEADLINE, E_PROTOCOL, E_VERSION, -EMSGSIZE. */
#pragma once
#include "common/rpc.h"

#define PEER_SOCKET_CALLS    4096
#define PEER_SOCKET_CALL_NS  (30 * SEC_NS)
#define PEER_SOCKET_PAUSE_NS (200 * MS_NS)

struct peer_socket;
int peer_socket_create(struct loop *l, const char *path, struct peer_socket **ret_peer);
struct rpc_peer *peer_socket_peer(struct peer_socket *p);
/* Ends what is under way with -ECANCELED; closed_cb (from the loop) when nothing is left of it. */
void peer_socket_close(struct peer_socket *p, void (*closed_cb)(void *ctx), void *ctx);
