/* s3_policy - the signed policy of a browser's upload form: which fields with which values, how many bytes, until when.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html
 *
 * Thread: pure. Limits: the form's; S3_POLICY_CONDITIONS. Every field that is sent must be named by a condition, except
 * policy, file, the signature and x-ignore-*. */
#pragma once
#include "gateway-s3/s3_form.h"

#define S3_POLICY_CONDITIONS 200

struct s3_policy_limits {
    uint64_t min_bytes, max_bytes;
};
/* json: decoded. form's values as they will be used (key with its ${filename} replaced); bucket: the one written to.
 * AccessDenied (expired, or a condition does not hold), InvalidPolicyDocument; ret_why: a sentence in the arena. */
enum s3_error s3_policy_check(struct arena *a, struct str json, const struct s3_form *form, struct str bucket,
                              uint64_t now_s, struct s3_policy_limits *ret, const char **ret_why);
