/* rpc - a call from client to node: typed request, typed reply, payload beside them; the same call in one process or
 * over a socket.
 *
 * Thread: the loop of the client's. Memory: the caller owns the rpc, the request message and the arena until cb; the
 * reply message lives in that arena; reply payload is a slice the callee hands over (takes: the caller unrefs it).
 * The callee may use the arena from a work thread until cb.
 * Errors: rpc.status as everywhere; outcomes (> 0) are listed below by type. */
#pragma once
#include "common/arena.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/loop.h"
#include "common/wire.pb-c.h"

enum rpc_type {
#define RPC(id, number, message) RPC_##id = number,
#include "common/rpc.def"
#undef RPC
};

/* Outcomes, in the order in which they are judged. */
enum rpc_outcome {
    RPC_NOT_FOUND = 1, /* the object, fragment, row or map */
    RPC_NO_BUCKET = 2,
    RPC_NO_UPLOAD = 3,
    RPC_EXISTS = 4,       /* BUCKET_CREATE (reply.existing tells whose) */
    RPC_NOT_EMPTY = 5,    /* BUCKET_DELETE */
    RPC_CONDITION = 6,    /* if_match / if_none_match / compare failed: 412 */
    RPC_INVALID_PART = 7, /* UPLOAD_COMPLETE: reply.bad_part; unknown number or ETag or checksum differs */
    RPC_INVALID_PART_ORDER = 8,
    RPC_PART_TOO_SMALL = 9, /* reply.bad_part */
    RPC_CLAIMED = 10,       /* a write id was claimed by gc: write again */
    RPC_CHECKSUM = 11,      /* UPLOAD_COMPLETE: the object checksum given by the client differs */
};

#define RPC_PAYLOAD_MAX 4
struct rpc {
    enum rpc_type type;
    const void *req; /* Pb__XReq* of the type; borrows until cb */
    void *rep;       /* Pb__XRep* in the arena; set when status >= 0 (may be NULL for empty replies) */
    struct arena *arena;
    struct slice payload[RPC_PAYLOAD_MAX]; /* of the request; borrows until cb */
    unsigned payload_count;
    struct slice rep_payload; /* takes; buf NULL when none */
    struct buf *into;     /* FRAG_READ, may be NULL: a buffer of at least req.length bytes, alone in it until cb. The
                           * callee may read into it and answer with a slice of it (one more reference), or not. */
    uint64_t deadline_ns; /* mono; 0: the peer's default */
    int status;
    void (*cb)(struct rpc *r);
    void *user;       /* the caller's */
    void *callee;     /* private to the transport or node */
    struct rpc *next; /* private to the transport or node */
};

/* Whoever answers: the node in this process, or a connection to one. */
struct rpc_peer {
    void (*submit)(struct rpc_peer *p, struct rpc *r); /* cb runs exactly once, never inside submit */
};
const char *rpc_type_name(enum rpc_type t);
