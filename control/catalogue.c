/* The steps of put, get, list and delete, for every kind. The rows' common fields (created_ms, updated_ms, deleting)
 * are found by name in the row's descriptor, so a kind that lacks one simply has none. */
#include "control/catalogue.h"

#define SWEEP_PAGE 200
static_assert(2 * SWEEP_PAGE <= ROWS_DELETES_MAX, "a page of children and their mirrors fits one transaction");

struct step {
    const struct kind *kind;
    struct str key;
    ProtobufCMessage *row;
    uint64_t revision;
    struct arena sweep; /* of one page */
    unsigned child;
};

static void *field(const ProtobufCMessage *m, const char *name)
{
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(m->descriptor, name);
    return f ? (char *)(uintptr_t)m + f->offset : NULL;
}

static void set_u64(ProtobufCMessage *m, const char *name, uint64_t value)
{
    uint64_t *p = field(m, name);
    if (p)
        *p = value;
}

static bool deleting(const ProtobufCMessage *m)
{
    const protobuf_c_boolean *p = field(m, "deleting");
    return p && *p;
}

json_t *catalogue_str(struct str s)
{
    return json_stringn(s.p ? s.p : "", s.len);
}

static struct str part(const struct call *c, const struct kind *k, unsigned i)
{
    return i < k->parts ? c->params[i] : STR_NONE;
}

static struct str own_key(struct call *c, const struct kind *k)
{
    return rows_key(&c->arena, k->name, part(c, k, 0), part(c, k, 1));
}

static struct str parent_key(struct call *c, const struct kind *k, unsigned i)
{
    return rows_key(&c->arena, k->parents[i]->name, c->params[i], STR_NONE);
}

static struct step *begin(struct call *c, const struct kind *k)
{
    struct step *s = c->state ? c->state : arena_alloc(&c->arena, sizeof(*s));
    if (!s) {
        call_fail(c, API_INTERNAL, NULL);
        return NULL;
    }
    *s = (struct step){.kind = k, .key = own_key(c, k)};
    c->state = s;
    return s;
}

const ProtobufCMessage *catalogue_row(struct call *c, const struct kind *k, struct str key, int *ret_err)
{
    ProtobufCMessage *m = NULL;
    const Pb__Row *row = rows_find(&c->rows, key);
    if (row)
        *ret_err = rows_value(&c->arena, row, k->row, &m);
    return m && !deleting(m) ? m : NULL;
}

/* ---- put ---- */

/* A transaction that found something changed is begun again from its read. */
static bool again(struct call *c, int status)
{
    return status == ROWS_CONFLICT && ++c->tries < API_TRIES;
}

static void put_answer(struct call *c, int status)
{
    const struct step *s = c->state;
    call_json(c, status, s->kind->render(s->row, part(c, s->kind, 0), part(c, s->kind, 1)));
}

static void put_done(struct rows *r, int status)
{
    struct call *c = call_of(r);
    const struct step *s = c->state;
    if (again(c, status)) {
        catalogue_put(c, s->kind);
    } else if (status > 0) {
        call_fail(c, API_CONFLICT, NULL);
    } else if (status) {
        call_fail_rows(c, status);
    } else {
        if (s->kind->changed)
            s->kind->changed(c->control, part(c, s->kind, 0), part(c, s->kind, 1));
        put_answer(c, s->revision ? 200 : 201);
    }
}

static void put_write(struct call *c, struct step *s)
{
    const struct kind *k = s->kind;
    rows_begin(&c->rows);
    rows_expect(&c->rows, s->key, s->revision);
    for (unsigned i = 0; i < ARRAY_LEN(k->parents) && k->parents[i]; i++) {
        struct str key = parent_key(c, k, i);
        rows_expect(&c->rows, key, rows_find(&c->rows, key)->revision);
    }
    rows_put(&c->rows, s->key, s->row);
    if (k->mirror && !s->revision) {
        Pb__MemberRow mirror;
        pb__member_row__init(&mirror);
        mirror.format = ROWS_FORMAT;
        rows_put(&c->rows, rows_key(&c->arena, k->mirror, part(c, k, 1), part(c, k, 0)), &mirror.base);
    }
    rows_commit(&c->rows, put_done);
}

static bool parents_there(struct call *c, const struct kind *k)
{
    for (unsigned i = 0; i < ARRAY_LEN(k->parents) && k->parents[i]; i++) {
        int err = 0;
        if (catalogue_row(c, k->parents[i], parent_key(c, k, i), &err))
            continue;
        if (err)
            call_fail_rows(c, err);
        else
            call_fail(c, k->parents[i]->unknown, NULL);
        return false;
    }
    return true;
}

static bool same_bytes(const ProtobufCMessage *m, const Pb__Row *row, struct arena *a)
{
    size_t len = protobuf_c_message_get_packed_size(m);
    uint8_t *packed = arena_alloc(a, len + 1);
    if (!packed || len != row->value.len)
        return false;
    protobuf_c_message_pack(m, packed);
    return memcmp(packed, row->value.data, len) == 0;
}

