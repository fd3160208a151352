/* The core of the replicated log: scenarios word by word, and a random simulation with crashes that checks what the
 * rules are for: whoever may be asked to start from its copy holds everything that was ever committed. */
#include "replication/metalog.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- scenarios ---- */

/* Events: p propose, dM:S durable, fM failed, jM:S join, c config done, x config failed. The actions come out as text:
 * aM:S append, C:S commit, W:E:SET write configuration, H halt, R refused. */
static void describe(char *out, size_t cap, const struct metalog_actions *a, int refused)
{
    size_t at = strlen(out);
    if (refused)
        at += (size_t)snprintf(out + at, cap - at, " R");
    for (unsigned i = 0; i < a->count; i++) {
        const struct metalog_action *x = &a->list[i];
        if (x->kind == METALOG_APPEND)
            at += (size_t)snprintf(out + at, cap - at, " a%u:%llu", x->member, (unsigned long long)x->seq);
        if (x->kind == METALOG_COMMIT)
            at += (size_t)snprintf(out + at, cap - at, " C:%llu", (unsigned long long)x->seq);
        if (x->kind == METALOG_WRITE_CONFIG)
            at += (size_t)snprintf(out + at, cap - at, " W:%llu:%u", (unsigned long long)x->epoch, x->set);
        if (x->kind == METALOG_HALT)
            at += (size_t)snprintf(out + at, cap - at, " H");
    }
}

static struct metalog_event event_of(const char *word, const struct metalog *l)
{
    struct metalog_event e = {.epoch = l->asked_epoch, .ok = word[0] == 'c'};
    static const char kinds[] = "pdfjcx";
    static const enum metalog_event_kind map[] = {METALOG_PROPOSE, METALOG_DURABLE,     METALOG_FAILED,
                                                  METALOG_JOIN,    METALOG_CONFIG_DONE, METALOG_CONFIG_DONE};
    e.kind = map[strchr(kinds, word[0]) - kinds];
    if (word[1])
        e.member = (unsigned)(word[1] - '0');
    if (word[1] && word[2] == ':')
        e.seq = strtoull(word + 3, NULL, 10);
    return e;
}

static const struct {
    const char *says;
    unsigned members, quorum;
    uint32_t set;
    const char *events, *want;
} rows[] = {
    {"an entry commits when all in sync hold it", 3, 2, 7, "p d0:1 d1:1 d2:1", " a0:1 a1:1 a2:1 C:1"},
    {"one alone commits by itself", 1, 1, 1, "p d0:1 p d0:2", " a0:1 C:1 a0:2 C:2"},
    {"a member out of sync gets nothing", 3, 2, 3, "p d0:1 d1:1", " a0:1 a1:1 C:1"},
    {"a leaver holds the commit up until its leave is done", 3, 2, 7, "p d0:1 d1:1 f2 c", " a0:1 a1:1 a2:1 W:11:3 C:1"},
    {"entries taken after a failure go to the others", 3, 2, 7, "f1 p d0:1 d2:1 c", " W:11:5 a0:1 a2:1 C:1"},
    {"below the quorum it halts and refuses", 3, 2, 7, "f1 c f0 p", " W:11:5 H R"},
    {"two of two cannot lose one", 2, 2, 3, "f1 p", " H R"},
    {"a configuration that may or may not hold halts", 3, 2, 7, "f1 x p", " W:11:5 H R"},
    {"a second failure waits for the first change", 5, 3, 31, "f1 f2 c c", " W:11:29 W:12:25"},
    {"a joiner is waited for before it is asked for", 3, 2, 3, "p j2:0 d0:1 d1:1 d2:1 c", " a0:1 a1:1 W:11:7 C:1"},
    {"a joiner gets later entries", 3, 2, 3, "j2:0 p c", " W:11:7 a0:1 a1:1 a2:1"},
    {"a joiner that fails before it was asked for just goes", 3, 2, 3, "p d0:1 d1:1 j2:0 f2 p",
     " a0:1 a1:1 C:1 a0:2 a1:2"},
    {"a joiner that fails while it is asked for leaves again", 3, 2, 3, "j2:0 f2 p d0:1 d1:1 c c",
     " W:11:7 a0:1 a1:1 W:12:3 C:1"},
    {"one that was durable before it failed still counts its entry", 3, 2, 7, "p d2:1 f2 d0:1 d1:1",
     " a0:1 a1:1 a2:1 W:11:3 C:1"},
    {"news of an entry that was never taken is no news", 3, 2, 7, "p d0:9 d1:1 d2:1 d0:1", " a0:1 a1:1 a2:1 C:1"},
    {"a failure told twice is one", 3, 2, 7, "f1 f1 c f1", " W:11:5"},
};

