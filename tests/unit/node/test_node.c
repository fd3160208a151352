/* The node as a whole, on real directories: first and later starts, drives that are missing, foreign, empty, copied or
 * damaged, and the rpcs about fragments. */
#include "common/log.h"
#include "node/node_impl.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define DRIVES_MAX 8

static struct {
    char root[64];
    char dirs[DRIVES_MAX][96];
    struct loop *loop;
    struct work *work;
    struct disk *disk;
    struct node *node;
    char why[512];
} t;

static void begin(void)
{
    log_set_level(LOG_ERROR + 1);
    snprintf(t.root, sizeof t.root, "test-node-XXXXXX");
    cr_assert_not_null(mkdtemp(t.root));
    for (unsigned i = 0; i < DRIVES_MAX; i++)
        snprintf(t.dirs[i], sizeof t.dirs[i], "%s/d%u", t.root, i);
    cr_assert_eq(loop_create(clock_real(), &t.loop), 0);
    cr_assert_eq(work_create(t.loop, 2, &t.work), 0);
    cr_assert_eq(disk_create(t.loop, NULL, &t.disk, t.why, sizeof t.why), 0);
}

static void shell(const char *format, const char *a, const char *b)
{
    char command[512];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(command, sizeof command, format, a, b);
#pragma GCC diagnostic pop
    cr_assert_eq(system(command), 0, "%s", command);
}

static void end(void)
{
    t.disk->ops->destroy(t.disk);
    loop_turn(t.loop);
    work_destroy(t.work);
    loop_destroy(t.loop);
    shell("rm -rf '%s'", t.root, "");
}

TestSuite(node, .init = begin, .fini = end, .timeout = 100);

/* which: digits of the drives, in the order of the command line. */
static int start_as(const char *which, unsigned k, unsigned m, bool accept_missing)
{
    const char *dirs[DRIVES_MAX];
    unsigned count = 0;
    for (; which[count]; count++)
        dirs[count] = t.dirs[which[count] - '0'];
    struct node_conf conf = {.dirs = dirs,
                             .dir_count = count,
                             .k = k,
                             .m = m,
                             .segment_bytes = 4 * MIB,
                             .compact_percent = 30,
                             .kv_cache_bytes = MIB,
                             .accept_missing = accept_missing};
    return node_open(t.loop, t.work, t.disk, &conf, &t.node, t.why, sizeof t.why);
}

static int start(const char *which)
{
    return start_as(which, 0, 0, false);
}

static void flag(void *ctx)
{
    *(bool *)ctx = true;
}

static void stop(void)
{
    bool done = false;
    node_close(t.node, flag, &done);
    while (!done)
        loop_turn(t.loop);
    t.node = NULL;
}

static void answered(struct rpc *r)
{
    *(bool *)r->user = true;
}

static int call(struct rpc *r, struct arena *a)
{
    bool done = false;
    arena_init(a, MIB);
    r->arena = a;
    r->cb = answered;
    r->user = &done;
    struct rpc_peer *peer = node_peer(t.node);
    peer->submit(peer, r);
    cr_assert_not(done, "never inside submit");
    while (!done)
        loop_turn(t.loop);
    return r->status;
}

static uint8_t id_bytes[FRAG_ID_BYTES] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 0, 0, 3, 1};

static int frag_write(uint32_t store, size_t id_len, size_t len)
{
    struct arena a;
    Pb__FragWriteReq q = PB__FRAG_WRITE_REQ__INIT;
    struct buf *b = buf_create(len);
    memset(b->data, 0x3c, len);
    q.store = store;
    q.frag_id = (ProtobufCBinaryData){id_len, id_bytes};
    q.k = 1;
    struct rpc r = {.type = RPC_FRAG_WRITE, .req = &q, .payload = {{b, 0, len}}, .payload_count = 1};
    int err = call(&r, &a);
    arena_fini(&a);
    buf_unref(b);
    return err;
}

