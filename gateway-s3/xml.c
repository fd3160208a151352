/* Expat reports elements and text; we hang them into a tree in the arena. Text is gathered in one growing buffer for
 * the open element only: S3's documents hold text in leaves alone, so text before a child element is forgotten when it
 * is blank and kept with what follows otherwise. */
#include "gateway-s3/xml.h"
#include "common/err.h"
#include <expat.h>
#include <stdio.h>
#include <time.h>

struct xml_build {
    XML_Parser parser;
    struct arena *arena;
    struct xml_node *root;
    struct xml_node *open[XML_DEPTH_MAX];
    struct xml_node *last[XML_DEPTH_MAX]; /* last child of open[i] */
    struct sbuf text[XML_DEPTH_MAX];
    unsigned depth, nodes;
    int err;
};

static void build_fail(struct xml_build *b, int err)
{
    if (!b->err)
        b->err = err;
    XML_StopParser(b->parser, XML_FALSE);
}

static struct str local_name(struct arena *a, const char *name)
{
    const char *colon = strrchr(name, ':');
    return arena_str(a, str_c(colon ? colon + 1 : name));
}

static void on_start(void *ctx, const XML_Char *name, const XML_Char **attributes)
{
    struct xml_build *b = ctx;
    (void)attributes;
    if (b->err)
        return;
    if (b->depth == XML_DEPTH_MAX || ++b->nodes > XML_NODES_MAX) {
        build_fail(b, -E2BIG);
        return;
    }
    struct xml_node *n = arena_alloc(b->arena, sizeof *n);
    if (!n || !(n->name = local_name(b->arena, name)).p) {
        build_fail(b, -ENOMEM);
        return;
    }
    if (b->depth == 0)
        b->root = n;
    else if (b->last[b->depth - 1])
        b->last[b->depth - 1]->next = n;
    else
        b->open[b->depth - 1]->child = n;
    if (b->depth)
        b->last[b->depth - 1] = n;
    b->open[b->depth] = n;
    b->last[b->depth] = NULL;
    b->text[b->depth].len = 0;
    b->depth++;
}

static void on_end(void *ctx, const XML_Char *name)
{
    struct xml_build *b = ctx;
    (void)name;
    if (b->err)
        return;
    assert(b->depth > 0);
    struct sbuf *text = &b->text[--b->depth];
    if (text->err)
        build_fail(b, -ENOMEM);
    else if (text->len && !(b->open[b->depth]->text = arena_str(b->arena, (struct str){text->p, text->len})).p)
        build_fail(b, -ENOMEM);
}

static void on_text(void *ctx, const XML_Char *s, int len)
{
    struct xml_build *b = ctx;
    if (!b->err && b->depth)
        sbuf_add(&b->text[b->depth - 1], s, (size_t)len);
}

static void on_doctype(void *ctx, const XML_Char *name, const XML_Char *sysid, const XML_Char *pubid, int internal)
{
    (void)name, (void)sysid, (void)pubid, (void)internal;
    build_fail(ctx, -EINVAL);
}

static void on_instruction(void *ctx, const XML_Char *target, const XML_Char *data)
{
    (void)target, (void)data;
    build_fail(ctx, -EINVAL);
}

int xml_parse(struct arena *a, struct str bytes, struct xml_node **ret_root)
{
    struct xml_build b = {.parser = XML_ParserCreate(NULL), .arena = a};
    if (!b.parser)
        return -ENOMEM;
    if (bytes.len > INT32_MAX)
        b.err = -E2BIG;
    XML_SetUserData(b.parser, &b);
    XML_SetElementHandler(b.parser, on_start, on_end);
    XML_SetCharacterDataHandler(b.parser, on_text);
    XML_SetStartDoctypeDeclHandler(b.parser, on_doctype);
    XML_SetProcessingInstructionHandler(b.parser, on_instruction);
    if (!b.err && XML_Parse(b.parser, bytes.len ? bytes.p : "", (int)bytes.len, 1) != XML_STATUS_OK && !b.err)
        b.err = -EINVAL;
    XML_ParserFree(b.parser);
    for (unsigned i = 0; i < XML_DEPTH_MAX; i++)
        sbuf_fini(&b.text[i]);
    if (b.err)
        return b.err;
    *ret_root = b.root;
    return 0;
}

