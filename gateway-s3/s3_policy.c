/* A policy is JSON: {"expiration": time, "conditions": [{field: value}, ["eq" | "starts-with", "$field", value],
 * ["content-length-range", min, max]]}. It is read in one pass by a small pull parser that knows just these shapes;
 * each condition is judged as it is read and marks the field that it names. */
#include "gateway-s3/s3_policy.h"
#include "common/err.h"
#include <ctype.h>

struct policy {
    struct arena *arena;
    const char *p, *end;
    const struct s3_form *form;
    struct str bucket;
    bool named[S3_FORM_FIELDS];
    struct s3_policy_limits limits;
    const char *why;
    unsigned conditions;
};

static enum s3_error malformed(struct policy *p, const char *what)
{
    if (!p->why)
        p->why = what;
    return S3_InvalidPolicyDocument;
}

static enum s3_error denied(struct policy *p, const char *fmt, struct str what)
{
    char *why = arena_printf(p->arena, "Invalid according to Policy: %s" STR_FMT, fmt, STR_ARG(what));
    p->why = why ? why : "Invalid according to Policy";
    return S3_AccessDenied;
}

/* ---- JSON ---- */

static char peek(struct policy *p)
{
    while (p->p < p->end && (*p->p == ' ' || *p->p == '\t' || *p->p == '\r' || *p->p == '\n'))
        p->p++;
    return p->p < p->end ? *p->p : 0;
}

static bool take(struct policy *p, char c)
{
    if (peek(p) != c || !c)
        return false;
    p->p++;
    return true;
}

static int hex4(struct policy *p, unsigned *ret)
{
    *ret = 0;
    if (p->end - p->p < 4)
        return -EINVAL;
    for (int i = 0; i < 4; i++, p->p++) {
        if (!isxdigit((unsigned char)*p->p))
            return -EINVAL;
        unsigned char c = (unsigned char)tolower((unsigned char)*p->p);
        *ret = *ret << 4 | (unsigned)(c >= 'a' ? c - 'a' + 10 : c - '0');
    }
    return 0;
}

static size_t utf8_put(char *to, unsigned c)
{
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        to[0] = (char)(0xC0 | c >> 6);
        to[1] = (char)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        to[0] = (char)(0xE0 | c >> 12);
        to[1] = (char)(0x80 | (c >> 6 & 63));
        to[2] = (char)(0x80 | (c & 63));
        return 3;
    }
    to[0] = (char)(0xF0 | c >> 18);
    to[1] = (char)(0x80 | (c >> 12 & 63));
    to[2] = (char)(0x80 | (c >> 6 & 63));
    to[3] = (char)(0x80 | (c & 63));
    return 4;
}

/* Behind the backslash; 0: malformed. A pair of surrogates is one character. */
static size_t escape(struct policy *p, char *to)
{
    static const char from[] = "\"\\/bfnrt$", into[] = "\"\\/\b\f\n\r\t$"; /* "\$" is AWS's own */
    unsigned c, low;
    char kind = *p->p++;
    const char *at = kind ? strchr(from, kind) : NULL;
    if (at) {
        *to = into[at - from];
        return 1;
    }
    if (kind != 'u' || hex4(p, &c) != 0 || c == 0 || (c >= 0xDC00 && c < 0xE000))
        return 0;
    if (c >= 0xD800 && c < 0xDC00) {
        if (p->end - p->p < 2 || p->p[0] != '\\' || p->p[1] != 'u')
            return 0;
        p->p += 2;
        if (hex4(p, &low) != 0 || low < 0xDC00 || low > 0xDFFF)
            return 0;
        c = 0x10000 + ((c - 0xD800) << 10 | (low - 0xDC00));
    }
    return utf8_put(to, c);
}

static bool string(struct policy *p, struct str *ret)
{
    if (!take(p, '"'))
        return false;
    char *to = arena_alloc(p->arena, (size_t)(p->end - p->p) + 4);
    size_t n = 0;
    if (!to)
        return false;
    while (p->p < p->end && *p->p != '"') {
        char c = *p->p++;
        if (c == '\\') {
            size_t m = p->p < p->end ? escape(p, to + n) : 0;
            if (m == 0)
                return false;
            n += m;
        } else if ((unsigned char)c < 0x20) {
            return false;
        } else {
            to[n++] = c;
        }
    }
    *ret = (struct str){to, n};
    return take(p, '"');
}

