/* Writes when things go wrong: drives that fail or hang, pools that run out, streams that are dropped half-way. */
#include "client/internal.h"
#include "common/err.h"
#include "tests/lib/client_rig.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static const struct rig_conf six = {.k = 4, .m = 2, .stores = 6}, eight = {.k = 4, .m = 2, .stores = 8};
static uint8_t bytes[24 * MIB];

static void fill_bytes(void)
{
    rig_fill(bytes, sizeof bytes, 2);
}
TestSuite(client_write, .init = fill_bytes);

/* Everything that was taken has been given back. */
static void check_calm(struct rig *r)
{
    rig_quiet(r);
    cr_assert_eq(bufpool_used_bytes(r->client->write_pool), 0);
    cr_assert_eq(bufpool_used_bytes(r->client->read_pool), 0);
    cr_assert_eq(r->client->refs, 1);
    cr_assert_eq(r->client->decodes, 0);
}

Test(client_write, a_failed_drive_is_replaced_by_a_spare_and_the_extent_says_so)
{
    struct rig r;
    struct rig_put put;
    rig_open(&r, &eight);
    r.peer->stores[3].mode = PEER_FAIL;
    cr_assert_eq(rig_put(&r, &put, bytes, 12 * MIB), 0);
    const Pb__Extent *e = put.extents[0];
    cr_assert_eq(e->n_lost, 0);
    cr_assert_gt(e->n_handoffs, 0);
    for (size_t i = 0; i < e->n_handoffs; i++)
        cr_assert_neq(e->handoffs[i]->store, 3);
    cr_assert_eq(rig_get(&r, &put, 0, 12 * MIB, bytes, NULL), 0);
    rig_put_free(&r, &put, true);
    check_calm(&r);
    rig_close(&r);
}

Test(client_write, without_a_spare_the_fragment_is_recorded_as_lost)
{
    struct rig r;
    struct rig_put put;
    rig_open(&r, &six);
    r.peer->stores[3].mode = PEER_FAIL;
    cr_assert_eq(rig_put(&r, &put, bytes, 12 * MIB), 0);
    cr_assert_eq(put.extents[0]->n_lost, 3, "one of each stripe");
    cr_assert_eq(put.extents[0]->n_handoffs, 0);
    r.peer->stores[3].mode = PEER_GOOD;
    unsigned reads = r.peer->stores[3].reads;
    cr_assert_eq(rig_get(&r, &put, 0, 12 * MIB, bytes, NULL), 0);
    cr_assert_eq(r.peer->stores[3].reads, reads, "nobody asks for what is known to be missing");
    rig_put_free(&r, &put, true);
    check_calm(&r);
    rig_close(&r);
}

Test(client_write, fewer_than_w_fail_with_e_quorum_and_leave_nothing_behind)
{
    struct rig r;
    struct rig_put put;
    rig_open(&r, &six);
    r.peer->stores[1].mode = r.peer->stores[4].mode = PEER_FAIL;
    cr_assert_eq(rig_put(&r, &put, bytes, 24 * MIB), E_QUORUM);
    r.peer->stores[1].mode = r.peer->stores[4].mode = PEER_GOOD;
    rig_put_free(&r, &put, false);
    check_calm(&r);
    cr_assert_eq(r.peer->frag_count, 0);
    rig_close(&r);
}

Test(client_write, an_uncommitted_write_is_swept_from_handoffs_too)
{
    struct rig r;
    struct rig_put put, kept;
    rig_open(&r, &eight);
    r.peer->stores[0].mode = PEER_FAIL;
    cr_assert_eq(rig_put(&r, &kept, bytes, 5 * MIB), 0);
    uint64_t before = r.peer->frag_count;
    cr_assert_eq(rig_put(&r, &put, bytes, 24 * MIB), 0);
    cr_assert_gt(put.extents[0]->n_handoffs, 0);
    rig_put_free(&r, &put, false);
    rig_quiet(&r);
    cr_assert_eq(r.peer->frag_count, before);
    cr_assert_eq(rig_get(&r, &kept, 0, 5 * MIB, bytes, NULL), 0);
    rig_put_free(&r, &kept, true);
    check_calm(&r);
    rig_close(&r);
}

