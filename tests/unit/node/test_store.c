/* The store on real files (io_uring and threads) and on the simulated disk: the same table of behaviours for each. */
#include "tests/lib/store_rig.h"
#include <criterion/criterion.h>
#include <criterion/parameterized.h>

struct engine {
    char name[16]; /* not a pointer: Criterion runs each test in a process of its own */
};
static struct engine engines[] = {{"sim"}, {"io_uring"}, {"threads"}};

ParameterizedTestParameters(store, what_is_written_is_read)
{
    return cr_make_param_array(struct engine, engines, ARRAY_LEN(engines));
}
ParameterizedTest(struct engine *engine, store, what_is_written_is_read, .timeout = 60)
{
    static const size_t lengths[] = {1, 511, 4096, 4097, 65535, 65536, 65537, 300000, 1 << 20, 4 << 20};
    struct store_rig r;
    store_rig_init(&r, engine->name, 16 * MIB);
    cr_assert_eq(store_rig_open(&r), 0, "%s", r.why);
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < ARRAY_LEN(lengths) && round == 0; i++)
            cr_assert_eq(store_rig_write(&r, i, lengths[i]), 0);
        for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
            size_t n = lengths[i];
            cr_assert_eq(store_rig_read(&r, i, 0, 0, n), 0, "whole %zu round %zu", n, round);
            cr_assert_eq(store_rig_read(&r, i, n / 2, 1, n), 0);
            cr_assert_eq(store_rig_read(&r, i, n / 3, 70000, n), 0);
            cr_assert_eq(store_rig_read(&r, i, n - 1, 0, n), 0);
            cr_assert_eq(store_rig_read(&r, i, n, 1, n), -EINVAL);
        }
        cr_assert_eq(store_rig_read(&r, 999, 0, 0, 1), STORE_NOT_FOUND);
        store_rig_close(&r);
        if (round == 0)
            cr_assert_eq(store_rig_open(&r), 0, "%s", r.why);
    }
    store_rig_fini(&r);
}
