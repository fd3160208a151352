/* The client and the real node in one process, on drives that are folders: what is acknowledged survives a restart and
 * the loss of drives. */
#include "client/client.h"
#include "common/crypt.h"
#include "common/err.h"
#include "node/node.h"
#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DRIVES  6
#define OBJECTS 12

struct place {
    char root[64];
    char dirs[DRIVES][96];
    const char *list[DRIVES];
    struct loop *loop;
    struct work *work;
    struct disk *disk;
    struct node *node;
    struct client *client;
    int status; /* 1: not yet */
};

static uint8_t bytes[9 * MIB];

static void settled(void *ctx, int err)
{
    ((struct place *)ctx)->status = err;
}

static void closed(void *ctx)
{
    ((struct place *)ctx)->status = 0;
}

static void turn_until(struct place *p)
{
    for (unsigned n = 0; p->status == 1; n++) {
        cr_assert_lt(n, 2000000, "nothing happens");
        loop_turn(p->loop);
        usleep(10);
    }
}

static void start(struct place *p, unsigned drives)
{
    char why[256] = "";
    struct node_conf conf = {.dirs = p->list,
                             .dir_count = drives,
                             .segment_bytes = 32 * MIB,
                             .compact_percent = 30,
                             .kv_cache_bytes = 8 * MIB,
                             .gc_delay_ms = 600000,
                             .upload_expire_ms = 600000};
    struct client_conf client = {.write_pool_bytes = 64 * MIB, .read_pool_bytes = 64 * MIB};
    cr_assert_eq(loop_create(clock_real(), &p->loop), 0);
    cr_assert_eq(work_create(p->loop, 2, &p->work), 0);
    cr_assert_eq(disk_create(p->loop, NULL, &p->disk, why, sizeof why), 0);
    cr_assert_eq(node_open(p->loop, p->work, p->disk, &conf, &p->node, why, sizeof why), 0, "%s", why);
    p->status = 1;
    cr_assert_eq(client_open(p->loop, p->work, node_peer(p->node), &client, &p->client, settled, p), 0);
    turn_until(p);
    cr_assert_eq(p->status, 0);
}

static void stop(struct place *p)
{
    p->status = 1;
    client_drain(p->client, closed, p);
    turn_until(p);
    client_close(p->client);
    p->status = 1;
    node_close(p->node, closed, p);
    turn_until(p);
    p->disk->ops->destroy(p->disk);
    work_destroy(p->work);
    loop_destroy(p->loop);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static void place_make(struct place *p)
{
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 31 + (i >> 9) + (i >> 17) * 7);
    snprintf(p->root, sizeof p->root, "test-client-node-XXXXXX");
    cr_assert(mkdtemp(p->root));
    for (unsigned i = 0; i < DRIVES; i++) {
        snprintf(p->dirs[i], sizeof p->dirs[i], "%s/d%u", p->root, i);
        p->list[i] = p->dirs[i];
    }
}

/* ---- objects, kept packed, as the metadata would ---- */

struct kept {
    uint8_t *packed;
    size_t len;
};
struct writing {
    struct place *p;
    struct kept *kept;
};

static void written(void *ctx, int err, const struct client_write_result *res)
{
    struct writing *w = ctx;
    w->p->status = err;
    if (err)
        return;
    w->kept->len = pb__extent__get_packed_size(res->extent);
    w->kept->packed = malloc(w->kept->len);
    pb__extent__pack(res->extent, w->kept->packed);
}

static uint64_t size_of(unsigned i)
{
    return i % 3 == 0 ? 70000 + i : i % 3 == 1 ? 4 * MIB + i : 9 * MIB - i;
}

static int put(struct place *p, unsigned i, struct kept *kept)
{
    struct client_write *w;
    struct client_write_conf conf = {.expected_bytes = size_of(i)};
    struct writing ctx = {p, kept};
    cr_assert_eq(client_write_open(p->client, &conf, &w), 0);
    for (uint64_t at = 0; at < size_of(i);) {
        uint8_t *to;
        size_t n;
        client_write_space(w, &to, &n, closed, p);
        n = MIN_OF(n, size_of(i) - at);
        if (n == 0) {
            p->status = 1;
            turn_until(p);
            continue;
        }
        memcpy(to, bytes + at, n);
        client_write_advance(w, n);
        at += n;
    }
    p->status = 1;
    client_write_finish(w, written, &ctx);
    turn_until(p);
    int err = p->status;
    client_write_free(w, err == 0);
    return err;
}

struct reading {
    struct place *p;
    struct client_read *r;
    uint64_t n;
};

static void came(void *ctx, int err, struct slice s)
{
    struct reading *g = ctx;
    if (err || s.len == 0) {
        g->p->status = err;
        return;
    }
    cr_assert_eq(memcmp(slice_data(s), bytes + g->n, s.len), 0, "wrong bytes at %lu", (unsigned long)g->n);
    g->n += s.len;
    buf_unref(s.buf);
    client_read_next(g->r, came, g);
}

static int get(struct place *p, unsigned i, const struct kept *kept)
{
    Pb__Object o = PB__OBJECT__INIT;
    Pb__Extent *e = pb__extent__unpack(NULL, kept->len, kept->packed);
    o.extents = &e;
    o.n_extents = 1;
    o.size = size_of(i);
    struct reading g = {.p = p};
    cr_assert_eq(client_read_open(p->client, &o, STR_NONE, 0, o.size, &g.r), 0);
    p->status = 1;
    client_read_next(g.r, came, &g);
    turn_until(p);
    client_read_free(g.r);
    pb__extent__free_unpacked(e, NULL);
    cr_assert(p->status || g.n == size_of(i));
    return p->status;
}

Test(client_node, what_was_acknowledged_survives_restarts_and_lost_drives)
{
    static struct place p;
    struct kept kept[OBJECTS] = {0};
    place_make(&p);
    start(&p, DRIVES);
    for (unsigned i = 0; i < OBJECTS; i++)
        cr_assert_eq(put(&p, i, &kept[i]), 0);
    for (unsigned i = 0; i < OBJECTS; i++)
        cr_assert_eq(get(&p, i, &kept[i]), 0);
    stop(&p);
    start(&p, DRIVES);
    for (unsigned i = 0; i < OBJECTS; i++)
        cr_assert_eq(get(&p, i, &kept[i]), 0);
    stop(&p);
    for (unsigned left = DRIVES; left-- > DRIVES - 2;) { /* the last two, one after the other: 4+2 forgives both */
        nftw(p.dirs[left], remove_one, 16, FTW_DEPTH | FTW_PHYS);
        start(&p, left);
        for (unsigned i = 0; i < OBJECTS; i++)
            cr_assert_eq(get(&p, i, &kept[i]), 0, "object %u without %u drives", i, DRIVES - left);
        stop(&p);
    }
    for (unsigned i = 0; i < OBJECTS; i++)
        free(kept[i].packed);
    nftw(p.root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
