/* s3_route: one decoded form of a key, the table of operations, bucket names, copy sources. */
#include "gateway-s3/s3_route.h"
#include "control/control.h"
#include "tests/lib/fake_req.h"
#include <criterion/criterion.h>

TestSuite(s3_route, .timeout = 60);

struct row {
    const char *text;
    enum s3_error error;
    const char *op; /* NULL: none */
    const char *bucket, *key;
};
#define PATH_STYLE "\nHost: 127.0.0.1:9000"
static const struct row rows[] = {
    {"GET /" PATH_STYLE, S3_OK, "ListBuckets", "", ""},
    {"GET /?x-id=ListBuckets" PATH_STYLE, S3_OK, "ListBuckets", "", ""},
    {"GET /bucket" PATH_STYLE, S3_OK, "ListObjects", "bucket", ""},
    {"GET /bucket/" PATH_STYLE, S3_OK, "ListObjects", "bucket", ""},
    {"GET /bucket/?list-type=2&prefix=a" PATH_STYLE, S3_OK, "ListObjectsV2", "bucket", ""},
    {"GET /bucket?list-type=3" PATH_STYLE, S3_OK, "ListObjects", "bucket", ""},
    {"GET /bucket?versions" PATH_STYLE, S3_OK, "ListObjectVersions", "bucket", ""},
    {"GET /bucket?uploads" PATH_STYLE, S3_OK, "ListMultipartUploads", "bucket", ""},
    {"GET /bucket?location" PATH_STYLE, S3_OK, "GetBucketLocation", "bucket", ""},
    {"GET /bucket?intelligent-tiering&id=x" PATH_STYLE, S3_OK, "GetBucketIntelligentTieringConfiguration", "bucket",
     ""},
    {"HEAD /bucket" PATH_STYLE, S3_OK, "HeadBucket", "bucket", ""},
    {"PUT /bucket" PATH_STYLE, S3_OK, "CreateBucket", "bucket", ""},
    {"PUT /bucket?acl" PATH_STYLE, S3_OK, "PutBucketAcl", "bucket", ""},
    {"PUT /bucket?lifecycle" PATH_STYLE, S3_OK, "PutBucketLifecycleConfiguration", "bucket", ""},
    {"DELETE /bucket" PATH_STYLE, S3_OK, "DeleteBucket", "bucket", ""},
    {"DELETE /bucket?policy" PATH_STYLE, S3_OK, "DeleteBucketPolicy", "bucket", ""},
    {"POST /bucket?delete" PATH_STYLE, S3_OK, "DeleteObjects", "bucket", ""},
    {"POST /bucket" PATH_STYLE, S3_OK, "PostObject", "bucket", ""},
    {"GET /bucket/k" PATH_STYLE, S3_OK, "GetObject", "bucket", "k"},
    {"GET /bucket/k?response-content-type=x" PATH_STYLE, S3_OK, "GetObject", "bucket", "k"},
    {"GET /bucket/k?attributes" PATH_STYLE, S3_OK, "GetObjectAttributes", "bucket", "k"},
    {"GET /bucket/k?uploadId=u" PATH_STYLE, S3_OK, "ListParts", "bucket", "k"},
    {"HEAD /bucket/k" PATH_STYLE, S3_OK, "HeadObject", "bucket", "k"},
    {"PUT /bucket/k" PATH_STYLE, S3_OK, "PutObject", "bucket", "k"},
    {"PUT /bucket/k" PATH_STYLE "\nX-Amz-Copy-Source: /a/b", S3_OK, "CopyObject", "bucket", "k"},
    {"PUT /bucket/k?partNumber=1&uploadId=u" PATH_STYLE, S3_OK, "UploadPart", "bucket", "k"},
    {"PUT /bucket/k?uploadId=u&partNumber=1" PATH_STYLE "\nx-amz-copy-source: /a/b", S3_OK, "UploadPartCopy", "bucket",
     "k"},
    {"POST /bucket/k?uploads" PATH_STYLE, S3_OK, "CreateMultipartUpload", "bucket", "k"},
    {"POST /bucket/k?uploadId=u" PATH_STYLE, S3_OK, "CompleteMultipartUpload", "bucket", "k"},
    {"DELETE /bucket/k?uploadId=u" PATH_STYLE, S3_OK, "AbortMultipartUpload", "bucket", "k"},
    {"DELETE /bucket/k" PATH_STYLE, S3_OK, "DeleteObject", "bucket", "k"},
    /* keys are bytes */
    {"GET /bucket/a/../b" PATH_STYLE, S3_OK, "GetObject", "bucket", "a/../b"},
    {"GET /bucket/./a/" PATH_STYLE, S3_OK, "GetObject", "bucket", "./a/"},
    {"GET /bucket//k" PATH_STYLE, S3_OK, "GetObject", "bucket", "/k"},
    {"GET /bucket/a//b//" PATH_STYLE, S3_OK, "GetObject", "bucket", "a//b//"},
    {"GET /bucket/a%2Fb" PATH_STYLE, S3_OK, "GetObject", "bucket", "a/b"},
    {"GET /bucket/%2e%2e/k" PATH_STYLE, S3_OK, "GetObject", "bucket", "../k"},
    {"GET /bucket/a%252Fb" PATH_STYLE, S3_OK, "GetObject", "bucket", "a%2Fb"},
    {"GET /bucket/a+b%20c" PATH_STYLE, S3_OK, "GetObject", "bucket", "a+b c"},
    {"GET /bucket/%F0%9F%8E%89" PATH_STYLE, S3_OK, "GetObject", "bucket", "\xf0\x9f\x8e\x89"},
    {"GET /bucket/%ff" PATH_STYLE, S3_OK, "GetObject", "bucket", "\xff"},
    /* the bucket in the host */
    {"GET /k\nHost: bucket.s3.test:9000", S3_OK, "GetObject", "bucket", "k"},
    {"GET /k\nHost: bucket.s3.test.:9000", S3_OK, "GetObject", "bucket", "k"},
    {"GET /\nHost: Bucket.S3.Test", S3_OK, "ListObjects", "bucket", ""},
    {"GET /t/token/x\nHost: bucket.s3.test", S3_OK, "GetObject", "bucket", "t/token/x"},
    {"GET /healthz\nHost: bucket.s3.test", S3_OK, "GetObject", "bucket", "healthz"},
    {"GET //k\nHost: bucket.s3.test", S3_OK, "GetObject", "bucket", "/k"},
    {"GET /k\nHost: a.b.s3.test", S3_OK, "GetObject", "a.b", "k"},
    {"GET /bucket/k\nHost: s3.test", S3_OK, "GetObject", "bucket", "k"},
    {"GET /bucket/k\nHost: xs3.test", S3_OK, "GetObject", "bucket", "k"},
    {"GET /bucket/k\nHost: [::1]:9000", S3_OK, "GetObject", "bucket", "k"},
    /* refused */
    {"GET bucket" PATH_STYLE, S3_InvalidURI, NULL, "", ""},
    {"GET /bucket/a%zz" PATH_STYLE, S3_InvalidURI, NULL, "bucket", ""},
    {"GET /bucket/a%00b" PATH_STYLE, S3_InvalidURI, NULL, "bucket", ""},
    {"GET /bucket/a%" PATH_STYLE, S3_InvalidURI, NULL, "bucket", ""},
    {"PUT /" PATH_STYLE, S3_MethodNotAllowed, NULL, "", ""},
    {"POST /bucket/k" PATH_STYLE, S3_MethodNotAllowed, NULL, "bucket", "k"},
    {"PATCH /bucket/k" PATH_STYLE, S3_MethodNotAllowed, NULL, "bucket", "k"},
    {"GET //k" PATH_STYLE, S3_InvalidBucketName, "GetObject", "", "k"},
    {"GET /ab/k" PATH_STYLE, S3_InvalidBucketName, "GetObject", "ab", "k"},
    {"GET /Bucket/k" PATH_STYLE, S3_InvalidBucketName, "GetObject", "Bucket", "k"},
    {"GET /a%2Fb/k" PATH_STYLE, S3_InvalidBucketName, "GetObject", "a/b", "k"},
};

