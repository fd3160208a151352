/* http_date: written in one form, read in three, and nothing else. */
#include "common/http.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <time.h>

Test(http_date, writes_the_fixed_form)
{
    static const struct {
        uint64_t s;
        const char *text;
    } rows[] = {
        {0, "Thu, 01 Jan 1970 00:00:00 GMT"},          {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"},
        {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},  {951868799, "Tue, 29 Feb 2000 23:59:59 GMT"},
        {1136214245, "Mon, 02 Jan 2006 15:04:05 GMT"}, {4107542399, "Sun, 28 Feb 2100 23:59:59 GMT"},
        {4107542400, "Mon, 01 Mar 2100 00:00:00 GMT"}, {253402300799, "Fri, 31 Dec 9999 23:59:59 GMT"},
        {UINT64_MAX, "Fri, 31 Dec 9999 23:59:59 GMT"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[30];
        http_date(rows[i].s, text);
        cr_assert_str_eq(text, rows[i].text);
    }
}

Test(http_date, agrees_with_the_c_library_and_reads_back)
{
    uint64_t s = 7;
    for (int i = 0; i < 20000; i++) {
        time_t t = (time_t)(s % 253402300800);
        struct tm tm;
        char want[40], got[30];
        uint64_t back;
        gmtime_r(&t, &tm);
        strftime(want, sizeof want, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        http_date((uint64_t)t, got);
        cr_assert_str_eq(got, want);
        cr_assert_eq(http_date_parse(str_c(got), &back), 0);
        cr_assert_eq(back, (uint64_t)t);
        s = s * 6364136223846793005u + 1442695040888963407u;
    }
}

Test(http_date, reads_the_two_obsolete_forms)
{
    static const struct {
        const char *text;
        uint64_t s;
    } rows[] = {
        {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},  {"Sun Nov  6 08:49:37 1994", 784111777},
        {"Monday, 02-Jan-06 15:04:05 GMT", 1136214245}, {"Mon Jan  2 15:04:05 2006", 1136214245},
        {"Wed Nov 16 08:49:37 1994", 784975777},        {"Sat, 31 Dec 2016 23:59:60 GMT", 1483228800},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t s = 0;
        cr_assert_eq(http_date_parse(str_c(rows[i].text), &s), 0, "%s", rows[i].text);
        cr_assert_eq(s, rows[i].s, "%s", rows[i].text);
    }
}

Test(http_date, refuses_everything_else)
{
    static const char *const rows[] = {
        "",
        "0",
        "Sun",
        "Sunday",
        "Sun,",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT",
        "Son, 06 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 29 Feb 2001 08:49:37 GMT",
        "Sun, 29 Feb 2100 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 1969 08:49:37 GMT",
        "Sun, 06 Nov 19940 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov  6 08:49:37 1994 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37",
        "Sun, -6 Nov 1994 08:49:37 GMT",
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t s = 42;
        cr_assert_eq(http_date_parse(str_c(rows[i]), &s), -EINVAL, "%s", rows[i]);
        cr_assert_eq(s, 42);
    }
    uint64_t s;
    cr_assert_eq(http_date_parse(STR_NONE, &s), -EINVAL);
}
