/* base, arena, err: the words everything else is made of. */
#include "common/arena.h"
#include "common/err.h"
#include <criterion/criterion.h>

Test(base, str_u64_takes_digits_only_and_refuses_overflow)
{
    static const struct {
        const char *text;
        int err;
        uint64_t value;
    } rows[] = {{"0", 0, 0},
                {"18446744073709551615", 0, UINT64_MAX},
                {"18446744073709551616", -ERANGE, 0},
                {"99999999999999999999", -ERANGE, 0},
                {"", -EINVAL, 0},
                {"+5", -EINVAL, 0},
                {"-1", -EINVAL, 0},
                {"0x5", -EINVAL, 0},
                {" 5", -EINVAL, 0}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t v = 0;
        cr_assert_eq(str_u64(str_c(rows[i].text), &v), rows[i].err, "%s", rows[i].text);
        cr_assert_eq(v, rows[i].value, "%s", rows[i].text);
    }
}

Test(base, str_cmp_orders_as_unsigned_bytes_and_prefixes_first)
{
    cr_assert_lt(str_cmp(STR("a"), STR("b")), 0);
    cr_assert_lt(str_cmp(STR("a"), STR("a\xff")), 0);
    cr_assert_lt(str_cmp(STR("z"), STR("\xc3\xa9")), 0);
    cr_assert_eq(str_cmp(STR(""), STR_NONE), 0);
}

Test(base, str_split_gives_every_part_and_empty_ones)
{
    struct str rest = STR("a,,b,"), part;
    const char *want[] = {"a", "", "b", ""};
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        cr_assert(str_split(&rest, ',', &part));
        cr_assert(str_eq(part, str_c(want[i])), "part %zu", i);
    }
    cr_assert_not(str_split(&rest, ',', &part));
}

Test(base, str_trim_and_ieq)
{
    cr_assert(str_eq(str_trim(STR(" \t a b\t ")), STR("a b")));
    cr_assert(str_eq(str_trim(STR("  ")), STR("")));
    cr_assert(str_ieq(STR("Content-MD5"), STR("content-md5")));
    cr_assert_not(str_ieq(STR("[bc"), STR("{bc")), "only letters fold");
}

Test(arena, stays_within_its_limit_and_recovers_after_fini)
{
    struct arena a;
    arena_init(&a, 1000);
    cr_assert_null(arena_alloc(&a, 1001));
    void *p = arena_alloc(&a, 500);
    cr_assert_not_null(p);
    cr_assert_eq((uintptr_t)p % 16, 0);
    cr_assert_null(arena_alloc(&a, 600));
    cr_assert_null(arena_alloc(&a, SIZE_MAX), "no overflow in the rounding");
    arena_fini(&a);
    cr_assert_not_null(arena_alloc(&a, 900));
    arena_fini(&a);
}

Test(arena, gives_zeroed_memory_of_any_size)
{
    struct arena a;
    arena_init(&a, 10 * MIB);
    for (size_t n = 0; n < 700 * KIB; n = n * 2 + 1) {
        unsigned char *p = arena_alloc(&a, n);
        cr_assert_not_null(p);
        for (size_t i = 0; i < n; i++)
            cr_assert_eq(p[i], 0);
        memset(p, 0xaa, n);
    }
    struct str s = arena_str(&a, STR("text"));
    cr_assert(str_eq(s, STR("text")));
    cr_assert_eq(s.p[4], 0);
    cr_assert_str_eq(arena_printf(&a, "%d-%s", 7, "x"), "7-x");
    arena_fini(&a);
}

Test(sbuf, grows_and_formats)
{
    struct sbuf s = {0};
    for (int i = 0; i < 1000; i++)
        sbuf_printf(&s, "%d,", i);
    sbuf_puts(&s, "end");
    cr_assert_eq(s.err, 0);
    cr_assert_eq(strlen(s.p), s.len);
    cr_assert_str_eq(s.p + s.len - 7, "999,end");
    sbuf_fini(&s);
}

Test(err, every_code_has_a_text)
{
    cr_assert_str_eq(err_text(E_CORRUPT), "stored bytes fail their checksum");
    cr_assert_str_eq(err_text(-ENOENT), "No such file or directory");
    cr_assert_str_eq(err_text(-99999), "unknown error");
}
