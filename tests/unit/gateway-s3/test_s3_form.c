/* s3_form and s3_policy: browsers' upload forms, cut at every byte; policies that hold, and every way in which they do
 * not. */
#include "gateway-s3/s3_policy.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

TestSuite(s3_form, .timeout = 60);

#define TYPE               "multipart/form-data; boundary=----WebKitFormBoundaryA"
#define B                  "------WebKitFormBoundaryA"
#define FIELD(name, value) B "\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"
#define FILE_HEAD                                                                                                      \
    B "\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a;b.txt\"\r\nContent-Type: text/plain\r\n\r\n"

struct parsed {
    struct arena arena;
    struct s3_form form;
    struct sbuf file;
    enum s3_error error;
};

static void feed(struct parsed *p, const char *bytes, size_t n, size_t room)
{
    uint8_t out[64];
    for (size_t at = 0; at < n && p->error == S3_OK;) {
        size_t in_len = n - at, out_len = p->form.in_file ? room : 0;
        p->error = s3_form_feed(&p->form, (const uint8_t *)bytes + at, &in_len, out, &out_len);
        sbuf_add(&p->file, out, out_len);
        at += in_len;
        cr_assert(p->error != S3_OK || in_len > 0 || out_len > 0, "no progress at %zu", at);
    }
}

static void parse(struct parsed *p, const char *type, struct str body, size_t cut, size_t room)
{
    memset(p, 0, sizeof *p);
    arena_init(&p->arena, MIB);
    p->error = s3_form_init(&p->form, &p->arena, str_c(type));
    feed(p, body.p, MIN_OF(cut, body.len), room);
    if (cut < body.len)
        feed(p, body.p + cut, body.len - cut, room);
    if (p->error == S3_OK)
        p->error = s3_form_end(&p->form);
}

static void drop(struct parsed *p)
{
    s3_form_fini(&p->form);
    sbuf_fini(&p->file);
    arena_fini(&p->arena);
}

static const char whole[] = FIELD("Key", "a/${filename}") FIELD("empty", "") FIELD("two", "line\r\nline\r\n--x")
    FILE_HEAD "data\r\n------WebKitFormBoundary?\r\r\n\r\n--"
              "\r\n" B "--\r\n";
static const struct str whole_str = {"data\r\n------WebKitFormBoundary?\r\r\n\r\n--",
                                     sizeof("data\r\n------WebKitFormBoundary?\r\r\n\r\n--") - 1};

Test(s3_form, is_read_however_it_is_cut)
{
    struct str body = {whole, sizeof whole - 1};
    for (size_t cut = 0; cut <= body.len; cut++)
        for (size_t room = 1; room <= 64; room = room * 3 + 1) {
            struct parsed p;
            parse(&p, TYPE, body, cut, room);
            cr_assert_eq(p.error, S3_OK, "cut %zu, room %zu: %d", cut, room, p.error);
            cr_assert_eq(p.form.count, 3);
            cr_assert(str_eq(s3_form_value(&p.form, "key"), STR("a/${filename}")));
            cr_assert(s3_form_value(&p.form, "empty").p && s3_form_value(&p.form, "empty").len == 0);
            cr_assert(str_eq(s3_form_value(&p.form, "two"), STR("line\r\nline\r\n--x")));
            cr_assert(!s3_form_value(&p.form, "absent").p);
            cr_assert(str_eq(p.form.file_name, STR("a;b.txt")));
            cr_assert(str_eq((struct str){p.file.p, p.file.len}, whole_str), "cut %zu, room %zu: '%.*s'", cut, room,
                      (int)p.file.len, p.file.p);
            drop(&p);
        }
}

