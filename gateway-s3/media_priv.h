/* media_priv - one exchange of the media path, shared by media.c (judging, answering) and media_send.c (the bytes).
 *
 * Thread: the loop. Memory: the exchange frees itself when http says it is done. */
#pragma once
#include "common/crypt.h"
#include "gateway-s3/media.h"
#include "gateway-s3/s3_range.h"

enum media_error {
#define MEDIA_ERROR(id, code, status, text) MEDIA_E_##id,
#include "gateway-s3/media_errors.def"
#undef MEDIA_ERROR
};

struct media {
    struct gateway *g;
    struct http_req *r; /* valid until we finish it */
    struct arena arena;
    char request_id[17];
    const char *code; /* what was answered, for the log */
    struct control_check check;
    struct rpc rpc;
    Pb__ObjectGetReq req;

    /* What is sent. */
    const Pb__Object *object;
    struct str inline_data;
    struct str type;
    struct http_headers headers;
    int status;
    struct s3_range ranges[S3_RANGES_MAX];
    unsigned count, at;
    uint64_t left;   /* of ranges[at] */
    uint64_t length; /* of the body */
    struct client_read *read;
    struct str heads[S3_RANGES_MAX], tail; /* multipart/byteranges */
    struct slice unit;                     /* read, and waiting for a part's head to leave */
};

/* media.c: ends the exchange with a refusal; after the answer began, with a reset. */
void media_fail(struct media *m, enum media_error e);
void media_fail_status(struct media *m, int status); /* of an rpc or a read, != 0 */
/* media_send.c: fills heads, tail and length for several ranges; false: out of memory. */
bool media_send_multipart(struct media *m);
/* Sends ranges[0..count): the status line goes out when the first block has been read and verified. */
void media_send(struct media *m);
void media_send_fini(struct media *m);
