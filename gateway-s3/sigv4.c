/* sigv4 - judges a signature: read the claim, judge its time, derive the key, sign the canonical request again,
 * compare.
 *
 * An unknown access key is signed for with a secret of ours, so that it costs the same and only the answer differs.
 * The comparison is over the text as sent, in constant time. */
#include "gateway-s3/sigv4_priv.h"
#include <stdlib.h>

static enum s3_error check_time(struct sigv4_claim *c, uint64_t now_s)
{
    if (c->out->kind == SIGV4_HEADER) {
        uint64_t apart = c->time_s > now_s ? c->time_s - now_s : now_s - c->time_s;
        return apart > SIGV4_SKEW_S ? S3_RequestTimeTooSkewed : S3_OK;
    }
    if (c->time_s > now_s + SIGV4_SKEW_S)
        return sigv4_refuse(c, S3_AccessDenied, "Request is not yet valid");
    if (c->time_s + c->expires_s < now_s)
        return sigv4_refuse(c, S3_AccessDenied, "Request has expired");
    return S3_OK;
}

/* For access keys that do not exist. */
static const char stand_in[] = "an access key that nobody holds";

static void sign(const struct sigv4 *s, struct str canonical, struct sbuf *to_sign, uint8_t ret[32])
{
    uint8_t hash[32];
    char hash_hex[65];
    digest_once(DIGEST_SHA256, canonical.p, canonical.len, hash);
    hex_encode(hash, 32, hash_hex);
    const struct str lines[] = {STR(SIGV4_ALGORITHM), s->amz_date, s->scope};
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        sbuf_str(to_sign, lines[i]);
        sbuf_add(to_sign, "\n", 1);
    }
    sbuf_add(to_sign, hash_hex, 64);
    if (!to_sign->err)
        hmac_sha256(s->signing_key, 32, to_sign->p, to_sign->len, ret);
}

static bool matches(struct str provided, const uint8_t signature[32])
{
    char ours[65], theirs[64] = {0};
    hex_encode(signature, 32, ours);
    memcpy(theirs, provided.p, MIN_OF(provided.len, sizeof theirs));
    bool same = bytes_eq_ct(ours, theirs, sizeof theirs);
    return same && provided.len == sizeof theirs;
}

static enum s3_error judge(const struct sigv4_conf *conf, struct sigv4_claim *c, struct sbuf *canonical,
                           struct sbuf *to_sign)
{
    struct sigv4 *s = c->out;
    struct arena *arena = &c->r->arena;
    bool whole = false;
    enum s3_error e = sigv4_canonical(c, canonical, &whole);
    if (e)
        return e;
    const char *secret = conf->secret(conf->ctx, s->access_key);
    bool known = secret && *secret;
    if (!sigv4_signing_key(known ? s->access_key : STR("-"), known ? secret : stand_in, c->date8, c->region,
                           s->signing_key))
        return S3_InvalidAccessKeyId; /* a secret that control would never have made */
    sign(s, (struct str){canonical->p, canonical->len}, to_sign, s->seed_signature);
    if (to_sign->err)
        return S3_InternalError;
    bool same = matches(c->signature, s->seed_signature);
    if (known && same && whole)
        return S3_OK;
    explicit_bzero(s->signing_key, sizeof s->signing_key);
    explicit_bzero(s->seed_signature, sizeof s->seed_signature);
    if (!known)
        return S3_InvalidAccessKeyId;
    s->canonical_request = arena_str(arena, (struct str){canonical->p, canonical->len});
    s->string_to_sign = arena_str(arena, (struct str){to_sign->p, to_sign->len});
    s->signature_provided = c->signature;
    return S3_SignatureDoesNotMatch;
}

/* Spares the growing; without memory it starts empty. */
static struct sbuf roomy(size_t cap)
{
    char *p = malloc(cap);
    return (struct sbuf){.p = p, .cap = p ? cap : 0};
}

enum s3_error sigv4_check(const struct sigv4_conf *conf, struct http_req *r, const struct uri_param *params,
                          size_t param_count, struct sigv4 *ret)
{
    *ret = (struct sigv4){.payload = PAYLOAD_SHA256};
    struct sigv4_claim c = {.r = r, .params = params, .param_count = param_count, .out = ret};
    struct sbuf canonical = roomy(2048), to_sign = roomy(256); /* most need no more */
    enum s3_error e = sigv4_claim_read(&c, conf->region);
    e = e ? e : check_time(&c, conf->now_s);
    e = e ? e : judge(conf, &c, &canonical, &to_sign);
    sbuf_fini(&canonical);
    sbuf_fini(&to_sign);
    return e;
}
