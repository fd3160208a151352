#include "common/crypt.h"
#include "control/control.h"
#include "tests/lib/control_rig.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct control_rig rig;

static void setup(void)
{
    control_rig_open(&rig, 10000);
}

static void teardown(void)
{
    control_rig_close(&rig);
}

TestSuite(api, .init = setup, .fini = teardown);

static int call(const char *method, const char *path, const char *body, json_t **ret)
{
    return control_rig_call(&rig, method, path, body, ret);
}

/* The code of a refusal; the answer must be an error of the promised form. */
static const char *refusal(const char *method, const char *path, const char *body, int status)
{
    static char code[64];
    json_t *j = NULL;
    int got = call(method, path, body, &j);
    cr_assert_eq(got, status, "%s %s %s: %d", method, path, body ? body : "", got);
    cr_assert(json_is_object(j) && json_object_size(j) == 3, "%s %s", method, path);
    cr_assert(json_is_string(json_object_get(j, "message")) && json_is_string(json_object_get(j, "request_id")));
    snprintf(code, sizeof(code), "%s", json_string_value(json_object_get(j, "code")));
    json_decref(j);
    return code;
}

static void ok(const char *method, const char *path, const char *body, int status)
{
    int got = call(method, path, body, NULL);
    cr_assert_eq(got, status, "%s %s %s: %d", method, path, body ? body : "", got);
}

static void text_is(json_t *j, const char *name, const char *want)
{
    const char *got = json_string_value(json_object_get(j, name));
    cr_expect(got && strcmp(got, want) == 0, "%s is %s, not %s", name, got ? got : "null", want);
}

/* ---- who may come in ---- */

Test(api, nobody_enters_without_the_token)
{
    static const char *const headers[] = {
        "",
        "Authorization: Bearer \r\n",
        "Authorization: Bearer wrong\r\n",
        "Authorization: Bearer " RIG_ADMIN "x\r\n",
        "Authorization: Bearer admin-token-of-the-tes\r\n",
        "Authorization: Basic " RIG_ADMIN "\r\n",
        "Authorization: " RIG_ADMIN "\r\n",
        "Authorization: Bearer " RIG_ADMIN "\r\nAuthorization: Bearer " RIG_ADMIN "\r\n",
        "X-Authorization: Bearer " RIG_ADMIN "\r\n",
    };
    unsigned before = rig.rows->gets + rig.rows->txns + rig.rows->ranges;
    static const char *const paths[] = {"/v1/users", "/v1/users/ada", "/v1/no-such-thing", "/v1",
                                        "/v1/signing-keys/rotate"};
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        for (size_t k = 0; k < ARRAY_LEN(paths); k++) {
            char request[512];
            snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n", paths[k],
                     headers[i]);
            char *text = control_rig_raw(&rig, request);
            cr_expect(strncmp(text, "HTTP/1.1 401", 12) == 0, "%s with '%s': %.40s", paths[k], headers[i], text);
            cr_expect_not_null(strstr(text, "WWW-Authenticate: Bearer"));
            cr_expect_not_null(strstr(text, "\"code\":\"unauthorized\""));
            free(text);
        }
    }
    cr_expect_eq(rig.rows->gets + rig.rows->txns + rig.rows->ranges, before, "a stranger reached the rows");
}

