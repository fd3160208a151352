/* http_impl - what the files of the HTTP server share: the connection, the exchange, and who calls whom.
 *
 * http_server listens and owns connections; http_net moves bytes between a connection and libuv; http_conn is the state
 * machine (conn_step takes one step at a time, conn_run takes all that are possible); http_reply builds answers.
 * libuv's callbacks and the handler's calls only change state; every callback into the handler is made by conn_step, so
 * it never runs inside a call of the handler. A call from elsewhere queues its connection (http_soon); the loop does
 * not wait before that ran. Thread: the server's loop. Memory: a connection is freed when its socket is closed and its
 * last exchange finished. */
#pragma once
#include "common/http_parse.h"
#include <uv.h>

#define HTTP_SPARE_COUNT 128  /* finished exchanges kept for reuse, with a block of arena each */
#define HTTP_PROBE_MS    2000 /* how often a connection that is not read is asked whether the peer reset it */
#define HTTP_STEP_COUNT  64   /* handler callbacks in one run of a connection; then others have their turn */
#define HTTP_BACKLOG     1024

struct http_exch {
    struct http_req req;
    struct http_exch *next;

    int refusal; /* status; 0: a request for the handler */
    const char *refusal_reason;
    bool started; /* the handler has it */

    const struct http_body *body;
    bool body_over;     /* no more body bytes will come */
    bool body_ended;    /* on_end was called */
    bool paused;        /* on_data took less than was offered */
    bool continue_sent; /* 100 Continue */

    bool begun;    /* an answer was begun */
    bool finished; /* the handler is done with the request */
    bool out_chunked;
    bool out_dropped;  /* HEAD, 204, 304, or a 500 in place of the answer: slices are dropped */
    bool tail_due;     /* the last chunk must still be written */
    bool close;        /* the connection ends with this answer */
    uint64_t out_left; /* bytes that the announced length still wants */
    char *head;        /* a begun stream's head that waits for its first slice, in the arena */
    size_t head_len;
    char chunk_line[24];
    struct slice held; /* a send that waits for an earlier write; referenced */
    void (*send_cb)(struct http_req *r, int err);
    bool send_done; /* send_cb is due */
};

struct http_conn {
    uv_tcp_t tcp; /* data: this */
    uv_write_t write;
    uv_shutdown_t shutdown;
    struct http_server *server;
    struct http_conn *next, *prev; /* of the server */
    struct http_conn *soon_next;
    struct loop_timer timer;
    uint64_t timer_at_ns;

    struct http_exch *first, *last; /* first: the one being handled; the others are parsed ahead */
    uint32_t exch_count;            /* exchanges in the queue */
    struct http_exch *incoming;     /* its head is being read */
    struct http_parse parse;
    struct http_frame frame;
    struct http_exch *body_of; /* whose body the input holds now; NULL with in_body: read and dropped */
    uint64_t drop_left;

    const uint8_t *in; /* input not yet taken: in the server's shared buffer or in rest */
    size_t in_len;
    uint8_t *rest; /* owned copy of what a run had to leave */

    struct buf *out_buf; /* referenced while its bytes are in the write */
    void *out_heap;      /* owned copy of parts of the write that would not stay */
    size_t out_body;     /* body bytes in the write */
    size_t out_seen;     /* unsent bytes when last looked at */

    uint64_t read_ns, progress_ns, looked_ns, head_ns, idle_ns, linger_ns;
    int gone;        /* why nothing sent will arrive: -ECONNRESET, -ETIMEDOUT; 0: it may */
    uint32_t writes; /* writes of libuv in flight */
    bool running, queued, reading, in_body;
    bool eof;       /* the peer will send no more */
    bool stop;      /* no further request is taken; input that is no body is dropped */
    bool lingering; /* answered, shut down, input read away */
    bool closed;    /* libuv let go of the socket */
    char peer[64];
};

struct http_server {
    uv_tcp_t listener;
    uv_idle_t turn; /* active while connections are queued: runs them and keeps the poll from waiting */
    struct loop *loop;
    struct http_limits limits;
    struct http_handler handler;
    struct http_conn *conns;
    struct http_conn *soon_first, **soon_last;
    struct http_exch *spare;
    unsigned spare_count, port, handles;
    bool waiting; /* a connection waits to be accepted */
    bool closing;
    struct loop_timer deadline;
    void (*closed_cb)(void *ctx);
    void *closed_ctx;
    struct http_server_stats stats;
    uint64_t now_ns;
    uint64_t date_s;
    char date[30];
    char head[HTTP_REPLY_HEAD_BYTES]; /* where answer heads are built */
    uint8_t read[HTTP_READ_BYTES];    /* where every connection's input arrives */
};

/* http_server.c */
void http_server_accept(struct http_server *s);    /* takes the waiting connection where conn_count lets it */
void http_server_conn_gone(struct http_server *s); /* a connection was freed */
uint64_t http_server_now(struct http_server *s);   /* reads the clock and keeps it in now_ns */

/* http_conn.c */
int http_conn_create(struct http_server *s); /* accepts */
void http_conn_run(struct http_conn *c);     /* takes every step that is possible; may free c */
void http_soon(struct http_conn *c);         /* http_conn_run in the next loop turn, unless it runs already */
void http_conn_input(struct http_conn *c, const uint8_t *p, size_t n);
void http_conn_input_end(struct http_conn *c, int err); /* 0: the peer closed its side */
void http_conn_fail(struct http_conn *c, int err);      /* resets the socket; exchanges end with err */
void http_conn_end(struct http_conn *c);                /* the last answer has left: shut down, linger, close */
void http_conn_drain(struct http_conn *c);              /* the server closes: end when what runs has ended */

/* http_exch.c */
struct http_exch *http_exch_create(struct http_conn *c);
void http_exch_free(struct http_server *s, struct http_exch *x);
void http_exch_start(struct http_conn *c, struct http_exch *x); /* hands it to the handler, or refuses it */
bool http_body_step(struct http_conn *c);                       /* one delivery of body; false: nothing to do */

/* http_reply.c */
void http_reply_flush(struct http_conn *c, struct http_exch *x); /* writes a pending head and the last chunk */
bool http_reply_due(const struct http_exch *x);

/* http_net.c */
int http_net_accept(struct http_conn *c);
void http_net_read(struct http_conn *c, bool on);
/* Writes now what the kernel takes and queues the rest; parts whose bit is set in volatile_mask are copied then.
 * 0: all has left; 1: in flight, the end runs the connection; negative: failed. buf: referenced while in flight. */
#define HTTP_PARTS 4
int http_net_write(struct http_conn *c, uv_buf_t parts[HTTP_PARTS], unsigned volatile_mask, struct buf *buf);
int http_net_continue(struct http_conn *c); /* 100 Continue; 0 or negative: failed */
size_t http_net_unsent(const struct http_conn *c);
bool http_net_reset_seen(struct http_conn *c); /* asks the kernel; for connections that are not read */
void http_net_shutdown(struct http_conn *c);
void http_net_close(struct http_conn *c, bool reset);
int http_net_listen(struct http_server *s, const char *listen, char *why, size_t why_cap);
