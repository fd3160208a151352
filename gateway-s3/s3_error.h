/* s3_error - the errors of S3, rows of s3_errors.def. Thread: pure. */
#pragma once
#include "common/base.h"

enum s3_error {
    S3_OK = 0,
#define S3_ERROR(id, status, text) S3_##id,
#include "gateway-s3/s3_errors.def"
#undef S3_ERROR
    S3_ERROR_COUNT
};
const char *s3_error_code(enum s3_error e);
int s3_error_status(enum s3_error e);
const char *s3_error_text(enum s3_error e);