Test(api, the_scheme_is_taken_in_any_case)
{
    char *text = control_rig_raw(&rig, "GET /v1/users HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                                       "Authorization: bearer " RIG_ADMIN "\r\n\r\n");
    cr_expect(strncmp(text, "HTTP/1.1 200", 12) == 0, "%.40s", text);
    free(text);
}

Test(api, health_and_documents_need_no_token)
{
    static const char *const paths[] = {"/healthz", "/readyz", "/metrics", "/openapi.json"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        char request[200];
        snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", paths[i]);
        char *text = control_rig_raw(&rig, request);
        cr_expect(strncmp(text, "HTTP/1.1 200", 12) == 0, "%s: %.40s", paths[i], text);
        cr_expect_null(strstr(text, RIG_ADMIN));
        free(text);
    }
}

Test(api, readyz_says_that_the_metadata_takes_no_writes)
{
    static const char request[] = "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    rig.halted = "drive 0: its log: No space left on device";
    char *text = control_rig_raw(&rig, request);
    cr_expect(strncmp(text, "HTTP/1.1 503", 12) == 0, "%.40s", text);
    cr_expect(strstr(text, "metadata halted: drive 0: its log: No space left on device"), "%s", text);
    free(text);
    rig.halted = NULL;
    text = control_rig_raw(&rig, request);
    cr_expect(strncmp(text, "HTTP/1.1 200", 12) == 0, "%.40s", text);
    free(text);
}

Test(api, unknown_paths_methods_and_ids_are_told_apart)
{
    static const struct {
        const char *method, *path;
        int status;
        const char *code;
    } rows[] = {
        {"GET", "/", 404, "route_unknown"},
        {"GET", "/v2/users", 404, "route_unknown"},
        {"GET", "/v1/users/ada/", 404, "route_unknown"},
        {"GET", "/v1/users/ada/grants/c1/x", 404, "route_unknown"},
        {"POST", "/v1/users", 405, "method_not_allowed"},
        {"PATCH", "/v1/users/ada", 405, "method_not_allowed"},
        {"DELETE", "/v1/signing-keys/rotate", 405, "method_not_allowed"},
        {"DELETE", "/v1/playback", 405, "method_not_allowed"},
        {"OPTIONS", "/v1/users", 405, "method_not_allowed"},
        {"GET", "/v1/users/a%2fb", 400, "id_invalid"},
        {"GET", "/v1/users/a%00b", 400, "id_invalid"},
        {"GET", "/v1/users/a%20b", 400, "id_invalid"},
        {"GET", "/v1/users/%zz", 400, "id_invalid"},
        {"GET", "/v1/users/..", 400, "id_invalid"},
        {"GET", "/v1/users/%2e%2e", 400, "id_invalid"},
        {"GET", "/v1/users/%C3%A9", 400, "id_invalid"},
        {"GET", "/v1/users//grants", 400, "id_invalid"},
        {"GET", "/v1/users/ada", 404, "user_unknown"},
        {"GET", "/v1/courses/c1", 404, "course_unknown"},
        {"GET", "/v1/courses/c1/lessons", 404, "course_unknown"},
        {"GET", "/v1/users/ada/grants", 404, "user_unknown"},
        {"GET", "/v1/creators/x", 404, "creator_unknown"},
        {"GET", "/v1/creators/x/keys", 404, "creator_unknown"},
        {"POST", "/v1/creators/x/keys", 404, "creator_unknown"},
        {"POST", "/v1/signing-keys/99/retire", 404, "signing_key_unknown"},
        {"POST", "/v1/signing-keys/x/retire", 404, "signing_key_unknown"},
        {"POST", "/v1/signing-keys/18446744073709551617/retire", 404, "signing_key_unknown"},
        {"GET", "/v1/users?limit=0", 400, "query_invalid"},
        {"GET", "/v1/users?limit=1001", 400, "query_invalid"},
        {"GET", "/v1/users?limit=x", 400, "query_invalid"},
        {"GET", "/v1/users?after=a%2fb", 400, "query_invalid"},
        {"GET", "/v1/users?after=%zz", 400, "query_invalid"},
        {"GET", "/v1/explain", 400, "query_invalid"},
        {"GET", "/v1/explain?token=", 400, "query_invalid"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *code = refusal(rows[i].method, rows[i].path, NULL, rows[i].status);
        cr_expect_str_eq(code, rows[i].code, "%s %s: %s", rows[i].method, rows[i].path, code);
    }
}

/* ---- bodies ---- */

Test(api, a_body_that_is_not_what_the_schema_says_is_refused)
{
    static const struct {
        const char *path, *body, *code;
    } rows[] = {
        {"/v1/courses/c1", "", "field_invalid"},
        {"/v1/courses/c1", "{", "body_invalid"},
        {"/v1/courses/c1", "[]", "body_invalid"},
        {"/v1/courses/c1", "\"x\"", "body_invalid"},
        {"/v1/courses/c1", "{\"title\":\"a\"} x", "body_invalid"},
        {"/v1/courses/c1", "{\"title\":\"a\",\"title\":\"b\"}", "body_invalid"},
        {"/v1/courses/c1", "{\"title\":\"\xff\"}", "body_invalid"},
        {"/v1/courses/c1", "{\"title\":\"a\\u0000b\"}", "body_invalid"},
        {"/v1/courses/c1", "{\"title\":\"\"}", "field_invalid"},
        {"/v1/courses/c1", "{\"title\":1}", "field_invalid"},
        {"/v1/courses/c1", "{\"title\":null}", "field_invalid"},
        {"/v1/courses/c1", "{\"titel\":\"a\",\"title\":\"a\"}", "field_invalid"},
        {"/v1/users/u", "{\"name\":[]}", "field_invalid"},
        {"/v1/users/u/grants/c1", "{\"until\":0}", "field_invalid"},
        {"/v1/users/u/grants/c1", "{\"until\":-1}", "field_invalid"},
        {"/v1/users/u/grants/c1", "{\"until\":1.5}", "field_invalid"},
        {"/v1/users/u/grants/c1", "{\"until\":\"tomorrow\"}", "field_invalid"},
        {"/v1/users/u/grants/c1", "{\"until\":99999999999999}", "field_invalid"},
        {"/v1/users/u/grants/c1", "{\"untill\":1700000000}", "field_invalid"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *code = refusal("PUT", rows[i].path, rows[i].body, 400);
        cr_expect_str_eq(code, rows[i].code, "%s %s", rows[i].path, rows[i].body);
    }
    cr_expect_eq(rows_mem_count(rig.rows, "control", STR("course")), 0u);
}

Test(api, a_large_body_is_refused_before_and_while_it_comes)
{
    static char body[70000];
    memset(body, ' ', sizeof(body) - 1);
    body[0] = '{';
    body[sizeof(body) - 2] = '}';
    cr_expect_str_eq(refusal("PUT", "/v1/users/u", body, 413), "body_too_large");
    struct sbuf request = {0};
    sbuf_puts(&request, "PUT /v1/users/u HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
                        "Authorization: Bearer " RIG_ADMIN "\r\n\r\n");
    sbuf_printf(&request, "%zx\r\n%s\r\n0\r\n\r\n", sizeof(body) - 1, body);
    sbuf_add(&request, "", 1);
    char *text = control_rig_raw(&rig, request.p);
    cr_expect(strncmp(text, "HTTP/1.1 413", 12) == 0, "%.60s", text);
    free(text);
    sbuf_fini(&request);
    body[65000] = '}';
    body[65001] = 0;
    ok("PUT", "/v1/users/u", body, 201);
}

Test(api, a_title_is_counted_in_characters)
{
    struct sbuf body = {0};
    sbuf_puts(&body, "{\"title\":\"");
    for (int i = 0; i < 500; i++)
        sbuf_puts(&body, "\xc3\xa9");
    sbuf_puts(&body, "\"}");
    sbuf_add(&body, "", 1);
    ok("PUT", "/v1/courses/c1", body.p, 201);
    sbuf_fini(&body);
}

/* ---- users, courses, lessons, grants ---- */

Test(api, a_put_is_idempotent_and_says_what_is_new)
{
    json_t *first = NULL, *again = NULL, *changed = NULL;
    cr_assert_eq(call("PUT", "/v1/users/a.b_c~d%40e:f-9", "{\"name\":\"Ada\"}", &first), 201);
    text_is(first, "user", "a.b_c~d@e:f-9");
    text_is(first, "name", "Ada");
    text_is(first, "created_at", "2023-11-14T22:13:20Z");
    unsigned txns = rig.rows->txns;
    rig.clock.wall_now_ms += 5000;
    cr_assert_eq(call("PUT", "/v1/users/a.b_c~d@e:f-9", "{\"name\":\"Ada\"}", &again), 200);
    cr_expect(json_equal(first, again), "nothing changed");
    cr_expect_eq(rig.rows->txns, txns, "and nothing was written");
    cr_assert_eq(call("PUT", "/v1/users/a.b_c~d@e:f-9", "{}", &changed), 200);
    text_is(changed, "name", "");
    text_is(changed, "created_at", "2023-11-14T22:13:20Z");
    text_is(changed, "updated_at", "2023-11-14T22:13:25Z");
    json_decref(first);
    json_decref(again);
    json_decref(changed);
}

Test(api, a_delete_is_idempotent)
{
    control_rig_course(&rig);
    static const char *const paths[] = {"/v1/users/ada/grants/c1", "/v1/courses/c1/lessons/l1", "/v1/users/ada",
                                        "/v1/courses/c1"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        ok("GET", paths[i], NULL, 200);
        ok("DELETE", paths[i], NULL, 204);
        ok("DELETE", paths[i], NULL, 204);
        refusal("GET", paths[i], NULL, 404);
    }
}

Test(api, what_does_not_exist_cannot_be_built_upon)
{
    ok("PUT", "/v1/users/ada", "{}", 201);
    cr_expect_str_eq(refusal("PUT", "/v1/users/ada/grants/c1", "{}", 404), "course_unknown");
    ok("PUT", "/v1/courses/c1", "{\"title\":\"x\"}", 201);
    cr_expect_str_eq(refusal("PUT", "/v1/users/bob/grants/c1", "{}", 404), "user_unknown");
    cr_expect_str_eq(
        refusal("PUT", "/v1/courses/c2/lessons/l", "{\"title\":\"x\",\"bucket\":\"bbb\",\"prefix\":\"p\"}", 404),
        "course_unknown");
}

Test(api, lessons_that_could_not_be_played_are_refused)
{
    static const struct {
        const char *bucket, *prefix, *entry;
        bool ok;
    } rows[] = {
        {"media", "c/12/", "index.m3u8", true},
        {"media", "c/12/", "hls/index.m3u8", true},
        {"media", "c/12/", "\xc3\xa9 \xf0\x9f\x8e\xb5.mp4", true},
        {"media", "books/a.pdf", "", true},
        {"media", "books/a.pdf", "x", false},
        {"media", "c/12/", "", false},
        {"media", "c/12/", "../13/x", false},
        {"media", "c/12/", "/x", false},
        {"media", "c/12/", "a//b", false},
        {"media", "c/12/", "a\\\\b", false},
        {"media", "c/12/", "a;b", false},
        {"media", "c/12/", "x/", false},
        {"media", "/c/12/", "x", false},
        {"media", "", "x", false},
        {"media", "/", "x", false},
        {"media", "c/../d/", "x", false},
        {"media", "c//d/", "x", false},
        {"media", "./", "x", false},
        {"Media", "c/", "x", false},
        {"me", "c/", "x", false},
        {"-media", "c/", "x", false},
        {"me/dia", "c/", "x", false},
    };
    ok("PUT", "/v1/courses/c1", "{\"title\":\"x\"}", 201);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char body[300];
        snprintf(body, sizeof(body), "{\"title\":\"t\",\"bucket\":\"%s\",\"prefix\":\"%s\",\"entry\":\"%s\"}",
                 rows[i].bucket, rows[i].prefix, rows[i].entry);
        int status = call("PUT", "/v1/courses/c1/lessons/l", body, NULL);
        cr_expect(rows[i].ok ? status / 100 == 2 : status == 400, "%s: %d", body, status);
    }
}

Test(api, grants_take_and_tell_times)
{
    json_t *j = NULL;
    control_rig_course(&rig);
    cr_assert_eq(
        call("PUT", "/v1/users/ada/grants/c1", "{\"from\":\"2023-01-01T00:00:00+01:00\",\"until\":1735689600}", &j),
        200);
    text_is(j, "from", "2022-12-31T23:00:00Z");
    text_is(j, "until", "2025-01-01T00:00:00Z");
    json_decref(j);
    cr_assert_eq(call("PUT", "/v1/users/ada/grants/c1", "{\"from\":null}", &j), 200);
    cr_expect(json_is_null(json_object_get(j, "from")) && json_is_null(json_object_get(j, "until")));
    json_decref(j);
    cr_assert_eq(call("PUT", "/v1/users/ada/grants/c1", "{\"until\":\"1960-01-01T00:00:00Z\"}", &j), 200);
    text_is(j, "until", "1970-01-01T00:00:01Z"); /* long ago, never "never" */
    json_decref(j);
    cr_assert_eq(call("PUT", "/v1/users/ada/grants/c1", "{\"until\":1735689600.0}", &j), 200);
    text_is(j, "until", "2025-01-01T00:00:00Z");
    json_decref(j);
    cr_expect_str_eq(refusal("PUT", "/v1/users/ada/grants/c1", "{\"from\":200,\"until\":200}", 400), "field_invalid");
    cr_expect_str_eq(refusal("PUT", "/v1/users/ada/grants/c1", "{\"from\":300,\"until\":200}", 400), "field_invalid");
}

Test(api, lists_come_in_pages_in_order)
{
    enum { MANY = 25 };
    for (int i = MANY - 1; i >= 0; i--) {
        char path[64];
        snprintf(path, sizeof(path), "/v1/users/u%02d", i);
        ok("PUT", path, "{}", 201);
    }
    ok("PUT", "/v1/courses/zz", "{\"title\":\"not a user\"}", 201);
    char after[140] = "", path[300];
    int seen = 0, pages = 0;
    for (;;) {
        json_t *j = NULL;
        snprintf(path, sizeof(path), "/v1/users?limit=10%s%s", after[0] ? "&after=" : "", after);
        cr_assert_eq(call("GET", path, NULL, &j), 200);
        json_t *users = json_object_get(j, "users");
        for (size_t i = 0; i < json_array_size(users); i++) {
            char want[8];
            snprintf(want, sizeof(want), "u%02d", seen++);
            text_is(json_array_get(users, i), "user", want);
        }
        pages++;
        const char *next = json_string_value(json_object_get(j, "next"));
        snprintf(after, sizeof(after), "%s", next ? next : "");
        json_decref(j);
        if (!after[0])
            break;
    }
    cr_expect_eq(seen, MANY);
    cr_expect_eq(pages, 3);
}

/* u1 and u10 share a beginning: lists and deletes must not take one for the other. */
Test(api, ids_that_begin_alike_are_kept_apart)
{
    json_t *j = NULL;
    ok("PUT", "/v1/courses/c1", "{\"title\":\"x\"}", 201);
    ok("PUT", "/v1/courses/c10", "{\"title\":\"x\"}", 201);
    ok("PUT", "/v1/users/u1", "{}", 201);
    ok("PUT", "/v1/users/u10", "{}", 201);
    ok("PUT", "/v1/users/u1/grants/c1", "{}", 201);
    ok("PUT", "/v1/users/u10/grants/c1", "{}", 201);
    ok("PUT", "/v1/users/u10/grants/c10", "{}", 201);
    cr_assert_eq(call("GET", "/v1/users/u1/grants", NULL, &j), 200);
    cr_expect_eq(json_array_size(json_object_get(j, "grants")), 1u);
    json_decref(j);
    ok("DELETE", "/v1/users/u1", NULL, 204);
    ok("DELETE", "/v1/courses/c1", NULL, 204);
    cr_assert_eq(call("GET", "/v1/users/u10/grants", NULL, &j), 200);
    cr_expect_eq(json_array_size(json_object_get(j, "grants")), 1u);
    json_decref(j);
    ok("GET", "/v1/users/u10/grants/c10", NULL, 200);
    ok("GET", "/v1/courses/c10", NULL, 200);
}

/* More children than one transaction takes; nothing is left, on neither side. */
Test(api, deleting_a_course_takes_lessons_and_all_grants_along)
{
    enum { MANY = 450 };
    ok("PUT", "/v1/courses/c1", "{\"title\":\"x\"}", 201);
    ok("PUT", "/v1/courses/c2", "{\"title\":\"x\"}", 201);
    ok("PUT", "/v1/courses/c1/lessons/l1", "{\"title\":\"x\",\"bucket\":\"bbb\",\"prefix\":\"p\"}", 201);
    for (int i = 0; i < MANY; i++) {
        char path[64];
        snprintf(path, sizeof(path), "/v1/users/u%d", i);
        ok("PUT", path, "{}", 201);
        snprintf(path, sizeof(path), "/v1/users/u%d/grants/c1", i);
        ok("PUT", path, "{}", 201);
    }
    ok("PUT", "/v1/users/u7/grants/c2", "{}", 201);
    cr_expect_eq(rows_mem_count(rig.rows, "control", STR("grant")), MANY + 1u);
    cr_expect_eq(rows_mem_count(rig.rows, "control", STR("member")), MANY + 1u);
    ok("DELETE", "/v1/courses/c1", NULL, 204);
    cr_expect_eq(rows_mem_count(rig.rows, "control", STR("grant")), 1u);
    cr_expect_eq(rows_mem_count(rig.rows, "control", STR("member")), 1u);
    cr_expect_eq(rows_mem_count(rig.rows, "control", STR("lesson")), 0u);
    ok("DELETE", "/v1/users/u7", NULL, 204);
    cr_expect_eq(rows_mem_count(rig.rows, "control", STR("grant")), 0u);
    cr_expect_eq(rows_mem_count(rig.rows, "control", STR("member")), 0u);
}

/* A delete that dies half-way leaves the thing invisible and closed; the next delete finishes it. */
Test(api, a_delete_that_was_cut_short_is_finished_by_the_next)
{
    unsigned half = 0;
    control_rig_course(&rig);
    for (unsigned fail_after = 0; fail_after < 3; fail_after++) {
        unsigned at = rig.rows->txns + fail_after;
        struct peer p;
        peer_open(&p, rig.loop, http_server_port(rig.server));
        peer_puts(&p,
                  "DELETE /v1/courses/c1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer " RIG_ADMIN
                  "\r\n\r\n");
        TURN_UNTIL(rig.loop, rig.rows->txns > at || (peer_recv(&p), peer_ended(&p)));
        rig.rows->err = E_UNAVAILABLE;
        cr_assert(peer_until_end(&p));
        peer_close(&p);
        rig.rows->err = 0;
        int seen = call("GET", "/v1/courses/c1", NULL, NULL);
        if (seen == 404 && rows_mem_count(rig.rows, "control", STR("course")) == 1) {
            cr_expect_str_eq(refusal("PUT", "/v1/courses/c1", "{\"title\":\"x\"}", 409), "deleting");
            half++;
        }
        ok("DELETE", "/v1/courses/c1", NULL, 204);
        cr_expect_eq(rows_mem_count(rig.rows, "control", STR("grant")), 0u);
        cr_expect_eq(rows_mem_count(rig.rows, "control", STR("lesson")), 0u);
        control_rig_course(&rig);
    }
    cr_expect_geq(half, 1u, "no delete was cut short");
}

Test(api, a_lost_race_is_tried_again_and_given_up_in_the_end)
{
    control_rig_course(&rig);
    rig.rows->conflicts = 3;
    ok("PUT", "/v1/users/ada", "{\"name\":\"B\"}", 200);
    rig.rows->conflicts = 100;
    cr_expect_str_eq(refusal("PUT", "/v1/users/ada", "{\"name\":\"C\"}", 409), "conflict");
    rig.rows->conflicts = 0;
    ok("GET", "/v1/users/ada", NULL, 200);
}

Test(api, rows_that_cannot_be_had_are_503_and_rows_that_cannot_be_read_500)
{
    control_rig_course(&rig);
    rig.rows->err = E_UNAVAILABLE;
    cr_expect_str_eq(refusal("GET", "/v1/users/ada", NULL, 503), "unavailable");
    cr_expect_str_eq(refusal("PUT", "/v1/users/ada", "{}", 503), "unavailable");
    cr_expect_str_eq(refusal("GET", "/v1/users", NULL, 503), "unavailable");
    cr_expect_str_eq(refusal("DELETE", "/v1/users/ada", NULL, 503), "unavailable");
    cr_expect_str_eq(refusal("POST", "/v1/playback", "{\"user\":\"ada\",\"course\":\"c1\",\"lesson\":\"l1\"}", 503),
                     "unavailable");
    cr_expect_str_eq(refusal("POST", "/v1/creators", "{\"name\":\"x\"}", 503), "unavailable");
    cr_expect_str_eq(refusal("POST", "/v1/signing-keys/rotate", NULL, 503), "unavailable");
    rig.rows->err = E_CORRUPT;
    cr_expect_str_eq(refusal("GET", "/v1/users/ada", NULL, 500), "internal");
    rig.rows->err = 0;
}

/* The n-th rows call of a whole life fails, for every n: each refusal is one, and saying it all again mends it. */
Test(api, any_one_failure_is_mended_by_saying_it_again)
{
    static const struct {
        const char *method, *path, *body;
    } life[] = {
        {"PUT", "/v1/users/u", "{\"name\":\"U\"}"},
        {"PUT", "/v1/courses/c", "{\"title\":\"C\"}"},
        {"PUT", "/v1/courses/c/lessons/l", "{\"title\":\"L\",\"bucket\":\"media\",\"prefix\":\"p/\",\"entry\":\"e\"}"},
        {"PUT", "/v1/users/u/grants/c", "{}"},
        {"POST", "/v1/playback", "{\"user\":\"u\",\"course\":\"c\",\"lesson\":\"l\"}"},
        {"GET", "/v1/users/u/grants", NULL},
        {"DELETE", "/v1/users/u/grants/c", NULL},
        {"PUT", "/v1/users/u/grants/c", "{}"},
        {"DELETE", "/v1/courses/c", NULL},
        {"DELETE", "/v1/users/u", NULL},
    };
    for (unsigned n = 1;; n++) {
        unsigned refused = 0;
        rig.rows->fail_at = n;
        for (size_t i = 0; i < ARRAY_LEN(life); i++) {
            int status = call(life[i].method, life[i].path, life[i].body, NULL);
            if (status == 503) {
                refused++;
                status = call(life[i].method, life[i].path, life[i].body, NULL);
            }
            cr_assert(status / 100 == 2, "fault %u: %s %s: %d", n, life[i].method, life[i].path, status);
        }
        cr_expect_eq(rows_mem_count(rig.rows, "control", STR("")), 1u, "fault %u left rows behind",
                     n); /* the signing key */
        if (rig.rows->fail_at) {
            cr_expect_gt(n, 20u);
            break;
        }
        cr_expect_eq(refused, 1u, "fault %u", n);
    }
    rig.rows->fail_at = 0;
}

Test(api, a_refusal_is_one_whatever_a_field_is_called)
{
    for (int shift = 0; shift < 4; shift++) { /* the message is cut at four places of a letter */
        struct sbuf body = {0};
        sbuf_printf(&body, "{\"%.*s", shift, "xxxx");
        for (int i = 0; i < 100; i++)
            sbuf_puts(&body, "\xf0\x9f\x8e\xb5");
        sbuf_puts(&body, "\":1}");
        sbuf_add(&body, "", 1);
        cr_expect_str_eq(refusal("PUT", "/v1/users/u", body.p, 400), "field_invalid");
        sbuf_fini(&body);
    }
}

Test(api, a_caller_that_goes_away_does_not_stop_what_was_begun)
{
    rig.rows->hold = true;
    struct peer p;
    peer_open(&p, rig.loop, http_server_port(rig.server));
    peer_puts(&p, "PUT /v1/users/gone HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nAuthorization: Bearer " RIG_ADMIN
                  "\r\n\r\n{}");
    cr_assert(TURN_UNTIL(rig.loop, rig.rows->held));
    peer_reset(&p);
    turns(rig.loop, 5);
    rows_mem_release(rig.rows);
    turns(rig.loop, 5);
    ok("GET", "/v1/users/gone", NULL, 200);
}

/* ---- playback and explain ---- */

Test(api, a_playback_url_is_the_external_url_the_token_and_the_whole_key)
{
    json_t *j = NULL;
    control_rig_course(&rig);
    ok("PUT", "/v1/courses/c1/lessons/l2",
       "{\"title\":\"x\",\"bucket\":\"media\",\"prefix\":\"c 1/\xc3\xa9/\",\"entry\":\"a+b?.m3u8\"}", 201);
    cr_assert_eq(call("POST", "/v1/playback", "{\"user\":\"ada\",\"course\":\"c1\",\"lesson\":\"l2\"}", &j), 200);
    const char *url = json_string_value(json_object_get(j, "url"));
    cr_expect(strncmp(url, RIG_EXTERNAL "/t/AQ", strlen(RIG_EXTERNAL) + 5) == 0, "%s", url);
    const char *path = strchr(url + strlen(RIG_EXTERNAL) + 3, '/');
    cr_expect_str_eq(path, "/c%201/%C3%A9/a%2Bb%3F.m3u8");
    text_is(j, "expires_at", "2023-11-15T10:13:20Z");
    cr_expect_gt(strlen(json_string_value(json_object_get(j, "session"))), 10u);
    json_decref(j);
}

Test(api, playback_is_refused_with_a_reason)
{
    static const struct {
        const char *body;
        int status;
        const char *code;
    } rows[] = {
        {"{\"user\":\"bob\",\"course\":\"c1\",\"lesson\":\"l1\"}", 404, "user_unknown"},
        {"{\"user\":\"ada\",\"course\":\"cx\",\"lesson\":\"l1\"}", 404, "course_unknown"},
        {"{\"user\":\"ada\",\"course\":\"c1\",\"lesson\":\"lx\"}", 404, "lesson_unknown"},
        {"{\"user\":\"eve\",\"course\":\"c1\",\"lesson\":\"l1\"}", 403, "grant_missing"},
        {"{\"user\":\"eve\",\"course\":\"c1\"}", 400, "field_invalid"},
        {"{\"user\":\"ada\",\"course\":\"c1\",\"lesson\":\"l1\",\"audience\":\"admin\"}", 400, "field_invalid"},
        {"{\"user\":\"a/b\",\"course\":\"c1\",\"lesson\":\"l1\"}", 400, "field_invalid"},
    };
    control_rig_course(&rig);
    ok("PUT", "/v1/users/eve", "{}", 201);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        cr_expect_str_eq(refusal("POST", "/v1/playback", rows[i].body, rows[i].status), rows[i].code, "row %zu", i);
    ok("PUT", "/v1/users/ada/grants/c1", "{\"from\":1800000000}", 200);
    cr_expect_str_eq(refusal("POST", "/v1/playback", "{\"user\":\"ada\",\"course\":\"c1\",\"lesson\":\"l1\"}", 403),
                     "grant_not_yet_valid");
    ok("PUT", "/v1/users/ada/grants/c1", "{\"until\":1600000000}", 200);
    cr_expect_str_eq(refusal("POST", "/v1/playback", "{\"user\":\"ada\",\"course\":\"c1\",\"lesson\":\"l1\"}", 403),
                     "grant_ended");
}

Test(api, a_url_does_not_outlive_its_grant)
{
    json_t *j = NULL;
    control_rig_course(&rig);
    ok("PUT", "/v1/users/ada/grants/c1", "{\"until\":1700000060}", 200);
    cr_assert_eq(call("POST", "/v1/playback", "{\"user\":\"ada\",\"course\":\"c1\",\"lesson\":\"l1\"}", &j), 200);
    text_is(j, "expires_at", "2023-11-14T22:14:20Z");
    json_decref(j);
}

static json_t *explain(const char *what)
{
    struct sbuf path = {0};
    json_t *j = NULL;
    sbuf_puts(&path, "/v1/explain?token=");
    for (const char *p = what; *p; p++)
        sbuf_printf(&path, strchr(":/?#%&+", *p) ? "%%%02X" : "%c", (unsigned char)*p);
    sbuf_add(&path, "", 1);
    cr_assert_eq(call("GET", path.p, NULL, &j), 200, "%s", path.p);
    sbuf_fini(&path);
    return j;
}

static void explained(const char *what, const char *code, const char *explanation)
{
    json_t *j = explain(what);
    text_is(j, "code", code);
    const char *said = json_string_value(json_object_get(j, "explanation"));
    cr_expect(said && strstr(said, explanation), "%s: '%s', not '%s'", code, said, explanation);
    cr_expect_eq(json_is_true(json_object_get(j, "allowed")), strcmp(code, "ok") == 0);
    json_decref(j);
}

Test(api, explain_says_why_in_words)
{
    char other[TOKEN_TEXT_MAX + 200];
    control_rig_course(&rig);
    char *url = control_rig_playback(&rig, NULL);
    const char *token = strstr(url, "/t/") + 3;
    size_t len = strcspn(token, "/");
    explained(url, "ok", "it opens; it expires in 12 h, kid 1");
    explained(strstr(url, "/t/"), "ok", "it opens");
    snprintf(other, sizeof(other), "%.*s", (int)len, token);
    explained(other, "ok", "it opens");
    snprintf(other, sizeof(other), "%s?CMCD=x#t=1", url);
    explained(other, "ok", "it opens");
    snprintf(other, sizeof(other), RIG_EXTERNAL "/t/%.*s/c/123/x", (int)len, token);
    explained(other, "token_path", "the token opens c/12/ and the path is c/123/x");
    snprintf(other, sizeof(other), RIG_EXTERNAL "/t/%.*s/c/12/%%2e%%2e/x", (int)len, token);
    explained(other, "path_invalid", "not valid");
    json_t *bad = explain(other);
    cr_expect(json_is_null(json_object_get(bad, "path")));
    json_decref(bad);
    snprintf(other, sizeof(other), "/t/%.*s/c/12/x", (int)len, token);
    other[60] = other[60] == 'A' ? 'B' : 'A';
    json_t *j = explain(other);
    cr_expect(json_is_false(json_object_get(j, "signature_valid")));
    json_decref(j);
    explained("AAAA", "token_malformed", "damaged");
    rig.clock.wall_now_ms -= 300000;
    explained(url, "token_not_yet_valid", "valid in 5 min, kid 1");
    rig.clock.wall_now_ms += 300000 + (12 * 3600 + 94) * UINT64_C(1000);
    explained(url, "token_expired", "expired 94 s ago, kid 1");
    rig.clock.wall_now_ms = RIG_WALL_MS;
    ok("PUT", "/v1/users/ada/grants/c1", "{\"until\":1699999940}", 200);
    explained(url, "grant_ended", "the grant ended 60 s ago");
    ok("PUT", "/v1/users/ada/grants/c1", "{\"from\":1700000060}", 200);
    explained(url, "grant_not_yet_valid", "the grant begins in 60 s");
    ok("DELETE", "/v1/users/ada/grants/c1", NULL, 204);
    explained(url, "grant_missing", "user ada has no grant for course c1");
    ok("POST", "/v1/signing-keys/rotate", NULL, 200);
    ok("POST", "/v1/signing-keys/1/retire", NULL, 200);
    rig.clock.wall_now_ms += 14000;
    explained(url, "token_key_unknown", "kid 1 was retired 14 s ago");
    free(url);
}

/* Nobody signed this: 8-bit names, another kid. It is explained all the same. */
Test(api, explain_survives_what_was_forged)
{
    static const uint8_t claims[] = {1, 0,   1,   1,   3, 0, 1,  0xff, 4,   0, 1, 'c', 5,   0, 1, 'l', 6, 0,
                                     3, 'b', 'b', 'b', 7, 0, 2,  0xfe, '/', 8, 0, 1,   's', 9, 0, 8,   0, 0,
                                     0, 0,   0,   0,   0, 1, 10, 0,    8,   0, 0, 0,   0,   0, 0, 0,   2};
    uint8_t raw[5 + sizeof(claims) + 32] = {1};
    char text[BASE64_LEN(sizeof(raw))];
    memcpy(raw + 5, claims, sizeof(claims));
    for (uint32_t kid = 0; kid < 3; kid++) {
        put_be32(raw + 1, kid);
        base64url_encode(raw, sizeof(raw), text);
        json_t *j = explain(text);
        text_is(j, "code", kid == 1 ? "token_bad_signature" : "token_key_unknown");
        cr_expect(json_is_false(json_object_get(j, "signature_valid")));
        cr_expect(json_is_null(json_object_get(j, "claims")));
        json_decref(j);
    }
}

Test(api, explain_shows_claims_and_whether_to_believe_them)
{
    control_rig_course(&rig);
    char *url = control_rig_playback(&rig, "thumbnail");
    json_t *j = explain(url);
    text_is(j, "code", "token_audience");
    text_is(j, "path", "c/12/index.m3u8");
    text_is(j, "signing_key", "active");
    cr_expect(json_is_true(json_object_get(j, "signature_valid")));
    json_t *claims = json_object_get(j, "claims");
    text_is(claims, "user", "ada");
    text_is(claims, "audience", "thumbnail");
    text_is(claims, "expires", "2023-11-15T10:13:20Z");
    text_is(json_object_get(j, "grant"), "course", "c1");
    json_decref(j);
    free(url);
}
