/* Bytes come from the connection, pass the decoder that authentication named, and land in a write's buffer or in
 * memory. Where there is no room, fewer bytes are taken than were offered: the connection then stops reading
 * (back-pressure) until the write has room again. After the last byte every promise is compared: length, Content-MD5,
 * payload SHA-256, checksum in header or trailer. Only then done(S3_OK). */
#include "gateway-s3/s3_request.h"
#include <stdio.h>
#include <stdlib.h>

#define DECODE_STEP (16 * KIB)

static void set_destroy(void *ctx)
{
    checksum_set_fini(ctx);
    free(ctx);
}

static bool aws_chunked(const struct sigv4 *sig)
{
    return sig->payload != PAYLOAD_SHA256 && sig->payload != PAYLOAD_UNSIGNED;
}

/* The body is over for us, well or badly; done runs at most once. */
static void finish(struct s3_request *s, enum s3_error e)
{
    struct s3_body *b = &s->body;
    if (b->ended)
        return;
    b->ended = true;
    if (b->error == S3_OK)
        b->error = e;
    b->done(s, b->error);
}

/* ---- the end: comparing ---- */

static void sha256_extras(struct s3_request *s, const uint8_t computed[32])
{
    char hex[65];
    hex_encode(s->sig.body_sha256, 32, hex);
    s3_extra(s, "ClientComputedContentSHA256", str_c(hex));
    hex_encode(computed, 32, hex);
    s3_extra(s, "S3ComputedContentSHA256", str_c(hex));
}

static enum s3_error compare(struct s3_request *s)
{
    struct s3_body *b = &s->body;
    uint8_t sha256[32] = {0};
    enum s3_error e = b->chunk             ? awschunk_checksum(b->chunk, &b->want)
                      : b->want.in_trailer ? S3_MalformedTrailerError
                                           : S3_OK;
    if (e != S3_OK)
        return e;
    put_be64(b->crc64, b->set->crc64);
    checksum_set_final(b->set, b->md5, sha256, b->value);
    b->kind = b->set->kind;
    if (b->set->want_sha256 && !bytes_eq_ct(sha256, s->sig.body_sha256, 32)) {
        sha256_extras(s, sha256);
        return S3_XAmzContentSHA256Mismatch;
    }
    if (b->want.md5 && !bytes_eq_ct(b->md5, b->want.md5_value, 16))
        return S3_BadDigest;
    if (b->want.has_value && !bytes_eq_ct(b->value, b->want.value, checksum_len(b->kind)))
        return S3_BadDigest;
    return S3_OK;
}

static void on_written(void *ctx, int err, const struct client_write_result *result)
{
    struct s3_request *s = ctx;
    struct s3_body *b = &s->body;
    b->result = result;
    finish(s, err ? s3_error_of(err) : compare(s));
    s3_leave(s);
}

static enum s3_error check_length(struct s3_request *s)
{
    struct s3_body *b = &s->body;
    if (b->chunk) {
        enum s3_error e = awschunk_end(b->chunk);
        if (e != S3_OK)
            return e;
    }
    return b->declared != UINT64_MAX && b->received != b->declared ? S3_IncompleteBody : S3_OK;
}

static void on_end(struct http_req *r, int err)
{
    struct s3_request *s = r->user;
    struct s3_body *b = &s->body;
    if (b->ended)
        return;
    if (err && err != -EPROTO && err != -EMSGSIZE) { /* nobody is left to answer */
        b->ended = true;
        b->error = s->error = err == -ETIMEDOUT ? S3_RequestTimeout : S3_IncompleteBody;
        s3_abort(s);
        return;
    }
    s3_enter(s);
    enum s3_error e = err == -EMSGSIZE ? S3_EntityTooLarge : err ? S3_IncompleteBody : check_length(s);
    if (e == S3_OK && b->write) {
        s3_enter(s);
        client_write_finish(b->write, on_written, s);
    } else {
        if (e == S3_OK) {
            checksum_set_update(b->set, (const uint8_t *)b->memory.p, b->memory.len);
            e = compare(s);
        }
        finish(s, e);
    }
    s3_leave(s);
}

/* ---- bytes ---- */

