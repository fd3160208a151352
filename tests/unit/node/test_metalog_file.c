/* The log of one replica: appends, turns of the files, and what is found after a crash or damage. */
#include "node/metalog_file.h"
#include "common/work.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct loop *loop;
static struct work *work;
static struct disk *disk;
static struct metalog_file *log_file;
static char dir[64], why[256];
static const uint8_t drive[16] = "this drive";
static unsigned syncs;
static int sync_err;

static int sync_applied(void *ctx)
{
    (void)ctx;
    syncs++;
    return sync_err;
}

static void idle(void *ctx)
{
    (void)ctx;
}

static int open_log(void)
{
    struct metalog_file_conf conf = {.loop = loop,
                                     .disk = disk,
                                     .work = work,
                                     .dir = dir,
                                     .drive_id = drive,
                                     .file_bytes = 5 * MIB,
                                     .sync_applied = sync_applied,
                                     .idle = idle};
    return metalog_file_open(&conf, &log_file, why, sizeof why);
}

static void turn(void)
{
    loop_turn(loop);
    usleep(50);
}

static void close_log(void)
{
    while (!metalog_file_idle(log_file))
        turn();
    metalog_file_close(log_file);
    log_file = NULL;
}

static void init(void)
{
    snprintf(dir, sizeof dir, "/var/tmp/lectern-log-XXXXXX");
    cr_assert(mkdtemp(dir));
    cr_assert_eq(loop_create(clock_real(), &loop), 0);
    cr_assert_eq(work_create(loop, 2, &work), 0);
    cr_assert_eq(disk_create(loop, "threads", &disk, why, sizeof why), 0);
    syncs = 0;
    sync_err = 0;
    cr_assert_eq(open_log(), 0, "%s", why);
    cr_assert_eq(metalog_file_reset(log_file, 1), 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void)st, (void)type, (void)walk;
    return remove(path);
}

static void fini(void)
{
    if (log_file)
        close_log();
    disk->ops->destroy(disk);
    work_destroy(work);
    loop_destroy(loop);
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

TestSuite(metalog_file, .init = init, .fini = fini, .timeout = 60);

struct append {
    struct metalog_append a;
    int err;
    bool done;
};

static void appended(struct metalog_append *a, int err)
{
    struct append *own = container_of(a, struct append, a);
    own->err = err;
    own->done = true;
}

/* The payload of entry seq: its number, then n bytes that depend on it. */
static int put(uint64_t epoch, uint64_t seq, size_t n)
{
    struct metalog_entry e;
    struct append a = {.a.cb = appended};
    char *bytes = malloc(n + 8);
    put_be64((uint8_t *)bytes, seq * 1000 + epoch);
    memset(bytes + 8, (int)seq, n);
    cr_assert_eq(metalog_entry_init(&e, (struct str){bytes, n + 8}), 0);
    e.epoch = epoch;
    e.seq = seq;
    metalog_file_append(log_file, &e, &a.a);
    cr_assert_not(a.done);
    while (!a.done)
        turn();
    metalog_entry_fini(&e);
    free(bytes);
    return a.err;
}

struct seen {
    uint64_t first, last, count;
    bool bad;
};

static int see(void *ctx, uint64_t epoch, uint64_t seq, struct str bytes)
{
    struct seen *s = ctx;
    s->first = s->count ? s->first : seq;
    s->bad |= s->count && seq != s->last + 1;
    s->bad |= bytes.len < 8 || get_be64((const uint8_t *)bytes.p) != seq * 1000 + epoch;
    for (size_t i = 8; i < bytes.len; i++)
        s->bad |= (uint8_t)bytes.p[i] != (uint8_t)seq;
    s->last = seq;
    s->count++;
    return 0;
}

static struct seen each(uint64_t from)
{
    struct seen s = {0};
    cr_assert_eq(metalog_file_each(log_file, from, see, &s), 0);
    cr_expect_not(s.bad);
    return s;
}

static void reopen(void)
{
    close_log();
    cr_assert_eq(open_log(), 0, "%s", why);
}

Test(metalog_file, gives_back_what_was_appended_whatever_its_size)
{
    static const size_t sizes[] = {0, 1, 4088, 4089, 65528, 65529, 1000000, 0};
    for (uint64_t i = 0; i < ARRAY_LEN(sizes); i++)
        cr_assert_eq(put(3, 41 + i, sizes[i]), 0);
    reopen();
    struct metalog_run run = metalog_file_run(log_file);
    cr_expect(run.first_seq == 41 && run.last_seq == 48 && run.last_epoch == 3);
    cr_expect_eq(each(41).count, 8);
    cr_expect_eq(each(47).count, 2);
    cr_expect_eq(each(49).count, 0);
    cr_expect_eq(metalog_file_epoch_of(log_file, 44), 3);
    cr_expect_eq(metalog_file_epoch_of(log_file, 40), 0);
}

Test(metalog_file, the_largest_entry_fits_and_a_larger_one_is_refused)
{
    struct metalog_entry e;
    char *bytes = calloc(1, METALOG_ENTRY_MAX + 1);
    cr_expect_eq(metalog_entry_init(&e, (struct str){bytes, METALOG_ENTRY_MAX + 1}), E_LIMIT);
    free(bytes);
    for (uint64_t seq = 1; seq <= 4; seq++)
        cr_assert_eq(put(1, seq, METALOG_ENTRY_MAX - 8), 0);
    reopen();
    cr_expect_eq(metalog_file_run(log_file).last_seq, 4);
}

static unsigned file_count(void)
{
    unsigned n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e = readdir(d); e; e = readdir(d))
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

Test(metalog_file, two_files_take_turns_for_ever_and_the_end_is_always_there)
{
    for (uint64_t seq = 1; seq <= 60; seq++)
        cr_assert_eq(put(1, seq, 700000), 0);
    cr_expect_gt(syncs, 5);
    cr_expect_eq(file_count(), 2);
    reopen();
    struct metalog_run run = metalog_file_run(log_file);
    cr_expect_eq(run.last_seq, 60);
    cr_expect_leq(run.first_seq, 58, "the file before stays until the next one is full");
    cr_expect_eq(each(run.first_seq).last, 60);
    cr_assert_eq(metalog_file_reset(log_file, 61), 0);
    cr_expect_eq(metalog_file_run(log_file).last_seq, 0);
    cr_expect_eq(file_count(), 2);
    cr_assert_eq(put(2, 61, 10), 0);
    reopen();
    cr_expect_eq(metalog_file_run(log_file).first_seq, 61, "the files still hold old bytes, but no entries");
}

Test(metalog_file, takes_nothing_more_when_the_database_could_not_be_made_durable)
{
    int err = 0;
    sync_err = -EIO;
    for (uint64_t seq = 1; seq <= 30 && !err; seq++)
        err = put(1, seq, 700000);
    cr_expect_eq(err, -EIO);
    cr_expect_eq(put(1, 99, 1), -EIO);
    reopen();
    cr_expect_eq(metalog_file_run(log_file).first_seq, 1, "nothing was thrown away");
}

Test(metalog_file, an_entry_of_a_later_epoch_replaces_the_tail_from_its_number_on)
{
    for (uint64_t seq = 1; seq <= 5; seq++)
        cr_assert_eq(put(1, seq, 100), 0);
    cr_assert_eq(put(2, 4, 100), 0);
    reopen();
    struct metalog_run run = metalog_file_run(log_file);
    cr_expect(run.first_seq == 1 && run.last_seq == 4 && run.last_epoch == 2);
    cr_expect_eq(metalog_file_epoch_of(log_file, 3), 1);
    cr_expect_eq(each(1).count, 4);
}

static void spoil_all(off_t at)
{
    char path[400];
    DIR *d = opendir(dir);
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        int fd = open(path, O_RDWR);
        cr_assert_eq(pwrite(fd, "spoilt", 6, at), 6);
        close(fd);
    }
    closedir(d);
}

