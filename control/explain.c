/* Why would the gateway refuse this? The judgement is the gateway's own (check_token, grant_judge); what is added is
 * everything it must not tell a stranger: times, numbers, claims, the grant as it is now, the clock. */
#include "control/catalogue.h"

#include "common/uri.h"
#include "control/path.h"
#include "control/when.h"
#include <stdio.h>

struct explaining {
    struct control_check check;
    bool has_path, has_kid, has_claims, verified;
    uint32_t kid;
    enum deny deny;
    struct str grant_key;
};

/* Takes a bare token, a path (/t/...) or a URL; whatever else it may be, it is no token. */
static void take_apart(struct call *c, struct explaining *e)
{
    struct str text = str_trim(c->token), raw;
    const char *at = text.len ? memmem(text.p, text.len, "/t/", 3) : NULL;
    if (!at) {
        e->check.token_text = text;
        return;
    }
    text = (struct str){at, text.len - (size_t)(at - text.p)};
    for (size_t i = 0; i < text.len; i++) {
        if (text.p[i] == '?' || text.p[i] == '#')
            text.len = i;
    }
    e->has_path = !path_media_split(text, &e->check.token_text, &raw) && !path_decode(&c->arena, raw, &e->check.path);
    if (!e->has_path)
        e->deny = DENY_BAD_PATH;
}

/* A bare token is judged on a path that it covers, so that only the token is judged. */
static struct str path_within(struct arena *a, const struct token *t)
{
    if (t->prefix.len == 0 || t->prefix.p[t->prefix.len - 1] != '/')
        return t->prefix;
    const char *ending = t->audience == TOKEN_THUMBNAIL ? "x.jpg" : t->audience == TOKEN_KEY ? "x.key" : "x";
    return str_c(arena_printf(a, "%.*s%s", STR_ARG(t->prefix), ending));
}

static void distance_text(char *out, size_t cap, const char *before, uint64_t seconds, const char *after)
{
    char text[32];
    when_distance(seconds, text);
    snprintf(out, cap, "%s%s%s", before, text, after);
}

static void key_text(const struct call *c, const struct explaining *e, char *out, size_t cap)
{
    const struct signing_key *k = signing_find(&c->control->signing, e->kid);
    char ago[32];
    if (!k) {
        snprintf(out, cap, "kid %u was never a signing key here, or is long forgotten", e->kid);
        return;
    }
    when_distance(call_now_s(c) - MIN_OF(k->retired_ms / 1000, call_now_s(c)), ago);
    snprintf(out, cap, "kid %u was retired %s ago", e->kid, ago);
}

/* In words, with the numbers that a person would ask for next. */
static void explanation(const struct call *c, const struct explaining *e, const Pb__GrantRow *grant, char *out,
                        size_t cap)
{
    const struct token *t = &e->check.token;
    uint64_t now = call_now_s(c);
    char text[128];
    switch (e->deny) {
    case DENY_UNKNOWN_KEY:
        key_text(c, e, out, cap);
        return;
    case DENY_EXPIRED:
        distance_text(text, sizeof(text), "expired ", now - t->expires_s, " ago");
        snprintf(out, cap, "%s, kid %u", text, e->kid);
        return;
    case DENY_NOT_YET:
        distance_text(text, sizeof(text), "valid in ", t->not_before_s - now, "");
        snprintf(out, cap, "%s, kid %u: the clock that signed it is ahead of this one", text, e->kid);
        return;
    case DENY_PREFIX:
        snprintf(out, cap, "the token opens %.*s and the path is %.*s", STR_ARG(t->prefix), STR_ARG(e->check.path));
        return;
    case DENY_AUDIENCE:
        snprintf(out, cap, "a token for %s does not open %.*s", schema_audience_name(t->audience),
                 STR_ARG(e->check.path));
        return;
    case DENY_NO_GRANT:
        snprintf(out, cap, "user %.*s has no grant for course %.*s (any more)", STR_ARG(t->user), STR_ARG(t->course));
        return;
    case DENY_GRANT_NOT_YET:
        distance_text(out, cap, "the grant begins in ", grant->from_s - now, "");
        return;
    case DENY_GRANT_ENDED:
        distance_text(out, cap, "the grant ended ", now - grant->until_s, " ago");
        return;
    case DENY_NONE:
        distance_text(text, sizeof(text), "it opens; it expires in ", t->expires_s - MIN_OF(now, t->expires_s), "");
        snprintf(out, cap, "%s, kid %u", text, e->kid);
        return;
    default:
        snprintf(out, cap, "%s", deny_text(e->deny));
        return;
    }
}

