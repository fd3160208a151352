/* The disk seam on real files: io_uring and threads through the same table, and what happens where io_uring is refused.
 */
#include "common/disk.h"
#include "common/err.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096

static const char *const engines[] = {"io_uring", "threads"};

TestSuite(disk, .timeout = 60);

struct rig {
    struct loop *loop;
    struct disk *disk;
    char dir[64];
    uint8_t *page[8];
};

static void rig_begin(struct rig *r, const char *engine)
{
    char why[256];
    snprintf(r->dir, sizeof r->dir, "test-disk-XXXXXX");
    cr_assert_not_null(mkdtemp(r->dir));
    cr_assert_eq(loop_create(clock_real(), &r->loop), 0);
    cr_assert_eq(disk_create(r->loop, engine, &r->disk, why, sizeof why), 0, "%s", why);
    cr_assert_str_eq(r->disk->name, engine);
    for (size_t i = 0; i < ARRAY_LEN(r->page); i++) {
        r->page[i] = aligned_alloc(PAGE, PAGE);
        memset(r->page[i], (int)i + 1, PAGE);
    }
}

static void rig_end(struct rig *r)
{
    for (size_t i = 0; i < ARRAY_LEN(r->page); i++)
        free(r->page[i]);
    r->disk->ops->destroy(r->disk);
    loop_turn(r->loop);
    loop_destroy(r->loop);
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", r->dir);
    cr_assert_eq(system(command), 0);
}

static void path_of(const struct rig *r, const char *name, char ret[128])
{
    snprintf(ret, 128, "%s/%s", r->dir, name);
}

static struct disk_file *make(struct rig *r, const char *name, uint64_t zeroes)
{
    char path[128];
    struct disk_file *f;
    path_of(r, name, path);
    cr_assert_eq(r->disk->ops->open(r->disk, path, DISK_CREATE | DISK_DIRECT, &f), 0);
    cr_assert_eq(r->disk->ops->zero(r->disk, f, 0, zeroes), 0);
    return f;
}

static size_t done;
static void count_done(struct disk_req *r)
{
    (void)r;
    done++;
}

static void run(struct rig *r, struct disk_req *q)
{
    size_t want = done + 1;
    q->cb = count_done;
    r->disk->ops->submit(r->disk, q);
    cr_assert_eq(done, want - 1, "never inside submit");
    while (done < want)
        loop_turn(r->loop);
}

static void bytes_come_back_in_every_shape(const char *engine);

Test(disk, bytes_come_back_in_every_shape)
{
    for (size_t i = 0; i < ARRAY_LEN(engines); i++)
        bytes_come_back_in_every_shape(engines[i]);
}

static void bytes_come_back_in_every_shape(const char *engine)
{
    struct rig r;
    rig_begin(&r, engine);
    struct disk_file *f = make(&r, "a", 16 * PAGE);
    struct disk_req q = {.op = DISK_WRITE, .file = f, .offset = 2 * PAGE, .iov_count = 8};
    for (size_t i = 0; i < 8; i++)
        q.iov[i] = (struct iovec){r.page[i], PAGE};
    run(&r, &q);
    cr_assert_eq(q.status, 0);
    cr_assert_eq(q.result_bytes, 8 * PAGE);
    struct disk_req sync = {.op = DISK_SYNC, .file = f};
    run(&r, &sync);
    cr_assert_eq(sync.status, 0);
    uint8_t *back = aligned_alloc(PAGE, 16 * PAGE);
    struct disk_req in = {.op = DISK_READ, .file = f, .iov_count = 2};
    in.iov[0] = (struct iovec){back, 3 * PAGE};
    in.iov[1] = (struct iovec){back + 3 * PAGE, 13 * PAGE};
    run(&r, &in);
    cr_assert_eq(in.status, 0);
    cr_assert_eq(in.result_bytes, 16 * PAGE);
    for (size_t i = 0; i < 16; i++)
        cr_assert_eq(back[i * PAGE + 77], i >= 2 && i < 10 ? i - 1 : 0, "page %zu", i);
    size_t got;
    cr_assert_eq(r.disk->ops->read_now(r.disk, f, 2 * PAGE, back, PAGE, &got), 0);
    cr_assert(got == PAGE && back[0] == 1);
    r.disk->ops->close(r.disk, f);
    free(back);
    rig_end(&r);
}

static void the_end_of_the_file_is_a_short_read(const char *engine);

Test(disk, the_end_of_the_file_is_a_short_read)
{
    for (size_t i = 0; i < ARRAY_LEN(engines); i++)
        the_end_of_the_file_is_a_short_read(engines[i]);
}

