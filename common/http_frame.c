/* http_frame - where a request's body lies in the bytes that follow its head: by Content-Length or by chunks.
 *
 * The chunked coding is decoded here and not by llhttp, which (8.1) lets a bare LF pass and has no limit for
 * extensions. Lines end with CR LF only, sizes are 1 to 15 hex digits, extensions and trailers are bounded, checked and
 * dropped. */
#include "common/http_parse.h"

enum {
    F_LENGTH,
    F_SIZE,
    F_EXT,
    F_SIZE_LF,
    F_DATA,
    F_DATA_CR,
    F_DATA_LF,
    F_LINE,
    F_NAME,
    F_VALUE,
    F_LINE_LF,
    F_END_LF,
    F_END
};
#define SIZE_DIGITS 15 /* of a chunk: below 2^60 */

bool http_frame_init(struct http_frame *f, const struct http_req *r, uint64_t limit)
{
    *f = (struct http_frame){.limit = limit, .state = r->chunked ? F_SIZE : F_LENGTH};
    if (!r->chunked && r->content_length > 0)
        f->left = f->total = (uint64_t)r->content_length;
    return r->chunked || f->left > 0;
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int size_byte(struct http_frame *f, uint8_t c)
{
    int v = hex_value(c);
    if (v >= 0) {
        if (f->digits++ == SIZE_DIGITS)
            return -EPROTO;
        f->left = f->left << 4 | (uint64_t)v;
        return 0;
    }
    if (f->digits == 0 || (c != '\r' && c != ';'))
        return -EPROTO;
    f->state = c == '\r' ? F_SIZE_LF : F_EXT;
    return 0;
}

static int size_end(struct http_frame *f)
{
    f->digits = 0;
    if (f->left > f->limit - f->total) /* total never exceeds limit */
        return -EMSGSIZE;
    f->total += f->left;
    f->state = f->left ? F_DATA : F_LINE;
    return 0;
}

static int expect(struct http_frame *f, uint8_t c, uint8_t wanted, uint8_t next)
{
    f->state = next;
    return c == wanted ? 0 : -EPROTO;
}

static int ext_byte(struct http_frame *f, uint8_t c)
{
    if (c == '\r')
        f->state = F_SIZE_LF;
    else if (!(http_class[c] & HTTP_FIELD) || ++f->ext_bytes > HTTP_CHUNK_EXT_BYTES)
        return -EPROTO;
    return 0;
}

static int trailer_byte(struct http_frame *f, uint8_t c)
{
    if (++f->trailer_bytes > HTTP_TRAILER_BYTES)
        return -EPROTO;
    if (f->state == F_VALUE) {
        f->state = c == '\r' ? F_LINE_LF : F_VALUE;
        return c == '\r' || (http_class[c] & HTTP_FIELD) ? 0 : -EPROTO;
    }
    if (f->state == F_LINE && c == '\r') {
        f->state = F_END_LF;
        return 0;
    }
    if (f->state == F_NAME && c == ':') {
        f->state = F_VALUE;
        return 0;
    }
    f->state = F_NAME;
    return http_class[c] & HTTP_TCHAR ? 0 : -EPROTO;
}

static int frame_byte(struct http_frame *f, uint8_t c)
{
    switch (f->state) {
    case F_SIZE:
        return size_byte(f, c);
    case F_EXT:
        return ext_byte(f, c);
    case F_SIZE_LF:
        return c == '\n' ? size_end(f) : -EPROTO;
    case F_DATA_CR:
        return expect(f, c, '\r', F_DATA_LF);
    case F_DATA_LF:
        return expect(f, c, '\n', F_SIZE);
    case F_LINE_LF:
        return expect(f, c, '\n', F_LINE);
    case F_END_LF:
        return expect(f, c, '\n', F_END);
    default:
        return trailer_byte(f, c);
    }
}

int http_frame_next(struct http_frame *f, const uint8_t *in, size_t n, size_t *ret_skip, size_t *ret_data)
{
    size_t i = 0;
    while (i < n && f->state != F_DATA && f->state != F_LENGTH && f->state != F_END) {
        int err = frame_byte(f, in[i++]);
        if (err)
            return err;
    }
    *ret_skip = i;
    *ret_data = 0;
    if (f->state == F_END || (f->state == F_LENGTH && f->left == 0))
        return HTTP_FRAME_END;
    if (i == n)
        return HTTP_FRAME_MORE;
    *ret_data = (size_t)MIN_OF(f->left, n - i);
    return HTTP_FRAME_DATA;
}

void http_frame_eat(struct http_frame *f, size_t n)
{
    assert(n <= f->left);
    f->left -= n;
    if (f->left == 0 && f->state == F_DATA)
        f->state = F_DATA_CR;
}
