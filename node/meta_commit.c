/* meta_commit - drives the core of the replicated log (replication/metalog.h) with real logs and registers. The core
 * says what to append where and when an entry is committed; a replica whose log or database fails is reported to it,
 * and the change of configuration that it then asks for goes to the registers of all replicas, first as a promise, then
 * for good. A drive that neither does a write nor fails it is given up after META_STALL_MS: what the write uses stays
 * until it ends, but nobody waits for it. */
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
    for (unsigned i = 0; i < m->replica_count; i++) {
        const struct meta_replica *r = &m->replicas[i];
        if (r->reg_writing || (r->log && !metalog_file_idle(r->log)))
            return false;
    }
    return true;
}

bool meta_commit_stalled(const struct meta *m)
{
    for (unsigned i = 0; i < m->replica_count; i++) {
        const struct meta_replica *r = &m->replicas[i];
        if (r->stalled || (r->reg_writing && r->reg_round != m->change_round))
            return true;
    }
    return false;
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

/* Reads leave a replica that failed at once, if another one shows the same. */
static void primary_leave(struct meta *m, const struct meta_replica *failed)
{
    for (unsigned i = 0; i < m->replica_count && m->primary == failed->kv; i++) {
        const struct meta_replica *r = &m->replicas[i];
        if (r->kv && !r->failed && r->state == META_COPY_GOOD && r->applied_seq == failed->applied_seq)
            m->primary = r->kv;
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
    if (m->group.step == META_LOG)
        primary_leave(m, r);
    if (member >= 0)
        step(m, (struct metalog_event){.kind = METALOG_FAILED, .member = (unsigned)member});
    meta_restart_want(m);
}

static void append_left(struct meta *m)
{
    if (--m->group.appends_out == 0)
        loop_timer_stop(m->conf.loop, &m->append_timer);
}

/* The group's entry ends with the group, the write that hangs does not: it gets an entry of its own. */
static void append_give_up(struct meta *m, struct meta_replica *r)
{
    r->appending = false;
    r->stalled = true;
    r->stalled_entry = m->group.entry;
    buf_ref(r->stalled_entry.payload);
    r->append.entry = &r->stalled_entry;
    append_left(m);
    replica_failed(m, r, -ETIMEDOUT, "its log");
}

static void append_late(struct loop_timer *t)
{
    struct meta *m = container_of(t, struct meta, append_timer);
    for (unsigned i = 0; i < m->replica_count; i++)
        if (m->replicas[i].appending)
            append_give_up(m, &m->replicas[i]);
    group_check(m);
    meta_settle(m);
}

static void appended(struct metalog_append *a, int err)
{
    struct meta_replica *r = container_of(a, struct meta_replica, append);
    struct meta *m = r->owner;
    if (r->stalled) { /* too late: it is out already */
        r->stalled = false;
        metalog_entry_fini(&r->stalled_entry);
        meta_settle(m);
        return;
    }
    r->appending = false;
    append_left(m);
    if (err)
        replica_failed(m, r, err, "its log");
    else
        step(m, (struct metalog_event){
                    .kind = METALOG_DURABLE, .member = (unsigned)member_of(m, r), .seq = m->group.entry.seq});
    group_check(m);
    meta_settle(m);
}

static void append(struct meta *m, const struct metalog_action *a)
{
    struct meta_replica *r = &m->replicas[m->replica_of[a->member]];
    m->group.entry.seq = a->seq;
    m->group.entry.epoch = m->group.epoch = a->epoch;
    m->group.seq = a->seq;
    m->group.appends_out++;
    r->append.cb = appended;
    r->appending = true;
    m->append_timer.cb = append_late;
    loop_timer_start(m->conf.loop, &m->append_timer, META_STALL_MS * MS_NS);
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
static void change_late(struct loop_timer *t);

/* A failed log is no reason to leave the register out; a failed register is. */
static void change_write_all(struct meta *m)
{
    m->change_round++;
    m->change.good = 0;
    m->change.out = 1; /* ours: so that no callback ends the round while it begins */
    for (unsigned i = 0; i < m->core.member_count; i++) {
        struct meta_replica *r = m->replica_of[i] >= 0 ? &m->replicas[m->replica_of[i]] : NULL;
        if (!r || !r->reg || meta_register_failed(r->reg) || r->stalled || r->reg_writing)
            continue;
        m->change.out++;
        r->reg_writing = true;
        r->reg_round = m->change_round;
        r->reg_write.cb = change_written;
        meta_config_write(m, r, m->change.epoch, m->change.set, m->change.promising);
    }
    m->change.out--;
    m->change_timer.cb = change_late;
    loop_timer_start(m->conf.loop, &m->change_timer, META_STALL_MS * MS_NS);
}

static void change_end(struct meta *m, bool ok)
{
    m->change.under_way = false;
    loop_timer_stop(m->conf.loop, &m->change_timer);
    log_event(ok ? LOG_INFO : LOG_ERROR, "metadata_configuration", "epoch=%llu in_sync=%u done=%d",
              (unsigned long long)m->change.epoch, (unsigned)__builtin_popcount(m->change.set), ok);
    metric_set(M_META_REPLICAS, NULL, __builtin_popcount(m->change.set));
    step(m, (struct metalog_event){.kind = METALOG_CONFIG_DONE, .epoch = m->change.epoch, .ok = ok});
    group_check(m);
    meta_settle(m);
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
    struct meta *m = r->owner;
    r->reg_writing = false;
    if (r->reg_round != m->change_round) {
        meta_settle(m);
        return;
    }
    m->change.out--;
    m->change.good += err ? 0 : 1;
    change_advance(m);
}

/* What has not answered by now counts as not written, whatever becomes of it. */
static void change_late(struct loop_timer *t)
{
    struct meta *m = container_of(t, struct meta, change_timer);
    m->change_round++;
    m->change.out = 0;
    change_advance(m);
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
            meta_restart_want(m);
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
