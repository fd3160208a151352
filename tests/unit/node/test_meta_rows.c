/* Rows of other floors: order, bounds, and compare-and-swap that cannot be fooled. */
#include "tests/lib/meta_fixture.h"
#include <criterion/criterion.h>
#include <stdio.h>

static struct meta_fixture f;

static void open_one(void)
{
    meta_fixture_init(&f, 1);
    cr_assert_eq(meta_fixture_open(&f), 0, "%s", f.why);
}

static void close_one(void)
{
    meta_fixture_fini(&f);
}

TestSuite(meta_rows, .init = open_one, .fini = close_one);

static uint64_t last_revision;

/* compare: a key and its revision, or NULL; put: key and value, or NULL; del: a key, or NULL. */
static int txn(const char *table, const char *compare, uint64_t revision, const char *put, const char *value,
               const char *del)
{
    Pb__RowsTxnReq req = PB__ROWS_TXN_REQ__INIT;
    Pb__RowsTxnRep *rep;
    Pb__RowCompare c = PB__ROW_COMPARE__INIT, *compares[1] = {&c};
    Pb__Row row = PB__ROW__INIT, *puts[1] = {&row};
    ProtobufCBinaryData deletes[1];
    struct arena a;
    arena_init(&a, 4 * MIB);
    req.table = (char *)(uintptr_t)table;
    if (compare) {
        c.key = fix_bin(compare);
        c.revision = revision;
        req.compares = compares;
        req.n_compares = 1;
    }
    if (put) {
        row.key = fix_bin(put);
        row.value = fix_bin(value);
        req.puts = puts;
        req.n_puts = 1;
    }
    if (del) {
        deletes[0] = fix_bin(del);
        req.deletes = deletes;
        req.n_deletes = 1;
    }
    int err = meta_call(&f, RPC_ROWS_TXN, &req, &a, &rep);
    if (!err)
        last_revision = rep->revision;
    arena_fini(&a);
    return err;
}

static uint64_t revision_of(const char *table, const char *key, char *value, size_t cap)
{
    Pb__RowsGetReq req = PB__ROWS_GET_REQ__INIT;
    Pb__RowsGetRep *rep;
    ProtobufCBinaryData keys[2] = {fix_bin("absent"), fix_bin(key)};
    struct arena a;
    uint64_t revision = 0;
    arena_init(&a, 4 * MIB);
    req.table = (char *)(uintptr_t)table;
    req.keys = keys;
    req.n_keys = 2;
    cr_assert_eq(meta_call(&f, RPC_ROWS_GET, &req, &a, &rep), 0);
    cr_assert_leq(rep->n_rows, 1);
    if (rep->n_rows) {
        revision = rep->rows[0]->revision;
        snprintf(value, cap, "%.*s", (int)rep->rows[0]->value.len, (char *)rep->rows[0]->value.data);
    }
    arena_fini(&a);
    return revision;
}

Test(meta_rows, compare_and_swap)
{
    char value[32];
    cr_expect_eq(txn("t", "k", 5, "k", "x", NULL), RPC_CONDITION);
    cr_expect_eq(revision_of("t", "k", value, sizeof value), 0);
    cr_expect_eq(txn("t", "k", 0, "k", "one", NULL), 0);
    uint64_t first = last_revision;
    cr_expect_eq(revision_of("t", "k", value, sizeof value), first);
    cr_expect_str_eq(value, "one");
    cr_expect_eq(txn("t", "k", 0, "k", "again", NULL), RPC_CONDITION);
    cr_expect_eq(txn("t", "k", first, "k", "two", NULL), 0);
    cr_expect_gt(last_revision, first);
    cr_expect_eq(txn("t", "k", first, "k", "stale", NULL), RPC_CONDITION);
    cr_expect_eq(txn("t", "k", last_revision, NULL, NULL, "k"), 0);
    cr_expect_eq(revision_of("t", "k", value, sizeof value), 0);
    cr_expect_eq(txn("t", "k", 0, "k", "three", NULL), 0);
    cr_expect_neq(last_revision, first, "a row that came back has another revision");
    meta_fixture_reopen(&f);
    uint64_t before = last_revision;
    cr_expect_eq(revision_of("t", "k", value, sizeof value), before);
    cr_expect_eq(txn("t", NULL, 0, "other", "x", NULL), 0);
    cr_expect_gt(last_revision, before);
}

Test(meta_rows, tables_do_not_see_each_other)
{
    char value[32];
    cr_expect_eq(txn("t", NULL, 0, "k", "in t", NULL), 0);
    cr_expect_eq(txn("tt", NULL, 0, "k", "in tt", NULL), 0);
    cr_expect(revision_of("t", "k", value, sizeof value) && strcmp(value, "in t") == 0);
    cr_expect(revision_of("tt", "k", value, sizeof value) && strcmp(value, "in tt") == 0);
}

