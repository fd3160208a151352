/* Days are counted by the civil-calendar formula (H. Hinnant, days_from_civil), so no time zone of the machine and no
 * libc locale takes part. */
#include "control/when.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

static bool digits(struct str s, size_t at, size_t n, unsigned least, unsigned most, unsigned *ret)
{
    unsigned v = 0;
    if (at + n > s.len)
        return false;
    for (size_t i = at; i < at + n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        v = v * 10 + (unsigned)(s.p[i] - '0');
    }
    *ret = v;
    return v >= least && v <= most;
}

static int64_t days_from_civil(unsigned year, unsigned month, unsigned day)
{
    int64_t y = (int64_t)year - (month <= 2);
    int64_t era = (y < 0 ? y - 399 : y) / 400, of_era = y - era * 400;
    int64_t of_year = (153 * ((int64_t)month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static unsigned month_days(unsigned year, unsigned month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

/* "Z", "+01:30"; seconds east of Greenwich. */
static bool zone(struct str s, int64_t *ret_s)
{
    unsigned h, m;
    if (s.len == 1 && (s.p[0] == 'Z' || s.p[0] == 'z')) {
        *ret_s = 0;
        return true;
    }
    if (s.len != 6 || (s.p[0] != '+' && s.p[0] != '-') || s.p[3] != ':' || !digits(s, 1, 2, 0, 23, &h) ||
        !digits(s, 4, 2, 0, 59, &m))
        return false;
    *ret_s = (s.p[0] == '-' ? -1 : 1) * (int64_t)(h * 3600 + m * 60);
    return true;
}

int when_parse(struct str s, int64_t *ret_s)
{
    unsigned year, month, day, hour, min, sec;
    int64_t east;
    if (s.len < 20 || s.p[4] != '-' || s.p[7] != '-' || (s.p[10] != 'T' && s.p[10] != 't') || s.p[13] != ':' ||
        s.p[16] != ':')
        return -EINVAL;
    if (!digits(s, 0, 4, 0, 9999, &year) || !digits(s, 5, 2, 1, 12, &month) ||
        !digits(s, 8, 2, 1, month_days(year, month), &day) || !digits(s, 11, 2, 0, 23, &hour) ||
        !digits(s, 14, 2, 0, 59, &min) || !digits(s, 17, 2, 0, 60, &sec))
        return -EINVAL;
    size_t at = 19;
    if (s.p[at] == '.') {
        size_t from = ++at;
        while (at < s.len && s.p[at] >= '0' && s.p[at] <= '9')
            at++;
        if (at == from)
            return -EINVAL;
    }
    if (!zone((struct str){s.p + at, s.len - at}, &east))
        return -EINVAL;
    *ret_s = days_from_civil(year, month, day) * 86400 + hour * 3600 + min * 60 + sec - east;
    return 0;
}

void when_print(uint64_t s, char ret[24])
{
    time_t t = (time_t)MIN_OF(s, WHEN_MAX_S);
    struct tm tm;
    gmtime_r(&t, &tm);
    if (strftime(ret, 24, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        ret[0] = 0;
}

void when_distance(uint64_t seconds, char ret[32])
{
    static const struct {
        uint64_t below, unit;
        const char *name;
    } steps[] = {{120, 1, "s"}, {7200, 60, "min"}, {172800, 3600, "h"}, {UINT64_MAX, 86400, "days"}};
    size_t i = 0;
    while (seconds >= steps[i].below && i + 1 < ARRAY_LEN(steps))
        i++;
    snprintf(ret, 32, "%llu %s", (unsigned long long)(seconds / steps[i].unit), steps[i].name);
}
