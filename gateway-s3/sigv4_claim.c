/* sigv4_claim - reads what a request says about its signature, from the Authorization header or from the query, and
 * refuses every form that AWS refuses, with AWS's codes and sentences. Nothing here is secret or trusted yet; the
 * signature is judged by sigv4.c over exactly what was read here. */
#include "gateway-s3/sigv4_priv.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Text of the request in a message: no more than this. */
#define QUOTE_MAX 64
#define QUOTE(s)  (int)MIN_OF((s).len, QUOTE_MAX), (s).p

/* ---- time ---- */

static bool is_leap(uint64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static uint64_t month_days(uint64_t year, uint64_t month)
{
    static const uint8_t length[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return length[month - 1] + (month == 2 && is_leap(year));
}

/* Days since 1970-01-01; year >= 1970. */
static uint64_t days_of(uint64_t year, uint64_t month, uint64_t day)
{
    uint64_t past = year - 1, days = past * 365 + past / 4 - past / 100 + past / 400 + day - 1 - 719162;
    for (uint64_t m = 1; m < month; m++)
        days += month_days(year, m);
    return days;
}

int sigv4_time_parse(struct str s, uint64_t *ret_unix_s)
{
    static const struct {
        uint8_t at, len;
        uint16_t min, max;
    } fields[] = {{0, 4, 1970, 9999}, {4, 2, 1, 12}, {6, 2, 1, 31}, {9, 2, 0, 23}, {11, 2, 0, 59}, {13, 2, 0, 60}};
    uint64_t v[ARRAY_LEN(fields)];
    if (s.len != 16 || s.p[8] != 'T' || s.p[15] != 'Z')
        return -EINVAL;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (str_u64((struct str){s.p + fields[i].at, fields[i].len}, &v[i]))
            return -EINVAL;
        if (v[i] < fields[i].min || v[i] > fields[i].max)
            return -EINVAL;
    }
    if (v[2] > month_days(v[0], v[1]))
        return -EINVAL;
    *ret_unix_s = days_of(v[0], v[1], v[2]) * 86400 + v[3] * 3600 + v[4] * 60 + v[5];
    return 0;
}

void sigv4_time_format(uint64_t unix_s, char ret[17])
{
    time_t t = (time_t)unix_s;
    struct tm tm;
    gmtime_r(&t, &tm);
    strftime(ret, 17, "%Y%m%dT%H%M%SZ", &tm);
}

/* ---- the request's parts ---- */

enum s3_error sigv4_refuse(struct sigv4_claim *c, enum s3_error e, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n > 0)
        c->out->message = arena_copy(&c->r->arena, text, MIN_OF((size_t)n, sizeof text - 1));
    return e;
}

static size_t header_find(const struct http_req *r, struct str name, struct str *ret_first)
{
    size_t count = 0;
    for (size_t i = r->header_count; i-- > 0;)
        if (str_ieq(r->headers[i].name, name)) {
            *ret_first = r->headers[i].value;
            count++;
        }
    return count;
}

static size_t param_find(const struct sigv4_claim *c, struct str name, struct str *ret_first)
{
    size_t count = 0;
    for (size_t i = c->param_count; i-- > 0;)
        if (str_eq(c->params[i].name, name)) {
            *ret_first = c->params[i].value;
            count++;
        }
    return count;
}

