/* http_parse - request heads, read twice: every byte passes our own scanner as it arrives, and the whole head then
 * passes llhttp (this file is its door), whose spans become the request.
 *
 * The scanner exists because llhttp 8.1, even in strict mode, takes a bare LF for a line end and obs-fold for a value.
 * It refuses at the first wrong byte, bounds the head, and counts header lines so that the table of headers is
 * allocated once. As llhttp then sees a complete, contiguous head, a header is two pointers into it and nothing is
 * copied again. No lenient flag of llhttp is ever set; LLHTTP_STRICT_MODE is set by the build. */
#include "common/http_parse.h"
#include <llhttp.h>

#if LLHTTP_VERSION_MAJOR < 9
static_assert(LLHTTP_STRICT_MODE == 1, "llhttp 8 is loose unless told otherwise");
#endif

enum {
    S_START,
    S_START_LF,
    S_METHOD,
    S_TARGET,
    S_VERSION,
    S_REQUEST_LF,
    S_LINE,
    S_NAME,
    S_VALUE,
    S_LINE_LF,
    S_END_LF,
    S_DONE
};

#define VERSION_BYTES 8 /* "HTTP/1.1" */
#define TEXT_FIRST    1024

#define T (HTTP_TCHAR | HTTP_VCHAR | HTTP_FIELD)
#define H (T | HTTP_HOSTCHAR)
#define V (HTTP_VCHAR | HTTP_FIELD)
#define F HTTP_FIELD
const uint8_t http_class[256] = {
    ['\t'] = F,        [' '] = F,         ['!'] = T, ['"'] = V,  ['#'] = T, ['$' ... '\''] = T, ['('] = V,
    [')'] = V,         ['*'] = T,         ['+'] = T, [','] = V,  ['-'] = H, ['.'] = H,          ['/'] = V,
    ['0' ... '9'] = H, [':'] = V,         [';'] = V, ['<'] = V,  ['='] = V, ['>'] = V,          ['?'] = V,
    ['@'] = V,         ['A' ... 'Z'] = H, ['['] = V, ['\\'] = V, [']'] = V, ['^'] = T,          ['_'] = H,
    ['`'] = T,         ['a' ... 'z'] = H, ['{'] = V, ['|'] = T,  ['}'] = V, ['~'] = H,          [0x80 ... 0xff] = F,
};
#undef T
#undef H
#undef V
#undef F

void http_parse_init(struct http_parse *p)
{
    *p = (struct http_parse){.state = S_START};
}

static enum http_parse_result refuse(struct http_parse *p, int status, const char *reason)
{
    p->status = status;
    p->reason = reason;
    return HTTP_PARSE_REFUSED;
}

/* ---- the scanner ---- */

static const char *wrong_byte(uint8_t state, uint8_t c)
{
    if (state == S_START)
        return "bad request line";
    if (c == '\n')
        return "a line ends with LF alone";
    if (c == 0)
        return "NUL in the head";
    if (state == S_REQUEST_LF || state == S_LINE_LF || state == S_END_LF || state == S_START_LF)
        return "CR without LF";
    if (state == S_LINE && (c == ' ' || c == '\t'))
        return "a header line is folded";
    if (state == S_NAME && (c == ' ' || c == '\t'))
        return "blank before the colon of a header";
    if (state == S_LINE || state == S_NAME)
        return "bad header name";
    return state == S_VALUE ? "control byte in a header" : "bad request line";
}

/* Moves over one byte that begins a word or is structure; false: it is wrong here. */
static bool scan_byte(struct http_parse *p, uint8_t c)
{
    static const struct {
        uint8_t byte, next;
    } moves[] = {
        [S_START] = {'\r', S_START_LF}, [S_START_LF] = {'\n', S_START},     [S_METHOD] = {' ', S_TARGET},
        [S_TARGET] = {' ', S_VERSION},  [S_VERSION] = {'\r', S_REQUEST_LF}, [S_REQUEST_LF] = {'\n', S_LINE},
        [S_LINE] = {'\r', S_END_LF},    [S_NAME] = {':', S_VALUE},          [S_VALUE] = {'\r', S_LINE_LF},
        [S_LINE_LF] = {'\n', S_LINE},   [S_END_LF] = {'\n', S_DONE},
    };
    if (p->state == S_START && (http_class[c] & HTTP_TCHAR)) {
        p->state = S_METHOD;
        p->word_len = 1;
        return true;
    }
    if (p->state == S_LINE && (http_class[c] & HTTP_TCHAR)) {
        p->state = S_NAME;
        p->header_count++;
        return true;
    }
    if (c != moves[p->state].byte || ((p->state == S_TARGET || p->state == S_VERSION) && p->word_len == 0))
        return false;
    p->state = moves[p->state].next;
    p->word_len = 0;
    return true;
}

