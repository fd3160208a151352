/* One question of the platform: may this learner see this lesson, and by which URL? Everything is read in one call, so
 * the answer is of one moment. The token covers the lesson's prefix; the path after it is the full object key, so that
 * relative URIs in playlists inherit the token and the gateway never has to guess where a lesson begins. */
#include "control/catalogue.h"

#include "common/uri.h"
#include "control/path.h"
#include "control/when.h"

struct asking {
    struct str user, course, lesson;
    struct str keys[4]; /* user, course, lesson, grant */
};

static bool denied(struct call *c, const Pb__GrantRow *grant)
{
    char text[24];
    uint64_t from = grant ? grant->from_s : 0, until = grant ? grant->until_s : 0;
    switch (grant_judge(grant != NULL, from, until, call_now_s(c))) {
    case DENY_NONE:
        return false;
    case DENY_GRANT_NOT_YET:
        when_print(from, text);
        call_fail(c, API_GRANT_NOT_YET, "the learner's access begins at %s", text);
        return true;
    case DENY_GRANT_ENDED:
        when_print(until, text);
        call_fail(c, API_GRANT_ENDED, "the learner's access ended at %s", text);
        return true;
    default:
        call_fail(c, API_GRANT_MISSING, NULL);
        return true;
    }
}

static struct str session_make(struct arena *a)
{
    uint8_t random[12];
    char *text = arena_alloc(a, BASE64_LEN(sizeof(random)));
    random_bytes(random, sizeof(random));
    if (text)
        base64url_encode(random, sizeof(random), text);
    return str_c(text);
}

static const char *url_make(struct call *c, struct str token, const Pb__LessonRow *lesson)
{
    struct sbuf url = {0};
    char *copy = NULL;
    sbuf_puts(&url, c->control->conf.external_url);
    sbuf_str(&url, PATH_MEDIA);
    sbuf_str(&url, token);
    sbuf_puts(&url, "/");
    uri_encode_to(&url, str_c(lesson->prefix), true);
    uri_encode_to(&url, str_c(lesson->entry), true);
    if (!url.err)
        copy = arena_copy(&c->arena, url.p, url.len);
    sbuf_fini(&url);
    return copy;
}

/* The URL ends with the grant where that is sooner: a player that is told so can say why. */
static struct token token_make(struct call *c, const Pb__LessonRow *lesson, const Pb__GrantRow *grant, uint32_t kid)
{
    const struct asking *q = c->state;
    const char *audience = json_string_value(json_object_get(c->body, "audience"));
    uint64_t now = call_now_s(c), expires = now + MAX_OF(c->control->conf.playback_ttl_ms / 1000, 1);
    if (grant->until_s)
        expires = MIN_OF(expires, grant->until_s);
    return (struct token){
        .kid = kid,
        .audience = audience ? (enum token_audience)schema_audience(audience) : TOKEN_PLAY,
        .user = q->user,
        .course = q->course,
        .lesson = q->lesson,
        .bucket = str_c(lesson->bucket),
        .prefix = str_c(lesson->prefix),
        .session = session_make(&c->arena),
        .not_before_s = now,
        .expires_s = expires,
    };
}

static void playback_answer(struct call *c, const Pb__LessonRow *lesson, const Pb__GrantRow *grant)
{
    const struct signing_key *key = signing_active(&c->control->signing);
    struct str text;
    assert(key && key->mac); /* rotate never leaves us without one */
    struct token t = token_make(c, lesson, grant, key->kid);
    int err = t.session.p ? token_sign(&c->arena, &t, key->mac, &text) : -ENOMEM;
    const char *url = err ? NULL : url_make(c, text, lesson);
    if (!url)
        call_fail(c, API_INTERNAL, NULL);
    else
        call_json(c, 200,
                  json_pack("{s:s, s:o, s:o}", "url", url, "session", catalogue_str(t.session), "expires_at",
                            schema_stamp(t.expires_s)));
}

static void playback_read(struct rows *r, int status)
{
    static const struct kind *const kinds[] = {&kind_user, &kind_course, &kind_lesson};
    struct call *c = call_of(r);
    const struct asking *q = c->state;
    const ProtobufCMessage *m = NULL;
    int err = status;
    for (size_t i = 0; !err && i < ARRAY_LEN(kinds); i++) {
        m = catalogue_row(c, kinds[i], q->keys[i], &err);
        if (!err && !m) {
            call_fail(c, kinds[i]->unknown, NULL);
            return;
        }
    }
    const ProtobufCMessage *grant = err ? NULL : catalogue_row(c, &kind_grant, q->keys[3], &err);
    if (err)
        call_fail_rows(c, err);
    else if (!denied(c, (const void *)grant))
        playback_answer(c, (const void *)m, (const void *)grant);
}

void api_playback_post(struct call *c)
{
    struct asking *q = arena_alloc(&c->arena, sizeof(*q));
    if (!q) {
        call_fail(c, API_INTERNAL, NULL);
        return;
    }
    q->user = call_body_str(c, "user");
    q->course = call_body_str(c, "course");
    q->lesson = call_body_str(c, "lesson");
    q->keys[0] = rows_key(&c->arena, "user", q->user, STR_NONE);
    q->keys[1] = rows_key(&c->arena, "course", q->course, STR_NONE);
    q->keys[2] = rows_key(&c->arena, "lesson", q->course, q->lesson);
    q->keys[3] = rows_key(&c->arena, "grant", q->user, q->course);
    c->state = q;
    rows_get(&c->rows, q->keys, ARRAY_LEN(q->keys), playback_read);
}
