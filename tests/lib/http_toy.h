/* http_toy - an HTTP server for tests whose paths do one thing each, with books on every exchange.
 *
 * /hello            whole answer "hello"            /big?N          whole answer of N bytes
 * /echo             answers the body                /sip            takes 7 bytes of body at a time, pauses after each
 * /count            answers the body's length       /refuse         403 without looking at the body
 * /busy             answers when toy.release is set  /stream?N       N bytes with a length, 64 KiB slices
 * /chunks?N         the same, chunked               /copies?N       N pieces of 3 bytes, chunked, by http_send_copy
 * /cut?N            64 KiB of N bytes, then abort   /short          announces 100, sends 10, ends
 * /long             announces 10, sends 100         /split          a header value with CR LF
 * /splitstream      the same for a stream           /status?N       an empty answer of that status
 * /headlen          http_reply_head with 12345      /close          answers with Connection: close
 * /headers?N        N headers "X-I: I of N", and the request's X-Say as X-Said
 * /late             answers 202 when the body ends, whatever its error
 * /pieces?N         N pieces of 30,000 bytes, chunked, freed after each call
 * /lazy?N           begins an answer of N bytes (0: chunked "lazy") and sends it in a later turn */
#pragma once
#include "common/http.h"

struct toy {
    struct loop *loop;
    struct clock_manual clock; /* drives the loop when manual */
    struct http_server *server;
    unsigned port;
    bool release; /* lets /busy and /sip go on, by toy_release */
    struct http_req *busy[16];
    unsigned busy_count;
    unsigned heads, dones, refusals; /* calls of on_head, on_done, on_refusal */
    unsigned ends, sends;            /* of on_end and of send callbacks */
    int last_end_err, last_send_err, last_refusal;
    uint64_t taken_bytes;    /* by on_data */
    uint64_t sent_bytes;     /* by on_done's request */
    int send_buffer;         /* not 0: SO_SNDBUF of every connection */
    bool hold_body;          /* /count: on_data takes nothing */
    struct http_req *reader; /* the last that read with /count */
    bool closed;
    char last_path[64];
    unsigned depth; /* of callbacks: one inside another would be a bug */
};

void toy_open(struct toy *t, const struct http_limits *limits, bool manual_clock);
void toy_close(struct toy *t); /* closes the server, checks the books, destroys the loop */
void toy_release(struct toy *t);
