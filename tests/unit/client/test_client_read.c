/* Reads when things go wrong: drives that hang or come and go, a pool that runs out, readers that are slow or leave. */
#include "client/internal.h"
#include "common/err.h"
#include "tests/lib/client_rig.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static const struct rig_conf six = {.k = 4, .m = 2, .stores = 6};
static uint8_t bytes[9 * MIB];

static void fill_bytes(void)
{
    rig_fill(bytes, sizeof bytes, 3);
}
TestSuite(client_read, .init = fill_bytes);

static void check_calm(struct rig *r)
{
    rig_quiet(r);
    cr_assert_eq(bufpool_used_bytes(r->client->read_pool), 0);
    cr_assert_eq(r->client->refs, 1);
    cr_assert_eq(r->client->decodes, 0);
}

/* A reader that takes one slice when told to. */
struct reader {
    struct client_read *r;
    uint64_t n;
    bool came, ended;
    int err;
    struct slice slice;
};

static void reader_came(void *ctx, int err, struct slice s)
{
    struct reader *d = ctx;
    d->came = true;
    d->err = err;
    d->ended = err || s.len == 0;
    cr_assert(s.len == 0 || memcmp(slice_data(s), bytes + d->n, s.len) == 0);
    d->n += s.len;
    d->slice = s;
}

static void reader_open(struct rig *r, struct reader *d, const struct rig_put *put, uint64_t length)
{
    *d = (struct reader){0};
    cr_assert_eq(client_read_open(r->client, &put->object, put->inline_data, 0, length, &d->r), 0);
}

static void reader_next(struct reader *d)
{
    buf_unref(d->slice.buf);
    d->slice = (struct slice){0};
    d->came = false;
    client_read_next(d->r, reader_came, d);
}

static void reader_free(struct reader *d)
{
    buf_unref(d->slice.buf);
    client_read_free(d->r);
}

/* A drive that hangs costs one wait; then it is read around until it has answered again. */
Test(client_read, a_hanging_drive_is_waited_for_once)
{
    struct rig r;
    struct rig_put put;
    struct reader d;
    rig_open(&r, &six);
    r.clock.mono_now_ns += 100 * SEC_NS;
    cr_assert_eq(rig_put(&r, &put, bytes, 9 * MIB), 0);
    for (unsigned s = 0; s < 2; s++)
        r.peer->stores[s].mode = PEER_HANG;
    reader_open(&r, &d, &put, 9 * MIB);
    unsigned waits = 0;
    while (!d.ended) {
        reader_next(&d);
        rig_settle(&r);
        for (; !d.came; waits++) {
            cr_assert_lt(waits, 40);
            rig_advance(&r, CLIENT_READ_NS + 2 * MS_NS);
            rig_settle(&r);
        }
        r.clock.mono_now_ns += 20 * MS_NS; /* a slow reader, so that nothing is read ahead */
    }
    cr_assert_eq(d.err, 0);
    cr_assert_eq(d.n, 9 * MIB);
    cr_assert_leq(waits, 6, "%u waits of 10 s", waits);
    reader_free(&d);
    r.peer->stores[0].mode = r.peer->stores[1].mode = PEER_GOOD;
    peer_mem_release(r.peer); /* late answers find nobody and harm nothing */
    rig_put_free(&r, &put, true);
    check_calm(&r);
    rig_close(&r);
}

Test(client_read, a_late_answer_does_not_spoil_what_was_decoded)
{
    struct rig r;
    struct rig_put put;
    struct reader d;
    rig_open(&r, &six);
    r.peer->fills_into = true;
    cr_assert_eq(rig_put(&r, &put, bytes, 64 * KIB), 0);
    for (unsigned s = 0; s < 6; s++)
        r.peer->stores[s].mode = PEER_HANG;
    reader_open(&r, &d, &put, 64 * KIB);
    reader_next(&d);
    rig_settle(&r);
    for (unsigned s = 0; s < 6; s++)
        r.peer->stores[s].mode = PEER_GOOD;
    rig_advance(&r, CLIENT_READ_NS + 2 * MS_NS);
    rig_until(&r, &d.came);
    cr_assert_eq(d.err, 0);
    struct slice held = d.slice;
    cr_assert_gt(held.len, 0);
    peer_mem_release(r.peer);
    rig_turns(&r, 10);
    cr_assert_arr_eq(slice_data(held), bytes, held.len);
    reader_free(&d);
    rig_put_free(&r, &put, true);
    check_calm(&r);
    rig_close(&r);
}

