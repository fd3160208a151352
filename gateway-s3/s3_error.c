/* s3_error - the rows of s3_errors.def as tables. */
#include "gateway-s3/s3_error.h"

static const struct {
    const char *code, *text;
    int status;
} rows[S3_ERROR_COUNT] = {
    [S3_OK] = {"", "", 200},
#define S3_ERROR(id, http_status, message) [S3_##id] = {.code = #id, .text = message, .status = http_status},
#include "gateway-s3/s3_errors.def"
#undef S3_ERROR
};

const char *s3_error_code(enum s3_error e)
{
    assert(e < S3_ERROR_COUNT);
    return rows[e].code;
}

int s3_error_status(enum s3_error e)
{
    assert(e < S3_ERROR_COUNT);
    return rows[e].status;
}

const char *s3_error_text(enum s3_error e)
{
    assert(e < S3_ERROR_COUNT);
    return rows[e].text;
}
