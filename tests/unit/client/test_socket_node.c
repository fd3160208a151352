/* Whoever may open the socket may send any message: the node must answer each, whatever is missing in it or makes no
 * sense, and go on working. */
#include "common/err.h"
#include "common/wire.h"
#include "node/node.h"
#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char root[32], dir[64];

struct world {
    struct loop *loop;
    struct work *work;
    struct disk *disk;
    struct node *node;
};

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}
static void before(void)
{
    snprintf(root, sizeof root, "test-strange-XXXXXX");
    cr_assert(mkdtemp(root));
    snprintf(dir, sizeof dir, "%s/d0", root);
}
static void after(void)
{
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
TestSuite(socket_node, .init = before, .fini = after);

static void world_open(struct world *w)
{
    char why[256] = "";
    const char *list[] = {dir};
    struct node_conf conf = {.dirs = list,
                             .dir_count = 1,
                             .segment_bytes = 32 * MIB,
                             .compact_percent = 30,
                             .kv_cache_bytes = 8 * MIB,
                             .gc_delay_ms = 600000,
                             .upload_expire_ms = 600000};
    cr_assert_eq(loop_create(clock_real(), &w->loop), 0);
    cr_assert_eq(work_create(w->loop, 2, &w->work), 0);
    cr_assert_eq(disk_create(w->loop, NULL, &w->disk, why, sizeof why), 0);
    cr_assert_eq(node_open(w->loop, w->work, w->disk, &conf, &w->node, why, sizeof why), 0, "%s", why);
}

static void closed(void *ctx)
{
    *(bool *)ctx = true;
}

static void world_close(struct world *w)
{
    bool done = false;
    node_close(w->node, closed, &done);
    while (!done) {
        loop_turn(w->loop);
        usleep(20);
    }
    w->disk->ops->destroy(w->disk);
    work_destroy(w->work);
    loop_destroy(w->loop);
}

struct call {
    struct rpc rpc;
    struct arena arena;
    bool done;
};
static void call_done(struct rpc *r)
{
    container_of(r, struct call, rpc)->done = true;
}

/* Sends the message that these bytes are, if they are one. */
static bool send(struct world *w, uint16_t type, const uint8_t *bytes, size_t n, bool with_payload)
{
    struct wire_head h = {.kind = WIRE_REQUEST, .type = type, .has_message = true, .message_bytes = (uint32_t)n};
    struct call c = {0};
    void *req;
    arena_init(&c.arena, 16 * MIB);
    bool is_one = wire_unpack(&h, bytes, &c.arena, &req) == 0;
    if (is_one) {
        struct buf *b = with_payload ? buf_create(4096) : NULL;
        if (b)
            memset(b->data, 7, 4096);
        c.rpc = (struct rpc){.type = (enum rpc_type)type, .req = req, .arena = &c.arena, .cb = call_done};
        c.rpc.payload[0] = (struct slice){.buf = b, .len = 4096};
        c.rpc.payload_count = b != NULL;
        node_peer(w->node)->submit(node_peer(w->node), &c.rpc);
        for (unsigned i = 0; !c.done; i++) {
            cr_assert_lt(i, 500000, "type %u is never answered", type);
            loop_turn(w->loop);
            usleep(5);
        }
        buf_unref(c.rpc.rep_payload.buf);
        buf_unref(b);
    }
    arena_fini(&c.arena);
    return is_one;
}

static const uint16_t types[] = {
#define RPC(id, number, message) number,
#include "common/rpc.def"
#undef RPC
};

Test(socket_node, an_empty_message_of_every_type_is_answered)
{
    struct world w;
    world_open(&w);
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        cr_assert(send(&w, types[i], (const uint8_t *)"", 0, false));
        cr_assert(send(&w, types[i], (const uint8_t *)"", 0, true));
    }
    world_close(&w);
}

/* Well-formed protobuf of random fields: numbers, texts, and messages within messages. */
static size_t random_message(uint8_t *p, size_t cap, unsigned depth)
{
    size_t n = 0;
    for (unsigned fields = (unsigned)rand() % 6; fields-- && n + 40 < cap;) {
        unsigned field = 1 + (unsigned)rand() % 10;
        if (rand() % 3 == 0) {
            p[n++] = (uint8_t)(field << 3);
            p[n++] = (uint8_t)(rand() % 128);
            continue;
        }
        uint8_t inner[120];
        size_t len = 0;
        if (depth < 3 && rand() % 2)
            len = random_message(inner, sizeof inner, depth + 1);
        else
            for (len = (size_t)rand() % 3 ? (size_t)rand() % 18 : 12; n + len > cap; len /= 2)
                ;
        if (depth >= 3 || rand() % 2)
            for (size_t i = 0; i < len; i++)
                inner[i] = rand() % 4 ? 'b' : (uint8_t)rand();
        if (n + len + 2 > cap)
            break;
        p[n++] = (uint8_t)(field << 3 | 2);
        p[n++] = (uint8_t)len;
        memcpy(p + n, inner, len);
        n += len;
    }
    return n;
}

Test(socket_node, random_messages_of_every_type_are_answered)
{
    struct world w;
    unsigned sent = 0;
    world_open(&w);
    srand(20);
    for (unsigned i = 0; i < 6000; i++) {
        uint8_t bytes[512];
        size_t n = random_message(bytes, sizeof bytes, 0);
        sent += send(&w, types[(unsigned)rand() % ARRAY_LEN(types)], bytes, n, rand() % 2);
    }
    printf("%u messages\n", sent);
    cr_assert_gt(sent, 500);
    world_close(&w);
}
