/* s3_form - multipart/form-data as browsers send it to S3 (RFC 7578, with the file as the last part): a pure, bounded,
 * push-driven parser.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html
 *
 * Thread: pure. Memory: fields in the caller's arena.
 * Limits: S3_FORM_BYTES for everything before the file's bytes, S3_FORM_FIELDS, S3_FORM_LINE for a header line,
 * S3_FORM_BOUNDARY. What comes behind the file is not looked at. */
#pragma once
#include "common/arena.h"
#include "gateway-s3/s3_error.h"

#define S3_FORM_BYTES    (20 * KIB) /* AWS: the form without the file */
#define S3_FORM_FIELDS   100
#define S3_FORM_LINE     1024
#define S3_FORM_BOUNDARY 70 /* RFC 2046, 5.1.1 */

struct s3_form_field {
    struct str name; /* lower case */
    struct str value;
};
struct s3_form {
    struct s3_form_field fields[S3_FORM_FIELDS];
    unsigned count;
    struct str file_name; /* p NULL: not given */
    bool in_file;         /* the head is complete: what comes out are the file's bytes */
    bool done;            /* the file has ended */
    /* private */
    struct arena *arena;
    char delimiter[S3_FORM_BOUNDARY + 5]; /* "\r\n--boundary" */
    size_t delimiter_len, matched;
    size_t flush_at, flush_len; /* of the delimiter: bytes of the file after all, not given out yet */
    int state;
    char line[S3_FORM_LINE];
    size_t line_len;
    struct str name;
    struct sbuf value;
    size_t head_bytes;
};
/* content_type: "multipart/form-data; boundary=..." MalformedPOSTRequest. */
enum s3_error s3_form_init(struct s3_form *f, struct arena *a, struct str content_type);
void s3_form_fini(struct s3_form *f);
/* Consumes at most *in_len bytes and makes at most *out_len of the file; both are set to what was done. It stops where
 * in_file becomes true (so that the caller can judge the fields), when out is full, and never otherwise short of
 * *in_len. MalformedPOSTRequest, MaxPostPreDataLengthExceeded; an error stays. */
enum s3_error s3_form_feed(struct s3_form *f, const uint8_t *in, size_t *in_len, uint8_t *out, size_t *out_len);
/* The body has ended: IncompleteBody unless done, or InvalidArgument when there was no file. */
enum s3_error s3_form_end(const struct s3_form *f);
struct str s3_form_value(const struct s3_form *f, const char *lower_name); /* first; p NULL when absent */
