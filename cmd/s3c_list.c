/* s3c_list - ListObjectsV2, page after page, with encoding-type=url so that every key survives XML. */
#include "cmd/s3c.h"
#include "common/uri.h"
#include <stdlib.h>

struct page {
    struct s3c_call call;
    char *token; /* of the next page; owned; NULL: this was the last */
};

static struct str decoded(struct s3c_call *c, struct str text)
{
    struct str plain;
    return text.len && uri_decode(&c->arena, text, &plain) == 0 ? plain : text;
}

static struct str unquoted(struct str s)
{
    return s.len >= 2 && s.p[0] == '"' && s.p[s.len - 1] == '"' ? (struct str){s.p + 1, s.len - 2} : s;
}

static bool objects_of(struct s3c_call *c, const struct xml_node *root,
                       bool (*each)(void *ctx, const struct s3c_object *o), void *ctx)
{
    for (const struct xml_node *n = xml_child(root, "Contents"); n; n = xml_next(n, "Contents")) {
        struct s3c_object o = {.key = decoded(c, xml_text(n, "Key")),
                               .etag = unquoted(xml_text(n, "ETag")),
                               .modified = xml_text(n, "LastModified")};
        if (str_u64(xml_text(n, "Size"), &o.size) != 0 || o.key.len == 0)
            continue;
        if (!each(ctx, &o))
            return false;
    }
    for (const struct xml_node *n = xml_child(root, "CommonPrefixes"); n; n = xml_next(n, "CommonPrefixes")) {
        struct s3c_object o = {.key = decoded(c, xml_text(n, "Prefix")), .is_prefix = true};
        if (!each(ctx, &o))
            return false;
    }
    return true;
}

static int fetch(struct s3c *s, struct page *p, struct str bucket, struct str prefix, const char *delimiter)
{
    s3c_call_init(&p->call, "GET", bucket, STR_NONE);
    if (p->token)
        s3c_call_query(&p->call, "continuation-token", str_c(p->token));
    if (delimiter)
        s3c_call_query(&p->call, "delimiter", str_c(delimiter));
    s3c_call_query(&p->call, "encoding-type", STR("url"));
    s3c_call_query(&p->call, "list-type", STR("2"));
    s3c_call_query(&p->call, "prefix", prefix);
    return s3c_call_do(s, &p->call);
}

int s3c_list(struct s3c *s, const struct cmdline *l, struct str bucket, struct str prefix, const char *delimiter,
             bool (*each)(void *ctx, const struct s3c_object *o), void *ctx)
{
    struct page p = {.token = NULL};
    int rc;
    bool more;
    do {
        rc = fetch(s, &p, bucket, prefix, delimiter);
        const struct xml_node *root = rc == CMD_OK ? s3c_call_xml(&p.call) : NULL;
        if (rc == CMD_OK && !root)
            rc = CMD_FAILED;
        if (rc != CMD_OK)
            cmd_error(l, "s3://" STR_FMT " cannot be listed: %s", STR_ARG(bucket), s3c_call_why(s, &p.call));
        free(p.token);
        p.token = NULL;
        more = root && str_eq(xml_text(root, "IsTruncated"), STR("true"));
        if (root && !objects_of(&p.call, root, each, ctx))
            more = false;
        struct str next = root ? xml_text(root, "NextContinuationToken") : STR_NONE;
        if (more && next.len)
            p.token = strndup(next.p, next.len);
        more = more && p.token;
        s3c_call_fini(&p.call);
    } while (more);
    free(p.token);
    return rc;
}
