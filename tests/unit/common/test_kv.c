/* The same table over RocksDB and memory: what one does, the other does. */
#include "common/kv.h"
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

struct fix {
    struct kv *kv;
    char dir[64];
    bool rocks;
};

static void fix_open(struct fix *f)
{
    char why[256] = "";
    struct kv_conf conf = {.block_cache_bytes = MIB};
    int err = f->rocks ? kv_rocks_open(f->dir, &conf, &f->kv, why, sizeof why) : kv_mem_open(&f->kv);
    cr_assert_eq(err, 0, "%s", why);
}

static void fix_init(struct fix *f, bool rocks)
{
    *f = (struct fix){.rocks = rocks};
    snprintf(f->dir, sizeof f->dir, "/var/tmp/lectern-kv-XXXXXX");
    cr_assert(mkdtemp(f->dir));
    fix_open(f);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void)st, (void)type, (void)walk;
    return remove(path);
}

static void fix_fini(struct fix *f)
{
    f->kv->ops->close(f->kv);
    nftw(f->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* "a=1 b=2 -c d..f" : puts, deletes and range deletes. */
static int apply(struct kv *kv, const char *text, bool sync)
{
    struct kv_batch b;
    kv_batch_init(&b);
    struct str rest = str_c(text), word;
    while (str_split(&rest, ' ', &word)) {
        const char *eq = memchr(word.p, '=', word.len), *dots = memmem(word.p, word.len, "..", 2);
        if (word.p[0] == '-')
            kv_batch_del(&b, (struct str){word.p + 1, word.len - 1});
        else if (eq)
            kv_batch_put(&b, (struct str){word.p, (size_t)(eq - word.p)},
                         (struct str){eq + 1, word.len - (size_t)(eq - word.p) - 1});
        else if (dots)
            kv_batch_del_range(&b, (struct str){word.p, (size_t)(dots - word.p)},
                               (struct str){dots + 2, word.len - (size_t)(dots - word.p) - 2});
    }
    int err = kv->ops->write(kv, &b, sync);
    kv_batch_fini(&b);
    return err;
}

static const char *walk(struct kv_iter *it, const char *from, bool reverse)
{
    static char line[512];
    size_t at = 0;
    line[0] = 0;
    if (reverse)
        it->ops->seek_prev(it, str_c(from));
    else
        it->ops->seek(it, str_c(from));
    for (; it->ops->valid(it); reverse ? it->ops->prev(it) : it->ops->next(it)) {
        struct str k = it->ops->key(it), v = it->ops->value(it);
        at += (size_t)snprintf(line + at, sizeof line - at, "%s" STR_FMT "=" STR_FMT, at ? " " : "", STR_ARG(k),
                               STR_ARG(v));
    }
    cr_assert_eq(it->ops->status(it), 0);
    return line;
}

static const char *all(struct kv *kv, const char *from, bool reverse)
{
    struct kv_iter *it = kv->ops->iter(kv);
    cr_assert(it);
    const char *line = walk(it, from, reverse);
    it->ops->close(it);
    return line;
}

struct row {
    const char *writes[3];
    const char *from;
    bool reverse;
    const char *want;
};
static const struct row rows[] = {
    {{"b=2 a=1 c=3"}, "", false, "a=1 b=2 c=3"},
    {{"b=2 a=1 c=3"}, "b", false, "b=2 c=3"},
    {{"b=2 a=1 c=3"}, "bb", false, "c=3"},
    {{"b=2 a=1 c=3"}, "d", false, ""},
    {{"b=2 a=1 c=3"}, "z", true, "c=3 b=2 a=1"},
    {{"b=2 a=1 c=3"}, "b", true, "b=2 a=1"},
    {{"b=2 a=1 c=3"}, "bb", true, "b=2 a=1"},
    {{"b=2 a=1 c=3"}, "0", true, ""},
    {{"a=1", "a=2"}, "", false, "a=2"},
    {{"a=1 b=2", "-a"}, "", false, "b=2"},
    {{"a=1 b=2", "-a", "a=3"}, "", true, ""},
    {{"a=1 b=2", "-a", "a=3"}, "", false, "a=3 b=2"},
    {{"a=1 a=2 -a a=4"}, "", false, "a=4"},
    {{"a=1 b=2 c=3 d=4", "b..d"}, "", false, "a=1 d=4"},
    {{"a=1 b=2 c=3 d=4", "b..d c=9"}, "", false, "a=1 c=9 d=4"},
    {{"a=1 b=2 c=3 d=4", "b..d", "b=7"}, "zz", true, "d=4 b=7 a=1"},
    {{"-nothing"}, "", false, ""},
    {{"a=", "b=x"}, "", false, "a= b=x"},
    {{"ab=1 a=2 abc=3 b=4"}, "ab", false, "ab=1 abc=3 b=4"},
};

static void check_rows(bool rocks)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fix f;
        fix_init(&f, rocks);
        for (size_t j = 0; j < 3 && rows[i].writes[j]; j++)
            cr_assert_eq(apply(f.kv, rows[i].writes[j], false), 0);
        cr_expect_str_eq(all(f.kv, rows[i].from, rows[i].reverse), rows[i].want, "row %zu", i);
        fix_fini(&f);
    }
}

