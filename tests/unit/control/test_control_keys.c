#include "control/control.h"
#include "tests/lib/control_rig.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct control_rig rig;
static char path[400], access_key[40], secret[60], creator[40];

static int call(const char *method, const char *where, const char *body, json_t **ret)
{
    return control_rig_call(&rig, method, where, body, ret);
}

static void make_creator(char ret[40])
{
    json_t *j = NULL;
    cr_assert_eq(call("POST", "/v1/creators", "{\"name\":\"Grace\"}", &j), 201);
    snprintf(ret, 40, "%s", json_string_value(json_object_get(j, "id")));
    json_decref(j);
}

static void make_key(void)
{
    json_t *j = NULL;
    snprintf(path, sizeof(path), "/v1/creators/%s/keys", creator);
    cr_assert_eq(call("POST", path, NULL, &j), 201);
    snprintf(access_key, sizeof(access_key), "%s", json_string_value(json_object_get(j, "access_key")));
    snprintf(secret, sizeof(secret), "%s", json_string_value(json_object_get(j, "secret_key")));
    json_decref(j);
}

static void setup(void)
{
    control_rig_open(&rig, 10000);
    make_creator(creator);
    make_key();
}

static void teardown(void)
{
    control_rig_close(&rig);
}

TestSuite(keys, .init = setup, .fini = teardown);

static const struct access_key *key(void)
{
    return control_key(rig.control, str_c(access_key));
}

static unsigned rights(const char *bucket, const char *owner)
{
    return control_rights(rig.control, key(), str_c(bucket), str_c(owner));
}

static int bucket(const char *method, const char *name, const char *body)
{
    snprintf(path, sizeof(path), "/v1/creators/%s/keys/%s/buckets/%s", creator, access_key, name);
    return call(method, path, body, NULL);
}

Test(keys, a_new_key_works_at_once)
{
    cr_assert_not_null(key());
    cr_expect_str_eq(key()->secret, secret);
    cr_expect_str_eq(key()->creator, creator);
    cr_expect(!key()->root);
    cr_expect_eq(strlen(access_key), 20u);
    cr_expect_eq(strlen(secret), 40u);
}

Test(keys, secrets_are_told_once_and_stand_nowhere_in_the_rows)
{
    json_t *j = NULL;
    snprintf(path, sizeof(path), "/v1/creators/%s/keys", creator);
    cr_assert_eq(call("GET", path, NULL, &j), 200);
    char *text = json_dumps(j, 0);
    cr_expect_not_null(strstr(text, access_key));
    cr_expect_null(strstr(text, secret));
    cr_expect(!rows_mem_contains(rig.rows, str_c(secret)));
    free(text);
    json_decref(j);
}

Test(keys, keys_and_rights_survive_a_restart)
{
    cr_assert_eq(bucket("PUT", "shared", "{\"rights\":[\"read\"]}"), 200);
    cr_assert_eq(control_rig_restart(&rig), 0);
    cr_assert_not_null(key());
    cr_expect_str_eq(key()->secret, secret);
    cr_expect_eq(rights("shared", "somebody"), (unsigned)RIGHT_READ);
}

Test(keys, another_master_key_opens_nothing)
{
    rig.master_key[0] ^= 1;
    cr_expect_eq(control_rig_restart(&rig), E_CORRUPT, "it must not start with signing keys that it cannot read");
    rig.master_key[0] ^= 1;
    cr_assert_eq(control_rig_restart(&rig), 0);
    cr_expect_not_null(key());
}

Test(keys, a_key_whose_row_was_moved_does_not_work)
{
    static char from[100], to[100];
    size_t from_len = (size_t)snprintf(from, sizeof(from), "key%c%s%c%s", 0, creator, 0, access_key);
    size_t to_len = (size_t)snprintf(to, sizeof(to), "key%c%s%cLKSTOLEN", 0, creator, 0);
    struct str value = rows_mem_find(rig.rows, "control", (struct str){from, from_len});
    cr_assert_not_null(value.p);
    rows_mem_put(rig.rows, "control", (struct str){to, to_len}, value);
    cr_assert_eq(control_rig_restart(&rig), 0);
    cr_expect_null(control_key(rig.control, STR("LKSTOLEN")));
    cr_expect_not_null(key(), "one bad row shuts nobody else out");
}

