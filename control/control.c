/* Opening is: read the access keys, read the signing keys, make the first signing key where there is none (by
 * compare-and-swap, so that two first starts cannot make two), then say ready. Until then every check is denied and the
 * API answers 503. */
#include "control/control_priv.h"

#include "control/api.h"
#include "common/log.h"
#include <stdlib.h>

#define LOAD_PAGE      1000
#define LOAD_TRIES     8
#define LOAD_ARENA_MAX (16 * MIB)

static const struct {
    const char *code;
    int status;
    const char *text;
} denies[] = {
#define DENY(id, code, status, text) [DENY_##id] = {code, status, text},
    DENY_ROWS
#undef DENY
};

const char *deny_code(enum deny d)
{
    return denies[d].code;
}

int deny_status(enum deny d)
{
    return denies[d].status;
}

const char *deny_text(enum deny d)
{
    return denies[d].text;
}

static void drained(struct loop_post *post)
{
    struct control *c = container_of(post, struct control, drained);
    void (*cb)(void *ctx) = c->drain_cb;
    c->drain_cb = NULL;
    cb(c->drain_ctx);
}

static void drain_look(struct control *c)
{
    if (c->drain_cb && c->calls_open == 0) {
        c->drained.cb = drained;
        loop_post(c->loop, &c->drained);
    }
}

void control_begin(struct control *c)
{
    c->calls_open++;
}

void control_end(struct control *c)
{
    assert(c->calls_open > 0);
    c->calls_open--;
    drain_look(c);
}

void control_drain(struct control *c, void (*cb)(void *ctx), void *ctx)
{
    c->drain_cb = cb;
    c->drain_ctx = ctx;
    drain_look(c);
}

static void load_end(struct control *c, int err)
{
    arena_fini(&c->load_arena);
    c->ready = err == 0;
    void (*cb)(void *ctx, int err) = c->ready_cb;
    void *ctx = c->ready_ctx;
    control_end(c);
    cb(ctx, err);
}

static void load_next_page(struct control *c, const char *kind, struct str after,
                           void (*next)(struct rows *r, int status))
{
    struct arena old = c->load_arena;
    arena_init(&c->load_arena, LOAD_ARENA_MAX);
    struct str key = rows_key(&c->load_arena, kind, STR_NONE, STR_NONE);
    struct str from = after.len ? (struct str){arena_copy(&c->load_arena, after.p, after.len), after.len + 1}
                                : rows_from(&c->load_arena, key, STR_NONE); /* the copy's NUL: just past that row */
    struct str to = rows_to(&c->load_arena, key);
    arena_fini(&old);
    rows_range(&c->load, from, to, LOAD_PAGE, next);
}

static void load_signing(struct control *c);

/* ---- access keys ---- */

int control_key_apply(struct control *c, struct arena *a, const Pb__Row *row)
{
    ProtobufCMessage *m;
    uint8_t secret[SEAL_MAX];
    struct str key = {(const char *)row->key.data, row->key.len}, kind, creator, access;
    int err = rows_value(a, row, &pb__key_row__descriptor, &m);
    if (err)
        return err;
    if (!str_split(&key, 0, &kind) || !str_split(&key, 0, &creator) || !str_split(&key, 0, &access))
        return E_CORRUPT;
    const Pb__KeyRow *k = (const void *)m;
    struct key_bucket *buckets = arena_alloc(a, (k->n_buckets + 1) * sizeof(*buckets));
    struct str sealed = {(const char *)k->sealed_secret.data, k->sealed_secret.len};
    if (!buckets || k->n_buckets > KEY_BUCKETS_MAX)
        return E_CORRUPT;
    for (size_t i = 0; i < k->n_buckets; i++) {
        size_t len = strlen(k->buckets[i]->bucket);
        if (len >= sizeof(buckets[i].name))
            return E_CORRUPT;
        memcpy(buckets[i].name, k->buckets[i]->bucket, len + 1);
        buckets[i].rights = k->buckets[i]->rights & (RIGHT_READ | RIGHT_WRITE);
    }
    err = seal_open(c->master_key, (struct str){(const char *)row->key.data, row->key.len}, sealed, secret);
    if (!err)
        err = keys_put(&c->keys, access, (struct str){(const char *)secret, sealed.len - SEAL_OVERHEAD}, creator,
                       buckets, k->n_buckets);
    explicit_bzero(secret, sizeof(secret));
    return err;
}

static void load_keys_page(struct rows *r, int status)
{
    struct control *c = container_of(r, struct control, load);
    if (status) {
        load_end(c, status > 0 ? E_PROTOCOL : status);
        return;
    }
    for (size_t i = 0; i < r->count; i++) {
        int err = control_key_apply(c, &c->load_arena, r->items[i]);
        if (err) /* one bad row must not shut everybody out: that key does not work, and the log says so */
            log_event(LOG_ERROR, "access_key_unusable", "key=%s error=%s", log_quote(rows_last_part(r->items[i])),
                      log_quote(str_c(err_text(err))));
    }
    if (r->truncated && r->count) {
        const Pb__Row *last = r->items[r->count - 1];
        load_next_page(c, "key", (struct str){(const char *)last->key.data, last->key.len}, load_keys_page);
    } else {
        load_signing(c);
    }
}

/* ---- signing keys ---- */

static void first_made(struct rows *r, int status)
{
    struct control *c = container_of(r, struct control, load);
    if (status == ROWS_CONFLICT && c->load_tries++ < LOAD_TRIES)
        load_signing(c);
    else if (status)
        load_end(c, status > 0 ? E_UNAVAILABLE : status);
    else
        load_signing(c);
}

