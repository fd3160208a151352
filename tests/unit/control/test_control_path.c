#include "control/media_kind.h"
#include "control/path.h"
#include "control/when.h"
#include "common/token.h"
#include <criterion/criterion.h>
#include <errno.h>

#define RAW(lit)                                                                                                       \
    {                                                                                                                  \
        lit, sizeof(lit) - 1                                                                                           \
    }

Test(path, what_two_servers_could_read_differently_is_refused)
{
    static const struct {
        const char *p;
        size_t len;
    } rows[] = {
        RAW("c/../x"),
        RAW("../x"),
        RAW("c/.."),
        RAW("c/%2e%2e/x"),
        RAW("c/%2E./x"),
        RAW("c/./x"),
        RAW("./x"),
        RAW("c/%2e/x"),
        RAW("c//x"),
        RAW("/c/x"),
        RAW("c/x/"),
        RAW(""),
        RAW("c%2fx"),
        RAW("c%2Fx"),
        RAW("c/%2f"),
        RAW("c\\x"),
        RAW("c%5cx"),
        RAW("c%5Cx"),
        RAW("c%00x"),
        RAW("c\0x"),
        RAW("c;v=1/x"),
        RAW("c/x;jsessionid=1"),
        RAW("c%3bx"),
        RAW("c/%"),
        RAW("c/%4"),
        RAW("c/%zz"),
        RAW("c/%+1"),
        RAW("c/\x01"),
        RAW("c/%0a"),
        RAW("c/%0d%0aSet-Cookie:x"),
        RAW("c/%7f"),
        RAW("c/\xc0\xaf"), /* overlong '/' */
        RAW("c/%c0%af"),
        RAW("c/%c0%ae%c0%ae/x"),
        RAW("c/%e0%80%af"),
        RAW("c/%f0%80%80%af"),
        RAW("c/%ff"),
        RAW("c/%c3"),
        RAW("c/%ed%a0%80"),    /* surrogate */
        RAW("c/%f4%90%80%80"), /* past U+10FFFF */
        RAW("c/%c2%85"),       /* C1 control */
        RAW("c/%80x"),
    };
    struct arena a;
    struct str key;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        arena_init(&a, MIB);
        cr_expect_eq(path_decode(&a, (struct str){rows[i].p, rows[i].len}, &key), -EINVAL, "row %zu: %s", i, rows[i].p);
        arena_fini(&a);
    }
}

Test(path, what_has_one_reading_is_decoded_once)
{
    static const struct {
        const char *raw, *key;
    } rows[] = {
        {"c/12/index.m3u8", "c/12/index.m3u8"},
        {"c/%31%32/x", "c/12/x"},
        {"a%20b", "a b"},
        {"a+b", "a+b"},
        {"a%2Bb", "a+b"},
        {"%25", "%"},
        {"c/%252e%252e/x", "c/%2e%2e/x"},
        {"c/...", "c/..."},
        {"c/..x/.y", "c/..x/.y"},
        {"%C3%A9t%C3%A9.vtt", "\xc3\xa9t\xc3\xa9.vtt"},
        {"\xc3\xa9", "\xc3\xa9"},
        {"%F0%9F%8E%B5.mp3", "\xf0\x9f\x8e\xb5.mp3"},
        {"a%3Fb%23c", "a?b#c"},
        {"a:b@c!$&'()*,=~", "a:b@c!$&'()*,=~"},
    };
    struct arena a;
    struct str key;
    arena_init(&a, MIB);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_assert_eq(path_decode(&a, str_c(rows[i].raw), &key), 0, "%s", rows[i].raw);
        cr_expect(str_eq(key, str_c(rows[i].key)), "%s", rows[i].raw);
    }
    arena_fini(&a);
}

Test(path, a_key_of_1024_bytes_is_the_longest)
{
    static char text[PATH_KEY_MAX + 1];
    struct arena a;
    struct str key;
    memset(text, 'x', sizeof(text));
    arena_init(&a, MIB);
    cr_expect_eq(path_decode(&a, (struct str){text, PATH_KEY_MAX}, &key), 0);
    cr_expect_eq(path_decode(&a, (struct str){text, PATH_KEY_MAX + 1}, &key), -EINVAL);
    arena_fini(&a);
}

