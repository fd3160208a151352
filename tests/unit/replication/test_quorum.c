/* A quorum write acknowledges at W and never below, moves failed fragments on, and always settles. */
#include "replication/quorum.h"
#include <criterion/criterion.h>
#include <stdlib.h>

static const uint16_t row[] = {10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20};
static const uint16_t spare_list[] = {30, 31, 32};

static struct quorum quorum_of(uint64_t length, unsigned k, unsigned m, unsigned spares)
{
    struct stripe s = stripe_of(length, k, m);
    struct quorum q;
    quorum_init(&q, &s, row, spare_list, spares);
    return q;
}

static struct quorum_action step(struct quorum *q, enum quorum_event_kind kind, unsigned fragment, bool may_pass)
{
    return quorum_step(q, (struct quorum_event){.kind = kind, .fragment = fragment, .may_pass = may_pass});
}

Test(quorum, the_rule_is_one_more_than_decoding_needs)
{
    static const unsigned rule[][3] = {{1, 0, 1}, {4, 0, 4},  {1, 1, 2},   {2, 1, 3}, {2, 2, 3},
                                       {4, 2, 5}, {8, 3, 10}, {10, 4, 12}, {1, 2, 2}};
    for (size_t i = 0; i < ARRAY_LEN(rule); i++)
        cr_assert_eq(quorum_for(rule[i][0], rule[i][1]), rule[i][2], "%u+%u", rule[i][0], rule[i][1]);
}

Test(quorum, acknowledges_at_w_and_settles_at_the_last)
{
    struct quorum q = quorum_of(4 * MIB, 4, 2, 0);
    for (unsigned f = 0; f < 6; f++) {
        struct quorum_action a = step(&q, QUORUM_DONE, f, false);
        cr_assert_eq(a.verdict_new, f == 4);
        cr_assert_eq(a.settled, f == 5);
        cr_assert(!a.send);
        cr_assert_eq(quorum_verdict(&q), f >= 4 ? QUORUM_ACKNOWLEDGED : QUORUM_OPEN);
    }
}

Test(quorum, void_fragments_are_neither_sent_nor_counted)
{
    struct quorum q = quorum_of(1, 4, 2, 0);
    cr_assert_eq(q.sending, 3);
    cr_assert_eq(q.need, 2);
    for (unsigned f = 0; f < 6; f++)
        cr_assert_eq(q.frags[f].state, f == 0 || f > 3 ? FRAG_SENDING : FRAG_VOID);
    step(&q, QUORUM_DONE, 0, false);
    cr_assert(step(&q, QUORUM_DONE, 5, false).verdict_new);
}

Test(quorum, a_failed_fragment_is_handed_to_each_spare_then_lost)
{
    struct quorum q = quorum_of(4 * MIB, 4, 2, 2);
    struct quorum_action a = step(&q, QUORUM_ERROR, 3, false);
    cr_assert(a.send && a.fragment == 3 && q.frags[3].store == 30 && q.frags[3].handoff);
    a = step(&q, QUORUM_ERROR, 3, false);
    cr_assert(a.send && q.frags[3].store == 31);
    a = step(&q, QUORUM_ERROR, 3, false);
    cr_assert(!a.send && q.frags[3].state == FRAG_LOST && !a.settled);
    cr_assert_eq(quorum_verdict(&q), QUORUM_OPEN);
}

Test(quorum, a_failure_that_may_pass_gets_one_more_try_in_place)
{
    struct quorum q = quorum_of(4 * MIB, 1, 1, 0);
    struct quorum_action a = step(&q, QUORUM_ERROR, 1, true);
    cr_assert(a.send && q.frags[1].store == 11 && !q.frags[1].handoff);
    a = step(&q, QUORUM_ERROR, 1, true);
    cr_assert(!a.send && a.verdict_new && quorum_verdict(&q) == QUORUM_FAILED);
    a = step(&q, QUORUM_ERROR, 0, true);
    cr_assert(!a.send && a.settled, "a failed stripe sends nothing more");
}

Test(quorum, fails_as_soon_as_w_is_out_of_reach)
{
    struct quorum q = quorum_of(4 * MIB, 4, 2, 0);
    step(&q, QUORUM_ERROR, 0, false);
    struct quorum_action a = step(&q, QUORUM_ERROR, 1, false);
    cr_assert(a.verdict_new && !a.settled);
    cr_assert_eq(quorum_verdict(&q), QUORUM_FAILED);
    for (unsigned f = 2; f < 6; f++)
        a = step(&q, QUORUM_DONE, f, false);
    cr_assert(a.settled);
    cr_assert_eq(quorum_verdict(&q), QUORUM_FAILED, "four of 4+2 are never enough");
}

Test(quorum, the_deadline_loses_what_is_under_way_and_late_answers_change_nothing)
{
    struct quorum q = quorum_of(4 * MIB, 4, 2, 3);
    for (unsigned f = 0; f < 5; f++)
        step(&q, QUORUM_DONE, f, false);
    struct quorum_action a = quorum_step(&q, (struct quorum_event){.kind = QUORUM_DEADLINE});
    cr_assert(a.settled && !a.verdict_new && q.frags[5].state == FRAG_LOST);
    a = step(&q, QUORUM_DONE, 5, false);
    cr_assert(a.settled && q.frags[5].state == FRAG_LOST && q.durable == 5);
}

/* Random events: the verdict follows from what is durable, sent fragments never share a store, and it always settles.
 */
Test(quorum, random_histories_keep_the_invariants)
{
    static const unsigned codes[][2] = {{1, 0}, {1, 1}, {2, 1}, {2, 2}, {4, 2}, {8, 3}};
    srand(1);
    for (unsigned round = 0; round < 20000; round++) {
        unsigned c = (unsigned)rand() % ARRAY_LEN(codes), bad = (unsigned)rand() % 100;
        struct quorum q = quorum_of(1 + (uint64_t)rand() % (4 * MIB), codes[c][0], codes[c][1], (unsigned)rand() % 4);
        bool acknowledged = false;
        for (unsigned steps = 0; q.sending > 0; steps++) {
            cr_assert_lt(steps, 1000);
            unsigned f = (unsigned)rand() % q.width;
            if (q.frags[f].state != FRAG_SENDING)
                continue;
            if (rand() % 50 == 0)
                quorum_step(&q, (struct quorum_event){.kind = QUORUM_DEADLINE});
            else
                step(&q, (unsigned)rand() % 100 < bad ? QUORUM_ERROR : QUORUM_DONE, f, rand() % 2);
            for (unsigned i = 0; i < q.width; i++) {
                for (unsigned j = 0; j < i; j++)
                    cr_assert_neq(q.frags[i].store, q.frags[j].store);
            }
            acknowledged |= quorum_verdict(&q) == QUORUM_ACKNOWLEDGED;
            cr_assert(!acknowledged || quorum_verdict(&q) == QUORUM_ACKNOWLEDGED,
                      "an acknowledgement is never taken back");
        }
        unsigned durable = 0;
        for (unsigned i = 0; i < q.width; i++)
            durable += q.frags[i].state == FRAG_DURABLE;
        cr_assert_eq(quorum_verdict(&q), durable >= q.need ? QUORUM_ACKNOWLEDGED : QUORUM_FAILED);
    }
}
