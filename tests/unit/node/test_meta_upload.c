/* Multipart uploads: rules of Complete, its answer to a retry, lists, abort, expiry, and what gc gets. */
#include "node/meta_schema.h"
#include "tests/lib/meta_fixture.h"
#include <criterion/criterion.h>
#include <stdio.h>

static struct meta_fixture f;
static uint32_t write_number;

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

TestSuite(meta_upload, .init = open_one, .fini = close_one, .timeout = 100);

static int create(const char *key, const char *id)
{
    Pb__Upload u = PB__UPLOAD__INIT;
    Pb__UploadCreateReq req = PB__UPLOAD_CREATE_REQ__INIT;
    Pb__Pair header = PB__PAIR__INIT, *headers[1] = {&header};
    header.name = (char *)(uintptr_t) "content-type";
    header.value = fix_bin("video/mp4");
    u.bucket = (char *)(uintptr_t) "b";
    u.key = fix_bin(key);
    u.upload_id = (char *)(uintptr_t)id;
    u.headers = headers;
    u.n_headers = 1;
    req.upload = &u;
    return meta_call(&f, RPC_UPLOAD_CREATE, &req, NULL, NULL);
}

/* Part n has the etag of n repeated and a checksum of kind 1 with value n. */
static void etag_of(char etag[33], unsigned n)
{
    snprintf(etag, 33, "%032x", n);
}

static int part_as(const char *id, uint32_t number, uint64_t size, uint32_t write)
{
    Pb__Part p = PB__PART__INIT;
    Pb__Extent e = PB__EXTENT__INIT, *extents[1] = {&e};
    Pb__Checksum sum = PB__CHECKSUM__INIT, *sums[1] = {&sum};
    Pb__PartPutReq req = PB__PART_PUT_REQ__INIT;
    uint8_t wid[12], value = (uint8_t)number;
    char etag[33];
    etag_of(etag, number);
    fix_write_id(wid, write);
    e.write_id = (ProtobufCBinaryData){12, wid};
    e.size = p.size = size;
    p.number = number;
    p.etag = etag;
    p.extents = extents;
    p.n_extents = size ? 1 : 0;
    sum.kind = 1;
    sum.value = (ProtobufCBinaryData){1, &value};
    p.checksums = sums;
    p.n_checksums = 1;
    req.bucket = (char *)(uintptr_t) "b";
    req.key = fix_bin("k");
    req.upload_id = (char *)(uintptr_t)id;
    req.part = &p;
    return meta_call(&f, RPC_PART_PUT, &req, NULL, NULL);
}

static int part(const char *id, uint32_t number, uint64_t size)
{
    return part_as(id, number, size, ++write_number);
}

struct listed {
    unsigned number, etag; /* etag 0: that of number */
    int sum;               /* 0: none given; else the value of checksum kind 1; < 0: of kind 2 */
};

static int complete_if(const char *id, const struct listed *list, size_t n, const Pb__Condition *c, struct arena *a,
                       Pb__UploadCompleteRep **ret)
{
    static Pb__Part parts[16], *pointers[16];
    static Pb__Checksum sums[16], *sum_pointers[16];
    static char etags[16][33];
    static uint8_t values[16];
    Pb__UploadCompleteReq req = PB__UPLOAD_COMPLETE_REQ__INIT;
    for (size_t i = 0; i < n; i++) {
        pb__part__init(&parts[i]);
        pb__checksum__init(&sums[i]);
        parts[i].number = list[i].number;
        etag_of(etags[i], list[i].etag ? list[i].etag : list[i].number);
        parts[i].etag = etags[i];
        values[i] = (uint8_t)(list[i].sum < 0 ? -list[i].sum : list[i].sum);
        sums[i].kind = list[i].sum < 0 ? 2 : 1;
        sums[i].value = (ProtobufCBinaryData){1, &values[i]};
        sum_pointers[i] = &sums[i];
        parts[i].checksums = &sum_pointers[i];
        parts[i].n_checksums = list[i].sum ? 1 : 0;
        pointers[i] = &parts[i];
    }
    req.bucket = (char *)(uintptr_t) "b";
    req.key = fix_bin("k");
    req.upload_id = (char *)(uintptr_t)id;
    req.parts = pointers;
    req.n_parts = n;
    req.min_part_bytes = 5;
    req.condition = (Pb__Condition *)(uintptr_t)c;
    return meta_call(&f, RPC_UPLOAD_COMPLETE, &req, a, ret);
}