Test(client_read, slow_readers_hold_one_unit_each_and_a_full_pool_makes_others_wait_in_order)
{
    enum { READERS = 40, FIT = 16 };
    struct rig r;
    struct rig_put put;
    static struct reader d[READERS];
    rig_open(&r, &(struct rig_conf){.k = 4, .m = 2, .stores = 6, .read_pool_bytes = FIT * CLIENT_READ_UNIT});
    cr_assert_eq(rig_put(&r, &put, bytes, 9 * MIB), 0);
    for (unsigned i = 0; i < READERS; i++) {
        reader_open(&r, &d[i], &put, 9 * MIB);
        reader_next(&d[i]);
    }
    rig_settle(&r);
    for (unsigned i = 0; i < READERS; i++)
        cr_assert_eq(d[i].came, i < FIT, "reader %u", i);
    cr_assert_leq(bufpool_used_bytes(r.client->read_pool), FIT * CLIENT_READ_UNIT);
    for (unsigned i = 0; i < READERS; i++) { /* each that leaves lets the next in line go on */
        cr_assert(d[i].came);
        reader_free(&d[i]);
        rig_settle(&r);
    }
    rig_put_free(&r, &put, true);
    check_calm(&r);
    rig_close(&r);
}

Test(client_read, only_a_quick_reader_is_read_ahead_for)
{
    struct rig r;
    struct rig_put put;
    struct reader slow, quick;
    rig_open(&r, &six);
    r.clock.mono_now_ns = SEC_NS;
    cr_assert_eq(rig_put(&r, &put, bytes, 9 * MIB), 0);
    reader_open(&r, &slow, &put, 9 * MIB);
    for (unsigned i = 0; i < 6; i++) {
        reader_next(&slow);
        rig_until(&r, &slow.came);
        rig_settle(&r);
        cr_assert_leq(bufpool_used_bytes(r.client->read_pool), CLIENT_READ_UNIT);
        r.clock.mono_now_ns += 50 * MS_NS;
    }
    reader_free(&slow);
    reader_open(&r, &quick, &put, 9 * MIB);
    for (unsigned i = 0; i < 6; i++) {
        reader_next(&quick);
        rig_until(&r, &quick.came);
        rig_settle(&r);
        cr_assert_leq(bufpool_used_bytes(r.client->read_pool), 3 * CLIENT_READ_UNIT);
    }
    cr_assert_geq(bufpool_used_bytes(r.client->read_pool), 2 * CLIENT_READ_UNIT);
    reader_free(&quick);
    rig_put_free(&r, &put, true);
    check_calm(&r);
    rig_close(&r);
}

Test(client_read, many_degraded_readers_take_turns)
{
    enum { READERS = 3 * CLIENT_DECODES_MAX };
    struct rig r;
    struct rig_put put;
    static struct reader d[READERS];
    rig_open(&r, &six);
    cr_assert_eq(rig_put(&r, &put, bytes, 4 * MIB), 0);
    r.peer->stores[0].mode = r.peer->stores[1].mode = PEER_FAIL;
    for (unsigned i = 0; i < 6; i++)
        r.peer->stores[i].delay_ns = MS_NS;
    for (unsigned i = 0; i < READERS; i++) {
        reader_open(&r, &d[i], &put, 4 * MIB);
        reader_next(&d[i]);
    }
    for (unsigned alive = READERS, rounds = 0; alive > 0; rounds++) {
        cr_assert_lt(rounds, 2000000);
        r.clock.mono_now_ns += MS_NS;
        loop_turn(r.loop);
        cr_assert_leq(r.client->decodes, CLIENT_DECODES_MAX);
        for (unsigned i = 0; i < READERS; i++) {
            if (!d[i].r || !d[i].came)
                continue;
            cr_assert_eq(d[i].err, 0);
            if (d[i].ended || (i % 5 == 4 && d[i].n > 200000)) { /* some leave in the middle */
                cr_assert(!d[i].ended || d[i].n == 4 * MIB);
                reader_free(&d[i]);
                d[i].r = NULL;
                alive--;
            } else {
                reader_next(&d[i]);
            }
        }
    }
    rig_put_free(&r, &put, true);
    for (unsigned i = 0; i < 6; i++)
        r.peer->stores[i].delay_ns = 0;
    r.clock.mono_now_ns += SEC_NS;
    check_calm(&r);
    rig_close(&r);
}

