/* The judgement behind every media request: cheap things first, nothing about the object ever, and "no" whenever the
 * answer cannot be had. The order is that of DENY_ROWS, the same for everybody, so that a denial tells a stranger
 * nothing but what the token itself says. */
#include "control/control_priv.h"

#include "control/media_kind.h"
#include "control/path.h"

static enum deny token_deny(int outcome)
{
    switch (outcome) {
    case TOKEN_OK:
        return DENY_NONE;
    case TOKEN_UNKNOWN_KEY:
        return DENY_UNKNOWN_KEY;
    case TOKEN_BAD_SIGNATURE:
        return DENY_BAD_SIGNATURE;
    case TOKEN_NOT_YET:
        return DENY_NOT_YET;
    case TOKEN_EXPIRED:
        return DENY_EXPIRED;
    case TOKEN_MALFORMED:
        return DENY_MALFORMED;
    default:
        return DENY_UNAVAILABLE;
    }
}

/* Form and signature; the claims land in the caller's arena. */
static enum deny check_signature(struct control *c, struct control_check *q)
{
    uint32_t kid;
    if (token_kid(q->token_text, &kid))
        return DENY_MALFORMED;
    struct hmac_key *key = signing_live(&c->signing, kid);
    if (!key)
        return DENY_UNKNOWN_KEY;
    const struct token *known = verified_find(&c->verified, q->token_text);
    if (known) {
        char *claims = arena_alloc(q->arena, q->token_text.len);
        return claims && !token_copy(known, claims, q->token_text.len, &q->token) ? DENY_NONE : DENY_UNAVAILABLE;
    }
    int outcome = token_parse(q->arena, q->token_text, key, &q->token);
    if (outcome == TOKEN_OK)
        verified_put(&c->verified, q->token_text, &q->token);
    return token_deny(outcome);
}

static uint64_t now_s(const struct control *c)
{
    struct clock *clock = loop_clock(c->loop);
    return clock->wall_ms(clock) / 1000;
}

enum deny check_token(struct control *c, struct control_check *q)
{
    if (!path_key_ok(q->path))
        return DENY_BAD_PATH;
    enum deny deny = check_signature(c, q);
    if (deny != DENY_NONE)
        return deny;
    deny = token_deny((int)token_time(&q->token, now_s(c), CONTROL_SKEW_S));
    if (deny != DENY_NONE)
        return deny;
    if (!media_kind_allowed(q->token.audience, q->path))
        return DENY_AUDIENCE;
    return token_covers(&q->token, q->path) ? DENY_NONE : DENY_PREFIX;
}

static void finish(struct control_check *q, enum deny deny)
{
    q->deny = deny;
    q->cb(q);
}

static bool fresh(const struct control *c, const struct grant_entry *e)
{
    return e->known && loop_now_ns(c->loop) - e->read_ns < c->conf.grant_cache_ms * MS_NS;
}

static void grant_answered(struct rpc *r);

static void grant_read(struct control *c, struct grant_entry *e, struct control_check *q)
{
    e->reading = true;
    e->stale = false;
    e->read_ns = loop_now_ns(c->loop);
    memcpy(q->key_text, e->key, e->key_len);
    q->key = (ProtobufCBinaryData){.len = e->key_len, .data = (uint8_t *)q->key_text};
    pb__rows_get_req__init(&q->req);
    q->req.table = (char *)(uintptr_t)ROWS_TABLE;
    q->req.keys = &q->key;
    q->req.n_keys = 1;
    q->rpc = (struct rpc){.type = RPC_ROWS_GET, .req = &q->req, .arena = q->arena, .cb = grant_answered};
    client_call(c->client, &q->rpc);
}

/* Takes the answer of the read into the entry. Anything that is not a clear answer is an error. */
static int grant_take(struct grant_entry *e, const struct control_check *q)
{
    const Pb__RowsGetRep *rep = q->rpc.rep;
    ProtobufCMessage *m;
    if (q->rpc.status < 0 || (q->rpc.status > 0 && q->rpc.status != RPC_NOT_FOUND))
        return E_UNAVAILABLE;
    e->exists = q->rpc.status == 0 && rep && rep->n_rows == 1;
    if (e->exists) {
        int err = rows_value(q->arena, rep->rows[0], &pb__grant_row__descriptor, &m);
        if (err)
            return err;
        e->from_s = ((const Pb__GrantRow *)(const void *)m)->from_s;
        e->until_s = ((const Pb__GrantRow *)(const void *)m)->until_s;
    }
    e->known = true;
    return 0;
}

static void grant_answered(struct rpc *r)
{
    struct control_check *q = container_of(r, struct control_check, rpc);
    struct control *c = q->control;
    struct grant_entry *e = q->grant;
    if (e->stale) { /* changed while it was being read */
        grant_read(c, e, q);
        return;
    }
    int err = grant_take(e, q);
    e->reading = false;
    enum deny deny = err ? DENY_UNAVAILABLE : grant_judge(e->exists, e->from_s, e->until_s, now_s(c));
    struct control_check *waiter = e->waiters;
    e->waiters = NULL;
    while (waiter) {
        struct control_check *next = waiter->next;
        finish(waiter, deny);
        control_end(c);
        waiter = next;
    }
}

void control_check(struct control *c, struct control_check *q)
{
    char text[GRANT_KEY_MAX];
    if (!c->ready) {
        finish(q, DENY_UNAVAILABLE);
        return;
    }
    enum deny deny = check_token(c, q);
    if (deny != DENY_NONE) {
        finish(q, deny);
        return;
    }
    struct grant_entry *e = grants_entry(&c->grants, grant_key(q->token.user, q->token.course, text));
    if (!e) {
        finish(q, DENY_UNAVAILABLE);
        return;
    }
    if (fresh(c, e)) {
        finish(q, grant_judge(e->exists, e->from_s, e->until_s, now_s(c)));
        return;
    }
    control_begin(c);
    q->control = c;
    q->grant = e;
    q->next = e->waiters;
    e->waiters = q;
    if (!e->reading)
        grant_read(c, e, q);
}
