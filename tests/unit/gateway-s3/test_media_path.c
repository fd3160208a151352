#include "gateway-s3/gateway.h"
#include "tests/lib/client_rig.h"
#include "tests/lib/control_rig.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define PLAYLIST "#EXTM3U\n#EXT-X-VERSION:7\nseg0.m4s\n"
#define SEGMENT  "0123456789abcdefghijklmnopqrstuvwxyz"

static struct control_rig rig;
static struct gateway *gateway;
static struct http_server *server;
static char *url; /* the path of a playback URL: /t/TOKEN/c/12/index.m3u8 */
static bool closed;

static char *playback(const char *audience)
{
    char *whole = control_rig_playback(&rig, audience);
    char *path = strdup(strstr(whole, "/t/"));
    free(whole);
    return path;
}

static void setup(void)
{
    struct gateway_conf conf = {.domain = "localhost", .region = "us-east-1"};
    char why[200];
    control_rig_open(&rig, 10000);
    control_rig_course(&rig);
    cr_assert_eq(gateway_open(rig.loop, rig.work, rig.client, rig.control, &conf, &gateway), 0);
    struct http_handler handler = gateway_handler(gateway);
    cr_assert_eq(http_server_open(rig.loop, "127.0.0.1:0", NULL, &handler, &server, why, sizeof(why)), 0, "%s", why);
    rows_mem_object(rig.rows, "media", "c/12/index.m3u8", STR(PLAYLIST), "0a1b", "binary/octet-stream");
    rows_mem_object(rig.rows, "media", "c/12/seg0.m4s", STR(SEGMENT), "c0ffee", "video/iso.segment");
    rows_mem_object(rig.rows, "media", "c/12/seg.ts", STR(SEGMENT), "c0ffef", "text/vnd.trolltech.linguist");
    rows_mem_object(rig.rows, "media", "c/12/page.html", STR("<script>"), "beef", "text/html");
    rows_mem_object(rig.rows, "media", "c/12/lesson.key", STR("0123456789abcdef"), "4ee", NULL);
    rows_mem_object(rig.rows, "media", "c/12/book.epub", STR("PK"), "b00c", NULL);
    rows_mem_object(rig.rows, "media", "c/12/p.jpg", STR("JFIF"), "19e6", NULL);
    rows_mem_object(rig.rows, "media", "c/12/empty.vtt", STR(""), "d41d8cd9", NULL);
    rows_mem_object(rig.rows, "media", "c/12/caf\xc3\xa9 1.mp3", STR("ID3"), "1d3", "audio/mpeg");
    rows_mem_object(rig.rows, "media", "c/123/secret.mp4", STR("secret"), "5ec", "video/mp4");
    url = playback(NULL);
}

static void on_closed(void *ctx)
{
    *(bool *)ctx = true;
}

static void teardown(void)
{
    http_server_close(server, 0, on_closed, &closed);
    cr_assert(TURN_UNTIL(rig.loop, closed));
    gateway_close(gateway);
    control_rig_close(&rig);
    free(url);
}

TestSuite(media_path, .init = setup, .fini = teardown);

/* ---- asking ---- */

struct answer {
    int status;
    char *text; /* all of it */
    const char *body;
};

static struct answer ask(const char *method, const char *path, const char *headers)
{
    struct answer a = {0};
    struct sbuf request = {0};
    struct peer p;
    sbuf_printf(&request, "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n%s\r\n", method, path,
                headers ? headers : "");
    peer_open(&p, rig.loop, http_server_port(server));
    peer_send(&p, request.p, request.len);
    cr_assert(peer_until_end(&p), "%s %s", method, path);
    sbuf_add(&p.got, "", 1);
    a.text = strdup(p.got.p);
    peer_close(&p);
    sbuf_fini(&request);
    cr_assert_eq(sscanf(a.text, "HTTP/1.1 %d", &a.status), 1, "%s %s: '%s'", method, path, a.text);
    char *end = strstr(a.text, "\r\n\r\n");
    cr_assert_not_null(end);
    end[2] = 0; /* the head is a text of its own */
    a.body = end + 4;
    return a;
}

