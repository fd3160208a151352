/* clock - the kernel's clocks, and one that is set by hand. CLOCK_BOOTTIME would count suspend; a server's deadlines
 * should not all pass because a laptop slept, so CLOCK_MONOTONIC it is. */
#include "common/clock.h"
#include <time.h>

static uint64_t real_mono_ns(struct clock *c)
{
    (void)c;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SEC_NS + (uint64_t)t.tv_nsec;
}

static uint64_t real_wall_ms(struct clock *c)
{
    (void)c;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

struct clock *clock_real(void)
{
    static struct clock real = {real_mono_ns, real_wall_ms};
    return &real;
}

static uint64_t manual_mono_ns(struct clock *c)
{
    return container_of(c, struct clock_manual, clock)->mono_now_ns;
}

static uint64_t manual_wall_ms(struct clock *c)
{
    return container_of(c, struct clock_manual, clock)->wall_now_ms;
}

void clock_manual_init(struct clock_manual *c, uint64_t wall_ms)
{
    *c =
        (struct clock_manual){.clock = {manual_mono_ns, manual_wall_ms}, .mono_now_ns = SEC_NS, .wall_now_ms = wall_ms};
}
