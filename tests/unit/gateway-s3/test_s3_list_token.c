/* s3_list: tokens of listings come back as they went, and nothing else is taken for one. */
#include "common/err.h"
#include "gateway-s3/s3_list.h"
#include <criterion/criterion.h>

TestSuite(s3_list_token, .timeout = 60);

Test(s3_list_token, comes_back_as_it_went)
{
    static char longest[1024];
    memset(longest, '\xff', sizeof longest);
    const struct s3_list_token tokens[] = {
        {STR("key"), false},
        {STR("a/b/"), true},
        {STR(""), false},
        {STR("\xff\x01 +/=\xf0\x9f\x8e\x89"), false},
        {{longest, sizeof longest}, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(tokens); i++) {
        struct arena a;
        struct s3_list_token got;
        arena_init(&a, MIB);
        struct str text = s3_list_token_encode(&a, &tokens[i]);
        cr_assert(text.p);
        for (size_t k = 0; k < text.len; k++)
            cr_expect(memchr("+/= &%", text.p[k], 6) == NULL, "needs no escaping in a query");
        cr_assert_eq(s3_list_token_decode(&a, text, &got), 0, "token %zu", i);
        cr_expect(str_eq(got.after, tokens[i].after));
        cr_expect_eq(got.after_is_prefix, tokens[i].after_is_prefix);
        arena_fini(&a);
    }
}

Test(s3_list_token, refuses_what_was_damaged_or_made_up)
{
    struct arena a;
    struct s3_list_token got, from = {STR("some/key"), false};
    arena_init(&a, MIB);
    struct str text = s3_list_token_encode(&a, &from);
    for (size_t i = 0; i < text.len; i++) {
        char *bad = arena_copy(&a, text.p, text.len);
        bad[i] = bad[i] == 'A' ? 'B' : 'A';
        cr_expect_eq(s3_list_token_decode(&a, (struct str){bad, text.len}, &got), -EINVAL, "byte %zu", i);
        cr_expect_eq(s3_list_token_decode(&a, (struct str){text.p, i}, &got), -EINVAL, "cut at %zu", i);
    }
    cr_expect_eq(s3_list_token_decode(&a, STR("hello"), &got), -EINVAL);
    cr_expect_eq(s3_list_token_decode(&a, STR("!!!!!!!!!!!!"), &got), -EINVAL);
    static char huge[8192];
    memset(huge, 'A', sizeof huge);
    cr_expect_eq(s3_list_token_decode(&a, (struct str){huge, sizeof huge}, &got), -EINVAL);
    arena_fini(&a);
}