static void on_space(void *ctx)
{
    struct s3_request *s = ctx;
    if (s3_gone(s) || s->body.ended)
        return;
    int err = client_write_status(s->body.write);
    s3_enter(s);
    if (err)
        finish(s, s3_error_of(err));
    else
        http_body_resume(s->r);
    s3_leave(s);
}

/* One step from in to out; both lengths are set to what was done. */
static enum s3_error decode(struct s3_body *b, const uint8_t *in, size_t *in_len, uint8_t *out, size_t *out_len)
{
    enum s3_error e = S3_OK;
    if (b->chunk) {
        e = awschunk_decode(b->chunk, in, in_len, out, out_len);
    } else {
        *in_len = *out_len = MIN_OF(*in_len, *out_len);
        memcpy(out, in, *out_len);
    }
    b->received += *out_len;
    if (e == S3_OK && b->received > b->max)
        return b->write ? S3_EntityTooLarge : S3_MaxMessageLengthExceeded;
    if (e == S3_OK && b->received > b->declared)
        return S3_IncompleteBody;
    return e;
}

static enum s3_error step_memory(struct s3_request *s, const uint8_t *in, size_t *in_len)
{
    struct s3_body *b = &s->body;
    uint8_t out[DECODE_STEP];
    size_t out_len = sizeof out;
    enum s3_error e = decode(b, in, in_len, out, &out_len);
    if (e != S3_OK)
        return e;
    if (s->g->memory_bytes + out_len > GATEWAY_MEMORY_MAX)
        return S3_SlowDown;
    sbuf_add(&b->memory, out, out_len);
    if (b->memory.err)
        return S3_InternalError;
    s->g->memory_bytes += out_len;
    return S3_OK;
}

static enum s3_error step_write(struct s3_request *s, const uint8_t *in, size_t *in_len)
{
    struct s3_body *b = &s->body;
    uint8_t *out = NULL;
    size_t out_len = 0;
    client_write_space(b->write, &out, &out_len, on_space, s);
    if (out_len == 0) {
        *in_len = 0;
        return S3_OK;
    }
    enum s3_error e = decode(b, in, in_len, out, &out_len);
    if (e == S3_OK && out_len)
        client_write_advance(b->write, out_len);
    return e;
}

static size_t on_data(struct http_req *r, const uint8_t *p, size_t n)
{
    struct s3_request *s = r->user;
    struct s3_body *b = &s->body;
    size_t used = 0;
    if (b->ended)
        return n;
    s3_enter(s);
    while (used < n && !b->ended) {
        size_t take = n - used;
        enum s3_error e = b->write ? step_write(s, p + used, &take) : step_memory(s, p + used, &take);
        if (e != S3_OK) {
            finish(s, e);
            used = n;
            break;
        }
        used += take;
        if (take == 0)
            break;
    }
    s3_leave(s);
    return used;
}

static const struct http_body body_reader = {.on_data = on_data, .on_end = on_end};

/* ---- the beginning ---- */

static enum s3_error declared_length(struct s3_request *s)
{
    struct s3_body *b = &s->body;
    struct str decoded = s3_header(s, "x-amz-decoded-content-length");
    b->declared = UINT64_MAX;
    if (aws_chunked(&s->sig)) {
        if (decoded.p && str_u64(decoded, &b->declared) != 0)
            return S3_InvalidArgument;
    } else if (s->r->content_length >= 0) {
        b->declared = (uint64_t)s->r->content_length;
    } else if (!s->r->chunked) {
        if (b->max == S3_OBJECT_MAX)
            return S3_MissingContentLength;
        b->declared = 0;
    }
    if (b->declared == UINT64_MAX || b->declared <= b->max)
        return S3_OK;
    if (b->max != S3_OBJECT_MAX)
        return S3_MaxMessageLengthExceeded;
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)b->declared);
    s3_extra(s, "ProposedSize", str_c(text));
    s3_extra(s, "MaxSizeAllowed", STR("5368709120"));
    return S3_EntityTooLarge;
}

