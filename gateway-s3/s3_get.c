/* GetObject and HeadObject. The row is fetched, conditions are judged, the range is cut, and only when the first block
 * has been read and verified does the status line leave. Then one unit is read, sent, and the next one read when it has
 * left: a slow reader holds one unit of memory. What fails after the status line resets the connection. */
#include "gateway-s3/s3_object.h"
#include "gateway-s3/s3_range.h"
#include <stdio.h>

struct get {
    bool head_only;
    const Pb__Object *object;
    struct str inline_data;
    const Pb__Part *part; /* partNumber was asked for */
    int status;
    struct s3_range ranges[S3_RANGES_MAX];
    unsigned count, at;
    uint64_t left; /* of ranges[at] */
    uint64_t length;
    struct client_read *read;
    struct str heads[S3_RANGES_MAX], tail; /* multipart/byteranges */
    struct slice first;                    /* waits for a part's head to leave */
};

static void cleanup(struct s3_request *s)
{
    struct get *g = s->state;
    if (g->read)
        client_read_free(g->read);
    if (g->first.buf)
        buf_unref(g->first.buf);
}

/* ---- what to send ---- */

static void conditions_of(struct s3_request *s, struct s3_conditions *c)
{
    c->if_match = s3_header(s, "If-Match");
    c->if_none_match = s3_header(s, "If-None-Match");
    c->if_modified_since = s3_header(s, "If-Modified-Since");
    c->if_unmodified_since = s3_header(s, "If-Unmodified-Since");
}

static void reply_not_modified(struct s3_request *s, const Pb__Object *o)
{
    s->error = S3_NotModified;
    s3_object_headers(s, o);
    s3_reply_head(s, 304, UINT64_MAX);
}

/* False: answered. */
static bool judge_conditions(struct s3_request *s, const Pb__Object *o)
{
    struct s3_conditions c;
    conditions_of(s, &c);
    switch (s3_conditions_judge(&c, str_c(o->etag), o->mtime_ms / 1000, s->now_ms / 1000)) {
    case S3_CONDITIONS_NOT_MODIFIED:
        reply_not_modified(s, o);
        return false;
    case S3_CONDITIONS_FAILED:
        s3_extra(s, "Condition", c.if_match.p ? STR("If-Match") : STR("If-Unmodified-Since"));
        s3_fail(s, S3_PreconditionFailed);
        return false;
    case S3_CONDITIONS_PASS:
        break;
    }
    return true;
}

/* Part N is the N-th part of the object, whatever number it was uploaded under: SDKs count from 1 to
 * x-amz-mp-parts-count. */
static bool choose_part(struct s3_request *s, struct get *g, struct str number)
{
    uint64_t want, offset = 0;
    if (str_u64(number, &want) != 0 || want < 1 || want > 10000) {
        s3_invalid_argument(s, "partNumber", number, "Part number must be an integer between 1 and 10000, inclusive");
        return false;
    }
    if (s3_header(s, "Range").p) {
        s3_fail_text(s, S3_InvalidRequest, "Cannot specify both Range header and partNumber query parameter");
        return false;
    }
    g->ranges[0] = (struct s3_range){0, g->object->size};
    bool found = g->object->n_parts == 0 && want == 1;
    for (size_t i = 0; i < g->object->n_parts && !found; i++) {
        const Pb__Part *p = g->object->parts[i];
        found = i + 1 == want;
        g->ranges[0] = (struct s3_range){offset, p->size};
        g->part = found ? p : NULL;
        offset += p->size;
    }
    if (!found) {
        s3_extra(s, "PartNumberRequested", number);
        s3_fail(s, S3_InvalidPartNumber);
        return false;
    }
    g->count = g->ranges[0].length ? 1 : 0;
    g->status = g->count ? 206 : 200;
    return true;
}