static json_t *claims_json(const struct token *t)
{
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "audience", schema_audience_name(t->audience),
                     "user", catalogue_str(t->user), "course", catalogue_str(t->course), "lesson",
                     catalogue_str(t->lesson), "bucket", catalogue_str(t->bucket), "prefix", catalogue_str(t->prefix),
                     "session", catalogue_str(t->session), "not_before", schema_stamp(t->not_before_s), "expires",
                     schema_stamp(t->expires_s));
}

static json_t *or_null(json_t *j)
{
    return j ? j : json_null();
}

static void explain_answer(struct call *c, const ProtobufCMessage *grant)
{
    struct explaining *e = c->state;
    const struct signing_key *k = e->has_kid ? signing_find(&c->control->signing, e->kid) : NULL;
    char text[3200];
    explanation(c, e, (const void *)grant, text, sizeof(text));
    json_t *words = json_string(text); /* NULL when a forged claim is not UTF-8 */
    json_t *j = json_pack("{s:b, s:s, s:i, s:s, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o}", "allowed",
                          e->deny == DENY_NONE, "code", deny_code(e->deny), "status", deny_status(e->deny), "message",
                          deny_text(e->deny), "explanation", words ? words : json_string(deny_text(e->deny)), "now",
                          schema_stamp(call_now_s(c)), "kid", e->has_kid ? json_integer(e->kid) : json_null(),
                          "signing_key", k ? json_string(signing_state_name(k->state)) : json_null(), "signature_valid",
                          e->verified, "path", e->has_path ? or_null(catalogue_str(e->check.path)) : json_null(),
                          "claims", e->has_claims ? or_null(claims_json(&e->check.token)) : json_null(), "grant",
                          grant ? kind_grant.render(grant, e->check.token.user, e->check.token.course) : json_null());
    call_json(c, 200, j);
}

static void grant_was_read(struct rows *r, int status)
{
    struct call *c = call_of(r);
    struct explaining *e = c->state;
    int err = status;
    const ProtobufCMessage *m = err ? NULL : catalogue_row(c, &kind_grant, e->grant_key, &err);
    const Pb__GrantRow *grant = (const void *)m;
    if (err) {
        call_fail_rows(c, err);
        return;
    }
    if (e->deny == DENY_NONE)
        e->deny = grant_judge(grant != NULL, grant ? grant->from_s : 0, grant ? grant->until_s : 0, call_now_s(c));
    explain_answer(c, m);
}

static bool ids_ok(const struct token *t)
{
    return schema_id_ok(t->user) && schema_id_ok(t->course);
}

static void judge(struct call *c, struct explaining *e)
{
    enum deny by_path = e->deny;
    e->check.arena = &c->arena;
    e->has_kid = token_kid(e->check.token_text, &e->kid) == 0;
    e->has_claims = token_peek(&c->arena, e->check.token_text, &e->check.token) == 0;
    if (!e->check.path.p)
        e->check.path = e->has_claims ? path_within(&c->arena, &e->check.token) : STR_NONE;
    if (!path_key_ok(e->check.path))
        e->check.path = STR("x"); /* nobody asked for a path */
    struct token peeked = e->check.token;
    e->deny = check_token(c->control, &e->check);
    e->verified = e->has_claims && e->deny != DENY_MALFORMED && e->deny != DENY_UNKNOWN_KEY &&
                  e->deny != DENY_BAD_SIGNATURE && e->deny != DENY_UNAVAILABLE && e->deny != DENY_BAD_PATH;
    if (!e->verified)
        e->check.token = peeked;
    if (by_path != DENY_NONE)
        e->deny = by_path;
}

void api_explain(struct call *c)
{
    struct explaining *e = arena_alloc(&c->arena, sizeof(*e));
    if (!e) {
        call_fail(c, API_INTERNAL, NULL);
        return;
    }
    c->state = e;
    if (c->token.len == 0) {
        call_fail(c, API_QUERY_INVALID,
                  "token must be a token, a path /t/TOKEN/... or a whole playback URL, percent-encoded");
        return;
    }
    take_apart(c, e);
    judge(c, e);
    if (!e->has_claims || !ids_ok(&e->check.token)) {
        explain_answer(c, NULL);
        return;
    }
    e->grant_key = rows_key(&c->arena, "grant", e->check.token.user, e->check.token.course);
    rows_get(&c->rows, &e->grant_key, 1, grant_was_read);
}
