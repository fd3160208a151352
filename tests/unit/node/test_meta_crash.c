/* The power is cut after every step of a run on simulated drives and databases: what was answered is there after the
 * next start, what was never asked for is not, and the start needs no hands. Then it is cut again during that start. */
#include "tests/lib/disk_sim.h"
#include "tests/lib/kv_door.h"
#include "tests/lib/kv_sim.h"
#include "tests/lib/meta_fixture.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define WRITES  24
#define KEYS    5
#define KVS_MAX 16

/* Databases of a replica, one after the other: a fill begins with an empty one. */
struct chain {
    struct kv *kvs[KVS_MAX];
    size_t since[KVS_MAX]; /* step of the trace */
    unsigned count;
};
struct world {
    struct disk_sim *disk;
    struct chain chains[META_REPLICAS_MAX];
    size_t born; /* steps before it make what it began with */
};
static struct meta_fixture f;
static struct world *now; /* the world that the service runs in */

/* What was asked for and what was answered. */
struct write {
    char key[8], text[16];
    size_t asked, answered; /* steps; answered SIZE_MAX: not 0 */
};
static struct write writes[WRITES];
static unsigned write_count;

static int open_door(void *ctx, unsigned replica, bool empty, struct kv **ret_kv)
{
    (void)ctx;
    struct chain *c = &now->chains[replica];
    if (empty || c->count == 0) {
        cr_assert_lt(c->count, KVS_MAX);
        c->since[c->count] = disk_sim_note(now->disk);
        cr_assert_eq(kv_sim_create(now->disk, &c->kvs[c->count]), 0);
        c->count++;
    }
    return kv_door_open(c->kvs[c->count - 1], ret_kv);
}

static void world_free(struct world *w)
{
    for (size_t i = 0; i < META_REPLICAS_MAX; i++)
        for (unsigned j = 0; j < w->chains[i].count; j++)
            w->chains[i].kvs[j]->ops->close(w->chains[i].kvs[j]);
    disk_sim_disk(w->disk)->ops->destroy(disk_sim_disk(w->disk));
}

/* The world as it is found after a cut. */
static struct world world_cut(const struct world *w, size_t steps, enum disk_sim_cut cut, uint64_t seed)
{
    struct world found = {0};
    cr_assert_eq(disk_sim_cut(w->disk, f.loop, steps, cut, seed, NULL, 0, &found.disk), 0);
    disk_sim_settle(found.disk);
    for (size_t i = 0; i < META_REPLICAS_MAX; i++) {
        const struct chain *c = &w->chains[i];
        struct kv *mem;
        unsigned at = c->count;
        while (at > 0 && c->since[at - 1] > steps)
            at--;
        if (at == 0)
            continue;
        if (cut != CUT_KEEP && seed % 3)
            cr_assert_eq(kv_sim_cut_hole(c->kvs[at - 1], steps, seed + i, &mem), 0);
        else
            cr_assert_eq(kv_sim_cut(c->kvs[at - 1], steps, cut == CUT_KEEP, seed + i, &mem), 0);
        cr_assert_eq(kv_sim_wrap(found.disk, mem, &found.chains[i].kvs[0]), 0);
        found.chains[i].count = 1;
    }
    found.born = disk_sim_steps(found.disk);
    return found;
}

static void enter(struct world *w)
{
    now = w;
    f.disk = f.conf.disk = disk_sim_disk(w->disk);
}

static void do_writes(void)
{
    for (write_count = 0; write_count < WRITES; write_count++) {
        struct write *w = &writes[write_count];
        snprintf(w->key, sizeof w->key, "k%u", write_count % KEYS);
        snprintf(w->text, sizeof w->text, "v%u", write_count);
        w->asked = disk_sim_note(now->disk);
        int err = fix_put(&f, "b", w->key, w->text);
        w->answered = err ? SIZE_MAX : disk_sim_note(now->disk);
    }
}

/* The last answered write of a key, or one asked for behind it. */
static void check(size_t steps, const char *what)
{
    for (int k = 0; k < KEYS; k++) {
        char key[8], text[32] = "";
        snprintf(key, sizeof key, "k%d", k);
        int err = fix_get(&f, "b", key, text, sizeof text);
        bool must = false, right = false;
        for (unsigned i = 0; i < write_count; i++) {
            const struct write *w = &writes[i];
            if (strcmp(w->key, key) != 0 || w->asked > steps)
                continue;
            bool answered = w->answered <= steps;
            right = strcmp(text, w->text) == 0 || (right && !answered);
            must = must || answered;
        }
        cr_assert(err == 0 ? right : !must, "%s, cut at %zu: %s is \"%s\" (%d)", what, steps, key, text, err);
    }
}

