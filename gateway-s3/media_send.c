/* The bytes of a media answer. One unit is read, verified, sent, and the next one is read when it has left, so a slow
 * player holds one unit of memory. The status line waits for the first unit: what is not there cannot be promised. What
 * fails later resets the connection, because a short clean end would be taken for the whole file. */
#include "gateway-s3/media_priv.h"

static void next_unit(struct media *m);
static void next_range(struct media *m);
static void unit_sent(struct http_req *r, int err);

void media_send_fini(struct media *m)
{
    if (m->read)
        client_read_free(m->read);
    if (m->unit.buf)
        buf_unref(m->unit.buf);
    m->read = NULL;
    m->unit = (struct slice){0};
}

/* Each part says where it belongs (RFC 9110, 14.6). The boundary is random: the file's bytes cannot contain it by plan.
 */
bool media_send_multipart(struct media *m)
{
    uint8_t random[12];
    char boundary[25];
    random_bytes(random, sizeof(random));
    hex_encode(random, sizeof(random), boundary);
    m->length = 0;
    for (unsigned i = 0; i < m->count; i++) {
        const struct s3_range *range = &m->ranges[i];
        m->heads[i] = str_c(arena_printf(
            &m->arena, "%s--%s\r\nContent-Type: " STR_FMT "\r\nContent-Range: bytes %llu-%llu/%llu\r\n\r\n",
            i ? "\r\n" : "", boundary, STR_ARG(m->type), (unsigned long long)range->first,
            (unsigned long long)(range->first + range->length - 1), (unsigned long long)m->object->size));
        if (!m->heads[i].p)
            return false;
        m->length += m->heads[i].len + range->length;
    }
    m->tail = str_c(arena_printf(&m->arena, "\r\n--%s--\r\n", boundary));
    m->type = str_c(arena_printf(&m->arena, "multipart/byteranges; boundary=%s", boundary));
    m->length += m->tail.len;
    return m->tail.p && m->type.p;
}

static void tail_sent(struct http_req *r, int err)
{
    if (err)
        http_abort(r);
    else
        http_send_end(r);
}

static void send_unit(struct media *m)
{
    struct slice unit = m->unit;
    m->unit = (struct slice){0};
    http_send(m->r, unit, unit_sent);
    buf_unref(unit.buf);
}

static void head_sent(struct http_req *r, int err)
{
    if (err)
        http_abort(r);
    else
        send_unit(r->user);
}

static void unit_sent(struct http_req *r, int err)
{
    struct media *m = r->user;
    if (err)
        http_abort(r);
    else if (m->left)
        next_unit(m);
    else if (++m->at < m->count)
        next_range(m);
    else if (m->tail.len)
        http_send_copy(r, m->tail.p, m->tail.len, tail_sent);
    else
        http_send_end(r);
}

static void unit_read(void *ctx, int err, struct slice unit)
{
    struct media *m = ctx;
    if (err || unit.len == 0 || unit.len > m->left) {
        if (unit.buf)
            buf_unref(unit.buf);
        media_fail_status(m, err ? err : E_CORRUPT);
        return;
    }
    bool range_begins = m->left == m->ranges[m->at].length;
    m->left -= unit.len;
    m->unit = unit;
    if (!http_replied(m->r))
        http_reply_start(m->r, m->status, &m->headers, m->length);
    if (range_begins && m->heads[m->at].len)
        http_send_copy(m->r, m->heads[m->at].p, m->heads[m->at].len, head_sent);
    else
        send_unit(m);
}

static void next_unit(struct media *m)
{
    client_read_next(m->read, unit_read, m);
}

static void next_range(struct media *m)
{
    const struct s3_range *range = &m->ranges[m->at];
    if (m->read)
        client_read_free(m->read);
    m->read = NULL;
    m->left = range->length;
    int err = client_read_open(m->g->client, m->object, m->inline_data, range->first, range->length, &m->read);
    if (err)
        media_fail_status(m, err);
    else
        next_unit(m);
}

void media_send(struct media *m)
{
    assert(m->count > 0 && m->at == 0);
    next_range(m);
}