/* Where the fault is, in AWS's words and code: the header and the query differ. */
__attribute__((format(printf, 2, 3))) static enum s3_error malformed(struct sigv4_claim *c, const char *fmt, ...)
{
    char what[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    if (c->out->kind == SIGV4_HEADER)
        return sigv4_refuse(c, S3_AuthorizationHeaderMalformed, "The authorization header is malformed; %s", what);
    return sigv4_refuse(c, S3_AuthorizationQueryParametersError, "Error parsing the X-Amz-Credential parameter; %s",
                        what);
}

/* The last part after a '/'; false when there is none. */
static bool cut_last(struct str *rest, struct str *ret_part)
{
    for (size_t i = rest->len; i-- > 0;)
        if (rest->p[i] == '/') {
            *ret_part = (struct str){rest->p + i + 1, rest->len - i - 1};
            rest->len = i;
            return true;
        }
    return false;
}

/* Clients that do not know the region ask for it as if in us-east-1. */
static bool asks_region(const struct sigv4_claim *c)
{
    struct str value;
    return c->r->method == HTTP_M_GET && param_find(c, STR("location"), &value) && str_eq(c->region, STR("us-east-1"));
}

/* access-key/date/region/s3/aws4_request; the access key itself may hold '/'. */
static enum s3_error read_credential(struct sigv4_claim *c, struct str credential, const char *region)
{
    struct str rest = credential, terminal, service;
    bool whole = cut_last(&rest, &terminal) && cut_last(&rest, &service) && cut_last(&rest, &c->region) &&
                 cut_last(&rest, &c->date8);
    if (!whole || rest.len == 0 || rest.len > SIGV4_ACCESS_KEY_MAX || memchr(rest.p, 0, rest.len))
        return malformed(
            c, "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".");
    c->out->access_key = rest;
    c->out->scope = (struct str){c->date8.p, credential.len - rest.len - 1};
    if (!str_eq(terminal, STR("aws4_request")))
        return malformed(c, "incorrect terminal \"%.*s\". This endpoint uses \"aws4_request\".", QUOTE(terminal));
    if (!str_eq(service, STR("s3")))
        return malformed(c, "incorrect service \"%.*s\". This endpoint belongs to \"s3\".", QUOTE(service));
    if (c->region.len > SIGV4_REGION_MAX || (!str_eq(c->region, str_c(region)) && !asks_region(c)))
        return malformed(c, "the region '%.*s' is wrong; expecting '%s'", QUOTE(c->region), region);
    return S3_OK;
}

/* The scope's day is the timestamp's day. */
static enum s3_error check_day(struct sigv4_claim *c)
{
    if (c->date8.len == 8 && memcmp(c->date8.p, c->out->amz_date.p, 8) == 0)
        return S3_OK;
    return malformed(c, "Invalid credential date \"%.*s\". This date is not the same as X-Amz-Date: \"%.8s\".",
                     QUOTE(c->date8), c->out->amz_date.p);
}

/* ---- signed headers ---- */

static bool header_name_ok(struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char b = name.p[i];
        bool token = (b >= 'a' && b <= 'z') || (b >= '0' && b <= '9') || (b && strchr("!#$%&'*+-.^_`|~", b));
        if (!token)
            return false;
    }
    return name.len > 0;
}

static int name_cmp(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static enum s3_error read_names(struct sigv4_claim *c)
{
    struct str rest = c->signed_headers, name;
    size_t most = 1;
    for (size_t i = 0; i < rest.len; i++)
        most += rest.p[i] == ';';
    most = MIN_OF(most, SIGV4_SIGNED_HEADERS_MAX);
    c->names = arena_alloc(&c->r->arena, most * sizeof *c->names);
    if (!c->names)
        return S3_InternalError;
    while (str_split(&rest, ';', &name)) {
        if (!header_name_ok(name) || c->name_count == most)
            return malformed(c, "SignedHeaders must be lower-case header names separated by semicolons.");
        c->names[c->name_count++] = name;
    }
    qsort(c->names, c->name_count, sizeof *c->names, name_cmp);
    for (size_t i = 1; i < c->name_count; i++)
        if (str_eq(c->names[i - 1], c->names[i]))
            return malformed(c, "SignedHeaders names a header twice.");
    return S3_OK;
}

bool sigv4_is_signed(const struct sigv4_claim *c, struct str header)
{
    for (size_t i = 0; i < c->name_count; i++)
        if (str_ieq(c->names[i], header))
            return true;
    return false;
}

static bool must_be_signed(struct str header)
{
    static const struct str prefix = {"x-amz-", 6};
    return str_ieq(header, STR("host")) ||
           (header.len >= prefix.len && str_ieq((struct str){header.p, prefix.len}, prefix));
}

/* host and every x-amz-* header that is there: what is not signed could have been added on the way. */
static enum s3_error check_coverage(struct sigv4_claim *c)
{
    struct sbuf missing = {0};
    if (!sigv4_is_signed(c, STR("host")))
        sbuf_puts(&missing, "host");
    for (size_t i = 0; i < c->r->header_count; i++) {
        struct str name = c->r->headers[i].name;
        if (!must_be_signed(name) || sigv4_is_signed(c, name) || str_ieq(name, STR("host")))
            continue;
        sbuf_puts(&missing, missing.len ? ", " : "");
        sbuf_str(&missing, name);
    }
    enum s3_error e = missing.err ? S3_InternalError : S3_OK;
    if (missing.len) {
        c->out->headers_not_signed = arena_str(&c->r->arena, (struct str){missing.p, missing.len});
        e = sigv4_refuse(c, S3_AccessDenied, "There were headers present in the request which were not signed");
    }
    sbuf_fini(&missing);
    return e;
}

/* ---- payload ---- */

static const struct {
    struct str word;
    enum sigv4_payload payload;
    bool in_presigned;
    bool built;
} payload_words[] = {
    {{"UNSIGNED-PAYLOAD", 16}, PAYLOAD_UNSIGNED, true, true},
    {{"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", 34}, PAYLOAD_CHUNKS, false, true},
    {{"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", 42}, PAYLOAD_CHUNKS_TRAILER, false, true},
    {{"STREAMING-UNSIGNED-PAYLOAD-TRAILER", 34}, PAYLOAD_UNSIGNED_TRAILER, false, true},
    {{"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", 40}, PAYLOAD_CHUNKS, false, false},
    {{"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER", 48}, PAYLOAD_CHUNKS_TRAILER, false, false},
};

static enum s3_error read_payload_word(struct sigv4_claim *c, struct str word)
{
    size_t len;
    c->payload = word;
    for (size_t i = 0; i < ARRAY_LEN(payload_words); i++) {
        if (!str_eq(word, payload_words[i].word))
            continue;
        if (!payload_words[i].built || (c->out->kind == SIGV4_PRESIGNED && !payload_words[i].in_presigned))
            return sigv4_refuse(c, S3_NotImplemented, STR_FMT " is not implemented here.", STR_ARG(word));
        c->out->payload = payload_words[i].payload;
        return S3_OK;
    }
    c->out->payload = PAYLOAD_SHA256;
    if (word.len != 64 || hex_decode(word, c->out->body_sha256, sizeof c->out->body_sha256, &len))
        return sigv4_refuse(c, S3_InvalidArgument,
                            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, "
                            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, STREAMING-UNSIGNED-PAYLOAD-TRAILER or a valid "
                            "sha256 value.");
    return S3_OK;
}

static bool has_body(const struct http_req *r)
{
    return r->chunked || r->content_length > 0;
}

/* Presigned: the query's value, else the (signed) header's, else UNSIGNED-PAYLOAD. Both must agree.
 * In the header form AWS wants the header always. curl 7.88 does not send it, but signs the hash of nothing: that is
 * taken where there is no body (which the signature then binds), and refused in AWS's words where there is one. */
static enum s3_error read_payload(struct sigv4_claim *c)
{
    struct str header = STR_NONE, param = STR_NONE;
    size_t headers = header_find(c->r, STR("x-amz-content-sha256"), &header);
    size_t params = c->out->kind == SIGV4_PRESIGNED ? param_find(c, STR("X-Amz-Content-Sha256"), &param) : 0;
    bool absent = headers == 0 && params == 0;
    if (absent && c->out->kind == SIGV4_HEADER && has_body(c->r))
        return sigv4_refuse(c, S3_InvalidRequest, "Missing required header for this request: x-amz-content-sha256");
    if (headers > 1 || params > 1 || (headers && params && !str_eq(header, param)))
        return sigv4_refuse(c, S3_InvalidArgument, "x-amz-content-sha256 was given more than once.");
    if (absent)
        return read_payload_word(c, c->out->kind == SIGV4_HEADER ? STR(SIGV4_EMPTY_SHA256) : STR("UNSIGNED-PAYLOAD"));
    return read_payload_word(c, params ? param : header);
}

/* ---- the Authorization header ---- */

static enum s3_error read_header_time(struct sigv4_claim *c)
{
    static const char *const wanted = "AWS authentication requires a valid Date or x-amz-date header";
    struct str text = STR_NONE;
    size_t count = header_find(c->r, STR("x-amz-date"), &text);
    if (count == 0)
        count = header_find(c->r, STR("date"), &text);
    if (count != 1)
        return sigv4_refuse(c, S3_AccessDenied, "%s", wanted);
    if (sigv4_time_parse(text, &c->time_s) == 0) {
        c->out->amz_date = text;
        return S3_OK;
    }
    if (http_date_parse(text, &c->time_s))
        return sigv4_refuse(c, S3_AccessDenied, "%s", wanted);
    char iso[17];
    sigv4_time_format(c->time_s, iso);
    c->out->amz_date = arena_str(&c->r->arena, (struct str){iso, 16});
    return c->out->amz_date.p ? S3_OK : S3_InternalError;
}

/* "AWS4-HMAC-SHA256 Credential=..., SignedHeaders=..., Signature=..." after the algorithm. */
static enum s3_error read_components(struct sigv4_claim *c, struct str rest, struct str *ret_credential)
{
    struct {
        struct str name;
        struct str *value;
    } parts[] = {{STR("Credential"), ret_credential},
                 {STR("SignedHeaders"), &c->signed_headers},
                 {STR("Signature"), &c->signature}};
    static const char *const wanted =
        "the authorization header requires three components: Credential, SignedHeaders, and Signature.";
    struct str part;
    size_t found = 0;
    while (str_split(&rest, ',', &part)) {
        struct str value = str_trim(part), name = STR_NONE;
        if (!str_split(&value, '=', &name) || !value.p)
            return malformed(c, "%s", wanted);
        size_t i = 0;
        while (i < ARRAY_LEN(parts) && !str_eq(parts[i].name, name))
            i++;
        if (i == ARRAY_LEN(parts) || parts[i].value->p)
            return malformed(c, "%s", wanted);
        *parts[i].value = value;
        found++;
    }
    return found == ARRAY_LEN(parts) ? S3_OK : malformed(c, "%s", wanted);
}

/* "" when the header does not start with the word and a space. */
static struct str after_word(struct str header, struct str word)
{
    if (!str_starts(header, word) || header.len == word.len ||
        !(header.p[word.len] == ' ' || header.p[word.len] == '\t'))
        return STR_NONE;
    return (struct str){header.p + word.len, header.len - word.len};
}

static enum s3_error read_header(struct sigv4_claim *c, struct str header, size_t count, const char *region)
{
    struct str rest = after_word(header, STR(SIGV4_ALGORITHM)), credential = STR_NONE;
    c->out->kind = SIGV4_HEADER;
    if (count > 1)
        return malformed(c, "there is more than one.");
    if (!rest.p && after_word(header, STR("AWS")).p)
        return sigv4_refuse(c, S3_InvalidRequest,
                            "The authorization mechanism you have provided is not supported. "
                            "Please use AWS4-HMAC-SHA256.");
    if (!rest.p && str_starts(header, STR("AWS4-ECDSA-P256-SHA256")))
        return sigv4_refuse(c, S3_NotImplemented,
                            "AWS4-ECDSA-P256-SHA256 is not implemented here. "
                            "Please use AWS4-HMAC-SHA256.");
    if (!rest.p)
        return sigv4_refuse(c, S3_InvalidArgument, "Unsupported Authorization Type");
    enum s3_error e = read_components(c, rest, &credential);
    e = e ? e : read_credential(c, credential, region);
    e = e ? e : read_header_time(c);
    e = e ? e : check_day(c);
    return e;
}

/* ---- the presigned query ---- */

static enum s3_error query_error(struct sigv4_claim *c, const char *what)
{
    return sigv4_refuse(c, S3_AuthorizationQueryParametersError, "%s", what);
}

static enum s3_error read_expires(struct sigv4_claim *c, struct str text)
{
    if (text.len && text.p[0] == '-')
        return query_error(c, "X-Amz-Expires must be non-negative");
    int err = str_u64(text, &c->expires_s);
    if (err == -EINVAL)
        return query_error(c, "X-Amz-Expires should be a number");
    if (err || c->expires_s > SIGV4_EXPIRES_MAX_S)
        return query_error(c, "X-Amz-Expires must be less than a week (in seconds) that is 604800");
    if (c->expires_s == 0)
        return query_error(c, "X-Amz-Expires must be at least 1");
    return S3_OK;
}

static enum s3_error read_algorithm(struct sigv4_claim *c, struct str text)
{
    if (str_eq(text, STR("AWS4-ECDSA-P256-SHA256")))
        return sigv4_refuse(c, S3_NotImplemented,
                            "AWS4-ECDSA-P256-SHA256 is not implemented here. "
                            "Please use AWS4-HMAC-SHA256.");
    if (!str_eq(text, STR(SIGV4_ALGORITHM)))
        return query_error(c, "X-Amz-Algorithm only supports \"" SIGV4_ALGORITHM "\"");
    return S3_OK;
}

static enum s3_error read_query(struct sigv4_claim *c, const char *region)
{
    struct str algorithm, credential, date, expires;
    struct {
        struct str name;
        struct str *value;
    } parts[] = {{STR("X-Amz-Algorithm"), &algorithm},
                 {STR("X-Amz-Credential"), &credential},
                 {STR("X-Amz-Signature"), &c->signature},
                 {STR("X-Amz-Date"), &date},
                 {STR("X-Amz-SignedHeaders"), &c->signed_headers},
                 {STR("X-Amz-Expires"), &expires}};
    c->out->kind = SIGV4_PRESIGNED;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (param_find(c, parts[i].name, parts[i].value) != 1)
            return query_error(
                c, "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, "
                   "X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters, once each.");
    enum s3_error e = read_algorithm(c, algorithm);
    if (!e && sigv4_time_parse(date, &c->time_s))
        e = query_error(c, "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"");
    c->out->amz_date = date;
    e = e ? e : read_expires(c, expires);
    e = e ? e : read_credential(c, credential, region);
    e = e ? e : check_day(c);
    return e;
}

/* ---- all of it ---- */

static bool in_query(const struct sigv4_claim *c, const char *name)
{
    return uri_param(c->params, c->param_count, name) != NULL;
}

/* Keys here are long-lived; a session token could not be verified, so it must not look as if it had been. */
static bool has_token(const struct sigv4_claim *c)
{
    struct str value = STR_NONE;
    return header_find(c->r, STR("x-amz-security-token"), &value) || param_find(c, STR("X-Amz-Security-Token"), &value);
}

enum s3_error sigv4_claim_read(struct sigv4_claim *c, const char *region)
{
    struct str header = STR_NONE;
    size_t headers = header_find(c->r, STR("authorization"), &header);
    bool v4_query = in_query(c, "X-Amz-Algorithm") || in_query(c, "X-Amz-Credential") || in_query(c, "X-Amz-Signature");
    bool v2_query = in_query(c, "Signature") && in_query(c, "AWSAccessKeyId");
    if (headers && (v4_query || v2_query))
        return sigv4_refuse(
            c, S3_InvalidArgument,
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query "
            "string parameter or the Authorization header should be specified");
    if (!headers && !v4_query && v2_query)
        return sigv4_refuse(c, S3_InvalidRequest,
                            "The authorization mechanism you have provided is not supported. "
                            "Please use AWS4-HMAC-SHA256.");
    if (!headers && !v4_query)
        return S3_AccessDenied;
    enum s3_error e = headers ? read_header(c, header, headers, region) : read_query(c, region);
    e = e ? e : read_names(c);
    e = e ? e : check_coverage(c);
    e = e ? e : read_payload(c);
    if (!e && has_token(c))
        e = S3_InvalidToken;
    return e;
}