static void route(struct http_req *r, const char *text, enum s3_error *ret_error, struct s3_route *ret)
{
    struct uri_param *params = NULL;
    size_t count = 0;
    fake_req(r, str_c(text));
    cr_assert_eq(uri_query(&r->arena, r->query, &params, &count), 0);
    *ret_error = s3_route(&r->arena, r, STR("s3.test"), params, count, ret);
}

Test(s3_route, finds_operation_bucket_and_key)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_req r;
        struct s3_route got;
        enum s3_error e;
        route(&r, rows[i].text, &e, &got);
        cr_expect_eq(e, rows[i].error, "%s: %d", rows[i].text, e);
        cr_expect_str_eq(got.op ? got.op->name : "-", rows[i].op ? rows[i].op : "-", "%s: %s", rows[i].text,
                         got.op ? got.op->name : "-");
        cr_expect(str_eq(got.bucket, str_c(rows[i].bucket)), "%s: bucket " STR_FMT, rows[i].text, STR_ARG(got.bucket));
        cr_expect(str_eq(got.key, str_c(rows[i].key)), "%s: key " STR_FMT, rows[i].text, STR_ARG(got.key));
        arena_fini(&r.arena);
    }
}

Test(s3_route, keys_of_1024_bytes_pass_and_longer_ones_do_not)
{
    for (size_t n = S3_KEY_MAX; n <= S3_KEY_MAX + 1; n++) {
        struct sbuf text = {0};
        struct http_req r;
        struct s3_route got;
        enum s3_error e;
        sbuf_puts(&text, "GET /bucket/");
        for (size_t i = 0; i < n; i++)
            sbuf_puts(&text, i % 2 ? "%41" : "A");
        sbuf_add(&text, "", 1);
        route(&r, text.p, &e, &got);
        cr_expect_eq(e, n == S3_KEY_MAX ? S3_OK : S3_KeyTooLongError, "%zu bytes", n);
        arena_fini(&r.arena);
        sbuf_fini(&text);
    }
}

