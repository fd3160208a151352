/* http_date - dates of HTTP (RFC 9110, 5.6.7), without the C library's locale and time zone. One form is written, three
 * are read. Days are counted in the civil calendar of H. Hinnant's "chrono-Compatible Low-Level Date Algorithms". */
#include "common/http.h"
#include <stdio.h>

static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char weekdays[] = "SunMonTueWedThuFriSat";
static const char *const weekdays_long[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                            "Thursday", "Friday", "Saturday"};
#define YEAR_MAX 9999

struct civil {
    unsigned year, month, day, hour, minute, second; /* month and day from 1 */
};

/* Days since 1970-01-01; years begin in March, so that the leap day is the last. */
static int64_t days_of(unsigned year, unsigned month, unsigned day)
{
    int64_t y = (int64_t)year - (month <= 2);
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * ((int64_t)month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void civil_of(uint64_t unix_s, struct civil *ret)
{
    uint64_t days = unix_s / 86400 + 719468, s = unix_s % 86400;
    uint64_t era = days / 146097, doe = days % 146097;
    uint64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    uint64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    ret->day = (unsigned)(doy - (153 * mp + 2) / 5 + 1);
    ret->month = (unsigned)(mp < 10 ? mp + 3 : mp - 9);
    ret->year = (unsigned)(yoe + era * 400 + (ret->month <= 2));
    ret->hour = (unsigned)(s / 3600);
    ret->minute = (unsigned)(s / 60 % 60);
    ret->second = (unsigned)(s % 60);
}

static char *put2(char *p, unsigned v)
{
    p[0] = (char)('0' + v / 10 % 10);
    p[1] = (char)('0' + v % 10);
    return p + 2;
}

void http_date(uint64_t unix_s, char ret[30])
{
    struct civil c;
    const uint64_t last_s = UINT64_C(253402300799); /* the end of year 9999: more does not fit the form */
    unix_s = MIN_OF(unix_s, last_s);
    civil_of(unix_s, &c);
    char *p = ret;
    memcpy(p, weekdays + (unix_s / 86400 + 4) % 7 * 3, 3);
    memcpy(p + 3, ", ", 2);
    p = put2(p + 5, c.day);
    *p++ = ' ';
    memcpy(p, months + (c.month - 1) * 3, 3);
    p[3] = ' ';
    p = put2(put2(p + 4, c.year / 100), c.year % 100);
    *p++ = ' ';
    p = put2(p, c.hour);
    *p++ = ':';
    p = put2(p, c.minute);
    *p++ = ':';
    p = put2(p, c.second);
    memcpy(p, " GMT", 5);
}

static bool eat(struct str *s, const char *text)
{
    struct str t = str_c(text);
    if (!str_starts(*s, t))
        return false;
    s->p += t.len;
    s->len -= t.len;
    return true;
}

/* Exactly n digits; lead: the first may be a blank (asctime's day). */
static bool eat_number(struct str *s, size_t n, bool lead, unsigned *ret)
{
    unsigned v = 0;
    if (s->len < n)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = s->p[i];
        if (lead && i == 0 && c == ' ')
            continue;
        if (c < '0' || c > '9')
            return false;
        v = v * 10 + (unsigned)(c - '0');
    }
    s->p += n;
    s->len -= n;
    *ret = v;
    return true;
}

static bool eat_month(struct str *s, unsigned *ret)
{
    for (unsigned m = 0; m < 12 && s->len >= 3; m++)
        if (memcmp(s->p, months + m * 3, 3) == 0) {
            s->p += 3;
            s->len -= 3;
            *ret = m + 1;
            return true;
        }
    return false;
}

static bool eat_time(struct str *s, struct civil *c)
{
    return eat_number(s, 2, false, &c->hour) && eat(s, ":") && eat_number(s, 2, false, &c->minute) && eat(s, ":") &&
           eat_number(s, 2, false, &c->second);
}

/* The weekday must be one, but is not held against the date: it carries nothing. */
static bool eat_weekday(struct str *s, bool *ret_long)
{
    for (unsigned d = 0; d < 7; d++) {
        if (eat(s, weekdays_long[d])) {
            *ret_long = true;
            return true;
        }
        if (s->len >= 3 && memcmp(s->p, weekdays + d * 3, 3) == 0) {
            s->p += 3;
            s->len -= 3;
            *ret_long = false;
            return true;
        }
    }
    return false;
}

static bool read_fixdate(struct str s, struct civil *c) /* "Mon" was read: ", 02 Jan 2006 15:04:05 GMT" */
{
    return eat(&s, ", ") && eat_number(&s, 2, false, &c->day) && eat(&s, " ") && eat_month(&s, &c->month) &&
           eat(&s, " ") && eat_number(&s, 4, false, &c->year) && eat(&s, " ") && eat_time(&s, c) && eat(&s, " GMT") &&
           s.len == 0;
}

static bool read_rfc850(struct str s, struct civil *c) /* "Monday" was read: ", 02-Jan-06 15:04:05 GMT" */
{
    if (!eat(&s, ", ") || !eat_number(&s, 2, false, &c->day) || !eat(&s, "-") || !eat_month(&s, &c->month) ||
        !eat(&s, "-") || !eat_number(&s, 2, false, &c->year) || !eat(&s, " ") || !eat_time(&s, c) || !eat(&s, " GMT"))
        return false;
    c->year += c->year < 70 ? 2000 : 1900; /* as Unix writes two digits; nobody sends this form with a far date */
    return s.len == 0;
}

static bool read_asctime(struct str s, struct civil *c) /* "Mon" was read: " Jan  2 15:04:05 2006" */
{
    return eat(&s, " ") && eat_month(&s, &c->month) && eat(&s, " ") && eat_number(&s, 2, true, &c->day) &&
           eat(&s, " ") && eat_time(&s, c) && eat(&s, " ") && eat_number(&s, 4, false, &c->year) && s.len == 0;
}

static bool civil_ok(const struct civil *c)
{
    static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (c->year < 1970 || c->year > YEAR_MAX || c->hour > 23 || c->minute > 59 || c->second > 60 || c->day == 0)
        return false;
    bool leap = (c->year % 4 == 0 && c->year % 100 != 0) || c->year % 400 == 0;
    return c->day <= days[c->month - 1] + (unsigned)(leap && c->month == 2);
}

int http_date_parse(struct str s, uint64_t *ret_unix_s)
{
    struct civil c = {0};
    bool long_day;
    if (!eat_weekday(&s, &long_day))
        return -EINVAL;
    bool ok = long_day ? read_rfc850(s, &c) : s.len && s.p[0] == ',' ? read_fixdate(s, &c) : read_asctime(s, &c);
    if (!ok || !civil_ok(&c))
        return -EINVAL;
    *ret_unix_s = (uint64_t)days_of(c.year, c.month, c.day) * 86400 + c.hour * 3600u + c.minute * 60u + c.second;
    return 0;
}
