/* rows_mem - see rows_mem.h. */
#include "tests/lib/rows_mem.h"
#include "common/err.h"
#include <stdlib.h>

struct rows_mem_row {
    char *table;
    char *key, *value; /* owned */
    size_t key_len, value_len;
    uint64_t revision;
};
struct rows_mem_object {
    struct rows_mem_object *next;
    char *bucket, *key, *etag, *type;
    char *bytes;
    size_t len;
    Pb__Object *row; /* borrowed; NULL: made of the above */
};
struct rows_mem_call {
    struct rows_mem *m;
    struct rpc *r;
    struct loop_post post;
    struct rows_mem_call *next;
};

static struct str key_of(const struct rows_mem_row *row)
{
    return (struct str){row->key, row->key_len};
}

static struct str bytes_of(ProtobufCBinaryData b)
{
    return (struct str){(const char *)b.data, b.len};
}

/* The first row that is not below (table, key). */
static size_t position(const struct rows_mem *m, const char *table, struct str key)
{
    size_t i = 0;
    for (; i < m->count; i++) {
        int c = strcmp(m->rows[i].table, table);
        if (c > 0 || (c == 0 && str_cmp(key_of(&m->rows[i]), key) >= 0))
            break;
    }
    return i;
}

static struct rows_mem_row *find(const struct rows_mem *m, const char *table, struct str key)
{
    size_t i = position(m, table, key);
    if (i == m->count || strcmp(m->rows[i].table, table) != 0 || !str_eq(key_of(&m->rows[i]), key))
        return NULL;
    return &m->rows[i];
}

static char *copy(struct str s)
{
    char *p = malloc(s.len + 1);
    if (s.len)
        memcpy(p, s.p, s.len);
    p[s.len] = 0;
    return p;
}

static void row_free(struct rows_mem_row *row)
{
    free(row->table);
    free(row->key);
    free(row->value);
}

static void put(struct rows_mem *m, const char *table, struct str key, struct str value)
{
    struct rows_mem_row *row = find(m, table, key);
    if (!row) {
        size_t at = position(m, table, key);
        if (m->count == m->cap) {
            m->cap = m->cap ? m->cap * 2 : 64;
            m->rows = realloc(m->rows, m->cap * sizeof(*m->rows));
        }
        row = &m->rows[at];
        memmove(row + 1, row, (m->count - at) * sizeof(*row));
        m->count++;
        *row = (struct rows_mem_row){.table = strdup(table), .key = copy(key), .key_len = key.len};
    }
    free(row->value);
    row->value = copy(value);
    row->value_len = value.len;
    row->revision = m->revision;
}

static void drop(struct rows_mem *m, const char *table, struct str key)
{
    struct rows_mem_row *row = find(m, table, key);
    if (!row)
        return;
    row_free(row);
    m->count--;
    memmove(row, row + 1, (size_t)(m->rows + m->count - row) * sizeof(*row));
}

static int txn(struct rows_mem *m, struct rpc *r)
{
    const Pb__RowsTxnReq *q = r->req;
    m->txns++;
    if (m->conflicts) {
        m->conflicts--;
        return RPC_CONDITION;
    }
    for (size_t i = 0; i < q->n_compares; i++) {
        const struct rows_mem_row *row = find(m, q->table, bytes_of(q->compares[i]->key));
        if ((row ? row->revision : 0) != q->compares[i]->revision)
            return RPC_CONDITION;
    }
    m->revision++;
    for (size_t i = 0; i < q->n_puts; i++)
        put(m, q->table, bytes_of(q->puts[i]->key), bytes_of(q->puts[i]->value));
    for (size_t i = 0; i < q->n_deletes; i++)
        drop(m, q->table, bytes_of(q->deletes[i]));
    Pb__RowsTxnRep *rep = arena_alloc(r->arena, sizeof(*rep));
    pb__rows_txn_rep__init(rep);
    rep->revision = m->revision;
    r->rep = rep;
    return 0;
}

