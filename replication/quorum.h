/* quorum - the quorum write of one stripe as a pure step: events in, actions out; no sockets, clocks or memory inside.
 *
 * Every stored fragment is sent to its home store. One that fails is sent again elsewhere: to the next spare store (a
 * handoff, which the extent records), or, when no spare is left and the failure may pass, once more to the same store.
 * A fragment without a place left is lost (recorded too, a repair row follows). W durable fragments acknowledge the
 * stripe. It is settled when nothing is under way any more; a deadline gives up what still is.
 * Thread: pure. Memory: the caller's. Limits: CODEC_WIDTH_MAX fragments, QUORUM_SPARES_MAX spares. */
#pragma once
#include "replication/stripe.h"

#define QUORUM_SPARES_MAX 32

/* Fragments that must be durable before a write is acknowledged: k + half of m rounded up (0: k; 1+1 2, 2+1 3, 2+2 3,
 * 4+2 5, 8+3 10, 10+4 12): never fewer than one more than decoding needs where there is parity. */
static inline unsigned quorum_for(unsigned k, unsigned m)
{
    return k + (m + 1) / 2;
}

enum quorum_state { FRAG_VOID, FRAG_SENDING, FRAG_DURABLE, FRAG_LOST };
enum quorum_verdict { QUORUM_OPEN, QUORUM_ACKNOWLEDGED, QUORUM_FAILED };

struct quorum_frag {
    enum quorum_state state;
    uint16_t store; /* where it is sent or stands now */
    bool handoff;   /* store is not its home */
    bool again;     /* the second try at one store was spent */
};
struct quorum {
    unsigned width, stored, need; /* need: W */
    unsigned sending, durable, lost;
    unsigned spare_next, spare_count;
    uint16_t spares[QUORUM_SPARES_MAX];
    struct quorum_frag frags[CODEC_WIDTH_MAX];
};

enum quorum_event_kind { QUORUM_DONE, QUORUM_ERROR, QUORUM_DEADLINE };
struct quorum_event {
    enum quorum_event_kind kind;
    unsigned fragment; /* DONE, ERROR */
    bool may_pass;     /* ERROR: another try at the same store may succeed */
};
/* What to do after a step. */
struct quorum_action {
    bool send; /* send `fragment` to frags[fragment].store */
    unsigned fragment;
    bool verdict_new; /* the verdict changed with this step */
    bool settled;     /* nothing is under way any more */
};

/* row: the home store of each fragment; spares: others, best first. Then every FRAG_SENDING fragment is to be sent. */
void quorum_init(struct quorum *q, const struct stripe *s, const uint16_t *row, const uint16_t *spares,
                 unsigned spare_count);
/* A fragment that is not FRAG_SENDING any more (given up at the deadline) ignores its late event. */
struct quorum_action quorum_step(struct quorum *q, struct quorum_event ev);
/* FAILED as soon as W cannot be reached. */
enum quorum_verdict quorum_verdict(const struct quorum *q);
