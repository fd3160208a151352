/* quorum - one stripe's fragments on their way to durable, or lost. The rule W is never lowered: a stripe that cannot
 * have W durable fragments fails, whatever was written. */
#include "replication/quorum.h"

void quorum_init(struct quorum *q, const struct stripe *s, const uint16_t *row, const uint16_t *spares,
                 unsigned spare_count)
{
    assert(spare_count <= QUORUM_SPARES_MAX);
    *q = (struct quorum){.width = s->k + s->m, .stored = stripe_stored(s), .need = quorum_for(s->data_count, s->m)};
    for (unsigned f = 0; f < q->width; f++) {
        q->frags[f].store = row[f];
        q->frags[f].state = stripe_has(s, f) ? FRAG_SENDING : FRAG_VOID;
    }
    q->sending = q->stored;
    q->spare_count = spare_count;
    memcpy(q->spares, spares, spare_count * sizeof *spares);
    assert(q->need <= q->stored);
}

enum quorum_verdict quorum_verdict(const struct quorum *q)
{
    if (q->durable >= q->need)
        return QUORUM_ACKNOWLEDGED;
    return q->stored - q->lost < q->need ? QUORUM_FAILED : QUORUM_OPEN;
}

static void lose(struct quorum *q, struct quorum_frag *f)
{
    assert(f->state == FRAG_SENDING);
    f->state = FRAG_LOST;
    q->sending--;
    q->lost++;
}

/* Another try for a failed fragment; false: there is no place left. Once the stripe has failed nothing is worth
 * sending. */
static bool try_again(struct quorum *q, struct quorum_frag *f, bool may_pass)
{
    if (quorum_verdict(q) == QUORUM_FAILED)
        return false;
    if (q->spare_next < q->spare_count) {
        f->store = q->spares[q->spare_next++];
        f->handoff = true;
        f->again = false;
        return true;
    }
    if (may_pass && !f->again)
        return f->again = true;
    return false;
}

static void give_up_all(struct quorum *q)
{
    for (unsigned i = 0; i < q->width; i++) {
        if (q->frags[i].state == FRAG_SENDING)
            lose(q, &q->frags[i]);
    }
}

struct quorum_action quorum_step(struct quorum *q, struct quorum_event ev)
{
    struct quorum_action act = {.fragment = ev.fragment};
    enum quorum_verdict before = quorum_verdict(q);
    assert(ev.kind == QUORUM_DEADLINE || (ev.fragment < q->width && q->frags[ev.fragment].state != FRAG_VOID));
    if (ev.kind == QUORUM_DEADLINE) {
        give_up_all(q);
    } else if (q->frags[ev.fragment].state == FRAG_SENDING) {
        struct quorum_frag *f = &q->frags[ev.fragment];
        if (ev.kind == QUORUM_DONE) {
            f->state = FRAG_DURABLE;
            q->sending--;
            q->durable++;
        } else if (!(act.send = try_again(q, f, ev.may_pass))) {
            lose(q, f);
        }
    }
    assert(q->sending + q->durable + q->lost == q->stored);
    act.verdict_new = quorum_verdict(q) != before;
    act.settled = q->sending == 0;
    return act;
}
