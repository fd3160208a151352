/* The store on real files (io_uring and threads) and on the simulated disk: the same table of behaviours for each. */
#include "common/metrics.h"
#include "tests/lib/store_rig.h"
#include <criterion/criterion.h>

static const char *const engines[] = {"sim", "io_uring", "threads"};

TestSuite(store, .timeout = 100);

static void what_is_written_is_read(const char *engine);

Test(store, what_is_written_is_read)
{
    for (size_t i = 0; i < ARRAY_LEN(engines); i++)
        what_is_written_is_read(engines[i]);
}

static void what_is_written_is_read(const char *engine)
{
    static const size_t lengths[] = {1, 511, 4096, 4097, 65535, 65536, 65537, 300000, 1 << 20, 4 << 20};
    struct store_rig r;
    store_rig_init(&r, engine, 16 * MIB);
    cr_assert_eq(store_rig_open(&r), 0, "%s", r.why);
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < ARRAY_LEN(lengths) && round == 0; i++)
            cr_assert_eq(store_rig_write(&r, i, lengths[i]), 0);
        for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
            size_t n = lengths[i];
            cr_assert_eq(store_rig_read(&r, i, 0, 0, n), 0, "whole %zu round %zu", n, round);
            cr_assert_eq(store_rig_read(&r, i, n / 2, 1, n), 0);
            cr_assert_eq(store_rig_read(&r, i, n / 3, 70000, n), 0);
            cr_assert_eq(store_rig_read(&r, i, n - 1, 0, n), 0);
            cr_assert_eq(store_rig_read(&r, i, n, 1, n), -EINVAL);
        }
        cr_assert_eq(store_rig_read(&r, 999, 0, 0, 1), STORE_NOT_FOUND);
        store_rig_close(&r);
        if (round == 0)
            cr_assert_eq(store_rig_open(&r), 0, "%s", r.why);
    }
    store_rig_fini(&r);
}

/* ---- many at once ---- */

struct one {
    struct store_write write;
    struct store_read read;
    uint64_t n;
    size_t *left;
    struct buf *buf;
};

static void one_written(struct store_write *w)
{
    struct one *o = w->user;
    buf_unref(o->buf);
    o->buf = NULL;
    --*o->left;
}

static void one_read(struct store_read *r)
{
    struct one *o = r->user;
    --*o->left;
}

static void wait_none(struct store_rig *r, const size_t *left)
{
    unsigned turns = 0;
    while (*left > 0) {
        loop_turn(r->loop);
        cr_assert_lt(turns++, 200000000u, "an answer never came");
    }
}

static void write_many(struct store_rig *r, struct one *ones, size_t count, size_t len, size_t *left)
{
    for (size_t i = 0; i < count; i++) {
        ones[i] = (struct one){.n = i, .left = left, .buf = buf_create(len)};
        store_rig_fill(i, ones[i].buf->data, len);
        ones[i].write = (struct store_write){.k = 1, .payload_count = 1, .cb = one_written, .user = &ones[i]};
        ones[i].write.payload[0] = (struct slice){ones[i].buf, 0, len};
        store_rig_id(i, ones[i].write.frag_id);
        ++*left;
        store_write(r->store, &ones[i].write);
    }
}

static void one_sync_acknowledges_many_writes(const char *engine);

Test(store, one_sync_acknowledges_many_writes)
{
    for (size_t i = 0; i < ARRAY_LEN(engines); i++)
        one_sync_acknowledges_many_writes(engines[i]);
}