static void first_make(struct control *c)
{
    uint8_t sealed[SIGNING_SECRET_LEN + SEAL_OVERHEAD];
    struct clock *clock = loop_clock(c->loop);
    Pb__SigningRow row;
    int err = signing_secret(c->master_key, 1, sealed);
    if (err) {
        load_end(c, err);
        return;
    }
    pb__signing_row__init(&row);
    row.format = ROWS_FORMAT;
    row.kid = 1;
    row.state = SIGNING_ACTIVE;
    row.created_ms = clock->wall_ms(clock);
    row.sealed_secret = (ProtobufCBinaryData){.len = sizeof(sealed), .data = sealed};
    struct str key = signing_row_key(&c->load_arena, 1);
    rows_begin(&c->load);
    rows_expect(&c->load, key, 0);
    rows_put(&c->load, key, &row.base);
    rows_commit(&c->load, first_made);
}

static void load_signing_page(struct rows *r, int status)
{
    struct control *c = container_of(r, struct control, load);
    if (status) {
        load_end(c, status > 0 ? E_PROTOCOL : status);
        return;
    }
    if (r->count == 0) {
        first_make(c);
        return;
    }
    for (size_t i = 0; i < r->count; i++) {
        ProtobufCMessage *m;
        int err = rows_value(&c->load_arena, r->items[i], &pb__signing_row__descriptor, &m);
        if (!err)
            err = signing_apply(&c->signing, c->master_key, (const Pb__SigningRow *)(const void *)m);
        if (err) { /* without its signing keys it could only refuse learners: most likely the wrong master key */
            log_event(LOG_ERROR, "signing_key_unusable", "kid=%s error=%s", log_quote(rows_last_part(r->items[i])),
                      log_quote(str_c(err_text(err))));
            load_end(c, err);
            return;
        }
    }
    load_end(c, signing_active(&c->signing) ? 0 : E_CORRUPT);
}

static void load_signing(struct control *c)
{
    load_next_page(c, "signing", STR_NONE, load_signing_page);
}

/* ---- open and close ---- */

static char *owned(const char *s)
{
    return strdup(s ? s : "");
}

static int conf_take(struct control *c, const struct control_conf *conf)
{
    c->conf = *conf;
    c->conf.root_access_key = owned(conf->root_access_key);
    c->conf.root_secret_key = owned(conf->root_secret_key);
    c->conf.external_url = owned(conf->external_url);
    c->conf.admin_token = NULL; /* only its digest is kept */
    c->conf.master_key = NULL;
    memcpy(c->master_key, conf->master_key, SEAL_KEY_LEN);
    digest_once(DIGEST_SHA256, conf->admin_token, strlen(conf->admin_token), c->admin_digest);
    if (!c->conf.root_access_key || !c->conf.root_secret_key || !c->conf.external_url)
        return -ENOMEM;
    c->root = (struct access_key){c->conf.root_access_key, c->conf.root_secret_key, "root", true};
    return 0;
}

static void control_free(struct control *c)
{
    keys_fini(&c->keys);
    signing_fini(&c->signing);
    grants_fini(&c->grants);
    verified_fini(&c->verified);
    sbuf_fini(&c->openapi);
    free((char *)(uintptr_t)c->conf.root_access_key);
    if (c->conf.root_secret_key)
        explicit_bzero((char *)(uintptr_t)c->conf.root_secret_key, strlen(c->conf.root_secret_key));
    free((char *)(uintptr_t)c->conf.root_secret_key);
    free((char *)(uintptr_t)c->conf.external_url);
    explicit_bzero(c->master_key, sizeof(c->master_key));
    free(c);
}

int control_open(struct loop *loop, struct client *client, const struct control_conf *conf,
                 struct control **ret_control, void (*ready_cb)(void *ctx, int err), void *ctx)
{
    if (!conf->master_key || !conf->admin_token || !conf->admin_token[0])
        return -EINVAL;
    struct control *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->loop = loop;
    c->client = client;
    c->ready_cb = ready_cb;
    c->ready_ctx = ctx;
    keys_init(&c->keys, loop);
    random_bytes(&c->process_id, sizeof(c->process_id));
    if (conf_take(c, conf) || grants_init(&c->grants, GRANTS_MAX) || verified_init(&c->verified)) {
        control_free(c);
        return -ENOMEM;
    }
    *ret_control = c;
    control_begin(c);
    rows_init(&c->load, loop, client, &c->load_arena);
    load_next_page(c, "key", STR_NONE, load_keys_page);
    return 0;
}

void control_close(struct control *c)
{
    assert(c->calls_open == 0);
    control_free(c);
}

/* ---- S3 access keys ---- */

const struct access_key *control_key(struct control *c, struct str access)
{
    if (c->root.access[0] && str_eq(access, str_c(c->root.access)))
        return &c->root;
    const struct key_entry *e = keys_find(&c->keys, access);
    return e ? &e->pub : NULL;
}

unsigned control_rights(struct control *c, const struct access_key *k, struct str bucket, struct str owner)
{
    (void)c;
    if (k->root)
        return RIGHT_READ | RIGHT_WRITE | RIGHT_OWNER;
    const struct key_entry *e = container_of(k, const struct key_entry, pub);
    for (size_t i = 0; i < e->bucket_count; i++) {
        if (str_eq(str_c(e->buckets[i].name), bucket))
            return e->buckets[i].rights;
    }
    return str_eq(str_c(k->creator), owner) ? RIGHT_READ | RIGHT_WRITE | RIGHT_OWNER : 0;
}
