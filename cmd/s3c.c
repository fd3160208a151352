/* s3c - one signed request at a time. The signature covers host and every x-amz-* header; the body's SHA-256 is always
 * signed, so that what arrives is what was read from the file. */
#include "cmd/s3c.h"
#include "cmd/credentials.h"
#include "common/crypt.h"
#include "common/err.h"
#include "common/uri.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define CALL_ARENA_MAX (96 * MIB) /* an answer's XML tree and the request's strings */

int s3c_open(struct s3c *s, const struct cmdline *l, unsigned parallel)
{
    struct credentials c;
    memset(s, 0, sizeof(*s));
    int rc = credentials_open(&c, l, true);
    if (rc == CMD_OK) {
        s->endpoint = strdup(c.endpoint);
        s->access_key = strdup(c.access_key);
        s->secret_key = strdup(c.secret_key);
        s->region = strdup(conf_str(&l->conf, CONF_S3_REGION));
        if (!s->endpoint || !s->access_key || !s->secret_key || !s->region ||
            http_client_create(parallel, &s->http) != 0) {
            cmd_error(l, "out of memory");
            s3c_close(s);
            rc = CMD_FAILED;
        }
    }
    credentials_wipe(&c);
    return rc;
}

void s3c_close(struct s3c *s)
{
    if (s->http)
        http_client_destroy(s->http);
    free(s->endpoint);
    free(s->access_key);
    free(s->secret_key);
    free(s->region);
    memset(s, 0, sizeof(*s));
}

void s3c_call_init(struct s3c_call *c, const char *method, struct str bucket, struct str key)
{
    memset(c, 0, sizeof(*c));
    c->method = method;
    c->bucket = bucket;
    c->key = key;
}

void s3c_call_query(struct s3c_call *c, const char *name, struct str value)
{
    assert(c->query_count < S3_QUERY_MAX);
    assert(c->query_count == 0 || strcmp(c->query[c->query_count - 1].name, name) < 0);
    c->query[c->query_count].name = name;
    c->query[c->query_count++].value = value;
}

/* "/bucket/key" and "a=b&c=d", escaped as the signature wants them, which is also how they are sent. */
static void build_target(struct s3c_call *c, struct sbuf *path, struct sbuf *query)
{
    sbuf_puts(path, "/");
    uri_encode_to(path, c->bucket, false);
    if (c->key.len) {
        sbuf_puts(path, "/");
        uri_encode_to(path, c->key, true);
    }
    for (unsigned i = 0; i < c->query_count; i++) {
        sbuf_printf(query, "%s%s=", i ? "&" : "", c->query[i].name);
        uri_encode_to(query, c->query[i].value, false);
    }
}