Test(client_write, a_busy_drive_gets_a_second_try_in_place)
{
    struct rig r;
    struct rig_put put;
    rig_open(&r, &(struct rig_conf){.k = 1, .m = 1, .stores = 2});
    r.peer->fail_at = 2;
    r.peer->fail_err = E_UNAVAILABLE;
    cr_assert_eq(rig_put(&r, &put, bytes, MIB), 0);
    cr_assert_eq(put.extents[0]->n_lost + put.extents[0]->n_handoffs, 0);
    rig_put_free(&r, &put, true);
    rig_close(&r);
}

Test(client_write, a_hanging_drive_delays_a_write_by_seconds_and_keeps_its_memory_safe)
{
    struct rig r;
    struct rig_put put;
    rig_open(&r, &six);
    r.peer->stores[2].mode = PEER_HANG;
    rig_put_start(&r, &put, &(struct rig_put_conf){.p = bytes, .n = 4 * MIB});
    rig_settle(&r);
    cr_assert(r.peer->hung);
    cr_assert(!put.done);
    rig_advance(&r, CLIENT_STRAGGLER_NS - 1000);
    cr_assert(!put.done);
    rig_advance(&r, 2 * MS_NS);
    rig_until(&r, &put.done);
    cr_assert_eq(put.err, 0);
    cr_assert_eq(put.extents[0]->n_lost, 1);
    cr_assert_gt(bufpool_used_bytes(r.client->write_pool), 0, "the call under way still refers to the stripe");
    cr_assert_eq(rig_get(&r, &put, 0, 4 * MIB, bytes, NULL), 0);
    rig_put_free(&r, &put, true);
    cr_assert_gt(bufpool_used_bytes(r.client->write_pool), 0);
    r.peer->stores[2].mode = PEER_GOOD;
    peer_mem_release(r.peer);
    check_calm(&r);
    rig_close(&r);
}

Test(client_write, too_many_hanging_drives_end_at_the_deadline)
{
    struct rig r;
    struct rig_put put;
    rig_open(&r, &six);
    r.peer->stores[2].mode = r.peer->stores[3].mode = PEER_HANG;
    rig_put_start(&r, &put, &(struct rig_put_conf){.p = bytes, .n = 20 * MIB});
    rig_settle(&r);
    cr_assert(r.peer->hung);
    rig_advance(&r, CLIENT_WRITE_NS - 1000);
    cr_assert(!put.done);
    rig_advance(&r, 2 * MS_NS);
    rig_until(&r, &put.done);
    cr_assert_eq(put.err, E_QUORUM);
    rig_put_free(&r, &put, false);
    r.peer->stores[2].mode = r.peer->stores[3].mode = PEER_GOOD;
    peer_mem_release(r.peer);
    check_calm(&r);
    cr_assert_eq(r.peer->frag_count, 0, "swept only after the last write has ended");
    rig_close(&r);
}

Test(client_write, a_slow_drive_holds_the_stream_at_two_stripes)
{
    struct rig r;
    struct rig_put put;
    rig_open(&r, &six);
    uint64_t stripe = 6 * MIB;
    r.peer->stores[5].delay_ns = 100 * MS_NS;
    rig_put_start(&r, &put, &(struct rig_put_conf){.p = bytes, .n = 24 * MIB});
    for (size_t left = 16 * MIB;; left -= 8 * MIB) { /* two stripes go out together and settle together */
        rig_settle(&r);
        cr_assert_leq(bufpool_used_bytes(r.client->write_pool), 2 * stripe);
        cr_assert_eq(put.left, left);
        rig_advance(&r, 101 * MS_NS);
        if (left == 0)
            break;
    }
    rig_until(&r, &put.done);
    cr_assert_eq(put.err, 0);
    rig_put_free(&r, &put, true);
    rig_close(&r);
}

