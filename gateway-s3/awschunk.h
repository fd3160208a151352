/* awschunk - the decoder of aws-chunked bodies (signed, signed with trailer, unsigned with trailer): a pure, bounded,
 * push-driven state machine.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
 *
 * Thread: pure. Limits: AWSCHUNK_LINE_MAX for a chunk's line, AWSCHUNK_TRAILER_MAX for all trailers, AWSCHUNK_MAX for a
 * signed chunk's size. A stream that ends early, a chunk of another length or signature is an error; nothing is
 * committed. A signed chunk's bytes come out before its signature is known, so what was made of them counts only after
 * awschunk_end. The caller compares decoded_bytes with x-amz-decoded-content-length. */
#pragma once
#include "gateway-s3/checksum.h"
#include "gateway-s3/sigv4.h"
#include "common/crypt.h"

#define AWSCHUNK_LINE_MAX     512
#define AWSCHUNK_TRAILER_MAX  4096
#define AWSCHUNK_TRAILERS     8
#define AWSCHUNK_MAX          (64 * MIB)   /* signed */
#define AWSCHUNK_UNSIGNED_MAX (8192 * GIB) /* unsigned: some SDKs send a whole object as one chunk */

struct awschunk_trailer {
    char name[64]; /* lower case */
    char value[128];
};
struct awschunk {
    const struct sigv4 *sig; /* borrowed */
    struct awschunk_trailer trailers[AWSCHUNK_TRAILERS];
    unsigned trailer_count;
    uint64_t decoded_bytes;
    bool done;
    /* private */
    int state;
    enum s3_error failed;
    unsigned blank_lines;
    size_t trailer_bytes;
    uint64_t chunk_left;
    uint8_t previous[32], expected[32];
    struct digest *sha;
    char line[AWSCHUNK_TRAILER_MAX];
    size_t line_len;
};
int awschunk_init(struct awschunk *d, const struct sigv4 *sig); /* sig->payload must be one of the three */
void awschunk_fini(struct awschunk *d);
/* Decodes from in to out: consumes *in_len bytes at most and produces *out_len at most; both are set to what was done.
 * out may be in: bytes only move down. It stops short of *in_len only when out is full. Input after d->done is an
 * error, so feed everything that arrives. S3_OK (more is needed, or d->done), SignatureDoesNotMatch, InvalidRequest,
 * EntityTooLarge, MalformedTrailerError, InternalError; an error stays. */
enum s3_error awschunk_decode(struct awschunk *d, const uint8_t *in, size_t *in_len, uint8_t *out, size_t *out_len);
/* The body has ended: IncompleteBody unless done. */
enum s3_error awschunk_end(const struct awschunk *d);
struct str awschunk_trailer(const struct awschunk *d, const char *name); /* p NULL when absent */
/* After awschunk_end: takes the announced checksum from the trailers into want (has_value). MalformedTrailerError when
 * it is absent or another x-amz-checksum-* came, InvalidRequest when its value is malformed. */
enum s3_error awschunk_checksum(const struct awschunk *d, struct checksum_want *want);
