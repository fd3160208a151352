/* http_client - HTTP from the command line: the door to libcurl. One call at a time, or many at once.
 *
 * Thread: one; blocking. Memory: calls are the caller's until on_done (or http_client_do) returns; strings and bodies
 * in them are borrowed until then. Limits: an answer that is kept in memory ends at HTTP_CALL_REPLY_MAX. Errors:
 * call.err is 0 when an HTTP answer came, whatever its status; else a negative code and one sentence in why. */
#pragma once
#include "common/arena.h"

#define HTTP_CALL_HEADERS   16
#define HTTP_CALL_REPLY_MAX (64 * MIB)

struct http_client;
struct http_call {
    /* ---- set by the caller ---- */
    const char *method;
    const char *url;                        /* escaped already; sent as it is */
    const char *headers[HTTP_CALL_HEADERS]; /* "Name: value" */
    unsigned header_count;
    struct str body;
    bool to_file; /* an answer of 200 or 206 goes to file_fd from file_offset on, at most file_max bytes */
    int file_fd;
    uint64_t file_offset, file_max;
    void (*on_done)(struct http_call *c); /* not used by http_client_do */
    void *user;

    /* ---- set before on_done ---- */
    int err; /* 0, -ECONNREFUSED, -ETIMEDOUT, -ECANCELED, -EFBIG, E_LIB, or what writing the file gave */
    char why[256];
    int status;
    struct sbuf reply;   /* body of an answer that did not go to the file; http_call_fini frees */
    struct sbuf head;    /* its header lines */
    uint64_t file_bytes; /* written to the file */
    uint64_t sent_bytes; /* of the body, as it goes: for progress */

    /* private */
    size_t body_at;
    void *easy, *list;
    struct http_client *client;
};
void http_call_fini(struct http_call *c); /* the call may be used again after it */
/* The value of the answer's header, trimmed; p NULL when absent. Borrowed until http_call_fini. */
struct str http_call_header(const struct http_call *c, const char *name);

int http_client_create(unsigned parallel, struct http_client **ret_client);
void http_client_destroy(struct http_client *h); /* calls under way end with -ECANCELED, without on_done */
void http_client_start(struct http_client *h, struct http_call *c); /* cannot fail at once: on_done tells */
unsigned http_client_running(const struct http_client *h);
/* Moves what can move and waits at most timeout_ms for more; runs on_done of calls that ended. */
void http_client_turn(struct http_client *h, int timeout_ms);
void http_client_do(struct http_client *h, struct http_call *c); /* one call, to its end */
