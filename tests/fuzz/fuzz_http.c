/* fuzz_http: heads and bodies of pipelined requests. The input is read once whole and once in pieces whose sizes it
 * chooses itself, with an appetite it chooses itself; both readings must agree in every event and every byte. What is
 * accepted must also be what it claims: one Host, one framing, no control bytes. */
#include "common/http_parse.h"
#include "common/xxh.h"
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define EVENTS 64

struct event {
    int kind; /* head done, refused, body end, body error */
    uint64_t a, b;
};
struct reading {
    struct event events[EVENTS];
    unsigned count;
    uint64_t body_hash, body_bytes;
};

static void note(struct reading *r, int kind, uint64_t a, uint64_t b)
{
    if (r->count < EVENTS)
        r->events[r->count++] = (struct event){kind, a, b};
}

static void must(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "broken: %s\n", what);
        abort();
    }
}

static void check_head(const struct http_req *r)
{
    struct str host[2];
    must(http_header_all(r, "Host", host, 2) <= 1, "one Host");
    must(r->http10 || r->host.len > 0, "a Host");
    must(!(r->chunked && r->content_length >= 0), "one framing");
    must(http_header_all(r, "Content-Length", host, 2) == (r->content_length >= 0), "Content-Length is understood");
    must(r->path.len > 0 && (r->path.p[0] == '/' || str_eq(r->path, STR("*"))), "origin form");
    for (size_t i = 0; i < r->target.len; i++)
        must((uint8_t)r->target.p[i] > ' ' && (uint8_t)r->target.p[i] < 0x7f, "target bytes");
    for (size_t i = 0; i < r->header_count; i++) {
        struct http_header h = r->headers[i];
        must(h.name.len > 0 && h.value.p, "a name and a value");
        for (size_t k = 0; k < h.value.len; k++)
            must((uint8_t)h.value.p[k] >= ' ' || h.value.p[k] == '\t', "value bytes");
    }
}

/* Hands out the rest of the input, or a piece of it; copied, so that ASan guards both ends. */
struct source {
    const uint8_t *p;
    size_t len, at;
    uint64_t seed; /* 0: whole */
    uint8_t *piece;
};

static size_t next_piece(struct source *s)
{
    size_t n = s->len - s->at;
    if (s->seed) {
        s->seed = s->seed * 6364136223846793005u + 1442695040888963407u;
        size_t cut = (size_t)(s->seed >> 33) % ((s->seed >> 60) ? 9 : 300) + 1;
        n = MIN_OF(n, cut);
    }
    free(s->piece);
    s->piece = malloc(n ? n : 1);
    memcpy(s->piece, s->p + s->at, n);
    return n;
}

/* True: the body ended well. */
static bool read_body(struct source *s, const struct http_req *r, const struct http_limits *limits, struct reading *out)
{
    struct http_frame f;
    if (!http_frame_init(&f, r, limits->body_bytes))
        return true;
    for (;;) {
        size_t n = next_piece(s), skip, have;
        int step = http_frame_next(&f, s->piece, n, &skip, &have);
        if (step < 0) {
            note(out, 3, (uint64_t)-step, out->body_bytes);
            return false;
        }
        must(skip + have <= n && (step != HTTP_FRAME_DATA || have > 0), "frames stay in the input");
        if (s->seed)
            have = MIN_OF(have, (size_t)(s->seed >> 40 & 15) + 1);
        for (size_t i = 0; i < have; i++)
            out->body_hash = (out->body_hash ^ s->piece[skip + i]) * UINT64_C(1099511628211);
        out->body_bytes += have;
        must(out->body_bytes <= s->len && f.total <= limits->body_bytes, "body within its limit");
        http_frame_eat(&f, have);
        s->at += skip + have;
        if (step == HTTP_FRAME_END) {
            note(out, 2, s->at, out->body_bytes);
            return true;
        }
        if (s->at == s->len && step == HTTP_FRAME_MORE)
            return false;
    }
}

static uint64_t head_hash(const struct http_req *r)
{
    uint64_t h = xxh64of(r->target.p, r->target.len, r->method);
    for (size_t i = 0; i < r->header_count; i++) {
        h = xxh64of(r->headers[i].name.p, r->headers[i].name.len, h);
        h = xxh64of(r->headers[i].value.p, r->headers[i].value.len, h);
    }
    return h ^ (uint64_t)r->content_length ^ (uint64_t)r->chunked << 40 ^ (uint64_t)r->keep_alive << 41;
}

/* True: another request may follow. */
static bool read_request(struct source *s, const struct http_limits *limits, struct reading *out)
{
    struct http_req r = {.content_length = -1};
    struct http_parse p;
    enum http_parse_result result;
    bool more = false;
    arena_init(&r.arena, MIB);
    http_parse_init(&p);
    do {
        size_t n = next_piece(s), used;
        result = http_parse_feed(&p, &r, limits, s->piece, n, &used);
        must(used <= n && (result != HTTP_PARSE_MORE || used == n), "bytes are accounted for");
        s->at += used;
    } while (result == HTTP_PARSE_MORE && s->at < s->len);
    if (result == HTTP_PARSE_REFUSED) {
        must(p.status >= 400 && p.reason, "a refusal has a status and a reason");
        note(out, 1, (uint64_t)p.status, 0);
    } else if (result == HTTP_PARSE_DONE) {
        check_head(&r);
        note(out, 0, head_hash(&r), s->at);
        more = read_body(s, &r, limits, out) && s->at < s->len;
    }
    arena_fini(&r.arena);
    return more;
}

static void read_all(const uint8_t *data, size_t size, uint64_t seed, struct reading *out)
{
    struct http_limits limits = http_limits_default;
    struct source s = {.p = data, .len = size, .seed = seed};
    limits.head_bytes = 2000;
    limits.header_count = 20;
    limits.body_bytes = 100000;
    *out = (struct reading){.body_hash = 1469598103934665603u};
    for (unsigned i = 0; i < EVENTS / 2 && read_request(&s, &limits, out); i++)
        ;
    free(s.piece);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reading whole, pieces;
    if (size < 1)
        return 0;
    read_all(data + 1, size - 1, 0, &whole);
    read_all(data + 1, size - 1, (uint64_t)data[0] * 7919 + 1, &pieces);
    must(whole.count == pieces.count, "as many events");
    for (unsigned i = 0; i < whole.count; i++)
        must(memcmp(&whole.events[i], &pieces.events[i], sizeof whole.events[i]) == 0, "the same events");
    must(whole.body_hash == pieces.body_hash && whole.body_bytes == pieces.body_bytes, "the same body");
    uint64_t s;
    http_date_parse((struct str){(const char *)data, size}, &s);
    return 0;
}