static int complete(const char *id, const struct listed *list, size_t n, struct arena *a, Pb__UploadCompleteRep **ret)
{
    return complete_if(id, list, n, NULL, a, ret);
}

static const struct {
    const char *says;
    struct listed list[6];
    size_t n;
    int want;
    unsigned bad;
} rows[] = {
    /* parts 1 (5 bytes), 2 (4 bytes), 3 (5 bytes), 7 (1 byte) stand */
    {"no parts", {{0}}, 0, RPC_INVALID_PART, 0},
    {"an unknown part", {{1, 0, 0}, {4, 0, 0}}, 2, RPC_INVALID_PART, 4},
    {"a number out of range", {{1, 0, 0}, {10001, 0, 0}}, 2, RPC_INVALID_PART, 10001},
    {"another etag", {{1, 9, 0}}, 1, RPC_INVALID_PART, 1},
    {"out of order", {{3, 0, 0}, {1, 0, 0}}, 2, RPC_INVALID_PART_ORDER, 1},
    {"the same twice", {{1, 0, 0}, {1, 0, 0}}, 2, RPC_INVALID_PART_ORDER, 1},
    {"a small part in the middle", {{1, 0, 0}, {2, 0, 0}, {3, 0, 0}}, 3, RPC_PART_TOO_SMALL, 2},
    {"a checksum that differs", {{1, 0, 5}}, 1, RPC_INVALID_PART, 1},
    {"a checksum that the part does not have", {{1, 0, -1}}, 1, RPC_INVALID_PART, 1},
    {"a small part at the end, and the right checksum", {{1, 0, 1}, {3, 0, 3}, {7, 0, 0}}, 3, 0, 0},
};

Test(meta_upload, complete_checks_what_the_client_lists)
{
    struct arena a;
    arena_init(&a, MIB);
    cr_assert_eq(create("k", "u"), 0);
    cr_assert_eq(part("u", 1, 5), 0);
    cr_assert_eq(part("u", 2, 4), 0);
    cr_assert_eq(part("u", 3, 5), 0);
    cr_assert_eq(part("u", 7, 1), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Pb__UploadCompleteRep *rep;
        char text[8];
        cr_expect_eq(complete("u", rows[i].list, rows[i].n, &a, &rep), rows[i].want, "%s", rows[i].says);
        if (rows[i].bad)
            cr_expect_eq(rep->bad_part, rows[i].bad, "%s", rows[i].says);
        cr_expect_eq(fix_get(&f, "b", "k", text, sizeof text), rows[i].want ? RPC_NOT_FOUND : 0, "%s", rows[i].says);
    }
    arena_fini(&a);
}

