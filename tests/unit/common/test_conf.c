/* conf: what a value may look like, who wins, and that a mistake is named by its place. */
#include "common/conf.h"
#include "common/err.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char why[512];

static void write_file(char path[64], const char *text)
{
    snprintf(path, 64, "/tmp/lectern-conf-XXXXXX");
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    cr_assert(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static int load(struct conf *c, const char *text)
{
    char path[64];
    write_file(path, text);
    why[0] = 0;
    int err = conf_load_file(c, path, why, sizeof(why));
    unlink(path);
    return err;
}

Test(conf, defaults_parse_and_are_marked_as_defaults)
{
    struct conf c;
    conf_init(&c);
    cr_expect_str_eq(conf_str(&c, CONF_S3_LISTEN), "127.0.0.1:9000");
    cr_expect_eq(conf_num(&c, CONF_SEGMENT_BYTES), 256 * MIB);
    cr_expect_eq(conf_num(&c, CONF_GC_DELAY), 10 * 60 * 1000);
    cr_expect_eq(conf_num(&c, CONF_UPLOAD_EXPIRE), UINT64_C(168) * 3600 * 1000);
    for (int k = 0; k < CONF_COUNT; k++)
        cr_expect_eq(c.source[k], CONF_DEFAULT);
    conf_fini(&c);
}

Test(conf, values_are_parsed_by_type)
{
    static const struct {
        enum conf_key key;
        const char *text;
        int err;
        uint64_t number;
    } rows[] = {
        {CONF_SEGMENT_BYTES, "64MiB", 0, 64 * MIB},
        {CONF_SEGMENT_BYTES, " 64 mib ", 0, 64 * MIB},
        {CONF_SEGMENT_BYTES, "4096", 0, 4096},
        {CONF_SEGMENT_BYTES, "3GiB", 0, 3 * GIB},
        {CONF_SEGMENT_BYTES, "64MB", -EINVAL, 0},
        {CONF_SEGMENT_BYTES, "-1", -EINVAL, 0},
        {CONF_SEGMENT_BYTES, "", -EINVAL, 0},
        {CONF_SEGMENT_BYTES, "MiB", -EINVAL, 0},
        {CONF_SEGMENT_BYTES, "18446744073709551615KiB", -EINVAL, 0},
        {CONF_SEGMENT_BYTES, "99999999999999999999", -EINVAL, 0},
        {CONF_GC_DELAY, "250ms", 0, 250},
        {CONF_GC_DELAY, "2m", 0, 120000},
        {CONF_GC_DELAY, "1h", 0, 3600000},
        {CONF_GC_DELAY, "1 fortnight", -EINVAL, 0},
        {CONF_WORK_THREADS, "8", 0, 8},
        {CONF_WORK_THREADS, "8 threads", -EINVAL, 0},
        {CONF_WORK_THREADS, "0x8", -EINVAL, 0},
        {CONF_S3_DOMAIN, "media.example", 0, 0},
        {CONF_S3_DOMAIN, "two\nlines", -EINVAL, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct conf c;
        conf_init(&c);
        int err = conf_set(&c, rows[i].key, rows[i].text, CONF_FLAG, "--x", why, sizeof(why));
        cr_expect_eq(err, rows[i].err, "\"%s\" gave %d", rows[i].text, err);
        if (err == 0)
            cr_expect_eq(conf_num(&c, rows[i].key), rows[i].number, "\"%s\"", rows[i].text);
        else
            cr_expect_eq(c.source[rows[i].key], CONF_DEFAULT, "a refused value must not be kept");
        conf_fini(&c);
    }
}

Test(conf, a_stronger_source_wins_in_any_order)
{
    struct conf c;
    conf_init(&c);
    cr_assert_eq(conf_set(&c, CONF_CODE, "2+1", CONF_FLAG, "--code", why, sizeof(why)), 0);
    setenv("LECTERN_CODE", "4+2", 1);
    cr_assert_eq(conf_load_env(&c, why, sizeof(why)), 0);
    cr_assert_eq(load(&c, "code = 8+3\n[log]\nlevel = debug\n"), 0, "%s", why);
    cr_expect_str_eq(conf_str(&c, CONF_CODE), "2+1");
    cr_expect_eq(c.source[CONF_CODE], CONF_FLAG);
    cr_expect_str_eq(conf_str(&c, CONF_LOG_LEVEL), "debug");
    cr_expect_eq(c.source[CONF_LOG_LEVEL], CONF_FILE);
    cr_expect(strstr(c.where[CONF_LOG_LEVEL], ":3"), "the line is kept: %s", c.where[CONF_LOG_LEVEL]);
    unsetenv("LECTERN_CODE");
    conf_fini(&c);
}

Test(conf, a_mistake_in_the_file_is_named_by_line)
{
    char longest[400];
    memset(longest, 'x', sizeof(longest));
    memcpy(longest, "code = ", 7);
    longest[sizeof(longest) - 1] = 0;
    const struct {
        const char *text, *place, *says;
    } rows[] = {
        {"[s3]\nlisten = :1\nlisen = :2\n", ":3", "no key \"s3.lisen\""},
        {"[s3]\nlisten = :1\nlisten = :2\n", ":3", "given twice"},
        {"\n\n[gc]\ndelay = soon\n", ":4", "\"soon\""},
        {"code = 4+2\nwhat is this\n", ":2", "neither"},
        {"; comment\n# another\n[gc\n", ":3", "neither"},
        {longest, ":1", "longer than"},
        {"s3-listen = :1\n", ":1", "no key"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct conf c;
        conf_init(&c);
        cr_expect_neq(load(&c, rows[i].text), 0, "row %zu must be refused", i);
        cr_expect(strstr(why, rows[i].place), "row %zu: %s", i, why);
        cr_expect(strstr(why, rows[i].says), "row %zu: %s", i, why);
        conf_fini(&c);
    }
}

Test(conf, a_secret_never_stands_in_a_sentence)
{
    struct conf c;
    conf_init(&c);
    cr_assert_neq(conf_set(&c, CONF_ADMIN_TOKEN, "hush\nhush", CONF_ENV, NULL, why, sizeof(why)), 0);
    cr_expect_null(strstr(why, "hush"), "%s", why);
    cr_expect(strstr(why, "LECTERN_ADMIN_TOKEN"), "%s", why);
    conf_fini(&c);
}

Test(conf, a_missing_file_is_one_sentence)
{
    struct conf c;
    conf_init(&c);
    cr_expect_eq(conf_load_file(&c, "/nonexistent/lectern.conf", why, sizeof(why)), -ENOENT);
    cr_expect(strstr(why, "/nonexistent/lectern.conf"), "%s", why);
    conf_fini(&c);
}

Test(conf, keys_are_found_as_key_and_as_flag)
{
    cr_expect_eq(conf_find("s3.listen"), CONF_S3_LISTEN);
    cr_expect_eq(conf_find("s3-listen"), CONF_S3_LISTEN);
    cr_expect_eq(conf_find("store-segment-bytes"), CONF_SEGMENT_BYTES);
    cr_expect_eq(conf_find("external_url"), CONF_EXTERNAL_URL);
    cr_expect_eq(conf_find("s3"), -ENOENT);
    cr_expect_eq(conf_find(""), -ENOENT);
}