static Pb__Row *row_message(struct arena *a, const struct rows_mem_row *row)
{
    Pb__Row *out = arena_alloc(a, sizeof(*out));
    pb__row__init(out);
    out->key = (ProtobufCBinaryData){row->key_len, (uint8_t *)arena_copy(a, row->key, row->key_len)};
    out->value = (ProtobufCBinaryData){row->value_len, (uint8_t *)arena_copy(a, row->value, row->value_len)};
    out->revision = row->revision;
    return out;
}

static int get(struct rows_mem *m, struct rpc *r)
{
    const Pb__RowsGetReq *q = r->req;
    Pb__RowsGetRep *rep = arena_alloc(r->arena, sizeof(*rep));
    m->gets++;
    pb__rows_get_rep__init(rep);
    rep->rows = arena_alloc(r->arena, (q->n_keys + 1) * sizeof(Pb__Row *));
    for (size_t i = 0; i < q->n_keys; i++) {
        const struct rows_mem_row *row = find(m, q->table, bytes_of(q->keys[i]));
        if (row)
            rep->rows[rep->n_rows++] = row_message(r->arena, row);
    }
    r->rep = rep;
    return 0;
}

static int range(struct rows_mem *m, struct rpc *r)
{
    const Pb__RowsRangeReq *q = r->req;
    Pb__RowsRangeRep *rep = arena_alloc(r->arena, sizeof(*rep));
    m->ranges++;
    assert(!q->reverse);
    pb__rows_range_rep__init(rep);
    rep->rows = arena_alloc(r->arena, (q->limit + 1) * sizeof(Pb__Row *));
    for (size_t i = position(m, q->table, bytes_of(q->from)); i < m->count; i++) {
        const struct rows_mem_row *row = &m->rows[i];
        if (strcmp(row->table, q->table) != 0 || str_cmp(key_of(row), bytes_of(q->to)) >= 0)
            break;
        if (rep->n_rows == q->limit) {
            rep->truncated = true;
            break;
        }
        rep->rows[rep->n_rows++] = row_message(r->arena, row);
    }
    r->rep = rep;
    return 0;
}

static int object_get(struct rows_mem *m, struct rpc *r)
{
    const Pb__ObjectGetReq *q = r->req;
    const struct rows_mem_object *o = m->objects;
    m->object_gets++;
    while (o && (strcmp(o->bucket, q->bucket) != 0 || !str_eq(str_c(o->key), bytes_of(q->key))))
        o = o->next;
    if (!o)
        return RPC_NOT_FOUND;
    Pb__ObjectGetRep *rep = arena_alloc(r->arena, sizeof(*rep));
    if (o->row) {
        pb__object_get_rep__init(rep);
        rep->object = o->row;
        r->rep = rep;
        return 0;
    }
    Pb__Object *object = arena_alloc(r->arena, sizeof(*object));
    pb__object_get_rep__init(rep);
    pb__object__init(object);
    object->format = 1;
    object->size = o->len;
    object->etag = o->etag;
    object->mtime_ms = UINT64_C(1700000000000);
    object->inline_id = (ProtobufCBinaryData){4, (uint8_t *)(uintptr_t) "test"};
    if (o->type) {
        Pb__Pair *pair = arena_alloc(r->arena, sizeof(*pair));
        object->headers = arena_alloc(r->arena, sizeof(Pb__Pair *));
        pb__pair__init(pair);
        pair->name = (char *)(uintptr_t) "content-type";
        pair->value = (ProtobufCBinaryData){strlen(o->type), (uint8_t *)o->type};
        object->headers[0] = pair;
        object->n_headers = 1;
    }
    rep->object = object;
    if (q->want_inline)
        rep->inline_data = (ProtobufCBinaryData){o->len, (uint8_t *)o->bytes};
    r->rep = rep;
    return 0;
}

static int carry_out(struct rows_mem *m, struct rpc *r)
{
    if (m->err && r->type != RPC_OBJECT_GET)
        return m->err;
    if (m->fail_at && r->type != RPC_OBJECT_GET && --m->fail_at == 0)
        return E_UNAVAILABLE;
    switch (r->type) {
    case RPC_ROWS_TXN:
        return txn(m, r);
    case RPC_ROWS_GET:
        return get(m, r);
    case RPC_ROWS_RANGE:
        return range(m, r);
    default:
        return object_get(m, r);
    }
}