static ProtobufCMessage *new_row(struct call *c, const struct kind *k)
{
    ProtobufCMessage *m = arena_alloc(&c->arena, k->row->sizeof_message);
    if (!m)
        return NULL;
    protobuf_c_message_init(k->row, m);
    *(uint32_t *)field(m, "format") = ROWS_FORMAT;
    set_u64(m, "created_ms", call_now_ms(c));
    set_u64(m, "updated_ms", call_now_ms(c));
    return m;
}

static void put_read(struct rows *r, int status)
{
    struct call *c = call_of(r);
    struct step *s = c->state;
    int err = status;
    if (err) {
        call_fail_rows(c, err);
        return;
    }
    const Pb__Row *old = rows_find(r, s->key);
    ProtobufCMessage *m = NULL;
    if (old)
        err = rows_value(&c->arena, old, s->kind->row, &m);
    else if (!(m = new_row(c, s->kind)))
        err = -ENOMEM;
    if (err) {
        call_fail_rows(c, err);
        return;
    }
    if (deleting(m)) {
        call_fail(c, API_DELETING, NULL);
        return;
    }
    if (!parents_there(c, s->kind) || (s->kind->fill && !s->kind->fill(c, m)))
        return;
    s->row = m;
    s->revision = old ? old->revision : 0;
    if (old && same_bytes(m, old, &c->arena)) {
        put_answer(c, 200);
        return;
    }
    set_u64(m, "updated_ms", call_now_ms(c));
    put_write(c, s);
}

void catalogue_put(struct call *c, const struct kind *k)
{
    struct step *s = begin(c, k);
    if (!s)
        return;
    struct str keys[3] = {s->key};
    size_t count = 1;
    for (unsigned i = 0; i < ARRAY_LEN(k->parents) && k->parents[i]; i++)
        keys[count++] = parent_key(c, k, i);
    rows_get(&c->rows, keys, count, put_read);
}

/* ---- get ---- */

static void get_read(struct rows *r, int status)
{
    struct call *c = call_of(r);
    struct step *s = c->state;
    int err = status;
    const ProtobufCMessage *m = err ? NULL : catalogue_row(c, s->kind, s->key, &err);
    if (err)
        call_fail_rows(c, err);
    else if (!m)
        call_fail(c, s->kind->unknown, NULL);
    else
        call_json(c, 200, s->kind->render(m, part(c, s->kind, 0), part(c, s->kind, 1)));
}

void catalogue_get(struct call *c, const struct kind *k)
{
    struct step *s = begin(c, k);
    if (s)
        rows_get(&c->rows, &s->key, 1, get_read);
}

/* ---- list ---- */

/* The parts of a listed row: the path gives the first of two, the row's key the last. */
static json_t *render_listed(struct call *c, const struct kind *k, const Pb__Row *row, const ProtobufCMessage *m)
{
    struct str last = rows_last_part(row);
    return k->parts == 1 ? k->render(m, last, STR_NONE) : k->render(m, c->params[0], last);
}

static void list_read(struct rows *r, int status)
{
    struct call *c = call_of(r);
    const struct step *s = c->state;
    json_t *items = json_array(), *next = json_null();
    int err = status;
    for (size_t i = 0; !err && i < r->count; i++) {
        ProtobufCMessage *m;
        err = rows_value(&c->arena, r->items[i], s->kind->row, &m);
        if (!err && !deleting(m))
            json_array_append_new(items, render_listed(c, s->kind, r->items[i], m));
    }
    if (err) {
        json_decref(items);
        json_decref(next);
        call_fail_rows(c, err);
        return;
    }
    if (r->truncated && r->count)
        next = catalogue_str(rows_last_part(r->items[r->count - 1]));
    call_json(c, 200, json_pack("{s:o, s:o}", s->kind->list, items, "next", next));
}

static void list_range(struct call *c)
{
    const struct step *s = c->state;
    struct str first = s->kind->parts == 1 ? STR_NONE : c->params[0];
    struct str base = rows_key(&c->arena, s->kind->name, first, STR_NONE);
    if (!base.p) {
        call_fail(c, API_INTERNAL, NULL);
        return;
    }
    rows_range(&c->rows, rows_from(&c->arena, base, c->after), rows_to(&c->arena, base), c->limit, list_read);
}

static void list_parent(struct rows *r, int status)
{
    struct call *c = call_of(r);
    const struct kind *parent = ((const struct step *)c->state)->kind->parents[0];
    int err = status;
    const ProtobufCMessage *m = NULL;
    if (!err)
        m = catalogue_row(c, parent, rows_key(&c->arena, parent->name, c->params[0], STR_NONE), &err);
    if (err)
        call_fail_rows(c, err);
    else if (!m)
        call_fail(c, parent->unknown, NULL);
    else
        list_range(c);
}

void catalogue_list(struct call *c, const struct kind *k)
{
    if (!begin(c, k))
        return;
    if (k->parts == 1) {
        list_range(c);
        return;
    }
    struct str key = parent_key(c, k, 0);
    rows_get(&c->rows, &key, 1, list_parent);
}

/* ---- delete ---- */

static void sweep(struct call *c);

