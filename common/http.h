/* http - HTTP/1.1 server on the loop: llhttp parses, libuv carries, we bound and pace.
 *
 * One struct http_req is one exchange. The handler is called when the head is complete. It answers at once with
 * http_reply(), or reads the body with http_body_read() and answers later. Pipelined requests are handled one after the
 * other, so their answers leave in order.
 * The one rule: a handler finishes every exchange that it was given, exactly once, by http_reply, http_reply_head,
 * http_send_end or http_abort; after that it leaves the request alone and on_done follows, exactly once, when the
 * answer has left our memory. The peer may be gone meanwhile (http_gone): an on_data/on_end in progress ends with
 * on_end(err), a send in progress with its cb(err), the request stays valid, every call on it is a harmless no-op (a
 * further http_send ends with -ECONNRESET), and the handler still finishes it, most simply by http_abort. No callback
 * ever runs inside a call of the handler. Thread: the server's loop. Memory: http_req and its arena live until on_done
 * has returned; slices given to http_send are referenced until sent. A connection holds at most HTTP_READ_BYTES of
 * unread input, one slice, and pipeline_count heads. Limits: struct http_limits, each named; a refusal is answered and
 * the connection closed. Security (RFC 9112): CL with TE, two CL, signs or hex in CL, TE other than chunked, bare LF,
 * obs-fold, space before the colon, NUL or control bytes, absolute-form mismatch, missing or double Host: 400 and
 * close. */
#pragma once
#include "common/arena.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/loop.h"

#define HTTP_READ_BYTES       (64 * KIB) /* input read at once; also what a paused connection may hold */
#define HTTP_ARENA_BYTES      (16 * MIB) /* limit of a request's arena */
#define HTTP_REPLY_HEAD_BYTES (32 * KIB) /* a larger answer head becomes a 500 */
#define HTTP_LINGER_MS        5000       /* after a last answer: how long input is read away before the socket closes */

struct http_server;
struct http_conn;

struct http_limits {
    uint32_t head_bytes; /* request line and headers (http.head_bytes) */
    uint32_t header_count;
    uint64_t body_bytes;     /* a larger Content-Length is refused with 413 before the body; chunked: -EMSGSIZE */
    uint64_t head_ms;        /* slowloris: a head must be complete this long after its first byte; else 408 */
    uint64_t body_idle_ms;   /* no body byte for so long while we want one: the exchange is aborted */
    uint64_t keepalive_ms;   /* idle connection before and between requests */
    uint64_t send_idle_ms;   /* the reader took no byte for so long: reset (looked at every quarter of it) */
    uint32_t conn_count;     /* further connections wait in the kernel's backlog */
    uint32_t pipeline_count; /* requests parsed ahead of the one being answered: then reading pauses */
    uint64_t drain_bytes;    /* unread body that is read and dropped to keep a connection alive; more: close */
};
extern const struct http_limits http_limits_default;

struct http_header {
    struct str name;  /* as sent */
    struct str value; /* trimmed */
};

enum http_method { HTTP_M_GET, HTTP_M_HEAD, HTTP_M_PUT, HTTP_M_POST, HTTP_M_DELETE, HTTP_M_OPTIONS, HTTP_M_OTHER };

struct http_req {
    /* Set before the handler runs; all in the arena. */
    enum http_method method;
    struct str method_text;
    struct str target; /* raw, as on the request line (origin-form; absolute-form is reduced to it; "*" for OPTIONS) */
    struct str path;   /* raw, before '?' */
    struct str query;  /* raw, after '?'; p NULL when there is no '?' */
    struct str host;   /* Host header; empty for HTTP/1.0 without one */
    struct http_header *headers;
    size_t header_count;
    int64_t content_length; /* -1: none given */
    bool chunked;
    bool http10; /* HTTP/1.0: no chunked answers, no 100 Continue */
    bool expect_continue;
    bool keep_alive;
    struct arena arena;
    uint64_t id;         /* unique in this process */
    uint64_t started_ns; /* mono, first byte of the head */
    char peer[64];       /* "127.0.0.1:50312" */
    struct http_server *server;

    /* The handler's. */
    void *user;
    void (*on_done)(
        struct http_req *r); /* last call, after the handler finished: sent or failed; frees user's things */

    /* Filled for logs and metrics. */
    int status;
    uint64_t sent_bytes, received_bytes; /* body bytes */

    struct http_conn *conn; /* private */
    void *priv;             /* private */
};

struct http_handler {
    void (*on_head)(void *ctx, struct http_req *r);
    /* Answers a request that http itself refuses (400, 408, 413, 414, 417, 431, 505), so that S3 can speak XML and JSON
     * APIs JSON: http_reply inside the call, or nothing for the default, a plain text line (also where NULL). Of the
     * request only what was understood is set, the rest is empty. */
    void (*on_refusal)(void *ctx, struct http_req *r, int status, const char *reason);
    void *ctx;
};

