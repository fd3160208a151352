/* meta_start - from some folders on some drives to a running log. The newest configuration that a register knows says
 * who was in sync; among those the copy with the last entry is chosen, so everything that was ever answered is in it.
 * It replays its log; the others replay the same entries, or are filled again where that is not possible. Then, and
 * only then, the logs are emptied and a configuration with a higher epoch is made (R6), first as a promise. Nothing
 * before that step takes anything away from any copy, so a crash in the middle of a start is just another start. */
#include "node/meta_impl.h"
#include "common/crypt.h"
#include "common/log.h"
#include <stdio.h>

struct start {
    struct meta *m;
    char *why;
    size_t why_cap;
    const Pb__MetaConfig *newest; /* NULL: a new installation */
    uint64_t highest;             /* epoch seen or promised anywhere */
    struct meta_replica *chosen;
    bool given_up; /* below a majority, on the operator's word */
};

static int fail(struct start *s, int err, const char *text)
{
    snprintf(s->why, s->why_cap, "%s", text);
    return err;
}

static int member_index(const Pb__MetaConfig *c, const uint8_t *id)
{
    for (size_t i = 0; i < c->n_members; i++)
        if (c->members[i]->id.len == META_ID_BYTES && memcmp(c->members[i]->id.data, id, META_ID_BYTES) == 0)
            return (int)i;
    return -1;
}

static struct meta_replica *replica_by_id(struct meta *m, ProtobufCBinaryData id)
{
    for (unsigned i = 0; i < m->replica_count; i++)
        if (id.len == META_ID_BYTES && memcmp(m->replicas[i].self.id, id.data, META_ID_BYTES) == 0)
            return &m->replicas[i];
    return NULL;
}

/* ---- what there is ---- */

static int config_fits(struct start *s, const struct meta_replica *r)
{
    const Pb__MetaConfig *c = r->config, *newest = s->newest;
    if (c->n_members == 0 || c->n_members > METALOG_MEMBERS_MAX)
        return fail(s, E_CORRUPT, "the register of a metadata replica makes no sense");
    if (newest && !str_eq(meta_bin(c->cluster_id), meta_bin(newest->cluster_id))) {
        snprintf(s->why, s->why_cap, "%s belongs to another installation than the other drives", r->dir);
        return E_FOREIGN;
    }
    if (newest && c->epoch == newest->epoch && !str_eq(meta_bin(c->config_id), meta_bin(newest->config_id))) {
        snprintf(s->why, s->why_cap,
                 "%s and another drive were each started without the other and have gone separate ways; leave out the "
                 "drive whose changes may be lost",
                 r->dir);
        return E_FOREIGN;
    }
    return 0;
}

static int replicas_open(struct start *s)
{
    struct meta *m = s->m;
    for (unsigned i = 0; i < m->conf.replica_count; i++) {
        struct meta_replica *r = &m->replicas[i];
        int err = meta_replica_open(r, &m->conf, i, &m->config_arena, s->why, s->why_cap);
        r->owner = m;
        m->replica_count++;
        if (!err && r->config)
            err = config_fits(s, r);
        if (err)
            return err;
        if (!r->config)
            continue;
        s->highest = MAX_OF(s->highest, MAX_OF(r->config->epoch, r->config->promised));
        if (!s->newest || r->config->epoch > s->newest->epoch)
            s->newest = r->config;
    }
    return 0;
}

/* Members whose register can be read: only they may vote. */
static unsigned voters(const struct start *s)
{
    unsigned n = 0;
    for (unsigned i = 0; i < s->m->replica_count; i++) {
        const struct meta_replica *r = &s->m->replicas[i];
        n += r->reg && r->config && member_index(s->newest, r->self.id) >= 0;
    }
    return n;
}

static int majority_check(struct start *s)
{
    unsigned need = metalog_majority((unsigned)s->newest->n_members), have = voters(s);
    s->given_up = have < need && s->m->conf.accept_missing;
    if (have >= need || s->given_up)
        return 0;
    snprintf(s->why, s->why_cap,
             "only %u of %zu drives that keep the metadata can be read, %u are needed; bring back the missing ones, or "
             "start with the word that they are lost",
             have, s->newest->n_members, need);
    for (unsigned i = 0; i < s->m->replica_count; i++) {
        const struct meta_replica *r = &s->m->replicas[i];
        size_t at = strlen(s->why);
        if (r->state == META_COPY_BAD)
            snprintf(s->why + at, s->why_cap - at, " (%s: %s)", r->dir, r->why);
    }
    return E_QUORUM;
}

/* ---- a new installation ---- */