static bool has(const struct answer *a, const char *header)
{
    return strstr(a->text, header) != NULL;
}

/* What every answer of the media path owes to a browser. */
static void common_ok(const struct answer *a, const char *what)
{
    cr_expect(has(a, "Access-Control-Allow-Origin: *\r\n"), "%s: %s", what, a->text);
    cr_expect(has(a, "Access-Control-Expose-Headers: "), "%s", what);
    cr_expect(has(a, "Referrer-Policy: no-referrer\r\n"), "%s", what);
    cr_expect(has(a, "X-Content-Type-Options: nosniff\r\n"), "%s", what);
}

/* path: below the token. */
static const char *below(const char *path)
{
    static char text[TOKEN_TEXT_MAX + 400];
    snprintf(text, sizeof(text), "%.*s/%s", (int)(3 + strcspn(url + 3, "/")), url, path);
    return text;
}

static void denied(const char *method, const char *path, const char *headers, int status, const char *code)
{
    char want[80];
    struct answer a = ask(method, path, headers);
    cr_expect_eq(a.status, status, "%s %s: %d", method, path + 20, a.status);
    common_ok(&a, path);
    cr_expect(has(&a, "Cache-Control: no-store\r\n"), "%s", path);
    cr_expect(has(&a, "Content-Type: application/json\r\n"), "%s", path);
    cr_expect(!has(&a, "\r\nETag:"), "%s", path);
    snprintf(want, sizeof(want), "{\"code\":\"%s\",\"message\":\"", code);
    if (strcmp(method, "HEAD") != 0)
        cr_expect(strncmp(a.body, want, strlen(want)) == 0, "%s: %s", path, a.body);
    cr_expect_null(strstr(a.body, "AQAAAA"), "the token is in the answer");
    free(a.text);
}

/* ---- what is opened ---- */

Test(media_path, the_entry_and_what_stands_beside_it_is_served)
{
    struct answer a = ask("GET", url, "Origin: https://school.example\r\n");
    cr_expect_eq(a.status, 200);
    common_ok(&a, "entry");
    cr_expect_str_eq(a.body, PLAYLIST);
    cr_expect(has(&a, "Content-Type: application/vnd.apple.mpegurl\r\n"), "%s", a.text);
    cr_expect(has(&a, "ETag: \"0a1b\"\r\n") && has(&a, "Accept-Ranges: bytes\r\n"));
    cr_expect(has(&a, "Last-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\n"));
    cr_expect(has(&a, "Cache-Control: private, no-cache\r\n"));
    free(a.text);
    a = ask("GET", below("c/12/seg0.m4s"), NULL);
    cr_expect(a.status == 200 && strcmp(a.body, SEGMENT) == 0);
    cr_expect(has(&a, "Content-Type: video/iso.segment\r\n") && has(&a, "Cache-Control: private, max-age=3600\r\n"));
    free(a.text);
    a = ask("GET", below("c/12/caf%C3%A9%201.mp3"), NULL);
    cr_expect(a.status == 200 && strcmp(a.body, "ID3") == 0);
    free(a.text);
}

