/* Creators and their access keys. A key's row is the truth and is sealed; the copy in memory follows each commit, so a
 * deleted key stops with the answer. */
#include "control/catalogue.h"

#include <stdio.h>

#define ACCESS_LEN 20
#define SECRET_LEN 40

/* ---- creators ---- */

struct making {
    struct str id;
    Pb__CreatorRow creator;
    struct str access, secret;
    Pb__KeyRow *key;
    uint64_t revision;
    bool putting; /* of a bucket's rights: else forgetting */
};

static struct making *making(struct call *c)
{
    struct making *m = c->state ? c->state : arena_alloc(&c->arena, sizeof(*m));
    if (!m)
        call_fail(c, API_INTERNAL, NULL);
    c->state = m;
    return m;
}

static void creator_made(struct rows *r, int status)
{
    struct call *c = call_of(r);
    const struct making *m = c->state;
    if (status)
        call_fail_rows(c, status > 0 ? E_UNAVAILABLE : status); /* a conflict: 80 random bits came twice */
    else
        call_json(c, 201, kind_creator.render(&m->creator.base, m->id, STR_NONE));
}

void api_creator_post(struct call *c)
{
    struct making *m = making(c);
    uint8_t random[10];
    char id[2 * sizeof(random) + 1];
    if (!m)
        return;
    random_bytes(random, sizeof(random));
    hex_encode(random, sizeof(random), id);
    m->id = str_c(arena_printf(&c->arena, "c%s", id));
    pb__creator_row__init(&m->creator);
    m->creator.format = ROWS_FORMAT;
    m->creator.name = (char *)(uintptr_t)call_body_str(c, "name").p;
    m->creator.created_ms = call_now_ms(c);
    struct str key = m->id.p ? rows_key(&c->arena, "creator", m->id, STR_NONE) : STR_NONE;
    rows_begin(&c->rows);
    rows_expect(&c->rows, key, 0);
    rows_put(&c->rows, key, &m->creator.base);
    rows_commit(&c->rows, creator_made);
}

/* ---- access keys ---- */

static struct str creator_key(struct call *c)
{
    return rows_key(&c->arena, "creator", c->params[0], STR_NONE);
}

static struct str key_key(struct call *c, struct str access)
{
    return rows_key(&c->arena, "key", c->params[0], access);
}

static json_t *key_render(const Pb__KeyRow *k, struct str creator, struct str access)
{
    json_t *buckets = json_array();
    for (size_t i = 0; i < k->n_buckets; i++)
        json_array_append_new(buckets, json_pack("{s:s, s:o}", "bucket", k->buckets[i]->bucket, "rights",
                                                 schema_rights_json(k->buckets[i]->rights)));
    return json_pack("{s:o, s:o, s:o, s:o}", "access_key", catalogue_str(access), "creator", catalogue_str(creator),
                     "created_at", schema_stamp(k->created_ms / 1000), "buckets", buckets);
}

/* "LK" and 18 of 32 letters: 90 bits; no letter that is mistaken for a digit. */
static struct str access_make(struct arena *a)
{
    static const char letters[] = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    uint8_t random[ACCESS_LEN];
    char *p = arena_alloc(a, ACCESS_LEN + 1);
    if (!p)
        return STR_NONE;
    random_bytes(random, sizeof(random));
    p[0] = 'L';
    p[1] = 'K';
    for (size_t i = 2; i < ACCESS_LEN; i++)
        p[i] = letters[random[i] % 32];
    return (struct str){p, ACCESS_LEN};
}

static struct str secret_make(struct arena *a)
{
    uint8_t random[SECRET_LEN / 4 * 3];
    char *p = arena_alloc(a, SECRET_LEN + 1);
    if (!p)
        return STR_NONE;
    random_bytes(random, sizeof(random));
    base64url_encode(random, sizeof(random), p);
    explicit_bzero(random, sizeof(random));
    return (struct str){p, SECRET_LEN};
}