Test(metalog_file, damage_shows_as_a_hole_and_a_torn_end_as_a_shorter_log)
{
    static const struct {
        unsigned page; /* 0: head; then header and payload of each entry */
        uint64_t first, last;
    } rows[] = {{0, 1, 5}, {1, 2, 5}, {2, 2, 5}, {5, 4, 5}, {6, 4, 5}, {9, 1, 4}, {10, 1, 4}};
    for (uint64_t seq = 1; seq <= 5; seq++)
        cr_assert_eq(put(1, seq, 100), 0);
    close_log();
    char cmd[256];
    snprintf(cmd, sizeof cmd, "cp -a %s %s.kept", dir, dir);
    cr_assert_eq(system(cmd), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        spoil_all((off_t)rows[i].page * SEGMENT_PAGE + 50);
        cr_assert_eq(open_log(), 0, "%s", why);
        struct metalog_run run = metalog_file_run(log_file);
        cr_expect(run.first_seq == rows[i].first && run.last_seq == rows[i].last, "page %u: %d to %d", rows[i].page,
                  (int)run.first_seq, (int)run.last_seq);
        each(run.first_seq);
        close_log();
        snprintf(cmd, sizeof cmd, "rm -r %s && cp -a %s.kept %s", dir, dir, dir);
        cr_assert_eq(system(cmd), 0);
    }
    snprintf(cmd, sizeof cmd, "rm -r %s.kept", dir);
    cr_assert_eq(system(cmd), 0);
}

Test(metalog_file, a_damaged_head_brings_back_no_entry_of_an_earlier_use)
{
    for (uint64_t seq = 1; seq <= 23; seq++)
        cr_assert_eq(put(1, seq, 700000), 0);
    close_log();
    spoil_all(50);
    cr_assert_eq(open_log(), 0, "%s", why);
    struct metalog_run run = metalog_file_run(log_file);
    cr_expect_eq(run.last_seq, 23);
    cr_expect_eq(each(run.first_seq).last, 23);
}

Test(metalog_file, files_of_another_drive_are_refused)
{
    cr_assert_eq(put(1, 1, 100), 0);
    close_log();
    struct metalog_file_conf conf = {.loop = loop,
                                     .disk = disk,
                                     .work = work,
                                     .dir = dir,
                                     .drive_id = (const uint8_t *)"another drive..",
                                     .file_bytes = 5 * MIB,
                                     .sync_applied = sync_applied,
                                     .idle = idle};
    cr_expect_eq(metalog_file_open(&conf, &log_file, why, sizeof why), E_FOREIGN);
    log_file = NULL;
}
