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

static int describe(const char *key, ProtobufCBinaryData old_version, const char *new_version, const char *type,
                    struct arena *a, Pb__ObjectPutRep **ret)
{
    Pb__ObjectPutReq req = PB__OBJECT_PUT_REQ__INIT;
    Pb__Object o = PB__OBJECT__INIT;
    Pb__Condition c = PB__CONDITION__INIT;
    Pb__Pair header = PB__PAIR__INIT, *headers[] = {&header};
    header.name = (char *)(uintptr_t) "content-type";
    header.value = fix_bin(type);
    o.headers = headers;
    o.n_headers = 1;
    o.version_id = fix_bin(new_version);
    c.if_version = old_version;
    req.bucket = (char *)(uintptr_t) "b";
    req.key = fix_bin(key);
    req.object = &o;
    req.condition = &c;
    req.keep_data = true;
    return meta_call(&f, RPC_OBJECT_PUT, &req, a, ret);
}

Test(meta_object, a_new_description_keeps_the_bytes)
{
    Pb__ObjectGetReq get_req = PB__OBJECT_GET_REQ__INIT;
    Pb__ObjectGetRep *got;
    Pb__ObjectPutRep *put;
    struct arena a;
    arena_init(&a, MIB);
    cr_assert_eq(fix_put(&f, "b", "k", "bytes"), 0);
    get_req.bucket = (char *)(uintptr_t) "b";
    get_req.key = fix_bin("k");
    cr_assert_eq(meta_call(&f, RPC_OBJECT_GET, &get_req, &a, &got), 0);
    ProtobufCBinaryData version = got->object->version_id;
    cr_expect_eq(describe("k", fix_bin("0123456789abcdef"), "fedcba9876543210", "text/plain", &a, &put), RPC_CONDITION);
    cr_expect_eq(describe("absent", version, "fedcba9876543210", "text/plain", &a, &put), RPC_NOT_FOUND);
    cr_assert_eq(describe("k", version, "fedcba9876543210", "text/plain", &a, &put), 0);
    cr_expect_eq(put->object->size, 5);
    cr_expect_str_eq(get("k"), "bytes");
    cr_assert_eq(describe("k", version, "fedcba9876543210", "text/plain", &a, &put), 0, "a retry is answered again");
    cr_assert_eq(meta_call(&f, RPC_OBJECT_GET, &get_req, &a, &got), 0);
    cr_assert_eq(got->object->n_headers, 1);
    cr_expect_str_eq(got->object->headers[0]->name, "content-type");
    meta_fixture_advance_ms(&f, f.conf.gc_delay_ms + 1000);
    cr_expect_str_eq(get("k"), "bytes", "gc takes nothing that is still named");
    arena_fini(&a);
}