const struct xml_node *xml_next(const struct xml_node *n, const char *name)
{
    for (n = n->next; n && !str_eq(n->name, str_c(name));)
        n = n->next;
    return n;
}

const struct xml_node *xml_child(const struct xml_node *n, const char *name)
{
    n = n->child;
    while (n && !str_eq(n->name, str_c(name)))
        n = n->next;
    return n;
}

struct str xml_text(const struct xml_node *n, const char *name)
{
    const struct xml_node *c = xml_child(n, name);
    if (!c)
        return STR_NONE;
    return c->text.p ? c->text : STR("");
}

/* ---- writing ---- */

void xml_open(struct sbuf *out, const char *name)
{
    sbuf_printf(out, "<%s>", name);
}

void xml_open_ns(struct sbuf *out, const char *name)
{
    sbuf_printf(out, "<%s xmlns=\"" XML_S3_NS "\">", name);
}

void xml_close(struct sbuf *out, const char *name)
{
    sbuf_printf(out, "</%s>", name);
}

/* Length of the UTF-8 character at p, or 0 when it is none (RFC 3629: shortest form, no surrogates, to U+10FFFF). */
static size_t utf8_len(const unsigned char *p, size_t n)
{
    size_t len = p[0] < 0x80                   ? 1
                 : p[0] >= 0xC2 && p[0] < 0xE0 ? 2
                 : (p[0] & 0xF0) == 0xE0       ? 3
                 : p[0] >= 0xF0 && p[0] < 0xF5 ? 4
                                               : 0;
    if (len == 0 || len > n)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    if (len == 3 && ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F)))
        return 0;
    if (len == 4 && ((p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F)))
        return 0;
    return len;
}

static const char *entity(unsigned char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    default:
        return NULL;
    }
}

void xml_escape(struct sbuf *out, struct str text)
{
    const unsigned char *p = (const unsigned char *)text.p;
    for (size_t i = 0, run = 0; i < text.len; i += run) {
        run = 0;
        while (i + run < text.len && p[i + run] >= 0x20 && p[i + run] < 0x7F && !entity(p[i + run]))
            run++;
        sbuf_add(out, p + i, run);
        if (run || i == text.len)
            continue;
        run = utf8_len(p + i, text.len - i);
        if (entity(p[i]))
            sbuf_puts(out, entity(p[i]));
        else if (run == 1)
            sbuf_printf(out, "&#x%X;", (unsigned)p[i]);
        else if (run)
            sbuf_add(out, p + i, run);
        else
            sbuf_puts(out, "\xEF\xBF\xBD");
        run = run ? run : 1;
    }
}

void xml_str(struct sbuf *out, const char *name, struct str text)
{
    xml_open(out, name);
    xml_escape(out, text);
    xml_close(out, name);
}

void xml_c(struct sbuf *out, const char *name, const char *text)
{
    xml_str(out, name, str_c(text));
}

void xml_u64(struct sbuf *out, const char *name, uint64_t v)
{
    sbuf_printf(out, "<%s>%llu</%s>", name, (unsigned long long)v, name);
}

void xml_bool(struct sbuf *out, const char *name, bool v)
{
    xml_c(out, name, v ? "true" : "false");
}

void xml_time(struct sbuf *out, const char *name, uint64_t unix_ms)
{
    time_t s = (time_t)(unix_ms / 1000);
    struct tm tm;
    char text[32];
    gmtime_r(&s, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    sbuf_printf(out, "<%s>%s.%03uZ</%s>", name, text, (unsigned)(unix_ms % 1000), name);
}