static enum s3_error open_set(struct s3_request *s, enum checksum_kind fallback)
{
    struct s3_body *b = &s->body;
    enum checksum_kind kind = b->want.kind != CHECKSUM_NONE ? b->want.kind : fallback;
    b->set = calloc(1, sizeof *b->set);
    if (!b->set)
        return S3_InternalError;
    if (checksum_set_init(b->set, kind, s->sig.payload == PAYLOAD_SHA256) == 0) {
        b->set->also_crc64 = b->also_crc64;
        return S3_OK;
    }
    free(b->set);
    b->set = NULL;
    return S3_InternalError;
}

static enum s3_error prepare(struct s3_request *s, uint64_t max, enum checksum_kind fallback,
                             void (*done)(struct s3_request *s, enum s3_error e))
{
    struct s3_body *b = &s->body;
    assert(!b->started && max > 0);
    b->max = max;
    b->done = done;
    enum s3_error e = S3_OK;
    if (s->route.op != &s3_ops[S3_OP_CompleteMultipartUpload]) /* there x-amz-checksum-* is the whole object's */
        e = checksum_wanted(s->r, &b->want);
    if (e == S3_OK)
        e = declared_length(s);
    if (e != S3_OK)
        return e;
    if (aws_chunked(&s->sig)) {
        struct awschunk *chunk = calloc(1, sizeof *chunk);
        if (!chunk || awschunk_init(chunk, &s->sig) != 0) {
            free(chunk);
            return S3_InternalError;
        }
        b->chunk = chunk;
    }
    b->started = true;
    return open_set(s, fallback);
}

enum s3_error s3_body_to_memory(struct s3_request *s, void (*done)(struct s3_request *s, enum s3_error e))
{
    enum s3_error e = prepare(s, s->route.op->body_max, CHECKSUM_NONE, done);
    if (e == S3_OK)
        http_body_read(s->r, &body_reader);
    return e;
}

enum s3_error s3_write_open(struct s3_request *s, uint64_t expected, bool may_inline, struct checksum_set *set,
                            struct client_write **ret_w)
{
    struct client_write_conf conf = {.expected_bytes = expected,
                                     .may_inline = may_inline,
                                     .tap = checksum_set_update,
                                     .ctx = set,
                                     .closed = set_destroy};
    int err = client_write_open(s->g->client, &conf, ret_w);
    return err ? s3_error_of(err) : S3_OK;
}

enum s3_error s3_body_to_write(struct s3_request *s, bool may_inline, enum checksum_kind fallback,
                               void (*done)(struct s3_request *s, enum s3_error e))
{
    struct s3_body *b = &s->body;
    enum s3_error e = prepare(s, S3_OBJECT_MAX, fallback, done);
    if (e == S3_OK)
        e = s3_write_open(s, b->declared, may_inline, b->set, &b->write);
    if (e == S3_OK)
        http_body_read(s->r, &body_reader);
    return e;
}

enum s3_error s3_body_form_open(struct s3_request *s, enum checksum_kind fallback,
                                void (*done)(struct s3_request *s, enum s3_error e))
{
    struct s3_body *b = &s->body;
    assert(!b->started);
    b->started = true;
    b->done = done;
    b->max = S3_OBJECT_MAX;
    b->declared = UINT64_MAX;
    enum s3_error e = checksum_wanted(s->r, &b->want);
    if (e == S3_OK)
        e = open_set(s, fallback);
    return e == S3_OK ? s3_write_open(s, UINT64_MAX, true, b->set, &b->write) : e;
}

void s3_body_form_end(struct s3_request *s)
{
    s3_enter(s);
    client_write_finish(s->body.write, on_written, s);
}

void s3_body_settled(struct s3_request *s, int status)
{
    s->body.committed = status <= 0;
}

void s3_body_forget(struct s3_request *s)
{
    s->g->memory_bytes -= s->body.memory.len;
    sbuf_fini(&s->body.memory);
}

void s3_body_fini(struct s3_request *s)
{
    struct s3_body *b = &s->body;
    if (b->write)
        client_write_free(b->write, b->committed); /* the set goes with it */
    else if (b->set)
        set_destroy(b->set);
    if (b->chunk)
        awschunk_fini(b->chunk);
    free(b->chunk);
    s3_body_forget(s);
}