static int frag_read(uint32_t store, uint64_t offset, uint64_t length, size_t want)
{
    struct arena a;
    Pb__FragReadReq q = PB__FRAG_READ_REQ__INIT;
    q.store = store;
    q.frag_id = (ProtobufCBinaryData){FRAG_ID_BYTES, id_bytes};
    q.offset = offset;
    q.length = length;
    struct rpc r = {.type = RPC_FRAG_READ, .req = &q};
    int err = call(&r, &a);
    if (err == 0) {
        cr_assert_eq(r.rep_payload.len, want);
        cr_assert_eq(slice_data(r.rep_payload)[want - 1], 0x3c);
        buf_unref(r.rep_payload.buf);
    }
    arena_fini(&a);
    return err;
}

static int frag_delete(uint32_t store, unsigned *ret_deleted)
{
    struct arena a;
    Pb__FragDeleteReq q = PB__FRAG_DELETE_REQ__INIT;
    ProtobufCBinaryData ids[2] = {{FRAG_ID_BYTES, id_bytes}, {FRAG_ID_BYTES, id_bytes}};
    q.store = store;
    q.frag_ids = ids;
    q.n_frag_ids = 2;
    struct rpc r = {.type = RPC_FRAG_DELETE, .req = &q};
    int err = call(&r, &a);
    if (err == 0)
        *ret_deleted = ((Pb__FragDeleteRep *)r.rep)->deleted;
    arena_fini(&a);
    return err;
}

Test(node, the_code_follows_the_number_of_drives)
{
    static const struct {
        unsigned drives, k, m, quorum;
    } rows[] = {{1, 1, 0, 1}, {2, 1, 1, 2}, {3, 2, 1, 3},   {4, 2, 2, 3},  {5, 2, 2, 3},
                {6, 4, 2, 5}, {9, 4, 2, 5}, {12, 8, 3, 10}, {40, 8, 3, 10}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unsigned k, m;
        node_default_code(rows[i].drives, &k, &m);
        cr_assert(k == rows[i].k && m == rows[i].m, "%u drives", rows[i].drives);
        cr_assert_eq(node_write_quorum(k, m), rows[i].quorum, "%u drives", rows[i].drives);
    }
}

Test(node, fragments_go_through_rpc_and_survive_a_restart)
{
    unsigned deleted = 9;
    cr_assert_eq(start("012"), 0, "%s", t.why);
    cr_assert_eq(frag_write(1, FRAG_ID_BYTES, 100000), 0);
    cr_assert_eq(frag_read(1, 0, 0, 100000), 0);
    cr_assert_eq(frag_read(1, 65536, 100, 100), 0);
    cr_assert_eq(frag_read(0, 0, 0, 1), RPC_NOT_FOUND);
    stop();
    cr_assert_eq(start("210"), 0, "in any order: %s", t.why);
    cr_assert_eq(frag_read(1, 0, 0, 100000), 0);
    cr_assert_eq(frag_delete(1, &deleted), 0);
    cr_assert_eq(deleted, 1, "named twice, deleted once");
    cr_assert_eq(frag_read(1, 0, 0, 1), RPC_NOT_FOUND);
    cr_assert_eq(frag_delete(1, &deleted), 0);
    cr_assert_eq(deleted, 0);
    stop();
}

