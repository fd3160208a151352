/* The four steps of RFC 9110, 13.2.2: If-Match, or else If-Unmodified-Since; then If-None-Match, or else
 * If-Modified-Since. S3 documents the same order. */
#include "gateway-s3/s3_conditions.h"
#include "common/http.h"

/* Takes one entity tag off the list; false at its end. A tag in quotes may hold a comma. */
static bool tag_next(struct str *rest, struct str *ret_tag, bool *ret_weak)
{
    while (rest->len && (*rest->p == ' ' || *rest->p == '\t' || *rest->p == ',')) {
        rest->p++;
        rest->len--;
    }
    if (rest->len == 0)
        return false;
    *ret_weak = str_starts(*rest, STR("W/"));
    size_t skip = *ret_weak ? 2 : 0;
    struct str s = {rest->p + skip, rest->len - skip};
    bool quoted = s.len && s.p[0] == '"';
    if (quoted) {
        s.p++;
        s.len--;
    }
    const char *end = s.len ? memchr(s.p, quoted ? '"' : ',', s.len) : NULL;
    size_t n = end ? (size_t)(end - s.p) : s.len;
    *ret_tag = quoted ? (struct str){s.p, n} : str_trim((struct str){s.p, n});
    n += end && quoted ? 1 : 0;
    *rest = (struct str){s.p + n, s.len - n};
    return true;
}

bool s3_etag_listed(struct str list, struct str etag, bool weak)
{
    if (str_eq(str_trim(list), STR("*")))
        return true;
    struct str tag;
    bool tag_weak;
    while (tag_next(&list, &tag, &tag_weak))
        if (str_eq(tag, etag) && (weak || !tag_weak))
            return true;
    return false;
}

enum s3_conditions_outcome s3_conditions_judge(const struct s3_conditions *c, struct str etag, uint64_t mtime_s,
                                               uint64_t now_s)
{
    uint64_t date;
    if (c->if_match.p) {
        if (!s3_etag_listed(c->if_match, etag, false))
            return S3_CONDITIONS_FAILED;
    } else if (c->if_unmodified_since.p && http_date_parse(c->if_unmodified_since, &date) == 0 && mtime_s > date) {
        return S3_CONDITIONS_FAILED;
    }
    if (c->if_none_match.p) {
        if (s3_etag_listed(c->if_none_match, etag, true))
            return S3_CONDITIONS_NOT_MODIFIED;
    } else if (c->if_modified_since.p && http_date_parse(c->if_modified_since, &date) == 0 && date <= now_s &&
               mtime_s <= date) {
        return S3_CONDITIONS_NOT_MODIFIED;
    }
    return S3_CONDITIONS_PASS;
}

bool s3_if_range(struct str value, struct str etag, uint64_t mtime_s)
{
    uint64_t date;
    value = str_trim(value);
    if (http_date_parse(value, &date) == 0)
        return date == mtime_s;
    return !str_eq(value, STR("*")) && s3_etag_listed(value, etag, false);
}
