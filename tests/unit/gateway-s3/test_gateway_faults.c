/* The S3 gateway over a real node when calls fail, hang or lie, and when clients go away: each refusal has its code,
 * what was acknowledged stays, what was not is not there, and nothing is left behind (the rig's end counts calls, the
 * sanitizer memory). */
#include "common/err.h"
#include "tests/lib/gateway_rig.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct gateway_rig rig;
static char large[300000];

static void setup(void)
{
    char code[64];
    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (char)(i * 31 + (i >> 8));
    gateway_rig_open(&rig);
    cr_assert_eq(gateway_rig_call(&rig, "PUT", "/bucket", "", NULL, 0, code), 200, "%s", code);
    cr_assert_eq(gateway_rig_call(&rig, "PUT", "/bucket/old", "", large, sizeof large, code), 200, "%s", code);
}

static void teardown(void)
{
    gateway_rig_close(&rig);
}

TestSuite(gateway_faults, .init = setup, .fini = teardown, .timeout = 120);

static int call(const char *method, const char *target, const char *headers, const char *body, size_t n, char code[64])
{
    return gateway_rig_call(&rig, method, target, headers, body, n, code);
}

static bool holds(const char *target)
{
    struct peer p;
    peer_open(&p, rig.loop, http_server_port(rig.server));
    bool same = gateway_rig_ask(&rig, &p, "GET", target, "", NULL, 0) == 200 && p.got.len > sizeof large &&
                memcmp(p.got.p + p.got.len - sizeof large, large, sizeof large) == 0;
    peer_close(&p);
    return same;
}

static const struct {
    const char *method, *target, *headers;
    enum rpc_type type; /* the call that fails */
    bool body;
} steps[] = {
    {"GET", "/", "", RPC_BUCKET_LIST, false},
    {"PUT", "/bucket-two", "", RPC_BUCKET_CREATE, false},
    {"DELETE", "/bucket", "", RPC_BUCKET_DELETE, false},
    {"GET", "/bucket", "", RPC_BUCKET_GET, false},
    {"GET", "/bucket?list-type=2", "", RPC_OBJECT_LIST, false},
    {"GET", "/bucket?uploads", "", RPC_UPLOAD_LIST, false},
    {"GET", "/bucket/old", "", RPC_OBJECT_GET, false},
    {"GET", "/bucket/old?tagging", "", RPC_OBJECT_GET, false},
    {"PUT", "/bucket/new", "", RPC_OBJECT_PUT, true},
    {"PUT", "/bucket/new", "if-none-match: *\n", RPC_OBJECT_GET, true},
    {"PUT", "/bucket/new", "x-amz-copy-source: bucket/old\n", RPC_OBJECT_GET, false},
    {"PUT", "/bucket/new", "x-amz-copy-source: bucket/old\n", RPC_OBJECT_PUT, false},
    {"PUT", "/bucket/old", "x-amz-copy-source: bucket/old\nx-amz-metadata-directive: REPLACE\n", RPC_OBJECT_PUT, false},
    {"DELETE", "/bucket/old", "", RPC_OBJECT_DELETE, false},
    {"POST", "/bucket/new?uploads", "", RPC_UPLOAD_CREATE, false},
    {"PUT", "/bucket/new?partNumber=1&uploadId=u", "", RPC_UPLOAD_GET, true},
    {"DELETE", "/bucket/new?uploadId=u", "", RPC_UPLOAD_ABORT, false},
    {"GET", "/bucket/new?uploadId=u", "", RPC_PART_LIST, false},
};

Test(gateway_faults, a_failed_call_is_an_error_with_its_code_and_changes_nothing)
{
    static const struct {
        int status, answer;
        const char *code;
    } faults[] = {{E_UNAVAILABLE, 503, "SlowDown"},
                  {E_QUORUM, 503, "ServiceUnavailable"},
                  {-ENOSPC, 507, "InsufficientStorage"},
                  {E_CORRUPT, 500, "InternalError"}};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        const size_t f = i % ARRAY_LEN(faults);
        char code[64];
        rig.hook = (struct gateway_rig_hook){.type = steps[i].type, .how = HOOK_FAIL, .status = faults[f].status};
        int status = call(steps[i].method, steps[i].target, steps[i].headers, steps[i].body ? large : NULL,
                          steps[i].body ? sizeof large : 0, code);
        rig.hook = (struct gateway_rig_hook){0};
        cr_expect(status == faults[f].answer && strcmp(code, faults[f].code) == 0, "%s %s, call %d: %d %s",
                  steps[i].method, steps[i].target, steps[i].type, status, code);
    }
    char code[64];
    cr_expect(holds("/bucket/old"));
    cr_expect_eq(call("GET", "/bucket/new", "", NULL, 0, code), 404);
    cr_expect_eq(call("GET", "/bucket-two", "", NULL, 0, code), 404);
}