Test(client_write, many_streams_share_a_small_pool_without_deadlock)
{
    struct rig r;
    struct rig_put put[9];
    rig_open(&r, &(struct rig_conf){.k = 4, .m = 2, .stores = 6, .write_pool_bytes = 13 * MIB});
    for (unsigned i = 0; i < 9; i++)
        rig_put_start(&r, &put[i],
                      &(struct rig_put_conf){.p = bytes + i, .n = 9 * MIB, .expected = UINT64_MAX, .step = 300000});
    for (unsigned i = 0; i < 9; i++) {
        while (!put[i].done) {
            rig_turns(&r, 1);
            cr_assert_leq(bufpool_used_bytes(r.client->write_pool), 13 * MIB);
        }
        cr_assert_eq(put[i].err, 0);
        cr_assert_eq(rig_get(&r, &put[i], 0, 9 * MIB, bytes + i, NULL), 0);
    }
    for (unsigned i = 0; i < 9; i++)
        rig_put_free(&r, &put[i], true);
    check_calm(&r);
    rig_close(&r);
}

Test(client_write, a_small_object_takes_a_small_buffer)
{
    struct rig r;
    struct rig_put put;
    rig_open(&r, &six);
    r.peer->stores[0].mode = PEER_HANG;
    rig_put_start(&r, &put, &(struct rig_put_conf){.p = bytes, .n = 100000});
    cr_assert_leq(bufpool_used_bytes(r.client->write_pool), 200000);
    rig_settle(&r);
    r.peer->stores[0].mode = PEER_GOOD;
    peer_mem_release(r.peer);
    rig_until(&r, &put.done);
    cr_assert_eq(put.err, 0);
    rig_put_free(&r, &put, true);
    check_calm(&r);
    rig_close(&r);
}

Test(client_write, a_stream_may_be_dropped_at_any_time)
{
    struct rig r;
    rig_open(&r, &six);
    for (unsigned turns = 0; turns < 60; turns++) {
        struct rig_put put;
        rig_put_start(&r, &put,
                      &(struct rig_put_conf){.p = bytes, .n = 10 * MIB, .expected = turns % 2 ? UINT64_MAX : 0});
        for (unsigned i = 0; i < turns; i++) {
            loop_turn(r.loop);
            if (turns % 3 == 0)
                rig_turns(&r, 1);
        }
        client_write_free(put.w, false);
        cr_assert(!put.closed, "closed never runs inside client_write_free");
        uint64_t tapped = put.tapped;
        rig_until(&r, &put.closed);
        tapped = put.tapped;
        rig_turns(&r, 3);
        cr_assert_eq(put.tapped, tapped, "no tap after closed");
    }
    check_calm(&r);
    cr_assert_eq(r.peer->frag_count, 0);
    rig_close(&r);
}

static void drop_now(void *ctx, int err, const struct client_write_result *res)
{
    struct rig_put *put = ctx;
    put->err = err;
    put->done = true;
    cr_assert_eq(res == NULL, err != 0);
    client_write_free(put->w, false);
}

Test(client_write, a_stream_may_be_dropped_inside_its_callback)
{
    struct rig r;
    rig_open(&r, &six);
    for (unsigned bad = 0; bad < 4; bad++) {
        struct rig_put put = {.rig = &r, .tap_hash = 7};
        for (unsigned s = 0; s < bad; s++)
            r.peer->stores[s].mode = PEER_FAIL;
        struct client_write_conf conf = {.expected_bytes = 1000000};
        cr_assert_eq(client_write_open(r.client, &conf, &put.w), 0);
        uint8_t *p;
        size_t n;
        client_write_space(put.w, &p, &n, NULL, NULL);
        memcpy(p, bytes, 1000000);
        client_write_advance(put.w, 1000000);
        client_write_finish(put.w, drop_now, &put);
        cr_assert(!put.done, "never inside the call");
        rig_until(&r, &put.done);
        cr_assert_eq(put.err, bad > 1 ? E_QUORUM : 0);
    }
    check_calm(&r);
    rig_close(&r);
}

