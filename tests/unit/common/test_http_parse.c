/* http_parse, http_frame: every head and body is fed whole and at every split; the result never depends on it. */
#include "common/http_parse.h"
#include <criterion/criterion.h>
#include <stdlib.h>

static const struct http_limits *const limits = &http_limits_default;

static struct http_req req;
static struct http_parse parse;

static void begin(void)
{
    req = (struct http_req){.content_length = -1};
    arena_init(&req.arena, HTTP_ARENA_BYTES);
    http_parse_init(&parse);
}

static void end(void)
{
    arena_fini(&req.arena);
}

/* Feeds text in two pieces, copied to the heap so that ASan sees a byte too far. */
static enum http_parse_result feed(const struct http_limits *l, struct str text, size_t split, size_t *ret_used)
{
    enum http_parse_result result = HTTP_PARSE_MORE;
    size_t from[3] = {0, split, text.len}, used = 0;
    *ret_used = 0;
    for (int i = 0; i < 2 && result == HTTP_PARSE_MORE; i++) {
        size_t n = from[i + 1] - from[i];
        uint8_t *piece = malloc(n ? n : 1);
        memcpy(piece, text.p + from[i], n);
        result = http_parse_feed(&parse, &req, l, piece, n, &used);
        *ret_used += used;
        free(piece);
        if (result == HTTP_PARSE_MORE)
            cr_assert_eq(used, n);
    }
    return result;
}

struct row {
    struct str text;
    int status; /* 0: fine; else the refusal */
};
#define BAD(text)                                                                                                      \
    {                                                                                                                  \
        STR(text), 400                                                                                                 \
    }
#define GET          "GET / HTTP/1.1\r\nHost: a\r\n"
#define PUT(headers) "PUT / HTTP/1.1\r\nHost: a\r\n" headers "\r\n"

static void check_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t split = 0; split <= rows[i].text.len; split++) {
            size_t used;
            begin();
            enum http_parse_result result = feed(limits, rows[i].text, split, &used);
            if (rows[i].status) {
                cr_assert_eq(result, HTTP_PARSE_REFUSED, "row %zu split %zu: %s", i, split, rows[i].text.p);
                cr_assert_eq(parse.status, rows[i].status, "row %zu: %d %s", i, parse.status, parse.reason);
                cr_assert(parse.reason && parse.reason[0]);
            } else {
                cr_assert_eq(result, HTTP_PARSE_DONE, "row %zu split %zu: %s: %s", i, split, rows[i].text.p,
                             parse.reason);
                cr_assert_eq(used, rows[i].text.len);
            }
            end();
        }
}