Test(node, rpcs_that_break_the_contract_are_refused)
{
    struct arena a;
    cr_assert_eq(start("0"), 0, "%s", t.why);
    cr_assert_eq(frag_write(7, FRAG_ID_BYTES, 10), -EINVAL, "no such store");
    cr_assert_eq(frag_write(0, FRAG_ID_BYTES - 1, 10), -EINVAL, "a short id");
    cr_assert_eq(frag_read(0, 0, 0, 1), RPC_NOT_FOUND);
    Pb__FragWriteReq q = PB__FRAG_WRITE_REQ__INIT;
    q.frag_id = (ProtobufCBinaryData){FRAG_ID_BYTES, id_bytes};
    q.k = 1;
    struct rpc r = {.type = RPC_FRAG_WRITE, .req = &q};
    cr_assert_eq(call(&r, &a), -EINVAL, "no payload");
    arena_fini(&a);
    r = (struct rpc){.type = RPC_FRAG_WRITE, .req = &q, .deadline_ns = 1};
    cr_assert_eq(call(&r, &a), E_DEADLINE);
    arena_fini(&a);
    Pb__MapGetReq mq = PB__MAP_GET_REQ__INIT;
    mq.epoch = 77;
    r = (struct rpc){.type = RPC_MAP_GET, .req = &mq};
    cr_assert_eq(call(&r, &a), RPC_NOT_FOUND);
    arena_fini(&a);
    mq.epoch = 0;
    r = (struct rpc){.type = RPC_MAP_GET, .req = &mq};
    cr_assert_eq(call(&r, &a), 0);
    const Pb__Map *map = ((Pb__MapGetRep *)r.rep)->map;
    cr_assert(map->epoch == 1 && map->k == 1 && map->m == 0 && map->n_stores == 1);
    arena_fini(&a);
    stop();
}

Test(node, one_drive_of_three_may_be_missing)
{
    struct arena a;
    cr_assert_eq(start("012"), 0, "%s", t.why);
    cr_assert_eq(frag_write(0, FRAG_ID_BYTES, 5000), 0);
    stop();
    cr_assert_eq(start("02"), 0, "%s", t.why);
    cr_assert_eq(frag_read(0, 0, 0, 5000), 0);
    cr_assert_eq(frag_read(1, 0, 0, 5000), E_UNAVAILABLE);
    Pb__StatusReq q = PB__STATUS_REQ__INIT;
    struct rpc r = {.type = RPC_STATUS, .req = &q};
    cr_assert_eq(call(&r, &a), 0);
    const Pb__StatusRep *rep = r.rep;
    cr_assert(rep->n_stores == 3 && rep->k == 2 && rep->m == 1);
    cr_assert_str_eq(rep->stores[1]->state, "missing");
    cr_assert_not_null(strstr(rep->stores[1]->why, t.dirs[1]), "it says where the drive was");
    cr_assert_str_eq(rep->stores[0]->state, "ok");
    cr_assert_eq(rep->stores[0]->fragments, 1);
    arena_fini(&a);
    stop();
    cr_assert_neq(start("1"), 0, "one of three cannot even be read");
    cr_assert_neq(t.why[0], '\0');
    cr_assert_eq(start("012"), 0, "%s", t.why);
    stop();
}

Test(node, an_empty_directory_in_place_of_a_drive_is_left_out_and_stays_empty)
{
    cr_assert_eq(start("012"), 0, "%s", t.why);
    stop();
    shell("rm -rf '%s' && mkdir '%s'", t.dirs[2], t.dirs[2]);
    cr_assert_eq(start("012"), 0, "%s", t.why);
    cr_assert_eq(frag_read(2, 0, 0, 1), E_UNAVAILABLE);
    stop();
    cr_assert_eq(rmdir(t.dirs[2]), 0, "nothing was made in it");
}

Test(node, drives_of_another_installation_refuse_the_start_by_name)
{
    cr_assert_eq(start("01"), 0, "%s", t.why);
    stop();
    cr_assert_eq(start("23"), 0, "%s", t.why);
    stop();
    cr_assert_eq(start("012"), E_FOREIGN);
    cr_assert_not_null(strstr(t.why, t.dirs[2]));
    cr_assert_eq(start("01"), 0, "%s", t.why);
    stop();
    cr_assert_eq(start("23"), 0, "and left it alone: %s", t.why);
    stop();
}

Test(node, a_copied_drive_and_one_given_twice_are_refused)
{
    cr_assert_eq(start("012"), 0, "%s", t.why);
    stop();
    cr_assert_eq(start("0121"), -EBUSY);
    cr_assert_not_null(strstr(t.why, t.dirs[1]));
    shell("cp -r '%s' '%s'", t.dirs[1], t.dirs[4]);
    cr_assert_eq(start("0124"), E_FOREIGN);
    cr_assert_not_null(strstr(t.why, t.dirs[4]));
}