Test(kv, memory_orders_deletes_and_walks_both_ways)
{
    check_rows(false);
}

Test(kv, rocks_orders_deletes_and_walks_both_ways)
{
    check_rows(true);
}

static void check_snapshot(bool rocks)
{
    struct fix f;
    fix_init(&f, rocks);
    cr_assert_eq(apply(f.kv, "a=1 b=2 c=3", false), 0);
    struct kv_iter *it = f.kv->ops->iter(f.kv);
    cr_assert_eq(apply(f.kv, "a=9 -b d=4", false), 0);
    cr_expect_str_eq(walk(it, "", false), "a=1 b=2 c=3");
    cr_expect_str_eq(walk(it, "z", true), "c=3 b=2 a=1");
    it->ops->close(it);
    cr_expect_str_eq(all(f.kv, "", false), "a=9 c=3 d=4");
    fix_fini(&f);
}

Test(kv, an_iterator_keeps_the_state_it_began_with)
{
    check_snapshot(false);
    check_snapshot(true);
}

static void check_get(bool rocks)
{
    struct fix f;
    struct arena a;
    struct str v = STR("untouched");
    fix_init(&f, rocks);
    arena_init(&a, MIB);
    cr_expect_eq(f.kv->ops->get(f.kv, STR("a"), &a, &v), KV_NOT_FOUND);
    cr_expect(str_eq(v, STR("untouched")));
    cr_assert_eq(apply(f.kv, "a=hello b=", true), 0);
    cr_expect_eq(f.kv->ops->get(f.kv, STR("a"), &a, &v), 0);
    cr_expect(str_eq(v, STR("hello")));
    cr_expect_eq(f.kv->ops->get(f.kv, STR("b"), &a, &v), 0);
    cr_expect_eq(v.len, 0);
    struct arena tiny;
    arena_init(&tiny, 2);
    cr_expect_eq(f.kv->ops->get(f.kv, STR("a"), &tiny, &v), -ENOMEM);
    arena_fini(&tiny);
    arena_fini(&a);
    fix_fini(&f);
}

Test(kv, get_answers_a_copy_or_not_found)
{
    check_get(false);
    check_get(true);
}

Test(kv, rocks_keeps_what_was_written_and_a_checkpoint_opens_by_itself)
{
    struct fix f;
    char copy[96];
    fix_init(&f, true);
    cr_assert_eq(apply(f.kv, "a=1 b=2", false), 0);
    cr_assert_eq(f.kv->ops->sync(f.kv), 0);
    snprintf(copy, sizeof copy, "%s/copy", f.dir);
    cr_assert_eq(f.kv->ops->checkpoint(f.kv, copy), 0);
    cr_assert_eq(apply(f.kv, "c=3", false), 0);
    f.kv->ops->close(f.kv);
    fix_open(&f);
    cr_expect_str_eq(all(f.kv, "", false), "a=1 b=2 c=3");
    struct kv *other;
    char why[256];
    struct kv_conf conf = {0};
    cr_assert_eq(kv_rocks_open(copy, &conf, &other, why, sizeof why), 0);
    cr_expect_str_eq(all(other, "", false), "a=1 b=2");
    other->ops->close(other);
    fix_fini(&f);
}

