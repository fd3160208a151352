/* The routes of signing keys. Each reads all rows, decides, and commits by compare-and-swap; memory follows the commit.
 * A retired key's secret is erased from its row; the row stays, so that explain can say "retired 3 h ago". */
#include "control/api.h"

#include <stdio.h>

struct turn {
    Pb__SigningRow *rows[SIGNING_KEPT_MAX];
    uint64_t revisions[SIGNING_KEPT_MAX];
    size_t count;
    Pb__SigningRow *changed[2]; /* of this transaction */
    size_t changed_count;
    Pb__SigningRow *dropped;
    void (*decide)(struct call *c, struct turn *t);
    uint32_t kid;
};

struct str signing_row_key(struct arena *a, uint32_t kid)
{
    char *text = arena_printf(a, "%010u", kid); /* sorts as the number does */
    return text ? rows_key(a, "signing", str_c(text), STR_NONE) : STR_NONE;
}

/* ---- rows ---- */

static Pb__SigningRow *row_of(const struct turn *t, uint32_t kid)
{
    for (size_t i = 0; i < t->count; i++) {
        if (t->rows[i]->kid == kid)
            return t->rows[i];
    }
    return NULL;
}

static Pb__SigningRow *active_row(const struct turn *t)
{
    for (size_t i = 0; i < t->count; i++) {
        if (t->rows[i]->state == SIGNING_ACTIVE)
            return t->rows[i];
    }
    return NULL;
}

/* The live key that is not the active one. */
static Pb__SigningRow *verifying_row(const struct turn *t)
{
    for (size_t i = 0; i < t->count; i++) {
        if (t->rows[i]->state == SIGNING_VERIFYING)
            return t->rows[i];
    }
    return NULL;
}

static uint64_t revision_of(const struct turn *t, const Pb__SigningRow *row)
{
    for (size_t i = 0; i < t->count; i++) {
        if (t->rows[i] == row)
            return t->revisions[i];
    }
    return 0;
}

/* A new key with the next number; NULL: out of memory. When as many as are kept are there, the oldest retired one goes.
 */
static Pb__SigningRow *row_make(struct call *c, struct turn *t, enum signing_state state)
{
    uint32_t newest = t->count ? t->rows[t->count - 1]->kid : 0;
    Pb__SigningRow *row = arena_alloc(&c->arena, sizeof(*row));
    uint8_t *sealed = arena_alloc(&c->arena, SIGNING_SECRET_LEN + SEAL_OVERHEAD);
    if (!row || !sealed || newest == UINT32_MAX || signing_secret(c->control->master_key, newest + 1, sealed))
        return NULL;
    pb__signing_row__init(row);
    row->format = ROWS_FORMAT;
    row->kid = newest + 1;
    row->state = state;
    row->created_ms = call_now_ms(c);
    row->sealed_secret = (ProtobufCBinaryData){.len = SIGNING_SECRET_LEN + SEAL_OVERHEAD, .data = sealed};
    for (size_t i = 0; t->count == SIGNING_KEPT_MAX && !t->dropped && i < t->count; i++) {
        if (t->rows[i]->state == SIGNING_RETIRED)
            t->dropped = t->rows[i];
    }
    t->changed[t->changed_count++] = row;
    return row;
}

/* ---- answers ---- */

static json_t *render(const Pb__SigningRow *row)
{
    return json_pack("{s:I, s:s, s:o, s:o}", "kid", (json_int_t)row->kid, "state",
                     signing_state_name((enum signing_state)row->state), "created_at",
                     schema_stamp(row->created_ms / 1000), "retired_at", schema_stamp_or_null(row->retired_ms / 1000));
}

static json_t *render_memory(const struct control *control)
{
    const struct signing *s = &control->signing;
    json_t *list = json_array();
    uint32_t below = UINT32_MAX;
    for (;;) { /* newest first; at most SIGNING_KEPT_MAX of them */
        const struct signing_key *best = NULL;
        for (size_t i = 0; i < s->count; i++) {
            if (s->keys[i].kid < below && (!best || s->keys[i].kid > best->kid))
                best = &s->keys[i];
        }
        if (!best)
            return json_pack("{s:o}", "signing_keys", list);
        Pb__SigningRow row;
        pb__signing_row__init(&row);
        row.kid = below = best->kid;
        row.state = best->state;
        row.created_ms = best->created_ms;
        row.retired_ms = best->retired_ms;
        json_array_append_new(list, render(&row));
    }
}

static void answer(struct call *c, const struct turn *t)
{
    if (c->route->status == 204)
        call_empty(c, 204);
    else if (c->route->response == SCHEMA_SigningKeyList)
        call_json(c, 200, render_memory(c->control));
    else
        call_json(c, c->route->status, render(t->changed_count ? t->changed[0] : row_of(t, t->kid)));
}

/* ---- the steps ---- */

static void all_read(struct rows *r, int status);

static void start(struct call *c)
{
    struct str base = str_c("signing");
    rows_range(&c->rows, rows_from(&c->arena, base, STR_NONE), rows_to(&c->arena, base), SIGNING_KEPT_MAX, all_read);
}

