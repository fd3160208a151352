/* clock - the seam for time. The real one reads the kernel; a simulated one (tests) is set by hand.
 *
 * Thread: any. mono never goes back and drives deadlines; wall is for what users see (Last-Modified, token expiry). */
#pragma once
#include "common/base.h"

struct clock {
    uint64_t (*mono_ns)(struct clock *c);
    uint64_t (*wall_ms)(struct clock *c); /* Unix time in milliseconds */
};

struct clock *clock_real(void); /* static */

struct clock_manual {
    struct clock clock;
    uint64_t mono_now_ns, wall_now_ms;
};
void clock_manual_init(struct clock_manual *c, uint64_t wall_ms);
