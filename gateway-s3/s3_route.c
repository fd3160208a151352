/* The table of operations is walked from the top; the first row whose method, kind of target and selector fit is the
 * operation. The target is found first: the bucket from the Host header or the first segment of the path, the key from
 * the rest, each percent-decoded exactly once. */
#include "gateway-s3/s3_route.h"
#include "gateway-s3/s3_request.h"
#include <ctype.h>

const struct s3_op s3_ops[S3_OP_COUNT] = {
#define S3_OP(id, method, target, selector, handler, rights, auth, body)                                               \
    [S3_OP_##id] = {#id, HTTP_M_##method, S3_TARGET_##target, selector, handler, rights, auth, body},
#include "gateway-s3/s3_ops.def"
#undef S3_OP
};

static bool alnum_lower(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool looks_like_ipv4(struct str s)
{
    unsigned dots = 0;
    for (size_t i = 0; i < s.len; i++) {
        dots += s.p[i] == '.';
        if (s.p[i] != '.' && (s.p[i] < '0' || s.p[i] > '9'))
            return false;
    }
    return dots == 3;
}

static bool ends_with(struct str s, struct str tail)
{
    return s.len >= tail.len && memcmp(s.p + s.len - tail.len, tail.p, tail.len) == 0;
}

bool s3_bucket_name_ok(struct str n)
{
    if (n.len < 3 || n.len > 63 || !alnum_lower(n.p[0]) || !alnum_lower(n.p[n.len - 1]) || looks_like_ipv4(n))
        return false;
    for (size_t i = 0; i < n.len; i++) {
        if (!alnum_lower(n.p[i]) && n.p[i] != '-' && n.p[i] != '.')
            return false;
        if (n.p[i] == '.' && n.p[i + 1] == '.') /* the last byte is no '.', so i + 1 is inside */
            return false;
    }
    static const struct str prefixes[] = {{"xn--", 4}, {"sthree-", 7}, {"amzn-s3-demo-", 13}};
    static const struct str suffixes[] = {
        {"-s3alias", 8}, {"--ol-s3", 7}, {".mrap", 5}, {"--x-s3", 6}, {"--table-s3", 10}};
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
        if (str_starts(n, prefixes[i]))
            return false;
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++)
        if (ends_with(n, suffixes[i]))
            return false;
    return !str_eq(n, STR("healthz")) && !str_eq(n, STR("readyz"));
}

struct str s3_route_host(struct str host, struct str domain)
{
    const char *colon = host.len ? memrchr(host.p, ':', host.len) : NULL;
    if (colon && !memchr(host.p, ']', host.len))
        host.len = (size_t)(colon - host.p);
    if (host.len && host.p[host.len - 1] == '.') /* a name given as absolute */
        host.len--;
    if (domain.len == 0 || host.len < domain.len + 2)
        return STR_NONE;
    size_t n = host.len - domain.len - 1;
    if (host.p[n] != '.' || !str_ieq((struct str){host.p + n + 1, domain.len}, domain))
        return STR_NONE;
    return (struct str){host.p, n};
}

static bool has_header(const struct http_req *r, struct str name)
{
    for (size_t i = 0; i < r->header_count; i++)
        if (str_ieq(r->headers[i].name, name))
            return true;
    return false;
}

static bool has_param(const struct uri_param *params, size_t count, struct str word)
{
    struct str name = word, value = STR_NONE;
    const char *eq = memchr(word.p, '=', word.len);
    if (eq) {
        name.len = (size_t)(eq - word.p);
        value = (struct str){eq + 1, word.len - name.len - 1};
    }
    for (size_t i = 0; i < count; i++)
        if (str_eq(params[i].name, name))
            return !eq || str_eq(params[i].value, value);
    return false;
}

static bool selected(const struct s3_op *op, const struct http_req *r, const struct uri_param *params, size_t count)
{
    struct str rest = str_c(op->selector), word;
    if (rest.len == 0)
        return true;
    while (str_split(&rest, ' ', &word)) {
        struct str name = {word.p + 1, word.len - 1};
        if (word.p[0] == '?' ? !has_param(params, count, name) : !has_header(r, name))
            return false;
    }
    return true;
}

static enum s3_error find_target(struct arena *a, const struct http_req *r, struct str domain, struct s3_route *ret)
{
    if (r->path.len == 0 || r->path.p[0] != '/')
        return S3_InvalidURI;
    struct str rest = {r->path.p + 1, r->path.len - 1};
    struct str host_bucket = s3_route_host(r->host, domain);
    if (host_bucket.p) {
        char *low = arena_copy(a, host_bucket.p, host_bucket.len);
        if (!low)
            return S3_InternalError;
        for (size_t i = 0; i < host_bucket.len; i++)
            low[i] = (char)tolower((unsigned char)low[i]);
        ret->bucket = (struct str){low, host_bucket.len};
        ret->virtual_host = true;
    } else if (rest.len) {
        const char *slash = memchr(rest.p, '/', rest.len);
        struct str raw = {rest.p, slash ? (size_t)(slash - rest.p) : rest.len};
        if (uri_decode(a, raw, &ret->bucket) != 0)
            return S3_InvalidURI;
        if (ret->bucket.len == 0)
            ret->bucket.p = ""; /* "//key": a bucket without a name, refused below */
        rest = slash ? (struct str){slash + 1, rest.len - raw.len - 1} : STR_NONE;
    }
    if (rest.len && uri_decode(a, rest, &ret->key) != 0)
        return S3_InvalidURI;
    return S3_OK;
}

enum s3_error s3_route(struct arena *a, const struct http_req *r, struct str domain, const struct uri_param *params,
                       size_t param_count, struct s3_route *ret)
{
    *ret = (struct s3_route){0};
    enum s3_error e = find_target(a, r, domain, ret);
    if (e != S3_OK)
        return e;
    enum s3_target target = ret->key.len ? S3_TARGET_OBJECT : ret->bucket.p ? S3_TARGET_BUCKET : S3_TARGET_SERVICE;
    for (size_t i = 0; i < S3_OP_COUNT; i++) {
        const struct s3_op *op = &s3_ops[i];
        if (op->method == r->method && op->target == target && selected(op, r, params, param_count)) {
            ret->op = op;
            break;
        }
    }
    if (!ret->op)
        return S3_MethodNotAllowed;
    if (target != S3_TARGET_SERVICE && !s3_bucket_name_ok(ret->bucket))
        return S3_InvalidBucketName;
    return ret->key.len > S3_KEY_MAX ? S3_KeyTooLongError : S3_OK;
}

enum s3_error s3_route_source(struct arena *a, struct str header, struct str *ret_bucket, struct str *ret_key,
                              struct str *ret_version)
{
    const char *mark = header.len ? memrchr(header.p, '?', header.len) : NULL;
    *ret_version = STR_NONE;
    if (mark) {
        struct str query = {mark + 1, header.len - (size_t)(mark + 1 - header.p)};
        if (str_starts(query, STR("versionId="))) {
            header.len = (size_t)(mark - header.p);
            *ret_version = (struct str){query.p + 10, query.len - 10};
        }
    }
    struct str all;
    if (header.len == 0 || uri_decode(a, header, &all) != 0 || all.len == 0)
        return S3_InvalidArgument;
    if (all.p[0] == '/')
        all = (struct str){all.p + 1, all.len - 1};
    const char *slash = all.len ? memchr(all.p, '/', all.len) : NULL;
    if (!slash)
        return S3_InvalidArgument;
    *ret_bucket = (struct str){all.p, (size_t)(slash - all.p)};
    *ret_key = (struct str){slash + 1, all.len - ret_bucket->len - 1};
    if (ret_key->len == 0 || ret_key->len > S3_KEY_MAX || !s3_bucket_name_ok(*ret_bucket))
        return S3_InvalidArgument;
    return S3_OK;
}
