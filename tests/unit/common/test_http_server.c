/* http: what a client sees of a well-behaved server, and what a handler sees of any client. */
#include "tests/lib/http_peer.h"
#include "tests/lib/http_toy.h"
#include <criterion/criterion.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static struct toy toy;
static struct peer peer;

static void open_both(void)
{
    toy_open(&toy, NULL, false);
    peer_open(&peer, toy.loop, toy.port);
}

static void close_both(void)
{
    peer_close(&peer);
    toy_close(&toy);
}

TestSuite(http_server, .init = open_both, .fini = close_both);

#define GOT(text) cr_assert(peer_until(&peer, text), "wanted \"%s\", got \"%s\"", text, peer.got.p ? peer.got.p : "")

Test(http_server, answers_with_length_date_and_keeps_the_connection)
{
    for (unsigned i = 1; i <= 3; i++) {
        peer_puts(&peer, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        cr_assert(peer_until_count(&peer, "\r\n\r\nhello", i));
    }
    cr_assert_eq(peer_count(&peer, "HTTP/1.1 200 OK\r\n"), 3);
    cr_assert_eq(peer_count(&peer, "Content-Length: 5\r\n"), 3);
    cr_assert_eq(peer_count(&peer, "Content-Type: text/plain\r\n"), 3);
    cr_assert_eq(peer_count(&peer, " GMT\r\n"), 3);
    cr_assert_eq(peer_count(&peer, "Connection:"), 0);
    cr_assert_not(peer_ended(&peer));
    struct http_server_stats stats;
    http_server_stats(toy.server, &stats);
    cr_assert_eq(stats.conns_total, 1);
    cr_assert_eq(stats.requests_total, 3);
    cr_assert_eq(stats.out_bytes, peer.got.len);
}

Test(http_server, answers_a_request_that_comes_byte_by_byte)
{
    const char text[] = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
                        "chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nT: v\r\n\r\n";
    for (size_t i = 0; i + 1 < sizeof text; i++) {
        peer_send(&peer, text + i, 1);
        turns(toy.loop, 0);
    }
    GOT("\r\n\r\nhello!");
    cr_assert_eq(toy.ends, 1);
    cr_assert_eq(toy.last_end_err, 0);
}

Test(http_server, pipelined_requests_are_answered_in_order)
{
    struct sbuf out = {0};
    for (int i = 0; i < 300; i++)
        sbuf_printf(
            &out, "GET /n%d HTTP/1.1\r\nHost: a\r\n\r\nPOST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n%04d",
            i, i);
    peer_send(&peer, out.p, out.len);
    sbuf_fini(&out);
    cr_assert(peer_until_count(&peer, "HTTP/1.1 ", 600));
    turns(toy.loop, 5);
    peer_recv(&peer);
    const char *at = peer.got.p;
    for (int i = 0; i < 300; i++) {
        char want[32];
        snprintf(want, sizeof want, "\r\n\r\n/n%dHTTP", i);
        at = strstr(at, want);
        cr_assert(at, "answer %d", i);
        snprintf(want, sizeof want, "\r\n\r\n%04d", i);
        at = strstr(at, want);
        cr_assert(at, "echo %d", i);
    }
    cr_assert_eq(toy.dones, 600);
}

Test(http_server, a_busy_handler_holds_back_the_requests_behind_it)
{
    peer_puts(&peer, "GET /busy HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_assert(TURN_UNTIL(toy.loop, toy.busy_count == 1));
    turns(toy.loop, 5);
    peer_recv(&peer);
    cr_assert_eq(peer.got.len, 0);
    cr_assert_eq(toy.heads, 1);
    toy_release(&toy);
    GOT("\r\n\r\nreleasedHTTP/1.1 200 OK\r\n");
    GOT("\r\n\r\nhello");
}

Test(http_server, bodies_arrive_whole_whatever_their_framing)
{
    peer_puts(&peer, "PUT /count HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    char *zeros = calloc(1, 1000000);
    peer_send(&peer, zeros, 1000000);
    GOT("\r\n\r\n1000000");
    peer_puts(&peer, "PUT /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 100; i++) {
        peer_puts(&peer, "2710\r\n");
        peer_send(&peer, zeros, 10000);
        peer_puts(&peer, "\r\n");
    }
    peer_puts(&peer, "0\r\n\r\n");
    cr_assert(peer_until_count(&peer, "\r\n\r\n1000000", 2));
    peer_puts(&peer, "PUT /count HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    GOT("\r\n\r\n0");
    cr_assert_eq(toy.ends, 3);
    free(zeros);
}

Test(http_server, continue_is_sent_when_the_handler_reads_and_not_before)
{
    peer_puts(&peer, "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    GOT("HTTP/1.1 100 Continue\r\n\r\n");
    cr_assert_eq(peer_count(&peer, "HTTP/1.1"), 1);
    peer_puts(&peer, "12345");
    GOT("HTTP/1.1 200 OK\r\n");
    GOT("\r\n\r\n12345");
    cr_assert_not(peer_ended(&peer));
}

Test(http_server, a_refusal_comes_instead_of_continue_and_closes)
{
    peer_puts(&peer, "PUT /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    GOT("HTTP/1.1 403 Forbidden\r\n");
    GOT("Connection: close\r\n");
    cr_assert(peer_until_end(&peer));
    cr_assert(peer.eof);
    cr_assert_eq(peer_count(&peer, "100 Continue"), 0);
}

Test(http_server, continue_is_not_sent_to_who_did_not_wait_or_speaks_1_0)
{
    peer_puts(&peer, "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n12345");
    GOT("\r\n\r\n12345");
    peer_puts(&peer, "PUT /echo HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    turns(toy.loop, 10);
    peer_puts(&peer, "54321");
    GOT("\r\n\r\n54321");
    cr_assert_eq(peer_count(&peer, "100 Continue"), 0);
}

Test(http_server, a_small_unread_body_is_drained_and_a_large_one_closes)
{
    peer_puts(
        &peer,
        "PUT /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    GOT("\r\n\r\nhello");
    peer_puts(&peer, "PUT /refuse HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    cr_assert(peer_until_count(&peer, "\r\n\r\nno", 2));
    peer_puts(&peer, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_assert(peer_until_count(&peer, "\r\n\r\nhello", 2));
    cr_assert_eq(peer_count(&peer, "Connection: close"), 0);
    peer_puts(&peer, "PUT /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n");
    GOT("Connection: close\r\n");
    char *zeros = calloc(1, 1 << 20); /* still sending: the answer must arrive, not a reset */
    for (int i = 0; i < 8 && !peer.err; i++)
        peer_send(&peer, zeros, 1 << 20);
    free(zeros);
    cr_assert_eq(peer.err, 0);
    cr_assert(peer_until_count(&peer, "\r\n\r\nno", 3));
    cr_assert(peer_until_end(&peer));
    cr_assert(peer.eof);
}

Test(http_server, a_chunked_body_that_nobody_reads_is_drained_only_so_far)
{
    peer_puts(&peer, "PUT /refuse HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    GOT("\r\n\r\nno");
    char *zeros = calloc(1, 0x10000);
    for (int i = 0; i < 16; i++) {
        peer_puts(&peer, "10000\r\n");
        peer_send(&peer, zeros, 0x10000);
        peer_puts(&peer, "\r\n");
    }
    free(zeros);
    cr_assert(peer_until_end(&peer));
    cr_assert(peer.eof);
}

Test(http_server, partial_consumption_is_offered_again_until_all_is_taken)
{
    char text[2000];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('a' + i % 26);
    peer_puts(&peer, "PUT /sip HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n");
    peer_send(&peer, text, sizeof text);
    cr_assert(peer_until_len(&peer, 2000 + 60));
    cr_assert(memmem(peer.got.p, peer.got.len, text, sizeof text));
}

Test(http_server, streams_arrive_whole_with_a_length_and_chunked)
{
    peer_puts(&peer, "GET /stream?10000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    GOT("\r\n\r\n");
    size_t head = (size_t)(strstr(peer.got.p, "\r\n\r\n") + 4 - peer.got.p);
    cr_assert(strstr(peer.got.p, "Content-Length: 10000000\r\n"));
    cr_assert(peer_until_len(&peer, head + 10000000));
    cr_assert_eq(peer.got.len, head + 10000000);
    for (size_t i = head; i < peer.got.len; i++)
        if (peer.got.p[i] != 's')
            cr_assert_fail("byte %zu", i);
    cr_assert(TURN_UNTIL(toy.loop, toy.dones == 1));
    cr_assert_eq(toy.sent_bytes, 10000000);
    peer_close(&peer);
    peer_open(&peer, toy.loop, toy.port);
    peer_puts(&peer, "GET /chunks?200000 HTTP/1.1\r\nHost: a\r\n\r\n");
    GOT("\r\n0\r\n\r\n");
    cr_assert_eq(peer_count(&peer, "\r\n10000\r\n"), 3);
    cr_assert_eq(peer_count(&peer, "\r\nd40\r\n"), 1);
    cr_assert_eq(peer_count(&peer, "Content-Length"), 0);
    cr_assert_not(peer_ended(&peer));
}

Test(http_server, copied_pieces_arrive_and_empty_ones_do_not_end_the_body)
{
    peer_puts(&peer, "GET /copies?1000 HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    GOT("\r\n\r\nhello");
    cr_assert_eq(peer_count(&peer, "3\r\nabc\r\n"), 1000);
    cr_assert_eq(peer_count(&peer, "0\r\n\r\n"), 1);
    cr_assert_eq(toy.sends, 1001);
}

Test(http_server, a_chunked_answer_to_1_0_ends_with_the_connection)
{
    peer_puts(&peer, "GET /copies?10 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    cr_assert(peer_until_end(&peer));
    cr_assert(peer.eof);
    cr_assert_eq(peer_count(&peer, "Transfer-Encoding"), 0);
    cr_assert_eq(peer_count(&peer, "Connection: close"), 1);
    cr_assert_eq(peer_count(&peer, "\r\n\r\nabcabcabcabcabcabcabcabcabcabc"), 1);
}

Test(http_server, http_1_0_closes_unless_asked_to_stay)
{
    peer_puts(&peer, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    GOT("Connection: keep-alive\r\n");
    GOT("hello");
    peer_puts(&peer, "GET /hello HTTP/1.0\r\n\r\n");
    cr_assert(peer_until_end(&peer));
    cr_assert(peer.eof);
    cr_assert_eq(peer_count(&peer, "hello"), 2);
}

Test(http_server, connection_close_is_obeyed_from_both_sides)
{
    peer_puts(&peer, "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: te, Close\r\n\r\n");
    GOT("Connection: close\r\n");
    cr_assert(peer_until_end(&peer));
    cr_assert(peer.eof);
    peer_close(&peer);
    peer_open(&peer, toy.loop, toy.port);
    peer_puts(&peer, "GET /close HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_assert(peer_until_end(&peer));
    cr_assert(peer.eof);
    cr_assert_eq(peer_count(&peer, "Connection: close"), 1);
    cr_assert_eq(peer_count(&peer, "Content-Length: 3\r\n"), 1);
    cr_assert_eq(peer_count(&peer, "Content-Length"), 1, "the handler's own is dropped");
    cr_assert_eq(peer_count(&peer, "hello"), 0);
}

Test(http_server, head_sends_the_length_and_no_body)
{
    peer_puts(&peer, "HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\nHEAD /headlen HTTP/1.1\r\nHost: a\r\n\r\n"
                     "HEAD /stream?70000 HTTP/1.1\r\nHost: a\r\n\r\nHEAD /chunks?10 HTTP/1.1\r\nHost: a\r\n\r\n"
                     "GET /headlen HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    GOT("\r\n\r\nhello");
    cr_assert_eq(peer_count(&peer, "HTTP/1.1 200 OK"), 6);
    cr_assert_eq(peer_count(&peer, "Content-Length: 5\r\n"), 2);
    cr_assert_eq(peer_count(&peer, "Content-Length: 12345\r\n"), 1);
    cr_assert_eq(peer_count(&peer, "Content-Length: 70000\r\n"), 1);
    cr_assert_eq(peer_count(&peer, "Content-Length: 0\r\n"), 1);
    cr_assert_eq(peer_count(&peer, "Transfer-Encoding: chunked\r\n"), 1);
    cr_assert_eq(peer_count(&peer, "\r\n\r\nHTTP/1.1 200"), 5, "nothing stands between the heads");
}

Test(http_server, statuses_without_a_body_have_none)
{
    peer_puts(&peer, "GET /status?204 HTTP/1.1\r\nHost: a\r\n\r\nGET /status?304 HTTP/1.1\r\nHost: a\r\n\r\n"
                     "GET /status?200 HTTP/1.1\r\nHost: a\r\n\r\n");
    GOT("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n");
    cr_assert_eq(peer_count(&peer, "Content-Length"), 1);
    cr_assert_eq(peer_count(&peer, "\r\n\r\nHTTP/1.1"), 2);
    cr_assert_eq(peer_count(&peer, "HTTP/1.1 204 No Content\r\n"), 1);
    cr_assert_eq(peer_count(&peer, "HTTP/1.1 304 Not Modified\r\n"), 1);
}

Test(http_server, a_large_whole_answer_reaches_a_slow_reader)
{
    peer_close(&peer);
    peer_open_small(&peer, toy.loop, toy.port, 4096);
    peer_puts(&peer, "GET /big?20000000 HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    turns(toy.loop, 20);
    cr_assert_eq(toy.dones, 0, "not done before it has left our memory");
    GOT("\r\n\r\nhello");
    cr_assert_gt(peer.got.len, 20000000);
    cr_assert_eq(toy.dones, 2);
}

Test(http_server, a_bad_header_becomes_a_500_and_never_splits)
{
    peer_puts(&peer, "GET /split HTTP/1.1\r\nHost: a\r\n\r\nGET /splitstream HTTP/1.1\r\nHost: a\r\n\r\n"
                     "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    GOT("\r\n\r\nhello");
    cr_assert_eq(peer_count(&peer, "HTTP/1.1 500 Internal Server Error\r\n"), 2);
    cr_assert_eq(peer_count(&peer, "Set-Cookie"), 0);
    cr_assert_eq(peer_count(&peer, "0123456789"), 0);
}

Test(http_server, headers_pass_both_ways_until_the_head_would_be_too_large)
{
    peer_puts(&peer, "GET /headers?40 HTTP/1.1\r\nHost: a\r\nX-Say: one\r\nx-sAY: two \r\nX-Say: three\r\n\r\n");
    GOT("\r\n\r\nheaders");
    cr_assert_eq(peer_count(&peer, " of 40\r\n"), 40);
    cr_assert_eq(peer_count(&peer, "X-39: 39 of 40\r\nX-Said: one\r\nX-Said: two\r\n"), 1);
    peer_puts(&peer, "GET /headers?3000 HTTP/1.1\r\nHost: a\r\n\r\n");
    GOT("HTTP/1.1 500 Internal Server Error\r\n");
    cr_assert_eq(peer_count(&peer, "\r\n\r\nheaders"), 1);
    peer_puts(&peer, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    GOT("\r\n\r\nhello");
}

Test(http_server, continue_waits_its_turn_behind_a_full_socket)
{
    static const char put[] = "PUT /late HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    toy.send_buffer = 4096;
    for (unsigned before = 1; before < 100;
         before++) { /* answers that nobody reads yet: one of these counts fills it */
        peer_close(&peer);
        peer_open_small(&peer, toy.loop, toy.port, 4096);
        for (unsigned i = 0; i < before; i++)
            peer_puts(&peer, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        peer_puts(&peer, put);
        turns(toy.loop, 1);
        GOT("helloHTTP/1.1 100 Continue\r\n\r\n");
        peer_puts(&peer, "xyz");
        GOT("100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\n");
        cr_assert_eq(peer_count(&peer, "100 Continue"), 1);
        cr_assert_eq(peer_count(&peer, "hello"), before);
        if (before % 2) /* and the same with a peer that leaves then */
            continue;
        peer_close(&peer);
        peer_open_small(&peer, toy.loop, toy.port, 4096);
        for (unsigned i = 0; i < before; i++)
            peer_puts(&peer, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        peer_puts(&peer, put);
        peer_reset(&peer);
        cr_assert(TURN_UNTIL(toy.loop, toy.heads == toy.dones));
    }
}

Test(http_server, continue_is_sent_for_an_empty_body_too)
{
    /* botocore before 1.36 waits for it whatever the length. */
    peer_puts(&peer, "PUT /count HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n");
    GOT("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n");
    cr_assert_eq(peer_count(&peer, "Connection: close"), 0);
    peer_puts(&peer, "PUT /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n");
    GOT("HTTP/1.1 403 Forbidden\r\n");
    GOT("Connection: close\r\n");
    cr_assert(peer_until_end(&peer));
    cr_assert_eq(peer_count(&peer, "100 Continue"), 1);
}

Test(http_server, bad_chunking_in_a_body_that_nobody_reads_ends_the_connection)
{
    peer_puts(&peer, "PUT /refuse HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    GOT("\r\n\r\nno");
    peer_puts(&peer, "5\r\nhelloX\r\n0\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_assert(peer_until_end(&peer));
    cr_assert(peer.eof);
    cr_assert_eq(peer_count(&peer, "HTTP/1.1 "), 1);
}

Test(http_server, an_aborted_stream_is_an_error_for_the_client)
{
    static const char *const targets[] = {"/cut?1000000", "/short", "/long", "/cut?65537"};
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        char text[100];
        peer_close(&peer);
        peer_open(&peer, toy.loop, toy.port);
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", targets[i]);
        peer_puts(&peer, text);
        cr_assert(peer_until_end(&peer));
        cr_assert_not(peer.eof, "%s: a clean end", targets[i]);
        cr_assert_eq(peer.err, ECONNRESET, "%s: %d", targets[i], peer.err);
        cr_assert_eq(toy.dones, i + 1);
        if (str_eq(str_c(targets[i]), STR("/long")))
            cr_assert_eq(peer.got.len, 0, "nothing of a slice past the length is sent");
    }
}

Test(http_server, copies_reach_a_slow_reader_though_the_handler_freed_them)
{
    peer_close(&peer);
    peer_open_small(&peer, toy.loop, toy.port, 4096);
    peer_puts(&peer, "GET /pieces?400 HTTP/1.1\r\nHost: a\r\n\r\n");
    turns(toy.loop, 20);
    cr_assert_lt(toy.sends, 400, "the socket must be full");
    GOT("\r\n0\r\n\r\n");
    cr_assert_eq(peer_count(&peer, "?"), 0);
    cr_assert_gt(peer.got.len, 400 * 30000);
}

/* Uneven, so that full buffers cut the answers at every place; 0 is the chunked one. */
static unsigned length(unsigned i)
{
    return i * i * 31 % 61 / 2;
}

Test(http_server, sends_that_wait_behind_a_head_keep_their_order)
{
    const unsigned count = 1200;
    peer_close(&peer);
    peer_open_small(&peer, toy.loop, toy.port, 4096);
    toy.send_buffer = 4096;
    struct sbuf s = {0};
    for (unsigned i = 0; i < count; i++)
        sbuf_printf(&s, "GET /lazy?%u HTTP/1.1\r\nHost: a\r\n\r\n", length(i));
    peer_send(&peer, s.p, s.len);
    sbuf_fini(&s);
    while (toy.dones < count) { /* read a little, only when the server is stuck: every kind of write is cut somewhere */
        char bytes[2000];
        unsigned before = toy.dones;
        turns(toy.loop, 1);
        ssize_t n = toy.dones == before ? recv(peer.fd, bytes, sizeof bytes, 0) : 0;
        if (n > 0)
            sbuf_add(&peer.got, bytes, (size_t)n);
    }
    peer_puts(&peer, "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    cr_assert(peer_until_end(&peer));
    const char *at = peer.got.p;
    for (unsigned i = 0; i < count; i++) {
        char want[100] = "\r\n\r\n";
        memset(want + 4, 'z', length(i));
        strncat(want, length(i) ? "HTTP/1.1 200" : "4\r\nlazy\r\n0\r\n\r\nHTTP/1.1 200", 40);
        at = strstr(at, "HTTP/1.1 200");
        cr_assert(at && (at = strstr(at, "\r\n\r\n")) && strncmp(at, want, strlen(want)) == 0, "answer %u", i);
    }
    cr_assert_eq(peer_count(&peer, "?"), 0);
}

Test(http_server, a_peer_that_leaves_with_a_send_waiting_ends_it)
{
    toy.send_buffer = 4096;
    for (int round = 0; round < 100; round++) {
        peer_close(&peer);
        peer_open_small(&peer, toy.loop, toy.port, 4096);
        for (int i = 0; i < 40; i++)
            peer_puts(&peer, "GET /lazy HTTP/1.1\r\nHost: a\r\n\r\nGET /lazy?200 HTTP/1.1\r\nHost: a\r\n\r\n");
        turns(toy.loop, 1);
        for (int i = 0; i < round; i++) {
            char bytes[100];
            if (recv(peer.fd, bytes, sizeof bytes, 0) < 0)
                break;
            loop_turn(toy.loop);
        }
        peer_reset(&peer);
        cr_assert(TURN_UNTIL(toy.loop, toy.heads == toy.dones));
    }
}

Test(http_server, half_close_still_gets_the_answers)
{
    peer_puts(&peer, "GET /busy HTTP/1.1\r\nHost: a\r\n\r\nGET /stream?3000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    peer_shut(&peer);
    cr_assert(TURN_UNTIL(toy.loop, toy.busy_count == 1));
    turns(toy.loop, 5);
    toy_release(&toy);
    cr_assert(peer_until_end(&peer));
    cr_assert(peer.eof);
    cr_assert_gt(peer.got.len, 3000000);
    cr_assert_eq(peer_count(&peer, "\r\n\r\nreleased"), 1);
}

Test(http_server, half_close_in_a_body_ends_the_exchange)
{
    peer_puts(&peer, "PUT /count HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n12345");
    peer_shut(&peer);
    cr_assert(TURN_UNTIL(toy.loop, toy.dones == 1));
    cr_assert_eq(toy.last_end_err, -ECONNRESET);
    cr_assert_eq(toy.taken_bytes, 5);
}

Test(http_server, a_reset_is_seen_while_the_handler_is_busy)
{
    peer_puts(&peer, "GET /busy HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_assert(TURN_UNTIL(toy.loop, toy.busy_count == 1));
    struct http_req *r = toy.busy[0];
    cr_assert_not(http_gone(r));
    peer_reset(&peer);
    cr_assert(TURN_UNTIL(toy.loop, http_gone(r)));
    turns(toy.loop, 5);
    cr_assert_eq(toy.dones, 0, "the request is the handler's until it finishes");
    cr_assert(str_eq(r->path, STR("/busy")));
    toy_release(&toy);
    cr_assert_eq(toy.dones, 0, "never inside the call");
    cr_assert(TURN_UNTIL(toy.loop, toy.dones == 1));
}

static void gone_sent(struct http_req *r, int err)
{
    toy.last_send_err = err;
    toy.sends++;
    http_send_end(r);
}

Test(http_server, every_call_on_a_gone_peer_is_harmless)
{
    for (int way = 0; way < 4; way++) {
        peer_close(&peer);
        peer_open(&peer, toy.loop, toy.port);
        peer_puts(&peer, "GET /busy HTTP/1.1\r\nHost: a\r\n\r\n");
        cr_assert(TURN_UNTIL(toy.loop, toy.busy_count == 1));
        struct http_req *r = toy.busy[0];
        toy.busy_count = 0;
        peer_reset(&peer);
        cr_assert(TURN_UNTIL(toy.loop, http_gone(r)));
        if (way == 0) {
            http_reply_head(r, 200, NULL, 0);
        } else if (way == 1) {
            http_abort(r);
        } else {
            http_reply_start(r, 200, NULL, way == 2 ? 100 : HTTP_CHUNKED);
            http_send_copy(r, "x", 1, gone_sent);
        }
        cr_assert(TURN_UNTIL(toy.loop, toy.dones == (unsigned)way + 1));
    }
    cr_assert_eq(toy.sends, 2);
    cr_assert_eq(toy.last_send_err, -ECONNRESET);
}

Test(http_server, a_peer_that_leaves_a_stream_ends_its_sends)
{
    peer_puts(&peer, "GET /stream?1000000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_assert(peer_until_len(&peer, 100000));
    peer_close(&peer);
    cr_assert(TURN_UNTIL(toy.loop, toy.dones == 1));
    cr_assert_eq(toy.last_send_err, -ECONNRESET);
    cr_assert_lt(toy.sent_bytes, 1000000000);
}

Test(http_server, a_peer_that_leaves_an_upload_ends_it)
{
    peer_puts(&peer, "PUT /count HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n12345");
    cr_assert(TURN_UNTIL(toy.loop, toy.taken_bytes == 5));
    peer_reset(&peer);
    cr_assert(TURN_UNTIL(toy.loop, toy.dones == 1));
    cr_assert_eq(toy.ends, 1);
    cr_assert_eq(toy.last_end_err, -ECONNRESET);
}

Test(http_server, bad_chunking_can_still_be_answered_and_closes)
{
    static const char *const bodies[] = {"5\nhello\r\n0\r\n\r\n",
                                         "0x5\r\nhello\r\n",
                                         "-1\r\n",
                                         "5 \r\nhello\r\n0\r\n\r\n",
                                         "5\r\nhelloX\r\n0\r\n\r\n",
                                         "5;a\nhello\r\n0\r\n\r\n",
                                         "fffffffffffffffff\r\n",
                                         ";x\r\n",
                                         "0\r\nA b: c\r\n\r\n",
                                         "0\r\n folded\r\n\r\n",
                                         "0\r\nA: b\n\r\n\r\n"};
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        peer_close(&peer);
        peer_open(&peer, toy.loop, toy.port);
        peer_puts(&peer, "PUT /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        peer_puts(&peer, bodies[i]);
        peer_puts(&peer, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        cr_assert(peer_until(&peer, "HTTP/1.1 400 Bad Request\r\n"), "%s", bodies[i]);
        cr_assert(peer_until_end(&peer));
        cr_assert(peer.eof);
        cr_assert_eq(peer_count(&peer, "HTTP/1.1 "), 1, "%s: something followed", bodies[i]);
        cr_assert_eq(toy.last_end_err, -EPROTO);
    }
}

Test(http_server, a_giant_chunk_extension_is_refused)
{
    peer_puts(&peer, "PUT /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 100; i++)
        peer_puts(&peer, "1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n");
    GOT("HTTP/1.1 400 Bad Request\r\n");
    cr_assert_eq(toy.last_end_err, -EPROTO);
}

Test(http_server, closing_lets_what_runs_end_and_takes_no_more)
{
    struct peer idle, partial;
    peer_open(&idle, toy.loop, toy.port);
    peer_open(&partial, toy.loop, toy.port);
    peer_puts(&partial, "GET /hello HT");
    peer_puts(&peer, "GET /busy HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_assert(TURN_UNTIL(toy.loop, toy.busy_count == 1));
    http_server_close(toy.server, 60000, NULL, NULL);
    cr_assert(peer_until_end(&idle));
    cr_assert(peer_until_end(&partial));
    toy_release(&toy);
    GOT("Connection: close\r\n");
    cr_assert(peer_until_end(&peer));
    cr_assert(peer.eof);
    cr_assert_eq(peer_count(&peer, "hello"), 0);
    peer_close(&idle);
    peer_close(&partial);
    peer_close(&peer);
    turns(toy.loop, 20);
    cr_assert_eq(toy.heads, toy.dones);
    loop_destroy(toy.loop); /* asserts that every handle is closed */
    open_both();
}

Test(http_server, closing_resets_what_outlives_the_deadline)
{
    peer_puts(&peer, "GET /stream?1000000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_assert(peer_until_len(&peer, 100000));
    struct peer second;
    peer_open(&second, toy.loop, toy.port);
    peer_puts(&second, "GET /busy HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_assert(TURN_UNTIL(toy.loop, toy.busy_count == 1));
    http_server_close(toy.server, 30, NULL, NULL);
    turns(toy.loop, 60);
    cr_assert(http_gone(toy.busy[0]));
    cr_assert_eq(toy.dones, 1, "the stream was told; the busy one is still its handler's");
    toy_release(&toy);
    cr_assert(TURN_UNTIL(toy.loop, toy.dones == 2));
    turns(toy.loop, 5);
    peer_close(&second);
    peer_close(&peer);
    loop_destroy(toy.loop);
    open_both();
}

Test(http_server, a_bad_or_taken_address_is_told_in_a_sentence)
{
    static const char *const bad[] = {"",       "9000",      "127.0.0.1",   "127.0.0.1:99999",
                                      "::1:90", "example:1", "127.0.0.1:9x"};
    struct http_handler handler = {0};
    struct http_server *s;
    char why[200], taken[64];
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        cr_assert_lt(http_server_open(toy.loop, bad[i], NULL, &handler, &s, why, sizeof why), 0, "%s", bad[i]);
        cr_assert(strstr(why, "ADDRESS:PORT"));
    }
    snprintf(taken, sizeof taken, "127.0.0.1:%u", toy.port);
    cr_assert_eq(http_server_open(toy.loop, taken, NULL, &handler, &s, why, sizeof why), -EADDRINUSE);
    cr_assert(strstr(why, "address already in use"), "%s", why);
    turns(toy.loop, 5);
    static const char *const good[] = {":0", "*:0", "localhost:0", "[::1]:0", "0.0.0.0:0"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        int err = http_server_open(toy.loop, good[i], NULL, &handler, &s, why, sizeof why);
        if (err == -EADDRNOTAVAIL || err == -EAFNOSUPPORT)
            continue; /* no IPv6 here */
        cr_assert_eq(err, 0, "%s: %s", good[i], why);
        cr_assert_neq(http_server_port(s), 0);
        http_server_close(s, 0, NULL, NULL);
        turns(toy.loop, 5);
    }
}

static void tell_peer(void *ctx, struct http_req *r)
{
    (void)ctx;
    http_reply(r, 200, NULL, str_c(r->peer));
}

Test(http_server, tells_who_asks_and_answers_refusals_without_a_handler_for_them)
{
    struct http_handler handler = {.on_head = tell_peer};
    struct http_server *s;
    char why[200], want[64];
    static const char *const listen[] = {"127.0.0.1:0", ":0"};
    for (size_t i = 0; i < ARRAY_LEN(listen); i++) {
        cr_assert_eq(http_server_open(toy.loop, listen[i], NULL, &handler, &s, why, sizeof why), 0, "%s", why);
        struct peer p;
        struct sockaddr_in a = {0};
        peer_open(&p, toy.loop, http_server_port(s));
        getsockname(p.fd, (struct sockaddr *)&a, &(socklen_t){sizeof a});
        snprintf(want, sizeof want, "\r\n\r\n127.0.0.1:%u", ntohs(a.sin_port));
        peer_puts(&p, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        cr_assert(peer_until(&p, want), "%s: %s", listen[i], p.got.p);
        peer_puts(&p, "GET / HTTP/1.1\r\n\r\n");
        cr_assert(peer_until(&p, "\r\n\r\n400 Bad Request: no Host header\n"));
        cr_assert(peer_until_end(&p));
        peer_close(&p);
        http_server_close(s, 100, NULL, NULL);
        turns(toy.loop, 5);
    }
}
