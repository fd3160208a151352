#include "control/control.h"
#include "tests/lib/control_rig.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct control_rig rig;

static void setup(void)
{
    control_rig_open(&rig, 10000);
    control_rig_course(&rig);
}

static void teardown(void)
{
    control_rig_close(&rig);
}

TestSuite(check, .init = setup, .fini = teardown);

struct question {
    struct control_check q;
    struct arena arena;
    bool answered, inside;
};

static void on_answer(struct control_check *q)
{
    container_of(q, struct question, q)->answered = true;
}

/* token: of this URL; path: decoded. */
static void ask(struct question *x, const char *url, const char *path)
{
    const char *token = strstr(url, "/t/") + 3;
    *x = (struct question){0};
    arena_init(&x->arena, MIB);
    x->q.arena = &x->arena;
    x->q.token_text = arena_str(&x->arena, (struct str){token, strcspn(token, "/")});
    x->q.path = arena_str(&x->arena, str_c(path));
    x->q.cb = on_answer;
    control_check(rig.control, &x->q);
    x->inside = x->answered;
}

static enum deny finish(struct question *x)
{
    cr_assert(TURN_UNTIL(rig.loop, x->answered), "no answer");
    enum deny d = x->q.deny;
    arena_fini(&x->arena);
    return d;
}

static enum deny judge(const char *url, const char *path)
{
    struct question x;
    ask(&x, url, path);
    return finish(&x);
}

static void advance_s(uint64_t s)
{
    rig.clock.wall_now_ms += s * 1000;
    rig.clock.mono_now_ns += s * SEC_NS;
}