Test(media_path, types_that_would_not_play_are_put_right)
{
    static const struct {
        const char *path, *header;
    } rows[] = {
        {"c/12/seg.ts", "Content-Type: video/mp2t\r\n"},
        {"c/12/book.epub", "Content-Type: application/epub+zip\r\n"},
        {"c/12/p.jpg", "Content-Type: image/jpeg\r\n"},
        {"c/12/page.html", "Content-Security-Policy: sandbox; default-src 'none'\r\n"},
        {"c/12/lesson.key", "Cache-Control: no-store\r\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct answer a = ask("GET", below(rows[i].path), NULL);
        cr_expect(a.status == 200 && has(&a, rows[i].header), "%s: %s", rows[i].path, a.text);
        free(a.text);
    }
}

Test(media_path, head_tells_what_get_would)
{
    struct answer a = ask("HEAD", below("c/12/seg0.m4s"), NULL);
    cr_expect_eq(a.status, 200);
    cr_expect(has(&a, "Content-Length: 36\r\n") && has(&a, "ETag: \"c0ffee\"\r\n") && a.body[0] == 0);
    common_ok(&a, "HEAD");
    free(a.text);
    a = ask("HEAD", below("c/12/seg0.m4s"), "Range: bytes=0-3\r\n");
    cr_expect(a.status == 200 && has(&a, "Content-Length: 36\r\n"), "ranges are GET's only");
    free(a.text);
    a = ask("GET", below("c/12/empty.vtt"), NULL);
    cr_expect(a.status == 200 && has(&a, "Content-Length: 0\r\n"), "%s", a.text);
    free(a.text);
}

Test(media_path, ranges_are_exact_and_bounded)
{
    static const struct {
        const char *range;
        int status;
        const char *content_range, *body;
    } rows[] = {
        {"bytes=0-0", 206, "bytes 0-0/36", "0"},
        {"bytes=10-", 206, "bytes 10-35/36", &SEGMENT[10]},
        {"bytes=-3", 206, "bytes 33-35/36", "xyz"},
        {"bytes=-99", 206, "bytes 0-35/36", SEGMENT},
        {"bytes=30-99999999", 206, "bytes 30-35/36", "uvwxyz"},
        {"bytes=0-18446744073709551615", 206, "bytes 0-35/36", SEGMENT},
        {"bytes=36-", 416, "bytes */36", NULL},
        {"bytes=-0", 416, "bytes */36", NULL},
        {"bytes=5-2", 200, NULL, SEGMENT},
        {"seconds=1-2", 200, NULL, SEGMENT},
        {"bytes=a-b", 200, NULL, SEGMENT},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char header[100], want[60];
        snprintf(header, sizeof(header), "Range: %s\r\n", rows[i].range);
        struct answer a = ask("GET", below("c/12/seg0.m4s"), header);
        cr_expect_eq(a.status, rows[i].status, "%s: %d", rows[i].range, a.status);
        snprintf(want, sizeof(want), "Content-Range: %s\r\n", rows[i].content_range ? rows[i].content_range : "");
        cr_expect_eq(has(&a, want), rows[i].content_range != NULL, "%s: %s", rows[i].range, a.text);
        if (rows[i].body)
            cr_expect_str_eq(a.body, rows[i].body, "%s", rows[i].range);
        common_ok(&a, rows[i].range);
        free(a.text);
    }
}

Test(media_path, several_ranges_come_as_parts_that_say_where_they_belong)
{
    struct answer a = ask("GET", below("c/12/seg0.m4s"), "Range: bytes=0-1,10-12,-2\r\n");
    cr_expect_eq(a.status, 206);
    cr_expect(has(&a, "Content-Type: multipart/byteranges; boundary="), "%s", a.text);
    cr_expect(!has(&a, "\r\nContent-Range:"));
    cr_expect(strstr(a.body, "Content-Type: video/iso.segment\r\nContent-Range: bytes 0-1/36\r\n\r\n01\r\n--"), "%s",
              a.body);
    cr_expect(strstr(a.body, "Content-Range: bytes 10-12/36\r\n\r\nabc\r\n--"));
    cr_expect(strstr(a.body, "Content-Range: bytes 34-35/36\r\n\r\nyz\r\n--"));
    unsigned long length = 0;
    sscanf(strstr(a.text, "Content-Length: "), "Content-Length: %lu", &length);
    cr_expect_eq(length, strlen(a.body));
    free(a.text);
    struct sbuf many = {0};
    sbuf_puts(&many, "Range: bytes=0-35");
    for (int i = 0; i < 60; i++)
        sbuf_puts(&many, ",0-35");
    sbuf_puts(&many, "\r\n");
    sbuf_add(&many, "", 1);
    a = ask("GET", below("c/12/seg0.m4s"), many.p);
    cr_expect(a.status == 200 && strcmp(a.body, SEGMENT) == 0, "sixty overlapping ranges cost one object");
    free(a.text);
    sbuf_fini(&many);
}

Test(media_path, conditions_hold)
{
    static const struct {
        const char *headers;
        int status;
    } rows[] = {
        {"If-None-Match: \"c0ffee\"\r\n", 304},
        {"If-None-Match: W/\"c0ffee\", \"x\"\r\n", 304},
        {"If-None-Match: \"other\"\r\n", 200},
        {"If-Match: \"other\"\r\n", 412},
        {"If-Match: \"c0ffee\"\r\n", 200},
        {"If-Modified-Since: Tue, 14 Nov 2023 22:13:20 GMT\r\n", 304},
        {"If-Unmodified-Since: Tue, 14 Nov 2023 22:13:19 GMT\r\n", 412},
        {"Range: bytes=0-1\r\nIf-Range: \"c0ffee\"\r\n", 206},
        {"Range: bytes=0-1\r\nIf-Range: \"other\"\r\n", 200},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct answer a = ask("GET", below("c/12/seg0.m4s"), rows[i].headers);
        cr_expect_eq(a.status, rows[i].status, "%s: %d", rows[i].headers, a.status);
        common_ok(&a, rows[i].headers);
        if (a.status == 304)
            cr_expect(has(&a, "ETag: \"c0ffee\"\r\n") && a.body[0] == 0);
        free(a.text);
    }
}

Test(media_path, a_query_changes_nothing)
{
    static const char *const queries[] = {"?",
                                          "?CMCD=bl%3D21300",
                                          "?response-content-type=text/html",
                                          "?response-content-disposition=attachment",
                                          "?X-Amz-Signature=x",
                                          "?token=x&token=y",
                                          "?%zz"};
    for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
        char path[TOKEN_TEXT_MAX + 400];
        snprintf(path, sizeof(path), "%s%s", below("c/12/seg0.m4s"), queries[i]);
        struct answer a = ask("GET", path, NULL);
        cr_expect(a.status == 200 && strcmp(a.body, SEGMENT) == 0, "%s: %d", queries[i], a.status);
        cr_expect(has(&a, "Content-Type: video/iso.segment\r\n") && !has(&a, "\r\nContent-Disposition:"), "%s",
                  queries[i]);
        free(a.text);
    }
}

