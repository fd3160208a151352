/* Objects and buckets through the service, on one replica. */
#include "tests/lib/meta_fixture.h"
#include <criterion/criterion.h>
#include <stdio.h>

static struct meta_fixture f;

static void open_one(void)
{
    meta_fixture_init(&f, 1);
    cr_assert_eq(meta_fixture_open(&f), 0, "%s", f.why);
    cr_assert_eq(fix_bucket(&f, "b"), 0);
}

static void close_one(void)
{
    meta_fixture_fini(&f);
}

TestSuite(meta_object, .init = open_one, .fini = close_one);

static const char *get(const char *key)
{
    static char text[256];
    int err = fix_get(&f, "b", key, text, sizeof text);
    if (err)
        snprintf(text, sizeof text, "!%d", err);
    return text;
}

Test(meta_object, what_was_put_is_read_replaced_and_deleted)
{
    cr_expect_str_eq(get("k"), "!1");
    cr_expect_eq(fix_put(&f, "b", "k", "one"), 0);
    cr_expect_str_eq(get("k"), "one");
    cr_expect_eq(fix_put(&f, "b", "k", "two"), 0);
    cr_expect_str_eq(get("k"), "two");
    cr_expect_eq(fix_delete(&f, "b", "k"), 0);
    cr_expect_str_eq(get("k"), "!1");
    cr_expect_eq(fix_delete(&f, "b", "k"), 0);
}

Test(meta_object, everything_is_there_after_a_restart)
{
    cr_expect_eq(fix_put(&f, "b", "k", "one"), 0);
    meta_fixture_reopen(&f);
    struct meta_status s;
    meta_status(f.meta, &s);
    cr_expect_eq(s.buckets, 1);
    cr_expect_eq(s.objects, 1);
    cr_expect_str_eq(get("k"), "one");
}

Test(meta_object, buckets_exist_once_and_go_only_when_empty)
{
    Pb__BucketDeleteReq del = PB__BUCKET_DELETE_REQ__INIT;
    del.name = (char *)(uintptr_t) "b";
    cr_expect_eq(fix_bucket(&f, "b"), RPC_EXISTS);
    cr_expect_eq(fix_put(&f, "b", "k", ""), 0);
    cr_expect_eq(meta_call(&f, RPC_BUCKET_DELETE, &del, NULL, NULL), RPC_NOT_EMPTY);
    cr_expect_eq(fix_delete(&f, "b", "k"), 0);
    cr_expect_eq(meta_call(&f, RPC_BUCKET_DELETE, &del, NULL, NULL), 0);
    cr_expect_eq(meta_call(&f, RPC_BUCKET_DELETE, &del, NULL, NULL), RPC_NO_BUCKET);
    cr_expect_eq(fix_put(&f, "b", "k", ""), RPC_NO_BUCKET);
    cr_expect_str_eq(get("k"), "!2");
}