Test(keys, a_deleted_key_stops_at_once_and_for_good)
{
    snprintf(path, sizeof(path), "/v1/creators/%s/keys/%s", creator, access_key);
    const struct access_key *borrowed = key();
    cr_assert_eq(call("DELETE", path, NULL, NULL), 204);
    (void)borrowed;
    cr_expect_null(key());
    cr_expect_eq(call("DELETE", path, NULL, NULL), 204);
    cr_assert_eq(control_rig_restart(&rig), 0);
    cr_expect_null(key());
}

Test(keys, a_key_is_deleted_only_below_its_creator)
{
    char other[40];
    make_creator(other);
    snprintf(path, sizeof(path), "/v1/creators/%s/keys/%s", other, access_key);
    cr_expect_eq(call("DELETE", path, NULL, NULL), 204);
    cr_expect_not_null(key());
    snprintf(path, sizeof(path), "/v1/creators/%s/keys/%s/buckets/shared", other, access_key);
    cr_expect_eq(call("PUT", path, "{\"rights\":[\"read\"]}", NULL), 404);
}

Test(keys, a_creator_owns_what_it_made_and_nothing_else)
{
    const unsigned all = RIGHT_READ | RIGHT_WRITE | RIGHT_OWNER;
    cr_expect_eq(rights("mine", creator), all);
    cr_expect_eq(rights("theirs", "somebody"), 0u);
    cr_expect_eq(rights("theirs", ""), 0u);
    cr_expect_eq(rights("theirs", "root"), 0u);
    cr_expect_eq(control_rights(rig.control, control_key(rig.control, STR("ROOTKEY")), STR("x"), STR("y")), all);
}

Test(keys, what_is_said_about_a_bucket_holds_exactly)
{
    static const struct {
        const char *body;
        unsigned want;
    } rows[] = {
        {"{\"rights\":[\"read\"]}", RIGHT_READ},
        {"{\"rights\":[\"write\"]}", RIGHT_WRITE},
        {"{\"rights\":[\"write\",\"read\"]}", RIGHT_READ | RIGHT_WRITE},
        {"{\"rights\":[]}", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_assert_eq(bucket("PUT", "shared", rows[i].body), 200);
        cr_expect_eq(rights("shared", "somebody"), rows[i].want, "%s", rows[i].body);
        cr_expect_eq(rights("shared", creator), rows[i].want, "%s, on a bucket of its own", rows[i].body);
        cr_expect_eq(rights("shared2", "somebody"), 0u);
    }
    cr_expect_eq(bucket("DELETE", "shared", NULL), 200);
    cr_expect_eq(bucket("DELETE", "shared", NULL), 200);
    cr_expect_eq(rights("shared", creator), (unsigned)(RIGHT_READ | RIGHT_WRITE | RIGHT_OWNER));
}

Test(keys, rights_that_are_none_are_refused)
{
    static const char *const bodies[] = {"",
                                         "{}",
                                         "{\"rights\":\"read\"}",
                                         "{\"rights\":[\"owner\"]}",
                                         "{\"rights\":[\"read\",\"read\"]}",
                                         "{\"rights\":[\"read\",\"write\",\"read\"]}",
                                         "{\"rights\":[1]}"};
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
        cr_expect_eq(bucket("PUT", "shared", bodies[i]), 400, "%s", bodies[i]);
    cr_expect_eq(bucket("PUT", "No", "{\"rights\":[]}"), 400);
    cr_expect_eq(bucket("PUT", "UPPER", "{\"rights\":[]}"), 400);
    cr_expect_eq(rights("shared", "somebody"), 0u);
}

Test(keys, a_key_has_room_for_256_buckets)
{
    char name[20];
    for (int i = 0; i < 256; i++) {
        snprintf(name, sizeof(name), "bucket-%d", i);
        cr_assert_eq(bucket("PUT", name, "{\"rights\":[\"read\"]}"), 200, "%d", i);
    }
    cr_expect_eq(bucket("PUT", "one-more", "{\"rights\":[\"read\"]}"), 409);
    cr_expect_eq(bucket("PUT", "bucket-7", "{\"rights\":[]}"), 200);
    cr_expect_eq(rights("bucket-255", "x"), (unsigned)RIGHT_READ);
    cr_expect_eq(rights("bucket-7", "x"), 0u);
}

/* ---- signing keys ---- */

static void states(const char *want)
{
    char got[400] = "";
    json_t *j = NULL;
    cr_assert_eq(call("GET", "/v1/signing-keys", NULL, &j), 200);
    json_t *list = json_object_get(j, "signing_keys");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *row = json_array_get(list, i);
        size_t len = strlen(got);
        snprintf(got + len, sizeof(got) - len, "%s%lld %s", i ? ", " : "",
                 (long long)json_integer_value(json_object_get(row, "kid")),
                 json_string_value(json_object_get(row, "state")));
    }
    json_decref(j);
    cr_expect_str_eq(got, want, "%s", got);
}

