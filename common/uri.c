/* uri - percent-encoding, decoded exactly once. Authorisation and storage both use what uri_decode returned, so there
 * is no second reading of a path for an attacker to exploit. */
#include "common/uri.h"
#include "common/err.h"

static const char upper_hex[] = "0123456789ABCDEF";

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int uri_decode(struct arena *a, struct str in, struct str *ret)
{
    char *out = arena_alloc(a, in.len + 1);
    size_t len = 0;
    if (!out)
        return -ENOMEM;
    for (size_t i = 0; i < in.len; i++) {
        char c = in.p[i];
        if (c == '%') {
            int hi = i + 2 < in.len ? hex_value(in.p[i + 1]) : -1;
            int lo = i + 2 < in.len ? hex_value(in.p[i + 2]) : -1;
            if (hi < 0 || lo < 0)
                return -EINVAL;
            c = (char)(hi << 4 | lo);
            i += 2;
        }
        if (!c)
            return -EINVAL;
        out[len++] = c;
    }
    *ret = (struct str){out, len};
    return 0;
}

/* RFC 3986, 2.3 */
static bool unreserved(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_' || c == '~';
}

static size_t encode_byte(char c, bool keep_slash, char out[3])
{
    out[0] = c;
    if (unreserved(c) || (keep_slash && c == '/'))
        return 1;
    out[0] = '%';
    out[1] = upper_hex[(uint8_t)c >> 4];
    out[2] = upper_hex[(uint8_t)c & 15];
    return 3;
}

struct str uri_encode(struct arena *a, struct str in, bool keep_slash)
{
    size_t len = 0;
    char unit[3];
    for (size_t i = 0; i < in.len; i++)
        len += encode_byte(in.p[i], keep_slash, unit);
    char *out = arena_alloc(a, len + 1);
    if (!out)
        return STR_NONE;
    size_t at = 0;
    for (size_t i = 0; i < in.len; i++) {
        size_t n = encode_byte(in.p[i], keep_slash, unit);
        memcpy(out + at, unit, n);
        at += n;
    }
    return (struct str){out, len};
}

void uri_encode_to(struct sbuf *out, struct str in, bool keep_slash)
{
    char chunk[256];
    size_t len = 0;
    for (size_t i = 0; i < in.len; i++) {
        if (len + 3 > sizeof chunk) {
            sbuf_add(out, chunk, len);
            len = 0;
        }
        len += encode_byte(in.p[i], keep_slash, chunk + len);
    }
    sbuf_add(out, chunk, len);
}

static int param_read(struct arena *a, struct str part, struct uri_param *ret)
{
    const char *equals = memchr(part.p, '=', part.len);
    size_t name_len = equals ? (size_t)(equals - part.p) : part.len;
    ret->has_equals = equals != NULL;
    ret->raw_name = (struct str){part.p, name_len};
    ret->raw_value = equals ? (struct str){equals + 1, part.len - name_len - 1} : (struct str){part.p + part.len, 0};
    int err = uri_decode(a, ret->raw_name, &ret->name);
    return err ? err : uri_decode(a, ret->raw_value, &ret->value);
}

int uri_query(struct arena *a, struct str raw, struct uri_param **ret_params, size_t *ret_count)
{
    size_t most = 1, count = 0;
    for (size_t i = 0; i < raw.len; i++)
        most += raw.p[i] == '&';
    most = MIN_OF(most, URI_PARAM_MAX);
    struct uri_param *params = arena_alloc(a, most * sizeof *params);
    if (!params)
        return -ENOMEM;
    for (size_t at = 0; at < raw.len;) {
        const char *amp = memchr(raw.p + at, '&', raw.len - at);
        size_t end = amp ? (size_t)(amp - raw.p) : raw.len;
        struct str part = {raw.p + at, end - at};
        at = end + 1;
        if (part.len == 0)
            continue; /* "a&&b": nothing stands between */
        if (count == most)
            return -E2BIG;
        int err = param_read(a, part, &params[count]);
        if (err)
            return err;
        count++;
    }
    *ret_params = params;
    *ret_count = count;
    return 0;
}

const struct uri_param *uri_param(const struct uri_param *params, size_t count, const char *name)
{
    struct str want = str_c(name);
    for (size_t i = 0; i < count; i++)
        if (str_eq(params[i].name, want))
            return &params[i];
    return NULL;
}