Test(meta_upload, the_object_has_the_parts_in_order_and_the_retry_gets_the_same_answer)
{
    Pb__UploadCompleteRep *rep, *again;
    Pb__ObjectGetReq get = PB__OBJECT_GET_REQ__INIT;
    Pb__ObjectGetRep *got;
    static const struct listed list[] = {{1, 0, 0}, {2, 0, 0}};
    static const struct listed other[] = {{1, 0, 0}};
    struct arena a;
    arena_init(&a, MIB);
    cr_assert_eq(create("k", "u"), 0);
    cr_assert_eq(part("u", 2, 7), 0);
    cr_assert_eq(part("u", 1, 6), 0);
    cr_assert_eq(complete("u", list, 2, &a, &rep), 0);
    /* md5 of the two etags' 32 bytes, computed with python's hashlib */
    cr_expect_str_eq(rep->object->etag, "1ad7dfd342e37e2f608fa6a6aedb29d5-2");
    get.bucket = (char *)(uintptr_t) "b";
    get.key = fix_bin("k");
    cr_assert_eq(meta_call(&f, RPC_OBJECT_GET, &get, &a, &got), 0);
    cr_expect_eq(got->object->size, 13);
    cr_assert_eq(got->object->n_extents, 2);
    cr_expect_eq(got->object->extents[0]->size, 6);
    cr_expect_eq(got->object->extents[1]->size, 7);
    cr_assert_eq(got->object->n_parts, 2);
    cr_expect_eq(got->object->parts[1]->number, 2);
    cr_assert_eq(got->object->n_headers, 1);
    cr_expect_str_eq(got->object->headers[0]->name, "content-type");

    Pb__Condition absent = PB__CONDITION__INIT;
    absent.if_none_match_any = true;
    cr_expect_eq(complete_if("u", list, 2, &absent, &a, &again), 0, "the key exists by its own doing");
    cr_expect_str_eq(again->object->etag, rep->object->etag);
    cr_expect(again->object->version_id.len == 16 &&
              memcmp(again->object->version_id.data, rep->object->version_id.data, 16) == 0);
    cr_expect_eq(complete("u", other, 1, &a, &again), RPC_NO_UPLOAD);
    cr_expect_eq(complete("never", list, 2, &a, &again), RPC_NO_UPLOAD);
    meta_fixture_advance_ms(&f, META_TOMBSTONE_MS + 60000);
    cr_expect_eq(complete("u", list, 2, &a, &again), RPC_NO_UPLOAD, "the tombstone's time is over");
    cr_expect_eq(f.deleted_extents, 0);
    arena_fini(&a);
}

Test(meta_upload, a_condition_is_judged_before_the_parts)
{
    Pb__Condition absent = PB__CONDITION__INIT;
    Pb__UploadCompleteRep *rep;
    static const struct listed wrong[] = {{5, 0, 0}}, right[] = {{1, 0, 0}};
    struct arena a;
    arena_init(&a, MIB);
    absent.if_none_match_any = true;
    cr_assert_eq(create("k", "u"), 0);
    cr_assert_eq(part("u", 1, 6), 0);
    cr_assert_eq(fix_put(&f, "b", "k", "there"), 0);
    cr_expect_eq(complete_if("u", wrong, 1, &absent, &a, &rep), RPC_CONDITION);
    cr_assert_eq(fix_delete(&f, "b", "k"), 0);
    cr_expect_eq(complete_if("u", wrong, 1, &absent, &a, &rep), RPC_INVALID_PART);
    cr_expect_eq(complete_if("u", right, 1, &absent, &a, &rep), 0);
    arena_fini(&a);
}

static bool deleted(uint32_t write)
{
    uint8_t id[12];
    fix_write_id(id, write);
    for (unsigned i = 0; i < f.deleted_extents && i < ARRAY_LEN(f.deleted_ids); i++)
        if (memcmp(f.deleted_ids[i], id, 12) == 0)
            return true;
    return false;
}

