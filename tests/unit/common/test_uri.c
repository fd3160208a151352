/* uri: strict decoding, SigV4's encoding, and queries with every odd shape. */
#include "common/uri.h"
#include "common/err.h"
#include <criterion/criterion.h>

#define BUDGET ((size_t)MIB)

static struct arena arena;

static void setup(void)
{
    arena_init(&arena, BUDGET);
}
static void teardown(void)
{
    arena_fini(&arena);
}
TestSuite(uri, .init = setup, .fini = teardown, .timeout = 20);

Test(uri, decode_is_strict_and_happens_once)
{
    static const struct {
        const char *in, *want;
    } rows[] = {
        {"", ""},
        {"/a/b", "/a/b"},
        {"a%20b", "a b"},
        {"a+b", "a+b"},
        {"%2F%2f", "//"},
        {"%2541", "%41"},
        {"%e2%82%ac", "\xe2\x82\xac"},
        {"..%2f..", "../.."},
        {"//x//", "//x//"},
        {"%ff", "\xff"},
        {"a%00b", NULL},
        {"%", NULL},
        {"%4", NULL},
        {"abc%", NULL},
        {"abc%4", NULL},
        {"%zz", NULL},
        {"%4g", NULL},
        {"%g4", NULL},
        {"% 1", NULL},
        {"%+1", NULL},
        {"%%41", NULL},
        {"%0", NULL},
        {"%41%", NULL},
        {"%u0041", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str got = STR_NONE;
        int err = uri_decode(&arena, str_c(rows[i].in), &got);
        cr_expect_eq(err, rows[i].want ? 0 : -EINVAL, "%s", rows[i].in);
        if (rows[i].want)
            cr_expect(str_eq(got, str_c(rows[i].want)), "%s -> " STR_FMT, rows[i].in, STR_ARG(got));
    }
    struct str got;
    cr_expect_eq(uri_decode(&arena, (struct str){"a\0b", 3}, &got), -EINVAL, "a raw NUL");
    cr_expect_eq(uri_decode(&arena, (struct str){"%41", 2}, &got), -EINVAL, "an escape beyond the end is not read");
}

Test(uri, encode_keeps_only_unreserved_bytes)
{
    for (int c = 1; c < 256; c++) {
        char in = (char)c;
        bool keep = strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~", c) != NULL;
        struct str got = uri_encode(&arena, (struct str){&in, 1}, false), back;
        cr_expect_eq(got.len, keep ? 1 : 3, "byte %02x", c);
        cr_assert_eq(uri_decode(&arena, got, &back), 0);
        cr_expect(str_eq(back, (struct str){&in, 1}), "byte %02x", c);
    }
    struct str path = uri_encode(&arena, STR("/a b/\xc3\xa9+~"), true);
    cr_expect(str_eq(path, STR("/a%20b/%C3%A9%2B~")), STR_FMT, STR_ARG(path));
    struct str name = uri_encode(&arena, STR("/a"), false);
    cr_expect(str_eq(name, STR("%2Fa")));
}

Test(uri, encode_to_equals_encode_for_long_input)
{
    char in[1000];
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (char)(i * 7 + 1);
    for (size_t n = 0; n < sizeof in; n += 13) {
        struct sbuf out = {0};
        uri_encode_to(&out, (struct str){in, n}, n % 2);
        struct str want = uri_encode(&arena, (struct str){in, n}, n % 2);
        cr_expect_eq(out.err, 0);
        cr_expect(str_eq((struct str){out.p, out.len}, want), "%zu bytes", n);
        sbuf_fini(&out);
    }
}

Test(uri, query_reads_every_shape)
{
    static const struct {
        const char *in;
        int err;
        size_t count;
        const char *first_name, *first_value;
        bool has_equals;
    } rows[] = {
        {"", 0, 0, NULL, NULL, false},
        {"acl", 0, 1, "acl", "", false},
        {"acl=", 0, 1, "acl", "", true},
        {"&&a=b&&c&", 0, 2, "a", "b", true},
        {"a=b=c&d", 0, 2, "a", "b=c", true},
        {"=v", 0, 1, "", "v", true},
        {"=", 0, 1, "", "", true},
        {"prefix=a%20b%2Fc&x", 0, 2, "prefix", "a b/c", true},
        {"prefix=a+b", 0, 1, "prefix", "a+b", true},
        {"%70refix=1", 0, 1, "prefix", "1", true},
        {"a=1&a=2", 0, 2, "a", "1", true},
        {"a=%", -EINVAL, 0, NULL, NULL, false},
        {"a&%zz=1", -EINVAL, 0, NULL, NULL, false},
        {"a=%00", -EINVAL, 0, NULL, NULL, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct uri_param *params = NULL;
        size_t count = 0;
        cr_expect_eq(uri_query(&arena, str_c(rows[i].in), &params, &count), rows[i].err, "%s", rows[i].in);
        cr_expect_eq(count, rows[i].count, "%s", rows[i].in);
        if (!rows[i].first_name || count == 0)
            continue;
        cr_expect(str_eq(params[0].name, str_c(rows[i].first_name)), "%s", rows[i].in);
        cr_expect(str_eq(params[0].value, str_c(rows[i].first_value)), "%s", rows[i].in);
        cr_expect_eq(params[0].has_equals, rows[i].has_equals, "%s", rows[i].in);
        cr_expect_eq(uri_param(params, count, rows[i].first_name), &params[0]);
        cr_expect_null(uri_param(params, count, "absent"));
    }
}

Test(uri, query_keeps_the_raw_text_beside_the_decoded)
{
    struct uri_param *params;
    size_t count;
    cr_assert_eq(uri_query(&arena, STR("%41=%42&c"), &params, &count), 0);
    cr_expect(str_eq(params[0].raw_name, STR("%41")) && str_eq(params[0].raw_value, STR("%42")));
    cr_expect(str_eq(params[0].name, STR("A")) && str_eq(params[0].value, STR("B")));
    cr_expect(str_eq(params[1].raw_name, STR("c")) && params[1].raw_value.len == 0);
}

Test(uri, query_has_a_limit_on_parameters)
{
    char text[2 * URI_PARAM_MAX + 8];
    struct uri_param *params;
    size_t count;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = i % 2 ? '&' : 'p';
    cr_expect_eq(uri_query(&arena, (struct str){text, 2 * URI_PARAM_MAX}, &params, &count), 0);
    cr_expect_eq(count, URI_PARAM_MAX);
    cr_expect_eq(uri_query(&arena, (struct str){text, 2 * URI_PARAM_MAX + 1}, &params, &count), -E2BIG);
}

Test(uri, an_exhausted_arena_is_an_error_not_a_crash)
{
    struct arena tiny;
    arena_init(&tiny, 16);
    struct str got;
    struct uri_param *params;
    size_t count;
    cr_expect_eq(uri_decode(&tiny, STR("a text longer than sixteen bytes"), &got), -ENOMEM);
    cr_expect_null(uri_encode(&tiny, STR("a text longer than sixteen bytes"), true).p);
    cr_expect_eq(uri_query(&tiny, STR("a=b&c=d"), &params, &count), -ENOMEM);
    arena_fini(&tiny);
}