Test(gateway_faults, a_commit_whose_outcome_is_unknown_keeps_its_bytes)
{
    char code[64];
    rig.hook = (struct gateway_rig_hook){.type = RPC_OBJECT_PUT, .how = HOOK_LIE, .status = E_DEADLINE};
    cr_expect_eq(call("PUT", "/bucket/new", "", large, sizeof large, code), 503);
    rig.hook = (struct gateway_rig_hook){0};
    turns(rig.loop, 50);
    cr_expect(holds("/bucket/new"), "it was committed: its fragments must not have been given back");
}

Test(gateway_faults, a_refused_commit_gives_its_bytes_back)
{
    char code[64];
    unsigned before = rig.seen[RPC_FRAG_DELETE];
    rig.hook = (struct gateway_rig_hook){.type = RPC_OBJECT_PUT, .how = HOOK_FAIL, .status = RPC_CONDITION};
    cr_expect_eq(call("PUT", "/bucket/new", "", large, sizeof large, code), 412);
    rig.hook = (struct gateway_rig_hook){0};
    cr_expect(TURN_UNTIL(rig.loop, rig.seen[RPC_FRAG_DELETE] > before));
}

/* Goes away while the call hangs, then lets it end. */
static void leave_during(const char *method, const char *target, const char *headers, const char *body, size_t n,
                         enum rpc_type type)
{
    struct peer p;
    peer_open(&p, rig.loop, http_server_port(rig.server));
    rig.hook = (struct gateway_rig_hook){.type = type, .how = HOOK_HOLD};
    gateway_rig_send(&rig, &p, method, target, headers, body, n, n);
    bool held = TURN_UNTIL(rig.loop, rig.held_count > 0);
    cr_expect(held, "%s %s makes no call %d", method, target, type);
    peer_reset(&p);
    turns(rig.loop, 10);
    gateway_rig_release(&rig, 0);
    turns(rig.loop, 10);
}

Test(gateway_faults, a_client_may_leave_during_any_call)
{
    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        leave_during(steps[i].method, steps[i].target, steps[i].headers, steps[i].body ? large : NULL,
                     steps[i].body ? sizeof large : 0, steps[i].type);
    leave_during("GET", "/bucket/new", "", NULL, 0, RPC_FRAG_READ); /* the PUT above was whole, so it was stored */
    leave_during("PUT", "/bucket/x", "x-amz-copy-source: bucket/new\n", NULL, 0, RPC_FRAG_READ);
    leave_during("PUT", "/bucket/y", "", large, sizeof large, RPC_FRAG_WRITE);
}

Test(gateway_faults, a_client_may_leave_at_any_byte_of_a_body)
{
    char code[64];
    for (size_t sent = 0; sent < sizeof large; sent += 40000) {
        struct peer p;
        peer_open(&p, rig.loop, http_server_port(rig.server));
        gateway_rig_send(&rig, &p, "PUT", "/bucket/short", "", large, sizeof large, sent);
        turns(rig.loop, 5);
        if (sent % 80000)
            peer_reset(&p);
        else
            peer_close(&p);
        turns(rig.loop, 5);
    }
    cr_expect_eq(call("GET", "/bucket/short", "", NULL, 0, code), 404);
}

Test(gateway_faults, closing_waits_for_calls_that_hang)
{
    struct peer p;
    peer_open(&p, rig.loop, http_server_port(rig.server));
    rig.hook = (struct gateway_rig_hook){.type = RPC_OBJECT_PUT, .how = HOOK_HOLD};
    gateway_rig_send(&rig, &p, "PUT", "/bucket/new", "", large, sizeof large, sizeof large);
    cr_expect(TURN_UNTIL(rig.loop, rig.held_count > 0));
    peer_reset(&p); /* teardown releases what is held and closes everything */
}

/* ---- slow answers ---- */

static void open_upload(char id[128])
{
    struct peer p;
    peer_open(&p, rig.loop, http_server_port(rig.server));
    cr_assert_eq(gateway_rig_ask(&rig, &p, "POST", "/bucket/slow?uploads", "", NULL, 0), 200);
    const char *at = memmem(p.got.p, p.got.len, "<UploadId>", 10);
    cr_assert(at && sscanf(at + 10, "%127[0-9a-f]", id) == 1);
    peer_close(&p);
}

/* Uploads one part and begins the Complete, whose call hangs. */
static void begin_complete(struct peer *p)
{
    char id[128], target[256], xml[512], etag[64];
    struct peer part;
    open_upload(id);
    snprintf(target, sizeof target, "/bucket/slow?partNumber=1&uploadId=%s", id);
    peer_open(&part, rig.loop, http_server_port(rig.server));
    cr_assert_eq(gateway_rig_ask(&rig, &part, "PUT", target, "", large, sizeof large), 200);
    const char *at = memmem(part.got.p, part.got.len, "ETag: \"", 7);
    cr_assert(at && sscanf(at + 7, "%32[0-9a-f]", etag) == 1);
    peer_close(&part);
    snprintf(xml, sizeof xml,
             "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>\"%s\"</ETag></Part>"
             "</CompleteMultipartUpload>",
             etag);
    snprintf(target, sizeof target, "/bucket/slow?uploadId=%s", id);
    rig.hook = (struct gateway_rig_hook){.type = RPC_UPLOAD_COMPLETE, .how = HOOK_HOLD};
    peer_open(p, rig.loop, http_server_port(rig.server));
    gateway_rig_send(&rig, p, "POST", target, "", xml, strlen(xml), strlen(xml));
    cr_assert(TURN_UNTIL(rig.loop, rig.held_count > 0));
}

