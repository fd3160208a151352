/* Listings: a table of the cases that clients stumble over, and random keys against a model that scans everything. */
#include "tests/lib/meta_fixture.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct meta_fixture f;

static void open_one(void)
{
    meta_fixture_init(&f, 1);
    cr_assert_eq(meta_fixture_open(&f), 0, "%s", f.why);
    cr_assert_eq(fix_bucket(&f, "b"), 0);
}

static void close_one(void)
{
    meta_fixture_fini(&f);
}

TestSuite(meta_list, .init = open_one, .fini = close_one, .timeout = 100);

static const char *const keys[] = {"a",     "a/",   "a/1",      "a/2",        "a/b/1",
                                   "a/b/2", "a0",   "b",        "b-x",        "b/x",
                                   "c//d",  "c//e", "\xc3\xa9", "\xc3\xa9/x", "\xf0\x9f\x8e\x93",
                                   "z z",   "z+z",  "z%2Fz"};

static const struct {
    const char *prefix, *delimiter, *after;
    unsigned limit;
    const char *want; /* a common prefix has a + behind it, truncation a ... */
} rows[] = {
    {"", "", "", 1000,
     "a a/ a/1 a/2 a/b/1 a/b/2 a0 b b-x b/x c//d c//e z z z%2Fz z+z \xc3\xa9 \xc3\xa9/x \xf0\x9f\x8e\x93"},
    {"", "/", "", 1000, "a a/+ a0 b b-x b/+ c/+ z z z%2Fz z+z \xc3\xa9 \xc3\xa9/+ \xf0\x9f\x8e\x93"},
    {"a/", "/", "", 1000, "a/ a/1 a/2 a/b/+"},
    {"a/b", "/", "", 1000, "a/b/+"},
    {"a/b/", "/", "", 1000, "a/b/1 a/b/2"},
    {"c/", "/", "", 1000, "c//+"},
    {"c//", "/", "", 1000, "c//d c//e"},
    {"nothing", "/", "", 1000, ""},
    {"", "/", "", 3, "a a/+ a0 ..."},
    {"", "/", "", 2, "a a/+ ..."},
    {"", "", "", 1, "a ..."},
    {"", "", "", 0, ""},
    {"\xf0", "", "", 1, "\xf0\x9f\x8e\x93"},
    {"", "", "a/b/2", 2, "a0 b ..."},
    {"", "/", "a/1", 3, "a/+ a0 b ..."},
    {"", "/", "a/b/2", 2, "a0 b ..."},
    {"a/", "", "a/1", 1000, "a/2 a/b/1 a/b/2"},
    {"a/", "", "a", 1000, "a/ a/1 a/2 a/b/1 a/b/2"},
    {"a/", "", "b", 1000, ""},
    {"", "", "zzz", 1000, "\xc3\xa9 \xc3\xa9/x \xf0\x9f\x8e\x93"},
    {"", "b/", "", 4, "a a/ a/1 a/2 ..."},
    {"a", "b/", "", 1000, "a a/ a/1 a/2 a/b/+ a0"},
    {"", "\xa9", "z z", 1000, "z%2Fz z+z \xc3\xa9+ \xf0\x9f\x8e\x93"},
    {"", "-", "a0", 1000, "b b-+ b/x c//d c//e z z z%2Fz z+z \xc3\xa9 \xc3\xa9/x \xf0\x9f\x8e\x93"},
};

Test(meta_list, prefixes_delimiters_and_markers)
{
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        cr_assert_eq(fix_put(&f, "b", keys[i], "x"), 0);
    cr_assert_eq(fix_bucket(&f, "b2"), 0);
    cr_assert_eq(fix_put(&f, "b2", "other", "x"), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char got[1024];
        cr_expect_eq(
            fix_list(&f, "b", rows[i].prefix, rows[i].delimiter, rows[i].after, rows[i].limit, got, sizeof got), 0);
        cr_expect_str_eq(got, rows[i].want, "row %zu: %s", i, got);
    }
    char got[64];
    cr_expect_eq(fix_list(&f, "none", "", "", "", 10, got, sizeof got), RPC_NO_BUCKET);
}