static void answer(struct loop_post *post)
{
    struct rows_mem_call *call = container_of(post, struct rows_mem_call, post);
    struct rpc *r = call->r;
    struct rows_mem *m = call->m;
    free(call);
    r->status = carry_out(m, r);
    m->out--;
    r->cb(r);
}

static void submit(struct rpc_peer *p, struct rpc *r)
{
    struct rows_mem *m = container_of(p, struct rows_mem, peer);
    bool rows = r->type == RPC_ROWS_TXN || r->type == RPC_ROWS_GET || r->type == RPC_ROWS_RANGE;
    if (!rows && r->type != RPC_OBJECT_GET) {
        m->below->submit(m->below, r);
        return;
    }
    struct rows_mem_call *call = calloc(1, sizeof(*call));
    call->m = m;
    call->r = r;
    call->post.cb = answer;
    m->out++;
    if (m->hold && rows) {
        call->next = m->held;
        m->held = call;
    } else {
        loop_post(m->loop, &call->post);
    }
}

void rows_mem_release(struct rows_mem *m)
{
    struct rows_mem_call *call = m->held;
    m->hold = false;
    m->held = NULL;
    while (call) {
        struct rows_mem_call *next = call->next;
        loop_post(m->loop, &call->post);
        call = next;
    }
}

struct rows_mem *rows_mem_create(struct loop *loop, struct rpc_peer *below)
{
    struct rows_mem *m = calloc(1, sizeof(*m));
    m->loop = loop;
    m->below = below;
    m->peer.submit = submit;
    return m;
}

void rows_mem_destroy(struct rows_mem *m)
{
    assert(m->out == 0);
    for (size_t i = 0; i < m->count; i++)
        row_free(&m->rows[i]);
    free(m->rows);
    while (m->objects) {
        struct rows_mem_object *o = m->objects;
        m->objects = o->next;
        free(o->bucket);
        free(o->key);
        free(o->etag);
        free(o->type);
        free(o->bytes);
        free(o);
    }
    free(m);
}

void rows_mem_object(struct rows_mem *m, const char *bucket, const char *key, struct str bytes, const char *etag,
                     const char *content_type)
{
    struct rows_mem_object *o = calloc(1, sizeof(*o));
    o->bucket = strdup(bucket);
    o->key = strdup(key);
    o->etag = strdup(etag);
    o->type = content_type ? strdup(content_type) : NULL;
    o->bytes = copy(bytes);
    o->len = bytes.len;
    o->next = m->objects;
    m->objects = o;
}

void rows_mem_object_row(struct rows_mem *m, const char *bucket, const char *key, Pb__Object *row)
{
    rows_mem_object(m, bucket, key, STR_NONE, "", NULL);
    m->objects->row = row;
}

struct str rows_mem_find(struct rows_mem *m, const char *table, struct str key)
{
    const struct rows_mem_row *row = find(m, table, key);
    return row ? (struct str){row->value, row->value_len} : STR_NONE;
}

void rows_mem_put(struct rows_mem *m, const char *table, struct str key, struct str value)
{
    char *bytes = copy(value); /* it may be another row's, which moves */
    m->revision++;
    put(m, table, key, (struct str){bytes, value.len});
    free(bytes);
}

size_t rows_mem_count(struct rows_mem *m, const char *table, struct str prefix)
{
    size_t n = 0;
    for (size_t i = 0; i < m->count; i++)
        n += strcmp(m->rows[i].table, table) == 0 && str_starts(key_of(&m->rows[i]), prefix);
    return n;
}

bool rows_mem_contains(struct rows_mem *m, struct str bytes)
{
    for (size_t i = 0; i < m->count; i++) {
        if (memmem(m->rows[i].value, m->rows[i].value_len, bytes.p, bytes.len))
            return true;
    }
    return false;
}