Test(meta_upload, replaced_unlisted_and_aborted_parts_go_to_gc_and_nothing_else)
{
    Pb__UploadAbortReq abort_req = PB__UPLOAD_ABORT_REQ__INIT;
    static const struct listed list[] = {{1, 0, 0}, {2, 0, 0}};
    struct arena a;
    Pb__UploadCompleteRep *rep;
    struct meta_status s;
    arena_init(&a, MIB);
    cr_assert_eq(create("k", "u"), 0);
    cr_assert_eq(part_as("u", 1, 6, 101), 0);
    cr_assert_eq(part_as("u", 1, 6, 102), 0); /* replaces 101 */
    cr_assert_eq(part_as("u", 1, 6, 102), 0); /* a retry */
    cr_assert_eq(part_as("u", 2, 6, 103), 0);
    cr_assert_eq(part_as("u", 3, 6, 104), 0); /* never listed */
    cr_assert_eq(complete("u", list, 2, &a, &rep), 0);
    cr_assert_eq(create("k", "v"), 0);
    cr_assert_eq(part_as("v", 1, 6, 105), 0);
    abort_req.bucket = (char *)(uintptr_t) "b";
    abort_req.key = fix_bin("k");
    abort_req.upload_id = (char *)(uintptr_t) "v";
    cr_expect_eq(meta_call(&f, RPC_UPLOAD_ABORT, &abort_req, NULL, NULL), 0);
    cr_expect_eq(meta_call(&f, RPC_UPLOAD_ABORT, &abort_req, NULL, NULL), RPC_NO_UPLOAD);
    cr_expect_eq(part("v", 1, 6), RPC_NO_UPLOAD);
    meta_fixture_advance_ms(&f, 1000);
    cr_expect_eq(f.deleted_extents, 0, "not before its delay");
    meta_fixture_advance_ms(&f, 2 * f.conf.gc_delay_ms);
    cr_expect_eq(f.deleted_extents, 3);
    cr_expect(deleted(101) && deleted(104) && deleted(105));
    cr_assert_eq(fix_delete(&f, "b", "k"), 0);
    meta_fixture_advance_ms(&f, 2 * f.conf.gc_delay_ms);
    cr_expect(deleted(102) && deleted(103));
    cr_expect_eq(f.deleted_extents, 5);
    meta_status(f.meta, &s);
    cr_expect_eq(s.gc_rows, 1, "the tombstone's: %u", (unsigned)s.gc_rows);
    arena_fini(&a);
}

/* Puts parts 1..n, many at once. */
static void parts_put(const char *id, unsigned n)
{
    struct one {
        struct rpc rpc;
        struct arena arena;
        Pb__Part p;
        Pb__Extent e, *extents[1];
        Pb__PartPutReq req;
        uint8_t wid[12];
        char etag[33];
        bool done;
    };
    static struct one ones[500];
    for (unsigned from = 1; from <= n; from += ARRAY_LEN(ones)) {
        unsigned count = MIN_OF(n + 1 - from, (unsigned)ARRAY_LEN(ones));
        for (unsigned i = 0; i < count; i++) {
            struct one *o = &ones[i];
            pb__part__init(&o->p);
            pb__extent__init(&o->e);
            pb__part_put_req__init(&o->req);
            etag_of(o->etag, from + i);
            fix_write_id(o->wid, ++write_number);
            o->e.write_id = (ProtobufCBinaryData){12, o->wid};
            o->e.size = o->p.size = 5;
            o->extents[0] = &o->e;
            o->p.number = from + i;
            o->p.etag = o->etag;
            o->p.extents = o->extents;
            o->p.n_extents = 1;
            o->req.bucket = (char *)(uintptr_t) "b";
            o->req.key = fix_bin("k");
            o->req.upload_id = (char *)(uintptr_t)id;
            o->req.part = &o->p;
            o->done = false;
            arena_init(&o->arena, MIB);
            o->rpc = (struct rpc){.type = RPC_PART_PUT, .req = &o->req, .arena = &o->arena, .cb = fix_mark_done};
            o->rpc.user = &o->done;
            meta_submit(f.meta, &o->rpc);
        }
        for (unsigned i = 0; i < count; i++) {
            meta_fixture_until(&f, fix_is_done, &ones[i].done);
            cr_assert_eq(ones[i].rpc.status, 0);
            arena_fini(&ones[i].arena);
        }
    }
}