/* Fills ranges and status. False: answered. */
static bool choose_bytes(struct s3_request *s, struct get *g)
{
    struct str number = s3_param_value(s, "partNumber"), range = s3_header(s, "Range");
    struct str if_range = s3_header(s, "If-Range");
    const Pb__Object *o = g->object;
    if (number.p)
        return choose_part(s, g, number);
    if (range.p && if_range.p && !s3_if_range(if_range, str_c(o->etag), o->mtime_ms / 1000))
        range = STR_NONE;
    switch (s3_range_parse(range, o->size, g->ranges, &g->count)) {
    case S3_RANGE_OK:
        g->status = 206;
        return true;
    case S3_RANGE_UNSATISFIABLE:
        s->object_size = o->size;
        s3_extra(s, "RangeRequested", range);
        s3_extra(s, "ActualObjectSize", str_c(arena_printf(&s->arena, "%llu", (unsigned long long)o->size)));
        s3_fail(s, S3_InvalidRange);
        return false;
    case S3_RANGE_NONE:
        break;
    }
    g->status = 200;
    g->ranges[0] = (struct s3_range){0, o->size};
    g->count = o->size ? 1 : 0;
    return true;
}

/* ---- headers ---- */

/* Content-Type moves into the parts; each part says where it belongs (RFC 9110, 14.6). */
static bool multipart_heads(struct s3_request *s, struct get *g)
{
    uint8_t random[12];
    char boundary[25];
    struct str type = STR("binary/octet-stream");
    random_bytes(random, sizeof random);
    hex_encode(random, sizeof random, boundary);
    for (size_t i = 0; i < s->headers.count; i++) {
        struct http_header *h = &s->headers.items[i];
        if (str_ieq(h->name, STR("Content-Type"))) {
            type = h->value;
            h->value = str_c(arena_printf(&s->r->arena, "multipart/byteranges; boundary=%s", boundary));
        }
    }
    g->length = 0;
    for (unsigned i = 0; i < g->count; i++) {
        const struct s3_range *r = &g->ranges[i];
        g->heads[i] = str_c(arena_printf(
            &s->arena, "%s--%s\r\nContent-Type: " STR_FMT "\r\nContent-Range: bytes %llu-%llu/%llu\r\n\r\n",
            i ? "\r\n" : "", boundary, STR_ARG(type), (unsigned long long)r->first,
            (unsigned long long)(r->first + r->length - 1), (unsigned long long)g->object->size));
        if (!g->heads[i].p)
            return false;
        g->length += g->heads[i].len + r->length;
    }
    g->tail = str_c(arena_printf(&s->arena, "\r\n--%s--\r\n", boundary));
    g->length += g->tail.len;
    return g->tail.p != NULL;
}

static bool build_headers(struct s3_request *s, struct get *g)
{
    const Pb__Object *o = g->object;
    bool whole = g->status == 200;
    s3_object_headers(s, o);
    if (str_ieq(s3_header(s, "x-amz-checksum-mode"), STR("ENABLED"))) {
        if (g->part)
            s3_checksum_headers(s, g->part->checksums, g->part->n_checksums, 0);
        else if (whole || s3_param(s, "partNumber"))
            s3_checksum_headers(s, o->checksums, o->n_checksums, o->n_parts);
    }
    if (s3_param(s, "partNumber") && o->n_parts)
        s3_header_addf(s, "x-amz-mp-parts-count", "%zu", o->n_parts);
    if (g->count > 1)
        return multipart_heads(s, g);
    g->length = g->count ? g->ranges[0].length : 0;
    if (!whole)
        s3_header_addf(s, "Content-Range", "bytes %llu-%llu/%llu", (unsigned long long)g->ranges[0].first,
                       (unsigned long long)(g->ranges[0].first + g->length - 1), (unsigned long long)o->size);
    return true;
}

/* ---- sending ---- */

static void next_unit(struct s3_request *s);
static void next_range(struct s3_request *s);
static void on_sent(struct http_req *r, int err);

static void end_of_answer(struct s3_request *s)
{
    s->finished = true;
    http_send_end(s->r);
}

static void on_tail_sent(struct http_req *r, int err)
{
    if (err)
        s3_abort(r->user);
    else
        end_of_answer(r->user);
}