Test(http_parse, takes_what_rfc_9112_allows)
{
    static const struct row rows[] = {
        {STR(GET "\r\n"), 0},
        {STR("\r\n" GET "\r\n"), 0},
        {STR("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), 0},
        {STR("GET / HTTP/1.0\r\n\r\n"), 0},
        {STR("GET http://a/x?y HTTP/1.1\r\nHost: A\r\n\r\n"), 0},
        {STR("GET https://a:443/x?y HTTP/1.1\r\nHost: a:443\r\n\r\n"), 0},
        {STR("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n"), 0},
        {STR("GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n"), 0},
        {STR("GET //x/../%2f;p=1?a=b&c=%20+ HTTP/1.1\r\nHost: [::1]:9000\r\n\r\n"), 0},
        {STR("GET / HTTP/1.1\r\nHost: bucket.some-domain_1.example:65535\r\n\r\n"), 0},
        {STR(GET "X-Empty:\r\nX-Blank: \t \r\nX-Tab:\ta\tb\t\r\nX-Utf: \xc3\xa9\r\n\r\n"), 0},
        {STR("M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n"), 0},
        {STR("PATCH / HTTP/1.1\r\nHost: a\r\n\r\n"), 0},
        {STR(GET "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"), 0},
        {STR(PUT("Content-Length: 0\r\n")), 0},
        {STR(PUT("Content-Length: 00005\r\n")), 0},
        {STR(PUT("transfer-encoding: CHUNKED\r\n")), 0},
        {STR(PUT("Content-Length: 5\r\nExpect: 100-Continue\r\n")), 0},
    };
    check_rows(rows, ARRAY_LEN(rows));
}

Test(http_parse, refuses_what_two_parsers_could_read_in_two_ways)
{
    static const struct row rows[] = {
        BAD(PUT("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")),
        BAD(PUT("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n")),
        BAD(PUT("Content-Length: 5\r\nContent-Length: 5\r\n")),
        BAD(PUT("Content-Length: 5\r\nContent-Length: 6\r\n")),
        BAD(PUT("Content-Length: 5, 5\r\n")),
        BAD(PUT("Content-Length: +5\r\n")),
        BAD(PUT("Content-Length: -5\r\n")),
        BAD(PUT("Content-Length: 0x5\r\n")),
        BAD(PUT("Content-Length: 5 5\r\n")),
        BAD(PUT("Content-Length: 5.0\r\n")),
        BAD(PUT("Content-Length: \r\n")),
        BAD(PUT("Content-Length:\r\n")),
        BAD(PUT("Content-Length: 9223372036854775808\r\n")),
        BAD(PUT("Content-Length: 18446744073709551616\r\n")),
        BAD(PUT("Transfer-Encoding: xchunked\r\n")),
        BAD(PUT("Transfer-Encoding: gzip\r\n")),
        BAD(PUT("Transfer-Encoding: gzip, chunked\r\n")),
        BAD(PUT("Transfer-Encoding: chunked, identity\r\n")),
        BAD(PUT("Transfer-Encoding: identity\r\n")),
        BAD(PUT("Transfer-Encoding: \"chunked\"\r\n")),
        BAD(PUT("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")),
        BAD(PUT("Transfer-Encoding:\x0b"
                "chunked\r\n")),
        BAD(PUT("Transfer-Encoding:\r\n")),
        BAD("PUT / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
        BAD("GET / HTTP/1.1\nHost: a\r\n\r\n"),
        BAD("GET / HTTP/1.1\r\nHost: a\n\r\n"),
        BAD(GET "X: a\nY: b\r\n\r\n"),
        BAD(GET "\n"),
        BAD("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        BAD("\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        BAD(GET "X: a\rY: b\r\n\r\n"),
        BAD(GET "X: a\r\rY: b\r\n\r\n"),
        BAD(GET "\r\r\n"),
        BAD(GET "X: a\r\n b\r\n\r\n"),
        BAD(GET "X: a\r\n\tb\r\n\r\n"),
        BAD("GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
        BAD(GET "Content-Length : 5\r\n\r\n"),
        BAD(GET "Content-Length\t: 5\r\n\r\n"),
        BAD(GET ": 5\r\n\r\n"),
        BAD(GET "X\r\n\r\n"),
        BAD(GET "X Y: 5\r\n\r\n"),
        BAD(GET "X(Y): 5\r\n\r\n"),
        BAD(GET "X\xc3\xa9: 5\r\n\r\n"),
        BAD(GET "X: a\0b\r\n\r\n"),
        BAD(GET "X\0: b\r\n\r\n"),
        BAD(GET "X: a\x01\r\n\r\n"),
        BAD(GET "X: a\x7f\r\n\r\n"),
        BAD(GET "X: a\x1b[0m\r\n\r\n"),
    };
    check_rows(rows, ARRAY_LEN(rows));
}

Test(http_parse, refuses_bad_request_lines_and_hosts)
{
    static const struct row rows[] = {
        BAD(" GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        BAD("GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
        BAD("GET /  HTTP/1.1\r\nHost: a\r\n\r\n"),
        BAD("GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
        BAD("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        BAD("GET / a HTTP/1.1\r\nHost: a\r\n\r\n"),
        BAD("GET /\r\nHost: a\r\n\r\n"),
        BAD("GET / \r\nHost: a\r\n\r\n"),
        BAD("GET HTTP/1.1\r\nHost: a\r\n\r\n"),
        BAD("GET / HTTP/1.1.1\r\nHost: a\r\n\r\n"),
        BAD("GET / http/1.1\r\nHost: a\r\n\r\n"),
        BAD("GET / HTTPS/1.\r\nHost: a\r\n\r\n"),
        BAD("GET / HTTP/11\r\nHost: a\r\n\r\n"),
        {STR("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505},
        {STR("GET / HTTP/1.2\r\nHost: a\r\n\r\n"), 505},
        {STR("GET / HTTP/0.9\r\nHost: a\r\n\r\n"), 505},
        {STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505},
        BAD("get / HTTP/1.1\r\nHost: a\r\n\r\n"),
        BAD("BREW / HTTP/1.1\r\nHost: a\r\n\r\n"),
        BAD("G(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
        BAD("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\nHost: a\r\n\r\n"),
        BAD("GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n"),
        BAD("GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n"),
        BAD("GET /a\x7f HTTP/1.1\r\nHost: a\r\n\r\n"),
        BAD("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"),
        BAD("GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
        BAD("GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
        BAD("GET ?a HTTP/1.1\r\nHost: a\r\n\r\n"),
        BAD("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
        BAD("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        BAD("GET http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        BAD("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        BAD("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        BAD("GET / HTTP/1.1\r\n\r\n"),
        BAD("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        BAD("GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n"),
        BAD("GET / HTTP/1.1\r\nHost:\r\n\r\n"),
        BAD("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
        BAD("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
        BAD("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
        BAD("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
        BAD("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n"),
        BAD("GET / HTTP/1.1\r\nHost: a:123456\r\n\r\n"),
        BAD("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"),
        BAD("GET / HTTP/1.1\r\nHost: []\r\n\r\n"),
        BAD("GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n"),
        {STR(PUT("Content-Length: 5\r\nExpect: 200-ok\r\n")), 417},
        {STR(PUT("Content-Length: 99999999999\r\n")), 413},
    };
    check_rows(rows, ARRAY_LEN(rows));
}

Test(http_parse, fills_the_request)
{
    static const struct str text =
        STR("PUT http://Media.example:9000/a%20b/c?x=1&y HTTP/1.1\r\nhOST: media.EXAMPLE:9000\r\n"
            "X-One:  spaced out \t\r\nx-two:\r\nX-ONE: again\r\nContent-Length: 77\r\n"
            "Expect: 100-continue\r\nConnection: keep-alive, close\r\n\r\nbody");
    for (size_t split = 0; split <= text.len; split++) {
        size_t used;
        begin();
        cr_assert_eq(feed(limits, text, split, &used), HTTP_PARSE_DONE, "split %zu: %s", split, parse.reason);
        cr_assert_eq(used, text.len - 4);
        cr_assert_eq(req.method, HTTP_M_PUT);
        cr_assert(str_eq(req.method_text, STR("PUT")));
        cr_assert(str_eq(req.target, STR("/a%20b/c?x=1&y")));
        cr_assert(str_eq(req.path, STR("/a%20b/c")));
        cr_assert(str_eq(req.query, STR("x=1&y")));
        cr_assert(str_eq(req.host, STR("media.EXAMPLE:9000")));
        cr_assert_eq(req.header_count, 7);
        cr_assert(str_eq(req.headers[1].name, STR("X-One")));
        cr_assert(str_eq(req.headers[1].value, STR("spaced out")));
        cr_assert(str_eq(req.headers[2].value, STR("")));
        cr_assert_not_null(req.headers[2].value.p);
        cr_assert(str_eq(req.headers[3].value, STR("again")));
        cr_assert_eq(req.content_length, 77);
        cr_assert(req.expect_continue);
        cr_assert_not(req.chunked);
        cr_assert_not(req.keep_alive);
        cr_assert_not(req.http10);
        end();
    }
}

Test(http_parse, gathers_a_long_head_from_many_pieces)
{
    struct sbuf s = {0};
    sbuf_puts(&s, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < 90; i++)
        sbuf_printf(&s, "X-%d: %0100d\r\n", i, i);
    sbuf_puts(&s, "\r\n");
    for (size_t piece = 1; piece < s.len; piece += piece / 3 + 1) {
        enum http_parse_result result = HTTP_PARSE_MORE;
        size_t at = 0, used;
        begin();
        for (; at < s.len && result == HTTP_PARSE_MORE; at += used)
            result = http_parse_feed(&parse, &req, limits, (const uint8_t *)s.p + at, MIN_OF(piece, s.len - at), &used);
        cr_assert_eq(result, HTTP_PARSE_DONE, "pieces of %zu: %s", piece, parse.reason);
        cr_assert_eq(at, s.len);
        cr_assert_eq(req.header_count, 91);
        cr_assert(str_eq(req.headers[90].name, STR("X-89")));
        cr_assert_eq(req.headers[90].value.len, 100);
        end();
    }
    sbuf_fini(&s);
}

Test(http_parse, names_the_methods)
{
    static const struct {
        const char *text;
        enum http_method method;
    } rows[] = {{"GET", HTTP_M_GET},       {"HEAD", HTTP_M_HEAD},       {"PUT", HTTP_M_PUT},    {"POST", HTTP_M_POST},
                {"DELETE", HTTP_M_DELETE}, {"OPTIONS", HTTP_M_OPTIONS}, {"PATCH", HTTP_M_OTHER}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct sbuf s = {0};
        size_t used;
        sbuf_printf(&s, "%s / HTTP/1.1\r\nHost: a\r\n\r\n", rows[i].text);
        begin();
        cr_assert_eq(feed(limits, (struct str){s.p, s.len}, 2, &used), HTTP_PARSE_DONE);
        cr_assert_eq(req.method, rows[i].method, "%s", rows[i].text);
        end();
        sbuf_fini(&s);
    }
}

Test(http_parse, reduces_absolute_form_to_origin_form)
{
    static const struct {
        struct str line, target, path;
        bool query;
    } rows[] = {
        {STR("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n"), STR("/"), STR("/"), false},
        {STR("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"), STR("/"), STR("/"), false},
        {STR("GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n"), STR("/?q"), STR("/"), true},
        {STR("GET http://a/b? HTTP/1.1\r\nHost: a\r\n\r\n"), STR("/b?"), STR("/b"), true},
        {STR("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), STR("*"), STR("*"), false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t used;
        begin();
        cr_assert_eq(feed(limits, rows[i].line, 5, &used), HTTP_PARSE_DONE);
        cr_assert(str_eq(req.target, rows[i].target), "row %zu", i);
        cr_assert(str_eq(req.path, rows[i].path), "row %zu", i);
        cr_assert_eq(req.query.p != NULL, rows[i].query, "row %zu", i);
        cr_assert(str_eq(req.host, STR("a")), "row %zu", i);
        end();
    }
}

static int feed_generated(const struct http_limits *l, const char *first, const char *unit, unsigned count,
                          const char *last)
{
    struct sbuf s = {0};
    size_t used;
    sbuf_puts(&s, first);
    for (unsigned i = 0; i < count; i++)
        sbuf_puts(&s, unit);
    sbuf_puts(&s, last);
    begin();
    enum http_parse_result result = feed(l, (struct str){s.p, s.len}, s.len / 2, &used);
    int status = result == HTTP_PARSE_REFUSED ? parse.status : result == HTTP_PARSE_DONE ? 0 : -1;
    end();
    sbuf_fini(&s);
    return status;
}

Test(http_parse, bounds_the_head_and_the_number_of_headers)
{
    struct http_limits l = http_limits_default;
    l.head_bytes = 1000;
    l.header_count = 10;
    cr_assert_eq(feed_generated(&l, "GET /", "a", 900, " HTTP/1.1\r\nHost: a\r\n\r\n"), 0);
    cr_assert_eq(feed_generated(&l, "GET /", "a", 1000, " HTTP/1.1\r\nHost: a\r\n\r\n"), 414);
    cr_assert_eq(feed_generated(&l, "GET /", "a", 1000, ""), 414);
    cr_assert_eq(feed_generated(&l, GET "X: ", "a", 1000, "\r\n\r\n"), 431);
    cr_assert_eq(feed_generated(&l, GET "X: ", "a", 5000, ""), 431);
    cr_assert_eq(feed_generated(&l, GET, "X: a\r\n", 9, "\r\n"), 0);
    cr_assert_eq(feed_generated(&l, GET, "X: a\r\n", 10, "\r\n"), 431);
    cr_assert_eq(feed_generated(&l, GET, "X: a\r\n", 10, ""), 431, "at once, not at the end of the head");
    size_t exact = 1000 - sizeof(GET "X: \r\n\r\n") + 1;
    cr_assert_eq(feed_generated(&l, GET "X: ", "a", (unsigned)exact, "\r\n\r\n"), 0);
    cr_assert_eq(feed_generated(&l, GET "X: ", "a", (unsigned)exact + 1, "\r\n\r\n"), 431);
}

/* ---- bodies ---- */

/* Decodes a body fed in pieces of `piece` bytes, of which at most `eat` data bytes are taken at a time. */
static int decode(struct str text, const struct http_req *r, uint64_t limit, size_t piece, size_t eat, struct sbuf *out,
                  size_t *ret_used)
{
    struct http_frame f;
    int step = HTTP_FRAME_MORE;
    size_t at = 0;
    if (!http_frame_init(&f, r, limit))
        return HTTP_FRAME_END;
    while (step != HTTP_FRAME_END) {
        size_t n = MIN_OF(text.len - at, piece), skip, data;
        uint8_t *copy = malloc(n ? n : 1);
        memcpy(copy, text.p + at, n);
        step = http_frame_next(&f, copy, n, &skip, &data);
        if (step >= 0) {
            size_t take = MIN_OF(data, eat);
            sbuf_add(out, copy + skip, take);
            http_frame_eat(&f, take);
            at += skip + take;
        }
        free(copy);
        if (step < 0 || (step == HTTP_FRAME_MORE && at == text.len))
            break;
    }
    *ret_used = at;
    return step;
}

Test(http_frame, decodes_bodies_at_any_split_and_any_appetite)
{
    static const struct {
        struct str text;
        struct str body;
        int64_t length; /* -1: chunked */
        size_t rest;
    } rows[] = {
        {STR("0\r\n\r\n"), STR(""), -1, 0},
        {STR("5\r\nhello\r\n0\r\n\r\nGET"), STR("hello"), -1, 3},
        {STR("A\r\n0123456789\r\n00b\r\n0123456789a\r\n000\r\n\r\n"), STR("01234567890123456789a"), -1, 0},
        {STR("1;a=b\r\nx\r\n1;c=\"d e\"\r\ny\r\n0;last\r\nTrailer: v\r\nB:\r\n\r\n"), STR("xy"), -1, 0},
        {STR("3\r\n\r\n\r\r\n2\r\n0\r\r\n0\r\n\r\n"), STR("\r\n\r0\r"), -1, 0},
        {STR("helloGET"), STR("hello"), 5, 3},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t piece = 1; piece <= rows[i].text.len; piece++)
            for (size_t eat = 1; eat < 12; eat += 5) {
                struct http_req r = {.chunked = rows[i].length < 0, .content_length = rows[i].length};
                struct sbuf out = {0};
                size_t used;
                cr_assert_eq(decode(rows[i].text, &r, 1000, piece, eat, &out, &used), HTTP_FRAME_END, "row %zu", i);
                cr_assert(str_eq((struct str){out.p, out.len}, rows[i].body), "row %zu piece %zu", i, piece);
                cr_assert_eq(used, rows[i].text.len - rows[i].rest);
                sbuf_fini(&out);
            }
}

Test(http_frame, refuses_bad_chunking)
{
    static const struct {
        struct str text;
        int err;
    } rows[] = {
        {STR("\r\n"), -EPROTO},
        {STR("g\r\n"), -EPROTO},
        {STR("0x5\r\nhello"), -EPROTO},
        {STR("+5\r\nhello"), -EPROTO},
        {STR("-5\r\nhello"), -EPROTO},
        {STR(" 5\r\nhello"), -EPROTO},
        {STR("5 \r\nhello"), -EPROTO},
        {STR("5\nhello"), -EPROTO},
        {STR("5\r5hello"), -EPROTO},
        {STR("5\rhello"), -EPROTO},
        {STR("5;a\nhello"), -EPROTO},
        {STR("5;a\0b\r\nhello"), -EPROTO},
        {STR("5;a\rb\r\nhello"), -EPROTO},
        {STR("5\r\nhello0\r\n\r\n"), -EPROTO},
        {STR("5\r\nhello\n0\r\n\r\n"), -EPROTO},
        {STR("5\r\nhello\r0\r\n\r\n"), -EPROTO},
        {STR("0000000000000000\r\n"), -EPROTO},
        {STR("8000000000000000\r\n"), -EPROTO},
        {STR("fffffffffffffffff\r\n"), -EPROTO},
        {STR("0\r\n\n"), -EPROTO},
        {STR("0\r\nX: y\n\r\n"), -EPROTO},
        {STR("0\r\nX : y\r\n\r\n"), -EPROTO},
        {STR("0\r\n y\r\n\r\n"), -EPROTO},
        {STR("0\r\nX\r\n\r\n"), -EPROTO},
        {STR("0\r\nX: a\0b\r\n\r\n"), -EPROTO},
        {STR("3e9\r\n"), -EMSGSIZE},
        {STR("fffffffffffffff\r\n"), -EMSGSIZE},
        {STR("3e8\r\n"), HTTP_FRAME_MORE},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t piece = 1; piece <= rows[i].text.len; piece++) {
            struct http_req r = {.chunked = true, .content_length = -1};
            struct sbuf out = {0};
            size_t used;
            cr_assert_eq(decode(rows[i].text, &r, 1000, piece, 100, &out, &used), rows[i].err, "row %zu %s", i,
                         rows[i].text.p);
            sbuf_fini(&out);
        }
}

Test(http_frame, bounds_extensions_trailers_and_the_sum_of_chunks)
{
    static const struct {
        const char *unit, *first;
        unsigned fits, over;
        int err;
    } rows[] = {
        {"e", "1;", HTTP_CHUNK_EXT_BYTES, HTTP_CHUNK_EXT_BYTES + 1, -EPROTO},
        {"1;ee\r\nx\r\n", "", HTTP_CHUNK_EXT_BYTES / 2, HTTP_CHUNK_EXT_BYTES / 2 + 1, -EPROTO},
        {"T: v\r\n", "0\r\n", HTTP_TRAILER_BYTES / 5, HTTP_TRAILER_BYTES / 5 + 1, -EPROTO}, /* the LF is not counted */
        {"a\r\n0123456789\r\n", "", 10000, 10001, -EMSGSIZE},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (int over = 0; over < 2; over++) {
            struct sbuf text = {0}, out = {0};
            struct http_req r = {.chunked = true, .content_length = -1};
            size_t used;
            sbuf_puts(&text, rows[i].first);
            for (unsigned n = over ? rows[i].over : rows[i].fits; n; n--)
                sbuf_puts(&text, rows[i].unit);
            int step = decode((struct str){text.p, text.len}, &r, 100000, 4096, 4096, &out, &used);
            cr_assert_eq(step, over ? rows[i].err : HTTP_FRAME_MORE, "row %zu over %d: %d", i, over, step);
            sbuf_fini(&text);
            sbuf_fini(&out);
        }
}
