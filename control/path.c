/* Strict on purpose: a path that two parties could read differently is worth nothing to a learner and much to somebody
 * who looks for the gap between the check and the look-up. So there is no normalising here, only yes or no. */
#include "control/path.h"

#include "common/uri.h"
#include <errno.h>

/* Bytes of the UTF-8 sequence at p, or 0: truncated, overlong, surrogate, or past U+10FFFF (RFC 3629). */
static size_t utf8_len(const uint8_t *p, size_t n)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0;
    if (len == 0 || len > n)
        return 0;
    if (len == 1)
        return 1;
    uint32_t code = p[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if (p[i] >> 6 != 2)
            return 0;
        code = code << 6 | (p[i] & 0x3fu);
    }
    bool surrogate = code >= 0xd800 && code <= 0xdfff;
    return code < least[len] || code > 0x10ffff || surrogate ? 0 : len;
}

static bool text_ok(struct str s)
{
    const uint8_t *p = (const uint8_t *)s.p;
    for (size_t i = 0; i < s.len;) {
        if (p[i] < 0x20 || p[i] == 0x7f || p[i] == '\\' || p[i] == ';')
            return false;
        size_t len = utf8_len(p + i, s.len - i);
        if (len == 0 || (len == 2 && p[i] == 0xc2 && p[i + 1] < 0xa0)) /* C1 controls are controls too */
            return false;
        i += len;
    }
    return true;
}

static bool segments_ok(struct str s)
{
    size_t from = 0;
    for (size_t i = 0; i <= s.len; i++) {
        if (i < s.len && s.p[i] != '/')
            continue;
        struct str part = {s.p + from, i - from};
        if (part.len == 0 || str_eq(part, STR(".")) || str_eq(part, STR("..")))
            return false;
        from = i + 1;
    }
    return true;
}

bool path_key_ok(struct str key)
{
    return key.len > 0 && key.len <= PATH_KEY_MAX && text_ok(key) && segments_ok(key);
}

bool path_prefix_ok(struct str prefix)
{
    if (prefix.len > PATH_KEY_MAX)
        return false;
    if (prefix.len > 1 && prefix.p[prefix.len - 1] == '/')
        prefix.len--;
    return path_key_ok(prefix);
}

/* An escaped separator would be a separator to some and a letter to others. */
static bool escapes_separator(struct str raw)
{
    for (size_t i = 0; i + 2 < raw.len; i++) {
        if (raw.p[i] != '%')
            continue;
        char hi = raw.p[i + 1], lo = (char)(raw.p[i + 2] | 0x20);
        if ((hi == '2' && lo == 'f') || (hi == '5' && lo == 'c'))
            return true;
    }
    return false;
}

int path_decode(struct arena *a, struct str raw, struct str *ret_key)
{
    struct str key;
    if (raw.len == 0 || raw.len > 3 * PATH_KEY_MAX || escapes_separator(raw))
        return -EINVAL;
    int err = uri_decode(a, raw, &key);
    if (err)
        return err;
    if (!path_key_ok(key))
        return -EINVAL;
    *ret_key = key;
    return 0;
}

int path_media_split(struct str raw, struct str *ret_token, struct str *ret_raw_key)
{
    if (!str_starts(raw, PATH_MEDIA))
        return -EINVAL;
    struct str rest = {raw.p + PATH_MEDIA.len, raw.len - PATH_MEDIA.len};
    const char *slash = rest.len ? memchr(rest.p, '/', rest.len) : NULL;
    if (!slash)
        return -EINVAL;
    *ret_token = (struct str){rest.p, (size_t)(slash - rest.p)};
    *ret_raw_key = (struct str){slash + 1, rest.len - ret_token->len - 1};
    return 0;
}