/* A row that nobody can reach, or one without a word on authentication, would be a hole or a dead end. */
Test(s3_route, every_row_of_the_table_says_what_it_needs)
{
    for (size_t i = 0; i < S3_OP_COUNT; i++) {
        const struct s3_op *op = &s3_ops[i];
        cr_expect(op->handler, "%s has no handler", op->name);
        bool form = i == S3_OP_PostObject;
        cr_expect(op->auth && !(op->auth & ~(unsigned)(form ? S3_AUTH_FORM : S3_AUTH_ANY)), "%s: auth %x", op->name,
                  op->auth);
        cr_expect(!(op->rights & ~(unsigned)(RIGHT_READ | RIGHT_WRITE | RIGHT_OWNER)), "%s: rights", op->name);
        if (op->body_max > 0 && !form)
            cr_expect_eq(op->auth, S3_AUTH_ANY, "%s takes a body: every SDK's form of it", op->name);
        if (op->method == HTTP_M_PUT || op->method == HTTP_M_DELETE)
            cr_expect(!(op->rights & RIGHT_READ), "%s changes things with the right to read", op->name);
        for (size_t k = 0; k < i; k++)
            cr_expect(s3_ops[k].method != op->method || s3_ops[k].target != op->target || *s3_ops[k].selector,
                      "%s cannot be reached: %s stands before it", op->name, s3_ops[k].name);
    }
}

Test(s3_route, bucket_names_follow_the_rules)
{
    static const char *const good[] = {"abc",       "my-bucket",
                                       "my.bucket", "123",
                                       "a1-b2.c3",  "a23456789012345678901234567890123456789012345678901234567890123"};
    static const char *const bad[] = {"",
                                      "a",
                                      "ab",
                                      "Abc",
                                      "-abc",
                                      "abc-",
                                      ".abc",
                                      "abc.",
                                      "a..b",
                                      "a_b",
                                      "a b",
                                      "a/b",
                                      "192.168.0.1",
                                      "xn--abc",
                                      "sthree-x",
                                      "abc-s3alias",
                                      "abc--ol-s3",
                                      "healthz",
                                      "readyz",
                                      "a234567890123456789012345678901234567890123456789012345678901234",
                                      "..",
                                      "../x"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        cr_expect(s3_bucket_name_ok(str_c(good[i])), "%s refused", good[i]);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_expect(!s3_bucket_name_ok(str_c(bad[i])), "%s taken", bad[i]);
}

Test(s3_route, copy_sources_are_decoded_once)
{
    static const struct {
        const char *header;
        enum s3_error error;
        const char *bucket, *key, *version;
    } sources[] = {
        {"/bucket/key", S3_OK, "bucket", "key", ""},
        {"bucket/key", S3_OK, "bucket", "key", ""},
        {"bucket/a%2Fb+c%20d", S3_OK, "bucket", "a/b+c d", ""},
        {"bucket/a%252Fb", S3_OK, "bucket", "a%2Fb", ""},
        {"%2Fbucket%2Fkey", S3_OK, "bucket", "key", ""},
        {"bucket//key", S3_OK, "bucket", "/key", ""},
        {"bucket/key?versionId=null", S3_OK, "bucket", "key", "null"},
        {"bucket/what?", S3_OK, "bucket", "what?", ""},
        {"", S3_InvalidArgument, "", "", ""},
        {"/", S3_InvalidArgument, "", "", ""},
        {"bucket", S3_InvalidArgument, "", "", ""},
        {"bucket/", S3_InvalidArgument, "", "", ""},
        {"bucket/%00", S3_InvalidArgument, "", "", ""},
        {"bucket/%zz", S3_InvalidArgument, "", "", ""},
        {"../key", S3_InvalidArgument, "", "", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        struct arena a;
        struct str bucket = STR_NONE, key = STR_NONE, version = STR_NONE;
        arena_init(&a, MIB);
        enum s3_error e = s3_route_source(&a, str_c(sources[i].header), &bucket, &key, &version);
        cr_expect_eq(e, sources[i].error, "'%s': %d", sources[i].header, e);
        if (e == S3_OK) {
            cr_expect(str_eq(bucket, str_c(sources[i].bucket)), "'%s'", sources[i].header);
            cr_expect(str_eq(key, str_c(sources[i].key)), "'%s': " STR_FMT, sources[i].header, STR_ARG(key));
            cr_expect(str_eq(version, str_c(sources[i].version)), "'%s'", sources[i].header);
        }
        arena_fini(&a);
    }
}