Test(path, a_prefix_is_whole_segments_or_one_object)
{
    static const struct {
        const char *prefix;
        bool ok;
    } rows[] = {{"c/12/", true}, {"c/12", true}, {"a", true},    {"a/", true},     {"", false},     {"/", false},
                {"/c/", false},  {"c//", false}, {"../", false}, {"c/../", false}, {"c/;/", false}, {"c\\", false}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        cr_expect_eq(path_prefix_ok(str_c(rows[i].prefix)), rows[i].ok, "%s", rows[i].prefix);
}

Test(path, the_token_is_the_segment_after_t)
{
    struct str token, key;
    cr_assert_eq(path_media_split(STR("/t/TOKEN/c/12/x%20y"), &token, &key), 0);
    cr_expect(str_eq(token, STR("TOKEN")) && str_eq(key, STR("c/12/x%20y")));
    cr_assert_eq(path_media_split(STR("/t//x"), &token, &key), 0);
    cr_expect_eq(token.len, 0u);
    cr_expect_eq(path_media_split(STR("/t/TOKEN"), &token, &key), -EINVAL);
    cr_expect_eq(path_media_split(STR("/t/"), &token, &key), -EINVAL);
    cr_expect_eq(path_media_split(STR("/x/TOKEN/y"), &token, &key), -EINVAL);
}

Test(media_kind, a_thumbnail_token_opens_images_and_a_key_token_keys_only)
{
    static const struct {
        unsigned audience;
        const char *path;
        bool allowed;
    } rows[] = {
        {TOKEN_PLAY, "a/seg.ts", true},
        {TOKEN_PLAY, "a/x.key", true},
        {TOKEN_PLAY, "a/x", true},
        {TOKEN_DOWNLOAD, "a/b.pdf", true},
        {TOKEN_THUMBNAIL, "a/p.jpg", true},
        {TOKEN_THUMBNAIL, "a/p.JPEG", true},
        {TOKEN_THUMBNAIL, "a/seg.ts", false},
        {TOKEN_THUMBNAIL, "a/x.key", false},
        {TOKEN_THUMBNAIL, "a/jpg", false},
        {TOKEN_KEY, "a/x.key", true},
        {TOKEN_KEY, "a/seg.ts", false},
        {TOKEN_KEY, "a/p.jpg", false},
        {0, "a/p.jpg", false},
        {9, "a/p.jpg", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        cr_expect_eq(media_kind_allowed(rows[i].audience, str_c(rows[i].path)), rows[i].allowed, "row %zu", i);
}

Test(when, rfc_3339_and_nothing_else)
{
    static const struct {
        const char *text;
        int64_t want; /* -1: refused */
    } rows[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2023-11-14T22:13:20Z", 1700000000},
        {"2023-11-14t22:13:20z", 1700000000},
        {"2023-11-14T22:13:20.123456Z", 1700000000},
        {"2023-11-14T23:13:20+01:00", 1700000000},
        {"2023-11-14T16:43:20-05:30", 1700000000},
        {"2024-02-29T00:00:00Z", 1709164800},
        {"9999-12-31T23:59:59Z", 253402300799},
        {"2023-02-29T00:00:00Z", -1},
        {"2023-13-01T00:00:00Z", -1},
        {"2023-00-01T00:00:00Z", -1},
        {"2023-11-31T00:00:00Z", -1},
        {"2023-11-14T24:00:00Z", -1},
        {"2023-11-14T22:60:20Z", -1},
        {"2023-11-14 22:13:20Z", -1},
        {"2023-11-14T22:13:20", -1},
        {"2023-11-14T22:13:20.Z", -1},
        {"2023-11-14T22:13:20+0100", -1},
        {"2023-11-14T22:13:20+24:00", -1},
        {"2023-11-14", -1},
        {"1700000000", -1},
        {"", -1},
        {"2023-11-14T22:13:20Zx", -1},
        {"+023-11-14T22:13:20Z", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t s = 0;
        int err = when_parse(str_c(rows[i].text), &s);
        if (rows[i].want < 0)
            cr_expect_eq(err, -EINVAL, "%s", rows[i].text);
        else
            cr_expect(err == 0 && s == rows[i].want, "%s: %d %lld", rows[i].text, err, (long long)s);
    }
}

Test(when, what_is_printed_is_read_back)
{
    char text[24];
    for (uint64_t s = 0; s <= WHEN_MAX_S; s += 86400 * 37 + 12345) {
        int64_t got;
        when_print(s, text);
        cr_assert_eq(when_parse(str_c(text), &got), 0, "%s", text);
        cr_assert_eq((uint64_t)got, s, "%s", text);
    }
    static const struct {
        const char *text;
        int64_t want;
    } early[] = {{"1969-12-31T23:59:59Z", -1},
                 {"1970-01-01T00:00:00+00:01", -60},
                 {"0000-01-01T00:00:00Z", -62167219200},
                 {"0001-01-01T00:00:00Z", -62135596800},
                 {"1900-03-01T00:00:00Z", -2203891200}};
    for (size_t i = 0; i < ARRAY_LEN(early); i++) {
        int64_t got;
        cr_assert_eq(when_parse(str_c(early[i].text), &got), 0);
        cr_expect_eq(got, early[i].want, "%s: %lld", early[i].text, (long long)got);
    }
    char far[32];
    when_distance(14, far);
    cr_expect_str_eq(far, "14 s");
    when_distance(200, far);
    cr_expect_str_eq(far, "3 min");
    when_distance(86400, far);
    cr_expect_str_eq(far, "24 h");
    when_distance(86400 * 10, far);
    cr_expect_str_eq(far, "10 days");
}