/* A number, bare or in quotes: SDKs send both. */
static bool number(struct policy *p, uint64_t *ret)
{
    struct str text;
    if (peek(p) == '"')
        return string(p, &text) && str_u64(text, ret) == 0;
    const char *from = p->p;
    while (p->p < p->end && *p->p >= '0' && *p->p <= '9')
        p->p++;
    return str_u64((struct str){from, (size_t)(p->p - from)}, ret) == 0;
}

/* ---- conditions ---- */

static struct str field_of(struct policy *p, struct str name)
{
    struct str value = STR("");
    if (str_ieq(name, STR("bucket")))
        value = p->bucket;
    for (unsigned i = 0; i < p->form->count; i++)
        if (str_ieq(p->form->fields[i].name, name)) {
            p->named[i] = true;
            if (!str_ieq(name, STR("bucket")))
                value = p->form->fields[i].value;
        }
    return value;
}

static enum s3_error judge(struct policy *p, bool whole, struct str name, struct str want)
{
    struct str value = field_of(p, name);
    if (whole ? str_eq(value, want) : str_starts(value, want))
        return S3_OK;
    return denied(p, "Policy Condition failed: ", name);
}

static enum s3_error condition_object(struct policy *p)
{
    struct str name, value;
    do {
        if (!string(p, &name) || !take(p, ':') || !string(p, &value))
            return malformed(p, "Invalid Policy: a condition must be {field: value}");
        enum s3_error e = judge(p, true, name, value);
        if (e != S3_OK)
            return e;
    } while (take(p, ','));
    return take(p, '}') ? S3_OK : malformed(p, "Invalid Policy: a condition does not end");
}

static enum s3_error condition_array(struct policy *p)
{
    struct str op, name, value;
    enum s3_error e = S3_OK;
    if (!string(p, &op) || !take(p, ','))
        return malformed(p, "Invalid Policy: a condition must be [operation, field, value]");
    if (str_ieq(op, STR("content-length-range"))) {
        uint64_t min, max;
        if (!number(p, &min) || !take(p, ',') || !number(p, &max))
            return malformed(p, "Invalid Policy: content-length-range needs two numbers");
        p->limits.min_bytes = MAX_OF(p->limits.min_bytes, min);
        p->limits.max_bytes = MIN_OF(p->limits.max_bytes, max);
    } else {
        bool whole = str_ieq(op, STR("eq"));
        if (!whole && !str_ieq(op, STR("starts-with")))
            return malformed(p, "Invalid Policy: unknown operation in a condition");
        if (!string(p, &name) || !take(p, ',') || !string(p, &value) || name.len < 2 || name.p[0] != '$')
            return malformed(p, "Invalid Policy: a condition must be [operation, \"$field\", value]");
        e = judge(p, whole, (struct str){name.p + 1, name.len - 1}, value);
    }
    if (e == S3_OK && !take(p, ']'))
        return malformed(p, "Invalid Policy: a condition does not end");
    return e;
}

static enum s3_error conditions(struct policy *p)
{
    if (!take(p, '['))
        return malformed(p, "Invalid Policy: conditions must be a list");
    if (take(p, ']'))
        return S3_OK;
    do {
        if (++p->conditions > S3_POLICY_CONDITIONS)
            return malformed(p, "Invalid Policy: too many conditions");
        enum s3_error e = take(p, '{')   ? condition_object(p)
                          : take(p, '[') ? condition_array(p)
                                         : malformed(p, "Invalid Policy: a condition must be a list or an object");
        if (e != S3_OK)
            return e;
    } while (take(p, ','));
    return take(p, ']') ? S3_OK : malformed(p, "Invalid Policy: the conditions do not end");
}

/* ---- time ---- */

