/* sigv4_canonical - the canonical request: method, path, query, signed headers, their names, payload hash.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
 *
 * Path and query are decoded once and encoded again, so that a client may escape more or less than we would. */
#include "gateway-s3/sigv4_priv.h"
#include <stdlib.h>

struct pair {
    struct str name, value; /* encoded */
};

static int pair_cmp(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    int c = str_cmp(x->name, y->name);
    return c ? c : str_cmp(x->value, y->value);
}

static enum s3_error put_query(struct sigv4_claim *c, struct sbuf *out)
{
    struct arena *arena = &c->r->arena;
    struct pair *pairs = arena_alloc(arena, (c->param_count + 1) * sizeof *pairs);
    size_t count = 0;
    if (!pairs)
        return S3_InternalError;
    for (size_t i = 0; i < c->param_count; i++) {
        if (c->out->kind == SIGV4_PRESIGNED && str_eq(c->params[i].name, STR("X-Amz-Signature")))
            continue; /* the one thing that cannot sign itself */
        struct pair *p = &pairs[count++];
        p->name = uri_encode(arena, c->params[i].name, false);
        p->value = uri_encode(arena, c->params[i].value, false);
        if (!p->name.p || !p->value.p)
            return S3_InternalError;
    }
    qsort(pairs, count, sizeof *pairs, pair_cmp);
    for (size_t i = 0; i < count; i++) {
        sbuf_puts(out, i ? "&" : "");
        sbuf_str(out, pairs[i].name);
        sbuf_add(out, "=", 1);
        sbuf_str(out, pairs[i].value);
    }
    return S3_OK;
}

static bool blank(char b)
{
    return b == ' ' || b == '\t';
}

/* Trimmed; a run of spaces inside becomes one. */
static void put_value(struct sbuf *out, struct str value)
{
    value = str_trim(value);
    if (!value.len)
        return;
    for (size_t i = 0; i < value.len;) {
        size_t start = i;
        while (i < value.len && !blank(value.p[i]))
            i++;
        sbuf_add(out, value.p + start, i - start);
        if (i < value.len)
            sbuf_puts(out, " ");
        while (i < value.len && blank(value.p[i]))
            i++;
    }
}

/* "name:value1,value2\n"; false when the request has no such header. */
static bool put_header(const struct http_req *r, struct str name, struct sbuf *out)
{
    bool found = false;
    sbuf_str(out, name);
    for (size_t i = 0; i < r->header_count; i++) {
        if (!str_ieq(r->headers[i].name, name))
            continue;
        sbuf_puts(out, found ? "," : ":");
        put_value(out, r->headers[i].value);
        found = true;
    }
    sbuf_puts(out, found ? "\n" : ":\n");
    return found;
}

enum s3_error sigv4_canonical(struct sigv4_claim *c, struct sbuf *out, bool *ret_whole)
{
    struct str path;
    int err = uri_decode(&c->r->arena, c->r->path, &path);
    if (err)
        return err == -ENOMEM ? S3_InternalError : S3_InvalidURI;
    sbuf_str(out, c->r->method_text);
    sbuf_add(out, "\n", 1);
    uri_encode_to(out, path.len ? path : STR("/"), true);
    sbuf_add(out, "\n", 1);
    enum s3_error e = put_query(c, out);
    if (e)
        return e;
    sbuf_add(out, "\n", 1);
    *ret_whole = true;
    for (size_t i = 0; i < c->name_count; i++)
        *ret_whole &= put_header(c->r, c->names[i], out);
    for (size_t i = 0; i < c->name_count; i++) {
        sbuf_puts(out, i ? ";" : "\n");
        sbuf_str(out, c->names[i]);
    }
    sbuf_add(out, "\n", 1);
    sbuf_str(out, c->payload);
    return out->err ? S3_InternalError : S3_OK;
}
