/* The C library against a real node behind its socket: what a program on the server's machine sees. */
#include "client/lectern.h"
#include "common/crypt.h"
#include "common/err.h"
#include "node/node.h"
#include "node/serve_socket.h"
#include <criterion/criterion.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DRIVES 3

static char root[32], dirs[DRIVES][64];
static uint8_t bytes[9 * MIB], back[9 * MIB];

struct server {
    struct loop *loop;
    struct work *work;
    struct disk *disk;
    struct node *node;
    struct node_socket *socket;
    pthread_t thread;
    struct loop_post stop;
    /* Stands before the node: does what is asked, but answers `lie` to calls of one type, and counts them. */
    struct rpc_peer front;
    enum rpc_type lie_type;
    int lie;
    unsigned lied;
    void (*lie_cb)(struct rpc *r);
};
static struct server *lying; /* the one whose front is asked */

static void front_answered(struct rpc *r)
{
    r->status = lying->lie;
    r->cb = lying->lie_cb;
    r->cb(r);
}

static void front_submit(struct rpc_peer *p, struct rpc *r)
{
    struct server *s = container_of(p, struct server, front);
    if (s->lie && r->type == s->lie_type) {
        s->lied++;
        s->lie_cb = r->cb;
        r->cb = front_answered;
        lying = s;
    }
    node_peer(s->node)->submit(node_peer(s->node), r);
}

static void *run(void *arg)
{
    loop_run(arg);
    return NULL;
}

struct bucket_call {
    struct rpc rpc;
    struct arena arena;
    bool done;
};
static void bucket_made(struct rpc *r)
{
    container_of(r, struct bucket_call, rpc)->done = true;
}

static void make_bucket(struct server *s)
{
    static char name[] = "courses", owner[] = "someone";
    Pb__BucketCreateReq req = PB__BUCKET_CREATE_REQ__INIT;
    Pb__Bucket b = PB__BUCKET__INIT;
    struct bucket_call c = {0};
    b.format = 1;
    b.name = name;
    b.owner = owner;
    req.bucket = &b;
    arena_init(&c.arena, MIB);
    c.rpc = (struct rpc){.type = RPC_BUCKET_CREATE, .req = &req, .arena = &c.arena, .cb = bucket_made};
    node_peer(s->node)->submit(node_peer(s->node), &c.rpc);
    while (!c.done) {
        loop_turn(s->loop);
        usleep(20);
    }
    cr_assert(c.rpc.status == 0 || c.rpc.status == RPC_EXISTS);
    arena_fini(&c.arena);
}

static void server_start(struct server *s)
{
    char why[256] = "", path[64];
    const char *list[DRIVES];
    for (unsigned i = 0; i < DRIVES; i++)
        list[i] = dirs[i];
    struct node_conf conf = {.dirs = list,
                             .dir_count = DRIVES,
                             .segment_bytes = 32 * MIB,
                             .compact_percent = 30,
                             .kv_cache_bytes = 8 * MIB,
                             .gc_delay_ms = 600000,
                             .upload_expire_ms = 600000};
    *s = (struct server){0};
    cr_assert_eq(loop_create(clock_real(), &s->loop), 0);
    cr_assert_eq(work_create(s->loop, 2, &s->work), 0);
    cr_assert_eq(disk_create(s->loop, NULL, &s->disk, why, sizeof why), 0);
    cr_assert_eq(node_open(s->loop, s->work, s->disk, &conf, &s->node, why, sizeof why), 0, "%s", why);
    make_bucket(s);
    snprintf(path, sizeof path, "%s/%s", dirs[0], NODE_SOCKET_NAME);
    s->front.submit = front_submit;
    cr_assert_eq(node_socket_open(s->loop, &s->front, path, &s->socket, why, sizeof why), 0, "%s", why);
    cr_assert_eq(pthread_create(&s->thread, NULL, run, s->loop), 0);
}

static void node_closed(void *ctx)
{
    loop_stop(((struct server *)ctx)->loop);
}
static void socket_closed(void *ctx)
{
    struct server *s = ctx;
    node_close(s->node, node_closed, s);
}
static void stop_posted(struct loop_post *p)
{
    struct server *s = container_of(p, struct server, stop);
    node_socket_close(s->socket, socket_closed, s);
}

static void server_stop(struct server *s)
{
    s->stop.cb = stop_posted;
    loop_post(s->loop, &s->stop);
    pthread_join(s->thread, NULL);
    s->disk->ops->destroy(s->disk);
    work_destroy(s->work);
    loop_destroy(s->loop);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}
