/* sigv4_form - the signature of a browser's upload form: HMAC of the policy's text under the day's signing key. */
#include "gateway-s3/sigv4_priv.h"

/* access-key/date/region/s3/aws4_request, cut from its end: the access key may hold '/'. */
static bool split_credential(struct str credential, struct str part[5])
{
    for (int i = 4; i > 0; i--) {
        const char *slash = credential.len ? memrchr(credential.p, '/', credential.len) : NULL;
        if (!slash)
            return false;
        size_t n = (size_t)(slash - credential.p);
        part[i] = (struct str){slash + 1, credential.len - n - 1};
        credential.len = n;
    }
    part[0] = credential;
    return credential.len > 0 && credential.len <= SIGV4_ACCESS_KEY_MAX;
}

static bool same_hex(struct str provided, const uint8_t signature[32])
{
    char ours[65];
    hex_encode(signature, 32, ours);
    return provided.len == 64 && bytes_eq_ct(provided.p, ours, 64);
}

enum s3_error sigv4_form_check(const struct sigv4_conf *conf, const struct sigv4_form *f, struct sigv4 *ret)
{
    struct str part[5];
    uint64_t time_s;
    uint8_t signature[32];
    *ret = (struct sigv4){.kind = SIGV4_PRESIGNED, .payload = PAYLOAD_UNSIGNED};
    if (!f->policy.p || !f->signature.p || !f->credential.p || !f->date.p)
        return S3_AccessDenied;
    if (!str_eq(f->algorithm, STR(SIGV4_ALGORITHM)) || !split_credential(f->credential, part))
        return S3_AuthorizationQueryParametersError;
    ret->access_key = part[0];
    ret->amz_date = f->date;
    ret->scope = (struct str){part[1].p, f->credential.len - part[0].len - 1};
    if (!str_eq(part[4], STR("aws4_request")) || !str_eq(part[3], STR("s3")) || !str_eq(part[2], str_c(conf->region)) ||
        sigv4_time_parse(f->date, &time_s) != 0 || part[1].len != 8 || memcmp(part[1].p, f->date.p, 8) != 0)
        return S3_AuthorizationQueryParametersError;
    if (time_s > conf->now_s + SIGV4_SKEW_S)
        return S3_AccessDenied;
    const char *secret = conf->secret(conf->ctx, part[0]);
    if (!secret || !*secret || !sigv4_signing_key(part[0], secret, part[1], part[2], ret->signing_key))
        return S3_InvalidAccessKeyId;
    hmac_sha256(ret->signing_key, 32, f->policy.p, f->policy.len, signature);
    if (same_hex(f->signature, signature))
        return S3_OK;
    ret->string_to_sign = f->policy;
    ret->signature_provided = f->signature;
    return S3_SignatureDoesNotMatch;
}
