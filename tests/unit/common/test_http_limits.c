/* http: every limit of struct http_limits, and that neither slow nor many clients grow memory. A clock set by hand
 * drives the deadlines; sockets are real. */
#include "tests/lib/http_peer.h"
#include "tests/lib/http_toy.h"
#include <criterion/criterion.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/allocator_interface.h>
#define HEAP_BYTES() __sanitizer_get_current_allocated_bytes()
#endif
#endif
#ifndef HEAP_BYTES
#define HEAP_BYTES() (mallinfo2().uordblks + mallinfo2().hblkhd)
#endif

static struct toy toy;
static struct peer peer;

static void open_with(const struct http_limits *limits)
{
    toy_open(&toy, limits, true);
    peer_open(&peer, toy.loop, toy.port);
}

static void close_both(void)
{
    peer_close(&peer);
    toy_close(&toy);
}

/* Lets the bytes settle, then time pass. */
static void pass(uint64_t ms)
{
    turns(toy.loop, 3);
    toy.clock.mono_now_ns += ms * MS_NS;
    turns(toy.loop, 3);
    if (peer.fd >= 0)
        peer_recv(&peer);
}

#define GOT(text) cr_assert(peer_until(&peer, text), "wanted \"%s\", got \"%s\"", text, peer.got.p ? peer.got.p : "")
#define LIMITS(...)                                                                                                    \
    struct http_limits limits = http_limits_default;                                                                   \
    __VA_ARGS__;                                                                                                       \
    open_with(&limits)

Test(http_limits, head_ms_ends_a_head_that_trickles)
{
    LIMITS(limits.head_ms = 1000);
    peer_puts(&peer, "GET /hello HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < 9; i++) {
        pass(100);
        peer_puts(&peer, "X: y\r\n");
        cr_assert_eq(peer.got.len, 0);
    }
    pass(110);
    GOT("HTTP/1.1 408 Request Timeout\r\n");
    GOT("Connection: close\r\n");
    cr_assert(peer_until_end(&peer));
    cr_assert_eq(toy.heads, 0);
    cr_assert_eq(toy.last_refusal, 408);
    close_both();
}

Test(http_limits, head_ms_does_not_count_while_an_answer_is_awaited)
{
    LIMITS(limits.head_ms = 1000);
    peer_puts(&peer, "GET /busy HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HT");
    pass(5000);
    pass(5000);
    toy_release(&toy);
    GOT("released");
    pass(900);
    peer_puts(&peer, "TP/1.1\r\nHost: a\r\n\r\n");
    GOT("hello");
    close_both();
}