Test(s3_form, refuses_what_is_none)
{
    static const struct {
        const char *type, *body;
        enum s3_error error;
    } rows[] = {
        {"text/plain", "", S3_MalformedPOSTRequest},
        {"multipart/form-data", "", S3_MalformedPOSTRequest},
        {"multipart/form-data; boundary=", "", S3_MalformedPOSTRequest},
        {TYPE, "", S3_IncompleteBody},
        {TYPE, "hello", S3_MalformedPOSTRequest},
        {TYPE, B "x", S3_MalformedPOSTRequest},
        {TYPE, B "\r\nNo colon\r\n\r\n", S3_MalformedPOSTRequest},
        {TYPE, B "\r\nContent-Disposition: form-data\r\n\r\n", S3_MalformedPOSTRequest},
        {TYPE, B "\r\n\r\nno name", S3_MalformedPOSTRequest},
        {TYPE, B "\nContent-Disposition: form-data; name=\"a\"\r\n\r\n", S3_MalformedPOSTRequest},
        {TYPE, FIELD("a", "b") B "--\r\n", S3_InvalidArgument},
        {TYPE, FIELD("key", "a") FIELD("key", "b") FILE_HEAD, S3_MalformedPOSTRequest},
        {TYPE, FIELD("key", "a") FIELD("KEY", "b") FILE_HEAD, S3_MalformedPOSTRequest},
        {TYPE, FIELD("a", "b") FILE_HEAD "cut off", S3_IncompleteBody},
        {TYPE, FILE_HEAD "cut\r\n------WebKitFormBoundary", S3_IncompleteBody},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct parsed p;
        parse(&p, rows[i].type, str_c(rows[i].body), SIZE_MAX, 64);
        cr_expect_eq(p.error, rows[i].error, "row %zu: %d", i, p.error);
        drop(&p);
    }
}

Test(s3_form, stops_at_its_limits)
{
    struct sbuf many = {0}, large = {0}, line = {0};
    struct parsed p;
    for (int i = 0; i < S3_FORM_FIELDS + 2; i++)
        sbuf_printf(&many, FIELD("a%d", "b"), i);
    parse(&p, TYPE, (struct str){many.p, many.len}, SIZE_MAX, 64);
    cr_expect_eq(p.error, S3_MaxPostPreDataLengthExceeded, "fields");
    drop(&p);
    sbuf_puts(&large, B "\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n");
    for (size_t i = 0; i < S3_FORM_BYTES; i++)
        sbuf_puts(&large, "x");
    parse(&p, TYPE, (struct str){large.p, large.len}, SIZE_MAX, 64);
    cr_expect_eq(p.error, S3_MaxPostPreDataLengthExceeded, "bytes");
    drop(&p);
    sbuf_puts(&line, B "\r\nX: ");
    for (size_t i = 0; i < S3_FORM_LINE; i++)
        sbuf_puts(&line, "x");
    parse(&p, TYPE, (struct str){line.p, line.len}, SIZE_MAX, 64);
    cr_expect_eq(p.error, S3_MaxPostPreDataLengthExceeded, "a line");
    drop(&p);
    sbuf_fini(&many);
    sbuf_fini(&large);
    sbuf_fini(&line);
}

/* ---- policies ---- */

#define NOW   1198476000 /* 2007-12-24T06:00:00Z */
#define UNTIL "\"expiration\": \"2007-12-30T12:00:00.000Z\""
#define ALL   "{\"bucket\": \"photos\"}, [\"starts-with\", \"$key\", \"user/eric/\"], {\"acl\": \"private\"}"

static enum s3_error judge(const char *json, struct s3_policy_limits *limits)
{
    struct s3_form form = {.count = 4};
    struct arena a;
    const char *why = NULL;
    form.fields[0] = (struct s3_form_field){STR("key"), STR("user/eric/photo \xc3\xbc.jpg")};
    form.fields[1] = (struct s3_form_field){STR("acl"), STR("private")};
    form.fields[2] = (struct s3_form_field){STR("x-amz-signature"), STR("0")};
    form.fields[3] = (struct s3_form_field){STR("x-ignore-this"), STR("0")};
    arena_init(&a, MIB);
    enum s3_error e = s3_policy_check(&a, str_c(json), &form, STR("photos"), NOW, limits, &why);
    cr_expect(e == S3_OK || (why && *why), "%s: a refusal says why", json);
    arena_fini(&a);
    return e;
}