Test(keys, the_first_signing_key_is_made_once)
{
    states("1 active");
    cr_assert_eq(control_rig_restart(&rig), 0);
    states("1 active");
}

Test(keys, rotation_keeps_two_live_and_never_none)
{
    cr_expect_eq(call("POST", "/v1/signing-keys/1/retire", NULL, NULL), 409, "the active key");
    cr_assert_eq(call("POST", "/v1/signing-keys/rotate", NULL, NULL), 200);
    states("2 active, 1 verifying");
    cr_expect_eq(call("POST", "/v1/signing-keys/rotate", NULL, NULL), 409, "key 1 would die unasked");
    cr_expect_eq(call("POST", "/v1/signing-keys", NULL, NULL), 409);
    cr_expect_eq(call("DELETE", "/v1/signing-keys/1", NULL, NULL), 204);
    cr_expect_eq(call("DELETE", "/v1/signing-keys/1", NULL, NULL), 204);
    cr_expect_eq(call("POST", "/v1/signing-keys/1/retire", NULL, NULL), 200);
    states("2 active, 1 retired");
    cr_assert_eq(call("POST", "/v1/signing-keys", NULL, NULL), 201);
    states("3 verifying, 2 active, 1 retired");
    cr_assert_eq(control_rig_restart(&rig), 0);
    states("3 verifying, 2 active, 1 retired");
    cr_assert_eq(call("POST", "/v1/signing-keys/rotate", NULL, NULL), 200);
    states("3 active, 2 verifying, 1 retired");
}

Test(keys, many_rotations_forget_only_the_oldest)
{
    for (unsigned i = 1; i < 40; i++) {
        cr_assert_eq(call("POST", "/v1/signing-keys/rotate", NULL, NULL), 200, "%u", i);
        snprintf(path, sizeof(path), "/v1/signing-keys/%u", i);
        cr_assert_eq(call("DELETE", path, NULL, NULL), 204, "%u", i);
    }
    json_t *j = NULL;
    cr_assert_eq(call("GET", "/v1/signing-keys", NULL, &j), 200);
    json_t *list = json_object_get(j, "signing_keys");
    cr_expect_eq(json_array_size(list), 32u);
    cr_expect_eq(json_integer_value(json_object_get(json_array_get(list, 0), "kid")), 40);
    json_decref(j);
    cr_expect_eq(rows_mem_count(rig.rows, "control", STR("signing")), 32u);
    cr_assert_eq(control_rig_restart(&rig), 0);
}

Test(keys, a_lost_race_of_rotations_changes_nothing_twice)
{
    rig.rows->conflicts = 2;
    cr_assert_eq(call("POST", "/v1/signing-keys/rotate", NULL, NULL), 200);
    states("2 active, 1 verifying");
    rig.rows->conflicts = 100;
    cr_expect_eq(call("DELETE", "/v1/signing-keys/1", NULL, NULL), 409);
    rig.rows->conflicts = 0;
    states("2 active, 1 verifying");
}