/* Nothing was ever committed below epoch 2: a creation that was interrupted begins again. */
static bool never_ran(const struct start *s)
{
    const struct meta *m = s->m;
    for (unsigned i = 0; i < m->replica_count; i++) {
        const struct meta_replica *r = &m->replicas[i];
        bool forgetful = r->state == META_COPY_BAD && !r->config; /* its register may have known better */
        if (forgetful || r->applied_seq > 0)
            return false;
    }
    return s->highest <= 1 && (m->replica_count >= m->conf.replica_total || m->conf.accept_missing);
}

static int config_new(struct start *s, Pb__MetaConfig **ret)
{
    struct arena *a = &s->m->config_arena;
    Pb__MetaConfig *c = arena_alloc(a, sizeof *c);
    uint8_t *ids = arena_alloc(a, 2 * META_ID_BYTES);
    if (!c || !ids)
        return -ENOMEM;
    pb__meta_config__init(c);
    random_bytes(ids, 2 * META_ID_BYTES);
    c->format = META_FORMAT;
    c->config_id = (ProtobufCBinaryData){META_ID_BYTES, ids};
    c->cluster_id = (ProtobufCBinaryData){META_ID_BYTES, ids + META_ID_BYTES};
    c->members = arena_alloc(a, METALOG_MEMBERS_MAX * sizeof *c->members);
    if (!c->members)
        return -ENOMEM;
    *ret = c;
    return 0;
}

static int member_add(struct start *s, Pb__MetaConfig *c, ProtobufCBinaryData id)
{
    Pb__MetaMember *mm = arena_alloc(&s->m->config_arena, sizeof *mm);
    struct str copy = arena_str(&s->m->config_arena, meta_bin(id));
    if (!mm || !copy.p)
        return -ENOMEM;
    pb__meta_member__init(mm);
    mm->id = meta_bin_of(copy);
    c->members[c->n_members++] = mm;
    return 0;
}

/* Why nothing can be started though no register says anything. */
static int nothing_known(struct start *s)
{
    const struct meta *m = s->m;
    if (m->replica_count < m->conf.replica_total && !m->conf.accept_missing)
        return fail(s, E_QUORUM, "a new installation needs all the drives that are to keep its metadata");
    for (unsigned i = 0; i < m->replica_count; i++)
        if (m->replicas[i].state == META_COPY_BAD)
            snprintf(s->why, s->why_cap, "no copy of the metadata is whole: %s: %s", m->replicas[i].dir,
                     m->replicas[i].why);
    return E_CORRUPT;
}

static int create(struct start *s)
{
    struct meta *m = s->m;
    for (unsigned i = 0; i < m->replica_count; i++) {
        int err = meta_replica_create(&m->replicas[i], s->why, s->why_cap);
        if (err)
            return err;
    }
    s->chosen = &m->replicas[0];
    return 0;
}

/* ---- choosing and filling ---- */

/* Nothing is wrong with copies that only had no room to be opened in. */
static int full_check(struct start *s)
{
    unsigned full = 0, good = 0;
    for (unsigned i = 0; i < s->m->replica_count; i++) {
        const struct meta_replica *r = &s->m->replicas[i];
        good += r->state == META_COPY_GOOD;
        if (r->state != META_COPY_BAD || r->err != -ENOSPC)
            continue;
        full++;
        snprintf(s->why, s->why_cap, "%s: %s; make room there and start again", r->dir, r->why);
    }
    return full > 0 && good + full >= metalog_majority((unsigned)s->newest->n_members) &&
                   good < metalog_majority((unsigned)s->newest->n_members)
               ? -ENOSPC
               : 0;
}

static int choose(struct start *s)
{
    struct meta *m = s->m;
    struct metalog_copy copies[META_REPLICAS_MAX] = {0};
    unsigned index;
    for (unsigned i = 0; i < m->replica_count; i++) {
        struct meta_replica *r = &m->replicas[i];
        int member = member_index(s->newest, r->self.id);
        copies[i].good = r->state == META_COPY_GOOD;
        copies[i].in_sync = member >= 0 && s->newest->members[member]->in_sync;
        if (copies[i].good)
            meta_replica_last(r, &copies[i].epoch, &copies[i].seq);
    }
    if (metalog_choose(copies, m->replica_count, false, &index) == METALOG_NO_COPY &&
        (!m->conf.accept_missing || metalog_choose(copies, m->replica_count, true, &index) == METALOG_NO_COPY)) {
        size_t at = (size_t)snprintf(s->why, s->why_cap, "no copy of the metadata is whole:");
        for (unsigned i = 0; i < m->replica_count && at < s->why_cap; i++)
            at += (size_t)snprintf(s->why + at, s->why_cap - at, " %s: %s;", m->replicas[i].dir,
                                   m->replicas[i].why[0] ? m->replicas[i].why : "out of date");
        return E_CORRUPT;
    }
    s->chosen = &m->replicas[index];
    return 0;
}

