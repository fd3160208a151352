/* The steps of a request: route -> authenticate -> (operation, authentication) allowed? -> bucket row -> rights ->
 * handler. Nothing of the body is read before the handler runs, so a refusal always comes before "100 Continue". A
 * handler is a chain of callbacks; each is between s3_enter and s3_leave, and the request goes when the exchange is
 * over and nothing is owed. */
#include "gateway-s3/s3_request.h"
#include "common/log.h"
#include "common/metrics.h"
#include <stdlib.h>

static void destroy(struct s3_request *s)
{
    assert(!s->r && s->pending == 0);
    s3_slow_stop(s);
    if (s->cleanup)
        s->cleanup(s);
    s3_body_fini(s);
    sbuf_fini(&s->slow.final);
    arena_fini(&s->arena);
    gateway_leave(s->g);
    free(s);
}

void s3_enter(struct s3_request *s)
{
    s->pending++;
}

void s3_leave(struct s3_request *s)
{
    assert(s->pending > 0);
    if (--s->pending == 0 && !s->r)
        destroy(s);
}

static void record(struct s3_request *s, const struct http_req *r)
{
    const char *op = s->route.op ? s->route.op->name : "Unknown";
    uint64_t took_ns = loop_now_ns(s->g->loop) - s->started_ns;
    metric_add(M_S3_REQUESTS, op, 1);
    metric_observe_ns(M_S3_SECONDS, op, took_ns);
    if (s->error != S3_OK && s->error != S3_NotModified)
        metric_add(M_S3_ERRORS, s3_error_code(s->error), 1);
    bool ours = r->status >= 500 && s->error != S3_NotImplemented;
    log_event(ours ? LOG_WARN : LOG_DEBUG, "s3",
              "request=%s op=%s bucket=%s key=%s status=%d code=%s access_key=%s peer=%s in=%llu out=%llu ms=%llu",
              s->request_id, op, log_quote(s->route.bucket), log_quote(s->route.key), r->status,
              s->error == S3_OK ? "-" : s3_error_code(s->error), log_quote(s->access), r->peer,
              (unsigned long long)r->received_bytes, (unsigned long long)r->sent_bytes,
              (unsigned long long)(took_ns / MS_NS));
}

static void on_done(struct http_req *r)
{
    struct s3_request *s = r->user;
    record(s, r);
    s3_slow_stop(s);
    s3_enter(s);
    s->finished = true;
    s->r = NULL;
    s3_leave(s);
}

/* ---- helpers of handlers ---- */

static void on_rpc(struct rpc *rpc)
{
    struct s3_request *s = rpc->user;
    void (*then)(struct s3_request * s, int status, void *rep) = s->then;
    if (rpc->rep_payload.buf)
        buf_unref(rpc->rep_payload.buf);
    s->then = NULL;
    then(s, rpc->status, rpc->status >= 0 ? rpc->rep : NULL);
    s3_leave(s);
}

void s3_call(struct s3_request *s, enum rpc_type type, const void *req,
             void (*then)(struct s3_request *s, int status, void *rep))
{
    assert(!s->then);
    s3_enter(s);
    s->then = then;
    s->rpc = (struct rpc){.type = type, .req = req, .arena = &s->arena, .cb = on_rpc, .user = s};
    client_call(s->g->client, &s->rpc);
}

enum s3_error s3_error_of(int status)
{
    switch (status) {
    case RPC_NOT_FOUND:
        return S3_NoSuchKey;
    case RPC_NO_BUCKET:
        return S3_NoSuchBucket;
    case RPC_NO_UPLOAD:
        return S3_NoSuchUpload;
    case RPC_EXISTS:
        return S3_BucketAlreadyExists;
    case RPC_NOT_EMPTY:
        return S3_BucketNotEmpty;
    case RPC_CONDITION:
        return S3_PreconditionFailed;
    case RPC_INVALID_PART:
        return S3_InvalidPart;
    case RPC_INVALID_PART_ORDER:
        return S3_InvalidPartOrder;
    case RPC_PART_TOO_SMALL:
        return S3_EntityTooSmall;
    case RPC_CHECKSUM:
        return S3_BadDigest;
    case -ENOSPC:
        return S3_InsufficientStorage;
    case RPC_CLAIMED:
    case E_QUORUM:
    case E_DEADLINE:
    case -ECANCELED:
        return S3_ServiceUnavailable;
    case E_UNAVAILABLE:
    case E_LIMIT:
    case -EAGAIN:
        return S3_SlowDown;
    default:
        return S3_InternalError;
    }
}

