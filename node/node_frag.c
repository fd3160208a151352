/* node_frag - FRAG_WRITE, FRAG_READ and FRAG_DELETE: from the message to the store's request and back. */
#include "common/metrics.h"
#include "node/node_impl.h"
#include "replication/stripe.h"
#include <stdlib.h>

struct frag_op {
    struct node *node;
    struct rpc *rpc;
    union {
        struct store_write write;
        struct store_read read;
        struct store_delete delete;
    };
    uint8_t ids[][FRAG_ID_BYTES];
};

static void op_end(struct frag_op *op, int status)
{
    struct node *n = op->node;
    struct rpc *r = op->rpc;
    free(op);
    r->status = status;
    r->cb(r);
    n->rpcs--;
    node_idle(n);
}

/* ret_store: the open store of that number, or an error. */
static int store_of(struct node *n, uint32_t index, struct store **ret_store)
{
    if (index >= n->map->n_stores)
        return -EINVAL;
    if (n->closing || n->drives[index].state != NODE_DRIVE_OPEN)
        return E_UNAVAILABLE;
    *ret_store = n->drives[index].store;
    return 0;
}

static struct frag_op *op_make(struct node *n, struct rpc *r, size_t id_count)
{
    struct frag_op *op = calloc(1, sizeof *op + id_count * FRAG_ID_BYTES);
    if (op) {
        op->node = n;
        op->rpc = r;
        n->rpcs++;
    }
    return op;
}

static void written(struct store_write *w)
{
    op_end(w->user, w->status);
}

static int frag_write(struct node *n, struct rpc *r)
{
    const Pb__FragWriteReq *q = r->req;
    struct store *s;
    int err = store_of(n, q->store, &s);
    if (err)
        return err;
    if (q->frag_id.len != FRAG_ID_BYTES || q->k == 0 || q->k > UINT8_MAX || q->m > UINT8_MAX ||
        r->payload_count > ARRAY_LEN(((struct store_write *)0)->payload))
        return -EINVAL;
    Pb__FragWriteRep *rep = arena_alloc(r->arena, sizeof *rep);
    struct frag_op *op = rep ? op_make(n, r, 0) : NULL;
    if (!op)
        return -ENOMEM;
    pb__frag_write_rep__init(rep);
    r->rep = rep;
    struct store_write *w = &op->write;
    memcpy(w->frag_id, q->frag_id.data, FRAG_ID_BYTES);
    w->k = (uint8_t)q->k;
    w->m = (uint8_t)q->m;
    w->epoch = q->epoch;
    w->payload_count = r->payload_count;
    memcpy(w->payload, r->payload, r->payload_count * sizeof r->payload[0]);
    w->cb = written;
    w->user = op;
    store_write(s, w);
    return 0;
}

static void was_read(struct store_read *rd)
{
    struct frag_op *op = rd->user;
    struct rpc *r = op->rpc;
    int status = rd->status == STORE_NOT_FOUND ? RPC_NOT_FOUND : rd->status;
    if (status == 0) {
        Pb__FragReadRep *rep = r->rep;
        rep->fragment_bytes = rd->fragment_bytes;
        r->rep_payload = rd->data;
    }
    op_end(op, status);
}

static int frag_read(struct node *n, struct rpc *r)
{
    const Pb__FragReadReq *q = r->req;
    struct store *s;
    int err = store_of(n, q->store, &s);
    if (err)
        return err;
    if (q->frag_id.len != FRAG_ID_BYTES)
        return -EINVAL;
    Pb__FragReadRep *rep = arena_alloc(r->arena, sizeof *rep);
    struct frag_op *op = rep ? op_make(n, r, 0) : NULL;
    if (!op)
        return -ENOMEM;
    pb__frag_read_rep__init(rep);
    r->rep = rep;
    struct store_read *rd = &op->read;
    memcpy(rd->frag_id, q->frag_id.data, FRAG_ID_BYTES);
    rd->offset = q->offset;
    rd->length = q->length;
    rd->into = r->into;
    rd->cb = was_read;
    rd->user = op;
    store_read(s, rd);
    return 0;
}

static void was_deleted(struct store_delete *d)
{
    struct frag_op *op = d->user;
    Pb__FragDeleteRep *rep = op->rpc->rep;
    rep->deleted = (uint32_t)d->deleted;
    op_end(op, d->status);
}

static int frag_delete(struct node *n, struct rpc *r)
{
    const Pb__FragDeleteReq *q = r->req;
    struct store *s;
    int err = store_of(n, q->store, &s);
    if (err)
        return err;
    if (q->n_frag_ids > STORE_DELETE_MAX)
        return E_LIMIT;
    for (size_t i = 0; i < q->n_frag_ids; i++)
        if (q->frag_ids[i].len != FRAG_ID_BYTES)
            return -EINVAL;
    Pb__FragDeleteRep *rep = arena_alloc(r->arena, sizeof *rep);
    struct frag_op *op = rep ? op_make(n, r, q->n_frag_ids) : NULL;
    if (!op)
        return -ENOMEM;
    pb__frag_delete_rep__init(rep);
    r->rep = rep;
    for (size_t i = 0; i < q->n_frag_ids; i++)
        memcpy(op->ids[i], q->frag_ids[i].data, FRAG_ID_BYTES);
    struct store_delete *d = &op->delete;
    d->frag_ids = (const uint8_t(*)[FRAG_ID_BYTES])op->ids;
    d->count = q->n_frag_ids;
    d->cb = was_deleted;
    d->user = op;
    store_delete(s, d);
    return 0;
}

void node_frag_submit(struct node *n, struct rpc *r)
{
    int err = -EINVAL;
    if (r->deadline_ns && r->deadline_ns <= loop_now_ns(n->loop))
        err = E_DEADLINE;
    else if (r->type == RPC_FRAG_WRITE)
        err = frag_write(n, r);
    else if (r->type == RPC_FRAG_READ)
        err = frag_read(n, r);
    else if (r->type == RPC_FRAG_DELETE)
        err = frag_delete(n, r);
    if (err)
        node_answer(n, r, err);
}