static void committed(struct rows *r, int status)
{
    struct call *c = call_of(r);
    const struct turn *t = c->state;
    int err = status;
    if (status == ROWS_CONFLICT && ++c->tries < API_TRIES) {
        start(c);
        return;
    }
    if (status > 0) {
        call_fail(c, API_CONFLICT, NULL);
        return;
    }
    if (!err && t->dropped)
        signing_forget(&c->control->signing, t->dropped->kid);
    for (size_t i = 0; !err && i < t->changed_count; i++)
        err = signing_apply(&c->control->signing, c->control->master_key, t->changed[i]);
    if (err)
        call_fail_rows(c, err);
    else
        answer(c, t);
}

static void commit(struct call *c, struct turn *t)
{
    if (t->changed_count == 0) {
        answer(c, t);
        return;
    }
    rows_begin(&c->rows);
    for (size_t i = 0; i < t->changed_count; i++) {
        struct str key = signing_row_key(&c->arena, t->changed[i]->kid);
        rows_expect(&c->rows, key, revision_of(t, t->changed[i]));
        rows_put(&c->rows, key, &t->changed[i]->base);
    }
    if (t->dropped)
        rows_delete(&c->rows, signing_row_key(&c->arena, t->dropped->kid));
    rows_commit(&c->rows, committed);
}

static void all_read(struct rows *r, int status)
{
    struct call *c = call_of(r);
    struct turn *t = c->state;
    int err = status > 0 ? E_PROTOCOL : status;
    t->count = t->changed_count = 0;
    t->dropped = NULL;
    for (size_t i = 0; !err && i < r->count && i < SIGNING_KEPT_MAX; i++) {
        ProtobufCMessage *m;
        err = rows_value(&c->arena, r->items[i], &pb__signing_row__descriptor, &m);
        if (err)
            break;
        t->rows[t->count] = (Pb__SigningRow *)(void *)m;
        t->revisions[t->count++] = r->items[i]->revision;
    }
    if (err)
        call_fail_rows(c, err);
    else
        t->decide(c, t);
}

static void begin(struct call *c, void (*decide)(struct call *c, struct turn *t))
{
    struct turn *t = arena_alloc(&c->arena, sizeof(*t));
    uint64_t kid = 0;
    if (!t) {
        call_fail(c, API_INTERNAL, NULL);
        return;
    }
    if (c->param_count && (str_u64(c->params[0], &kid) || kid > UINT32_MAX)) {
        call_fail(c, API_SIGNING_KEY_UNKNOWN, NULL);
        return;
    }
    t->decide = decide;
    t->kid = (uint32_t)kid;
    c->state = t;
    start(c);
}

/* ---- the routes ---- */

void api_signing_list(struct call *c)
{
    call_json(c, 200, render_memory(c->control));
}

static void decide_post(struct call *c, struct turn *t)
{
    if (active_row(t) && verifying_row(t))
        call_fail(c, API_SIGNING_KEYS_FULL, "two signing keys are live: retire key %u first", verifying_row(t)->kid);
    else if (!row_make(c, t, active_row(t) ? SIGNING_VERIFYING : SIGNING_ACTIVE))
        call_fail(c, API_INTERNAL, NULL);
    else
        commit(c, t);
}

void api_signing_post(struct call *c)
{
    begin(c, decide_post);
}

/* A key that was made after the active one is waiting to be used; one that was made before it is on its way out. */
static void decide_rotate(struct call *c, struct turn *t)
{
    Pb__SigningRow *active = active_row(t), *other = verifying_row(t);
    if (active && other && other->kid < active->kid) {
        call_fail(c, API_SIGNING_KEYS_FULL, "key %u still verifies URLs: retire it first, then rotate", other->kid);
        return;
    }
    if (other) {
        other->state = SIGNING_ACTIVE;
        t->changed[t->changed_count++] = other;
    } else if (!row_make(c, t, SIGNING_ACTIVE)) {
        call_fail(c, API_INTERNAL, NULL);
        return;
    }
    if (active) {
        active->state = SIGNING_VERIFYING;
        t->changed[t->changed_count++] = active;
    }
    commit(c, t);
}

void api_signing_rotate(struct call *c)
{
    begin(c, decide_rotate);
}

static void decide_retire(struct call *c, struct turn *t)
{
    Pb__SigningRow *row = row_of(t, t->kid);
    if (!row) {
        call_fail(c, API_SIGNING_KEY_UNKNOWN, NULL);
        return;
    }
    if (row->state == SIGNING_ACTIVE) {
        call_fail(c, API_SIGNING_KEY_ACTIVE, NULL);
        return;
    }
    if (row->state != SIGNING_RETIRED) {
        row->state = SIGNING_RETIRED;
        row->retired_ms = call_now_ms(c);
        row->sealed_secret = (ProtobufCBinaryData){0};
        t->changed[t->changed_count++] = row;
    }
    commit(c, t);
}

void api_signing_retire(struct call *c)
{
    begin(c, decide_retire);
}

void api_signing_delete(struct call *c)
{
    begin(c, decide_retire);
}
