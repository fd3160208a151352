/* s3_conditions - conditional requests, in the order of precedence of RFC 9110, section 13.2.2.
 *
 * Thread: pure. ETags may come without quotes: several SDKs send them so, and S3 takes them. */
#pragma once
#include "common/base.h"

struct s3_conditions { /* header values; p NULL: absent */
    struct str if_match, if_none_match, if_modified_since, if_unmodified_since;
};
enum s3_conditions_outcome { S3_CONDITIONS_PASS, S3_CONDITIONS_NOT_MODIFIED, S3_CONDITIONS_FAILED };

static inline bool s3_conditions_any(const struct s3_conditions *c)
{
    return c->if_match.p || c->if_none_match.p || c->if_modified_since.p || c->if_unmodified_since.p;
}
/* etag: hex without quotes. mtime_s: Last-Modified in whole seconds. Dates that do not parse, or for If-Modified-Since
 * lie in the future of now_s, are ignored. */
enum s3_conditions_outcome s3_conditions_judge(const struct s3_conditions *c, struct str etag, uint64_t mtime_s,
                                               uint64_t now_s);
/* If-Range: true when the Range header counts (13.1.5): strong comparison, or exactly this date. */
bool s3_if_range(struct str value, struct str etag, uint64_t mtime_s);
/* Is etag in this list ("*", quoted, weak or bare)? weak: W/ is ignored; else a weak tag never matches. */
bool s3_etag_listed(struct str list, struct str etag, bool weak);