Test(meta_upload, many_parts_make_a_manifest_and_gc_takes_all_of_it)
{
    enum { PARTS = 10000 };
    Pb__UploadCompleteReq req = PB__UPLOAD_COMPLETE_REQ__INIT;
    Pb__ObjectGetReq get = PB__OBJECT_GET_REQ__INIT;
    Pb__ObjectGetRep *got;
    static Pb__Part parts[PARTS], *pointers[PARTS];
    static char etags[PARTS][33];
    struct arena a;
    arena_init(&a, 64 * MIB);
    cr_assert_eq(create("k", "u"), 0);
    parts_put("u", PARTS);
    for (unsigned i = 0; i < PARTS; i++) {
        pb__part__init(&parts[i]);
        etag_of(etags[i], i + 1);
        parts[i].number = i + 1;
        parts[i].etag = etags[i];
        pointers[i] = &parts[i];
    }
    req.bucket = get.bucket = (char *)(uintptr_t) "b";
    req.key = get.key = fix_bin("k");
    req.upload_id = (char *)(uintptr_t) "u";
    req.parts = pointers;
    req.n_parts = PARTS;
    cr_assert_eq(meta_call(&f, RPC_UPLOAD_COMPLETE, &req, NULL, NULL), 0);
    cr_assert_eq(meta_call(&f, RPC_OBJECT_GET, &get, &a, &got), 0);
    cr_assert_eq(got->object->n_extents, PARTS);
    cr_expect_eq(got->object->size, 5 * PARTS);
    cr_expect_eq(got->object->parts[PARTS - 1]->number, PARTS);
    meta_fixture_reopen(&f);
    cr_assert_eq(meta_call(&f, RPC_OBJECT_GET, &get, &a, &got), 0);
    cr_assert_eq(got->object->n_extents, PARTS);
    cr_assert_eq(fix_delete(&f, "b", "k"), 0);
    meta_fixture_advance_ms(&f, 2 * f.conf.gc_delay_ms);
    cr_expect_eq(f.deleted_extents, PARTS);
    arena_fini(&a);
}

static const char *parts_of(const char *id, uint32_t after, uint32_t limit)
{
    static char line[128];
    Pb__PartListReq req = PB__PART_LIST_REQ__INIT;
    Pb__PartListRep *rep;
    struct arena a;
    arena_init(&a, MIB);
    req.bucket = (char *)(uintptr_t) "b";
    req.key = fix_bin("k");
    req.upload_id = (char *)(uintptr_t)id;
    req.after = after;
    req.limit = limit;
    int err = meta_call(&f, RPC_PART_LIST, &req, &a, &rep);
    size_t at = 0;
    line[0] = 0;
    if (err)
        snprintf(line, sizeof line, "!%d", err);
    for (size_t i = 0; !err && i < rep->n_parts; i++)
        at += (size_t)snprintf(line + at, sizeof line - at, "%s%u:%u", i ? " " : "", rep->parts[i]->number,
                               (unsigned)rep->parts[i]->size);
    if (!err && rep->truncated)
        snprintf(line + at, sizeof line - at, " ...");
    arena_fini(&a);
    return line;
}

Test(meta_upload, parts_are_listed_by_number)
{
    cr_assert_eq(create("k", "u"), 0);
    cr_assert_eq(create("k", "u2"), 0);
    cr_assert_eq(part("u2", 9, 9), 0);
    cr_assert_eq(part("u", 300, 3), 0);
    cr_assert_eq(part("u", 2, 2), 0);
    cr_assert_eq(part("u", 10000, 1), 0);
    cr_expect_str_eq(parts_of("u", 0, 100), "2:2 300:3 10000:1");
    cr_expect_str_eq(parts_of("u", 2, 100), "300:3 10000:1");
    cr_expect_str_eq(parts_of("u", 0, 2), "2:2 300:3 ...");
    cr_expect_str_eq(parts_of("u", 10000, 2), "");
    cr_expect_str_eq(parts_of("none", 0, 2), "!3");
    cr_expect_eq(part("u", 0, 1), -EINVAL);
    cr_expect_eq(part("u", 10001, 1), -EINVAL);
}

