/* Conditions, retries, and who owns a write id: every row is one request against one standing state. */
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

TestSuite(meta_conditions, .init = open_one, .fini = close_one);

#define ETAG_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ETAG_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static int put(const char *key, const char *etag, uint8_t version, const Pb__Condition *c)
{
    Pb__Object o = PB__OBJECT__INIT;
    Pb__ObjectPutReq req = PB__OBJECT_PUT_REQ__INIT;
    uint8_t id[16];
    memset(id, version, sizeof id);
    o.etag = (char *)(uintptr_t)etag;
    o.version_id = (ProtobufCBinaryData){sizeof id, id};
    o.size = 1;
    req.bucket = (char *)(uintptr_t) "b";
    req.key = fix_bin(key);
    req.object = &o;
    req.inline_data = fix_bin("x");
    req.condition = (Pb__Condition *)(uintptr_t)c;
    return meta_call(&f, RPC_OBJECT_PUT, &req, NULL, NULL);
}

static const struct {
    const char *says;
    const char *key; /* "there" holds ETAG_A with version 1; "missing" does not exist */
    const char *match, *none;
    bool none_any;
    uint8_t version;
    int want;
} rows[] = {
    {"no condition", "missing", "", "", false, 0, 0},
    {"if-match of the right etag", "there", ETAG_A, "", false, 0, 0},
    {"if-match in capitals", "there", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "", false, 0, 0},
    {"if-match of another etag", "there", ETAG_B, "", false, 0, RPC_CONDITION},
    {"if-match on a missing key", "missing", ETAG_A, "", false, 0, RPC_NOT_FOUND},
    {"if-match * on a missing key", "missing", "*", "", false, 0, RPC_NOT_FOUND},
    {"if-match * on any", "there", "*", "", false, 0, 0},
    {"if-none-match * on a missing key", "missing", "", "", true, 0, 0},
    {"if-none-match * on any", "there", "", "", true, 0, RPC_CONDITION},
    {"if-none-match of the standing etag", "there", "", ETAG_A, false, 0, RPC_CONDITION},
    {"if-none-match of another etag", "there", "", ETAG_B, false, 0, 0},
    {"if-none-match on a missing key", "missing", "", ETAG_A, false, 0, 0},
    {"if-version of the standing version", "there", "", "", false, 1, 0},
    {"if-version of another version", "there", "", "", false, 2, RPC_CONDITION},
    {"if-version on a missing key", "missing", "", "", false, 1, RPC_NOT_FOUND},
    {"both hold", "there", ETAG_A, ETAG_B, false, 1, 0},
    {"one of two fails", "there", ETAG_A, ETAG_A, false, 0, RPC_CONDITION},
};

static void condition_of(size_t i, Pb__Condition *c, uint8_t id[16])
{
    pb__condition__init(c);
    memset(id, rows[i].version, 16);
    c->if_match = (char *)(uintptr_t)rows[i].match;
    c->if_none_match = (char *)(uintptr_t)rows[i].none;
    c->if_none_match_any = rows[i].none_any;
    if (rows[i].version)
        c->if_version = (ProtobufCBinaryData){16, id};
}

Test(meta_conditions, are_judged_on_put)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Pb__Condition c;
        uint8_t id[16];
        condition_of(i, &c, id);
        cr_assert_eq(put("there", ETAG_A, 1, NULL), 0);
        cr_assert_eq(fix_delete(&f, "b", "missing"), 0);
        cr_expect_eq(put(rows[i].key, ETAG_B, 7, &c), rows[i].want, "%s", rows[i].says);
    }
}

Test(meta_conditions, are_judged_on_delete)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Pb__Condition c;
        Pb__ObjectDeleteReq req = PB__OBJECT_DELETE_REQ__INIT;
        ProtobufCBinaryData key = fix_bin(rows[i].key);
        uint8_t id[16];
        char text[8];
        condition_of(i, &c, id);
        cr_assert_eq(put("there", ETAG_A, 1, NULL), 0);
        req.bucket = (char *)(uintptr_t) "b";
        req.keys = &key;
        req.n_keys = 1;
        req.condition = &c;
        cr_expect_eq(meta_call(&f, RPC_OBJECT_DELETE, &req, NULL, NULL), rows[i].want, "%s", rows[i].says);
        bool stands = strcmp(rows[i].key, "there") != 0 || rows[i].want != 0;
        cr_expect_eq(fix_get(&f, "b", "there", text, sizeof text), stands ? 0 : RPC_NOT_FOUND, "%s", rows[i].says);
    }
}

Test(meta_conditions, a_retry_of_the_standing_write_is_answered_like_the_first)
{
    Pb__Condition c = PB__CONDITION__INIT;
    c.if_none_match_any = true;
    cr_expect_eq(put("k", ETAG_A, 5, &c), 0);
    cr_expect_eq(put("k", ETAG_A, 5, &c), 0);
    cr_expect_eq(put("k", ETAG_A, 6, &c), RPC_CONDITION);
}

