/* http - HTTP/1.1 server on the loop: llhttp parses, libuv carries, we bound and pace.
 *
 * One struct http_req is one exchange. The handler is called when the head is complete. It answers at once with
 * http_reply(), or reads the body with http_body_read() and answers later. Answers of pipelined requests leave in order.
 * Thread: the server's loop. Memory: http_req and its arena live until on_done; slices given to http_send are
 * referenced until sent. Limits: struct http_limits, each named; a refusal is answered and the connection closed.
 * Security (RFC 9112): CL with TE, two CL, signs or hex in CL, TE other than chunked, bare LF, obs-fold, space before
 * the colon, NUL or control bytes, absolute-form mismatch, missing or double Host: 400 and close. */
#pragma once
#include "common/arena.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/loop.h"

struct http_server;
struct http_conn;

struct http_limits {
    uint32_t head_bytes;      /* request line and headers (http.head_bytes) */
    uint32_t header_count;
    uint64_t body_bytes;      /* a larger Content-Length is refused with 413 before the body */
    uint64_t head_ms;         /* slowloris: a head must be complete this long after its first byte */
    uint64_t body_idle_ms;    /* no body byte for so long: the exchange is aborted */
    uint64_t keepalive_ms;    /* idle connection between requests */
    uint64_t send_idle_ms;    /* the reader took no byte for so long: reset */
    uint32_t conn_count;      /* further connections wait in the kernel's backlog */
    uint32_t pipeline_count;  /* requests parsed ahead of the one being answered: then reading pauses */
    uint64_t drain_bytes;     /* unread body that is read and dropped to keep a connection alive; more: close */
};
extern const struct http_limits http_limits_default;

struct http_header {
    struct str name; /* as sent */
    struct str value; /* trimmed */
};

enum http_method { HTTP_M_GET, HTTP_M_HEAD, HTTP_M_PUT, HTTP_M_POST, HTTP_M_DELETE, HTTP_M_OPTIONS, HTTP_M_OTHER };

struct http_req {
    /* Set before the handler runs; all in the arena. */
    enum http_method method;
    struct str method_text;
    struct str target; /* raw, as on the request line (origin-form; absolute-form is reduced to it) */
    struct str path;   /* raw, before '?' */
    struct str query;  /* raw, after '?'; p NULL when there is no '?' */
    struct str host;   /* Host header */
    struct http_header *headers;
    size_t header_count;
    int64_t content_length; /* -1: none given */
    bool chunked;
    bool expect_continue;
    bool keep_alive;
    struct arena arena;
    uint64_t id;            /* unique in this process */
    uint64_t started_ns;    /* mono, first byte of the head */
    char peer[64];          /* "127.0.0.1:50312" */
    struct http_server *server;

    /* The handler's. */
    void *user;
    void (*on_done)(struct http_req *r); /* last call for this exchange: sent, failed or peer gone; frees user's things */

    /* Filled for logs and metrics. */
    int status;
    uint64_t sent_bytes, received_bytes; /* body bytes */

    struct http_conn *conn; /* private */
    void *priv;             /* private */
};

struct http_handler {
    void (*on_head)(void *ctx, struct http_req *r);
    /* Answers a request that http itself refuses (431, 400, 413, 408, 414), so that S3 can speak XML and JSON APIs JSON.
     * NULL: a plain text line. path may be empty. */
    void (*on_refusal)(void *ctx, struct http_req *r, int status, const char *reason);
    void *ctx;
};

/* listen: "127.0.0.1:9000", "[::1]:0", ":9000". Port 0 picks a free one; http_server_port tells. */
int http_server_open(struct loop *loop, const char *listen, const struct http_limits *limits,
                     const struct http_handler *handler, struct http_server **ret_server, char *why, size_t why_cap);
unsigned http_server_port(const struct http_server *s);
/* Stops accepting, lets exchanges end until the deadline, then resets them; closed_cb runs once, then the memory is gone. */
void http_server_close(struct http_server *s, uint64_t deadline_ms, void (*closed_cb)(void *ctx), void *ctx);
struct http_server_stats {
    uint64_t conns_open, conns_total, requests_total, refused_total, in_bytes, out_bytes;
};
void http_server_stats(const struct http_server *s, struct http_server_stats *ret);

/* ---- request side ---- */
struct str http_header(const struct http_req *r, const char *name); /* first; p NULL when absent; name without case */
size_t http_header_all(const struct http_req *r, const char *name, struct str *ret, size_t cap); /* how many there are */

struct http_body {
    /* Consumes up to n bytes and returns how many. Fewer than n pauses reading (back-pressure) until
     * http_body_resume(); the rest is offered again. The bytes are borrowed until return. */
    size_t (*on_data)(struct http_req *r, const uint8_t *p, size_t n);
    /* The body is complete (err 0), or failed: -ECONNRESET peer gone, -ETIMEDOUT idle, -EPROTO bad chunking,
     * -EMSGSIZE over body_bytes. Once; on a failure nothing can be answered any more except after -EPROTO, -EMSGSIZE. */
    void (*on_end)(struct http_req *r, int err);
};
/* Starts delivery; sends "100 Continue" first when it was asked for. body must outlive the exchange (static is usual). */
void http_body_read(struct http_req *r, const struct http_body *body);
void http_body_resume(struct http_req *r);

/* ---- response side ---- */
struct http_headers { /* built in the exchange's arena; CR, LF, NUL in a value make the response a 500 */
    struct http_header *items;
    size_t count, cap;
    bool failed;
};
void http_headers_add(struct http_req *r, struct http_headers *h, const char *name, struct str value);
void http_headers_addf(struct http_req *r, struct http_headers *h, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* A whole answer. body is copied. Adds Content-Length, Date, Connection when needed. HEAD sends no body but its length;
 * length_if_head: for HEAD, the Content-Length to announce (or UINT64_MAX: body.len). An unread request body is
 * drained up to drain_bytes, else the connection closes after the answer. */
void http_reply(struct http_req *r, int status, const struct http_headers *h, struct str body);
void http_reply_head(struct http_req *r, int status, const struct http_headers *h, uint64_t content_length); /* no body */

/* A streamed answer: content_length or HTTP_CHUNKED. Then http_send per slice: cb runs when the bytes have left our
 * memory and the next may come (one send at a time); err is 0, -ECONNRESET or -ETIMEDOUT. http_send_end finishes.
 * A stream whose length does not come true must be ended by http_abort: the connection is reset, never a short clean end. */
#define HTTP_CHUNKED UINT64_MAX
void http_reply_start(struct http_req *r, int status, const struct http_headers *h, uint64_t content_length);
void http_send(struct http_req *r, struct slice s, void (*cb)(struct http_req *r, int err)); /* takes its own reference */
void http_send_copy(struct http_req *r, const void *p, size_t n, void (*cb)(struct http_req *r, int err)); /* small */
void http_send_end(struct http_req *r);
void http_abort(struct http_req *r);
bool http_replied(const struct http_req *r); /* an answer was begun */

const char *http_status_text(int status);
/* "Mon, 02 Jan 2006 15:04:05 GMT" (RFC 9110, 5.6.7): 29 characters and NUL. */
void http_date(uint64_t unix_s, char ret[30]);
int http_date_parse(struct str s, uint64_t *ret_unix_s); /* IMF-fixdate, RFC 850, asctime; -EINVAL */