Test(meta_list, entries_tell_size_etag_and_version)
{
    Pb__ObjectListReq req = PB__OBJECT_LIST_REQ__INIT;
    Pb__ObjectListRep *rep;
    struct arena a;
    arena_init(&a, MIB);
    cr_assert_eq(fix_put_extent(&f, "b", "k", 12345, 1), 0);
    req.bucket = (char *)(uintptr_t) "b";
    req.limit = 10;
    cr_assert_eq(meta_call(&f, RPC_OBJECT_LIST, &req, &a, &rep), 0);
    cr_assert_eq(rep->n_entries, 1);
    cr_expect_eq(rep->entries[0]->object->size, 12345);
    cr_expect_str_eq(rep->entries[0]->object->etag, "00112233445566778899aabbccddeeff");
    cr_expect_eq(rep->entries[0]->object->version_id.len, 16);
    cr_expect_eq(rep->entries[0]->object->mtime_ms, f.clock.wall_now_ms);
    arena_fini(&a);
}

/* ---- against a model ---- */

#define MODEL_KEYS 400
static char model[MODEL_KEYS][16];
static size_t model_count;
static uint32_t seed = 1;

static uint32_t roll(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 10) % n;
}

static void random_text(char *out, size_t most)
{
    static const char letters[] = "ab/-\xc3\xa9\xff\x01";
    size_t n = roll((uint32_t)most) + 1;
    for (size_t i = 0; i < n; i++)
        out[i] = letters[roll(sizeof letters - 1)];
    out[n] = 0;
}

static int by_bytes(const void *a, const void *b)
{
    return str_cmp(str_c(a), str_c(b));
}

/* What a listing must say, found by looking at every key. */
static void model_list(const char *prefix, const char *delimiter, const char *after, bool after_is_prefix,
                       unsigned limit, struct sbuf *out)
{
    char last[32] = "";
    unsigned n = 0;
    for (size_t i = 0; i < model_count; i++) {
        struct str key = str_c(model[i]), shown = key;
        if (!str_starts(key, str_c(prefix)) || (after[0] && str_cmp(key, str_c(after)) <= 0))
            continue;
        if (after_is_prefix && after[0] && str_starts(key, str_c(after)))
            continue;
        const char *d = delimiter[0] ? strstr(model[i] + strlen(prefix), delimiter) : NULL;
        if (d) {
            shown.len = (size_t)(d - model[i]) + strlen(delimiter);
            if (str_eq(shown, str_c(last)))
                continue;
        }
        if (n++ == limit) {
            sbuf_puts(out, "...");
            return;
        }
        if (d)
            snprintf(last, sizeof last, "%.*s", (int)shown.len, shown.p);
        sbuf_str(out, shown);
        sbuf_puts(out, d ? "+ " : " ");
    }
}

static bool real_list(const char *prefix, const char *delimiter, const char *after, bool after_is_prefix,
                      unsigned limit, struct sbuf *out, char next[32], bool *ret_next_is_prefix)
{
    Pb__ObjectListReq req = PB__OBJECT_LIST_REQ__INIT;
    Pb__ObjectListRep *rep;
    struct arena a;
    arena_init(&a, 16 * MIB);
    req.bucket = (char *)(uintptr_t) "b";
    req.prefix = fix_bin(prefix);
    req.delimiter = fix_bin(delimiter);
    req.after = fix_bin(after);
    req.after_is_prefix = after_is_prefix;
    req.limit = limit;
    cr_assert_eq(meta_call(&f, RPC_OBJECT_LIST, &req, &a, &rep), 0);
    for (size_t i = 0; i < rep->n_entries; i++) {
        Pb__ListEntry *e = rep->entries[i];
        sbuf_add(out, e->key.data, e->key.len);
        sbuf_puts(out, e->is_prefix ? "+ " : " ");
        *ret_next_is_prefix = e->is_prefix;
    }
    bool truncated = rep->truncated;
    if (truncated)
        sbuf_puts(out, "...");
    snprintf(next, 32, "%.*s", (int)rep->next_after.len, (char *)rep->next_after.data);
    arena_fini(&a);
    return truncated;
}

