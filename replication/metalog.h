/* metalog - the core of a replicated log: primary-backup with an in-sync set, fenced by configuration epochs. Pure: an
 * event goes in, actions come out; no disks, sockets, clocks or randomness.
 *
 * An entry is committed when it is durable on every in-sync member, and on no fewer than `quorum` of them. A member
 * that fails leaves by a change of configuration; a joiner is waited for before its configuration is asked for (R4), a
 * leaver until the change is known to be done (R5), and nothing is committed meanwhile but what all of both sets hold.
 * The first configuration of a start has a higher epoch than any before (R6): the driver makes it before it calls
 * metalog_init. The driver makes a configuration durable by compare-and-swap (a majority of the replicas' own registers
 * on one machine, the coordination store on many) and says how that went. It applies and answers only what is
 * committed. Thread: one. Memory: the caller's. Errors: METALOG_REFUSED when no entry can be taken. Source: design.md,
 * "Metadata", R1-R9. */
#pragma once
#include "common/base.h"

#define METALOG_MEMBERS_MAX 8
#define METALOG_ACTIONS_MAX (2 * METALOG_MEMBERS_MAX + 4)

enum metalog_member_state {
    METALOG_OUT,     /* does not count; may come back as a joiner */
    METALOG_JOINING, /* counts already, its configuration is not done yet */
    METALOG_IN,
    METALOG_LEAVING, /* failed; its leave is not done yet, so nothing commits without it */
};
struct metalog_member {
    enum metalog_member_state state;
    uint64_t durable; /* every entry to here is on its stable storage */
};
struct metalog {
    struct metalog_member members[METALOG_MEMBERS_MAX];
    unsigned member_count;
    unsigned quorum; /* least size of an in-sync set: a majority of the members */
    uint64_t epoch;
    uint64_t tail, commit; /* last entry taken, last entry committed */
    uint64_t asked_epoch;  /* a configuration is being written; 0: none */
    uint32_t asked_set;    /* its in-sync set, a bit a member */
    bool halted;           /* too few members: no entry is taken or committed any more */
};

enum metalog_event_kind {
    METALOG_PROPOSE,     /* an entry is ready to be taken as tail + 1 */
    METALOG_DURABLE,     /* member holds every entry to seq */
    METALOG_FAILED,      /* member failed and will take nothing more */
    METALOG_JOIN,        /* an OUT member holds every entry to seq, and gets all later ones */
    METALOG_CONFIG_DONE, /* the configuration of epoch is durable (ok) or will never be (not ok) */
};
struct metalog_event {
    enum metalog_event_kind kind;
    unsigned member;
    uint64_t seq, epoch;
    bool ok;
};

enum metalog_action_kind {
    METALOG_APPEND,       /* write entry seq to member */
    METALOG_COMMIT,       /* everything to seq is committed */
    METALOG_WRITE_CONFIG, /* make the configuration (epoch, set) durable, then METALOG_CONFIG_DONE */
    METALOG_HALT,         /* what is not committed now has an unknown outcome */
};
struct metalog_action {
    enum metalog_action_kind kind;
    unsigned member;
    uint64_t seq, epoch;
    uint32_t set;
};
struct metalog_actions {
    struct metalog_action list[METALOG_ACTIONS_MAX];
    unsigned count;
};

enum { METALOG_REFUSED = 1 };

/* in_set: the members that hold everything to tail; at least quorum of them. */
void metalog_init(struct metalog *l, unsigned member_count, unsigned quorum, uint32_t in_set, uint64_t epoch,
                  uint64_t tail);
/* 0, or METALOG_REFUSED for a proposal while halted. ret is emptied first. */
int metalog_step(struct metalog *l, const struct metalog_event *e, struct metalog_actions *ret);
uint32_t metalog_in_set(const struct metalog *l);
static inline unsigned metalog_majority(unsigned members)
{
    return members / 2 + 1;
}

/* Which copy a start goes on from. A copy that is damaged or lost its register does not count. */
struct metalog_copy {
    bool good;           /* its register, log and database can be read */
    bool in_sync;        /* by the newest configuration that any copy knows */
    uint64_t epoch, seq; /* of its last entry */
};
enum { METALOG_NO_COPY = 1 };
/* force: the operator says that missing copies are not newer; then a copy out of sync may be chosen too. */
int metalog_choose(const struct metalog_copy *copies, unsigned count, bool force, unsigned *ret_index);
