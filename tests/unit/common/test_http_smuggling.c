/* http: on the wire, a request that two parsers could read in two ways gets 400 and the end of the connection, and what
 * follows it is never processed (CVE-2023-38697, CVE-2023-39326 and their kin). The full list of forms is in
 * test_http_parse; here is one of each kind, through a socket. */
#include "tests/lib/http_peer.h"
#include "tests/lib/http_toy.h"
#include <criterion/criterion.h>
#include <stdio.h>

#define NEXT "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"

static const struct str attacks[] = {
    STR("PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 34\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    STR("PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 34\r\n\r\n"),
    STR("PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +34\r\n\r\n"),
    STR("PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0x22\r\n\r\n"),
    STR("PUT /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n"),
    STR("PUT /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    STR("PUT /echo HTTP/1.1\nHost: a\nContent-Length: 34\n\n"),
    STR("PUT /echo HTTP/1.1\r\nHost: a\r\nX: y\nContent-Length: 34\r\n\r\n"),
    STR("PUT /echo HTTP/1.1\r\nHost: a\r\nX: y\rContent-Length: 34\r\n\r\n"),
    STR("PUT /echo HTTP/1.1\r\nHost: a\r\nX: y\r\n Content-Length: 34\r\n\r\n"),
    STR("PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length : 34\r\n\r\n"),
    STR("PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\0"
        "4\r\n\r\n"),
    STR("GET http://b/hello HTTP/1.1\r\nHost: a\r\n\r\n"),
    STR("GET /hello HTTP/1.1\r\n\r\n"),
    STR("GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    STR("GET /hello HTTP/1.1\r\nHost: a\r\n\r\0\n"),
};

Test(http_smuggling, every_attack_is_a_400_an_end_and_nothing_more)
{
    struct toy toy;
    struct peer peer;
    toy_open(&toy, NULL, false);
    for (size_t i = 0; i < ARRAY_LEN(attacks); i++)
        for (int apart = 0; apart < 2; apart++) {
            peer_open(&peer, toy.loop, toy.port);
            peer_send(&peer, attacks[i].p, attacks[i].len);
            if (apart) /* what follows comes in a packet of its own */
                turns(toy.loop, 2);
            peer_puts(&peer, NEXT NEXT);
            cr_assert(peer_until_end(&peer), "attack %zu: the connection stays", i);
            cr_assert(peer.eof, "attack %zu: errno %d", i, peer.err);
            cr_assert_eq(peer_count(&peer, "HTTP/1.1 400 Bad Request\r\n"), 1, "attack %zu: %s", i, peer.got.p);
            cr_assert_eq(peer_count(&peer, "Connection: close\r\n"), 1);
            cr_assert_eq(peer_count(&peer, "HTTP/1.1 "), 1, "attack %zu: something followed", i);
            peer_close(&peer);
        }
    cr_assert_eq(toy.heads, 0);
    cr_assert_eq(toy.refusals, 2 * ARRAY_LEN(attacks));
    toy_close(&toy);
}

Test(http_smuggling, what_came_before_an_attack_is_answered_first)
{
    struct toy toy;
    struct peer peer;
    toy_open(&toy, NULL, false);
    for (size_t i = 0; i < ARRAY_LEN(attacks); i++) {
        peer_open(&peer, toy.loop, toy.port);
        peer_puts(&peer, "GET /busy HTTP/1.1\r\nHost: a\r\n\r\n" NEXT);
        peer_send(&peer, attacks[i].p, attacks[i].len);
        peer_puts(&peer, NEXT);
        cr_assert(TURN_UNTIL(toy.loop, toy.busy_count == 1));
        turns(toy.loop, 2);
        toy_release(&toy);
        cr_assert(peer_until_end(&peer));
        cr_assert(peer.eof, "attack %zu: errno %d", i, peer.err);
        cr_assert_eq(peer_count(&peer, "HTTP/1.1 200 OK\r\n"), 2);
        cr_assert_eq(peer_count(&peer, "HTTP/1.1 400 Bad Request\r\n"), 1);
        const char *last = strstr(peer.got.p, "HTTP/1.1 400");
        cr_assert_gt(last, strstr(peer.got.p, "\r\n\r\nhello"));
        cr_assert_null(strstr(last + 1, "HTTP/1.1 "));
        peer_close(&peer);
    }
    cr_assert_eq(toy.heads, 2 * ARRAY_LEN(attacks));
    toy_close(&toy);
}
