/* metalog - all the rules sit in three places: who must hold an entry before it commits (commit_advance: everyone who
 * counts, and a leaver counts until its leave is done), when a configuration is asked for (config_ask: one at a time, a
 * joiner only once it has caught up, never below the quorum), and what a done configuration changes (config_done). */
#include "replication/metalog.h"
#include <stddef.h>

static void act(struct metalog_actions *a, struct metalog_action action)
{
    assert(a->count < METALOG_ACTIONS_MAX);
    a->list[a->count++] = action;
}

/* Members that must hold an entry before it commits. */
static bool counts(const struct metalog_member *m)
{
    return m->state != METALOG_OUT;
}

static bool takes_entries(const struct metalog_member *m)
{
    return m->state == METALOG_IN || m->state == METALOG_JOINING;
}

static unsigned set_size(uint32_t set)
{
    return (unsigned)__builtin_popcount(set);
}

uint32_t metalog_in_set(const struct metalog *l)
{
    uint32_t set = 0;
    for (unsigned i = 0; i < l->member_count; i++)
        if (l->members[i].state == METALOG_IN)
            set |= 1U << i;
    return set;
}

void metalog_init(struct metalog *l, unsigned member_count, unsigned quorum, uint32_t in_set, uint64_t epoch,
                  uint64_t tail)
{
    assert(member_count > 0 && member_count <= METALOG_MEMBERS_MAX);
    assert(quorum > 0 && set_size(in_set) >= quorum);
    *l = (struct metalog){.member_count = member_count, .quorum = quorum, .epoch = epoch, .tail = tail, .commit = tail};
    for (unsigned i = 0; i < member_count; i++)
        if (in_set & 1U << i)
            l->members[i] = (struct metalog_member){METALOG_IN, tail};
}

static void halt(struct metalog *l, struct metalog_actions *a)
{
    if (l->halted)
        return;
    l->halted = true;
    act(a, (struct metalog_action){.kind = METALOG_HALT, .seq = l->commit});
}

static void commit_advance(struct metalog *l, struct metalog_actions *a)
{
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < l->member_count; i++)
        if (counts(&l->members[i]))
            least = MIN_OF(least, l->members[i].durable);
    if (l->halted || least == UINT64_MAX || least <= l->commit)
        return;
    assert(least <= l->tail);
    l->commit = least;
    act(a, (struct metalog_action){.kind = METALOG_COMMIT, .seq = least});
}

/* The set that the members' states ask for: a joiner belongs to it once it holds all that is committed. */
static uint32_t wanted_set(const struct metalog *l)
{
    uint32_t set = 0;
    for (unsigned i = 0; i < l->member_count; i++) {
        const struct metalog_member *m = &l->members[i];
        if (m->state == METALOG_IN || (m->state == METALOG_JOINING && m->durable >= l->commit))
            set |= 1U << i;
    }
    return set;
}

static bool change_needed(const struct metalog *l)
{
    uint32_t now = 0;
    for (unsigned i = 0; i < l->member_count; i++)
        if (l->members[i].state == METALOG_IN || l->members[i].state == METALOG_LEAVING)
            now |= 1U << i;
    return wanted_set(l) != now;
}

static void config_ask(struct metalog *l, struct metalog_actions *a)
{
    if (l->halted || l->asked_epoch || !change_needed(l))
        return;
    uint32_t set = wanted_set(l);
    if (set_size(set) < l->quorum) {
        halt(l, a);
        return;
    }
    l->asked_epoch = l->epoch + 1;
    l->asked_set = set;
    act(a, (struct metalog_action){.kind = METALOG_WRITE_CONFIG, .epoch = l->asked_epoch, .set = set});
}

static void config_done(struct metalog *l, const struct metalog_event *e, struct metalog_actions *a)
{
    if (e->epoch != l->asked_epoch || l->asked_epoch == 0)
        return;
    uint32_t set = l->asked_set;
    l->asked_epoch = 0;
    if (!e->ok) {
        halt(l, a); /* nobody knows which configuration holds now */
        return;
    }
    l->epoch = e->epoch;
    for (unsigned i = 0; i < l->member_count; i++) {
        struct metalog_member *m = &l->members[i];
        bool in = set & 1U << i;
        if (in && m->state == METALOG_JOINING)
            m->state = METALOG_IN;
        else if (!in && m->state == METALOG_LEAVING)
            m->state = METALOG_OUT;
    }
    /* One that failed while its join was under way is in the set now and leaves by the next change. */
    config_ask(l, a);
    commit_advance(l, a);
}

static void failed(struct metalog *l, unsigned member, struct metalog_actions *a)
{
    struct metalog_member *m = &l->members[member];
    bool asked = l->asked_epoch && (l->asked_set & 1U << member);
    if (m->state == METALOG_JOINING && !asked)
        m->state = METALOG_OUT; /* no configuration names it yet */
    else if (takes_entries(m))
        m->state = METALOG_LEAVING;
    config_ask(l, a);
    commit_advance(l, a);
}

static int propose(struct metalog *l, struct metalog_actions *a)
{
    if (l->halted)
        return METALOG_REFUSED;
    l->tail++;
    for (unsigned i = 0; i < l->member_count; i++)
        if (takes_entries(&l->members[i]))
            act(a, (struct metalog_action){.kind = METALOG_APPEND, .member = i, .seq = l->tail, .epoch = l->epoch});
    return 0;
}

static void durable(struct metalog *l, const struct metalog_event *e, struct metalog_actions *a)
{
    struct metalog_member *m = &l->members[e->member];
    if (!takes_entries(m) || e->seq <= m->durable || e->seq > l->tail)
        return;
    m->durable = e->seq;
    commit_advance(l, a);
    config_ask(l, a);
}

static void join(struct metalog *l, const struct metalog_event *e, struct metalog_actions *a)
{
    struct metalog_member *m = &l->members[e->member];
    if (m->state != METALOG_OUT || e->seq > l->tail)
        return;
    *m = (struct metalog_member){METALOG_JOINING, e->seq};
    config_ask(l, a);
}

int metalog_step(struct metalog *l, const struct metalog_event *e, struct metalog_actions *ret)
{
    ret->count = 0;
    assert(e->member < l->member_count || e->kind == METALOG_PROPOSE || e->kind == METALOG_CONFIG_DONE);
    switch (e->kind) {
    case METALOG_PROPOSE:
        return propose(l, ret);
    case METALOG_DURABLE:
        durable(l, e, ret);
        return 0;
    case METALOG_FAILED:
        failed(l, e->member, ret);
        return 0;
    case METALOG_JOIN:
        join(l, e, ret);
        return 0;
    case METALOG_CONFIG_DONE:
        config_done(l, e, ret);
        return 0;
    }
    return 0;
}

int metalog_choose(const struct metalog_copy *copies, unsigned count, bool force, unsigned *ret_index)
{
    const struct metalog_copy *best = NULL;
    for (unsigned i = 0; i < count; i++) {
        const struct metalog_copy *c = &copies[i];
        if (!c->good || (!c->in_sync && !force))
            continue;
        if (!best || c->epoch > best->epoch || (c->epoch == best->epoch && c->seq > best->seq))
            best = c;
    }
    if (!best)
        return METALOG_NO_COPY;
    *ret_index = (unsigned)(best - copies);
    return 0;
}