Test(node, a_first_start_that_was_cut_short_goes_on)
{
    cr_assert_eq(start("012"), 0, "%s", t.why);
    stop();
    /* As if only the first drive had got its identity: no map anywhere, the others untouched. */
    for (unsigned i = 0; i < 3; i++)
        shell(i == 0 ? "rm -rf '%s'/lectern.map '%s'/meta" : "rm -rf '%s' '%s'", t.dirs[i], t.dirs[i]);
    cr_assert_eq(start("012"), 0, "%s", t.why);
    cr_assert_eq(t.node->map->n_stores, 3);
    stop();
}

Test(node, a_damaged_map_is_taken_from_another_drive_and_mended)
{
    char path[160];
    cr_assert_eq(start("012"), 0, "%s", t.why);
    stop();
    snprintf(path, sizeof path, "%s/lectern.map", t.dirs[0]);
    FILE *f = fopen(path, "r+");
    cr_assert_not_null(f);
    fseek(f, 40, SEEK_SET);
    fputc('!', f);
    fclose(f);
    cr_assert_eq(start("012"), 0, "%s", t.why);
    stop();
    shell("rm '%s'/lectern.map '%s'/lectern.map", t.dirs[1], t.dirs[2]);
    cr_assert_eq(start("012"), 0, "the first has a good one again: %s", t.why);
    stop();
}

Test(node, a_lost_or_spoilt_index_is_built_again)
{
    cr_assert_eq(start("0"), 0, "%s", t.why);
    cr_assert_eq(frag_write(0, FRAG_ID_BYTES, 70000), 0);
    stop();
    shell("rm -rf '%s'/index%s", t.dirs[0], "");
    cr_assert_eq(start("0"), 0, "%s", t.why);
    cr_assert_eq(frag_read(0, 0, 0, 70000), 0);
    stop();
    shell("for f in '%s'/index/MANIFEST* '%s'/index/CURRENT; do echo spoilt > $f; done", t.dirs[0], t.dirs[0]);
    cr_assert_eq(start("0"), 0, "%s", t.why);
    cr_assert_eq(frag_read(0, 0, 0, 70000), 0);
    stop();
}

/* Tables of the database that cannot be read: found by the rows that recovery asks for. */
Test(node, an_index_with_bad_tables_is_put_aside_and_built_again)
{
    cr_assert_eq(start("0"), 0, "%s", t.why);
    cr_assert_eq(frag_write(0, FRAG_ID_BYTES, 70000), 0);
    stop();
    cr_assert_eq(start("0"), 0, "a second start has tables: %s", t.why);
    stop();
    shell("for f in '%s'/index/*.sst; do head -c 3000 /dev/urandom > \"$f\"; done; ls '%s'/index/*.sst > /dev/null",
          t.dirs[0], t.dirs[0]);
    for (unsigned round = 0; round < 2; round++) {
        cr_assert_eq(start("0"), 0, "%s", t.why);
        cr_assert_eq(frag_read(0, 0, 0, 70000), 0);
        stop();
    }
    shell("test -d '%s'/index.bad%s", t.dirs[0], "");
}

Test(node, a_code_wider_than_the_drives_is_refused)
{
    cr_assert_neq(start_as("01", 2, 1, false), 0);
    cr_assert_neq(t.why[0], '\0');
}

Test(node, too_few_fit_drives_refuse_with_one_sentence)
{
    cr_assert_eq(start("012"), 0, "%s", t.why);
    stop();
    shell("echo garbage > '%s'/lectern.drive; echo 'lectern drive' > '%s'/lectern.drive", t.dirs[0], t.dirs[1]);
    int err = start("012");
    cr_assert_lt(err, 0);
    cr_assert(t.why[0] && !strchr(t.why, '\n'), "%s", t.why);
}