static void before(void)
{
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 13 + (i >> 8) * 5 + (i >> 16));
    snprintf(root, sizeof root, "test-lectern-XXXXXX");
    cr_assert(mkdtemp(root));
    for (unsigned i = 0; i < DRIVES; i++)
        snprintf(dirs[i], sizeof dirs[i], "%s/d%u", root, i);
}
static void after(void)
{
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
TestSuite(lectern, .init = before, .fini = after);

static void check_etag(const char *etag, const void *p, size_t n)
{
    uint8_t md5[DIGEST_MAX];
    char hex[33];
    digest_once(DIGEST_MD5, p, n, md5);
    hex_encode(md5, 16, hex);
    cr_assert_str_eq(etag, hex);
}

Test(lectern, put_get_stat_and_delete)
{
    static const size_t sizes[] = {0, 1, 65536, 65537, 4 * MIB + 1, 9 * MIB};
    struct server s;
    struct lectern *l;
    server_start(&s);
    cr_assert_eq(lectern_open(dirs[0], &l), 0);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct lectern_stat st, again;
        struct lectern_put_options o = {.content_type = "video/mp4"};
        size_t n = sizes[i], got = 0;
        cr_assert_eq(lectern_put(l, "courses", "algebra/1.mp4", bytes, n, &o, &st), 0);
        check_etag(st.etag, bytes, n);
        cr_assert_eq(lectern_stat(l, "courses", "algebra/1.mp4", &again), 0);
        cr_assert_eq(again.size, n);
        cr_assert_str_eq(again.etag, st.etag);
        cr_assert_str_eq(again.content_type, "video/mp4");
        cr_assert_arr_eq(again.version, st.version, 16);
        cr_assert_gt(again.mtime_ms, UINT64_C(1600000000000));
        memset(back, 0, sizeof back);
        cr_assert_eq(lectern_get(l, "courses", "algebra/1.mp4", 0, back, sizeof back, &got), 0);
        cr_assert_eq(got, n);
        cr_assert_eq(memcmp(back, bytes, n), 0);
        cr_assert_eq(lectern_get(l, "courses", "algebra/1.mp4", n / 2, back, 100, &got), 0);
        cr_assert_eq(got, MIN_OF(n - n / 2, 100));
        cr_assert_eq(memcmp(back, bytes + n / 2, got), 0);
        cr_assert_eq(lectern_get(l, "courses", "algebra/1.mp4", n + 5, back, 100, &got), 0);
        cr_assert_eq(got, 0);
    }
    cr_assert_eq(lectern_delete(l, "courses", "algebra/1.mp4"), 0);
    cr_assert_eq(lectern_delete(l, "courses", "algebra/1.mp4"), 0);
    struct lectern_stat st;
    cr_assert_eq(lectern_stat(l, "courses", "algebra/1.mp4", &st), -ENOENT);
    lectern_close(l);
    server_stop(&s);
}

Test(lectern, errors_are_told_apart)
{
    struct server s;
    struct lectern *l;
    struct lectern_stat st;
    char longer[2000];
    memset(longer, 'k', sizeof longer);
    longer[sizeof longer - 1] = 0;
    cr_assert_eq(lectern_open("no/such/place", &l), -ENOENT);
    cr_assert_eq(lectern_open(root, &l), -ENOENT, "a folder without a server");
    server_start(&s);
    cr_assert_eq(lectern_open(dirs[0], &l), 0);
    cr_assert_eq(lectern_stat(l, "nobodys", "k", &st), -ENXIO);
    cr_assert_eq(lectern_put(l, "nobodys", "k", "x", 1, NULL, NULL), -ENXIO);
    cr_assert_eq(lectern_stat(l, "courses", "k", &st), -ENOENT);
    cr_assert_eq(lectern_put(l, "courses", "", "x", 1, NULL, NULL), -EINVAL);
    cr_assert_eq(lectern_put(l, "courses", longer, "x", 1, NULL, NULL), -EINVAL);
    struct lectern_put_options only_new = {.only_new = true}, same = {.if_etag = "0123"};
    cr_assert_eq(lectern_put(l, "courses", "k", "x", 1, &same, NULL), -ENOENT);
    cr_assert_eq(lectern_put(l, "courses", "k", "x", 1, &only_new, &st), 0);
    cr_assert_eq(lectern_put(l, "courses", "k", bytes, MIB, &only_new, NULL), -EEXIST);
    cr_assert_eq(lectern_put(l, "courses", "k", "y", 1, &same, NULL), -EEXIST);
    same.if_etag = st.etag;
    cr_assert_eq(lectern_put(l, "courses", "k", "y", 1, &same, NULL), 0);
    static const int public_errors[] = {0,          -ENOENT, -ENXIO, -EEXIST, -EINVAL, -ENOMEM,
                                        -ETIMEDOUT, -EAGAIN, -EIO,   -ENOSPC, -EPROTO};
    for (size_t i = 0; i < ARRAY_LEN(public_errors); i++)
        cr_assert_gt(strlen(lectern_error(public_errors[i])), 3);
    lectern_close(l);
    server_stop(&s);
    cr_assert_neq(lectern_open(dirs[0], &l), 0, "nobody listens any more");
}

