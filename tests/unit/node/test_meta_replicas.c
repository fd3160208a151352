/* Several replicas: what happens when drives go, come back, and lie. */
#include "tests/lib/meta_fixture.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct meta_fixture f;

static void fini(void)
{
    meta_fixture_fini(&f);
}

TestSuite(meta_replicas, .fini = fini);

static void begin(unsigned replicas)
{
    meta_fixture_init(&f, replicas);
    cr_assert_eq(meta_fixture_open(&f), 0, "%s", f.why);
    cr_assert_eq(fix_bucket(&f, "b"), 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void)st, (void)type, (void)walk;
    return remove(path);
}

static void wipe(unsigned replica, const char *what)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", f.dirs[replica], what);
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The replicas of which the bit is set are there at the next open. */
static void present(unsigned set)
{
    static struct meta_replica_conf some[META_REPLICAS_MAX];
    f.conf.replica_count = 0;
    for (unsigned i = 0; i < META_REPLICAS_MAX; i++)
        if (set & 1U << i)
            some[f.conf.replica_count++] = f.replicas[i];
    f.conf.replicas = some;
}

static unsigned in_sync(void)
{
    struct meta_status s;
    unsigned set = 0;
    meta_status(f.meta, &s);
    for (unsigned i = 0; i < s.replica_count; i++)
        set |= s.replicas[i].in_sync ? 1U << s.replicas[i].index : 0;
    return set;
}

static const char *get(const char *key)
{
    static char text[256];
    int err = fix_get(&f, "b", key, text, sizeof text);
    if (err)
        snprintf(text, sizeof text, "!%d", err);
    return text;
}

/* Every copy alone, on the operator's word, holds these. */
static void each_copy_alone_has(const char *key, const char *text)
{
    for (unsigned i = 0; i < 3; i++) {
        char cmd[512];
        if (f.meta)
            meta_fixture_close(&f);
        snprintf(cmd, sizeof cmd, "cp -a %s %s.kept", f.dirs[i], f.dirs[i]);
        cr_assert_eq(system(cmd), 0);
        present(1U << i);
        f.conf.accept_missing = true;
        cr_assert_eq(meta_fixture_open(&f), 0, "%s", f.why);
        cr_expect_str_eq(get(key), text, "replica %u", i);
        meta_fixture_close(&f);
        snprintf(cmd, sizeof cmd, "rm -rf %s && mv %s.kept %s", f.dirs[i], f.dirs[i], f.dirs[i]);
        cr_assert_eq(system(cmd), 0);
    }
    f.conf.accept_missing = false;
    present(7);
}

Test(meta_replicas, three_copies_are_alike)
{
    begin(3);
    cr_expect_eq(fix_put(&f, "b", "k", "one"), 0);
    cr_expect_eq(in_sync(), 7);
    each_copy_alone_has("k", "one");
    meta_fixture_reopen(&f);
    cr_expect_eq(in_sync(), 7);
    cr_expect_str_eq(get("k"), "one");
}

Test(meta_replicas, a_start_without_any_one_of_three_goes_on_and_its_return_fills_it)
{
    for (unsigned gone = 0; gone < 3; gone++) {
        begin(3);
        cr_expect_eq(fix_put(&f, "b", "old", "one"), 0);
        meta_fixture_close(&f);
        present(7 & ~(1U << gone));
        meta_fixture_reopen(&f);
        cr_expect_eq(in_sync(), 7 & ~(1U << gone));
        cr_expect_str_eq(get("old"), "one");
        cr_expect_eq(fix_put(&f, "b", "new", "two"), 0);
        cr_expect_eq(fix_delete(&f, "b", "old"), 0);
        meta_fixture_close(&f);
        present(7);
        meta_fixture_reopen(&f);
        cr_expect_eq(in_sync(), 7);
        each_copy_alone_has("new", "two");
        each_copy_alone_has("old", "!1");
        if (gone < 2)
            meta_fixture_fini(&f);
    }
}

