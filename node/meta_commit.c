/* meta_commit - drives the core of the replicated log (replication/metalog.h) with real logs and registers. The core
 * says what to append where and when an entry is committed; a replica whose log or database fails is reported to it,
 * and the change of configuration that it then asks for goes to the registers of all replicas, first as a promise, then
 * for good. */
#include "node/meta_impl.h"
#include "common/log.h"
#include "common/metrics.h"
#include <stdio.h>

static void step(struct meta *m, struct metalog_event e);

static int member_of(const struct meta *m, const struct meta_replica *r)
{
    for (unsigned i = 0; i < m->core.member_count; i++)
        if (m->replica_of[i] == (int)r->number)
            return (int)i;
    return -1;
}

bool meta_writable(const struct meta *m)
{
    return !m->core.halted;
}

bool meta_commit_idle(const struct meta *m)
{
    if (m->change.under_way || m->group.appends_out > 0)
        return false;
    for (unsigned i = 0; i < m->replica_count; i++)
        if (m->replicas[i].log && !metalog_file_idle(m->replicas[i].log))
            return false;
    return true;
}

/* The group goes on once its entry is committed or lost and nobody reads the entry any more. */
static void group_check(struct meta *m)
{
    struct meta_group *g = &m->group;
    if (g->step != META_LOG || g->appends_out > 0)
        return;
    if (m->core.commit >= g->seq)
        meta_committed(m);
    else if (m->core.halted && !m->change.under_way) {
        g->err = E_QUORUM;
        meta_committed(m);
    }
}

static void replica_failed(struct meta *m, struct meta_replica *r, int err, const char *what)
{
    int member = member_of(m, r);
    if (r->failed)
        return;
    r->failed = true;
    meta_replica_bad(r, err, what);
    log_event(LOG_ERROR, "metadata_replica_failed", "drive=%u why=%s", r->self.index, log_quote(str_c(r->why)));
    if (member >= 0)
        step(m, (struct metalog_event){.kind = METALOG_FAILED, .member = (unsigned)member});
}

static void appended(struct metalog_append *a, int err)
{
    struct meta_replica *r = container_of(a, struct meta_replica, append);
    struct meta *m = r->owner;
    m->group.appends_out--;
    if (err)
        replica_failed(m, r, err, "its log");
    else
        step(m, (struct metalog_event){
                    .kind = METALOG_DURABLE, .member = (unsigned)member_of(m, r), .seq = m->group.entry.seq});
    group_check(m);
    meta_close_advance(m);
}

static void append(struct meta *m, const struct metalog_action *a)
{
    struct meta_replica *r = &m->replicas[m->replica_of[a->member]];
    m->group.entry.seq = a->seq;
    m->group.entry.epoch = m->group.epoch = a->epoch;
    m->group.seq = a->seq;
    m->group.appends_out++;
    r->append.cb = appended;
    metalog_file_append(r->log, &m->group.entry, &r->append);
}

/* ---- configurations ---- */

void meta_config_write(struct meta *m, struct meta_replica *r, uint64_t epoch, uint32_t set, bool promise_only)
{
    Pb__MetaConfig *c = m->config;
    c->promised = epoch;
    if (!promise_only) {
        c->epoch = epoch;
        for (size_t i = 0; i < c->n_members; i++)
            c->members[i]->in_sync = set & 1U << i;
    }
    meta_register_write(r->reg, c, &r->reg_write);
}

static void change_written(struct meta_register_write *w, int err);

/* A failed log is no reason to leave the register out; a failed register is. */
static void change_write_all(struct meta *m)
{
    m->change.good = 0;
    m->change.out = 1; /* ours: so that no callback ends the round while it begins */
    for (unsigned i = 0; i < m->core.member_count; i++) {
        struct meta_replica *r = m->replica_of[i] >= 0 ? &m->replicas[m->replica_of[i]] : NULL;
        if (!r || !r->reg || meta_register_failed(r->reg))
            continue;
        m->change.out++;
        r->reg_write.cb = change_written;
        meta_config_write(m, r, m->change.epoch, m->change.set, m->change.promising);
    }
    m->change.out--;
}