/* Fails the first, second, third ... call of a write, until a run has none left to fail. */
Test(client_write, fault_loop_over_every_call)
{
    static const int errors[] = {E_UNAVAILABLE, -EIO, -ENOSPC, RPC_NOT_FOUND};
    static const struct rig_conf confs[] = {{1, 0, 1, 0, 0}, {1, 1, 2, 0, 0}, {4, 2, 6, 0, 0}, {4, 2, 7, 0, 0}};
    for (size_t c = 0; c < ARRAY_LEN(confs); c++) {
        struct rig r;
        rig_open(&r, &confs[c]);
        for (size_t e = 0; e < ARRAY_LEN(errors); e++) {
            bool hit = true;
            for (unsigned at = 1; hit; at++) {
                struct rig_put put;
                r.peer->fail_at = at;
                r.peer->fail_err = errors[e];
                int err = rig_put(&r, &put, bytes, 4 * MIB + 5000);
                rig_turns(&r, 1);
                hit = r.peer->fail_at == 0;
                r.peer->fail_at = 0;
                cr_assert(err == 0 || (err == E_QUORUM && confs[c].m < 2), "%u+%u call %u: %d", confs[c].k, confs[c].m,
                          at, err);
                if (!err)
                    cr_assert_eq(rig_get(&r, &put, 0, 4 * MIB + 5000, bytes, NULL), 0);
                rig_put_free(&r, &put, err == 0);
                cr_assert_lt(at, 100);
            }
        }
        check_calm(&r);
        rig_close(&r);
    }
}

static void set_flag(void *ctx)
{
    *(bool *)ctx = true;
}

Test(client_write, draining_waits_for_ghosts)
{
    struct rig r;
    struct rig_put put;
    rig_open(&r, &six);
    r.peer->stores[2].mode = PEER_HANG;
    rig_put_start(&r, &put, &(struct rig_put_conf){.p = bytes, .n = 4 * MIB});
    rig_settle(&r);
    cr_assert(r.peer->hung);
    rig_put_free(&r, &put, false);
    bool drained = false;
    client_drain(r.client, set_flag, &drained);
    rig_settle(&r);
    cr_assert(!drained);
    r.peer->stores[2].mode = PEER_GOOD;
    peer_mem_release(r.peer);
    rig_until(&r, &drained);
    cr_assert_eq(r.peer->out, 0);
    cr_assert_eq(r.peer->frag_count, 0, "swept before it was drained");
    drained = false;
    client_drain(r.client, set_flag, &drained);
    cr_assert(!drained);
    rig_until(&r, &drained);
    rig_close(&r);
}

Test(client_write, ghosts_of_a_closed_client_send_nothing_new)
{
    struct rig r;
    struct rig_put put;
    rig_open(&r, &eight);
    r.peer->stores[2].mode = PEER_HANG;
    rig_put_start(&r, &put, &(struct rig_put_conf){.p = bytes, .n = 9 * MIB});
    rig_settle(&r);
    cr_assert(r.peer->hung);
    rig_put_free(&r, &put, false);
    client_close(r.client);
    uint64_t calls = r.peer->calls;
    r.peer->stores[2].mode = PEER_FAIL; /* would be handed to a spare, then swept */
    peer_mem_release(r.peer);
    rig_quiet(&r);
    cr_assert_eq(r.peer->calls, calls);
    rig_client(&r, &eight);
    rig_close(&r);
}

Test(client_write, space_is_announced_when_the_write_has_failed)
{
    struct rig r;
    struct rig_put put;
    rig_open(&r, &six);
    for (unsigned s = 0; s < 6; s++)
        r.peer->stores[s].mode = PEER_FAIL;
    rig_put_start(&r, &put, &(struct rig_put_conf){.p = bytes, .n = 24 * MIB});
    rig_until(&r, &put.done);
    cr_assert_eq(put.err, E_QUORUM);
    cr_assert_eq(client_write_status(put.w), E_QUORUM);
    rig_put_free(&r, &put, false);
    check_calm(&r);
    rig_close(&r);
}