struct names {
    char text[256];
    unsigned count, stop_at;
};
static int note(void *ctx, const struct lectern_entry *e)
{
    struct names *n = ctx;
    if (++n->count == n->stop_at)
        return 42;
    size_t len = strlen(n->text);
    snprintf(n->text + len, sizeof n->text - len, "%s%s:%lu ", e->is_prefix ? "+" : "", e->key, (unsigned long)e->size);
    return 0;
}

Test(lectern, lists_are_ordered_cut_by_delimiter_and_paged)
{
    struct server s;
    struct lectern *l;
    server_start(&s);
    cr_assert_eq(lectern_open(dirs[0], &l), 0);
    static const char *const keys[] = {"a/1", "a/2", "a0", "b", "c/x/y", "\xc3\xa9"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        cr_assert_eq(lectern_put(l, "courses", keys[i], bytes, i, NULL, NULL), 0);
    struct names n = {0};
    cr_assert_eq(lectern_list(l, "courses", NULL, NULL, NULL, note, &n), 0);
    cr_assert_str_eq(n.text, "a/1:0 a/2:1 a0:2 b:3 c/x/y:4 \xc3\xa9:5 ");
    n = (struct names){0};
    cr_assert_eq(lectern_list(l, "courses", NULL, "/", NULL, note, &n), 0);
    cr_assert_str_eq(n.text, "+a/:0 a0:2 b:3 +c/:0 \xc3\xa9:5 ");
    n = (struct names){0};
    cr_assert_eq(lectern_list(l, "courses", "a", NULL, "a/1", note, &n), 0);
    cr_assert_str_eq(n.text, "a/2:1 a0:2 ");
    n = (struct names){.stop_at = 2};
    cr_assert_eq(lectern_list(l, "courses", NULL, NULL, NULL, note, &n), 42);
    cr_assert_eq(n.count, 2);
    for (unsigned i = 0; i < 1100; i++) {
        char key[32];
        snprintf(key, sizeof key, "many/%04u", i);
        cr_assert_eq(lectern_put(l, "courses", key, "", 0, NULL, NULL), 0);
    }
    n = (struct names){0};
    cr_assert_eq(lectern_list(l, "courses", "many/", NULL, NULL, note, &n), 0);
    cr_assert_eq(n.count, 1100);
    n = (struct names){0};
    cr_assert_eq(lectern_list(l, "none", NULL, NULL, NULL, note, &n), -ENXIO);
    lectern_close(l);
    server_stop(&s);
}

Test(lectern, streams_write_in_any_step_and_read_the_version_they_opened)
{
    struct server s;
    struct lectern *l;
    struct lectern_writer *w;
    struct lectern_reader *r;
    struct lectern_stat st;
    server_start(&s);
    cr_assert_eq(lectern_open(dirs[0], &l), 0);
    cr_assert_eq(lectern_writer_open(l, "courses", "s", LECTERN_SIZE_UNKNOWN, NULL, &w), 0);
    for (size_t at = 0; at < sizeof bytes;) {
        size_t n = MIN_OF(sizeof bytes - at, 1 + at * 7 % 333333);
        cr_assert_eq(lectern_writer_write(w, bytes + at, n), 0);
        at += n;
    }
    cr_assert_eq(lectern_stat(l, "courses", "s", &st), -ENOENT, "nothing is visible before the commit");
    cr_assert_eq(lectern_writer_commit(w, &st), 0);
    check_etag(st.etag, bytes, sizeof bytes);
    cr_assert_eq(lectern_reader_open(l, "courses", "s", 5, LECTERN_TO_THE_END, &r, &st), 0);
    cr_assert_eq(st.size, sizeof bytes);
    cr_assert_eq(lectern_put(l, "courses", "s", "new", 3, NULL, NULL), 0);
    size_t got, sum = 0;
    do {
        cr_assert_eq(lectern_reader_read(r, back + sum, 100000, &got), 0);
        sum += got;
    } while (got);
    cr_assert_eq(sum, sizeof bytes - 5);
    cr_assert_eq(memcmp(back, bytes + 5, sum), 0);
    lectern_reader_close(r);
    cr_assert_eq(lectern_writer_open(l, "courses", "s", 9 * MIB, NULL, &w), 0);
    cr_assert_eq(lectern_writer_write(w, bytes, 5 * MIB), 0);
    lectern_writer_abort(w);
    cr_assert_eq(lectern_get(l, "courses", "s", 0, back, 10, &got), 0);
    cr_assert_eq(got, 3);
    cr_assert_eq(memcmp(back, "new", 3), 0);
    lectern_reader_close(NULL);
    lectern_writer_abort(NULL);
    lectern_close(l);
    server_stop(&s);
}

struct racer {
    struct lectern *l;
    unsigned number;
    int err;
};
static void *race(void *arg)
{
    struct racer *r = arg;
    char key[32];
    uint8_t *mine = malloc(MIB);
    for (unsigned i = 0; i < 6 && !r->err; i++) {
        size_t n = i % 2 ? MIB : 30000, got;
        snprintf(key, sizeof key, "race/%u/%u", r->number, i);
        r->err = lectern_put(r->l, "courses", key, bytes + r->number, n, NULL, NULL);
        if (!r->err)
            r->err = lectern_get(r->l, "courses", key, 0, mine, MIB, &got);
        if (!r->err && (got != n || memcmp(mine, bytes + r->number, n) != 0))
            r->err = 1;
    }
    free(mine);
    return NULL;
}

Test(lectern, many_threads_share_one_handle)
{
    struct server s;
    struct racer racers[6];
    pthread_t threads[6];
    struct lectern *l;
    server_start(&s);
    cr_assert_eq(lectern_open(dirs[0], &l), 0);
    for (unsigned i = 0; i < 6; i++) {
        racers[i] = (struct racer){l, i, 0};
        pthread_create(&threads[i], NULL, race, &racers[i]);
    }
    for (unsigned i = 0; i < 6; i++) {
        pthread_join(threads[i], NULL);
        cr_assert_eq(racers[i].err, 0);
    }
    lectern_close(l);
    server_stop(&s);
}

Test(lectern, a_server_that_was_restarted_is_found_again)
{
    struct server s;
    struct lectern *l;
    struct lectern_stat st;
    server_start(&s);
    cr_assert_eq(lectern_open(dirs[0], &l), 0);
    cr_assert_eq(lectern_put(l, "courses", "k", bytes, MIB, NULL, NULL), 0);
    server_stop(&s);
    cr_assert_eq(lectern_stat(l, "courses", "k", &st), -EAGAIN);
    server_start(&s);
    cr_assert_eq(lectern_stat(l, "courses", "k", &st), 0);
    cr_assert_eq(st.size, MIB);
    size_t got;
    cr_assert_eq(lectern_get(l, "courses", "k", 0, back, MIB, &got), 0);
    cr_assert_eq(memcmp(back, bytes, MIB), 0);
    lectern_close(l);
    server_stop(&s);
}

Test(lectern, a_commit_that_fails_after_it_was_made_keeps_the_bytes)
{
    static const int lies[] = {-ENOSPC, E_KV, -EIO, E_QUORUM, E_DEADLINE};
    for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
        struct server s;
        struct lectern *l;
        size_t got;
        server_start(&s);
        cr_assert_eq(lectern_open(dirs[0], &l), 0);
        s.lie_type = RPC_OBJECT_PUT;
        s.lie = lies[i];
        cr_assert_lt(lectern_put(l, "courses", "k", bytes, MIB, NULL, NULL), 0);
        s.lie = 0;
        usleep(50000); /* a sweep would have run by now */
        cr_assert_eq(lectern_get(l, "courses", "k", 0, back, MIB, &got), 0, "%s", err_text(lies[i]));
        cr_assert_eq(memcmp(back, bytes, MIB), 0);
        lectern_close(l);
        server_stop(&s);
    }
}

Test(lectern, a_change_whose_outcome_is_unknown_is_never_asked_for_twice)
{
    struct server s;
    struct lectern *l;
    struct lectern_stat st;
    server_start(&s);
    cr_assert_eq(lectern_open(dirs[0], &l), 0);
    s.lie_type = RPC_OBJECT_DELETE;
    s.lie = -ECONNRESET;
    cr_assert_eq(lectern_delete(l, "courses", "k"), -ETIMEDOUT);
    cr_assert_eq(s.lied, 1);
    s.lie_type = RPC_OBJECT_PUT;
    s.lied = 0;
    cr_assert_eq(lectern_put(l, "courses", "k", bytes, 100, NULL, NULL), -ETIMEDOUT);
    cr_assert_eq(s.lied, 1);
    s.lie_type = RPC_OBJECT_GET; /* a read may be asked for again */
    s.lied = 0;
    cr_assert_eq(lectern_stat(l, "courses", "k", &st), -ETIMEDOUT);
    cr_assert_gt(s.lied, 1);
    lectern_close(l);
    server_stop(&s);
}
