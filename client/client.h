/* client - the cluster as its users see it (gateway, control, tools): asynchronous, on one loop.
 *
 * Objects are written as a stream into stripes, coded, sent to the stores that the map says, and only then committed
 * by one metadata change. Objects are read by range; every byte is verified by its store before it is handed over, and
 * a missing or corrupt cell is decoded from the others.
 * Thread: the loop. Memory: request structs are embedded by the caller until their callback (style.md, async).
 * Limits: write and read pools in bytes; CLIENT_INLINE_MAX. Errors: err.h, and rpc outcomes where said. */
#pragma once
#include "common/rpc.h"
#include "common/work.h"

#define CLIENT_STRIPE_BYTES (4 * MIB)
#define CLIENT_INLINE_MAX   (64 * KIB)
#define CLIENT_READ_UNIT    (128 * KIB) /* most that one client_read_next hands over; a multiple of 64 KiB */

struct client;
struct client_conf {
    uint64_t write_pool_bytes, read_pool_bytes;
};
/* Fetches the map from the peer; ready_cb(0) when calls may begin. */
int client_open(struct loop *loop, struct work *work, struct rpc_peer *peer, const struct client_conf *conf,
                struct client **ret_client, void (*ready_cb)(void *ctx, int err), void *ctx);
/* No request may be under way and every slice must be back. Writes and reads that were freed with calls of theirs under
 * way ("ghosts") end by themselves; from now on they send nothing new. */
void client_close(struct client *c);
/* Before client_close, once everything was freed: drained_cb (from the loop) when no ghost is left either, so that the
 * peer may go. Bounded by the deadlines of their calls (30 s at worst; the peer's own end comes first). */
void client_drain(struct client *c, void (*drained_cb)(void *ctx), void *ctx);

/* Any metadata call: submits to the partition's primary; r as rpc.h says. */
void client_call(struct client *c, struct rpc *r);

/* ---- writing a stream ---- */
struct client_write;
struct client_write_result {
    bool inlined;
    struct slice inline_data; /* inlined: the bytes, a reference owned by the write until client_write_free; len 0 and
                               * no buf for an empty object */
    Pb__Extent *extent;       /* else: lives in the write until client_write_free; NULL when size is 0 */
    uint64_t size;
};
struct client_write_conf {
    uint64_t expected_bytes; /* UINT64_MAX: unknown; sizes the first buffer (more may come, at the price of a copy) */
    bool may_inline;
    /* Sees every byte once, in order, on a work thread, never two calls at once (ETag, checksums). May be NULL. */
    void (*tap)(void *ctx, const uint8_t *p, size_t n);
    void *ctx;
    /* Once, on the loop, never inside client_write_free but some time after it: no tap runs any more, so that what ctx
     * points at may go. May be NULL. */
    void (*closed)(void *ctx);
};
int client_write_open(struct client *c, const struct client_write_conf *conf, struct client_write **ret_w);
/* Space to put bytes in: up to *ret_len at *ret_p. 0 bytes: no buffer now; on_space runs once when there may be some,
 * or when the write failed (then client_write_status says why). */
void client_write_space(struct client_write *w, uint8_t **ret_p, size_t *ret_len, void (*on_space)(void *ctx),
                        void *ctx);
void client_write_advance(struct client_write *w, size_t n); /* n of them are filled */
int client_write_status(const struct client_write *w);       /* 0 or the first failure */
/* No more bytes: every tap has run and W fragments of every stripe are durable when cb(0) runs. E_QUORUM: too few
 * drives. */
void client_write_finish(struct client_write *w, void (*cb)(void *ctx, int err, const struct client_write_result *res),
                         void *ctx);
/* Any time; pending work ends by itself first. Fragments of a write that was never committed become orphans, which gc
 * collects; client_write_free tells the stores at once when committed is false. Pass true also when the outcome of the
 * commit is not known (E_DEADLINE): then only gc may decide. */
void client_write_free(struct client_write *w, bool committed);

/* ---- reading a range ---- */
struct client_read;
/* obj and inline_data are borrowed until client_read_free. offset + length <= obj->size. inline objects need
 * inline_data. */
int client_read_open(struct client *c, const Pb__Object *obj, struct str inline_data, uint64_t offset, uint64_t length,
                     struct client_read **ret_r);
/* The next verified bytes, at most CLIENT_READ_UNIT. cb: err 0 and a slice whose reference is handed over (takes), with
 * slice.len 0 at the end. One at a time. Waits while the read pool is used up. */
void client_read_next(struct client_read *r, void (*cb)(void *ctx, int err, struct slice s), void *ctx);
void client_read_free(struct client_read *r); /* any time: a pending cb never runs after it */