Test(check, a_good_token_opens_its_prefix_and_nothing_beside_it)
{
    static const struct {
        const char *path;
        enum deny want;
    } rows[] = {
        {"c/12/index.m3u8", DENY_NONE},
        {"c/12/a/b/seg 1.ts", DENY_NONE},
        {"c/123/index.m3u8", DENY_PREFIX},
        {"c/1", DENY_PREFIX},
        {"c/12", DENY_PREFIX},
        {"C/12/x", DENY_PREFIX},
        {"d/x", DENY_PREFIX},
        {"c/12/../13/x", DENY_BAD_PATH},
        {"", DENY_BAD_PATH},
        {"c/12//x", DENY_BAD_PATH},
        {"/c/12/x", DENY_BAD_PATH},
    };
    char *url = control_rig_playback(&rig, NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        cr_expect_eq(judge(url, rows[i].path), rows[i].want, "%s", rows[i].path);
    free(url);
}

Test(check, what_the_token_says_is_given_to_the_caller)
{
    char *url = control_rig_playback(&rig, NULL);
    struct question x;
    ask(&x, url, "c/12/x");
    cr_assert(TURN_UNTIL(rig.loop, x.answered));
    cr_expect_eq(x.q.deny, DENY_NONE);
    cr_expect(str_eq(x.q.token.bucket, STR("media")) && str_eq(x.q.token.user, STR("ada")));
    cr_expect_gt(x.q.token.session.len, 10u);
    arena_fini(&x.arena);
    free(url);
}

Test(check, time_is_judged_with_thirty_seconds_of_skew)
{
    char *url = control_rig_playback(&rig, NULL);
    uint64_t start = rig.clock.wall_now_ms;
    const uint64_t life = 12 * 3600;
    static const struct {
        int64_t at; /* seconds from the signing; from the end when past 1000 */
        enum deny want;
    } rows[] = {{-31, DENY_NOT_YET}, {-29, DENY_NONE}, {0, DENY_NONE}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        rig.clock.wall_now_ms = start + (uint64_t)(rows[i].at * 1000);
        cr_expect_eq(judge(url, "c/12/x"), rows[i].want, "%lld s", (long long)rows[i].at);
    }
    rig.clock.wall_now_ms = start + (life + 29) * 1000;
    cr_expect_eq(judge(url, "c/12/x"), DENY_NONE);
    rig.clock.wall_now_ms = start + (life + 31) * 1000;
    cr_expect_eq(judge(url, "c/12/x"), DENY_EXPIRED);
    free(url);
}

Test(check, audiences_open_what_they_are_for)
{
    static const struct {
        const char *audience, *path;
        enum deny want;
    } rows[] = {
        {"play", "c/12/seg.ts", DENY_NONE},
        {"play", "c/12/x.jpg", DENY_NONE},
        {"download", "c/12/book.pdf", DENY_NONE},
        {"thumbnail", "c/12/x.jpg", DENY_NONE},
        {"thumbnail", "c/12/seg.ts", DENY_AUDIENCE},
        {"thumbnail", "c/12/index.m3u8", DENY_AUDIENCE},
        {"key", "c/12/a.key", DENY_NONE},
        {"key", "c/12/seg.ts", DENY_AUDIENCE},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *url = control_rig_playback(&rig, rows[i].audience);
        cr_expect_eq(judge(url, rows[i].path), rows[i].want, "%s %s", rows[i].audience, rows[i].path);
        free(url);
    }
}

Test(check, a_token_that_is_none_is_malformed_or_altered)
{
    char *url = control_rig_playback(&rig, NULL), text[TOKEN_TEXT_MAX + 200];
    const char *token = strstr(url, "/t/") + 3;
    size_t len = strcspn(token, "/");
    cr_expect_eq(judge("/t/AAAA/", "c/12/x"), DENY_MALFORMED);
    cr_expect_eq(judge("/t//", "c/12/x"), DENY_MALFORMED);
    cr_expect_eq(judge("/t/%41/", "c/12/x"), DENY_MALFORMED);
    snprintf(text, sizeof(text), "/t/%.*sA/", (int)len, token);
    cr_expect_neq(judge(text, "c/12/x"), DENY_NONE);
    snprintf(text, sizeof(text), "/t/%.*s/", (int)len, token);
    cr_assert_eq(judge(text, "c/12/x"), DENY_NONE); /* known from now on: the next ones must not ride on it */
    for (size_t at = 0; at < len; at += 7) {
        char *p = text + 3 + at;
        char was = *p;
        *p = was == 'A' ? 'B' : 'A';
        enum deny d = judge(text, "c/12/x");
        cr_expect(d == DENY_MALFORMED || d == DENY_BAD_SIGNATURE || d == DENY_UNKNOWN_KEY, "character %zu: %s", at,
                  deny_code(d));
        *p = was;
    }
    free(url);
}

Test(check, a_retired_key_denies_even_a_token_that_was_just_accepted)
{
    char *url = control_rig_playback(&rig, NULL);
    cr_assert_eq(judge(url, "c/12/x"), DENY_NONE);
    cr_assert_eq(control_rig_call(&rig, "POST", "/v1/signing-keys/rotate", NULL, NULL), 200);
    cr_expect_eq(judge(url, "c/12/x"), DENY_NONE, "the older key verifies");
    cr_assert_eq(control_rig_call(&rig, "POST", "/v1/signing-keys/1/retire", NULL, NULL), 200);
    cr_expect_eq(judge(url, "c/12/x"), DENY_UNKNOWN_KEY);
    free(url);
}

Test(check, a_grant_decides_and_its_bounds_hold)
{
    char *url = control_rig_playback(&rig, NULL);
    static const struct {
        const char *body;
        enum deny want;
    } rows[] = {
        {"{\"from\":1700000000}", DENY_NONE},
        {"{\"from\":1700000001}", DENY_GRANT_NOT_YET},
        {"{\"until\":1700000001}", DENY_NONE},
        {"{\"until\":1700000000}", DENY_GRANT_ENDED},
        {"{\"from\":\"2023-11-14T22:13:20Z\",\"until\":\"2023-11-14T22:13:21Z\"}", DENY_NONE},
        {"{\"until\":\"2023-11-14T22:13:20Z\"}", DENY_GRANT_ENDED},
        {"{}", DENY_NONE},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_assert_eq(control_rig_call(&rig, "PUT", "/v1/users/ada/grants/c1", rows[i].body, NULL), 200, "%s",
                     rows[i].body);
        cr_expect_eq(judge(url, "c/12/x"), rows[i].want, "%s", rows[i].body);
    }
    cr_assert_eq(control_rig_call(&rig, "DELETE", "/v1/users/ada/grants/c1", NULL, NULL), 204);
    cr_expect_eq(judge(url, "c/12/x"), DENY_NO_GRANT);
    free(url);
}

Test(check, a_grant_that_ends_while_it_is_remembered_ends)
{
    char *url = control_rig_playback(&rig, NULL);
    cr_assert_eq(control_rig_call(&rig, "PUT", "/v1/users/ada/grants/c1", "{\"until\":1700000005}", NULL), 200);
    cr_expect_eq(judge(url, "c/12/x"), DENY_NONE);
    unsigned gets = rig.rows->gets;
    rig.clock.wall_now_ms += 5000; /* mono stands: the memory is fresh */
    cr_expect_eq(judge(url, "c/12/x"), DENY_GRANT_ENDED);
    cr_expect_eq(rig.rows->gets, gets);
    free(url);
}

Test(check, deleting_the_user_or_the_course_ends_playback)
{
    char *url = control_rig_playback(&rig, NULL);
    cr_assert_eq(judge(url, "c/12/x"), DENY_NONE);
    cr_assert_eq(control_rig_call(&rig, "DELETE", "/v1/courses/c1", NULL, NULL), 204);
    cr_expect_eq(judge(url, "c/12/x"), DENY_NO_GRANT);
    control_rig_course(&rig);
    cr_assert_eq(judge(url, "c/12/x"), DENY_NONE);
    cr_assert_eq(control_rig_call(&rig, "DELETE", "/v1/users/ada", NULL, NULL), 204);
    cr_expect_eq(judge(url, "c/12/x"), DENY_NO_GRANT);
    free(url);
}

Test(check, a_decision_is_kept_for_its_time_and_not_longer)
{
    char *url = control_rig_playback(&rig, NULL);
    struct question x;
    cr_assert_eq(judge(url, "c/12/x"), DENY_NONE);
    unsigned gets = rig.rows->gets;
    for (int i = 0; i < 100; i++) {
        ask(&x, url, "c/12/x");
        cr_expect(x.inside, "nothing had to be asked");
        cr_expect_eq(finish(&x), DENY_NONE);
    }
    cr_expect_eq(rig.rows->gets, gets, "a permission query a byte range");
    advance_s(9);
    judge(url, "c/12/x");
    cr_expect_eq(rig.rows->gets, gets);
    advance_s(1);
    ask(&x, url, "c/12/x");
    cr_expect(!x.inside);
    cr_expect_eq(finish(&x), DENY_NONE);
    cr_expect_eq(rig.rows->gets, gets + 1);
    free(url);
}

Test(check, many_who_ask_at_once_are_answered_by_one_read)
{
    enum { MANY = 200 };
    static struct question x[MANY];
    char *url = control_rig_playback(&rig, NULL);
    unsigned gets = rig.rows->gets;
    rig.rows->hold = true;
    for (int i = 0; i < MANY; i++) {
        ask(&x[i], url, "c/12/x");
        cr_expect(!x[i].inside);
    }
    rows_mem_release(rig.rows);
    for (int i = 0; i < MANY; i++)
        cr_expect_eq(finish(&x[i]), DENY_NONE);
    cr_expect_eq(rig.rows->gets, gets + 1);
    free(url);
}

Test(check, when_rows_cannot_be_read_the_answer_is_no)
{
    static const int failures[] = {E_UNAVAILABLE, E_DEADLINE, -EIO, -ENOMEM, E_CORRUPT, E_PROTOCOL};
    char *url = control_rig_playback(&rig, NULL);
    for (size_t i = 0; i < ARRAY_LEN(failures); i++) {
        rig.rows->err = failures[i];
        cr_expect_eq(judge(url, "c/12/x"), DENY_UNAVAILABLE, "%d", failures[i]);
    }
    rig.rows->err = 0;
    cr_expect_eq(judge(url, "c/12/x"), DENY_NONE, "it is asked again at once");
    rig.rows->err = E_UNAVAILABLE;
    cr_expect_eq(judge(url, "c/12/x"), DENY_NONE, "what is fresh holds");
    advance_s(10);
    cr_expect_eq(judge(url, "c/12/x"), DENY_UNAVAILABLE, "what is old does not");
    rig.rows->err = 0;
    free(url);
}

/* The read began before the revocation and is answered after it: whoever waits must not be let in by it. */
Test(check, a_revocation_during_a_read_is_seen)
{
    char *url = control_rig_playback(&rig, NULL);
    struct question x;
    rig.rows->hold = true;
    ask(&x, url, "c/12/x");
    rig.rows->hold = false; /* the API's own calls pass */
    cr_assert_eq(control_rig_call(&rig, "DELETE", "/v1/users/ada/grants/c1", NULL, NULL), 204);
    unsigned gets = rig.rows->gets;
    rows_mem_release(rig.rows);
    cr_expect_eq(finish(&x), DENY_NO_GRANT);
    cr_expect_eq(rig.rows->gets, gets + 2, "read again");
    free(url);
}

Test(check, only_root_and_known_keys_are_keys)
{
    cr_expect_not_null(control_key(rig.control, STR("ROOTKEY")));
    cr_expect(control_key(rig.control, STR("ROOTKEY"))->root);
    cr_expect_null(control_key(rig.control, STR("")));
    cr_expect_null(control_key(rig.control, STR("ROOTKEY ")));
    cr_expect_null(control_key(rig.control, STR("rootkey")));
}

Test(check, every_denial_has_its_own_stable_code)
{
#define DENY(id, code, status, text)                                                                                   \
    cr_expect_str_eq(deny_code(DENY_##id), code);                                                                      \
    cr_expect_eq(deny_status(DENY_##id), status);
    DENY_ROWS
#undef DENY
    for (int i = DENY_NONE; i <= DENY_UNAVAILABLE; i++) {
        for (int j = DENY_NONE; j < i; j++)
            cr_expect_str_neq(deny_code((enum deny)i), deny_code((enum deny)j));
    }
}
