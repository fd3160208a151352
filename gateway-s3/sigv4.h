/* sigv4 - AWS Signature Version 4: header, presigned query, and what the body's decoder must then check.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html
 *
 * Authentication happens once, before a body decoder is chosen; the result names the decoder. The path is signed as S3
 * signs it: decoded once, encoded again, never normalised ("//", "." and ".." stay).
 * Thread: pure but for the signing-key cache, which each thread has of its own. Memory: texts in the request's arena.
 * Limits: SIGV4_*. Errors: an s3_error row; never a guess. */
#pragma once
#include "common/http.h"
#include "common/uri.h"
#include "gateway-s3/s3_error.h"

#define SIGV4_SKEW_S             900    /* the clocks may differ by this much, either way */
#define SIGV4_EXPIRES_MAX_S      604800 /* a presigned URL lives a week at most */
#define SIGV4_ACCESS_KEY_MAX     128
#define SIGV4_SECRET_MAX         512 /* a longer secret never matches */
#define SIGV4_REGION_MAX         64
#define SIGV4_SIGNED_HEADERS_MAX 128
#define SIGV4_KEY_CACHE          64 /* signing keys kept by a thread */

enum sigv4_kind { SIGV4_HEADER, SIGV4_PRESIGNED };
enum sigv4_payload {
    PAYLOAD_SHA256,           /* hex digest of the whole body: verify */
    PAYLOAD_UNSIGNED,         /* UNSIGNED-PAYLOAD */
    PAYLOAD_CHUNKS,           /* STREAMING-AWS4-HMAC-SHA256-PAYLOAD */
    PAYLOAD_CHUNKS_TRAILER,   /* STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER */
    PAYLOAD_UNSIGNED_TRAILER, /* STREAMING-UNSIGNED-PAYLOAD-TRAILER */
};

struct sigv4 {
    enum sigv4_kind kind;
    enum sigv4_payload payload;
    uint8_t body_sha256[32]; /* PAYLOAD_SHA256 */
    struct str access_key;   /* in the request's arena; set as soon as it was read, for logs */
    struct str scope;        /* "20260102/us-east-1/s3/aws4_request" */
    struct str amz_date;     /* "20260102T030405Z" */
    uint8_t signing_key[32];
    uint8_t seed_signature[32]; /* chunk signatures start from it */
    /* On an error: NULL, or a better <Message> than the row's (it quotes the request: escape it). */
    const char *message;
    struct str headers_not_signed; /* AccessDenied: "x-amz-acl, x-amz-date", for <HeadersNotSigned> */
    /* On SignatureDoesNotMatch: what was compared, for the error's XML (never the secret). */
    struct str canonical_request, string_to_sign, signature_provided;
};

/* The secret of an access key; NULL when there is none. Borrowed until return of sigv4_check. */
typedef const char *(*sigv4_secret_fn)(void *ctx, struct str access_key);

struct sigv4_conf {
    const char *region; /* requests signed for another region: AuthorizationHeaderMalformed with the right one */
    uint64_t now_s;
    sigv4_secret_fn secret;
    void *ctx;
};
/* S3_OK, or the error to answer, as AWS answers: AccessDenied (anonymous, no valid date, x-amz-* or host not signed,
 * presign expired or not yet valid), InvalidArgument (both forms of auth at once, an unknown Authorization type, a
 * malformed x-amz-content-sha256), InvalidRequest (SigV2, x-amz-content-sha256 missing beside a body), InvalidToken
 * (session tokens), InvalidURI, NotImplemented (ECDSA, chunk signatures in a presigned URL),
 * AuthorizationHeaderMalformed, AuthorizationQueryParametersError, RequestTimeTooSkewed, InvalidAccessKeyId,
 * SignatureDoesNotMatch, InternalError (the arena is used up). params: the decoded query. Only on S3_OK may the body be
 * looked at. */
enum s3_error sigv4_check(const struct sigv4_conf *conf, struct http_req *r, const struct uri_param *params,
                          size_t param_count, struct sigv4 *ret);
/* A browser's upload form: the policy, as it was sent, is what is signed. Times and rights are the policy's to judge;
 * the scope must be ours and of x-amz-date's day. AccessDenied (no policy or signature),
 * AuthorizationQueryParametersError, InvalidAccessKeyId, SignatureDoesNotMatch. The result says PAYLOAD_UNSIGNED: the
 * form names its checksum itself. */
struct sigv4_form {
    struct str algorithm, credential, date, signature, policy; /* p NULL: the field is absent */
};
enum s3_error sigv4_form_check(const struct sigv4_conf *conf, const struct sigv4_form *f, struct sigv4 *ret);
/* Signs a chunk (previous signature, hash of its data) as the streaming form says; also for trailers. */
void sigv4_chunk_signature(const struct sigv4 *s, const uint8_t previous[32], const uint8_t data_sha256[32],
                           uint8_t ret[32]);
void sigv4_trailer_signature(const struct sigv4 *s, const uint8_t previous[32], struct str canonical_trailers,
                             uint8_t ret[32]);
