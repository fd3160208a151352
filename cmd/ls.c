/* ls - `lectern ls` and `lectern mb`: buckets, and what lies in one, a level or all of it. */
#include "cmd/human.h"
#include "cmd/s3c.h"
#include <jansson.h>
#include <stdio.h>

struct listing {
    struct str prefix;
    json_t *json; /* NULL: print lines */
    uint64_t objects, bytes;
    bool short_names;
};

/* A key on the terminal: control characters of a stranger's key never reach it raw. */
static void print_key(struct str key)
{
    for (size_t i = 0; i < key.len; i++) {
        unsigned char c = (unsigned char)key.p[i];
        if (c < ' ' || c == 127)
            printf("\\x%02x", c);
        else
            putchar(c);
    }
    putchar('\n');
}

static bool each_object(void *ctx, const struct s3c_object *o)
{
    struct listing *ls = ctx;
    struct str name = o->key;
    char size[HUMAN_MAX] = "";
    ls->objects += !o->is_prefix;
    ls->bytes += o->size;
    if (ls->json) {
        json_t *key = json_stringn(o->key.p, o->key.len); /* NULL when it is not UTF-8: such a key is left out */
        if (key && o->is_prefix)
            json_array_append_new(ls->json, json_pack("{s:o}", "prefix", key));
        else if (key)
            json_array_append_new(ls->json,
                                  json_pack("{s:o,s:I,s:s%,s:s%}", "key", key, "size", (json_int_t)o->size, "etag",
                                            o->etag.p, o->etag.len, "modified", o->modified.p, o->modified.len));
        return true;
    }
    if (ls->short_names && str_starts(name, ls->prefix) && name.len > ls->prefix.len)
        name = (struct str){name.p + ls->prefix.len, name.len - ls->prefix.len};
    printf("%-24.*s  %10s  ", (int)o->modified.len, o->modified.len ? o->modified.p : "",
           o->is_prefix ? "folder" : human_bytes(o->size, size));
    print_key(name);
    return true;
}

static int list_objects(struct s3c *s, struct cmdline *l, struct str bucket, struct str prefix)
{
    bool all = cmd_has(l, OPT_RECURSIVE);
    struct listing ls = {.json = cmd_has(l, OPT_JSON) ? json_array() : NULL};
    char total[HUMAN_MAX];
    ls.prefix = prefix;
    while (ls.prefix.len && ls.prefix.p[ls.prefix.len - 1] != '/')
        ls.prefix.len--; /* names are shown below the last '/' */
    ls.short_names = !all;
    int rc = s3c_list(s, l, bucket, prefix, all ? NULL : "/", each_object, &ls);
    if (rc == CMD_OK && ls.json) {
        json_dumpf(ls.json, stdout, JSON_INDENT(2));
        putchar('\n');
    } else if (rc == CMD_OK)
        printf("%llu objects, %s\n", (unsigned long long)ls.objects, human_bytes(ls.bytes, total));
    json_decref(ls.json);
    return rc;
}

static void print_buckets(const struct xml_node *root, bool as_json)
{
    const struct xml_node *list = root ? xml_child(root, "Buckets") : NULL;
    json_t *all = json_array();
    for (const struct xml_node *b = list ? xml_child(list, "Bucket") : NULL; b; b = xml_next(b, "Bucket")) {
        struct str name = xml_text(b, "Name"), made = xml_text(b, "CreationDate");
        if (as_json)
            json_array_append_new(all, json_pack("{s:s%,s:s%}", "bucket", name.p ? name.p : "", name.len, "created",
                                                 made.p ? made.p : "", made.len));
        else
            printf("%-24.*s  s3://" STR_FMT "\n", STR_ARG(made), STR_ARG(name));
    }
    if (as_json) {
        json_dumpf(all, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    json_decref(all);
}

static int list_buckets(struct s3c *s, struct cmdline *l)
{
    struct s3c_call c;
    s3c_call_init(&c, "GET", STR_NONE, STR_NONE);
    int rc = s3c_call_do(s, &c);
    if (rc == CMD_OK)
        print_buckets(s3c_call_xml(&c), cmd_has(l, OPT_JSON));
    else
        cmd_error(l, "%s", s3c_call_why(s, &c));
    s3c_call_fini(&c);
    return rc;
}

int cmd_ls(struct cmdline *l)
{
    struct s3c s;
    struct str bucket, prefix;
    if (l->arg_count && !s3c_address(l->args[0], &bucket, &prefix)) {
        cmd_error(l, "\"%s\" must look like s3://BUCKET or s3://BUCKET/PREFIX", l->args[0]);
        return CMD_USAGE;
    }
    int rc = s3c_open(&s, l, 1);
    if (rc != CMD_OK)
        return rc;
    rc = l->arg_count ? list_objects(&s, l, bucket, prefix) : list_buckets(&s, l);
    s3c_close(&s);
    return rc;
}

int cmd_mb(struct cmdline *l)
{
    struct s3c s;
    struct s3c_call c;
    struct str bucket, key;
    if (!s3c_address(l->args[0], &bucket, &key) || key.len) {
        cmd_error(l, "\"%s\" must look like s3://BUCKET", l->args[0]);
        return CMD_USAGE;
    }
    int rc = s3c_open(&s, l, 1);
    if (rc != CMD_OK)
        return rc;
    s3c_call_init(&c, "PUT", bucket, STR_NONE);
    rc = s3c_call_do(&s, &c);
    if (rc != CMD_OK)
        cmd_error(l, "s3://" STR_FMT " was not made: %s", STR_ARG(bucket), s3c_call_why(&s, &c));
    s3c_call_fini(&c);
    s3c_close(&s);
    return rc;
}