Test(media_path, a_download_comes_as_an_attachment)
{
    char *path = playback("download");
    struct answer a = ask("GET", path, NULL);
    cr_expect(a.status == 200 && has(&a, "Content-Disposition: attachment; filename*=UTF-8''index.m3u8\r\n"), "%s",
              a.text);
    free(a.text);
    free(path);
}

/* ---- large objects and drives that fail ---- */

#define LARGE (9 * MIB + 12345) /* three stripes */

static uint8_t *large;
static struct rig_put put;
static struct rig client_side;

static void store_large(void)
{
    client_side = (struct rig){.loop = rig.loop, .work = rig.work, .client = rig.client, .peer = rig.below};
    large = malloc(LARGE);
    rig_fill(large, LARGE, 3);
    cr_assert_eq(rig_put(&client_side, &put, large, LARGE), 0);
    put.object.format = 1;
    put.object.etag = (char *)(uintptr_t) "1a49e";
    rows_mem_object_row(rig.rows, "media", "c/12/large.mp4", &put.object);
}

static void drop_large(void)
{
    rig_put_free(&client_side, &put, true);
    free(large);
}

Test(media_path, a_large_object_comes_whole_and_in_parts)
{
    store_large();
    struct peer p;
    char request[TOKEN_TEXT_MAX + 600], head[100];
    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
             below("c/12/large.mp4"));
    peer_open(&p, rig.loop, http_server_port(server));
    peer_puts(&p, request);
    cr_assert(peer_until_end(&p));
    const char *end = memmem(p.got.p, p.got.len, "\r\n\r\n", 4);
    snprintf(head, sizeof(head), "Content-Length: %llu\r\n", (unsigned long long)LARGE);
    cr_expect_not_null(memmem(p.got.p, p.got.len, head, strlen(head)));
    cr_assert_eq(p.got.len - (size_t)(end + 4 - p.got.p), LARGE);
    cr_expect(memcmp(end + 4, large, LARGE) == 0);
    peer_close(&p);
    uint64_t read_before = rig.below->read_bytes;
    struct answer a = ask("GET", below("c/12/large.mp4"), "Range: bytes=4194300-4194307\r\n");
    cr_expect(a.status == 206 && memcmp(a.body, large + 4194300, 8) == 0, "a range over two stripes");
    cr_expect_leq(rig.below->read_bytes - read_before, 2 * 64 * KIB, "a range reads its blocks and no more");
    free(a.text);
    drop_large();
}

