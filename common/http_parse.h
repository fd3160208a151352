/* http_parse - the framing of HTTP/1.1 requests as pure push parsers: http_parse takes heads, http_frame takes bodies.
 *
 * Neither knows sockets or time; both may be fed any split of the input and give the same result for each.
 * Thread: pure. Memory: the head's text lies in the request's arena; body data is borrowed from the input.
 * Limits: struct http_limits (head_bytes, header_count, body_bytes), HTTP_CHUNK_EXT_BYTES, HTTP_TRAILER_BYTES.
 * Source: RFC 9112, at its strict end: what two parsers could read in two ways is refused. */
#pragma once
#include "common/http.h"

#define HTTP_BLANK_LINES     2 /* empty lines that may precede a request line (RFC 9112, 2.2) */
#define HTTP_METHOD_BYTES    32
#define HTTP_CHUNK_EXT_BYTES 4096 /* chunk extensions of a whole body; they are dropped */
#define HTTP_TRAILER_BYTES   8192 /* trailer section of a body; it is dropped */

/* Classes of bytes (RFC 9110, 5.6.2 and 5.5). */
enum { HTTP_TCHAR = 1, HTTP_VCHAR = 2, HTTP_FIELD = 4, HTTP_HOSTCHAR = 8 };
extern const uint8_t http_class[256];

enum http_parse_result { HTTP_PARSE_MORE, HTTP_PARSE_DONE, HTTP_PARSE_REFUSED };

struct http_parse {
    char *text; /* the head so far, in the arena */
    size_t len, cap;
    uint32_t header_count;
    uint32_t blank_count;
    uint32_t word_len; /* of the method or version being read */
    uint8_t state;
    int status;         /* of a refusal */
    const char *reason; /* static text */
};
void http_parse_init(struct http_parse *p);
/* Takes up to n bytes; DONE: r is filled and the body begins at in + *ret_used. REFUSED: p->status, p->reason; whatever
 * of r was understood is filled. -ENOMEM is a refusal with 503. */
enum http_parse_result http_parse_feed(struct http_parse *p, struct http_req *r, const struct http_limits *limits,
                                       const uint8_t *in, size_t n, size_t *ret_used);

struct http_frame {
    uint64_t left;  /* of the body (Content-Length) or of the chunk */
    uint64_t total; /* data bytes announced so far */
    uint64_t limit;
    uint32_t ext_bytes, trailer_bytes;
    uint8_t digits;
    uint8_t state;
};
enum http_frame_step { HTTP_FRAME_MORE, HTTP_FRAME_DATA, HTTP_FRAME_END };
/* false: the request has no body. */
bool http_frame_init(struct http_frame *f, const struct http_req *r, uint64_t limit);
/* Skips framing (*ret_skip bytes, always to be dropped by the caller) up to the next data. DATA: *ret_data bytes of it
 * follow; the caller reports with http_frame_eat how many it took, then calls again with the rest.
 * -EPROTO: bad chunking; -EMSGSIZE: more than limit. Not to be called again after END or an error. */
int http_frame_next(struct http_frame *f, const uint8_t *in, size_t n, size_t *ret_skip, size_t *ret_data);
void http_frame_eat(struct http_frame *f, size_t n);