static void drop_done(struct rows *r, int status)
{
    struct call *c = call_of(r);
    const struct step *s = c->state;
    if (status) {
        call_fail_rows(c, status > 0 ? E_PROTOCOL : status);
        return;
    }
    if (s->kind->changed)
        s->kind->changed(c->control, part(c, s->kind, 0), part(c, s->kind, 1));
    call_empty(c, 204);
}

static void drop(struct call *c)
{
    const struct step *s = c->state;
    rows_begin(&c->rows);
    rows_delete(&c->rows, s->key);
    if (s->kind->mirror)
        rows_delete(&c->rows, rows_key(&c->arena, s->kind->mirror, part(c, s->kind, 1), part(c, s->kind, 0)));
    rows_commit(&c->rows, drop_done);
}

static void sweep_done(struct rows *r, int status)
{
    struct call *c = call_of(r);
    struct step *s = c->state;
    for (size_t i = 0; !status && i < r->txn.n_deletes; i++) {
        struct str key = {(const char *)r->deletes[i].data, r->deletes[i].len}, kind, one, two;
        if (str_split(&key, 0, &kind) && str_split(&key, 0, &one) && str_split(&key, 0, &two) &&
            str_eq(kind, str_c(kind_grant.name)))
            grants_forget(&c->control->grants, one, two);
    }
    arena_fini(&s->sweep);
    r->arena = &c->arena;
    if (status)
        call_fail_rows(c, status > 0 ? E_PROTOCOL : status);
    else
        sweep(c);
}

/* The other row of a grant: a member for a grant, a grant for a member. */
static struct str mirror_of(struct step *s, struct str key)
{
    struct str kind, one, two;
    if (!str_split(&key, 0, &kind) || !str_split(&key, 0, &one) || !str_split(&key, 0, &two))
        return STR_NONE;
    if (str_eq(kind, str_c(kind_grant.name)))
        return rows_key(&s->sweep, kind_grant.mirror, two, one);
    return str_eq(kind, str_c(kind_grant.mirror)) ? rows_key(&s->sweep, kind_grant.name, two, one) : STR_NONE;
}

static void sweep_page(struct rows *r, int status)
{
    struct call *c = call_of(r);
    struct step *s = c->state;
    if (status || r->count == 0) {
        arena_fini(&s->sweep);
        r->arena = &c->arena;
        if (status) {
            call_fail_rows(c, status > 0 ? E_PROTOCOL : status);
            return;
        }
        s->child++;
        sweep(c);
        return;
    }
    Pb__Row **items = r->items;
    size_t count = MIN_OF(r->count, SWEEP_PAGE);
    rows_begin(r);
    for (size_t i = 0; i < count; i++) {
        struct str key = {(const char *)items[i]->key.data, items[i]->key.len};
        struct str mirror = mirror_of(s, key);
        rows_delete(r, key);
        if (mirror.p)
            rows_delete(r, mirror);
    }
    rows_commit(r, sweep_done);
}

/* One page of one kind of children; when there are none left, the thing itself. */
static void sweep(struct call *c)
{
    struct step *s = c->state;
    const char *child = s->child < ARRAY_LEN(s->kind->children) ? s->kind->children[s->child] : NULL;
    if (!child) {
        drop(c);
        return;
    }
    arena_init(&s->sweep, API_ARENA_MAX);
    c->rows.arena = &s->sweep;
    struct str base = rows_key(&s->sweep, child, c->params[0], STR_NONE);
    if (!base.p) {
        arena_fini(&s->sweep);
        call_fail(c, API_INTERNAL, NULL);
        return;
    }
    rows_range(&c->rows, rows_from(&s->sweep, base, STR_NONE), rows_to(&s->sweep, base), SWEEP_PAGE, sweep_page);
}

static void mark_done(struct rows *r, int status)
{
    struct call *c = call_of(r);
    if (again(c, status))
        catalogue_delete(c, ((const struct step *)c->state)->kind);
    else if (status > 0)
        call_fail(c, API_CONFLICT, NULL);
    else if (status)
        call_fail_rows(c, status);
    else
        sweep(c);
}

static void delete_read(struct rows *r, int status)
{
    struct call *c = call_of(r);
    struct step *s = c->state;
    ProtobufCMessage *m = NULL;
    int err = status;
    const Pb__Row *row = err ? NULL : rows_find(r, s->key);
    if (row)
        err = rows_value(&c->arena, row, s->kind->row, &m);
    if (err) {
        call_fail_rows(c, err);
    } else if (!row) {
        call_empty(c, 204);
    } else if (deleting(m)) {
        sweep(c);
    } else {
        *(protobuf_c_boolean *)field(m, "deleting") = true;
        rows_begin(r);
        rows_expect(r, s->key, row->revision);
        rows_put(r, s->key, m);
        rows_commit(r, mark_done);
    }
}

void catalogue_delete(struct call *c, const struct kind *k)
{
    struct step *s = begin(c, k);
    if (!s)
        return;
    if (k->children[0])
        rows_get(&c->rows, &s->key, 1, delete_read);
    else
        drop(c);
}