Test(meta_replicas, below_a_majority_it_does_not_start_without_the_operators_word)
{
    begin(3);
    cr_expect_eq(fix_put(&f, "b", "k", "one"), 0);
    meta_fixture_close(&f);
    present(2);
    cr_expect_eq(meta_fixture_open(&f), E_QUORUM);
    cr_expect(strstr(f.why, "only 1 of 3"), "%s", f.why);
    f.conf.accept_missing = true;
    meta_fixture_reopen(&f);
    cr_expect_str_eq(get("k"), "one");
    cr_expect_eq(fix_put(&f, "b", "k", "two"), 0);
    f.conf.accept_missing = false;
    present(7);
    meta_fixture_reopen(&f);
    cr_expect_eq(in_sync(), 7);
    each_copy_alone_has("k", "two");
}

Test(meta_replicas, two_halves_that_went_separate_ways_are_refused)
{
    begin(2);
    for (unsigned i = 0; i < 2; i++) {
        present(1U << i);
        f.conf.accept_missing = true;
        meta_fixture_reopen(&f);
        cr_expect_eq(fix_put(&f, "b", "k", i ? "one" : "two"), 0);
        meta_fixture_close(&f);
    }
    present(3);
    cr_expect_eq(meta_fixture_open(&f), E_FOREIGN);
    cr_expect(strstr(f.why, "separate ways"), "%s", f.why);
}

Test(meta_replicas, two_replicas_need_both)
{
    begin(2);
    meta_fixture_close(&f);
    present(1);
    cr_expect_eq(meta_fixture_open(&f), E_QUORUM);
    present(3);
    meta_fixture_reopen(&f);
    cr_expect_eq(fix_put(&f, "b", "k", "one"), 0);
}

Test(meta_replicas, a_new_installation_needs_all_its_drives)
{
    meta_fixture_init(&f, 3);
    present(3);
    cr_expect_eq(meta_fixture_open(&f), E_QUORUM);
    present(7);
    cr_expect_eq(meta_fixture_open(&f), 0, "%s", f.why);
}

static void damage(unsigned replica, const char *folder, const char *suffix)
{
    char dir[200], path[512];
    snprintf(dir, sizeof dir, "%s/%s", f.dirs[replica], folder);
    DIR *d = opendir(dir);
    cr_assert(d);
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        size_t len = strlen(e->d_name), n = strlen(suffix);
        if (len < n || strcmp(e->d_name + len - n, suffix) != 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        int fd = open(path, O_RDWR);
        cr_assert_geq(fd, 0);
        struct stat st;
        fstat(fd, &st);
        char junk[64];
        memset(junk, 0xa5, sizeof junk);
        for (off_t at = 0; at < st.st_size; at += 512)
            cr_assert_eq(pwrite(fd, junk, sizeof junk, at), (ssize_t)sizeof junk);
        close(fd);
    }
    closedir(d);
}

