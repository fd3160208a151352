/* meta_rows - plain ordered rows of other floors (the control plane's tables, coordination), with compare-and-swap. A
 * row's revision is a number that is never given out twice, so a compare can never be fooled by a row that came back.
 */
#include "node/meta_op.h"

#define REVISION_BYTES 8

static int row_unpack(struct arena *a, struct str key, struct str bytes, Pb__Row **ret)
{
    Pb__Row *row = arena_alloc(a, sizeof *row);
    if (bytes.len < REVISION_BYTES)
        return E_CORRUPT;
    if (!row)
        return -ENOMEM;
    pb__row__init(row);
    row->revision = get_be64((const uint8_t *)bytes.p);
    row->key = meta_bin_of(arena_str(a, key));
    row->value = meta_bin_of(arena_str(a, (struct str){bytes.p + REVISION_BYTES, bytes.len - REVISION_BYTES}));
    if (!row->key.data || !row->value.data)
        return -ENOMEM;
    *ret = row;
    return 0;
}

static bool table_ok(const char *table)
{
    return meta_name_ok(str_c(table), META_TABLE_MAX);
}

static int revision_of(struct meta_op *op, struct str table, ProtobufCBinaryData key, uint64_t *ret_revision)
{
    struct meta_key k;
    struct str value;
    if (key.len > META_TABLE_KEY_MAX)
        return E_LIMIT;
    int err = meta_view_get(op->view, meta_key_row(&k, table, meta_bin(key)), op->scratch, &value);
    *ret_revision = 0;
    if (err)
        return err == KV_NOT_FOUND ? 0 : err;
    if (value.len < REVISION_BYTES)
        return E_CORRUPT;
    *ret_revision = get_be64((const uint8_t *)value.p);
    return 0;
}

static int row_put(struct meta_op *op, struct str table, const Pb__Row *row, uint64_t revision)
{
    struct meta_key k;
    if (row->key.len > META_TABLE_KEY_MAX || row->value.len > META_ROW_MAX)
        return E_LIMIT;
    uint8_t *bytes = arena_alloc(op->scratch, REVISION_BYTES + row->value.len);
    if (!bytes)
        return -ENOMEM;
    put_be64(bytes, revision);
    if (row->value.len)
        memcpy(bytes + REVISION_BYTES, row->value.data, row->value.len);
    meta_view_put(op->view, meta_key_row(&k, table, meta_bin(row->key)),
                  (struct str){(const char *)bytes, REVISION_BYTES + row->value.len});
    return op->view->err;
}

int meta_rows_txn(struct meta_op *op, struct rpc *r)
{
    const Pb__RowsTxnReq *req = r->req;
    Pb__RowsTxnRep *rep = arena_alloc(r->arena, sizeof *rep);
    struct str table = str_c(req->table);
    struct meta_key k;
    if (!rep)
        return -ENOMEM;
    pb__rows_txn_rep__init(rep);
    r->rep = rep;
    if (!table_ok(req->table))
        return -EINVAL;
    if (req->n_compares + req->n_puts + req->n_deletes > META_TXN_MAX)
        return E_LIMIT;
    for (size_t i = 0; i < req->n_compares; i++) {
        uint64_t revision;
        int err = revision_of(op, table, req->compares[i]->key, &revision);
        if (err)
            return err;
        if (revision != req->compares[i]->revision)
            return RPC_CONDITION;
    }
    rep->revision = ++op->view->counters.revision;
    for (size_t i = 0; i < req->n_puts; i++) {
        int err = row_put(op, table, req->puts[i], rep->revision);
        if (err)
            return err;
    }
    for (size_t i = 0; i < req->n_deletes; i++) {
        if (req->deletes[i].len > META_TABLE_KEY_MAX)
            return E_LIMIT;
        meta_view_del(op->view, meta_key_row(&k, table, meta_bin(req->deletes[i])));
    }
    return 0;
}