bool s3_owner_expected(const struct s3_request *s, const char *header, const char *owner)
{
    struct str want = s3_header(s, header);
    return !want.p || str_eq(want, str_c(owner));
}

unsigned s3_rights(struct s3_request *s, struct str bucket, struct str owner)
{
    const struct access_key *k = control_key(s->g->control, s->access);
    return k ? control_rights(s->g->control, k, bucket, owner) : 0;
}

char *s3_text(struct s3_request *s, struct str t)
{
    return arena_copy(&s->arena, t.p, t.len);
}

ProtobufCBinaryData s3_bytes(struct str t)
{
    return (ProtobufCBinaryData){.len = t.len, .data = (uint8_t *)(uintptr_t)t.p};
}

struct str s3_header(const struct s3_request *s, const char *name)
{
    return http_header(s->r, name);
}

const struct uri_param *s3_param(const struct s3_request *s, const char *name)
{
    return uri_param(s->params, s->param_count, name);
}

struct str s3_param_value(const struct s3_request *s, const char *name)
{
    const struct uri_param *p = s3_param(s, name);
    if (!p)
        return STR_NONE;
    return p->value.p ? p->value : STR("");
}

bool s3_param_u64(struct s3_request *s, const char *name, uint64_t dflt, uint64_t max, bool clamp, uint64_t *ret)
{
    struct str v = s3_param_value(s, name);
    *ret = dflt;
    if (!v.p || v.len == 0)
        return true;
    int err = str_u64(v, ret);
    if ((err == -ERANGE || (err == 0 && *ret > max)) && clamp) {
        *ret = max;
        return true;
    }
    if (err || *ret > max) {
        s3_invalid_argument(s, name, v, "Argument must be an integer in the allowed range");
        return false;
    }
    return true;
}

bool s3_version_ok(struct s3_request *s)
{
    struct str v = s3_param_value(s, "versionId");
    if (!v.p || str_eq(v, STR("null")))
        return true;
    s3_extra(s, "Key", s->route.key);
    s3_extra(s, "VersionId", v);
    s3_fail(s, S3_NoSuchVersion);
    return false;
}

void s3_not_implemented(struct s3_request *s)
{
    s3_fail(s, S3_NotImplemented);
}

/* ---- the steps ---- */

static void run_handler(struct s3_request *s)
{
    s->route.op->handler(s);
}

static void on_bucket(struct s3_request *s, int status, void *rep)
{
    if (s3_gone(s))
        return;
    if (status) {
        if (status == RPC_NOT_FOUND || status == RPC_NO_BUCKET)
            s3_fail(s, S3_NoSuchBucket);
        else
            s3_fail(s, s3_error_of(status));
        return;
    }
    const Pb__BucketGetRep *got = rep;
    s->bucket = got->bucket;
    if (!s->bucket) {
        s3_fail(s, S3_InternalError);
        return;
    }
    unsigned need = s->route.op->rights;
    if ((s3_rights(s, s->route.bucket, str_c(s->bucket->owner)) & need) != need ||
        !s3_owner_expected(s, "x-amz-expected-bucket-owner", s->bucket->owner)) {
        s3_fail(s, S3_AccessDenied);
        return;
    }
    run_handler(s);
}

static void find_bucket(struct s3_request *s)
{
    Pb__BucketGetReq *req = arena_alloc(&s->arena, sizeof *req);
    if (!req || !(s->route.bucket.p)) {
        s3_fail(s, S3_InternalError);
        return;
    }
    pb__bucket_get_req__init(req);
    req->name = s3_text(s, s->route.bucket);
    if (!req->name) {
        s3_fail(s, S3_InternalError);
        return;
    }
    s3_call(s, RPC_BUCKET_GET, req, on_bucket);
}

static const char *secret_of(void *ctx, struct str access)
{
    struct gateway *g = ctx;
    const struct access_key *k = control_key(g->control, access);
    return k ? k->secret : NULL;
}

static unsigned auth_bit(const struct sigv4 *sig)
{
    bool streaming = sig->payload != PAYLOAD_SHA256 && sig->payload != PAYLOAD_UNSIGNED;
    if (sig->kind == SIGV4_PRESIGNED)
        return streaming ? 0 : S3_AUTH_PRESIGNED;
    if (!streaming)
        return S3_AUTH_HEADER;
    return sig->payload == PAYLOAD_UNSIGNED_TRAILER ? S3_AUTH_UNSIGNED_TRAILER : S3_AUTH_CHUNKS;
}

