/* s3_body - an S3 request's body: decoded (raw or aws-chunked), counted, hashed, and put where it belongs: into a
 * client_write (objects and parts) or into bounded memory (XML).
 *
 * The decoder is chosen from the result of authentication, never by the body. Nothing is committed here: the caller
 * commits after done(S3_OK), when every digest that the client promised has been compared.
 * Thread: the loop; digests of objects run on work threads as the write's tap.
 * Limits: the row's body_max of s3_ops.def; S3_OBJECT_MAX for a stream. */
#pragma once
#include "client/client.h"
#include "gateway-s3/awschunk.h"
#include "gateway-s3/checksum.h"

#define S3_OBJECT_MAX (5 * GIB) /* a single PUT or part (AWS: 5 GB) */

struct s3_request;
struct s3_body {
    /* Results, when done came with S3_OK. */
    uint8_t md5[16];
    enum checksum_kind kind;
    uint8_t value[CHECKSUM_MAX];
    struct sbuf memory;                       /* bodies without a write */
    const struct client_write_result *result; /* bodies with one */
    uint64_t received;                        /* decoded bytes */
    bool also_crc64;                          /* asked for by the handler before it reads: CRC64NVME beside kind */
    uint8_t crc64[8];

    /* private */
    struct checksum_want want;
    struct checksum_set *set; /* heap: the tap may outlive the request */
    struct awschunk *chunk;   /* NULL: raw */
    struct client_write *write;
    bool committed; /* client_write_free must not take the fragments back */
    bool started, ended;
    uint64_t declared; /* UINT64_MAX: not known */
    uint64_t max;
    enum s3_error error;
    void (*done)(struct s3_request *s, enum s3_error e);
};
/* Reads the whole body into s->body.memory. S3_OK: done will run (perhaps inside the call when there is no body); else
 * the error to answer, and nothing was read. */
enum s3_error s3_body_to_memory(struct s3_request *s, void (*done)(struct s3_request *s, enum s3_error e));
/* Streams it into a client_write. fallback: the checksum to compute when the client asked for none. */
enum s3_error s3_body_to_write(struct s3_request *s, bool may_inline, enum checksum_kind fallback,
                               void (*done)(struct s3_request *s, enum s3_error e));
/* For a handler that reads the request itself (a form): a write whose digests are prepared, and the end of its bytes.
 * The handler puts them into s->body.write and counts them in s->body.received. */
enum s3_error s3_body_form_open(struct s3_request *s, enum checksum_kind fallback,
                                void (*done)(struct s3_request *s, enum s3_error e));
void s3_body_form_end(struct s3_request *s);
/* The metadata change that names the write has been answered (an outcome, or 0), or its fate is unknown (< 0): only a
 * clear refusal gives the fragments back at once; otherwise gc decides by the write id. */
void s3_body_settled(struct s3_request *s, int status);
void s3_body_forget(struct s3_request *s); /* the memory is understood and no longer needed */
void s3_body_fini(struct s3_request *s);

/* A tapped write for those who have no body (copies). Set is owned by the write from then on and freed after it. */
enum s3_error s3_write_open(struct s3_request *s, uint64_t expected, bool may_inline, struct checksum_set *set,
                            struct client_write **ret_w);
