/* s3_conditions: RFC 9110, 13.2.2, every combination that S3 documents. */
#include "gateway-s3/s3_conditions.h"
#include <criterion/criterion.h>

TestSuite(s3_conditions, .timeout = 60);

#define ETAG  "9a0364b9e99bb480dd25e1f0284c8555"
#define AT    1136214245 /* Mon, 02 Jan 2006 15:04:05 GMT */
#define DAY   "Mon, 02 Jan 2006 15:04:05 GMT"
#define AFTER "Mon, 02 Jan 2006 15:04:06 GMT"
#define EARLY "Mon, 02 Jan 2006 15:04:04 GMT"

struct row {
    const char *match, *none, *modified, *unmodified;
    enum s3_conditions_outcome outcome;
};
enum { P = S3_CONDITIONS_PASS, N = S3_CONDITIONS_NOT_MODIFIED, F = S3_CONDITIONS_FAILED };
static const struct row rows[] = {
    {NULL, NULL, NULL, NULL, P},
    {"\"" ETAG "\"", NULL, NULL, NULL, P},
    {ETAG, NULL, NULL, NULL, P}, /* boto3 sends what it was given */
    {"\"other\", \"" ETAG "\"", NULL, NULL, NULL, P},
    {"other," ETAG, NULL, NULL, NULL, P},
    {"*", NULL, NULL, NULL, P},
    {"\"other\"", NULL, NULL, NULL, F},
    {"W/\"" ETAG "\"", NULL, NULL, NULL, F}, /* strong comparison */
    {"", NULL, NULL, NULL, F},
    {NULL, "\"" ETAG "\"", NULL, NULL, N},
    {NULL, "W/\"" ETAG "\"", NULL, NULL, N}, /* weak comparison */
    {NULL, "*", NULL, NULL, N},
    {NULL, "\"other\"", NULL, NULL, P},
    {NULL, "\"a,b\", \"" ETAG "\"", NULL, NULL, N}, /* a comma inside quotes */
    {NULL, NULL, DAY, NULL, N},
    {NULL, NULL, AFTER, NULL, N},
    {NULL, NULL, EARLY, NULL, P},
    {NULL, NULL, "Fri, 01 Jan 2100 00:00:00 GMT", NULL, P}, /* a date in the future is not valid */
    {NULL, NULL, "yesterday", NULL, P},
    {NULL, NULL, NULL, DAY, P},
    {NULL, NULL, NULL, EARLY, F},
    {NULL, NULL, NULL, "garbage", P},
    {"\"" ETAG "\"", NULL, NULL, EARLY, P}, /* If-Match true: If-Unmodified-Since is not looked at */
    {NULL, "\"other\"", DAY, NULL, P},      /* If-None-Match true: If-Modified-Since is not looked at */
    {NULL, "\"" ETAG "\"", EARLY, NULL, N},
    {"\"other\"", "\"" ETAG "\"", NULL, NULL, F}, /* 412 before 304 */
    {"\"" ETAG "\"", "\"" ETAG "\"", NULL, NULL, N},
};

static struct str opt(const char *c)
{
    return c ? str_c(c) : STR_NONE;
}

Test(s3_conditions, are_judged_in_the_order_of_precedence)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        struct s3_conditions c = {opt(r->match), opt(r->none), opt(r->modified), opt(r->unmodified)};
        enum s3_conditions_outcome o = s3_conditions_judge(&c, STR(ETAG), AT, AT + 3600);
        cr_expect_eq(o, r->outcome, "row %zu: %d, expected %d", i, o, r->outcome);
    }
}

Test(s3_conditions, if_range_takes_a_strong_tag_or_exactly_that_date)
{
    static const struct {
        const char *value;
        bool counts;
    } if_range[] = {{"\"" ETAG "\"", true}, {ETAG, true},   {"W/\"" ETAG "\"", false},
                    {"\"other\"", false},   {"*", false},   {DAY, true},
                    {AFTER, false},         {EARLY, false}, {"", false}};
    for (size_t i = 0; i < ARRAY_LEN(if_range); i++)
        cr_expect_eq(s3_if_range(str_c(if_range[i].value), STR(ETAG), AT), if_range[i].counts, "'%s'",
                     if_range[i].value);
}
