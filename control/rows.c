/* A thin coat over the row messages: it builds keys, packs values and keeps the arrays that a transaction points at,
 * so that the files above speak of users and grants. A failure while a transaction is being built is remembered and
 * told by next, as any other failure. */
#include "control/rows.h"

#include "common/err.h"

static struct str joined(struct arena *a, struct str key, char sep, struct str part, const char *end)
{
    size_t end_len = end ? 1 : 0;
    char *p = arena_alloc(a, key.len + 1 + part.len + end_len + 1);
    if (!p)
        return STR_NONE;
    memcpy(p, key.p, key.len);
    p[key.len] = sep;
    if (part.len)
        memcpy(p + key.len + 1, part.p, part.len);
    if (end)
        p[key.len + 1 + part.len] = *end;
    return (struct str){p, key.len + 1 + part.len + end_len};
}

struct str rows_key(struct arena *a, const char *kind, struct str one, struct str two)
{
    struct str key = str_c(kind);
    if (one.p)
        key = joined(a, key, 0, one, NULL);
    if (key.p && two.p)
        key = joined(a, key, 0, two, NULL);
    return key;
}

struct str rows_from(struct arena *a, struct str key, struct str after)
{
    return joined(a, key, 0, after, after.len ? "" : NULL);
}

struct str rows_to(struct arena *a, struct str key)
{
    return joined(a, key, 1, STR_NONE, NULL);
}

struct str rows_last_part(const Pb__Row *row)
{
    const char *key = (const char *)row->key.data;
    size_t at = row->key.len;
    while (at > 0 && key[at - 1])
        at--;
    return (struct str){key + at, row->key.len - at};
}

static ProtobufCBinaryData bytes_of(struct str s)
{
    return (ProtobufCBinaryData){.len = s.len, .data = (uint8_t *)(uintptr_t)s.p};
}

void rows_init(struct rows *r, struct loop *loop, struct client *client, struct arena *a)
{
    *r = (struct rows){.loop = loop, .client = client, .arena = a};
}

static void failed_build(struct loop_post *post)
{
    struct rows *r = container_of(post, struct rows, post);
    r->next(r, r->err);
}

static void answered(struct rpc *rpc)
{
    struct rows *r = container_of(rpc, struct rows, rpc);
    int status = rpc->status;
    r->items = NULL;
    r->count = 0;
    r->truncated = false;
    if (status == RPC_CONDITION) {
        status = ROWS_CONFLICT;
    } else if (status == RPC_NOT_FOUND) {
        status = 0;
    } else if (status > 0) {
        status = E_PROTOCOL;
    } else if (status == 0 && rpc->rep && rpc->type == RPC_ROWS_GET) {
        Pb__RowsGetRep *rep = rpc->rep;
        r->items = rep->rows;
        r->count = rep->n_rows;
    } else if (status == 0 && rpc->rep && rpc->type == RPC_ROWS_RANGE) {
        Pb__RowsRangeRep *rep = rpc->rep;
        r->items = rep->rows;
        r->count = rep->n_rows;
        r->truncated = rep->truncated;
    }
    r->next(r, status);
}

static void submit(struct rows *r, enum rpc_type type, const void *req, void (*next)(struct rows *r, int status))
{
    r->next = next;
    if (r->err) {
        r->post.cb = failed_build;
        loop_post(r->loop, &r->post);
        return;
    }
    r->rpc = (struct rpc){.type = type, .req = req, .arena = r->arena, .cb = answered};
    client_call(r->client, &r->rpc);
}

void rows_get(struct rows *r, const struct str *keys, size_t count, void (*next)(struct rows *r, int status))
{
    ProtobufCBinaryData *refs = arena_alloc(r->arena, count * sizeof(*refs));
    r->err = refs ? 0 : -ENOMEM;
    for (size_t i = 0; refs && i < count; i++) {
        if (!keys[i].p)
            r->err = -ENOMEM;
        refs[i] = bytes_of(keys[i]);
    }
    pb__rows_get_req__init(&r->get);
    r->get.table = (char *)(uintptr_t)ROWS_TABLE;
    r->get.keys = refs;
    r->get.n_keys = count;
    submit(r, RPC_ROWS_GET, &r->get, next);
}

void rows_range(struct rows *r, struct str from, struct str to, uint32_t limit,
                void (*next)(struct rows *r, int status))
{
    r->err = from.p && to.p ? 0 : -ENOMEM;
    pb__rows_range_req__init(&r->range);
    r->range.table = (char *)(uintptr_t)ROWS_TABLE;
    r->range.from = bytes_of(from);
    r->range.to = bytes_of(to);
    r->range.limit = limit;
    submit(r, RPC_ROWS_RANGE, &r->range, next);
}

void rows_begin(struct rows *r)
{
    pb__rows_txn_req__init(&r->txn);
    r->txn.table = (char *)(uintptr_t)ROWS_TABLE;
    r->txn.compares = r->compare_refs;
    r->txn.puts = r->put_refs;
    r->txn.deletes = r->deletes;
    r->err = 0;
}

void rows_expect(struct rows *r, struct str key, uint64_t revision)
{
    size_t i = r->txn.n_compares++;
    assert(i < ROWS_COMPARES_MAX);
    if (!key.p)
        r->err = -ENOMEM;
    pb__row_compare__init(&r->compares[i]);
    r->compares[i].key = bytes_of(key);
    r->compares[i].revision = revision;
    r->compare_refs[i] = &r->compares[i];
}

void rows_put(struct rows *r, struct str key, const ProtobufCMessage *value)
{
    size_t i = r->txn.n_puts++, len = protobuf_c_message_get_packed_size(value);
    assert(i < ROWS_PUTS_MAX);
    uint8_t *packed = arena_alloc(r->arena, len + 1);
    if (!key.p || !packed)
        r->err = -ENOMEM;
    else
        protobuf_c_message_pack(value, packed);
    pb__row__init(&r->puts[i]);
    r->puts[i].key = bytes_of(key);
    r->puts[i].value = (ProtobufCBinaryData){.len = len, .data = packed};
    r->put_refs[i] = &r->puts[i];
}

void rows_delete(struct rows *r, struct str key)
{
    size_t i = r->txn.n_deletes++;
    assert(i < ROWS_DELETES_MAX);
    if (!key.p)
        r->err = -ENOMEM;
    r->deletes[i] = bytes_of(key);
}

void rows_commit(struct rows *r, void (*next)(struct rows *r, int status))
{
    submit(r, RPC_ROWS_TXN, &r->txn, next);
}

const Pb__Row *rows_find(const struct rows *r, struct str key)
{
    for (size_t i = 0; i < r->count; i++) {
        const Pb__Row *row = r->items[i];
        if (str_eq((struct str){(const char *)row->key.data, row->key.len}, key))
            return row;
    }
    return NULL;
}

int rows_value(struct arena *a, const Pb__Row *row, const ProtobufCMessageDescriptor *kind, ProtobufCMessage **ret)
{
    const ProtobufCFieldDescriptor *format = protobuf_c_message_descriptor_get_field_by_name(kind, "format");
    struct arena_pb alloc = arena_pb(a);
    assert(format && format->type == PROTOBUF_C_TYPE_UINT32);
    ProtobufCMessage *m =
        protobuf_c_message_unpack(kind, (ProtobufCAllocator *)(void *)&alloc, row->value.len, row->value.data);
    if (!m)
        return E_CORRUPT;
    if (*(const uint32_t *)(const void *)((const char *)m + format->offset) > ROWS_FORMAT)
        return E_VERSION;
    *ret = m;
    return 0;
}
