/* s3_upload - what the files of multipart uploads share. Thread: the loop. */
#pragma once
#include "gateway-s3/s3_object.h"

#define S3_PART_MIN_BYTES (5 * MIB) /* all but the last (AWS) */
#define S3_PARTS_MAX      10000

/* UPLOAD_GET of the request's uploadId. then() runs when the upload stands; otherwise NoSuchUpload was answered, except
 * that a completed one is handed over when completed is not NULL. */
struct s3_upload {
    char *id;
    Pb__Upload *row;
    Pb__Completed *completed;
    bool want_completed;
    void (*then)(struct s3_request *s, struct s3_upload *u);
    void *state; /* the handler's, meanwhile */
};
void s3_upload_find(struct s3_request *s, struct s3_upload *u, void (*then)(struct s3_request *s, struct s3_upload *u));
/* Its checksum: the kind that parts get, and whether parts' are joined as COMPOSITE. */
enum checksum_kind s3_upload_kind(const Pb__Upload *u);
static inline bool s3_upload_composite(const Pb__Upload *u)
{
    return u->checksum_kind != CHECKSUM_NONE && !u->checksum_full;
}