Test(media_path, what_cannot_be_read_is_said_before_the_status_line)
{
    store_large();
    rig.below->stores[0].mode = PEER_CORRUPT;
    denied("GET", below("c/12/large.mp4"), NULL, 503, "storage_unavailable");
    denied("GET", below("c/12/large.mp4"), "Range: bytes=5000000-5000001,1-2\r\n", 503, "storage_unavailable");
    rig.below->stores[0].mode = PEER_GOOD;
    struct answer a = ask("HEAD", below("c/12/large.mp4"), NULL);
    cr_expect_eq(a.status, 200);
    free(a.text);
    drop_large();
}

Test(media_path, what_fails_on_the_way_resets_the_connection)
{
    store_large();
    struct peer p;
    char request[TOKEN_TEXT_MAX + 600];
    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", below("c/12/large.mp4"));
    peer_open_small(&p, rig.loop, http_server_port(server), 16384);
    peer_puts(&p, request);
    cr_assert(peer_until(&p, "\r\n\r\n"));
    rig.below->stores[0].mode = PEER_CORRUPT;
    cr_assert(peer_until_end(&p));
    cr_expect_lt(p.got.len, LARGE, "it all came before the drive failed");
    cr_expect_eq(p.err, ECONNRESET, "a clean end would pass for the whole file");
    peer_close(&p);
    rig.below->stores[0].mode = PEER_GOOD;
    drop_large();
}

Test(media_path, a_reader_that_goes_away_leaves_nothing_behind)
{
    store_large();
    char request[TOKEN_TEXT_MAX + 600];
    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", below("c/12/large.mp4"));
    for (unsigned ms = 0; ms < 12; ms++) {
        struct peer p;
        peer_open_small(&p, rig.loop, http_server_port(server), 16384);
        peer_puts(&p, request);
        turns(rig.loop, ms);
        peer_reset(&p);
    }
    struct http_server_stats stats;
    cr_expect(TURN_UNTIL(rig.loop, (http_server_stats(server, &stats), stats.conns_open == 0)));
    drop_large();
}

/* ---- what is not opened ---- */

Test(media_path, paths_with_two_readings_are_refused_before_anything_else)
{
    static const char *const paths[] = {
        "c/12/../123/secret.mp4",
        "c/12/%2e%2e/123/secret.mp4",
        "c/12/%2E%2E/index.m3u8",
        "c/12/./index.m3u8",
        "c/12//index.m3u8",
        "c/12%2findex.m3u8",
        "c/12%2Findex.m3u8",
        "c/12/x%5cy",
        "c/12/index.m3u8%00",
        "c/12/index.m3u8;x=1",
        "c/12/%c0%ae%c0%ae/x",
        "c/12/%ff",
        "/c/12/index.m3u8",
        "",
        "c/12/",
        "c/12/%",
        "c/12/a%0d%0aX: y",
    };
    unsigned gets = rig.rows->object_gets;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        if (!strchr(paths[i], ' '))
            denied("GET", below(paths[i]), NULL, 400, "path_invalid");
    }
    denied("GET", "/t/AAAA/../x", NULL, 400, "path_invalid");
    denied("GET", "/t", NULL, 400, "path_invalid");
    denied("GET", "/t/", NULL, 400, "path_invalid");
    denied("GET", "/t/AAAA", NULL, 400, "path_invalid");
    cr_expect_eq(rig.rows->object_gets, gets);
}

