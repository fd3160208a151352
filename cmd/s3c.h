/* s3c - S3 requests from the command line: addresses, signatures (SigV4), answers and what to say about errors.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
 *
 * Thread: one. Memory: what a call borrows (url, headers) lives in the s3c_call until s3c_call_fini. */
#pragma once
#include "cmd/cmd.h"
#include "cmd/http_client.h"
#include "gateway-s3/xml.h"

#define S3_QUERY_MAX 8

struct s3c {
    char *endpoint; /* "http://127.0.0.1:9000"; owned */
    char *region, *access_key, *secret_key;
    struct http_client *http;
};
/* Endpoint and credentials from options, environment and the data directory. CMD_OK, or said why. */
int s3c_open(struct s3c *s, const struct cmdline *l, unsigned parallel);
void s3c_close(struct s3c *s);

struct s3c_call {
    struct http_call http;
    /* ---- set by the caller before s3c_call_sign ---- */
    const char *method;
    struct str bucket, key; /* raw; empty: none */
    struct {
        const char *name;
        struct str value;  /* raw */
    } query[S3_QUERY_MAX]; /* sorted by name, as the signature wants them */
    unsigned query_count;
    const char *headers[HTTP_CALL_HEADERS - 4]; /* "Name: value"; only host and x-amz-* are signed */
    unsigned header_count;
    /* private */
    char body_sha256[65]; /* hex, of http.body: computed at the first s3c_call_sign */
    struct arena arena;
};
/* Clears the call; its bucket, key and method are borrowed. */
void s3c_call_init(struct s3c_call *c, const char *method, struct str bucket, struct str key);
void s3c_call_query(struct s3c_call *c, const char *name, struct str value);
/* Makes URL, date and signature from what was set: again for every attempt. */
void s3c_call_sign(struct s3c *s, struct s3c_call *c);
void s3c_call_fini(struct s3c_call *c);
/* Signs, sends and waits. CMD_OK when the answer is 2xx. */
int s3c_call_do(struct s3c *s, struct s3c_call *c);
/* One sentence for a call that did not succeed: what the server or the network said, and what to do. */
const char *s3c_call_why(struct s3c *s, struct s3c_call *c);
/* The answer's XML; NULL when it is none. Lives until s3c_call_fini. */
const struct xml_node *s3c_call_xml(struct s3c_call *c);
bool s3c_call_failed_for_now(const struct s3c_call *c); /* worth another try: network, 5xx, 429 */

/* "s3://bucket/key" -> its parts, borrowed; false when it is no such address. */
bool s3c_address(const char *text, struct str *ret_bucket, struct str *ret_key);

struct s3c_object {
    struct str key, etag; /* etag without quotes */
    uint64_t size;
    struct str modified;
    bool is_prefix;
};
/* Calls each for every object (and prefix, when delimiter is given) in order, page after page, until it returns false.
 */
int s3c_list(struct s3c *s, const struct cmdline *l, struct str bucket, struct str prefix, const char *delimiter,
             bool (*each)(void *ctx, const struct s3c_object *o), void *ctx);
