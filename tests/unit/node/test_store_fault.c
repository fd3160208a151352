/* The fault loop: the 1st, 2nd, 3rd ... call of the disk or the kv fails, until a run has no fault left. After each run
 * nothing acknowledged is lost, nothing deleted is back, and the store works again; leaks are the sanitizer's to find.
 * Then a drive that dies for good at the n-th call: everything answers, nothing hangs, and the next start has it all.
 */
#include "tests/lib/store_rig.h"
#include <criterion/criterion.h>
#include <stdio.h>

#define SEGMENT_BYTES (64 * KIB)
#define FRAGS         18
#define CALLS_MAX     2000

enum who { DISK_ONCE, DISK_FOR_GOOD, KV_ONCE };

struct run {
    struct store_rig rig;
    struct clock_manual clock;
    bool acked[FRAGS], deleted[FRAGS], delete_tried[FRAGS];
    size_t lengths[FRAGS];
    enum who who;
    uint64_t n;
};

static const char *at(const struct run *r)
{
    static char text[64];
    static const char *const names[] = {"disk call", "disk dead from call", "kv call"};
    snprintf(text, sizeof text, "%s %llu", names[r->who], (unsigned long long)r->n);
    return text;
}

static void fault_set(struct run *r, uint64_t n)
{
    if (r->who == DISK_ONCE)
        disk_sim_fail_nth(r->rig.sim, n, -EIO);
    else if (r->who == DISK_FOR_GOOD)
        disk_sim_fail_from(r->rig.sim, n, -EIO);
    else
        kv_sim_fail_nth(r->rig.kv, n, n ? E_KV : 0);
}

static bool fault_came(struct run *r)
{
    return r->who == KV_ONCE ? !kv_sim_fail_pending(r->rig.kv) : !disk_sim_fail_pending(r->rig.sim);
}

struct writing {
    struct store_write write;
    struct run *run;
    uint64_t n;
    size_t *left;
    struct buf *buf;
};

static void written(struct store_write *w)
{
    struct writing *one = w->user;
    one->run->acked[one->n] = w->status == 0;
    buf_unref(one->buf);
    --*one->left;
}

/* Three at once: they share a sync. */
static void write_three(struct run *r, uint64_t from)
{
    static struct writing writings[3];
    size_t left = 0;
    for (uint64_t i = 0; i < 3; i++) {
        struct writing *one = &writings[i];
        size_t len = 3000 + (size_t)((from + i) % 3) * 5000;
        *one = (struct writing){.run = r, .n = from + i, .left = &left, .buf = buf_create(len)};
        store_rig_fill(one->n, one->buf->data, len);
        r->lengths[one->n] = len;
        one->write = (struct store_write){.k = 1, .payload_count = 1, .cb = written, .user = one};
        one->write.payload[0] = (struct slice){one->buf, 0, len};
        store_rig_id(one->n, one->write.frag_id);
        left++;
        store_write(r->rig.store, &one->write);
    }
    unsigned turns = 0;
    while (left > 0) {
        if (++turns % 64 == 0)
            store_rig_settle(&r->rig, 5); /* a failed preparation is tried again after a second of this clock */
        loop_turn(r->rig.loop);
        cr_assert_lt(turns, 1000000u, "%s: a write never ended", at(r));
    }
}

static void live(struct run *r)
{
    if (store_rig_open(&r->rig) != 0)
        return;
    for (uint64_t n = 0; n < FRAGS; n += 3)
        write_three(r, n);
    for (uint64_t n = 0; n < FRAGS; n += 2) {
        r->delete_tried[n] = true;
        r->deleted[n] = store_rig_delete(&r->rig, n) == 0;
    }
    store_rig_settle(&r->rig, 200); /* flushes, END, compaction */
    for (uint64_t n = 1; n < FRAGS; n += 2) {
        int err = store_rig_read(&r->rig, n, 0, 0, r->lengths[n]);
        cr_assert_neq(err, E_PROTOCOL, "%s: wrong bytes", at(r));
    }
    store_rig_close(&r->rig);
}

static void judge(struct run *r)
{
    fault_set(r, 0);
    cr_assert_eq(store_rig_open(&r->rig), 0, "%s: %s", at(r), r->rig.why);
    for (uint64_t n = 0; n < FRAGS; n++) {
        int err = store_rig_read(&r->rig, n, 0, 0, r->lengths[n]);
        cr_assert_neq(err, E_PROTOCOL, "%s: wrong bytes", at(r));
        if (r->acked[n] && !r->delete_tried[n])
            cr_assert_eq(err, 0, "%s: fragment %llu is lost (%d)", at(r), (unsigned long long)n, err);
        if (r->deleted[n])
            cr_assert_eq(err, STORE_NOT_FOUND, "%s: fragment %llu is back (%d)", at(r), (unsigned long long)n, err);
    }
    store_rig_settle(&r->rig, 1200);
    cr_assert_eq(store_rig_write(&r->rig, 1000, 9000), 0, "%s: it does not write any more", at(r));
    cr_assert_eq(store_rig_read(&r->rig, 1000, 0, 0, 9000), 0);
    cr_assert_eq(store_rig_delete(&r->rig, 1000), 0);
    store_rig_close(&r->rig);
}

static void loop_over(enum who who, uint64_t step)
{
    uint64_t n = 1;
    for (;; n += step) {
        struct run r = {.who = who, .n = n};
        store_rig_init_clock(&r.rig, "sim", SEGMENT_BYTES, &r.clock);
        r.rig.compact_percent = 30;
        fault_set(&r, n);
        live(&r);
        bool came = fault_came(&r);
        judge(&r);
        store_rig_fini(&r.rig);
        if (!came)
            break;
        cr_assert_lt(n, CALLS_MAX);
    }
    cr_assert_gt(n, 20);
    cr_log_info("%llu calls\n", (unsigned long long)n);
}

Test(store_fault, any_one_call_of_the_disk_may_fail, .timeout = 110)
{
    loop_over(DISK_ONCE, 1);
}

Test(store_fault, the_disk_may_die_at_any_call, .timeout = 110)
{
    loop_over(DISK_FOR_GOOD, 3);
}

Test(store_fault, any_one_call_of_the_kv_may_fail, .timeout = 110)
{
    loop_over(KV_ONCE, 1);
}