static const char *uploads(const char *prefix, const char *delimiter, const char *key_after, const char *upload_after,
                           uint32_t limit)
{
    static char line[256];
    Pb__UploadListReq req = PB__UPLOAD_LIST_REQ__INIT;
    Pb__UploadListRep *rep;
    struct arena a;
    arena_init(&a, MIB);
    req.bucket = (char *)(uintptr_t) "b";
    req.prefix = fix_bin(prefix);
    req.delimiter = fix_bin(delimiter);
    req.key_after = fix_bin(key_after);
    req.upload_after = (char *)(uintptr_t)upload_after;
    req.limit = limit;
    cr_assert_eq(meta_call(&f, RPC_UPLOAD_LIST, &req, &a, &rep), 0);
    size_t at = 0;
    line[0] = 0;
    for (size_t i = 0; i < rep->n_uploads; i++)
        at += (size_t)snprintf(line + at, sizeof line - at, "%s%.*s=%s", at ? " " : "", (int)rep->uploads[i]->key.len,
                               (char *)rep->uploads[i]->key.data, rep->uploads[i]->upload_id);
    for (size_t i = 0; i < rep->n_prefixes; i++)
        at += (size_t)snprintf(line + at, sizeof line - at, "%s%.*s+", at ? " " : "", (int)rep->prefixes[i].len,
                               (char *)rep->prefixes[i].data);
    if (rep->truncated)
        snprintf(line + at, sizeof line - at, " ...");
    arena_fini(&a);
    return line;
}

Test(meta_upload, uploads_are_listed_by_key_and_id)
{
    cr_assert_eq(create("a", "2"), 0);
    cr_assert_eq(create("a", "1"), 0);
    cr_assert_eq(create("b/x", "3"), 0);
    cr_assert_eq(create("b/y", "4"), 0);
    cr_assert_eq(create("c", "5"), 0);
    cr_expect_str_eq(uploads("", "", "", "", 100), "a=1 a=2 b/x=3 b/y=4 c=5");
    cr_expect_str_eq(uploads("", "", "", "", 2), "a=1 a=2 ...");
    cr_expect_str_eq(uploads("", "", "a", "1", 100), "a=2 b/x=3 b/y=4 c=5");
    cr_expect_str_eq(uploads("", "", "a", "", 100), "b/x=3 b/y=4 c=5");
    cr_expect_str_eq(uploads("b/", "", "", "", 100), "b/x=3 b/y=4");
    cr_expect_str_eq(uploads("", "/", "", "", 100), "a=1 a=2 c=5 b/+");
    cr_expect_str_eq(uploads("", "/", "", "", 3), "a=1 a=2 b/+ ...");
    cr_expect_str_eq(uploads("", "/", "b/", "", 3), "c=5");
}

Test(meta_upload, an_upload_that_nobody_finishes_expires)
{
    f.conf.upload_expire_ms = 3600 * 1000;
    meta_fixture_reopen(&f);
    cr_assert_eq(create("k", "old"), 0);
    cr_assert_eq(part_as("old", 1, 6, 201), 0);
    meta_fixture_advance_ms(&f, 3000 * 1000);
    cr_assert_eq(create("k", "new"), 0);
    cr_expect_str_eq(uploads("", "", "", "", 100), "k=new k=old");
    meta_fixture_advance_ms(&f, 1300 * 1000);
    meta_fixture_advance_ms(&f, 10 * 1000);
    cr_expect_str_eq(uploads("", "", "", "", 100), "k=new");
    meta_fixture_advance_ms(&f, 2 * f.conf.gc_delay_ms);
    cr_expect(deleted(201));
}