Test(metalog, scenarios)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct metalog l;
        char out[512] = "", events[256];
        metalog_init(&l, rows[i].members, rows[i].quorum, rows[i].set, 10, 0);
        snprintf(events, sizeof events, "%s", rows[i].events);
        char *save;
        for (char *w = strtok_r(events, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
            struct metalog_event e = event_of(w, &l);
            struct metalog_actions a;
            int refused = metalog_step(&l, &e, &a);
            describe(out, sizeof out, &a, refused);
        }
        cr_expect_str_eq(out, rows[i].want, "%s: %s", rows[i].says, out);
    }
}

Test(metalog, the_newest_in_sync_copy_is_chosen)
{
    static const struct {
        struct metalog_copy copies[3];
        bool force;
        int want;
    } choices[] = {
        {{{true, true, 2, 9}, {true, true, 2, 10}, {true, true, 2, 8}}, false, 1},
        {{{true, true, 3, 1}, {true, true, 2, 10}, {true, true, 2, 8}}, false, 0},
        {{{true, true, 2, 9}, {false, true, 2, 10}, {true, true, 2, 8}}, false, 0},
        {{{true, true, 2, 9}, {true, false, 9, 90}, {true, true, 2, 8}}, false, 0},
        {{{true, false, 2, 9}, {true, false, 9, 90}, {false, true, 2, 8}}, false, -1},
        {{{true, false, 2, 9}, {true, false, 9, 90}, {false, true, 2, 8}}, true, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(choices); i++) {
        unsigned index = 99;
        int err = metalog_choose(choices[i].copies, 3, choices[i].force, &index);
        cr_expect_eq(err, choices[i].want < 0 ? METALOG_NO_COPY : 0, "row %zu", i);
        if (choices[i].want >= 0)
            cr_expect_eq(index, (unsigned)choices[i].want, "row %zu", i);
    }
}

/* ---- the simulation ----
 * Two worlds. `machine`: the configuration stands in registers on the drives themselves, a start needs a majority of
 * them. `store`: it stands in a coordination store that is always there, and a start needs no more than one member that
 * is in sync by it (and enough others to fill): there R4 and R5 carry the weight. */

#define ENTRIES 256
#define DRIVES  5

/* A replica's drive: it survives crashes of the process. */
struct drive {
    uint64_t log[ENTRIES], entry_epoch[ENTRIES]; /* durable entries by seq: value, epoch */
    uint64_t last;
    uint64_t epoch, promised; /* register */
    uint32_t set;
    uint64_t inflight; /* appended, not durable yet; 0: none */
    bool dead;         /* for this run of the process */
};
struct change {
    bool under_way, promising;
    uint64_t epoch;
    uint32_t set, waiting; /* drives whose register is still to be written */
    unsigned good;
};
struct sim {
    struct metalog core;
    struct drive drives[DRIVES];
    struct change change;
    bool store;
    uint64_t store_epoch; /* of the coordination store */
    uint32_t store_set;
    unsigned count, quorum;
    uint64_t random, next_value, seed;
    uint64_t value[ENTRIES], value_epoch[ENTRIES]; /* of the entries that this run knows, by seq */
    uint64_t committed[ENTRIES], committed_last;   /* what was ever told to clients */
    unsigned commits, changes, lost_quorum;
};

static uint64_t roll(struct sim *s, uint64_t n)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return s->random % n;
}

static void sim_step(struct sim *s, struct metalog_event e);

static void change_phase(struct sim *s, bool promising)
{
    s->change.promising = promising;
    s->change.good = 0;
    s->change.waiting = (1U << s->count) - 1;
}

static void sim_action(struct sim *s, const struct metalog_action *x)
{
    switch (x->kind) {
    case METALOG_APPEND:
        s->drives[x->member].inflight = x->seq;
        s->value_epoch[x->seq] = x->epoch;
        break;
    case METALOG_COMMIT:
        for (uint64_t seq = s->committed_last + 1; seq <= x->seq; seq++)
            s->committed[seq] = s->value[seq];
        s->committed_last = x->seq;
        s->commits++;
        break;
    case METALOG_WRITE_CONFIG:
        cr_assert_not(s->change.under_way);
        s->change = (struct change){.under_way = true, .epoch = x->epoch, .set = x->set};
        change_phase(s, true);
        s->changes++;
        break;
    case METALOG_HALT:
        s->lost_quorum++;
        break;
    }
}

