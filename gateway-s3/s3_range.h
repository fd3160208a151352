/* s3_range - the Range header against an object's size (RFC 9110, section 14).
 *
 * Thread: pure. Limits: S3_RANGES_MAX ranges, and together they never ask for more bytes than the object has; a header
 * beyond that is ignored, as RFC 9110, 14.2 allows, so that one request cannot cost more than the whole object. */
#pragma once
#include "common/base.h"

#define S3_RANGES_MAX 16

struct s3_range {
    uint64_t first, length; /* length > 0 */
};
enum s3_range_outcome {
    S3_RANGE_NONE = 0,          /* no header, another unit, malformed, or too much: answer the whole object */
    S3_RANGE_OK = 1,            /* ret_count ranges, in the order of the header */
    S3_RANGE_UNSATISFIABLE = 2, /* 416 with Content-Range: bytes */
};
enum s3_range_outcome s3_range_parse(struct str header, uint64_t size, struct s3_range ret[S3_RANGES_MAX],
                                     unsigned *ret_count);
/* x-amz-copy-source-range: exactly "bytes=first-last", both inside the source. False: InvalidArgument or InvalidRange.
 */
bool s3_range_copy(struct str header, uint64_t *ret_first, uint64_t *ret_last);