static void one_sync_acknowledges_many_writes(const char *engine)
{
    static struct one ones[300];
    struct store_rig r;
    size_t left = 0;
    store_rig_init(&r, engine, 16 * MIB);
    cr_assert_eq(store_rig_open(&r), 0, "%s", r.why);
    cr_assert_eq(store_rig_write(&r, 1000, 10), 0);
    uint64_t before = metric_get(M_STORE_SYNCS, "t");
    write_many(&r, ones, ARRAY_LEN(ones), 20000, &left);
    wait_none(&r, &left);
    for (size_t i = 0; i < ARRAY_LEN(ones); i++)
        cr_assert_eq(ones[i].write.status, 0);
    uint64_t syncs = metric_get(M_STORE_SYNCS, "t") - before;
    cr_assert_lt(syncs, ARRAY_LEN(ones) / 2, "%llu syncs for %zu writes", (unsigned long long)syncs, ARRAY_LEN(ones));
    for (size_t i = 0; i < ARRAY_LEN(ones); i++) { /* and all are read at once */
        ones[i].read = (struct store_read){.cb = one_read, .user = &ones[i]};
        store_rig_id(i, ones[i].read.frag_id);
        left++;
        store_read(r.store, &ones[i].read);
    }
    wait_none(&r, &left);
    for (size_t i = 0; i < ARRAY_LEN(ones); i++) {
        cr_assert_eq(ones[i].read.status, 0);
        cr_assert(store_rig_same(i, 0, slice_data(ones[i].read.data), 20000));
        buf_unref(ones[i].read.data.buf);
    }
    store_rig_close(&r);
    store_rig_fini(&r);
}

Test(store, a_close_answers_everything_and_keeps_what_it_acknowledged)
{
    static struct one ones[200];
    struct store_rig r;
    size_t left = 0;
    store_rig_init(&r, "sim", 256 * KIB);
    cr_assert_eq(store_rig_open(&r), 0, "%s", r.why);
    write_many(&r, ones, ARRAY_LEN(ones), 9000, &left);
    for (unsigned i = 0; i < 300; i++)
        loop_turn(r.loop);
    store_rig_close(&r);
    cr_assert_eq(left, 0, "every callback ran");
    cr_assert_eq(store_rig_open(&r), 0, "%s", r.why);
    cr_assert_eq(store_rig_stat(&r).scanned_bytes, 0);
    for (size_t i = 0; i < ARRAY_LEN(ones); i++) {
        int err = ones[i].write.status;
        cr_assert(err == 0 || err == -ECANCELED);
        cr_assert_eq(store_rig_read(&r, i, 0, 0, 9000), err == 0 ? 0 : STORE_NOT_FOUND);
    }
    store_rig_close(&r);
    store_rig_fini(&r);
}

Test(store, payload_may_come_in_pieces_at_any_address)
{
    static const size_t cuts[][3] = {
        {1, 2, 3}, {4096, 4096, 1}, {70000, 1, 70000}, {65536, 65536, 65536}, {3, 200000, 5}};
    struct store_rig r;
    store_rig_init(&r, "io_uring", 4 * MIB);
    cr_assert_eq(store_rig_open(&r), 0, "%s", r.why);
    for (size_t c = 0; c < ARRAY_LEN(cuts); c++) {
        size_t len = cuts[c][0] + cuts[c][1] + cuts[c][2], at = 0, left = 1;
        struct buf *whole = buf_create(len), *parts[3];
        struct one o = {.n = c, .left = &left};
        store_rig_fill(c, whole->data, len);
        o.write = (struct store_write){.k = 1, .payload_count = 3, .cb = one_written, .user = &o};
        for (size_t i = 0; i < 3; i++) {
            parts[i] = buf_create(cuts[c][i] + 7);
            memcpy(parts[i]->data + 7, whole->data + at, cuts[c][i]);
            o.write.payload[i] = (struct slice){parts[i], 7, cuts[c][i]};
            at += cuts[c][i];
        }
        store_rig_id(c, o.write.frag_id);
        store_write(r.store, &o.write);
        wait_none(&r, &left);
        cr_assert_eq(o.write.status, 0);
        cr_assert_eq(store_rig_read(&r, c, 0, 0, len), 0);
        for (size_t i = 0; i < 3; i++)
            buf_unref(parts[i]);
        buf_unref(whole);
    }
    store_rig_close(&r);
    store_rig_fini(&r);
}

Test(store, a_read_uses_the_buffer_that_it_is_given_when_the_blocks_fit)
{
    struct store_rig r;
    store_rig_init(&r, "sim", 4 * MIB);
    cr_assert_eq(store_rig_open(&r), 0, "%s", r.why);
    cr_assert_eq(store_rig_write(&r, 0, 300000), 0);
    for (size_t i = 0; i < 3; i++) {
        struct buf *into = buf_create(i == 2 ? 4096 : 131072);
        size_t left = 1;
        struct one o = {.left = &left};
        o.read = (struct store_read){.offset = 131072, .length = 131072, .into = into, .cb = one_read, .user = &o};
        if (i == 1)
            o.read.offset += 1000, o.read.length = 100000; /* the same blocks */
        store_rig_id(0, o.read.frag_id);
        store_read(r.store, &o.read);
        wait_none(&r, &left);
        cr_assert_eq(o.read.status, 0);
        cr_assert_eq(o.read.data.buf == into, i < 2);
        cr_assert(store_rig_same(0, o.read.offset, slice_data(o.read.data), o.read.data.len));
        buf_unref(o.read.data.buf);
        buf_unref(into);
    }
    store_rig_close(&r);
    store_rig_fini(&r);
}

