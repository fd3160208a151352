/* sigv4_priv - what the files of sigv4 share: the claim that a request makes (sigv4_claim.c reads it), its canonical
 * form (sigv4_canonical.c) and the signing keys (sigv4_key.c). Only sigv4*.c include it. Thread, memory: as sigv4.h. */
#pragma once
#include "gateway-s3/sigv4.h"
#include "common/crypt.h"

#define SIGV4_ALGORITHM    "AWS4-HMAC-SHA256"
#define SIGV4_EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

struct sigv4_claim {
    struct http_req *r;
    const struct uri_param *params;
    size_t param_count;
    struct sigv4 *out; /* kind, access_key, scope and amz_date are set by the reader; message by whoever refuses */
    struct str date8, region;
    struct str signature;      /* as sent */
    struct str signed_headers; /* as sent */
    struct str *names;         /* signed_headers, split and sorted */
    size_t name_count;
    uint64_t time_s;
    uint64_t expires_s; /* presigned */
    struct str payload; /* the canonical request's last line */
};

/* Refuses with a message of its own. */
enum s3_error sigv4_refuse(struct sigv4_claim *c, enum s3_error e, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Reads and checks the form of everything that the request says about itself; nothing is trusted yet. */
enum s3_error sigv4_claim_read(struct sigv4_claim *c, const char *region);

/* "yyyyMMdd'T'HHmmss'Z'" */
int sigv4_time_parse(struct str s, uint64_t *ret_unix_s);
void sigv4_time_format(uint64_t unix_s, char ret[17]);

bool sigv4_is_signed(const struct sigv4_claim *c, struct str header); /* any case */
/* The canonical request; S3_InvalidURI, S3_InternalError. *ret_whole: every signed header is there. */
enum s3_error sigv4_canonical(struct sigv4_claim *c, struct sbuf *out, bool *ret_whole);

/* False when secret is longer than SIGV4_SECRET_MAX. */
bool sigv4_signing_key(struct str access_key, const char *secret, struct str date8, struct str region, uint8_t ret[32]);
