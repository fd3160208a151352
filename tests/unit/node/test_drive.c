/* The identity of a drive: made once, kept, locked, and never taken for something that it is not. */
#include "node/drive.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];
static const uint8_t cluster[DRIVE_ID_BYTES] = {0xc1, 0x05, 7};

static void begin(void)
{
    snprintf(dir, sizeof dir, "test-drive-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
}

static void end(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(drive, .init = begin, .fini = end, .timeout = 30);

static char why[256];

static void put(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    fputs(text, f);
    fclose(f);
}

static size_t get(const char *name, char *ret, size_t cap)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "r");
    if (!f)
        return 0;
    size_t n = fread(ret, 1, cap - 1, f);
    ret[n] = '\0';
    fclose(f);
    return n;
}

static void make(void)
{
    struct drive d;
    cr_assert_eq(drive_open(dir, &d, why, sizeof why), DRIVE_FRESH);
    cr_assert_eq(drive_init(&d, cluster, 5, why, sizeof why), 0, "%s", why);
    drive_close(&d);
}

Test(drive, an_identity_comes_back_as_it_was_made)
{
    struct drive d, again;
    cr_assert_eq(drive_open(dir, &d, why, sizeof why), DRIVE_FRESH);
    cr_assert_eq(drive_init(&d, cluster, 5, why, sizeof why), 0, "%s", why);
    uint8_t id[DRIVE_ID_BYTES];
    memcpy(id, d.id, sizeof id);
    drive_close(&d);
    cr_assert_eq(drive_open(dir, &again, why, sizeof why), 0, "%s", why);
    cr_assert_eq(memcmp(again.id, id, sizeof id), 0);
    cr_assert_eq(memcmp(again.cluster_id, cluster, sizeof cluster), 0);
    cr_assert_eq(again.index, 5);
    char *path = drive_path(&again, "segments");
    struct stat st;
    cr_assert(stat(path, &st) == 0 && S_ISDIR(st.st_mode));
    free(path);
    drive_close(&again);
}

Test(drive, two_servers_never_share_one)
{
    struct drive d, other;
    char link[80];
    make();
    cr_assert_eq(drive_open(dir, &d, why, sizeof why), 0);
    cr_assert_eq(drive_open(dir, &other, why, sizeof why), -EBUSY);
    cr_assert_not_null(strstr(why, dir));
    snprintf(link, sizeof link, "%s.link", dir);
    cr_assert_eq(symlink(dir, link), 0);
    cr_assert_eq(drive_open(link, &other, why, sizeof why), -EBUSY, "not by another name either");
    unlink(link);
    drive_close(&d);
    cr_assert_eq(drive_open(dir, &d, why, sizeof why), 0, "free again");
    drive_close(&d);
}

Test(drive, a_directory_is_made_but_not_its_parents)
{
    struct drive d;
    char deep[128];
    snprintf(deep, sizeof deep, "%s/new", dir);
    cr_assert_eq(drive_open(deep, &d, why, sizeof why), DRIVE_FRESH, "%s", why);
    drive_close(&d);
    snprintf(deep, sizeof deep, "%s/a/b", dir); /* mistyped, or its drive is not mounted */
    cr_assert_eq(drive_open(deep, &d, why, sizeof why), -ENOENT);
    cr_assert_not_null(strstr(why, deep));
    put("file", "x");
    snprintf(deep, sizeof deep, "%s/file", dir);
    cr_assert_eq(drive_open(deep, &d, why, sizeof why), -ENOTDIR);
    cr_assert_not_null(strstr(why, deep));
}

Test(drive, what_is_not_ours_is_refused_by_name_and_left_as_it_was)
{
    static const struct {
        const char *what, *text;
        int err;
    } rows[] = {
        {"somebody else's file", "[drive]\nname = x\n", E_FOREIGN},
        {"an empty file", "", E_FOREIGN},
        {"a newer format with lines of its own", "lectern drive\nformat = 2\ncluster = 00\nshelf = 7\nsum = whatever\n",
         E_CORRUPT},
        {"a newer format", "lectern drive\nformat = 2\nshelf = 7\n", E_VERSION},
        {"no checksum",
         "lectern drive\nformat = 1\ncluster = 000102030405060708090a0b0c0d0e0f\n"
         "drive = 000102030405060708090a0b0c0d0e0f\nindex = 1\n",
         E_CORRUPT},
        {"a wrong checksum",
         "lectern drive\nformat = 1\ncluster = 000102030405060708090a0b0c0d0e0f\n"
         "drive = 000102030405060708090a0b0c0d0e0f\nindex = 1\nsum = 0123456789abcdef\n",
         E_CORRUPT},
        {"half of one", "lectern drive\nformat = 1\nclus", E_CORRUPT},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct drive d;
        char after[1024] = "";
        put(DRIVE_FILE, rows[i].text);
        cr_assert_eq(drive_open(dir, &d, why, sizeof why), rows[i].err, "%s: %s", rows[i].what, why);
        cr_assert_not_null(strstr(why, dir), "%s", rows[i].what);
        get(DRIVE_FILE, after, sizeof after);
        cr_assert_str_eq(after, rows[i].text);
    }
}

Test(drive, a_flip_anywhere_in_the_identity_is_seen)
{
    char text[1024];
    make();
    size_t n = get(DRIVE_FILE, text, sizeof text);
    cr_assert_gt(n, 100);
    for (size_t i = 0; i < n; i++) {
        struct drive d;
        text[i] ^= 1;
        put(DRIVE_FILE, text);
        int err = drive_open(dir, &d, why, sizeof why);
        cr_assert(err == E_CORRUPT || err == E_FOREIGN || err == E_VERSION, "byte %zu: %d", i, err);
        text[i] ^= 1;
    }
}

Test(drive, segments_without_an_identity_are_not_an_empty_drive)
{
    static const char *const names[] = {"segments", "index", "meta"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct drive d;
        char path[128];
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        mkdir(path, 0700);
        cr_assert_eq(drive_open(dir, &d, why, sizeof why), E_FOREIGN);
        cr_assert(strstr(why, dir) && strstr(why, names[i]));
        rmdir(path);
    }
    put("notes.txt", "other things are nobody's business");
    struct drive d;
    cr_assert_eq(drive_open(dir, &d, why, sizeof why), DRIVE_FRESH);
    drive_close(&d);
}

Test(drive, small_files_are_replaced_whole_and_bounded)
{
    struct drive d;
    uint8_t *bytes;
    size_t len;
    cr_assert_eq(drive_open(dir, &d, why, sizeof why), DRIVE_FRESH);
    cr_assert_eq(drive_file_read(&d, "f", 100, &bytes, &len), -ENOENT);
    cr_assert_eq(drive_file_write(&d, "f", "first version", 13), 0);
    cr_assert_eq(drive_file_write(&d, "f", "second", 6), 0);
    cr_assert_eq(drive_file_read(&d, "f", 6, &bytes, &len), 0);
    cr_assert(len == 6 && memcmp(bytes, "second", 6) == 0);
    free(bytes);
    cr_assert_eq(drive_file_read(&d, "f", 5, &bytes, &len), E_CORRUPT, "longer than it may be");
    drive_close(&d);
}