static const uint8_t run_class[] = {[S_METHOD] = HTTP_TCHAR, [S_TARGET] = HTTP_VCHAR, [S_VERSION] = HTTP_VCHAR,
                                    [S_NAME] = HTTP_TCHAR,   [S_VALUE] = HTTP_FIELD,  [S_DONE] = 0};

/* Scans until the head is complete, the input ends or a byte is wrong; returns how many bytes were right. */
static size_t scan(struct http_parse *p, const uint8_t *in, size_t n, const struct http_limits *limits)
{
    size_t i = 0;
    while (i < n && p->state != S_DONE) {
        uint8_t class = run_class[p->state];
        size_t from = i;
        while (i < n && (http_class[in[i]] & class))
            i++;
        p->word_len += (uint32_t)(i - from);
        if ((p->state == S_METHOD && p->word_len > HTTP_METHOD_BYTES) ||
            (p->state == S_VERSION && p->word_len > VERSION_BYTES))
            return i > from ? i - 1 : i;
        if (i == n)
            break;
        if (!scan_byte(p, in[i]))
            return i;
        i++;
        if (p->header_count > limits->header_count)
            return i;
        if (p->state == S_START && ++p->blank_count > HTTP_BLANK_LINES)
            return i - 1;
    }
    return i;
}

static bool text_add(struct http_parse *p, struct arena *a, const uint8_t *in, size_t n)
{
    if (p->len + n + 1 > p->cap) {
        bool whole = p->state == S_DONE;
        size_t cap = whole ? p->len + n + 1 : MAX_OF(MAX_OF(p->cap * 2, p->len + n + 1), (size_t)TEXT_FIRST);
        char *text = arena_alloc(a, cap);
        if (!text)
            return false;
        if (p->len)
            memcpy(text, p->text, p->len);
        p->text = text;
        p->cap = cap;
    }
    memcpy(p->text + p->len, in, n);
    p->len += n;
    return true;
}

/* ---- llhttp ---- */

struct spans {
    struct http_req *r;
    size_t header_cap;
    bool in_value; /* the last span was a value: the next name opens a new header */
};

/* Spans of one element are contiguous: they are parts of one buffer. */
static void extend(struct str *s, const char *at, size_t n)
{
    if (!s->p || s->len == 0)
        s->p = at;
    s->len += n;
}

static int on_method(llhttp_t *l, const char *at, size_t n)
{
    struct spans *s = l->data;
    extend(&s->r->method_text, at, n);
    return 0;
}

static int on_url(llhttp_t *l, const char *at, size_t n)
{
    struct spans *s = l->data;
    extend(&s->r->target, at, n);
    return 0;
}

static int on_field(llhttp_t *l, const char *at, size_t n)
{
    struct spans *s = l->data;
    if (s->in_value || s->r->header_count == 0) {
        if (s->r->header_count == s->header_cap)
            return -1; /* more headers than the scanner saw: the two disagree */
        s->r->header_count++;
        s->in_value = false;
    }
    extend(&s->r->headers[s->r->header_count - 1].name, at, n);
    return 0;
}

static int on_value(llhttp_t *l, const char *at, size_t n)
{
    struct spans *s = l->data;
    if (s->r->header_count == 0)
        return -1;
    s->in_value = true;
    extend(&s->r->headers[s->r->header_count - 1].value, at, n);
    return 0;
}

static int on_value_complete(llhttp_t *l)
{
    struct spans *s = l->data;
    if (s->r->header_count == 0)
        return -1;
    s->in_value = true;
    struct http_header *h = &s->r->headers[s->r->header_count - 1];
    h->value = h->value.p ? str_trim(h->value) : STR("");
    return 0;
}

static int on_complete(llhttp_t *l)
{
    (void)l;
    return HPE_PAUSED; /* the body is http_frame's */
}

static enum http_method method_of(uint8_t m)
{
    switch (m) {
    case HTTP_GET:
        return HTTP_M_GET;
    case HTTP_HEAD:
        return HTTP_M_HEAD;
    case HTTP_PUT:
        return HTTP_M_PUT;
    case HTTP_POST:
        return HTTP_M_POST;
    case HTTP_DELETE:
        return HTTP_M_DELETE;
    case HTTP_OPTIONS:
        return HTTP_M_OPTIONS;
    default:
        return HTTP_M_OTHER;
    }
}