Test(gateway_faults, a_long_complete_stays_alive_with_blanks)
{
    struct peer p;
    begin_complete(&p);
    peer_recv(&p);
    cr_expect_eq(p.got.len, 0, "nothing is said too early");
    gateway_rig_advance(&rig, 10001);
    cr_expect(peer_until(&p, "<?xml version"));
    cr_expect(memmem(p.got.p, p.got.len, "HTTP/1.1 200", 12) && memmem(p.got.p, p.got.len, "chunked", 7));
    for (int i = 0; i < 3; i++)
        gateway_rig_advance(&rig, 5001);
    cr_expect(peer_until_count(&p, "1\r\n \r\n", 3));
    gateway_rig_release(&rig, 0);
    cr_expect(peer_until(&p, "</CompleteMultipartUploadResult>"));
    cr_expect(peer_until(&p, "\r\n0\r\n\r\n"));
    cr_expect_eq(peer_count(&p, "<?xml"), 1);
    peer_close(&p);
    cr_expect(holds("/bucket/slow"));
}

Test(gateway_faults, an_error_may_come_inside_a_slow_200)
{
    struct peer p;
    begin_complete(&p);
    gateway_rig_advance(&rig, 10001);
    cr_expect(peer_until(&p, "<?xml version"));
    gateway_rig_release(&rig, E_QUORUM);
    cr_expect(peer_until(&p, "<Code>ServiceUnavailable</Code>"));
    cr_expect(peer_until(&p, "</Error>"));
    cr_expect(peer_until(&p, "\r\n0\r\n\r\n"));
    cr_expect(memmem(p.got.p, p.got.len, "HTTP/1.1 200", 12) != NULL);
    peer_close(&p);
}

Test(gateway_faults, a_complete_whose_client_left_still_stands)
{
    struct peer p;
    begin_complete(&p);
    gateway_rig_advance(&rig, 10001);
    cr_expect(peer_until(&p, "<?xml version"));
    peer_reset(&p);
    gateway_rig_advance(&rig, 5001);
    gateway_rig_release(&rig, 0);
    turns(rig.loop, 20);
    cr_expect(holds("/bucket/slow"));
}

/* A slow reader holds the answer; the object is replaced and deleted meanwhile; the old version goes on to its end. */
Test(gateway_faults, a_read_under_way_outlives_its_object)
{
    struct peer p;
    char code[64];
    size_t n = 6 * MIB;
    char *big = malloc(n);
    cr_assert(big);
    for (size_t i = 0; i < n; i++)
        big[i] = (char)(i * 7 + (i >> 11));
    cr_assert_eq(call("PUT", "/bucket/big", "", big, n, code), 200);
    peer_open_small(&p, rig.loop, http_server_port(rig.server), 8192);
    gateway_rig_send(&rig, &p, "GET", "/bucket/big", "", NULL, 0, 0);
    cr_expect(peer_until(&p, "\r\n\r\n"));
    cr_assert_eq(call("PUT", "/bucket/big", "", large, sizeof large, code), 200);
    cr_assert_eq(call("DELETE", "/bucket/big", "", NULL, 0, code), 204);
    cr_assert_eq(call("GET", "/bucket/big", "", NULL, 0, code), 404);
    size_t head = (size_t)((char *)memmem(p.got.p, p.got.len, "\r\n\r\n", 4) - p.got.p) + 4;
    cr_expect(peer_until_len(&p, head + n));
    cr_expect(p.got.len == head + n && memcmp(p.got.p + head, big, n) == 0);
    peer_close(&p);
    free(big);
}

/* What fails in the middle of an answer resets the connection; what fails before its first byte is an error. */
Test(gateway_faults, a_read_that_fails_is_never_a_short_clean_end)
{
    struct peer p;
    char code[64];
    size_t n = 6 * MIB;
    char *big = calloc(1, n);
    cr_assert(big);
    cr_assert_eq(call("PUT", "/bucket/big", "", big, n, code), 200);
    rig.hook = (struct gateway_rig_hook){.type = RPC_FRAG_READ, .how = HOOK_FAIL, .status = E_CORRUPT};
    cr_expect_eq(call("GET", "/bucket/big", "", NULL, 0, code), 500, "%s", code);
    peer_open_small(&p, rig.loop, http_server_port(rig.server), 8192);
    rig.hook = (struct gateway_rig_hook){.type = RPC_FRAG_READ, .skip = 4, .how = HOOK_FAIL, .status = E_CORRUPT};
    gateway_rig_send(&rig, &p, "GET", "/bucket/big", "", NULL, 0, 0);
    cr_expect(peer_until_end(&p));
    cr_expect(p.got.len < n && p.err == ECONNRESET, "%zu bytes, error %d", p.got.len, p.err);
    peer_close(&p);
    free(big);
}