static void sim_step(struct sim *s, struct metalog_event e)
{
    struct metalog_actions a;
    if (metalog_step(&s->core, &e, &a) != 0)
        return;
    for (unsigned i = 0; i < a.count; i++)
        sim_action(s, &a.list[i]);
}

static void change_end(struct sim *s, bool ok)
{
    s->change.under_way = false;
    sim_step(s, (struct metalog_event){.kind = METALOG_CONFIG_DONE, .epoch = s->change.epoch, .ok = ok});
}

/* The next thing that happens to a change: one register written, or the store's answer on its way. */
static void change_advance(struct sim *s)
{
    struct change *c = &s->change;
    if (!c->under_way)
        return;
    if (s->store) {
        if (!c->promising) {
            change_end(s, true);
        } else if (s->store_epoch + 1 == c->epoch) {
            s->store_epoch = c->epoch;
            s->store_set = c->set;
            c->promising = false; /* it holds; the news comes later */
        } else {
            change_end(s, false);
        }
        return;
    }
    unsigned i = (unsigned)roll(s, s->count);
    while (c->waiting && !(c->waiting & 1U << i))
        i = (i + 1) % s->count;
    struct drive *d = &s->drives[i];
    if (!d->dead && d->promised <= c->epoch) {
        d->promised = c->epoch;
        d->epoch = c->promising ? d->epoch : c->epoch;
        d->set = c->promising ? d->set : c->set;
        c->good++;
    }
    c->waiting &= ~(1U << i);
    if (c->waiting)
        return;
    if (c->good >= s->quorum && c->promising)
        change_phase(s, false);
    else
        change_end(s, c->good >= s->quorum);
}

static void drive_append(struct drive *d, uint64_t epoch, uint64_t seq, uint64_t value)
{
    d->log[seq] = value;
    d->entry_epoch[seq] = epoch;
    d->last = seq;
}

/* ---- a start ---- */

static void newest_config(struct sim *s, uint64_t *ret_highest, uint32_t *ret_set)
{
    uint64_t newest = 0;
    *ret_highest = s->store ? s->store_epoch : 0;
    *ret_set = s->store ? s->store_set : 0;
    for (unsigned i = 0; i < s->count && !s->store; i++) {
        const struct drive *d = &s->drives[i];
        if (d->dead)
            continue;
        *ret_highest = MAX_OF(*ret_highest, MAX_OF(d->epoch, d->promised));
        *ret_set = d->epoch > newest ? d->set : *ret_set;
        newest = MAX_OF(newest, d->epoch);
    }
}

static const struct drive *start_choose(struct sim *s, uint32_t set)
{
    struct metalog_copy copies[DRIVES] = {0};
    unsigned chosen;
    for (unsigned i = 0; i < s->count; i++) {
        const struct drive *d = &s->drives[i];
        copies[i] = (struct metalog_copy){!d->dead, set & 1U << i, d->entry_epoch[d->last], d->last};
    }
    cr_assert_eq(metalog_choose(copies, s->count, false, &chosen), 0, "seed %llu: no copy to start from",
                 (unsigned long long)s->seed);
    const struct drive *best = &s->drives[chosen];
    cr_assert_geq(best->last, s->committed_last, "seed %llu: lost the end", (unsigned long long)s->seed);
    for (uint64_t seq = 1; seq <= s->committed_last; seq++)
        cr_assert_eq(best->log[seq], s->committed[seq], "seed %llu: entry %llu differs", (unsigned long long)s->seed,
                     (unsigned long long)seq);
    return best;
}

/* Writes the first configuration of a run; false when a crash came between. */
static bool start_configure(struct sim *s, uint64_t epoch, uint32_t in)
{
    for (int phase = 0; phase < 2 && !s->store; phase++) {
        for (unsigned i = 0; i < s->count; i++) {
            struct drive *d = &s->drives[i];
            if (d->dead)
                continue;
            if (roll(s, 40) == 0)
                return false;
            d->promised = epoch;
            d->epoch = phase ? epoch : d->epoch;
            d->set = phase ? in : d->set;
        }
    }
    s->store_epoch = epoch;
    s->store_set = in;
    return roll(s, 40) != 0;
}

static bool sim_start(struct sim *s, uint32_t present)
{
    uint64_t highest;
    uint32_t set, in = 0;
    for (unsigned i = 0; i < s->count; i++) {
        s->drives[i].dead = !(present & 1U << i);
        s->drives[i].inflight = 0;
    }
    s->change = (struct change){0};
    newest_config(s, &highest, &set);
    struct drive best = *start_choose(s, set);
    memcpy(s->value, best.log, sizeof s->value);
    memcpy(s->value_epoch, best.entry_epoch, sizeof s->value_epoch);
    for (unsigned i = 0; i < s->count; i++) {
        struct drive *d = &s->drives[i];
        if (d->dead)
            continue;
        if (roll(s, 30) == 0)
            return false; /* a crash between two fills */
        memcpy(d->log, best.log, sizeof best.log);
        memcpy(d->entry_epoch, best.entry_epoch, sizeof best.entry_epoch);
        d->last = best.last;
        in |= 1U << i;
    }
    if (!start_configure(s, highest + 1, in))
        return false;
    metalog_init(&s->core, s->count, s->quorum, in, highest + 1, best.last);
    return true;
}