static void send_first(struct s3_request *s)
{
    struct get *g = s->state;
    struct slice unit = g->first;
    g->first = (struct slice){0};
    http_send(s->r, unit, on_sent);
    buf_unref(unit.buf);
}

static void on_part_head_sent(struct http_req *r, int err)
{
    struct s3_request *s = r->user;
    s3_enter(s);
    if (err)
        s3_abort(s);
    else
        send_first(s);
    s3_leave(s);
}

static void send_on(struct s3_request *s)
{
    struct get *g = s->state;
    if (g->left)
        next_unit(s);
    else if (++g->at < g->count)
        next_range(s);
    else if (g->tail.len)
        http_send_copy(s->r, g->tail.p, g->tail.len, on_tail_sent);
    else
        end_of_answer(s);
}

static void on_sent(struct http_req *r, int err)
{
    struct s3_request *s = r->user;
    s3_enter(s);
    if (err)
        s3_abort(s);
    else
        send_on(s);
    s3_leave(s);
}

static void on_unit(void *ctx, int err, struct slice unit)
{
    struct s3_request *s = ctx;
    struct get *g = s->state;
    s3_enter(s);
    if (s3_gone(s)) {
        buf_unref(unit.buf);
    } else if (err || unit.len == 0 || unit.len > g->left) {
        if (unit.buf)
            buf_unref(unit.buf);
        s3_fail(s, err ? s3_error_of(err) : S3_InternalError);
    } else {
        bool range_begins = g->left == g->ranges[g->at].length;
        if (!http_replied(s->r))
            http_reply_start(s->r, g->status, &s->headers, g->length);
        g->left -= unit.len;
        g->first = unit;
        if (range_begins && g->heads[g->at].len)
            http_send_copy(s->r, g->heads[g->at].p, g->heads[g->at].len, on_part_head_sent);
        else
            send_first(s);
    }
    s3_leave(s);
}

static void next_unit(struct s3_request *s)
{
    struct get *g = s->state;
    client_read_next(g->read, on_unit, s);
}

static void next_range(struct s3_request *s)
{
    struct get *g = s->state;
    const struct s3_range *range = &g->ranges[g->at];
    if (g->read)
        client_read_free(g->read);
    g->read = NULL;
    g->left = range->length;
    int err = client_read_open(s->g->client, g->object, g->inline_data, range->first, range->length, &g->read);
    if (err)
        s3_fail(s, s3_error_of(err));
    else
        next_unit(s);
}

/* ---- the row has come ---- */

static void on_object(struct s3_request *s, int status, void *rep)
{
    struct get *g = s->state;
    if (s3_gone(s))
        return;
    const Pb__ObjectGetRep *got = status == 0 ? rep : NULL;
    if (!got || !got->object) {
        s3_fail(s, status ? s3_error_of(status) : S3_InternalError);
        return;
    }
    g->object = got->object;
    g->inline_data = (struct str){(const char *)got->inline_data.data, got->inline_data.len};
    if (!judge_conditions(s, g->object) || !choose_bytes(s, g))
        return;
    if (!build_headers(s, g))
        s3_fail(s, S3_InternalError);
    else if (g->head_only)
        s3_reply_head(s, g->status, g->length);
    else if (g->count == 0)
        s3_reply_empty(s, g->status);
    else
        next_range(s);
}

static void begin(struct s3_request *s, bool head_only)
{
    struct get *g = arena_alloc(&s->arena, sizeof *g);
    if (!g) {
        s3_fail(s, S3_InternalError);
        return;
    }
    g->head_only = head_only;
    s->state = g;
    s->cleanup = cleanup;
    if (s3_version_ok(s) && s3_overrides_ok(s))
        s3_object_find(s, s->route.bucket, s->route.key, !head_only, on_object);
}

void s3_get_object(struct s3_request *s)
{
    begin(s, false);
}

void s3_head_object(struct s3_request *s)
{
    begin(s, true);
}