/* Rows that no abort can take away (their bucket is not there) come before everything else. */
static void put_stuck_uploads(unsigned count)
{
    char dir[256], why[256];
    struct kv_conf kc = {0};
    struct kv *kv;
    struct kv_batch batch;
    meta_fixture_close(&f);
    snprintf(dir, sizeof dir, "%s/db", f.dirs[0]);
    cr_assert_eq(kv_rocks_open(dir, &kc, &kv, why, sizeof why), 0, "%s", why);
    kv_batch_init(&batch);
    for (unsigned i = 0; i < count; i++) {
        Pb__Upload u = PB__UPLOAD__INIT;
        struct meta_key k;
        struct arena a;
        struct str value;
        char id[16];
        arena_init(&a, MIB);
        snprintf(id, sizeof id, "stuck%03u", i);
        u.format = META_FORMAT;
        u.bucket = (char *)(uintptr_t) "a";
        u.key = fix_bin("k");
        u.upload_id = id;
        cr_assert_eq(meta_pack(&a, &u.base, &value), 0);
        kv_batch_put(&batch, meta_key_upload(&k, STR("a"), STR("k"), str_c(id)), value);
        arena_fini(&a);
    }
    cr_assert_eq(kv->ops->write(kv, &batch, true), 0);
    kv_batch_fini(&batch);
    kv->ops->close(kv);
    cr_assert_eq(meta_fixture_open(&f), 0, "%s", f.why);
}

Test(meta_upload, uploads_that_cannot_be_aborted_do_not_keep_others_from_expiring)
{
    f.conf.upload_expire_ms = 3600 * 1000;
    meta_fixture_reopen(&f);
    cr_assert_eq(create("k", "old"), 0);
    put_stuck_uploads(100);
    meta_fixture_advance_ms(&f, 4300 * 1000);
    for (int i = 0; i < 12; i++)
        meta_fixture_advance_ms(&f, 1000);
    cr_expect_str_eq(uploads("", "", "", "", 100), "");
}

Test(meta_upload, get_tells_a_standing_a_completed_and_no_upload)
{
    Pb__UploadGetReq req = PB__UPLOAD_GET_REQ__INIT;
    Pb__UploadGetRep *rep;
    Pb__UploadCompleteRep *done;
    static const struct listed list[] = {{1, 0, 0}};
    struct arena a;
    arena_init(&a, MIB);
    req.bucket = (char *)(uintptr_t) "b";
    req.key = fix_bin("k");
    req.upload_id = (char *)(uintptr_t) "u";
    cr_expect_eq(meta_call(&f, RPC_UPLOAD_GET, &req, &a, &rep), RPC_NO_UPLOAD);
    cr_assert_eq(create("k", "u"), 0);
    cr_assert_eq(create("k", "u"), 0, "a retry");
    cr_expect_eq(meta_call(&f, RPC_UPLOAD_GET, &req, &a, &rep), 0);
    cr_expect(rep->upload && !rep->completed);
    cr_assert_eq(part("u", 1, 0), 0, "an empty last part");
    cr_assert_eq(complete("u", list, 1, &a, &done), 0);
    cr_expect_eq(meta_call(&f, RPC_UPLOAD_GET, &req, &a, &rep), 0);
    cr_expect(!rep->upload && rep->completed);
    cr_expect_str_eq(rep->completed->etag, done->object->etag);
    req.bucket = (char *)(uintptr_t) "none";
    cr_expect_eq(meta_call(&f, RPC_UPLOAD_GET, &req, &a, &rep), RPC_NO_BUCKET);
    arena_fini(&a);
}

Test(meta_upload, a_bucket_takes_its_unfinished_uploads_along)
{
    Pb__BucketDeleteReq del = PB__BUCKET_DELETE_REQ__INIT;
    cr_assert_eq(create("k", "u"), 0);
    cr_assert_eq(part_as("u", 1, 6, 301), 0);
    del.name = (char *)(uintptr_t) "b";
    cr_expect_eq(meta_call(&f, RPC_BUCKET_DELETE, &del, NULL, NULL), 0);
    cr_assert_eq(fix_bucket(&f, "b"), 0);
    cr_expect_str_eq(uploads("", "", "", "", 100), "");
    meta_fixture_advance_ms(&f, 2 * f.conf.gc_delay_ms);
    cr_expect(deleted(301));
}