/* Chooses until one can replay its own log. */
static int choose_and_replay(struct start *s)
{
    for (;;) {
        int err = choose(s);
        if (err)
            return err;
        err = meta_replica_replay(s->chosen, s->chosen);
        if (!err)
            err = s->chosen->kv->ops->sync(s->chosen->kv);
        if (!err)
            return 0;
        meta_replica_bad(s->chosen, err, "replay of its log");
    }
}

/* Whether r is the chosen copy as it was some entries ago, and those entries are still in the log. */
static bool can_replay(const struct start *s, const struct meta_replica *r)
{
    const struct meta_replica *c = s->chosen;
    struct metalog_run run = metalog_file_run(c->log);
    int member = member_index(s->newest, r->self.id);
    if (r->state != META_COPY_GOOD || r->applied_seq > c->applied_seq)
        return false;
    if (r->applied_seq == c->applied_seq)
        return r->applied_epoch == c->applied_epoch;
    if (run.last_seq != c->applied_seq || run.first_seq > r->applied_seq + 1)
        return false;
    if (run.first_seq <= r->applied_seq)
        return metalog_file_epoch_of(c->log, r->applied_seq) == r->applied_epoch;
    return member >= 0 &&
           s->newest->members[member]->in_sync; /* what it applied was committed in this epoch or before */
}

static int catch_up(struct start *s, struct meta_replica *r)
{
    bool replay = can_replay(s, r);
    if (replay && r->applied_seq == s->chosen->applied_seq)
        return 0;
    log_event(LOG_INFO, "metadata_catch_up", "drive=%u by=%s was=%s", r->self.index, replay ? "log" : "copy",
              log_quote(str_c(r->why[0]                     ? r->why
                              : r->state == META_COPY_EMPTY ? "empty"
                                                            : "behind")));
    int err = replay ? meta_replica_replay(r, s->chosen) : meta_replica_fill(r, s->chosen);
    if (!err)
        err = r->kv->ops->sync(r->kv);
    return err;
}

static void catch_up_all(struct start *s)
{
    struct meta *m = s->m;
    for (unsigned i = 0; i < m->replica_count; i++) {
        struct meta_replica *r = &m->replicas[i];
        if (r == s->chosen || !r->reg || (r->state == META_COPY_BAD && r->err == -ENOSPC))
            continue;
        int err = catch_up(s, r);
        if (err)
            meta_replica_bad(r, err, "filling it again");
    }
}

/* All good databases hold everything, durably: the logs have done their work. */
static void logs_reset(struct start *s)
{
    for (unsigned i = 0; i < s->m->replica_count; i++) {
        struct meta_replica *r = &s->m->replicas[i];
        int err = r->state == META_COPY_GOOD ? meta_replica_log_reset(r, r->applied_seq + 1) : 0;
        if (err)
            meta_replica_bad(r, err, "emptying its log");
    }
}

/* ---- the first configuration ---- */

static size_t drives_unknown(const struct start *s)
{
    size_t n = 0;
    for (unsigned i = 0; i < s->m->replica_count; i++)
        n += !s->newest || member_index(s->newest, s->m->replicas[i].self.id) < 0;
    return n;
}

/* Members of before stay, missing ones too, unless the operator gave them up or a new drive needs their place. New
 * drives come behind them. */
static int members_of(struct start *s, Pb__MetaConfig *c)
{
    struct meta *m = s->m;
    size_t old_count = s->newest ? s->newest->n_members : 0;
    size_t all = old_count + drives_unknown(s), total = m->conf.replica_total;
    size_t too_many = all > total ? all - total : 0;
    for (size_t i = 0; i < old_count; i++) {
        ProtobufCBinaryData id = s->newest->members[i]->id;
        bool here = replica_by_id(m, id) != NULL;
        if (!here && (s->given_up || too_many > 0)) {
            too_many -= too_many > 0;
            continue;
        }
        int err = member_add(s, c, id);
        if (err)
            return err;
    }
    for (unsigned i = 0; i < m->replica_count; i++) {
        ProtobufCBinaryData id = {META_ID_BYTES, m->replicas[i].self.id};
        int err = member_index(c, id.data) < 0 && c->n_members < METALOG_MEMBERS_MAX ? member_add(s, c, id) : 0;
        if (err)
            return err;
    }
    return 0;
}