/* 403 for everything outside, the same whether it exists, on every method and with every condition. */
Test(media_path, a_denial_does_not_tell_whether_the_object_exists)
{
    static const char *const conditions[] = {NULL, "If-None-Match: \"5ec\"\r\n", "If-None-Match: *\r\n",
                                             "Range: bytes=0-0\r\n", "If-Match: \"x\"\r\n"};
    static const char *const methods[] = {"GET", "HEAD"};
    unsigned gets = rig.rows->object_gets;
    for (size_t m = 0; m < ARRAY_LEN(methods); m++) {
        for (size_t i = 0; i < ARRAY_LEN(conditions); i++) {
            denied(methods[m], below("c/123/secret.mp4"), conditions[i], 403, "token_path");
            denied(methods[m], below("c/123/absent.mp4"), conditions[i], 403, "token_path");
            denied(methods[m], "/t/AAAA/c/12/index.m3u8", conditions[i], 403, "token_malformed");
        }
    }
    cr_assert_eq(control_rig_call(&rig, "DELETE", "/v1/users/ada/grants/c1", NULL, NULL), 204);
    denied("GET", url, NULL, 403, "grant_missing");
    denied("GET", below("c/12/absent"), NULL, 403, "grant_missing");
    denied("HEAD", url, "If-None-Match: \"0a1b\"\r\n", 403, "grant_missing");
    cr_expect_eq(rig.rows->object_gets, gets, "an object was looked for");
}

Test(media_path, what_is_missing_inside_is_404_and_still_cors)
{
    denied("GET", below("c/12/absent.m4s"), NULL, 404, "object_missing");
    denied("HEAD", below("c/12/absent.m4s"), NULL, 404, "object_missing");
}

Test(media_path, each_denial_has_its_code)
{
    char path[TOKEN_TEXT_MAX + 400];
    snprintf(path, sizeof(path), "%s", url);
    path[60] = path[60] == 'A' ? 'B' : 'A';
    struct answer a = ask("GET", path, NULL);
    cr_expect_eq(a.status, 403);
    free(a.text);
    char *thumb = playback("thumbnail");
    denied("GET", thumb, NULL, 403, "token_audience");
    free(thumb);
    rig.rows->err = E_UNAVAILABLE;
    denied("GET", url, NULL, 503, "entitlement_unavailable");
    rig.rows->err = 0;
    rig.clock.wall_now_ms += 13 * 3600 * UINT64_C(1000);
    denied("GET", url, NULL, 403, "token_expired");
}

Test(media_path, only_reading_is_possible)
{
    static const char *const methods[] = {"PUT", "POST", "DELETE", "PATCH"};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        denied(methods[i], url, "Content-Length: 0\r\n", 405, "method_not_allowed");
}

Test(media_path, a_preflight_is_answered_without_a_judgement)
{
    unsigned gets = rig.rows->gets;
    struct answer a = ask("OPTIONS", "/t/AAAA/whatever",
                          "Origin: https://school.example\r\nAccess-Control-Request-Method: GET\r\n"
                          "Access-Control-Request-Headers: range\r\n");
    cr_expect_eq(a.status, 204);
    common_ok(&a, "preflight");
    cr_expect(has(&a, "Access-Control-Allow-Methods: GET, HEAD, OPTIONS\r\n") &&
              has(&a, "Access-Control-Allow-Headers: Range"));
    cr_expect_eq(rig.rows->gets, gets);
    free(a.text);
}

/* ---- the page ---- */

Test(media_path, the_watch_page_is_served_strictly)
{
    static const struct {
        const char *path, *type;
        int status;
    } rows[] = {{"/watch", "text/html", 200},
                {"/watch/", "text/html", 200},
                {"/watch/watch.js", "text/javascript", 200},
                {"/watch/watch.css", "text/css", 200},
                {"/watch/hls.min.js", NULL, 404},
                {"/watch/../etc/passwd", NULL, 404}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct answer a = ask("GET", rows[i].path, NULL);
        cr_expect_eq(a.status, rows[i].status, "%s: %d", rows[i].path, a.status);
        cr_expect(has(&a, "Content-Security-Policy: default-src 'none'"), "%s", rows[i].path);
        if (rows[i].type)
            cr_expect(strstr(a.text, rows[i].type), "%s", rows[i].path);
        free(a.text);
    }
}