Test(s3_form, a_policy_holds_or_does_not)
{
    static const struct {
        const char *json;
        enum s3_error error;
    } rows[] = {
        {"{" UNTIL ", \"conditions\": [" ALL "]}", S3_OK},
        {" { \"conditions\" : [ " ALL " ] , " UNTIL " } ", S3_OK},
        {"{" UNTIL ", \"conditions\": [" ALL
         ", [\"eq\", \"$acl\", \"private\"], [\"starts-with\", \"$absent\", \"\"]]}",
         S3_OK},
        {"{" UNTIL ", \"conditions\": [" ALL ", {\"key\": \"user/eric/photo \\u00fc.jpg\"}]}", S3_OK},
        {"{" UNTIL
         ", \"conditions\": [{\"bucket\": \"photos\", \"acl\": \"private\"}, [\"Starts-With\", \"$Key\", \"user/\"]]}",
         S3_OK},
        {"{\"expiration\": \"2007-12-24T06:00:01Z\", \"conditions\": [" ALL "]}", S3_OK},
        {"{\"expiration\": \"2007-12-24T06:00:00Z\", \"conditions\": [" ALL "]}", S3_AccessDenied},
        {"{\"expiration\": \"1999-12-30T12:00:00.000Z\", \"conditions\": [" ALL "]}", S3_AccessDenied},
        {"{" UNTIL ", \"conditions\": [" ALL ", {\"bucket\": \"other\"}]}", S3_AccessDenied},
        {"{" UNTIL ", \"conditions\": [" ALL ", [\"eq\", \"$key\", \"user/eric/\"]]}", S3_AccessDenied},
        {"{" UNTIL ", \"conditions\": [" ALL ", [\"starts-with\", \"$key\", \"user/bob/\"]]}", S3_AccessDenied},
        {"{" UNTIL ", \"conditions\": [" ALL ", {\"absent\": \"x\"}]}", S3_AccessDenied},
        {"{" UNTIL ", \"conditions\": [{\"bucket\": \"photos\"}, [\"starts-with\", \"$key\", \"\"]]}",
         S3_AccessDenied}, /* acl unnamed */
        {"{" UNTIL ", \"conditions\": []}", S3_AccessDenied},
        {"{" UNTIL "}", S3_InvalidPolicyDocument},
        {"{\"conditions\": [" ALL "]}", S3_InvalidPolicyDocument},
        {"{\"expiration\": \"soon\", \"conditions\": [" ALL "]}", S3_InvalidPolicyDocument},
        {"{\"expiration\": \"2007-13-30T12:00:00.000Z\", \"conditions\": [" ALL "]}", S3_InvalidPolicyDocument},
        {"{" UNTIL ", \"conditions\": [" ALL ", [\"matches\", \"$key\", \"x\"]]}", S3_InvalidPolicyDocument},
        {"{" UNTIL ", \"conditions\": [" ALL ", [\"eq\", \"key\", \"x\"]]}", S3_InvalidPolicyDocument},
        {"{" UNTIL ", \"conditions\": [" ALL ", 1]}", S3_InvalidPolicyDocument},
        {"{" UNTIL ", \"conditions\": [" ALL "]} x", S3_InvalidPolicyDocument},
        {"{" UNTIL ", \"conditions\": [" ALL "]", S3_InvalidPolicyDocument},
        {"{" UNTIL ", \"conditions\": [" ALL ",]}", S3_InvalidPolicyDocument},
        {"{" UNTIL ", \"extra\": \"x\", \"conditions\": [" ALL "]}", S3_InvalidPolicyDocument},
        {"{" UNTIL ", \"conditions\": [{\"key\": \"\\ud800\"}]}", S3_InvalidPolicyDocument},
        {"[]", S3_InvalidPolicyDocument},
        {"", S3_InvalidPolicyDocument},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct s3_policy_limits limits;
        enum s3_error e = judge(rows[i].json, &limits);
        cr_expect_eq(e, rows[i].error, "%s: %d", rows[i].json, e);
    }
}

Test(s3_form, a_policy_bounds_the_length)
{
    struct s3_policy_limits limits;
    cr_expect_eq(judge("{" UNTIL ", \"conditions\": [" ALL "]}", &limits), S3_OK);
    cr_expect(limits.min_bytes == 0 && limits.max_bytes == UINT64_MAX);
    cr_expect_eq(judge("{" UNTIL ", \"conditions\": [" ALL ", [\"content-length-range\", 10, \"1000\"]]}", &limits),
                 S3_OK);
    cr_expect(limits.min_bytes == 10 && limits.max_bytes == 1000);
    cr_expect_eq(judge("{" UNTIL ", \"conditions\": [" ALL ", [\"content-length-range\", -1, 5]]}", &limits),
                 S3_InvalidPolicyDocument);
}