static void the_end_of_the_file_is_a_short_read(const char *engine)
{
    struct rig r;
    rig_begin(&r, engine);
    struct disk_file *f = make(&r, "a", 2 * PAGE);
    uint8_t *back = aligned_alloc(PAGE, 4 * PAGE);
    struct disk_req in = {.op = DISK_READ, .file = f, .offset = PAGE, .iov_count = 1};
    in.iov[0] = (struct iovec){back, 4 * PAGE};
    run(&r, &in);
    cr_assert_eq(in.status, 0);
    cr_assert_eq(in.result_bytes, PAGE);
    in = (struct disk_req){.op = DISK_READ, .file = f, .offset = 8 * PAGE, .iov_count = 1};
    in.iov[0] = (struct iovec){back, PAGE};
    run(&r, &in);
    cr_assert(in.status == 0 && in.result_bytes == 0);
    uint64_t size;
    cr_assert_eq(r.disk->ops->size(r.disk, f, &size), 0);
    cr_assert_eq(size, 2 * PAGE);
    r.disk->ops->close(r.disk, f);
    free(back);
    rig_end(&r);
}

static void errors_come_in_the_status(const char *engine);

Test(disk, errors_come_in_the_status)
{
    for (size_t i = 0; i < ARRAY_LEN(engines); i++)
        errors_come_in_the_status(engines[i]);
}

static void errors_come_in_the_status(const char *engine)
{
    struct rig r;
    char path[128];
    rig_begin(&r, engine);
    r.disk->ops->close(r.disk, make(&r, "a", PAGE));
    struct disk_file *f;
    path_of(&r, "a", path);
    cr_assert_eq(r.disk->ops->open(r.disk, path, DISK_CREATE | DISK_EXCL, &f), -EEXIST);
    cr_assert_eq(r.disk->ops->open(r.disk, path, DISK_READ_ONLY | DISK_DIRECT, &f), 0);
    struct disk_req q = {.op = DISK_WRITE, .file = f, .iov_count = 1};
    q.iov[0] = (struct iovec){r.page[0], PAGE};
    run(&r, &q);
    cr_assert_eq(q.status, -EBADF);
    r.disk->ops->close(r.disk, f);
    path_of(&r, "none", path);
    cr_assert_eq(r.disk->ops->open(r.disk, path, DISK_DIRECT, &f), -ENOENT);
    cr_assert_eq(r.disk->ops->unlink(r.disk, path), -ENOENT);
    cr_assert_eq(r.disk->ops->rename(r.disk, path, path), -ENOENT);
    rig_end(&r);
}

#define MANY 1500 /* several times the ring */

static void more_requests_than_the_ring_holds_all_complete(const char *engine);

Test(disk, more_requests_than_the_ring_holds_all_complete)
{
    for (size_t i = 0; i < ARRAY_LEN(engines); i++)
        more_requests_than_the_ring_holds_all_complete(engines[i]);
}

static void more_requests_than_the_ring_holds_all_complete(const char *engine)
{
    static struct disk_req reqs[MANY];
    struct rig r;
    rig_begin(&r, engine);
    struct disk_file *f = make(&r, "a", 64 * PAGE);
    done = 0;
    for (size_t i = 0; i < MANY; i++) {
        reqs[i] = (struct disk_req){.op = i % 50 == 49 ? DISK_SYNC : DISK_WRITE, .file = f, .cb = count_done};
        reqs[i].offset = i % 64 * PAGE;
        reqs[i].iov[0] = (struct iovec){r.page[i % 8], PAGE};
        reqs[i].iov_count = reqs[i].op == DISK_SYNC ? 0 : 1;
        r.disk->ops->submit(r.disk, &reqs[i]);
    }
    cr_assert_eq(done, 0);
    while (done < MANY)
        loop_turn(r.loop);
    for (size_t i = 0; i < MANY; i++)
        cr_assert_eq(reqs[i].status, 0);
    r.disk->ops->close(r.disk, f);
    rig_end(&r);
}

struct chain {
    struct disk_req req;
    struct rig *rig;
    unsigned left;
};
static void chain_next(struct disk_req *q)
{
    struct chain *c = container_of(q, struct chain, req);
    cr_assert_eq(q->status, 0);
    if (--c->left == 0)
        return;
    c->req = (struct disk_req){.op = c->left % 2 ? DISK_SYNC : DISK_WRITE, .file = q->file, .cb = chain_next};
    c->req.iov[0] = (struct iovec){c->rig->page[0], PAGE};
    c->req.iov_count = c->left % 2 ? 0 : 1;
    c->rig->disk->ops->submit(c->rig->disk, &c->req);
}