static unsigned starts;

/* Starts in w, which was cut at `steps` of the first run, and checks. Before that many steps nothing stood. */
static void start_and_check(struct world *w, size_t steps, size_t first_answer, const char *what)
{
    enter(w);
    int err = meta_fixture_open(&f);
    cr_assert_eq(err, 0, "%s, cut at %zu: %d %s", what, steps, err, f.why);
    starts++;
    if (steps >= first_answer) {
        check(steps, what);
        cr_assert_eq(fix_put(&f, "b", "after", "the cut"), 0);
    }
    meta_fixture_close(&f);
}

static void cut_run(unsigned replicas, unsigned missing_one_in)
{
    static const enum disk_sim_cut cuts[] = {CUT_DROP, CUT_KEEP, CUT_WRITES, CUT_TEAR, CUT_SECTORS};
    struct world first = {0};
    meta_fixture_init(&f, replicas);
    struct disk *own = f.disk;
    f.conf.kv_open = open_door;
    cr_assert_eq(disk_sim_create(f.loop, 1, &first.disk), 0);
    enter(&first);
    cr_assert_eq(meta_fixture_open(&f), 0, "%s", f.why);
    cr_assert_eq(fix_bucket(&f, "b"), 0);
    size_t first_answer = disk_sim_note(first.disk);
    do_writes();
    meta_fixture_close(&f);
    meta_fixture_reopen(&f); /* a clean stop and start are part of the run */
    meta_fixture_close(&f);
    size_t steps = disk_sim_steps(first.disk), stride = steps / 110 + 1;
    for (size_t at = 1; at <= steps; at += stride) {
        enum disk_sim_cut cut = cuts[(at / stride) % ARRAY_LEN(cuts)];
        struct world second = world_cut(&first, at, cut, at);
        /* a drive may be gone for good, too */
        if (missing_one_in && (at / stride) % missing_one_in == 0 && at >= first_answer) {
            f.conf.replica_count = replicas - 1;
            f.conf.replica_total = replicas;
        }
        start_and_check(&second, at, first_answer, "first cut");
        f.conf.replica_count = replicas;
        size_t again = second.born + (at * 7919) % (disk_sim_steps(second.disk) - second.born + 1);
        struct world third = world_cut(&second, again, cuts[at % ARRAY_LEN(cuts)], at + 1);
        start_and_check(&third, at, first_answer, "cut again");
        world_free(&third);
        world_free(&second);
    }
    world_free(&first);
    f.disk = own;
    meta_fixture_fini(&f);
    cr_expect_gt(starts, 200);
}

TestSuite(meta_crash, .timeout = 110);

Test(meta_crash, only_a_start_after_no_clean_stop_applies_the_log_again)
{
    struct world w = {0};
    meta_fixture_init(&f, 1);
    struct disk *own = f.disk;
    f.conf.kv_open = open_door;
    cr_assert_eq(disk_sim_create(f.loop, 1, &w.disk), 0);
    enter(&w);
    cr_assert_eq(meta_fixture_open(&f), 0, "%s", f.why);
    cr_assert_eq(fix_bucket(&f, "b"), 0);
    do_writes();
    struct world killed = world_cut(&w, disk_sim_steps(w.disk), CUT_KEEP, 0);
    meta_fixture_close(&f);
    kv_door_writes = 0;
    cr_assert_eq(meta_fixture_open(&f), 0, "%s", f.why);
    cr_expect_eq(kv_door_writes, 0);
    check(SIZE_MAX - 1, "clean");
    meta_fixture_close(&f);
    enter(&killed);
    kv_door_writes = 0;
    cr_assert_eq(meta_fixture_open(&f), 0, "%s", f.why);
    cr_expect_eq(kv_door_writes, WRITES + 1, "%u", kv_door_writes);
    check(SIZE_MAX - 1, "killed");
    meta_fixture_close(&f);
    world_free(&killed);
    world_free(&w);
    f.disk = own;
    meta_fixture_fini(&f);
}

Test(meta_crash, one_replica_keeps_what_it_answered)
{
    cut_run(1, 0);
}

Test(meta_crash, three_replicas_keep_what_they_answered)
{
    cut_run(3, 0);
}

Test(meta_crash, three_replicas_keep_what_they_answered_even_without_one)
{
    cut_run(3, 2);
}