/* ---- a run ---- */

static void drive_write_ends(struct sim *s, unsigned i)
{
    struct drive *d = &s->drives[i];
    if (d->dead || !d->inflight)
        return;
    uint64_t seq = d->inflight;
    d->inflight = 0;
    drive_append(d, s->value_epoch[seq], seq, s->value[seq]);
    bool told = roll(s, 12) != 0; /* else: durable, but an error is reported */
    sim_step(s, (struct metalog_event){.kind = told ? METALOG_DURABLE : METALOG_FAILED, .member = i, .seq = seq});
}

static void drive_fails(struct sim *s, unsigned i)
{
    struct drive *d = &s->drives[i];
    if (d->dead || roll(s, 4) != 0)
        return;
    d->dead = roll(s, 2);
    d->inflight = 0;
    sim_step(s, (struct metalog_event){.kind = METALOG_FAILED, .member = i});
}

static void drive_joins(struct sim *s, unsigned i)
{
    struct drive *d = &s->drives[i];
    if (d->dead || s->core.halted || s->core.members[i].state != METALOG_OUT || s->core.tail != s->core.commit)
        return;
    for (uint64_t seq = 1; seq <= s->core.tail; seq++)
        drive_append(d, s->value_epoch[seq], seq, s->value[seq]);
    d->last = s->core.tail;
    sim_step(s, (struct metalog_event){.kind = METALOG_JOIN, .member = i, .seq = s->core.tail});
}

static void propose(struct sim *s)
{
    if (s->core.tail + 1 >= ENTRIES || s->core.tail != s->core.commit || s->core.halted)
        return;
    s->value[s->core.tail + 1] = ++s->next_value;
    sim_step(s, (struct metalog_event){.kind = METALOG_PROPOSE});
}

static void sim_run(struct sim *s)
{
    for (uint64_t n = 10 + roll(s, 80); n > 0; n--) {
        unsigned i = (unsigned)roll(s, s->count);
        switch (roll(s, 8)) {
        case 0:
            propose(s);
            break;
        case 1:
        case 2:
        case 3:
            drive_write_ends(s, i);
            break;
        case 4:
            drive_fails(s, i);
            break;
        case 5:
            drive_joins(s, i);
            break;
        default:
            change_advance(s);
            break;
        }
    }
}

/* Who is there at the next start: enough by the rules of the world, and no more than chance wants. */
static uint32_t pick_present(struct sim *s)
{
    for (;;) {
        uint32_t set = (uint32_t)roll(s, 1U << s->count);
        if ((unsigned)__builtin_popcount(set) >= s->quorum && (!s->store || (set & s->store_set)))
            return set;
    }
}

static void sim_seed(struct sim *s, uint64_t seed, bool store)
{
    *s = (struct sim){.count = seed % 3 == 0 ? 5 : 3,
                      .random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1,
                      .seed = seed,
                      .store = store,
                      .store_epoch = 1};
    s->quorum = store ? 2 : metalog_majority(s->count);
    s->store_set = (1U << s->count) - 1;
    for (unsigned i = 0; i < s->count; i++)
        s->drives[i] = (struct drive){.epoch = 1, .promised = 1, .set = s->store_set};
    for (int run = 0; run < 10; run++)
        if (sim_start(s, pick_present(s)))
            sim_run(s);
}

static void simulate(bool store)
{
    static struct sim s;
    unsigned commits = 0, changes = 0, lost_quorum = 0;
    for (uint64_t seed = 1; seed <= 6000; seed++) {
        sim_seed(&s, seed, store);
        commits += s.commits;
        changes += s.changes;
        lost_quorum += s.lost_quorum;
    }
    cr_expect_gt(commits, 20000, "%u", commits);
    cr_expect_gt(changes, 10000, "%u", changes);
    cr_expect_gt(lost_quorum, 1000, "%u", lost_quorum);
}

Test(metalog, nothing_committed_is_lost_with_registers_on_the_drives)
{
    simulate(false);
}

Test(metalog, nothing_committed_is_lost_with_a_coordination_store)
{
    simulate(true);
}