static bool digits(struct str s, size_t at, size_t n, uint64_t *ret)
{
    return at + n <= s.len && str_u64((struct str){s.p + at, n}, ret) == 0;
}

/* "2007-12-01T12:00:00.000Z", the fraction may be missing. */
static bool time_parse(struct str s, uint64_t *ret_s)
{
    uint64_t y, mo, d, h, mi, se;
    if (s.len < 20 || s.p[4] != '-' || s.p[7] != '-' || s.p[10] != 'T' || s.p[13] != ':' || s.p[16] != ':' ||
        s.p[s.len - 1] != 'Z' || (s.len > 20 && s.p[19] != '.'))
        return false;
    if (!digits(s, 0, 4, &y) || !digits(s, 5, 2, &mo) || !digits(s, 8, 2, &d) || !digits(s, 11, 2, &h) ||
        !digits(s, 14, 2, &mi) || !digits(s, 17, 2, &se) || mo < 1 || mo > 12 || d < 1 || d > 31 || h > 23 || mi > 59 ||
        se > 60 || y < 1970)
        return false;
    /* days since 1970-01-01 in the Gregorian calendar, March as the first month */
    uint64_t year = mo <= 2 ? y - 1 : y, month = (mo + 9) % 12;
    uint64_t days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 306 + 5) / 10 + d - 1 - 719468;
    *ret_s = days * 86400 + h * 3600 + mi * 60 + se;
    return true;
}

static enum s3_error member(struct policy *p, uint64_t now_s, unsigned *seen)
{
    struct str name, text;
    uint64_t until;
    if (!string(p, &name) || !take(p, ':'))
        return malformed(p, "Invalid Policy: Invalid JSON.");
    if (str_ieq(name, STR("conditions"))) {
        *seen |= 2;
        return conditions(p);
    }
    if (!str_ieq(name, STR("expiration")))
        return malformed(p, "Invalid Policy: only expiration and conditions are known");
    *seen |= 1;
    if (!string(p, &text) || !time_parse(text, &until))
        return malformed(p, "Invalid Policy: Invalid 'expiration' value");
    return until > now_s ? S3_OK : denied(p, "Policy expired.", STR(""));
}

/* Fields that nothing vouches for. */
static enum s3_error unnamed(struct policy *p)
{
    static const char *const free_fields[] = {"policy", "x-amz-signature", "file", "signature", "awsaccesskeyid"};
    for (unsigned i = 0; i < p->form->count; i++) {
        struct str name = p->form->fields[i].name;
        if (str_eq(name, STR("bucket")) && !str_eq(p->form->fields[i].value, p->bucket))
            return denied(p, "Policy Condition failed: ", name); /* the form names another than the URL */
        bool ok = p->named[i] || str_starts(name, STR("x-ignore-"));
        for (size_t k = 0; k < ARRAY_LEN(free_fields); k++)
            ok = ok || str_eq(name, str_c(free_fields[k]));
        if (!ok)
            return denied(p, "Extra input fields: ", name);
    }
    return S3_OK;
}

enum s3_error s3_policy_check(struct arena *a, struct str json, const struct s3_form *form, struct str bucket,
                              uint64_t now_s, struct s3_policy_limits *ret, const char **ret_why)
{
    struct policy p = {
        .arena = a, .p = json.p, .end = json.p + json.len, .form = form, .bucket = bucket, .limits = {0, UINT64_MAX}};
    unsigned seen = 0;
    enum s3_error e = take(&p, '{') ? S3_OK : malformed(&p, "Invalid Policy: Invalid JSON.");
    if (e == S3_OK) {
        do
            e = member(&p, now_s, &seen);
        while (e == S3_OK && take(&p, ','));
    }
    if (e == S3_OK && (!take(&p, '}') || peek(&p) || p.p != p.end))
        e = malformed(&p, "Invalid Policy: Invalid JSON.");
    if (e == S3_OK && seen != 3)
        e = malformed(&p, "Invalid Policy: expiration and conditions are needed");
    if (e == S3_OK)
        e = unnamed(&p);
    *ret = p.limits;
    *ret_why = p.why;
    return e;
}