Test(meta_replicas, a_damaged_copy_is_filled_again_whichever_part_is_damaged)
{
    static const struct {
        const char *folder, *suffix;
    } rows[] = {{"db", "CURRENT"}, {"db", ".log"}, {"db", ".sst"}, {"log", ".log"}, {"", "register"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        begin(3);
        for (int n = 0; n < 20; n++) {
            char key[16];
            snprintf(key, sizeof key, "k%d", n);
            cr_assert_eq(fix_put(&f, "b", key, "text"), 0);
        }
        meta_fixture_reopen(&f);
        meta_fixture_close(&f);
        damage(1, rows[i].folder, rows[i].suffix);
        meta_fixture_reopen(&f);
        cr_expect_eq(in_sync(), 7, "%s%s: %x", rows[i].folder, rows[i].suffix, in_sync());
        cr_expect_eq(fix_put(&f, "b", "after", "there"), 0);
        cr_expect_str_eq(get("k7"), "text");
        each_copy_alone_has("after", "there");
        if (i + 1 < ARRAY_LEN(rows))
            meta_fixture_fini(&f);
    }
}

Test(meta_replicas, an_empty_drive_in_the_place_of_a_lost_one_is_filled)
{
    begin(3);
    cr_expect_eq(fix_put(&f, "b", "k", "one"), 0);
    meta_fixture_close(&f);
    wipe(2, "");
    memset(f.replicas[2].id, 0xee, META_ID_BYTES);
    present(7);
    meta_fixture_reopen(&f);
    cr_expect_eq(in_sync(), 7);
    each_copy_alone_has("k", "one");
    present(5); /* the lost one counts no more: two of the three that are members now */
    meta_fixture_reopen(&f);
    cr_expect_eq(in_sync(), 5);
}

Test(meta_replicas, what_a_newer_lectern_wrote_is_refused_by_name_and_left_alone)
{
    char path[256];
    struct kv *kv;
    struct kv_conf conf = {0};
    struct kv_batch b;
    Pb__MetaApplied row = PB__META_APPLIED__INIT;
    uint8_t bytes[64];
    begin(1);
    cr_expect_eq(fix_put(&f, "b", "k", "one"), 0);
    meta_fixture_close(&f);
    snprintf(path, sizeof path, "%s/db", f.dirs[0]);
    for (uint32_t format = 2; format >= 1; format--) {
        cr_assert_eq(kv_rocks_open(path, &conf, &kv, f.why, sizeof f.why), 0);
        struct arena a;
        struct str value;
        arena_init(&a, MIB);
        cr_assert_eq(kv->ops->get(kv, STR("s/applied"), &a, &value), 0);
        Pb__MetaApplied *was = pb__meta_applied__unpack(NULL, value.len, (const uint8_t *)value.p);
        row.format = format;
        row.epoch = was->epoch;
        row.seq = was->seq;
        pb__meta_applied__free_unpacked(was, NULL);
        size_t len = pb__meta_applied__pack(&row, bytes);
        kv_batch_init(&b);
        kv_batch_put(&b, STR("s/applied"), (struct str){(const char *)bytes, len});
        cr_assert_eq(kv->ops->write(kv, &b, true), 0);
        kv_batch_fini(&b);
        kv->ops->close(kv);
        arena_fini(&a);
        cr_expect_eq(meta_fixture_open(&f), format == 2 ? E_VERSION : 0);
        if (format == 2)
            cr_expect(strstr(f.why, f.dirs[0]) && strstr(f.why, "version"), "%s", f.why);
    }
    cr_expect_str_eq(get("k"), "one");
}

Test(meta_replicas, when_every_copy_is_bad_it_says_so)
{
    begin(2);
    cr_expect_eq(fix_put(&f, "b", "k", "one"), 0);
    meta_fixture_close(&f);
    damage(0, "db", "CURRENT");
    damage(1, "db", "CURRENT");
    cr_expect_eq(meta_fixture_open(&f), E_CORRUPT);
    cr_expect(strstr(f.why, "no copy of the metadata is whole"), "%s", f.why);
}

Test(meta_replicas, lost_registers_never_make_an_old_installation_a_new_one)
{
    static const bool remove_them[] = {false, true};
    for (size_t i = 0; i < ARRAY_LEN(remove_them); i++) {
        begin(3);
        cr_expect_eq(fix_put(&f, "b", "k", "one"), 0);
        meta_fixture_close(&f);
        for (unsigned n = 0; n < 3; n++)
            remove_them[i] ? wipe(n, "register") : damage(n, "", "register");
        cr_expect_eq(meta_fixture_open(&f), E_CORRUPT);
        cr_expect(strstr(f.why, "no copy of the metadata is whole"), "%s", f.why);
        if (i == 0)
            meta_fixture_fini(&f);
    }
}