Test(kv, rocks_says_why_a_folder_cannot_be_opened)
{
    struct kv *kv;
    char why[256] = "";
    struct kv_conf conf = {0};
    cr_expect_lt(kv_rocks_open("/proc/no/such/folder", &conf, &kv, why, sizeof why), 0);
    cr_expect(strstr(why, "/proc/no/such/folder") != NULL, "%s", why);
    cr_expect_str_not_empty(kv_last_error());
}

Test(kv, memory_fails_at_the_chosen_call_and_changes_nothing)
{
    struct fix f;
    fix_init(&f, false);
    cr_assert_eq(apply(f.kv, "a=1", false), 0);
    kv_mem_fail_nth(f.kv, 2, -EIO);
    cr_expect_eq(apply(f.kv, "b=2", false), 0);
    cr_expect(kv_mem_fail_pending(f.kv));
    cr_expect_eq(apply(f.kv, "c=3 a=9", false), -EIO);
    cr_expect_not(kv_mem_fail_pending(f.kv));
    cr_expect_str_eq(all(f.kv, "", false), "a=1 b=2");
    fix_fini(&f);
}

static int count(void *ctx, int op, struct str key, struct str value)
{
    (void)op, (void)key, (void)value;
    ++*(int *)ctx;
    return 0;
}

Test(kv, a_batch_read_back_is_bounded_at_every_cut_and_flip)
{
    struct kv_batch b;
    kv_batch_init(&b);
    kv_batch_put(&b, STR("key"), STR("value"));
    kv_batch_del(&b, STR("gone"));
    kv_batch_del_range(&b, STR("a"), STR("b"));
    int n = 0;
    cr_assert_eq(kv_batch_each((struct str){b.ops.p, b.ops.len}, count, &n), 0);
    cr_expect_eq(n, 3);
    size_t ends[] = {0, 9 + 3 + 5, 9 + 3 + 5 + 9 + 4, b.ops.len};
    for (size_t cut = 0; cut <= b.ops.len; cut++) {
        char *exact = malloc(cut ? cut : 1); /* so that the sanitizer sees a step past the end */
        memcpy(exact, b.ops.p, cut);
        bool whole = false;
        for (size_t i = 0; i < ARRAY_LEN(ends); i++)
            whole |= ends[i] == cut;
        cr_expect_eq(kv_batch_each((struct str){exact, cut}, count, &n), whole ? 0 : E_CORRUPT, "cut %zu", cut);
        free(exact);
    }
    b.ops.p[0] = 9;
    cr_expect_eq(kv_batch_each((struct str){b.ops.p, b.ops.len}, count, &n), E_CORRUPT);
    kv_batch_fini(&b);
}

Test(kv, memory_agrees_with_rocks_on_random_work)
{
    struct fix mem, rocks;
    unsigned seed = 7;
    fix_init(&mem, false);
    fix_init(&rocks, true);
    for (int round = 0; round < 300; round++) {
        char text[64], from[4];
        unsigned r = seed = seed * 1103515245 + 12345;
        char a = (char)('a' + (r >> 8) % 6), b = (char)('a' + (r >> 12) % 6);
        if ((r >> 16) % 8 == 0 && a < b)
            snprintf(text, sizeof text, "%c..%c", a, b);
        else if ((r >> 16) % 3 == 0)
            snprintf(text, sizeof text, "-%c%c %c=%d", a, b, b, round);
        else
            snprintf(text, sizeof text, "%c%c=%d %c=%d", a, b, round, a, round);
        cr_assert_eq(apply(mem.kv, text, false), 0);
        cr_assert_eq(apply(rocks.kv, text, false), 0);
        snprintf(from, sizeof from, "%c", b);
        char want[512];
        bool reverse = r >> 31;
        snprintf(want, sizeof want, "%s", all(rocks.kv, from, reverse));
        cr_assert_str_eq(all(mem.kv, from, reverse), want, "round %d", round);
    }
    fix_fini(&mem);
    fix_fini(&rocks);
}