Test(client_read, a_reader_may_leave_at_any_time)
{
    struct rig r;
    struct rig_put put;
    rig_open(&r, &six);
    cr_assert_eq(rig_put(&r, &put, bytes, 9 * MIB), 0);
    for (unsigned turns = 0; turns < 120; turns++) {
        struct reader d;
        r.peer->stores[turns % 6].mode = turns % 4 < 2 ? PEER_FAIL : PEER_CORRUPT;
        reader_open(&r, &d, &put, 9 * MIB);
        reader_next(&d);
        for (unsigned i = 0; i < turns / 2; i++) {
            loop_turn(r.loop);
            if (turns % 3 == 0)
                rig_turns(&r, 1);
            if (d.came && !d.ended)
                reader_next(&d);
        }
        reader_free(&d);
        r.peer->stores[turns % 6].mode = PEER_GOOD;
    }
    rig_put_free(&r, &put, true);
    check_calm(&r);
    rig_close(&r);
}

struct leaver {
    struct client_read *r;
    unsigned left;
    bool done;
};
static void leave_came(void *ctx, int err, struct slice s)
{
    struct leaver *l = ctx;
    cr_assert_eq(err, 0);
    buf_unref(s.buf);
    if (l->left-- > 0) {
        client_read_next(l->r, leave_came, l);
        return;
    }
    l->done = true;
    client_read_free(l->r);
}

Test(client_read, a_reader_may_leave_inside_its_callback)
{
    struct rig r;
    struct rig_put put;
    rig_open(&r, &six);
    cr_assert_eq(rig_put(&r, &put, bytes, 9 * MIB), 0);
    for (unsigned n = 0; n < 20; n++) {
        struct leaver l = {.left = n};
        r.peer->stores[n % 6].mode = n % 2 ? PEER_FAIL : PEER_GOOD;
        cr_assert_eq(client_read_open(r.client, &put.object, STR_NONE, 0, 9 * MIB, &l.r), 0);
        client_read_next(l.r, leave_came, &l);
        cr_assert(!l.done);
        rig_until(&r, &l.done);
        r.peer->stores[n % 6].mode = PEER_GOOD;
    }
    rig_put_free(&r, &put, true);
    check_calm(&r);
    rig_close(&r);
}

/* Fails the first, second, third ... call of a read; with parity it must not matter, without it must be an error. */
Test(client_read, fault_loop_over_every_call)
{
    static const struct rig_conf confs[] = {{1, 0, 1, 0, 0}, {1, 1, 2, 0, 0}, {2, 1, 3, 0, 0}, {4, 2, 6, 0, 0}};
    static const int errors[] = {E_CORRUPT, RPC_NOT_FOUND, -EIO, E_UNAVAILABLE};
    for (size_t c = 0; c < ARRAY_LEN(confs); c++) {
        struct rig r;
        struct rig_put put;
        rig_open(&r, &confs[c]);
        cr_assert_eq(rig_put(&r, &put, bytes, 4 * MIB + 5000), 0);
        for (size_t e = 0; e < ARRAY_LEN(errors); e++) {
            bool hit = true;
            for (unsigned at = 1; hit; at++) {
                r.peer->fail_at = at;
                r.peer->fail_err = errors[e];
                uint64_t n;
                int err = rig_get(&r, &put, 0, 4 * MIB + 5000, bytes, &n);
                hit = r.peer->fail_at == 0;
                r.peer->fail_at = 0;
                if (confs[c].m || !hit)
                    cr_assert_eq(err, 0, "%u+%u call %u: %d", confs[c].k, confs[c].m, at, err);
                else
                    cr_assert(err == E_CORRUPT || err == E_UNAVAILABLE);
                cr_assert_lt(at, 100);
            }
        }
        rig_put_free(&r, &put, true);
        check_calm(&r);
        rig_close(&r);
    }
}

Test(client_read, a_map_that_cannot_be_had_is_an_error_and_may_come_later)
{
    static const struct rig_conf conf = {.k = 2, .m = 1, .stores = 4};
    struct rig r;
    struct rig_put put;
    rig_open(&r, &conf);
    cr_assert_eq(rig_put(&r, &put, bytes, MIB), 0);
    peer_mem_new_map(r.peer);
    client_close(r.client);
    rig_client(&r, &conf);
    r.peer->map_err = E_UNAVAILABLE;
    cr_assert_eq(rig_get(&r, &put, 0, MIB, bytes, NULL), E_UNAVAILABLE);
    r.peer->map_err = 0;
    cr_assert_eq(rig_get(&r, &put, 0, MIB, bytes, NULL), 0);
    rig_put_free(&r, &put, true);
    rig_close(&r);
}