static void model_make(void)
{
    for (int i = 0; i < MODEL_KEYS; i++) {
        random_text(model[model_count], 10);
        bool twice = false;
        for (size_t j = 0; j < model_count; j++)
            twice |= strcmp(model[j], model[model_count]) == 0;
        if (twice)
            continue;
        cr_assert_eq(fix_put(&f, "b", model[model_count], "x"), 0);
        model_count++;
    }
    qsort(model, model_count, sizeof model[0], by_bytes);
}

Test(meta_list, agrees_with_a_model_on_random_keys)
{
    model_make();
    for (int round = 0; round < 3000; round++) {
        char prefix[16] = "", delimiter[16] = "", after[16] = "", next[32];
        struct sbuf want = {0}, got = {0};
        bool is_prefix = roll(4) == 0, next_is_prefix = false;
        unsigned limit = 1 + roll(12);
        if (roll(2))
            random_text(prefix, 3);
        if (roll(3))
            random_text(delimiter, 2);
        if (roll(2))
            random_text(after, 5);
        sbuf_puts(&want, "");
        sbuf_puts(&got, "");
        model_list(prefix, delimiter, after, is_prefix, limit, &want);
        real_list(prefix, delimiter, after, is_prefix, limit, &got, next, &next_is_prefix);
        cr_assert_str_eq(got.p, want.p, "prefix \"%s\" delimiter \"%s\" after \"%s\"%s limit %u:\n%s\n%s", prefix,
                         delimiter, after, is_prefix ? " as prefix" : "", limit, got.p, want.p);
        sbuf_fini(&want);
        sbuf_fini(&got);
    }
}

Test(meta_list, pages_put_together_are_the_whole)
{
    model_make();
    static const struct {
        const char *prefix, *delimiter;
    } cases[] = {{"", ""}, {"", "/"}, {"a", "/"}, {"", "b"}, {"a/", "/"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (unsigned limit = 1; limit <= 7; limit += 3) {
            struct sbuf want = {0}, got = {0};
            char after[32] = "";
            bool more = true, is_prefix = false;
            model_list(cases[i].prefix, cases[i].delimiter, "", false, 100000, &want);
            while (more) {
                char next[32];
                more = real_list(cases[i].prefix, cases[i].delimiter, after, is_prefix, limit, &got, next, &is_prefix);
                got.len -= more ? 3 : 0; /* the "..." */
                memcpy(after, next, sizeof after);
            }
            cr_assert(str_eq((struct str){got.p, got.len}, (struct str){want.p, want.len}), "%.*s\n%s", (int)got.len,
                      got.p, want.p);
            sbuf_fini(&want);
            sbuf_fini(&got);
        }
    }
}

Test(meta_list, buckets_by_owner_prefix_and_page)
{
    static const char *const names[] = {"alpha", "beta", "beta2", "gamma"};
    struct arena a;
    arena_init(&a, MIB);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        cr_assert_eq(fix_bucket(&f, names[i]), 0);
    static const struct {
        const char *owner, *prefix, *after;
        unsigned limit;
        const char *want;
    } cases[] = {
        {"", "", "", 0, "alpha b beta beta2 gamma"},
        {"me", "", "", 2, "alpha b ..."},
        {"you", "", "", 10, ""},
        {"", "beta", "", 10, "beta beta2"},
        {"", "", "beta", 10, "beta2 gamma"},
        {"", "beta", "beta", 1, "beta2"},
        {"", "", "zeta", 10, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Pb__BucketListReq req = PB__BUCKET_LIST_REQ__INIT;
        Pb__BucketListRep *rep;
        char got[128] = "";
        req.owner = (char *)(uintptr_t)cases[i].owner;
        req.prefix = (char *)(uintptr_t)cases[i].prefix;
        req.after = (char *)(uintptr_t)cases[i].after;
        req.limit = cases[i].limit;
        cr_assert_eq(meta_call(&f, RPC_BUCKET_LIST, &req, &a, &rep), 0);
        for (size_t j = 0, at = 0; j < rep->n_buckets; j++)
            at += (size_t)snprintf(got + at, sizeof got - at, "%s%s", j ? " " : "", rep->buckets[j]->name);
        if (rep->truncated)
            strncat(got, " ...", sizeof got - strlen(got) - 1);
        cr_expect_str_eq(got, cases[i].want, "row %zu", i);
    }
    arena_fini(&a);
}