/* listen: "127.0.0.1:9000", "[::1]:0", ":9000". Port 0 picks a free one; http_server_port tells.
 * limits may be NULL: http_limits_default. SIGPIPE is ignored from here on. why: a sentence where it fails. */
int http_server_open(struct loop *loop, const char *listen, const struct http_limits *limits,
                     const struct http_handler *handler, struct http_server **ret_server, char *why, size_t why_cap);
unsigned http_server_port(const struct http_server *s);
/* Stops accepting, lets exchanges end until the deadline, then resets them; closed_cb runs once, then the memory is
 * gone. */
void http_server_close(struct http_server *s, uint64_t deadline_ms, void (*closed_cb)(void *ctx), void *ctx);
/* closed_cb waits for every exchange to be finished by its handler, also after the deadline. */
struct http_server_stats {
    uint64_t conns_open, conns_total, requests_total, refused_total, in_bytes, out_bytes;
};
void http_server_stats(const struct http_server *s, struct http_server_stats *ret);

/* ---- request side ---- */
struct str http_header(const struct http_req *r, const char *name); /* first; p NULL when absent; name without case */
size_t http_header_all(const struct http_req *r, const char *name, struct str *ret,
                       size_t cap); /* how many there are */

struct http_body {
    /* Consumes up to n bytes and returns how many. Fewer than n pauses reading (back-pressure) until
     * http_body_resume(); the rest is offered again. The bytes are borrowed until return. */
    size_t (*on_data)(struct http_req *r, const uint8_t *p, size_t n);
    /* The body is complete (err 0), or failed: -ECONNRESET peer gone, -ETIMEDOUT idle, -EPROTO bad chunking,
     * -EMSGSIZE over body_bytes. Once; on a failure nothing can be answered any more except after -EPROTO, -EMSGSIZE.
     */
    void (*on_end)(struct http_req *r, int err);
};
/* Starts delivery; sends "100 Continue" first when it was asked for. body must outlive the exchange (static is usual).
 * Once an exchange. Finishing the answer ends delivery: neither on_data nor on_end follows. */
void http_body_read(struct http_req *r, const struct http_body *body);
void http_body_resume(struct http_req *r);
/* The connection failed or was reset: nothing sent will arrive. A peer that merely closed looks like one that will send
 * no more but still reads (half-close); it is found gone by the first bytes that it does not want. */
bool http_gone(const struct http_req *r);

/* ---- response side ---- */
/* Built in the exchange's arena (names and values are copied), zero-initialised. A control byte (CR, LF, NUL, ...) in a
 * value or a name that is no token makes the response a 500. Content-Length, Transfer-Encoding and Date are http's own
 * and are dropped here; of Connection only "close" is obeyed. */
struct http_headers {
    struct http_header *items;
    size_t count, cap;
    bool failed;
};
void http_headers_add(struct http_req *r, struct http_headers *h, const char *name, struct str value);
void http_headers_addf(struct http_req *r, struct http_headers *h, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* A whole answer. body is borrowed until return. Adds Content-Length, Date, Connection when needed. HEAD sends no body
 * but its length; 204 and 304 neither. An unread request body is drained up to drain_bytes, else (and where 100
 * Continue was asked for and never sent) the connection closes after the answer. h may be NULL. */
void http_reply(struct http_req *r, int status, const struct http_headers *h, struct str body);
/* No body: for HEAD the length that GET would send, for 304 the same (UINT64_MAX: unknown, none is announced); 0
 * otherwise. */
void http_reply_head(struct http_req *r, int status, const struct http_headers *h, uint64_t content_length);

/* A streamed answer: content_length or HTTP_CHUNKED. Then http_send per slice: cb runs when the bytes have left our
 * memory and the next may come (one send at a time); err is 0, -ECONNRESET or -ETIMEDOUT. http_send_end finishes (the
 * cb of a send in progress still comes before on_done). For HEAD, 204 and 304 the slices are dropped and their cb runs
 * with 0. A stream whose length does not come true must be ended by http_abort: the connection is reset, never a short
 * clean end (http_send_end of a short stream and a send past the length reset it, too). After http_abort only on_done
 * follows. */
#define HTTP_CHUNKED UINT64_MAX
void http_reply_start(struct http_req *r, int status, const struct http_headers *h, uint64_t content_length);
void http_send(struct http_req *r, struct slice s,
               void (*cb)(struct http_req *r, int err)); /* takes its own reference */
void http_send_copy(struct http_req *r, const void *p, size_t n, void (*cb)(struct http_req *r, int err)); /* small */
void http_send_end(struct http_req *r);
void http_abort(struct http_req *r);
bool http_replied(const struct http_req *r); /* an answer was begun */

const char *http_status_text(int status);
/* "Mon, 02 Jan 2006 15:04:05 GMT" (RFC 9110, 5.6.7): 29 characters and NUL. */
void http_date(uint64_t unix_s, char ret[30]);
int http_date_parse(struct str s, uint64_t *ret_unix_s); /* IMF-fixdate, RFC 850, asctime; -EINVAL */