struct round {
    unsigned good_old, good_new;
};

/* Writes c to the registers of `members` that can be written. */
static struct round round_write_all(struct start *s, const Pb__MetaConfig *c, const Pb__MetaConfig *members)
{
    struct round round = {0};
    for (unsigned i = 0; i < s->m->replica_count; i++) {
        struct meta_replica *r = &s->m->replicas[i];
        if (!r->reg || meta_register_failed(r->reg) || member_index(members, r->self.id) < 0)
            continue;
        if (meta_register_write_now(r->reg, c))
            continue;
        round.good_old += s->newest && r->config && member_index(s->newest, r->self.id) >= 0;
        round.good_new++;
    }
    return round;
}

static bool round_won(const struct start *s, const struct round *r, const Pb__MetaConfig *c)
{
    bool old = !s->newest || s->given_up || r->good_old >= metalog_majority((unsigned)s->newest->n_members);
    return old && r->good_new >= metalog_majority((unsigned)c->n_members);
}

static uint32_t in_set_of(struct start *s, Pb__MetaConfig *c)
{
    uint32_t set = 0;
    for (size_t i = 0; i < c->n_members; i++) {
        struct meta_replica *r = replica_by_id(s->m, c->members[i]->id);
        s->m->replica_of[i] = r ? (int)r->number : -1;
        bool in = r && r->reg && !meta_register_failed(r->reg) && r->state == META_COPY_GOOD;
        c->members[i]->in_sync = in;
        set |= in ? 1U << i : 0;
    }
    return set;
}

/* A promise to go below no more, carried by what the registers hold already. */
static int promise(struct start *s, const Pb__MetaConfig *members, uint64_t epoch)
{
    if (!s->newest)
        return 0;
    Pb__MetaConfig c = *s->newest;
    c.promised = epoch;
    struct round r = round_write_all(s, &c, members);
    if (!round_won(s, &r, members))
        return fail(s, E_QUORUM, "too few metadata drives can be written");
    return 0;
}

static int configure(struct start *s, uint64_t epoch)
{
    struct meta *m = s->m;
    Pb__MetaConfig *c;
    int err = config_new(s, &c);
    if (!err)
        err = members_of(s, c);
    if (!err && s->newest)
        c->cluster_id = s->newest->cluster_id;
    if (!err)
        err = promise(s, c, epoch);
    if (err)
        return err;
    uint32_t set = in_set_of(s, c);
    unsigned quorum = metalog_majority((unsigned)c->n_members);
    if ((unsigned)__builtin_popcount(set) < quorum) {
        int at = snprintf(s->why, s->why_cap, "%d of %zu metadata copies are whole, %u are needed",
                          __builtin_popcount(set), c->n_members, quorum);
        for (unsigned i = 0; i < m->replica_count && at > 0 && (size_t)at < s->why_cap; i++)
            if (m->replicas[i].why[0])
                at +=
                    snprintf(s->why + at, s->why_cap - (size_t)at, " (%s: %s)", m->replicas[i].dir, m->replicas[i].why);
        return E_QUORUM;
    }
    c->epoch = c->promised = epoch;
    struct round r = round_write_all(s, c, c);
    if (!round_won(s, &r, c))
        return fail(s, E_QUORUM, "too few metadata drives can be written");
    m->config = c;
    metalog_init(&m->core, (unsigned)c->n_members, quorum, set, epoch, s->chosen->applied_seq);
    return 0;
}

int meta_start(struct meta *m, char *why, size_t why_cap)
{
    struct start s = {.m = m, .why = why, .why_cap = why_cap};
    if (m->conf.replica_count == 0 || m->conf.replica_count > META_REPLICAS_MAX)
        return fail(&s, E_QUORUM, "no drive that keeps metadata is there");
    int err = replicas_open(&s);
    if (err)
        return err;
    if (!s.newest && !never_ran(&s))
        return nothing_known(&s);
    if (never_ran(&s)) {
        s.newest = NULL;
        err = create(&s);
        if (!err)
            err = configure(&s, 1);
        s.newest = m->config;
        s.highest = 1;
        for (unsigned i = 0; i < m->replica_count; i++)
            m->replicas[i].config = m->config;
    } else {
        err = majority_check(&s);
        if (!err)
            err = full_check(&s);
        if (!err)
            err = choose_and_replay(&s);
        if (!err) {
            catch_up_all(&s);
            logs_reset(&s);
        }
    }
    if (!err)
        err = configure(&s, s.highest + 1);
    if (!err)
        m->primary = s.chosen->kv;
    return err;
}
