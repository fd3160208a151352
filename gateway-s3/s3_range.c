/* A Range header is a list of byte ranges: "a-b", "a-" and "-n". Each is cut to the object; those that lie beyond its
 * end are dropped, and when none is left the answer is 416. Anything that is not such a list is ignored, as the RFC
 * asks. */
#include "gateway-s3/s3_range.h"

enum one { ONE_BAD, ONE_OUTSIDE, ONE_INSIDE };

/* Digits only; a number past 2^64 is clamped: it lies behind every object. */
static bool number(struct str s, uint64_t *ret)
{
    uint64_t v = 0;
    if (s.len == 0)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        uint64_t digit = (uint64_t)(s.p[i] - '0');
        v = v > (UINT64_MAX - digit) / 10 ? UINT64_MAX : v * 10 + digit;
    }
    *ret = v;
    return true;
}

static enum one suffix(struct str digits, uint64_t size, struct s3_range *ret)
{
    uint64_t n;
    if (!number(digits, &n))
        return ONE_BAD;
    n = MIN_OF(n, size);
    if (n == 0)
        return ONE_OUTSIDE;
    *ret = (struct s3_range){size - n, n};
    return ONE_INSIDE;
}

static enum one one_range(struct str spec, uint64_t size, struct s3_range *ret)
{
    const char *dash = spec.len ? memchr(spec.p, '-', spec.len) : NULL;
    if (!dash)
        return ONE_BAD;
    struct str left = {spec.p, (size_t)(dash - spec.p)};
    struct str right = {dash + 1, spec.len - left.len - 1};
    if (left.len == 0)
        return suffix(right, size, ret);
    uint64_t first, last = UINT64_MAX;
    if (!number(left, &first) || (right.len && !number(right, &last)) || last < first)
        return ONE_BAD;
    if (first >= size)
        return ONE_OUTSIDE;
    *ret = (struct s3_range){first, MIN_OF(last, size - 1) - first + 1};
    return ONE_INSIDE;
}

static bool bytes_unit(struct str *s)
{
    *s = str_trim(*s);
    if (s->len < 6 || !str_ieq((struct str){s->p, 6}, STR("bytes=")))
        return false;
    s->p += 6;
    s->len -= 6;
    return true;
}

enum s3_range_outcome s3_range_parse(struct str header, uint64_t size, struct s3_range ret[S3_RANGES_MAX],
                                     unsigned *ret_count)
{
    unsigned count = 0, seen = 0;
    uint64_t total = 0;
    *ret_count = 0;
    if (!header.p || !bytes_unit(&header))
        return S3_RANGE_NONE;
    for (struct str rest = header, spec; str_split(&rest, ',', &spec);) {
        spec = str_trim(spec);
        if (spec.len == 0)
            continue; /* an empty list element (RFC 9110, 5.6.1.2) */
        struct s3_range r;
        enum one o = one_range(spec, size, &r);
        if (o == ONE_BAD || ++seen > S3_RANGES_MAX)
            return S3_RANGE_NONE;
        if (o == ONE_OUTSIDE)
            continue;
        if (r.length > size - total)
            return S3_RANGE_NONE; /* overlapping ranges that ask for more than there is */
        total += r.length;
        ret[count++] = r;
    }
    if (seen == 0)
        return S3_RANGE_NONE;
    *ret_count = count;
    return count ? S3_RANGE_OK : S3_RANGE_UNSATISFIABLE;
}

bool s3_range_copy(struct str header, uint64_t *ret_first, uint64_t *ret_last)
{
    if (!bytes_unit(&header))
        return false;
    const char *dash = header.len ? memchr(header.p, '-', header.len) : NULL;
    if (!dash)
        return false;
    struct str left = {header.p, (size_t)(dash - header.p)};
    struct str right = {dash + 1, header.len - left.len - 1};
    return number(left, ret_first) && number(right, ret_last) && *ret_first <= *ret_last && *ret_last != UINT64_MAX;
}
