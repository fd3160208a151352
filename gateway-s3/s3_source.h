/* s3_source - the object that a copy reads: found, authorised, judged by the copy's conditions, and pumped through
 * client_read into a client_write, a unit at a time.
 *
 * Thread: the loop. Memory: in the request's arena; s3_source_fini frees read, write and digests. */
#pragma once
#include "gateway-s3/s3_object.h"

struct s3_source {
    struct str bucket, key;
    const Pb__Object *object; /* set when found */
    struct str inline_data;
    bool same; /* it is the very object that is written */

    /* Results of pumping. */
    uint8_t md5[16], value[CHECKSUM_MAX];
    enum checksum_kind kind;
    const struct client_write_result *result;

    /* private */
    void (*then)(struct s3_request *s);
    void (*done)(struct s3_request *s, enum s3_error e);
    struct client_read *read;
    struct client_write *write;
    struct checksum_set *set;
    struct slice unit;
    uint64_t left;
    bool committed;
};
/* Reads x-amz-copy-source, checks that the key may read it, fetches its row, judges x-amz-copy-source-if-*. then() runs
 * when all that holds; otherwise the request has been answered. */
void s3_source_find(struct s3_request *s, struct s3_source *c, void (*then)(struct s3_request *s));
/* Copies length bytes from offset into a new write. done runs when they are durable, or with the error to answer. */
void s3_source_pump(struct s3_request *s, struct s3_source *c, uint64_t offset, uint64_t length, bool may_inline,
                    enum checksum_kind kind, void (*done)(struct s3_request *s, enum s3_error e));
void s3_source_settled(struct s3_source *c, int status); /* as s3_body_settled */
void s3_source_fini(struct s3_source *c);
/* x-amz-checksum-algorithm of the request, or dflt; false: answered. */
bool s3_checksum_asked(struct s3_request *s, enum checksum_kind dflt, enum checksum_kind *ret);