int meta_rows_get(struct meta_op *op, struct rpc *r)
{
    const Pb__RowsGetReq *req = r->req;
    Pb__RowsGetRep *rep = arena_alloc(r->arena, sizeof *rep);
    struct meta_key k;
    struct str value;
    if (!rep)
        return -ENOMEM;
    pb__rows_get_rep__init(rep);
    r->rep = rep;
    if (!table_ok(req->table))
        return -EINVAL;
    if (req->n_keys > META_TXN_MAX)
        return E_LIMIT;
    rep->rows = arena_alloc(r->arena, (req->n_keys + 1) * sizeof *rep->rows);
    if (!rep->rows)
        return -ENOMEM;
    for (size_t i = 0; i < req->n_keys; i++) {
        struct str key = meta_bin(req->keys[i]);
        if (key.len > META_TABLE_KEY_MAX)
            return E_LIMIT;
        int err = meta_view_get(op->view, meta_key_row(&k, str_c(req->table), key), op->scratch, &value);
        if (err == KV_NOT_FOUND)
            continue;
        err = err ? err : row_unpack(r->arena, key, value, &rep->rows[rep->n_rows]);
        if (err)
            return err;
        rep->n_rows++;
    }
    return 0;
}

/* from and to as keys of rows; an empty `to` is the end of the table. */
static void range_bounds(const Pb__RowsRangeReq *req, struct meta_key *from, struct meta_key *to)
{
    struct str table = str_c(req->table);
    meta_key_row(from, table, meta_bin(req->from));
    if (req->to.len > 0) {
        meta_key_row(to, table, meta_bin(req->to));
    } else {
        meta_key_prefix(to, 'x', table);
        meta_key_successor(to);
    }
}

static void range_begin(struct kv_iter *it, bool reverse, struct str from, struct str to)
{
    if (!reverse) {
        it->ops->seek(it, from);
        return;
    }
    it->ops->seek_prev(it, to);
    if (it->ops->valid(it) && str_eq(it->ops->key(it), to))
        it->ops->prev(it); /* to is exclusive */
}

int meta_rows_range(struct meta_op *op, struct rpc *r)
{
    const Pb__RowsRangeReq *req = r->req;
    Pb__RowsRangeRep *rep = arena_alloc(r->arena, sizeof *rep);
    size_t limit = MIN_OF(req->limit ? req->limit : META_LIST_MAX, META_LIST_MAX);
    struct meta_key from, to;
    if (!rep)
        return -ENOMEM;
    pb__rows_range_rep__init(rep);
    r->rep = rep;
    if (!table_ok(req->table))
        return -EINVAL;
    if (req->from.len > META_TABLE_KEY_MAX || req->to.len > META_TABLE_KEY_MAX)
        return E_LIMIT;
    rep->rows = arena_alloc(r->arena, limit * sizeof *rep->rows);
    struct kv_iter *it = rep->rows ? op->view->base->ops->iter(op->view->base) : NULL;
    if (!it)
        return -ENOMEM;
    range_bounds(req, &from, &to);
    size_t skip = 3 + strlen(req->table); /* "x/", the table, NUL */
    int err = 0;
    range_begin(it, req->reverse, meta_key_str(&from), meta_key_str(&to));
    for (; !err && it->ops->valid(it); req->reverse ? it->ops->prev(it) : it->ops->next(it)) {
        struct str key = it->ops->key(it);
        if (str_cmp(key, meta_key_str(&from)) < 0 || str_cmp(key, meta_key_str(&to)) >= 0)
            break;
        if (rep->n_rows == limit) {
            rep->truncated = true;
            break;
        }
        struct str name = {key.p + skip, key.len - skip};
        err = row_unpack(r->arena, name, it->ops->value(it), &rep->rows[rep->n_rows]);
        rep->n_rows += err ? 0 : 1;
    }
    int status = it->ops->status(it);
    it->ops->close(it);
    return err ? err : status;
}