Test(meta_conditions, of_many_writers_that_want_to_be_first_one_is)
{
    struct racer {
        struct rpc rpc;
        struct arena arena;
        Pb__Object o;
        Pb__ObjectPutReq req;
        uint8_t id[16];
        bool done;
    };
    static struct racer racers[200];
    Pb__Condition c = PB__CONDITION__INIT;
    unsigned won = 0;
    c.if_none_match_any = true;
    for (size_t i = 0; i < ARRAY_LEN(racers); i++) {
        struct racer *r = &racers[i];
        pb__object__init(&r->o);
        pb__object_put_req__init(&r->req);
        arena_init(&r->arena, MIB);
        memset(r->id, (int)i + 1, sizeof r->id);
        r->o.version_id = (ProtobufCBinaryData){sizeof r->id, r->id};
        r->o.etag = (char *)(uintptr_t)ETAG_A;
        r->req.bucket = (char *)(uintptr_t) "b";
        r->req.key = fix_bin("one");
        r->req.object = &r->o;
        r->req.condition = &c;
        r->rpc = (struct rpc){.type = RPC_OBJECT_PUT, .req = &r->req, .arena = &r->arena, .cb = fix_mark_done};
        r->rpc.user = &r->done;
        meta_submit(f.meta, &r->rpc);
    }
    for (size_t i = 0; i < ARRAY_LEN(racers); i++) {
        meta_fixture_until(&f, fix_is_done, &racers[i].done);
        cr_expect(racers[i].rpc.status == 0 || racers[i].rpc.status == RPC_CONDITION);
        won += racers[i].rpc.status == 0;
        arena_fini(&racers[i].arena);
    }
    cr_expect_eq(won, 1);
}

/* ---- write ids ---- */

Test(meta_conditions, a_write_id_belongs_to_one_commit)
{
    cr_expect_eq(fix_put_extent(&f, "b", "k", 100, 1), 0);
    cr_expect_eq(fix_put_extent(&f, "b", "other", 100, 1), RPC_CLAIMED);
    cr_expect_eq(fix_put_extent(&f, "b", "other", 100, 2), 0);
}

struct claim {
    struct meta_claim claim;
    int err;
    bool done;
};

static void claimed(struct meta_claim *c, int err)
{
    struct claim *own = container_of(c, struct claim, claim);
    own->err = err;
    own->done = true;
}

static int claim(const uint8_t (*ids)[12], size_t n, bool *ret)
{
    struct claim c = {.claim = {.ids = ids, .count = n, .ret_claimed = ret, .cb = claimed}};
    meta_claim(f.meta, &c.claim);
    meta_fixture_until(&f, fix_is_done, &c.done);
    return c.err;
}

Test(meta_conditions, gc_claims_what_no_commit_has_named_and_then_no_commit_can)
{
    uint8_t ids[3][12];
    bool got[3];
    for (uint32_t i = 0; i < 3; i++)
        fix_write_id(ids[i], i + 1);
    cr_expect_eq(fix_put_extent(&f, "b", "k", 100, 2), 0);
    cr_expect_eq(claim((const uint8_t(*)[12])ids, 3, got), 0);
    cr_expect(got[0] && !got[1] && got[2]);
    cr_expect_eq(fix_put_extent(&f, "b", "late", 100, 1), RPC_CLAIMED);
    cr_expect_eq(claim((const uint8_t(*)[12])ids, 3, got), 0);
    cr_expect(got[0] && !got[1] && got[2]);
}

/* ---- the caller's mistakes ---- */

Test(meta_conditions, requests_that_break_the_contract_change_nothing)
{
    char long_key[1100];
    memset(long_key, 'k', sizeof long_key - 1);
    long_key[sizeof long_key - 1] = 0;
    cr_expect_eq(fix_put(&f, "b", long_key, "x"), -EINVAL);
    cr_expect_eq(fix_put(&f, "b", "", "x"), -EINVAL);
    cr_expect_eq(fix_put(&f, "", "k", "x"), RPC_NO_BUCKET);
    long_key[1024] = 0;
    cr_expect_eq(fix_put(&f, "b", long_key, "x"), 0);
    char text[8];
    cr_expect_eq(fix_get(&f, "b", long_key, text, sizeof text), 0);

    Pb__Object o = PB__OBJECT__INIT;
    Pb__ObjectPutReq req = PB__OBJECT_PUT_REQ__INIT;
    req.bucket = (char *)(uintptr_t) "b";
    req.key = fix_bin("sizes");
    cr_expect_eq(meta_call(&f, RPC_OBJECT_PUT, &req, NULL, NULL), -EINVAL);
    req.object = &o;
    o.size = 5;
    req.inline_data = fix_bin("four");
    cr_expect_eq(meta_call(&f, RPC_OBJECT_PUT, &req, NULL, NULL), -EINVAL);
    struct meta_status s;
    meta_status(f.meta, &s);
    cr_expect_eq(s.objects, 1);
    cr_expect_eq(meta_call(&f, (enum rpc_type)4711, &req, NULL, NULL), -ENOSYS);
}
