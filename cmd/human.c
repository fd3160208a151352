/* human - three significant figures are enough at 3 a.m. */
#include "cmd/human.h"
#include <stdio.h>

const char *human_bytes(uint64_t n, char ret[HUMAN_MAX])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)n;
    size_t u = 0;
    for (; v >= 1024 && u + 1 < ARRAY_LEN(units); u++)
        v /= 1024;
    snprintf(ret, HUMAN_MAX, u == 0 || v >= 99.95 ? "%.0f %s" : "%.1f %s", v, units[u]);
    return ret;
}

const char *human_seconds(uint64_t s, char ret[HUMAN_MAX])
{
    unsigned long long days = s / 86400, hours = s / 3600 % 24, minutes = s / 60 % 60, seconds = s % 60;
    if (days)
        snprintf(ret, HUMAN_MAX, "%llu d %llu h", days, hours);
    else if (hours)
        snprintf(ret, HUMAN_MAX, "%llu h %llu min", hours, minutes);
    else
        snprintf(ret, HUMAN_MAX, "%llu:%02llu", minutes, seconds);
    return ret;
}