static void a_callback_may_submit_its_own_request_again(const char *engine);

Test(disk, a_callback_may_submit_its_own_request_again)
{
    for (size_t i = 0; i < ARRAY_LEN(engines); i++)
        a_callback_may_submit_its_own_request_again(engines[i]);
}

static void a_callback_may_submit_its_own_request_again(const char *engine)
{
    struct rig r;
    rig_begin(&r, engine);
    struct disk_file *f = make(&r, "a", PAGE);
    struct chain c = {.rig = &r, .left = 200, .req = {.op = DISK_SYNC, .file = f, .cb = chain_next}};
    r.disk->ops->submit(r.disk, &c.req);
    while (c.left > 0)
        loop_turn(r.loop);
    r.disk->ops->close(r.disk, f);
    rig_end(&r);
}

static void seen(void *ctx, const char *name)
{
    errno = ENOTTY; /* a callback may spoil errno */
    *(unsigned *)ctx += strcmp(name, "b") == 0 ? 1 : strcmp(name, "c") == 0 ? 10 : 100;
}

Test(disk, names_are_listed_renamed_and_unlinked)
{
    struct rig r;
    char a[128], b[128];
    rig_begin(&r, "threads");
    r.disk->ops->close(r.disk, make(&r, "a", PAGE));
    r.disk->ops->close(r.disk, make(&r, "c", PAGE));
    path_of(&r, "a", a);
    path_of(&r, "b", b);
    cr_assert_eq(r.disk->ops->rename(r.disk, a, b), 0);
    unsigned sum = 0;
    cr_assert_eq(r.disk->ops->list(r.disk, r.dir, seen, &sum), 0);
    cr_assert_eq(sum, 11);
    cr_assert_eq(r.disk->ops->unlink(r.disk, b), 0);
    sum = 0;
    cr_assert_eq(r.disk->ops->list(r.disk, r.dir, seen, &sum), 0);
    cr_assert_eq(sum, 10);
    cr_assert_eq(r.disk->ops->list(r.disk, "no-such-folder", seen, &sum), -ENOENT);
    uint64_t free_bytes, total_bytes;
    cr_assert_eq(r.disk->ops->space(r.disk, r.dir, &free_bytes, &total_bytes), 0);
    cr_assert(free_bytes > 0 && free_bytes <= total_bytes);
    rig_end(&r);
}

Test(disk, zero_covers_exactly_its_range)
{
    struct rig r;
    rig_begin(&r, "threads");
    struct disk_file *f = make(&r, "a", 0);
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(r.disk->ops->write_now(r.disk, f, i * PAGE, r.page[i], PAGE), 0);
    cr_assert_eq(r.disk->ops->zero(r.disk, f, PAGE, 3 * PAGE), 0);
    cr_assert_eq(r.disk->ops->zero(r.disk, f, PAGE, PAGE), 0, "only a sync");
    for (size_t i = 0; i < 4; i++) {
        size_t got;
        cr_assert_eq(r.disk->ops->read_now(r.disk, f, i * PAGE, r.page[5], PAGE, &got), 0);
        cr_assert_eq(r.page[5][9], i == 0 ? 1 : i == 3 ? 4 : 0);
    }
    r.disk->ops->close(r.disk, f);
    rig_end(&r);
}

/* What a container's seccomp profile does to io_uring_setup. */
static void refuse_io_uring(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog prog = {ARRAY_LEN(filter), filter};
    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog), 0);
}

Test(disk, where_io_uring_is_refused_threads_serve_and_one_line_says_why)
{
    struct loop *loop;
    struct disk *disk;
    char why[256];
    cr_assert_eq(loop_create(clock_real(), &loop), 0);
    refuse_io_uring();
    cr_assert_eq(disk_create(loop, NULL, &disk, why, sizeof why), 0);
    cr_assert_str_eq(disk->name, "threads");
    cr_assert(strstr(why, "io_uring is refused") && strstr(why, "threads") && !strchr(why, '\n'), "%s", why);
    disk->ops->destroy(disk);
    cr_assert_lt(disk_create(loop, "io_uring", &disk, why, sizeof why), 0, "asked for by name it is not replaced");
    cr_assert_not_null(strstr(why, "disk.engine"));
    loop_turn(loop);
    loop_destroy(loop);
}
