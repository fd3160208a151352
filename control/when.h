/* when - points in time for people: RFC 3339 in and out, and distances in words.
 *
 * Thread: any; pure. Times are Unix seconds. */
#pragma once
#include "common/base.h"

#define WHEN_MAX_S UINT64_C(253402300799)

/* "2026-01-02T03:04:05Z", also with a fraction (dropped) and an offset (RFC 3339, 5.6); before 1970 it is negative.
 * -EINVAL. */
int when_parse(struct str s, int64_t *ret_s);
void when_print(uint64_t s, char ret[24]);          /* "2026-01-02T03:04:05Z" */
void when_distance(uint64_t seconds, char ret[32]); /* "14 s", "3 min", "5 h", "12 days" */