Test(store, bad_requests_are_refused)
{
    struct store_rig r;
    size_t left = 1;
    store_rig_init(&r, "sim", 16 * MIB);
    cr_assert_eq(store_rig_open(&r), 0);
    struct one o = {.left = &left, .write = {.cb = one_written}};
    o.write.user = &o;
    store_write(r.store, &o.write);
    wait_none(&r, &left);
    cr_assert_eq(o.write.status, -EINVAL, "nothing to write");
    cr_assert_eq(store_rig_write(&r, 1, SEGMENT_PAYLOAD_MAX + 1), -EINVAL);
    cr_assert_eq(store_rig_write(&r, 1, SEGMENT_PAYLOAD_MAX), 0);
    cr_assert_eq(store_rig_delete(&r, 2), STORE_NOT_FOUND);
    cr_assert_eq(store_rig_delete(&r, 1), 0);
    cr_assert_eq(store_rig_delete(&r, 1), STORE_NOT_FOUND);
    store_rig_close(&r);
    store_rig_fini(&r);
}

Test(store, failing_writes_seal_the_segment_and_after_three_the_drive_is_suspect)
{
    static struct clock_manual clock;
    struct store_rig r;
    store_rig_init_clock(&r, "sim", MIB, &clock);
    cr_assert_eq(store_rig_open(&r), 0);
    cr_assert_eq(store_rig_write(&r, 0, 5000), 0);
    for (uint64_t i = 1; i <= STORE_SUSPECT_ERRORS; i++) {
        store_rig_settle(&r, 300); /* the next segment is prepared */
        disk_sim_fail_kinds(r.sim, i % 2 ? 1u << SIM_SYNC : 1u << SIM_WRITE);
        disk_sim_fail_nth(r.sim, 1, -EIO);
        cr_assert_eq(store_rig_write(&r, 100 + i, 5000), -EIO);
        cr_assert_eq(store_rig_stat(&r).state, i < STORE_SUSPECT_ERRORS ? STORE_OK : STORE_SUSPECT);
        cr_assert_eq(store_rig_write(&r, i, 5000), 0, "it goes on in the next segment");
    }
    for (uint64_t i = 0; i <= STORE_SUSPECT_ERRORS; i++)
        cr_assert_eq(store_rig_read(&r, i, 0, 0, 5000), 0);
    store_rig_close(&r);
    cr_assert_eq(store_rig_open(&r), 0);
    for (uint64_t i = 0; i <= STORE_SUSPECT_ERRORS; i++)
        cr_assert_eq(store_rig_read(&r, i, 0, 0, 5000), 0);
    store_rig_close(&r);
    store_rig_fini(&r);
}

Test(store, a_read_error_that_passes_is_not_an_error)
{
    struct store_rig r;
    store_rig_init(&r, "sim", MIB);
    cr_assert_eq(store_rig_open(&r), 0);
    cr_assert_eq(store_rig_write(&r, 0, 5000), 0);
    disk_sim_fail_kinds(r.sim, 1u << SIM_READ);
    disk_sim_fail_nth(r.sim, 1, -EIO);
    cr_assert_eq(store_rig_read(&r, 0, 0, 0, 5000), 0, "read once more");
    disk_sim_fail_from(r.sim, 1, -EIO);
    cr_assert_eq(store_rig_read(&r, 0, 0, 0, 5000), -EIO);
    cr_assert_eq(store_rig_stat(&r).corrupt, 1, "in quarantine");
    disk_sim_fail_nth(r.sim, 0, 0);
    cr_assert_eq(store_rig_read(&r, 0, 0, 0, 5000), 0);
    store_rig_close(&r);
    store_rig_fini(&r);
}
