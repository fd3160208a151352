/* fake_req - a struct http_req from its text, without a server: "METHOD target\nName: value\n...". Values are trimmed
 * as the HTTP parser trims them. For unit tests and fuzzers; limit: FAKE_REQ_HEADERS. */
#pragma once
#include "common/http.h"

#define FAKE_REQ_HEADERS 512

static inline enum http_method fake_req_method(struct str m)
{
    static const struct {
        const char *text;
        enum http_method method;
    } rows[] = {{"GET", HTTP_M_GET},   {"HEAD", HTTP_M_HEAD},     {"PUT", HTTP_M_PUT},
                {"POST", HTTP_M_POST}, {"DELETE", HTTP_M_DELETE}, {"OPTIONS", HTTP_M_OPTIONS}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (str_eq(m, str_c(rows[i].text)))
            return rows[i].method;
    return HTTP_M_OTHER;
}

/* Borrows text; arena_fini(&r->arena) afterwards. */
static inline void fake_req(struct http_req *r, struct str text)
{
    struct str line = STR_NONE, rest = text, method = STR_NONE;
    memset(r, 0, sizeof *r);
    arena_init(&r->arena, HTTP_ARENA_BYTES);
    r->content_length = -1;
    r->headers = arena_alloc(&r->arena, FAKE_REQ_HEADERS * sizeof *r->headers);
    if (!r->headers || !str_split(&rest, '\n', &line))
        return;
    if (str_split(&line, ' ', &method))
        r->method_text = method;
    r->method = fake_req_method(r->method_text);
    r->target = line;
    r->path = line;
    const char *mark = line.len ? memchr(line.p, '?', line.len) : NULL;
    if (mark) {
        r->path.len = (size_t)(mark - line.p);
        r->query = (struct str){mark + 1, line.len - r->path.len - 1};
    }
    while (str_split(&rest, '\n', &line) && r->header_count < FAKE_REQ_HEADERS) {
        struct str name = STR_NONE, value = line;
        if (!str_split(&value, ':', &name))
            continue;
        r->headers[r->header_count++] = (struct http_header){name, str_trim(value)};
        if (str_ieq(name, STR("host")))
            r->host = str_trim(value);
        uint64_t length;
        if (str_ieq(name, STR("content-length")) && str_u64(str_trim(value), &length) == 0 && length <= INT64_MAX)
            r->content_length = (int64_t)length;
        r->chunked |= str_ieq(name, STR("transfer-encoding"));
    }
}
