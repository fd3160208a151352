/* Garbage collection over several drives, one of which dies: the others go on, what it missed is made good when it
 * comes back, and status tells that it is not well. */
#include "common/err.h"
#include "common/log.h"
#include "node/node_impl.h"
#include "replication/stripe.h"
#include "tests/lib/disk_fault.h"
#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DRIVES  3
#define EXTENTS 4
#define SICK    1 /* the drive that dies */

struct place {
    char root[64];
    char dirs[DRIVES][96];
    struct loop *loop;
    struct work *work;
    struct disk *below;
    struct disk_fault *fault;
    struct node *node;
    Pb__Extent extents[EXTENTS], *list[EXTENTS];
    uint8_t write_ids[EXTENTS][WRITE_ID_BYTES];
    int status; /* 1: not yet */
};

static uint8_t cell[64 * KIB];

static void turn_until(struct place *p)
{
    for (unsigned n = 0; p->status == 1; n++) {
        cr_assert_lt(n, 1000000, "nothing happens");
        loop_turn(p->loop);
        usleep(10);
    }
}

static void closed(void *ctx)
{
    ((struct place *)ctx)->status = 0;
}

static void place_open(struct place *p)
{
    const char *dirs[DRIVES];
    char why[256] = "";
    log_set_level(LOG_ERROR + 1);
    snprintf(p->root, sizeof p->root, "test-node-gc-XXXXXX");
    cr_assert(mkdtemp(p->root));
    for (unsigned i = 0; i < DRIVES; i++) {
        snprintf(p->dirs[i], sizeof p->dirs[i], "%s/d%u", p->root, i);
        dirs[i] = p->dirs[i];
    }
    struct node_conf conf = {.dirs = dirs,
                             .dir_count = DRIVES,
                             .segment_bytes = 4 * MIB,
                             .kv_cache_bytes = 8 * MIB,
                             .gc_delay_ms = 600000,
                             .upload_expire_ms = 600000};
    cr_assert_eq(loop_create(clock_real(), &p->loop), 0);
    cr_assert_eq(work_create(p->loop, 2, &p->work), 0);
    cr_assert_eq(disk_create(p->loop, "threads", &p->below, why, sizeof why), 0);
    cr_assert_eq(disk_fault_create(p->loop, p->below, &p->fault), 0);
    disk_fault_set(p->fault, NULL, 0, 0, false);
    cr_assert_eq(node_open(p->loop, p->work, disk_fault_disk(p->fault), &conf, &p->node, why, sizeof why), 0, "%s",
                 why);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static void place_close(struct place *p)
{
    p->status = 1;
    node_close(p->node, closed, p);
    turn_until(p);
    disk_fault_disk(p->fault)->ops->destroy(disk_fault_disk(p->fault));
    p->below->ops->destroy(p->below);
    loop_turn(p->loop);
    work_destroy(p->work);
    loop_destroy(p->loop);
    nftw(p->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- fragments ---- */

static void written(struct store_write *w)
{
    ((struct place *)w->user)->status = w->status;
}

static int frag_put(struct place *p, unsigned drive, const uint8_t id[FRAG_ID_BYTES])
{
    struct buf *b = buf_create(sizeof cell);
    memcpy(b->data, cell, sizeof cell);
    struct store_write w = {.k = 2, .m = 1, .payload_count = 1, .cb = written, .user = p};
    w.payload[0] = (struct slice){b, 0, 4096};
    memcpy(w.frag_id, id, FRAG_ID_BYTES);
    p->status = 1;
    store_write(p->node->drives[drive].store, &w);
    turn_until(p);
    buf_unref(b);
    return p->status;
}

/* One extent of three stripes, every fragment at its home. */
static void extent_put(struct place *p, unsigned i)
{
    memset(p->write_ids[i], (int)(i + 1), WRITE_ID_BYTES);
    Pb__Extent *e = p->list[i] = &p->extents[i];
    pb__extent__init(e);
    e->write_id = (ProtobufCBinaryData){WRITE_ID_BYTES, p->write_ids[i]};
    e->k = 2;
    e->m = 1;
    e->stripe_bytes = 8192;
    e->size = 3 * 8192;
    cr_assert_eq(extent_check(e), 0);
    for (uint32_t s = 0; s < 3; s++) {
        uint8_t id[STRIPE_ID_BYTES], frag[FRAG_ID_BYTES];
        stripe_id(e->write_id.data, s, id);
        const uint16_t *row = ring_row(&p->node->ring, ring_pg(&p->node->ring, id));
        for (unsigned f = 0; f < 3; f++) {
            frag_id(e->write_id.data, s, f, frag);
            cr_assert_eq(frag_put(p, row[f], frag), 0);
        }
    }
}

static void deleted(void *arg, int err)
{
    ((struct place *)arg)->status = err;
}

static int gc(struct place *p, unsigned first, unsigned count)
{
    p->status = 1;
    node_gc_delete(p->node, p->list + first, count, deleted, p);
    turn_until(p);
    return p->status;
}

static uint64_t fragments(struct place *p, unsigned drive)
{
    struct store_stat st;
    store_stat(p->node->drives[drive].store, &st);
    return st.fragments;
}

static const char *state_of(struct place *p, unsigned drive, const char **ret_why)
{
    struct rpc r = {.type = RPC_STATUS};
    struct arena a;
    arena_init(&a, 64 * KIB);
    r.arena = &a;
    cr_assert_eq(node_status_answer(p->node, &r), 0);
    const Pb__StatusRep *rep = r.rep;
    const char *state = rep->stores[drive]->state; /* a literal */
    *ret_why = *rep->stores[drive]->why ? "some" : "";
    arena_fini(&a);
    return state;
}

Test(node_gc, a_drive_that_died_does_not_stop_the_others, .timeout = 60)
{
    static struct place p;
    place_open(&p);
    for (unsigned i = 0; i < EXTENTS; i++)
        extent_put(&p, i);
    for (unsigned d = 0; d < DRIVES; d++)
        cr_assert_eq(fragments(&p, d), 3 * EXTENTS);

    disk_fault_set(p.fault, "d1/segments", 1, -EIO, true);
    cr_assert_eq(gc(&p, 0, 2), 0);
    cr_assert_eq(gc(&p, 2, 1), 0);
    for (unsigned d = 0; d < DRIVES; d++)
        cr_assert_eq(fragments(&p, d), d == SICK ? 3 * EXTENTS : 3, "drive %u", d);

    disk_fault_set(p.fault, NULL, 0, 0, false); /* it was a cable */
    usleep(1100000);                            /* the store tries again once a second */
    cr_assert_eq(gc(&p, 3, 1), 0);
    for (unsigned d = 0; d < DRIVES; d++)
        cr_assert_eq(fragments(&p, d), 0, "drive %u", d);
    place_close(&p);
}

Test(node_gc, what_is_left_to_delete_is_bounded, .timeout = 60)
{
    static struct place p;
    place_open(&p);
    for (unsigned i = 0; i < EXTENTS; i++)
        extent_put(&p, i);
    for (unsigned i = 1; i < EXTENTS; i++) /* nothing is known of these; 8192 stripes each */
        p.extents[i].size = UINT64_C(8192) * 8192 * 4;
    disk_fault_set(p.fault, "d1/segments", 1, -EIO, true);
    cr_assert_eq(gc(&p, 0, EXTENTS), 0);
    cr_assert_eq(p.node->drives[SICK].gc_left_count, NODE_GC_LEFT_MAX);
    cr_assert_eq(fragments(&p, 0), 0);
    disk_fault_set(p.fault, NULL, 0, 0, false);
    usleep(1100000);
    cr_assert_eq(gc(&p, 0, 1), 0);
    cr_assert_eq(p.node->drives[SICK].gc_left_count, 0);
    cr_assert_eq(fragments(&p, SICK), 3, "only those of the last extent were forgotten");
    place_close(&p);
}

Test(node_gc, status_calls_a_drive_that_died_suspect, .timeout = 60)
{
    static struct place p;
    const char *why;
    place_open(&p);
    extent_put(&p, 0);
    cr_assert_str_eq(state_of(&p, SICK, &why), "ok");
    cr_assert_str_empty(why);
    disk_fault_set(p.fault, "d1/segments", 1, -EIO, true);
    uint8_t id[FRAG_ID_BYTES] = {9};
    uint64_t end = loop_now_ns(p.loop) + 10 * SEC_NS;
    while (strcmp(state_of(&p, SICK, &why), "suspect") != 0 && loop_now_ns(p.loop) < end) {
        cr_assert_neq(frag_put(&p, SICK, id), 0);
        usleep(100000);
    }
    cr_assert_str_eq(state_of(&p, SICK, &why), "suspect");
    cr_assert_str_not_empty(why);
    cr_assert_str_eq(state_of(&p, 0, &why), "ok");
    place_close(&p);
}
