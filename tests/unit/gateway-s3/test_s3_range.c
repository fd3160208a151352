/* s3_range: the Range header as RFC 9110, 14 has it, and what it refuses to be talked into. */
#include "gateway-s3/s3_range.h"
#include <criterion/criterion.h>
#include <stdio.h>

TestSuite(s3_range, .timeout = 60);

struct row {
    const char *header;
    uint64_t size;
    enum s3_range_outcome outcome;
    unsigned count;
    struct s3_range ranges[4];
};
static const struct row rows[] = {
    {"bytes=0-0", 10, S3_RANGE_OK, 1, {{0, 1}}},
    {"bytes=0-1", 10, S3_RANGE_OK, 1, {{0, 2}}}, /* what Safari asks first */
    {"bytes=2-", 10, S3_RANGE_OK, 1, {{2, 8}}},
    {"bytes=9-", 10, S3_RANGE_OK, 1, {{9, 1}}},
    {"bytes=10-", 10, S3_RANGE_UNSATISFIABLE, 0, {{0}}},
    {"bytes=5-100000", 10, S3_RANGE_OK, 1, {{5, 5}}},
    {"bytes=-3", 10, S3_RANGE_OK, 1, {{7, 3}}},
    {"bytes=-30", 10, S3_RANGE_OK, 1, {{0, 10}}},
    {"bytes=-0", 10, S3_RANGE_UNSATISFIABLE, 0, {{0}}},
    {"bytes=0-", 0, S3_RANGE_UNSATISFIABLE, 0, {{0}}},
    {"bytes=-5", 0, S3_RANGE_UNSATISFIABLE, 0, {{0}}},
    {" bytes=1-2 ", 10, S3_RANGE_OK, 1, {{1, 2}}},
    {"BYTES=1-2", 10, S3_RANGE_OK, 1, {{1, 2}}}, /* range units have no case (RFC 9110, 14.1) */
    {"bytes=0-0,2-3", 10, S3_RANGE_OK, 2, {{0, 1}, {2, 2}}},
    {"bytes=0-0, 2-3 ,-1", 10, S3_RANGE_OK, 3, {{0, 1}, {2, 2}, {9, 1}}},
    {"bytes=,0-0,,", 10, S3_RANGE_OK, 1, {{0, 1}}},
    {"bytes=20-30,0-0", 10, S3_RANGE_OK, 1, {{0, 1}}},
    {"bytes=20-30,40-", 10, S3_RANGE_UNSATISFIABLE, 0, {{0}}},
    {"bytes=0-9,0-9", 10, S3_RANGE_NONE, 0, {{0}}}, /* asks for more than there is */
    {"bytes=0-18446744073709551615", 10, S3_RANGE_OK, 1, {{0, 10}}},
    {"bytes=0-99999999999999999999999", 10, S3_RANGE_OK, 1, {{0, 10}}},
    {"bytes=99999999999999999999999-", 10, S3_RANGE_UNSATISFIABLE, 0, {{0}}},
    {"bytes=-99999999999999999999999", 10, S3_RANGE_OK, 1, {{0, 10}}},
    {"bytes=3-2", 10, S3_RANGE_NONE, 0, {{0}}},
    {"bytes=", 10, S3_RANGE_NONE, 0, {{0}}},
    {"bytes=-", 10, S3_RANGE_NONE, 0, {{0}}},
    {"bytes=a-b", 10, S3_RANGE_NONE, 0, {{0}}},
    {"bytes=+1-2", 10, S3_RANGE_NONE, 0, {{0}}},
    {"bytes=0x0-1", 10, S3_RANGE_NONE, 0, {{0}}},
    {"bytes 0-1", 10, S3_RANGE_NONE, 0, {{0}}},
    {"items=0-1", 10, S3_RANGE_NONE, 0, {{0}}},
    {"", 10, S3_RANGE_NONE, 0, {{0}}},
};

Test(s3_range, cuts_each_header_as_the_rfc_says)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct s3_range got[S3_RANGES_MAX];
        unsigned count = 99;
        enum s3_range_outcome o = s3_range_parse(str_c(rows[i].header), rows[i].size, got, &count);
        cr_expect_eq(o, rows[i].outcome, "'%s' of %llu: %d", rows[i].header, (unsigned long long)rows[i].size, o);
        cr_expect_eq(count, rows[i].count, "'%s': %u ranges", rows[i].header, count);
        for (unsigned k = 0; k < count && k < rows[i].count; k++)
            cr_expect(got[k].first == rows[i].ranges[k].first && got[k].length == rows[i].ranges[k].length,
                      "'%s' range %u: %llu+%llu", rows[i].header, k, (unsigned long long)got[k].first,
                      (unsigned long long)got[k].length);
    }
}

Test(s3_range, takes_as_many_ranges_as_its_limit_and_ignores_more)
{
    struct s3_range got[S3_RANGES_MAX];
    unsigned count;
    char text[512] = "bytes=";
    size_t n = strlen(text);
    for (unsigned i = 0; i < S3_RANGES_MAX; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%u-%u", i ? "," : "", 2 * i, 2 * i);
    cr_expect_eq(s3_range_parse(str_c(text), 1000, got, &count), S3_RANGE_OK);
    cr_expect_eq(count, S3_RANGES_MAX);
    snprintf(text + n, sizeof text - n, ",900-901");
    cr_expect_eq(s3_range_parse(str_c(text), 1000, got, &count), S3_RANGE_NONE);
    cr_expect_eq(count, 0);
    cr_expect_eq(s3_range_parse(STR_NONE, 1000, got, &count), S3_RANGE_NONE, "no header");
}

Test(s3_range, copy_source_range_must_name_both_ends)
{
    uint64_t first, last;
    cr_expect(s3_range_copy(STR("bytes=5-9"), &first, &last) && first == 5 && last == 9);
    static const char *const bad[] = {
        "bytes=5-", "bytes=-5", "bytes=9-5", "bytes=0-1,3-4", "5-9", "", "bytes=0-99999999999999999999999"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_expect(!s3_range_copy(str_c(bad[i]), &first, &last), "'%s' was taken", bad[i]);
}
