/* Power cuts. A run on the simulated disk is cut after every single step, in every kind of cut; what recovery finds is
 * judged by an oracle outside of the store: an acknowledged fragment is there and right, a deleted one is gone, one
 * that was under way is whole or absent, nothing is ever a wrong byte, and no power cut is mistaken for corruption.
 * Then the same for cuts during recovery, and for a second life after a first crash. */
#include "tests/lib/store_rig.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define SEGMENT_BYTES (64 * KIB)
#define FRAGS_MAX     48
#define NEVER         SIZE_MAX
#define BUDGET_NS     (8 * SEC_NS) /* of one run */

struct expect {
    size_t len;
    size_t sent, acked, delete_sent, delete_acked; /* steps of the trace */
};
struct world {
    struct store_rig rig;
    struct clock_manual clock;
    struct expect frags[FRAGS_MAX];
    bool found[FRAGS_MAX]; /* by the last judge */
    size_t frag_count;
    size_t busy;
    uint64_t random;
    uint8_t *stale; /* a whole segment of another life */
    size_t stale_len;
    size_t states;
    uint64_t begun_ns;
    char at[128]; /* what is being judged, for messages */
};

static uint64_t next_random(struct world *w)
{
    uint64_t z = w->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* ---- a run ---- */

struct act {
    struct world *world;
    struct expect *e;
    union {
        struct store_write write;
        struct store_delete delete;
    };
    struct buf *buf;
    uint8_t id[1][FRAG_ID_BYTES];
};

static void act_end(struct act *a)
{
    a->world->busy--;
    buf_unref(a->buf);
    free(a);
}

static void written(struct store_write *w)
{
    struct act *a = w->user;
    cr_assert_eq(w->status, 0);
    a->e->acked = disk_sim_note(a->world->rig.sim);
    act_end(a);
}

static void deleted(struct store_delete *d)
{
    struct act *a = d->user;
    cr_assert_eq(d->status, 0);
    cr_assert_eq(d->deleted, 1);
    a->e->delete_acked = disk_sim_note(a->world->rig.sim);
    act_end(a);
}

static struct act *act_begin(struct world *w, struct expect *e)
{
    struct act *a = calloc(1, sizeof *a);
    cr_assert_not_null(a);
    a->world = w;
    a->e = e;
    w->busy++;
    return a;
}

static void write_one(struct world *w)
{
    static const size_t lengths[] = {1, 600, 4096, 5000, 9000, 12288, 20000};
    struct expect *e = &w->frags[w->frag_count];
    struct act *a = act_begin(w, e);
    *e = (struct expect){lengths[next_random(w) % ARRAY_LEN(lengths)], 0, NEVER, NEVER, NEVER};
    a->buf = buf_create(e->len);
    store_rig_fill(w->frag_count, a->buf->data, e->len);
    a->write = (struct store_write){.k = 2, .m = 1, .payload_count = 1, .cb = written, .user = a};
    a->write.payload[0] = (struct slice){a->buf, 0, e->len};
    store_rig_id(w->frag_count, a->write.frag_id);
    e->sent = disk_sim_note(w->rig.sim);
    w->frag_count++;
    store_write(w->rig.store, &a->write);
}

static void delete_one(struct world *w)
{
    size_t n = (size_t)(next_random(w) % (w->frag_count ? w->frag_count : 1));
    struct expect *e = &w->frags[n];
    if (n >= w->frag_count || e->acked == NEVER || e->delete_sent != NEVER)
        return;
    struct act *a = act_begin(w, e);
    store_rig_id(n, a->id[0]);
    a->delete =
        (struct store_delete){.frag_ids = (const uint8_t(*)[FRAG_ID_BYTES])a->id, .count = 1, .cb = deleted, .user = a};
    e->delete_sent = disk_sim_note(w->rig.sim);
    store_delete(w->rig.store, &a->delete);
}

static void wait_all(struct world *w)
{
    for (unsigned turn = 0; w->busy > 0; turn++) {
        loop_turn(w->rig.loop);
        cr_assert_lt(turn, 100000000u, "an answer never came");
    }
}

static void run(struct world *w, size_t writes)
{
    size_t target = w->frag_count + writes;
    while (w->frag_count < target) {
        uint64_t dice = next_random(w) % 10;
        if (dice < 6)
            write_one(w);
        else if (dice < 8)
            delete_one(w);
        else
            wait_all(w);
        if (dice == 9)
            store_rig_settle(&w->rig, 60 + (unsigned)(next_random(w) % 300)); /* flushes, END records, compaction */
    }
    wait_all(w);
}

/* ---- the oracle ---- */

static void was_read(struct store_read *r)
{
    (*(size_t *)r->user)--;
}

static void judge_one(struct world *w, size_t n, size_t steps, struct store_read *r)
{
    const struct expect *e = &w->frags[n];
    bool right = r->status != 0 || (r->fragment_bytes == e->len && r->data.len == e->len &&
                                    store_rig_same(n, 0, slice_data(r->data), e->len));
    if (r->status == 0)
        buf_unref(r->data.buf);
    cr_assert(right, "%s: fragment %zu has wrong bytes", w->at, n);
    cr_assert(r->status == 0 || r->status == STORE_NOT_FOUND, "%s: fragment %zu reads %d", w->at, n, r->status);
    if (e->acked < steps && e->delete_sent >= steps)
        cr_assert_eq(r->status, 0, "%s: acknowledged fragment %zu is lost", w->at, n);
    if (e->delete_acked < steps)
        cr_assert_eq(r->status, STORE_NOT_FOUND, "%s: deleted fragment %zu is back", w->at, n);
    w->found[n] = r->status == 0;
}

static void judge(struct world *w, struct store_rig *rig, size_t steps)
{
    struct store_read reads[FRAGS_MAX];
    size_t left = 0;
    for (size_t n = 0; n < w->frag_count; n++) {
        w->found[n] = false;
        if (w->frags[n].sent >= steps)
            continue;
        reads[n] = (struct store_read){.cb = was_read, .user = &left};
        store_rig_id(n, reads[n].frag_id);
        left++;
        store_read(rig->store, &reads[n]);
    }
    unsigned turns = 0;
    while (left > 0) {
        loop_turn(rig->loop);
        cr_assert_lt(turns++, 100000000u, "%s: a read never ended", w->at);
    }
    for (size_t n = 0; n < w->frag_count; n++)
        if (w->frags[n].sent < steps)
            judge_one(w, n, steps, &reads[n]);
    cr_assert_eq(store_rig_stat(rig).corrupt, 0, "%s: a power cut was taken for corruption", w->at);
    w->states++;
}

/* Opens what a cut left. index: 0 as the cut left it, 1 every batch, 2 lost. */
static void after_cut(struct world *w, struct store_rig *from, struct store_rig *ret, size_t steps,
                      enum disk_sim_cut kind, uint64_t seed, int index)
{
    struct disk_sim *sim;
    struct kv *kv, *traced;
    int err = disk_sim_cut(from->sim, from->loop, steps, kind, seed, w->stale, w->stale_len, &sim);
    cr_assert_eq(err, 0);
    if (index == 0 && kind != CUT_KEEP && steps % 2)
        err = kv_sim_cut_hole(from->kv, steps, seed, &kv);
    else
        err = index == 2 ? kv_mem_open(&kv) : kv_sim_cut(from->kv, steps, index == 1 || kind == CUT_KEEP, seed, &kv);
    cr_assert_eq(err, 0);
    disk_sim_settle(sim);
    cr_assert_eq(kv_sim_wrap(sim, kv, &traced), 0);
    store_rig_sub(ret, from, sim, traced);
    snprintf(w->at, sizeof w->at, "cut after step %zu, kind %d, seed %llu, index %d", steps, (int)kind,
             (unsigned long long)seed, index);
}

static void check_cut(struct world *w, size_t steps, enum disk_sim_cut kind, uint64_t seed, int index)
{
    struct store_rig r;
    after_cut(w, &w->rig, &r, steps, kind, seed, index);
    cr_assert_eq(store_rig_recover(&r), 0, "%s: %s", w->at, r.why);
    judge(w, &r, steps);
    store_rig_close(&r);
    store_rig_fini(&r);
}

static void world_open(struct world *w, uint64_t seed)
{
    *w = (struct world){.random = seed};
    store_rig_init_clock(&w->rig, "sim", SEGMENT_BYTES, &w->clock);
    w->rig.compact_percent = 20;
    cr_assert_eq(store_rig_open(&w->rig), 0, "%s", w->rig.why);
}

/* stale: a segment of another drive's life, with the same fragments at other places, as a file system that gives old
 * blocks back would show it. */
static void world_begin(struct world *w, uint64_t seed)
{
    struct world other;
    size_t len;
    world_open(&other, seed + 1000000);
    run(&other, 12);
    const char *path = disk_sim_file(other.rig.sim, ".seg", 0);
    const uint8_t *bytes = path ? disk_sim_bytes(other.rig.sim, path, &len) : NULL;
    cr_assert_not_null(bytes);
    uint8_t *stale = malloc(len);
    cr_assert_not_null(stale);
    memcpy(stale, bytes, len);
    store_rig_close(&other.rig);
    store_rig_fini(&other.rig);
    world_open(w, seed);
    w->begun_ns = clock_real()->mono_ns(clock_real());
    w->stale = stale;
    w->stale_len = len;
}

static void world_end(struct world *w)
{
    store_rig_close(&w->rig);
    store_rig_fini(&w->rig);
    free(w->stale);
}

static const struct {
    enum disk_sim_cut kind;
    unsigned seeds;
} cuts[] = {{CUT_KEEP, 1}, {CUT_DROP, 1}, {CUT_WRITES, 1}, {CUT_TEAR, 2}, {CUT_SECTORS, 2}, {CUT_STALE, 2}};

/* LECTERN_SEED=n: other runs than those that every test does; a loop over n fills a night. */
static uint64_t first_seed(void)
{
    const char *text = getenv("LECTERN_SEED");
    uint64_t n;
    return text && str_u64(str_c(text), &n) == 0 ? n * 1000 + 1 : 1;
}

/* A busy machine does fewer states, never a time-out. */
static bool time_left(const struct world *w)
{
    return clock_real()->mono_ns(clock_real()) - w->begun_ns < BUDGET_NS;
}

Test(store_crash, every_step_of_a_run_can_be_the_last, .timeout = 110)
{
    size_t states = 0;
    for (uint64_t seed = first_seed(), last = seed + 4; seed < last; seed++) {
        struct world w;
        world_begin(&w, seed);
        run(&w, 20);
        size_t steps = disk_sim_steps(w.rig.sim);
        for (size_t at = 1; at <= steps && time_left(&w); at++)
            for (size_t c = 0; c < ARRAY_LEN(cuts); c++)
                for (unsigned k = 0; k < cuts[c].seeds; k++)
                    check_cut(&w, at, cuts[c].kind, seed * 1000003 + at * 101 + k, (int)((at + c + k) % 3));
        states += w.states;
        world_end(&w);
    }
    cr_log_info("%zu crash states\n", states);
    cr_assert_gt(states, 1000);
}

/* The world goes on in what a cut left of it. ret_first: the life before, to be ended by the caller. Returns the step
 * at which the new life begins. */
static size_t live_on(struct world *w, size_t steps, enum disk_sim_cut kind, uint64_t seed, int index,
                      struct store_rig *ret_first)
{
    struct store_rig next;
    after_cut(w, &w->rig, &next, steps, kind, seed, index);
    *ret_first = w->rig;
    w->rig = next;
    return disk_sim_steps(next.sim);
}

static void first_life_end(struct world *w, struct store_rig *first)
{
    store_rig_close(&w->rig);
    store_rig_fini(&w->rig);
    w->rig = *first;
}

Test(store_crash, recovery_may_be_cut_at_every_step_too, .timeout = 110)
{
    size_t states = 0;
    for (uint64_t seed = first_seed(), last = seed + 8; seed < last; seed++) {
        struct world w;
        struct store_rig first;
        world_begin(&w, seed + 100);
        run(&w, 14);
        size_t steps = disk_sim_steps(w.rig.sim);
        for (unsigned i = 0; i < 6 && time_left(&w); i++) {
            size_t at = 1 + (size_t)(next_random(&w) % steps);
            enum disk_sim_cut kind = CUT_WRITES + (enum disk_sim_cut)(next_random(&w) % 4);
            struct expect before[FRAGS_MAX];
            memcpy(before, w.frags, sizeof before);
            size_t born = live_on(&w, at, kind, next_random(&w), (int)(i % 3), &first);
            cr_assert_eq(store_rig_recover(&w.rig), 0, "%s: %s", w.at, w.rig.why);
            for (size_t n = 0; n < w.frag_count; n++) { /* what had not been sent by then never was */
                struct expect *e = &w.frags[n];
                bool sent = e->sent < at, acked = e->acked < at, ds = e->delete_sent < at, da = e->delete_acked < at;
                *e = (struct expect){e->len, sent ? 0 : NEVER, acked ? 0 : NEVER, ds ? 0 : NEVER, da ? 0 : NEVER};
            }
            size_t again = disk_sim_steps(w.rig.sim);
            for (size_t k = born; k <= again && time_left(&w); k++)
                for (size_t c = 0; c < ARRAY_LEN(cuts); c++)
                    check_cut(&w, k, cuts[c].kind, next_random(&w), (int)((k + c) % 3));
            first_life_end(&w, &first);
            memcpy(w.frags, before, sizeof before);
        }
        states += w.states;
        world_end(&w);
    }
    cr_log_info("%zu crash states\n", states);
    cr_assert_gt(states, 200);
}

/* After a first crash: what is there is there for good, what is not stays away. */
static void expect_found(struct world *w, size_t cut_at)
{
    for (size_t n = 0; n < w->frag_count; n++) {
        struct expect *e = &w->frags[n];
        bool sent = e->sent < cut_at;
        size_t gone = sent && !w->found[n] ? 0 : NEVER;
        *e = (struct expect){e->len, sent ? 0 : NEVER, sent ? 0 : NEVER, gone, gone};
    }
}

Test(store_crash, what_recovery_found_stays_through_the_next_crash, .timeout = 110)
{
    size_t states = 0;
    for (uint64_t seed = first_seed(), last = seed + 6; seed < last; seed++) {
        struct world w;
        world_begin(&w, seed + 200);
        run(&w, 10);
        size_t steps = disk_sim_steps(w.rig.sim);
        for (unsigned life = 0; life < 8 && time_left(&w); life++) {
            struct store_rig first;
            struct expect before[FRAGS_MAX];
            size_t count = w.frag_count, at = 1 + (size_t)(next_random(&w) % steps);
            memcpy(before, w.frags, sizeof before);
            enum disk_sim_cut kind = CUT_WRITES + (enum disk_sim_cut)(next_random(&w) % 4);
            live_on(&w, at, kind, next_random(&w), (int)(life % 3), &first);
            cr_assert_eq(store_rig_open(&w.rig), 0, "%s: %s", w.at, w.rig.why);
            judge(&w, &w.rig, at);
            expect_found(&w, at);
            size_t from = disk_sim_steps(w.rig.sim);
            run(&w, 3);
            size_t to = disk_sim_steps(w.rig.sim);
            for (size_t k = from; k <= to; k++)
                check_cut(&w, k, cuts[k % ARRAY_LEN(cuts)].kind, next_random(&w), (int)(k % 3));
            check_cut(&w, to, CUT_DROP, 1, 2); /* everything is scanned again */
            first_life_end(&w, &first);
            memcpy(w.frags, before, sizeof before);
            w.frag_count = count;
        }
        states += w.states;
        world_end(&w);
    }
    cr_log_info("%zu crash states\n", states);
    cr_assert_gt(states, 300);
}