/* "HTTP/1.0" and "HTTP/1.1" are spoken here. The scanner left the version as the last word of the first line. */
static enum http_parse_result check_version(struct http_parse *p, struct http_req *r)
{
    const char *end = memchr(p->text, '\r', p->len);
    struct str v = {end - VERSION_BYTES, VERSION_BYTES};
    if (end - p->text < VERSION_BYTES + 1 || v.p[-1] != ' ' || !str_starts(v, STR("HTTP/")) || v.p[6] != '.' ||
        v.p[5] < '0' || v.p[5] > '9' || v.p[7] < '0' || v.p[7] > '9')
        return refuse(p, 400, "bad HTTP version");
    if (v.p[5] != '1' || v.p[7] > '1')
        return refuse(p, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    r->http10 = v.p[7] == '0';
    return HTTP_PARSE_DONE;
}

static enum http_parse_result run_llhttp(struct http_parse *p, struct http_req *r)
{
    static const llhttp_settings_t settings = {
        .on_method = on_method,
        .on_url = on_url,
        .on_header_field = on_field,
        .on_header_value = on_value,
        .on_header_value_complete = on_value_complete,
        .on_headers_complete = on_complete,
    };
    struct spans s = {.r = r, .header_cap = p->header_count};
    llhttp_t l;
    llhttp_init(&l, HTTP_REQUEST, &settings);
    l.data = &s;
    llhttp_errno_t err = llhttp_execute(&l, p->text, p->len);
    r->method = r->method_text.len ? method_of(llhttp_get_method(&l)) : HTTP_M_OTHER;
    if (err == HPE_PAUSED && llhttp_get_error_pos(&l) == p->text + p->len && r->header_count == p->header_count)
        return HTTP_PARSE_DONE;
    if (err == HPE_INVALID_METHOD)
        return refuse(p, 400, "unknown method");
    if (err == HPE_INVALID_URL)
        return refuse(p, 400, "bad request target");
    return refuse(p, 400, "bad framing of the request");
}

/* ---- what the headers mean for framing ---- */

struct seen {
    unsigned host, length, encoding;
    bool close, keep;
};

static void read_connection(struct str value, struct seen *seen)
{
    struct str part;
    while (str_split(&value, ',', &part)) {
        part = str_trim(part);
        seen->close |= str_ieq(part, STR("close"));
        seen->keep |= str_ieq(part, STR("keep-alive"));
    }
}

static enum http_parse_result read_header(struct http_parse *p, struct http_req *r, const struct http_header *h,
                                          struct seen *seen)
{
    uint64_t n;
    switch (h->name.len) {
    case 4:
        if (str_ieq(h->name, STR("Host"))) {
            if (seen->host++)
                return refuse(p, 400, "two Host headers");
            r->host = h->value;
        }
        break;
    case 6:
        if (str_ieq(h->name, STR("Expect")) && !r->http10) {
            if (!str_ieq(h->value, STR("100-continue")))
                return refuse(p, 417, "only Expect: 100-continue is known");
            r->expect_continue = true;
        }
        break;
    case 10:
        if (str_ieq(h->name, STR("Connection")))
            read_connection(h->value, seen);
        break;
    case 14:
        if (str_ieq(h->name, STR("Content-Length"))) {
            if (seen->length++)
                return refuse(p, 400, "two Content-Length headers");
            if (str_u64(h->value, &n) != 0 || n > INT64_MAX)
                return refuse(p, 400, "bad Content-Length");
            r->content_length = (int64_t)n;
        }
        break;
    case 17:
        if (str_ieq(h->name, STR("Transfer-Encoding"))) {
            if (seen->encoding++ || !str_ieq(h->value, STR("chunked")))
                return refuse(p, 400, "the only Transfer-Encoding is chunked, once");
            r->chunked = true;
        }
        break;
    }
    return HTTP_PARSE_DONE;
}

static bool digits_only(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return true;
}

/* "name", "name:80", "[::1]:80": a strict reading of RFC 3986, 3.2.2 that no list of hosts and no user@ passes. */
static bool host_ok(struct str h)
{
    size_t i = 0;
    if (h.len && h.p[0] == '[') {
        for (i = 1; i < h.len && (h.p[i] == ':' || (http_class[(uint8_t)h.p[i]] & HTTP_HOSTCHAR)); i++)
            ;
        if (i < 3 || i == h.len || h.p[i++] != ']')
            return false;
    } else {
        while (i < h.len && (http_class[(uint8_t)h.p[i]] & HTTP_HOSTCHAR))
            i++;
        if (i == 0)
            return false;
    }
    struct str port = {h.p + i, h.len - i};
    return port.len == 0 || (port.p[0] == ':' && port.len <= 6 && digits_only((struct str){port.p + 1, port.len - 1}));
}

/* Reduces absolute-form to origin-form (RFC 9112, 3.2.2): the authority must be the one that Host names. */
static enum http_parse_result reduce_target(struct http_parse *p, struct http_req *r)
{
    struct str t = r->target;
    if (t.len && t.p[0] == '/')
        return HTTP_PARSE_DONE;
    if (r->method == HTTP_M_OPTIONS && str_eq(t, STR("*")))
        return HTTP_PARSE_DONE;
    size_t skip = t.len >= 7 && str_ieq((struct str){t.p, 7}, STR("http://"))    ? 7
                  : t.len >= 8 && str_ieq((struct str){t.p, 8}, STR("https://")) ? 8
                                                                                 : 0;
    if (!skip)
        return refuse(p, 400, "bad request target");
    size_t end = skip;
    while (end < t.len && t.p[end] != '/' && t.p[end] != '?')
        end++;
    if (!str_ieq((struct str){t.p + skip, end - skip}, r->host))
        return refuse(p, 400, "the request target and Host name different hosts");
    if (end < t.len && t.p[end] == '/') {
        r->target = (struct str){t.p + end, t.len - end};
        return HTTP_PARSE_DONE;
    }
    p->text[t.p + end - 1 - p->text] = '/'; /* the authority's last byte: Host has its own copy */
    r->target = (struct str){t.p + end - 1, t.len - end + 1};
    return HTTP_PARSE_DONE;
}

static enum http_parse_result split_target(struct http_parse *p, struct http_req *r)
{
    enum http_parse_result result = reduce_target(p, r);
    if (result != HTTP_PARSE_DONE)
        return result;
    if (memchr(r->target.p, '#', r->target.len))
        return refuse(p, 400, "a fragment in the request target");
    const char *mark = memchr(r->target.p, '?', r->target.len);
    r->path = r->target;
    if (mark) {
        r->path.len = (size_t)(mark - r->target.p);
        r->query = (struct str){mark + 1, r->target.len - r->path.len - 1};
    }
    return HTTP_PARSE_DONE;
}

static enum http_parse_result understand(struct http_parse *p, struct http_req *r, const struct http_limits *limits)
{
    struct seen seen = {0};
    enum http_parse_result result = HTTP_PARSE_DONE;
    for (size_t i = 0; i < r->header_count && result == HTTP_PARSE_DONE; i++)
        result = read_header(p, r, &r->headers[i], &seen);
    if (result != HTTP_PARSE_DONE)
        return result;
    if (seen.encoding && (seen.length || r->http10))
        return refuse(p, 400, "Transfer-Encoding beside Content-Length or in HTTP/1.0");
    if (seen.host ? !host_ok(r->host) : !r->http10)
        return refuse(p, 400, seen.host ? "bad Host header" : "no Host header");
    r->keep_alive = !seen.close && (!r->http10 || seen.keep);
    if ((result = split_target(p, r)) != HTTP_PARSE_DONE)
        return result;
    if (r->content_length > 0 && (uint64_t)r->content_length > limits->body_bytes)
        return refuse(p, 413, "the body is larger than is taken here");
    if (!r->chunked && r->content_length < 0)
        r->expect_continue = false; /* nothing to wait for; with "Content-Length: 0" botocore waits all the same */
    return HTTP_PARSE_DONE;
}

static enum http_parse_result head_complete(struct http_parse *p, struct http_req *r, const struct http_limits *limits)
{
    p->text[p->len] = 0;
    enum http_parse_result result = check_version(p, r);
    if (result != HTTP_PARSE_DONE)
        return result;
    r->headers = arena_alloc(&r->arena, MAX_OF(p->header_count, 1u) * sizeof *r->headers);
    if (!r->headers)
        return refuse(p, 503, "out of memory");
    result = run_llhttp(p, r);
    return result == HTTP_PARSE_DONE ? understand(p, r, limits) : result;
}

enum http_parse_result http_parse_feed(struct http_parse *p, struct http_req *r, const struct http_limits *limits,
                                       const uint8_t *in, size_t n, size_t *ret_used)
{
    size_t room = p->len < limits->head_bytes ? limits->head_bytes - p->len : 0;
    size_t fit = MIN_OF(n, room);
    bool start = p->state <= S_START_LF;
    size_t used = scan(p, in, fit, limits);
    *ret_used = used;
    size_t blank = 0; /* leading empty lines are not part of the text */
    while (start && blank < used && (in[blank] == '\r' || in[blank] == '\n'))
        blank++;
    if (!text_add(p, &r->arena, in + blank, used - blank))
        return refuse(p, 503, "out of memory");
    if (p->header_count > limits->header_count)
        return refuse(p, 431, "too many headers");
    if (p->state == S_DONE)
        return head_complete(p, r, limits);
    if (used < fit)
        return refuse(p, 400, wrong_byte(p->state, in[used]));
    if (fit < n || room == 0)
        return p->state <= S_VERSION ? refuse(p, 414, "the request line is too long")
                                     : refuse(p, 431, "the head is too long");
    return HTTP_PARSE_MORE;
}