Test(meta_rows, a_range_of_one_table)
{
    static const char *const keys[] = {"a", "b", "b\x01", "c", "\xff", "\xff\xff"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        cr_assert_eq(txn("t", NULL, 0, keys[i], keys[i], NULL), 0);
    cr_assert_eq(txn("s", NULL, 0, "a", "other", NULL), 0);
    cr_assert_eq(txn("u", NULL, 0, "a", "other", NULL), 0);
    static const struct {
        const char *from, *to;
        uint32_t limit;
        bool reverse;
        const char *want;
    } rows[] = {
        {"", "", 0, false, "a b b\x01 c \xff \xff\xff"},
        {"", "", 0, true, "\xff\xff \xff c b\x01 b a"},
        {"b", "c", 0, false, "b b\x01"},
        {"b", "c", 0, true, "b\x01 b"},
        {"", "", 2, false, "a b ..."},
        {"", "", 2, true, "\xff\xff \xff ..."},
        {"b\x01", "", 1, false, "b\x01 ..."},
        {"c", "b", 0, false, ""},
        {"x", "y", 0, true, ""},
        {"\xff\xff", "", 0, false, "\xff\xff"},
        {"", "a", 0, true, ""},
        {"a", "a", 0, false, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Pb__RowsRangeReq req = PB__ROWS_RANGE_REQ__INIT;
        Pb__RowsRangeRep *rep;
        struct arena a;
        char got[128] = "";
        arena_init(&a, MIB);
        req.table = (char *)(uintptr_t) "t";
        req.from = fix_bin(rows[i].from);
        req.to = fix_bin(rows[i].to);
        req.limit = rows[i].limit;
        req.reverse = rows[i].reverse;
        cr_assert_eq(meta_call(&f, RPC_ROWS_RANGE, &req, &a, &rep), 0);
        size_t at = 0;
        for (size_t j = 0; j < rep->n_rows; j++)
            at += (size_t)snprintf(got + at, sizeof got - at, "%s%.*s", j ? " " : "", (int)rep->rows[j]->key.len,
                                   (char *)rep->rows[j]->key.data);
        if (rep->truncated)
            snprintf(got + at, sizeof got - at, " ...");
        cr_expect_str_eq(got, rows[i].want, "row %zu: %s", i, got);
        arena_fini(&a);
    }
}

Test(meta_rows, limits_have_names_and_break_nothing)
{
    static char big[META_ROW_MAX + 2], long_key[1100];
    memset(big, 'v', sizeof big - 1);
    memset(long_key, 'k', sizeof long_key - 1);
    cr_expect_eq(txn("", NULL, 0, "k", "v", NULL), -EINVAL);
    cr_expect_eq(txn("t", NULL, 0, long_key, "v", NULL), E_LIMIT);
    cr_expect_eq(txn("t", long_key, 0, "k", "v", NULL), E_LIMIT);
    cr_expect_eq(txn("t", NULL, 0, "k", big, NULL), E_LIMIT);
    big[META_ROW_MAX] = 0;
    cr_expect_eq(txn("t", NULL, 0, "k", big, NULL), 0);
    long_key[1024] = 0;
    cr_expect_eq(txn("t", NULL, 0, long_key, "", NULL), 0);

    /* four rows of a MiB are more than one entry of the log may carry */
    Pb__RowsTxnReq req = PB__ROWS_TXN_REQ__INIT;
    Pb__Row rows[4], *puts[4];
    static char names[4][2] = {"1", "2", "3", "4"};
    char value[8];
    for (size_t i = 0; i < 4; i++) {
        pb__row__init(&rows[i]);
        rows[i].key = fix_bin(names[i]);
        rows[i].value = fix_bin(big);
        puts[i] = &rows[i];
    }
    req.table = (char *)(uintptr_t) "t";
    req.puts = puts;
    req.n_puts = 4;
    cr_expect_eq(meta_call(&f, RPC_ROWS_TXN, &req, NULL, NULL), E_LIMIT);
    cr_expect_eq(revision_of("t", "1", value, sizeof value), 0);
    req.n_puts = 2;
    cr_expect_eq(meta_call(&f, RPC_ROWS_TXN, &req, NULL, NULL), 0);
}

/* Many counters are raised by one each, over and over, all at once: none is lost, and few log writes are made. */
Test(meta_rows, writes_that_come_together_share_groups_and_none_is_lost)
{
    enum { WRITERS = 64, ROUNDS = 20 };
    struct writer {
        struct rpc rpc;
        struct arena arena;
        Pb__RowsTxnReq req;
        Pb__RowCompare c, *compares[1];
        Pb__Row row, *puts[1];
        uint64_t revision;
        bool done;
    };
    static struct writer ws[WRITERS];
    struct meta_status before, after;
    unsigned won = 0;
    meta_status(f.meta, &before);
    for (int round = 0; round < ROUNDS; round++) {
        char value[32] = "";
        uint64_t revision = revision_of("t", "one", value, sizeof value);
        for (size_t i = 0; i < WRITERS; i++) {
            struct writer *w = &ws[i];
            pb__rows_txn_req__init(&w->req);
            pb__row_compare__init(&w->c);
            pb__row__init(&w->row);
            arena_init(&w->arena, MIB);
            w->compares[0] = &w->c;
            w->puts[0] = &w->row;
            w->c.key = w->row.key = fix_bin("one");
            w->c.revision = revision;
            w->row.value = fix_bin("v");
            w->req.table = (char *)(uintptr_t) "t";
            w->req.compares = w->compares;
            w->req.puts = w->puts;
            w->req.n_compares = w->req.n_puts = 1;
            w->done = false;
            w->rpc = (struct rpc){.type = RPC_ROWS_TXN, .req = &w->req, .arena = &w->arena, .cb = fix_mark_done};
            w->rpc.user = &w->done;
            meta_submit(f.meta, &w->rpc);
        }
        unsigned winners = 0;
        for (size_t i = 0; i < WRITERS; i++) {
            meta_fixture_until(&f, fix_is_done, &ws[i].done);
            winners += ws[i].rpc.status == 0;
            arena_fini(&ws[i].arena);
        }
        cr_expect_eq(winners, 1, "round %d", round);
        won += winners;
    }
    meta_status(f.meta, &after);
    cr_expect_eq(won, ROUNDS);
    cr_expect_leq(after.seq - before.seq, ROUNDS, "a refusal costs no log write");
}