static void key_made(struct rows *r, int status)
{
    struct call *c = call_of(r);
    const struct making *m = c->state;
    if (status) {
        if (status > 0)
            call_fail(c, API_CONFLICT, NULL);
        else
            call_fail_rows(c, status);
        return;
    }
    int err = keys_put(&c->control->keys, m->access, m->secret, c->params[0], NULL, 0);
    if (err) { /* it is stored and works after the next start; now it does not */
        call_fail_rows(c, err);
        return;
    }
    call_json(c, 201,
              json_pack("{s:o, s:o, s:o, s:o}", "access_key", catalogue_str(m->access), "secret_key",
                        catalogue_str(m->secret), "creator", catalogue_str(c->params[0]), "created_at",
                        schema_stamp(m->key->created_ms / 1000)));
}

static void key_creator_read(struct rows *r, int status)
{
    struct call *c = call_of(r);
    struct making *m = c->state;
    const Pb__Row *creator = status ? NULL : rows_find(r, creator_key(c));
    uint8_t *sealed = arena_alloc(&c->arena, SECRET_LEN + SEAL_OVERHEAD);
    if (status) {
        call_fail_rows(c, status);
        return;
    }
    if (!creator) {
        call_fail(c, API_CREATOR_UNKNOWN, NULL);
        return;
    }
    m->key = arena_alloc(&c->arena, sizeof(*m->key));
    m->access = access_make(&c->arena);
    m->secret = secret_make(&c->arena);
    struct str key = m->access.p ? key_key(c, m->access) : STR_NONE;
    if (!sealed || !m->key || !m->secret.p || !key.p ||
        seal_close(c->control->master_key, key, m->secret.p, m->secret.len, sealed)) {
        call_fail(c, API_INTERNAL, NULL);
        return;
    }
    pb__key_row__init(m->key);
    m->key->format = ROWS_FORMAT;
    m->key->created_ms = call_now_ms(c);
    m->key->sealed_secret = (ProtobufCBinaryData){.len = SECRET_LEN + SEAL_OVERHEAD, .data = sealed};
    rows_begin(r);
    rows_expect(r, creator_key(c), creator->revision);
    rows_expect(r, key, 0);
    rows_put(r, key, &m->key->base);
    rows_commit(r, key_made);
}

void api_key_post(struct call *c)
{
    struct str key = creator_key(c);
    if (!making(c))
        return;
    if (c->control->keys.count >= KEYS_MAX) {
        call_fail(c, API_LIMIT, "there are %d access keys: delete some first", KEYS_MAX);
        return;
    }
    rows_get(&c->rows, &key, 1, key_creator_read);
}

static json_t *key_row_render(const ProtobufCMessage *row, struct str creator, struct str access)
{
    return key_render((const Pb__KeyRow *)(const void *)row, creator, access);
}

static const struct kind kind_key = {
    .name = "key",
    .row = &pb__key_row__descriptor,
    .parts = 2,
    .list = "keys",
    .unknown = API_KEY_UNKNOWN,
    .parents = {&kind_creator},
    .render = key_row_render,
};

void api_key_list(struct call *c)
{
    catalogue_list(c, &kind_key);
}

/* A key of another creator's has another row: deleting it here leaves it alone, in memory too. */
static void key_deleted(struct rows *r, int status)
{
    struct call *c = call_of(r);
    if (status) {
        call_fail_rows(c, status > 0 ? E_PROTOCOL : status);
        return;
    }
    const struct key_entry *e = keys_find(&c->control->keys, c->params[1]);
    if (e && str_eq(str_c(e->pub.creator), c->params[0]))
        keys_remove(&c->control->keys, c->params[1]);
    call_empty(c, 204);
}

void api_key_delete(struct call *c)
{
    rows_begin(&c->rows);
    rows_delete(&c->rows, key_key(c, c->params[1]));
    rows_commit(&c->rows, key_deleted);
}

/* ---- what a key may do with one bucket ---- */

static void bucket_read(struct rows *r, int status);

static void bucket_start(struct call *c)
{
    struct str key = key_key(c, c->params[1]);
    rows_get(&c->rows, &key, 1, bucket_read);
}

