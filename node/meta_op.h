/* meta_op - one request being judged: what every operation of the metadata service gets, and the steps they share.
 *
 * An operation is `int meta_<noun>_<verb>(struct meta_op *op, struct rpc *r)`: it answers 0, an rpc_outcome or an
 * error, builds the reply in r->arena and, when it writes, leaves its changes in op->view (kept only when it answers
 * 0). Reads get a view with no change in it. Thread: a work thread; nothing here touches the service. Memory: replies
 * in r->arena, all else in scratch, which is emptied after every request. */
#pragma once
#include "node/meta_schema.h"
#include "node/meta_view.h"

struct meta_op {
    struct meta_view *view;
    struct arena *scratch;
    uint64_t now_ms;
    uint64_t gc_delay_ms;
};
typedef int (*meta_op_fn)(struct meta_op *op, struct rpc *r);

/* Requests of the service itself; they queue with the others. */
enum { META_GC_DONE = 1000, META_CLAIM = 1001 };
struct meta_gc_done { /* req of META_GC_DONE: rows whose fragments are gone */
    const struct str *keys;
    size_t count;
};
struct meta_claim_req {
    const uint8_t (*ids)[META_WRITE_ID];
    size_t count;
    bool *ret_claimed;
};

/* NULL for a type that is not of metadata; ret_write tells whether it goes through the log. */
meta_op_fn meta_op_find(int type, bool *ret_write);

int meta_bucket_create(struct meta_op *op, struct rpc *r);
int meta_bucket_get(struct meta_op *op, struct rpc *r);
int meta_bucket_delete(struct meta_op *op, struct rpc *r);
int meta_bucket_list(struct meta_op *op, struct rpc *r);
int meta_object_put(struct meta_op *op, struct rpc *r);
int meta_object_get(struct meta_op *op, struct rpc *r);
int meta_object_delete(struct meta_op *op, struct rpc *r);
int meta_object_list(struct meta_op *op, struct rpc *r);
int meta_upload_create(struct meta_op *op, struct rpc *r);
int meta_upload_get(struct meta_op *op, struct rpc *r);
int meta_upload_abort(struct meta_op *op, struct rpc *r);
int meta_upload_list(struct meta_op *op, struct rpc *r);
int meta_upload_complete(struct meta_op *op, struct rpc *r);
int meta_part_put(struct meta_op *op, struct rpc *r);
int meta_part_list(struct meta_op *op, struct rpc *r);
int meta_rows_txn(struct meta_op *op, struct rpc *r);
int meta_rows_get(struct meta_op *op, struct rpc *r);
int meta_rows_range(struct meta_op *op, struct rpc *r);
int meta_gc_done(struct meta_op *op, struct rpc *r);
int meta_gc_claim(struct meta_op *op, struct rpc *r);

/* ---- shared steps ---- */

/* Reads the row and unpacks it into a: 0, KV_NOT_FOUND, errors. */
int meta_load(struct meta_op *op, struct str key, const ProtobufCMessageDescriptor *type, struct arena *a,
              void *ret_msg);
int meta_store(struct meta_op *op, struct str key, const ProtobufCMessage *msg);
/* 0, RPC_NO_BUCKET, -EINVAL for a name that cannot be one. */
int meta_bucket_check(struct meta_op *op, const char *bucket);
/* The object of a key with its parts and extents, in a: 0, KV_NOT_FOUND, errors. */
int meta_object_load(struct meta_op *op, struct str bucket, struct str key, struct arena *a, Pb__Object **ret_object);
/* existing: NULL when the key has none. 0, RPC_NOT_FOUND, RPC_CONDITION. */
int meta_condition(const Pb__Condition *c, const Pb__Object *existing);
/* Puts o in the place of old (NULL: the key is new): its row, its manifest, gc of the old data. o is packed as it is.
 */
int meta_object_replace(struct meta_op *op, struct str bucket, struct str key, Pb__Object *o, const Pb__Object *old);

/* Commits write ids and records what their extents lack: 0, RPC_CLAIMED. */
int meta_extents_commit(struct meta_op *op, struct str bucket, struct str key, Pb__Extent *const *extents, size_t n,
                        const ProtobufCBinaryData *more_ids, size_t more_count);
/* Leaves the extents to gc, due after its delay; long lists become several rows. */
int meta_extents_drop(struct meta_op *op, Pb__Extent *const *extents, size_t n);
/* The rest of an object that goes: its inline row at once, extents or manifest to gc. */
int meta_object_drop(struct meta_op *op, const Pb__Object *o);
/* A row (tombstone) that goes by itself at due_ms. */
int meta_row_expire(struct meta_op *op, struct str key, uint64_t due_ms);

/* Parts of an upload go to gc, except those marked in keep (indexed by number; may be NULL); rows go all. */
int meta_parts_drop(struct meta_op *op, struct str upload_id, const bool *keep);
/* Aborts uploads of the bucket, with max_parts parts at most: 0, or RPC_NOT_EMPTY when there are more. */
int meta_bucket_uploads_drop(struct meta_op *op, struct str bucket, size_t max_parts);