static void mismatch_extras(struct s3_request *s)
{
    char *hex;
    s3_extra(s, "AWSAccessKeyId", s->sig.access_key);
    s3_extra(s, "StringToSign", s->sig.string_to_sign);
    s3_extra(s, "SignatureProvided", s->sig.signature_provided);
    if ((hex = arena_alloc(&s->arena, s->sig.string_to_sign.len * 3 + 1))) {
        for (size_t i = 0; i < s->sig.string_to_sign.len; i++) {
            hex_encode(s->sig.string_to_sign.p + i, 1, hex + i * 3);
            hex[i * 3 + 2] = ' ';
        }
        s3_extra(s, "StringToSignBytes", str_trim(str_c(hex)));
    }
    s3_extra(s, "CanonicalRequest", s->sig.canonical_request);
}

static bool authenticate(struct s3_request *s)
{
    struct sigv4_conf conf = {.region = s->g->conf.region, .now_s = s->now_ms / 1000, .secret = secret_of, .ctx = s->g};
    enum s3_error e = sigv4_check(&conf, s->r, s->params, s->param_count, &s->sig);
    if (e == S3_OK) {
        const struct access_key *k = control_key(s->g->control, s->sig.access_key);
        e = k ? S3_OK : S3_InvalidAccessKeyId;
        if (k) {
            s->access = arena_str(&s->arena, str_c(k->access));
            s->creator = arena_str(&s->arena, str_c(k->creator));
            s->root = k->root;
        }
    }
    if (e != S3_OK) {
        if (e == S3_SignatureDoesNotMatch)
            mismatch_extras(s);
        else if (e == S3_InvalidAccessKeyId)
            s3_extra(s, "AWSAccessKeyId", s->sig.access_key);
        else if (e == S3_AuthorizationHeaderMalformed)
            s3_extra(s, "Region", str_c(s->g->conf.region));
        if (s->sig.headers_not_signed.len)
            s3_extra(s, "HeadersNotSigned", s->sig.headers_not_signed);
        if (s->sig.message)
            s3_fail_text(s, e, "%s", s->sig.message);
        else
            s3_fail(s, e);
        return false;
    }
    s->auth = auth_bit(&s->sig);
    if (!(s->route.op->auth & s->auth)) {
        s3_fail_text(s, S3_AccessDenied, "This operation does not allow this form of authentication");
        return false;
    }
    return true;
}

static void run(struct s3_request *s)
{
    struct http_req *r = s->r;
    if (uri_query(&s->arena, r->query, &s->params, &s->param_count) != 0) {
        s3_fail(s, S3_InvalidURI);
        return;
    }
    enum s3_error e = s3_route(&s->arena, r, str_c(s->g->conf.domain), s->params, s->param_count, &s->route);
    if (e != S3_OK) {
        s3_fail(s, e);
        return;
    }
    if (s->route.op->auth == S3_AUTH_FORM) { /* the signature is inside the body */
        run_handler(s);
        return;
    }
    if (!authenticate(s))
        return;
    bool has_row = s->route.op->target != S3_TARGET_SERVICE && s->route.op->rights;
    if (has_row)
        find_bucket(s);
    else
        run_handler(s);
}

void s3_request_start(struct gateway *g, struct http_req *r)
{
    struct s3_request *s = calloc(1, sizeof *s);
    if (!s) {
        http_reply(r, 503, NULL, STR_NONE);
        return;
    }
    uint8_t id[8], host[33];
    random_bytes(id, sizeof id);
    random_bytes(host, sizeof host);
    gateway_enter(g);
    s->g = g;
    s->r = r;
    s->started_ns = r->started_ns;
    s->now_ms = loop_clock(g->loop)->wall_ms(loop_clock(g->loop));
    arena_init(&s->arena, S3_ARENA_BYTES);
    hex_encode(id, sizeof id, s->request_id);
    for (char *p = s->request_id; *p; p++)
        *p = *p >= 'a' ? (char)(*p - 'a' + 'A') : *p;
    base64_encode(host, sizeof host, s->host_id);
    r->user = s;
    r->on_done = on_done;
    s3_enter(s);
    s3_reply_begin(s);
    run(s);
    s3_leave(s);
}