static void bucket_answer(struct call *c)
{
    const struct making *m = c->state;
    call_json(c, 200, key_render(m->key, c->params[0], c->params[1]));
}

/* The row that was written, through the same door as at the start. */
static void bucket_written(struct rows *r, int status)
{
    struct call *c = call_of(r);
    if (status == ROWS_CONFLICT && ++c->tries < API_TRIES) {
        bucket_start(c);
        return;
    }
    int err = status ? status : control_key_apply(c->control, &c->arena, &r->puts[0]);
    if (err > 0)
        call_fail(c, API_CONFLICT, NULL);
    else if (err)
        call_fail_rows(c, err);
    else
        bucket_answer(c);
}

static struct str bucket_name(const struct call *c)
{
    return c->params[2];
}

/* Changes the row's list. 0; 1: nothing changed; E_LIMIT, -ENOMEM. */
static int bucket_change(struct call *c, struct making *m)
{
    Pb__KeyRow *k = m->key;
    size_t at = 0;
    while (at < k->n_buckets && !str_eq(str_c(k->buckets[at]->bucket), bucket_name(c)))
        at++;
    if (!m->putting) {
        if (at == k->n_buckets)
            return 1;
        k->buckets[at] = k->buckets[--k->n_buckets];
        return 0;
    }
    unsigned rights = schema_rights(json_object_get(c->body, "rights"));
    if (at < k->n_buckets) {
        bool same = k->buckets[at]->rights == rights;
        k->buckets[at]->rights = rights;
        return same;
    }
    if (k->n_buckets == KEY_BUCKETS_MAX)
        return E_LIMIT;
    Pb__KeyBucket **list = arena_alloc(&c->arena, (k->n_buckets + 1) * sizeof(Pb__KeyBucket *));
    Pb__KeyBucket *b = arena_alloc(&c->arena, sizeof(*b));
    if (!list || !b)
        return -ENOMEM;
    pb__key_bucket__init(b);
    b->bucket = arena_copy(&c->arena, bucket_name(c).p, bucket_name(c).len);
    b->rights = rights;
    if (k->n_buckets)
        memcpy(list, k->buckets, k->n_buckets * sizeof(Pb__KeyBucket *));
    list[k->n_buckets++] = b;
    k->buckets = list;
    return b->bucket ? 0 : -ENOMEM;
}

static void bucket_read(struct rows *r, int status)
{
    struct call *c = call_of(r);
    struct making *m = c->state;
    struct str key = key_key(c, c->params[1]);
    const Pb__Row *row = status ? NULL : rows_find(r, key);
    ProtobufCMessage *value = NULL;
    int err = row ? rows_value(&c->arena, row, &pb__key_row__descriptor, &value) : status;
    if (err) {
        call_fail_rows(c, err);
        return;
    }
    if (!row) {
        call_fail(c, API_KEY_UNKNOWN, NULL);
        return;
    }
    m->key = (Pb__KeyRow *)(void *)value;
    err = bucket_change(c, m);
    if (err == E_LIMIT) {
        call_fail(c, API_LIMIT, "a key's rights can be said for %d buckets", KEY_BUCKETS_MAX);
    } else if (err < 0) {
        call_fail_rows(c, err);
    } else if (err > 0) {
        bucket_answer(c);
    } else {
        rows_begin(r);
        rows_expect(r, key, row->revision);
        rows_put(r, key, value);
        rows_commit(r, bucket_written);
    }
}

static void bucket_begin(struct call *c, bool putting)
{
    struct making *m = making(c);
    if (!m)
        return;
    if (!schema_bucket_ok(bucket_name(c))) {
        call_fail(c, API_ID_INVALID,
                  "a bucket's name is 3 to 63 of a-z 0-9 . - and begins and ends with a letter or digit");
        return;
    }
    m->putting = putting;
    bucket_start(c);
}

void api_key_bucket_put(struct call *c)
{
    bucket_begin(c, true);
}

void api_key_bucket_delete(struct call *c)
{
    bucket_begin(c, false);
}