Test(http_limits, keepalive_ms_closes_idle_connections)
{
    LIMITS(limits.keepalive_ms = 1000);
    pass(900);
    cr_assert_not(peer_ended(&peer));
    peer_puts(&peer, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    GOT("hello");
    pass(900);
    cr_assert_not(peer_ended(&peer));
    pass(101);
    cr_assert(peer_until_end(&peer));
    cr_assert(peer.eof);
    peer_close(&peer);
    peer_open(&peer, toy.loop, toy.port);
    pass(1001);
    cr_assert(peer_until_end(&peer));
    cr_assert(peer.eof, "one that never asked");
    close_both();
}

Test(http_limits, keepalive_ms_does_not_end_a_busy_exchange)
{
    LIMITS(limits.keepalive_ms = 1000);
    peer_puts(&peer, "GET /busy HTTP/1.1\r\nHost: a\r\n\r\n");
    for (int i = 0; i < 5; i++)
        pass(1000);
    toy_release(&toy);
    GOT("released");
    close_both();
}

Test(http_limits, body_idle_ms_ends_an_upload_that_stopped)
{
    LIMITS(limits.body_idle_ms = 1000);
    peer_puts(&peer, "PUT /count HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n");
    for (int i = 0; i < 5; i++) {
        pass(900);
        peer_puts(&peer, "x");
    }
    pass(900);
    cr_assert_eq(toy.ends, 0);
    pass(101);
    cr_assert(peer_until_end(&peer));
    cr_assert_eq(peer.err, ECONNRESET);
    cr_assert_eq(toy.ends, 1);
    cr_assert_eq(toy.last_end_err, -ETIMEDOUT);
    cr_assert_eq(toy.dones, 1);
    close_both();
}

Test(http_limits, body_idle_ms_does_not_count_while_we_are_slow)
{
    LIMITS(limits.body_idle_ms = 1000);
    toy.hold_body = true;
    peer_puts(&peer, "PUT /count HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n123");
    for (int i = 0; i < 5; i++)
        pass(1000);
    cr_assert_eq(toy.ends, 0);
    toy.hold_body = false;
    http_body_resume(toy.reader);
    pass(900);
    peer_puts(&peer, "45");
    GOT("\r\n\r\n5");
    close_both();
}

Test(http_limits, body_idle_ms_does_not_count_before_the_handler_reads)
{
    LIMITS(limits.body_idle_ms = 1000);
    peer_puts(&peer, "PUT /busy HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    for (int i = 0; i < 5; i++)
        pass(1000);
    toy_release(&toy);
    GOT("released");
    close_both();
}

Test(http_limits, body_idle_ms_ends_a_body_that_is_only_dropped)
{
    LIMITS(limits.body_idle_ms = 1000);
    peer_puts(&peer, "PUT /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n");
    GOT("HTTP/1.1 403 Forbidden\r\n");
    pass(1001);
    cr_assert(peer_until_end(&peer));
    close_both();
}

Test(http_limits, send_idle_ms_resets_a_reader_that_takes_nothing)
{
    LIMITS(limits.send_idle_ms = 1000);
    peer_close(&peer);
    peer_open_small(&peer, toy.loop, toy.port, 4096);
    peer_puts(&peer, "GET /stream?1000000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    turns(toy.loop, 20);
    unsigned sends = toy.sends;
    for (int i = 0; i < 7; i++) {
        toy.clock.mono_now_ns += 125 * MS_NS;
        turns(toy.loop, 2);
    }
    cr_assert_eq(toy.dones, 0);
    cr_assert_leq(toy.sends, sends + 1);
    for (int i = 0; i < 4; i++) {
        toy.clock.mono_now_ns += 125 * MS_NS;
        turns(toy.loop, 2);
    }
    cr_assert_eq(toy.dones, 1);
    cr_assert_eq(toy.last_send_err, -ETIMEDOUT);
    cr_assert(peer_until_end(&peer));
    cr_assert_eq(peer.err, ECONNRESET);
    close_both();
}

Test(http_limits, send_idle_ms_spares_a_reader_that_is_merely_slow)
{
    LIMITS(limits.send_idle_ms = 1000);
    peer_close(&peer);
    peer_open_small(&peer, toy.loop, toy.port, 4096);
    peer_puts(&peer, "GET /big?20000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    turns(toy.loop, 20);
    for (int i = 0; i < 30; i++) {
        pass(700); /* pass reads what is there */
        cr_assert_eq(peer.err, 0);
        /* Slow in the test's time, not in the kernel's: on a busy machine its bytes may take a while. */
        cr_assert(peer_until_len(&peer, MIN_OF(peer.got.len + 1, (size_t)20000000)));
        turns(toy.loop, 3);
    }
    cr_assert(peer_until_len(&peer, 20000000));
    close_both();
}

Test(http_limits, linger_is_bounded)
{
    LIMITS((void)limits);
    peer_puts(&peer, "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    cr_assert(peer_until_end(&peer));
    struct http_server_stats stats;
    pass(HTTP_LINGER_MS - 100);
    http_server_stats(toy.server, &stats);
    cr_assert_eq(stats.conns_open, 1);
    pass(101);
    http_server_stats(toy.server, &stats);
    cr_assert_eq(stats.conns_open, 0);
    close_both();
}

Test(http_limits, head_bytes_and_header_count_refuse)
{
    LIMITS(limits.head_bytes = 500; limits.header_count = 5);
    struct sbuf s = {0};
    sbuf_puts(&s, "GET /");
    for (int i = 0; i < 600; i++)
        sbuf_puts(&s, "a");
    peer_send(&peer, s.p, s.len);
    sbuf_fini(&s);
    GOT("HTTP/1.1 414 URI Too Long\r\n");
    cr_assert(peer_until_end(&peer));
    peer_close(&peer);
    peer_open(&peer, toy.loop, toy.port);
    peer_puts(&peer, "GET /hello HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < 10; i++)
        peer_puts(&peer, "X: y\r\n");
    GOT("HTTP/1.1 431 Request Header Fields Too Large\r\n");
    cr_assert(peer_until_end(&peer));
    cr_assert_eq(peer.err, 0, "what came after was read away");
    struct http_server_stats stats;
    http_server_stats(toy.server, &stats);
    cr_assert_eq(stats.refused_total, 2);
    cr_assert_eq(toy.heads, 0);
    close_both();
}

Test(http_limits, body_bytes_refuses_a_length_before_the_body_and_ends_a_chunked_one)
{
    LIMITS(limits.body_bytes = 1000);
    peer_puts(&peer, "PUT /count HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n");
    GOT("HTTP/1.1 413 Content Too Large\r\nContent-Type: application/xml\r\n");
    cr_assert(peer_until_end(&peer));
    cr_assert_eq(peer_count(&peer, "100 Continue"), 0);
    peer_close(&peer);
    peer_open(&peer, toy.loop, toy.port);
    peer_puts(&peer, "PUT /count HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
    char zeros[1000] = {0};
    peer_send(&peer, zeros, sizeof zeros);
    GOT("\r\n\r\n1000");
    peer_puts(&peer, "PUT /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n");
    peer_send(&peer, zeros, sizeof zeros);
    peer_puts(&peer, "\r\n1\r\nx\r\n0\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    GOT("HTTP/1.1 400 Bad Request\r\n");
    cr_assert_eq(toy.last_end_err, -EMSGSIZE);
    cr_assert(peer_until_end(&peer));
    cr_assert_eq(peer_count(&peer, "hello"), 0);
    close_both();
}

Test(http_limits, conn_count_leaves_others_in_the_backlog)
{
    LIMITS(limits.conn_count = 2);
    struct peer second, third;
    peer_open(&second, toy.loop, toy.port);
    turns(toy.loop, 3);
    peer_open(&third, toy.loop, toy.port);
    peer_puts(&third, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    turns(toy.loop, 10);
    peer_recv(&third);
    cr_assert_eq(third.got.len, 0);
    struct http_server_stats stats;
    http_server_stats(toy.server, &stats);
    cr_assert_eq(stats.conns_open, 2);
    peer_close(&second);
    cr_assert(peer_until(&third, "hello"));
    peer_close(&third);
    close_both();
}

Test(http_limits, pipeline_count_stops_reading)
{
    LIMITS(limits.pipeline_count = 3);
    peer_puts(&peer, "GET /busy HTTP/1.1\r\nHost: a\r\n\r\n");
    struct sbuf s = {0};
    for (int i = 0; i < 1000; i++)
        sbuf_printf(&s, "GET /n%d HTTP/1.1\r\nHost: a\r\nX-Padding: %0200d\r\n\r\n", i, i);
    size_t pushed = 0;
    for (int i = 0; i < 50; i++) {
        pushed += peer_push(&peer, s.p + pushed, s.len - pushed);
        turns(toy.loop, 1);
    }
    struct http_server_stats stats;
    http_server_stats(toy.server, &stats);
    cr_assert_leq(stats.in_bytes, 2 * HTTP_READ_BYTES);
    cr_assert_gt(s.len, 3 * HTTP_READ_BYTES);
    toy_release(&toy);
    peer_send(&peer, s.p + pushed, s.len - pushed);
    GOT("/n999");
    cr_assert_eq(toy.dones, 1001);
    sbuf_fini(&s);
    close_both();
}

Test(http_limits, a_reset_is_found_even_where_the_socket_is_not_read)
{
    LIMITS(limits.pipeline_count = 0);
    peer_puts(&peer, "GET /busy HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_assert(TURN_UNTIL(toy.loop, toy.busy_count == 1));
    turns(toy.loop, 5);
    struct http_req *r = toy.busy[0];
    peer_reset(&peer);
    turns(toy.loop, 5);
    cr_assert_not(http_gone(r), "nobody looked");
    pass(3000);
    cr_assert(http_gone(r));
    toy_release(&toy);
    close_both();
}

Test(http_limits, an_upload_that_is_not_taken_stops_at_one_buffer)
{
    LIMITS((void)limits);
    const size_t size = 64 << 20;
    char *zeros = calloc(1, size);
    toy.hold_body = true;
    peer_puts(&peer, "PUT /count HTTP/1.1\r\nHost: a\r\nContent-Length: 67108864\r\n\r\n");
    size_t pushed = 0, heap = HEAP_BYTES();
    for (int i = 0; i < 100; i++) {
        pushed += peer_push(&peer, zeros + pushed, size - pushed);
        turns(toy.loop, 1);
    }
    struct http_server_stats stats;
    http_server_stats(toy.server, &stats);
    cr_assert_leq(stats.in_bytes, HTTP_READ_BYTES + 1000);
    cr_assert_lt(pushed, size, "the socket must be full");
    cr_assert_lt(HEAP_BYTES(), heap + HTTP_READ_BYTES + 16 * KIB);
    toy.hold_body = false;
    http_body_resume(toy.reader);
    peer_send(&peer, zeros + pushed, size - pushed);
    GOT("\r\n\r\n67108864");
    cr_assert_eq(toy.taken_bytes, size);
    free(zeros);
    close_both();
}

#define MANY 300

Test(http_limits, idle_connections_are_cheap)
{
    LIMITS((void)limits);
    static struct peer peers[MANY];
    size_t heap = 0;
    for (int i = 0; i < MANY; i++) {
        peer_open(&peers[i], toy.loop, toy.port);
        peer_puts(&peers[i], "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        cr_assert(peer_until(&peers[i], "hello"));
        sbuf_fini(&peers[i].got);
        if (i == MANY / 2)
            heap = HEAP_BYTES();
    }
    size_t each = (HEAP_BYTES() - heap) / (MANY - MANY / 2 - 1);
    cr_assert_lt(each, 1536, "%zu bytes for an idle connection", each);
    for (int i = 0; i < MANY; i++)
        peer_close(&peers[i]);
    close_both();
}

Test(http_limits, slow_readers_cost_their_slice_and_little_more)
{
    LIMITS((void)limits);
    static struct peer peers[MANY];
    size_t heap = 0;
    for (int i = 0; i < MANY; i++) {
        if (i == MANY / 2) {
            turns(toy.loop, 20);
            heap = HEAP_BYTES();
        }
        peer_open_small(&peers[i], toy.loop, toy.port, 4096);
        peer_puts(&peers[i], "GET /stream?200000000 HTTP/1.1\r\nHost: a\r\n\r\n");
        turns(toy.loop, 0);
    }
    turns(toy.loop, 50);
    cr_assert_eq(toy.heads, MANY);
    cr_assert_eq(toy.dones, 0);
    size_t each = (HEAP_BYTES() - heap) / (MANY - MANY / 2);
    cr_assert_lt(each, 64 * KIB + 10 * KIB, "%zu bytes for a slow reader of 64 KiB slices", each);
    for (int i = 0; i < MANY; i++)
        peer_close(&peers[i]);
    cr_assert(TURN_UNTIL(toy.loop, toy.dones == MANY));
    close_both();
}