static struct str host_of(const char *endpoint)
{
    const char *p = strstr(endpoint, "://");
    p = p ? p + 3 : endpoint;
    return (struct str){p, strcspn(p, "/")};
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The signed headers in canonical form, sorted; names (of them, "a;b") beside. */
static void canonical_headers(struct s3c_call *c, struct str host, const char *date, struct sbuf *lines,
                              struct sbuf *names)
{
    char *all[HTTP_CALL_HEADERS];
    unsigned n = 0;
    all[n++] = arena_printf(&c->arena, "host:" STR_FMT, STR_ARG(host));
    all[n++] = arena_printf(&c->arena, "x-amz-content-sha256:%s", c->body_sha256);
    all[n++] = arena_printf(&c->arena, "x-amz-date:%s", date);
    for (unsigned i = 0; i < c->header_count; i++) {
        struct str value = str_c(c->headers[i]), name;
        if (strncasecmp(c->headers[i], "x-amz-", 6) != 0 || !str_split(&value, ':', &name))
            continue;
        value = str_trim(value);
        char *line = arena_printf(&c->arena, STR_FMT ":" STR_FMT, STR_ARG(name), STR_ARG(value));
        for (size_t k = 0; line && k < name.len; k++)
            line[k] = (char)(line[k] >= 'A' && line[k] <= 'Z' ? line[k] + 32 : line[k]);
        all[n++] = line;
    }
    qsort(all, n, sizeof(all[0]), compare_lines);
    for (unsigned i = 0; i < n; i++) {
        sbuf_printf(lines, "%s\n", all[i]);
        sbuf_printf(names, "%s%.*s", i ? ";" : "", (int)strcspn(all[i], ":"), all[i]);
    }
}

static void hmac_text(const uint8_t *key, size_t key_len, const char *text, uint8_t ret[32])
{
    hmac_sha256(key, key_len, text, strlen(text), ret);
}

static void sign(const struct s3c *s, const char *date, const char *to_sign, char ret_hex[65])
{
    char first[256], day[9];
    uint8_t k[32];
    snprintf(day, sizeof(day), "%.8s", date);
    int n = snprintf(first, sizeof(first), "AWS4%s", s->secret_key);
    hmac_text((const uint8_t *)first, MIN_OF((size_t)n, sizeof(first) - 1), day, k);
    explicit_bzero(first, sizeof(first));
    hmac_text(k, sizeof(k), s->region, k);
    hmac_text(k, sizeof(k), "s3", k);
    hmac_text(k, sizeof(k), "aws4_request", k);
    hmac_text(k, sizeof(k), to_sign, k);
    hex_encode(k, sizeof(k), ret_hex);
}

static void hash_hex(struct str s, char ret[65])
{
    uint8_t raw[32];
    digest_once(DIGEST_SHA256, s.p ? s.p : "", s.len, raw);
    hex_encode(raw, sizeof(raw), ret);
}

static const char *authorization(struct s3c *s, struct s3c_call *c, const char *date, struct str path, struct str query)
{
    struct sbuf lines = {0}, names = {0}, canonical = {0};
    char hash[65], signature[65];
    canonical_headers(c, host_of(s->endpoint), date, &lines, &names);
    sbuf_printf(&canonical, "%s\n" STR_FMT "\n" STR_FMT "\n%s\n%s\n%s", c->method, STR_ARG(path), STR_ARG(query),
                lines.p, names.p, c->body_sha256);
    hash_hex((struct str){canonical.p, canonical.len}, hash);
    char *scope = arena_printf(&c->arena, "%.8s/%s/s3/aws4_request", date, s->region);
    char *to_sign = arena_printf(&c->arena, "AWS4-HMAC-SHA256\n%s\n%s\n%s", date, scope, hash);
    sign(s, date, to_sign, signature);
    const char *line =
        arena_printf(&c->arena, "Authorization: AWS4-HMAC-SHA256 Credential=%s/%s,SignedHeaders=%s,Signature=%s",
                     s->access_key, scope, names.p, signature);
    sbuf_fini(&lines);
    sbuf_fini(&names);
    sbuf_fini(&canonical);
    return line;
}

void s3c_call_sign(struct s3c *s, struct s3c_call *c)
{
    struct sbuf path = {0}, query = {0};
    char date[17];
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(date, sizeof(date), "%Y%m%dT%H%M%SZ", &utc);
    arena_fini(&c->arena);
    arena_init(&c->arena, CALL_ARENA_MAX);
    if (!c->body_sha256[0])
        hash_hex(c->http.body, c->body_sha256);
    build_target(c, &path, &query);
    struct http_call *h = &c->http;
    h->method = c->method;
    h->url = arena_printf(&c->arena, "%s%s%s%s", s->endpoint, path.p, query.len ? "?" : "", query.len ? query.p : "");
    h->header_count = 0;
    h->headers[h->header_count++] = arena_printf(&c->arena, "x-amz-content-sha256: %s", c->body_sha256);
    h->headers[h->header_count++] = arena_printf(&c->arena, "x-amz-date: %s", date);
    h->headers[h->header_count++] =
        authorization(s, c, date, (struct str){path.p, path.len}, (struct str){query.p, query.len});
    for (unsigned i = 0; i < c->header_count; i++)
        h->headers[h->header_count++] = c->headers[i];
    sbuf_fini(&path);
    sbuf_fini(&query);
}

void s3c_call_fini(struct s3c_call *c)
{
    http_call_fini(&c->http);
    arena_fini(&c->arena);
}

int s3c_call_do(struct s3c *s, struct s3c_call *c)
{
    s3c_call_sign(s, c);
    http_client_do(s->http, &c->http);
    return c->http.err == 0 && c->http.status / 100 == 2 ? CMD_OK : CMD_FAILED;
}

const struct xml_node *s3c_call_xml(struct s3c_call *c)
{
    struct xml_node *root;
    struct str text = {c->http.reply.p, c->http.reply.len};
    return text.len && xml_parse(&c->arena, text, &root) == 0 ? root : NULL;
}

bool s3c_call_failed_for_now(const struct s3c_call *c)
{
    int e = c->http.err, status = c->http.status;
    return e == -ECONNREFUSED || e == -ETIMEDOUT || e == E_LIB ||
           (e == 0 && (status == 429 || (status >= 500 && status != 501)));
}

/* What helps, for the errors that people meet. */
static const char *advice(struct str code)
{
    static const char *const rows[][2] = {
        {"NoSuchBucket", "`lectern ls` shows the buckets, `lectern mb s3://NAME` makes one"},
        {"NoSuchKey", "`lectern ls s3://BUCKET/PREFIX` shows what is there"},
        {"InvalidAccessKeyId", "give the keys in LECTERN_ROOT_ACCESS_KEY and LECTERN_ROOT_SECRET_KEY, or --data DIR"},
        {"SignatureDoesNotMatch", "the secret key is another one: check LECTERN_ROOT_SECRET_KEY, or --data DIR"},
        {"AccessDenied", "this key lacks the right: see `lectern key --help`"},
        {"RequestTimeTooSkewed", "set this machine's clock"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (str_eq(code, str_c(rows[i][0])))
            return rows[i][1];
    return NULL;
}

const char *s3c_call_why(struct s3c *s, struct s3c_call *c)
{
    const char *why;
    if (c->http.err)
        why = arena_printf(
            &c->arena, "%s: %s%s", s->endpoint, c->http.why,
            c->http.err == -ECONNREFUSED ? ": is `lectern serve` running there? (--endpoint names another)" : "");
    else {
        const struct xml_node *root = s3c_call_xml(c);
        struct str code = root ? xml_text(root, "Code") : STR_NONE,
                   message = root ? xml_text(root, "Message") : STR_NONE;
        if (c->http.status == 404 && !code.p)
            code = STR("NoSuchKey"), message = STR("there is no such object");
        const char *help = advice(code);
        why = arena_printf(&c->arena, "%d " STR_FMT ": " STR_FMT "%s%s", c->http.status, STR_ARG(code),
                           STR_ARG(message), help ? " " : "", help ? help : "");
    }
    return why ? why : "out of memory";
}

bool s3c_address(const char *text, struct str *ret_bucket, struct str *ret_key)
{
    if (strncmp(text, "s3://", 5) != 0)
        return false;
    text += 5;
    size_t n = strcspn(text, "/");
    *ret_bucket = (struct str){text, n};
    *ret_key = str_c(text[n] ? text + n + 1 : text + n);
    return n > 0;
}