static void change_end(struct meta *m, bool ok)
{
    m->change.under_way = false;
    log_event(ok ? LOG_INFO : LOG_ERROR, "metadata_configuration", "epoch=%llu in_sync=%u done=%d",
              (unsigned long long)m->change.epoch, (unsigned)__builtin_popcount(m->change.set), ok);
    metric_set(M_META_REPLICAS, NULL, __builtin_popcount(m->change.set));
    step(m, (struct metalog_event){.kind = METALOG_CONFIG_DONE, .epoch = m->change.epoch, .ok = ok});
    group_check(m);
    meta_close_advance(m);
}

static void change_advance(struct meta *m)
{
    if (m->change.out > 0)
        return;
    bool majority = m->change.good >= m->core.quorum;
    if (majority && m->change.promising) {
        m->change.promising = false;
        change_write_all(m);
        if (m->change.out > 0)
            return;
        majority = false;
    }
    change_end(m, majority);
}

static void change_written(struct meta_register_write *w, int err)
{
    struct meta_replica *r = container_of(w, struct meta_replica, reg_write);
    r->owner->change.out--;
    r->owner->change.good += err ? 0 : 1;
    change_advance(r->owner);
}

static void change_begin(struct meta *m, uint64_t epoch, uint32_t set)
{
    assert(!m->change.under_way);
    m->change = (struct meta_change){.under_way = true, .promising = true, .epoch = epoch, .set = set};
    change_write_all(m);
    if (m->change.out == 0)
        change_end(m, false);
}

/* ---- the core's actions ---- */

static void step(struct meta *m, struct metalog_event e)
{
    struct metalog_actions actions;
    int refused = metalog_step(&m->core, &e, &actions);
    assert(!refused);
    for (unsigned i = 0; i < actions.count; i++) {
        const struct metalog_action *a = &actions.list[i];
        switch (a->kind) {
        case METALOG_APPEND:
            append(m, a);
            break;
        case METALOG_WRITE_CONFIG:
            change_begin(m, a->epoch, a->set);
            break;
        case METALOG_HALT:
            log_event(LOG_ERROR, "metadata_halted", "committed=%llu", (unsigned long long)a->seq);
            break;
        case METALOG_COMMIT: /* group_check sees core.commit */
            break;
        }
    }
}

void meta_commit(struct meta *m)
{
    assert(m->group.step == META_LOG && !m->core.halted);
    step(m, (struct metalog_event){.kind = METALOG_PROPOSE});
}

/* ---- applying ---- */

void meta_apply_begin(struct meta *m)
{
    for (unsigned i = 0; i < m->core.member_count; i++)
        if (m->replica_of[i] >= 0)
            m->replicas[m->replica_of[i]].applying = m->core.members[i].state == METALOG_IN;
}

void meta_apply(struct meta *m)
{
    struct meta_group *g = &m->group;
    int err = meta_applied_put(&g->view.batch, g->epoch, g->seq);
    for (unsigned i = 0; i < m->replica_count; i++) {
        struct meta_replica *r = &m->replicas[i];
        if (r->applying)
            r->apply_err = err ? err : meta_replica_apply(r, &g->view.batch, g->epoch, g->seq);
    }
}

static bool shows(const struct meta_replica *r, uint64_t seq)
{
    return r->kv && !r->failed && r->applied_seq == seq;
}

void meta_applied(struct meta *m)
{
    struct meta_group *g = &m->group;
    struct meta_replica *primary = NULL;
    for (unsigned i = 0; i < m->replica_count; i++) {
        struct meta_replica *r = &m->replicas[i];
        if (shows(r, g->seq) && (!primary || r->kv == m->primary))
            primary = r;
        else if (r->applying && !r->failed && r->apply_err)
            g->err = r->apply_err;
    }
    if (primary) {
        m->primary = primary->kv;
        g->err = 0;
    } /* else: committed, but nobody can show it; a start replays the log */
    for (unsigned i = 0; i < m->replica_count; i++) {
        struct meta_replica *r = &m->replicas[i];
        if (r->applying && r->apply_err)
            replica_failed(m, r, r->apply_err, "its database");
        r->applying = false;
    }
}
