/* xml: what comes in is bounded and free of tricks; what goes out is well-formed whatever the bytes are. */
#include "common/err.h"
#include "gateway-s3/xml.h"
#include <criterion/criterion.h>
#include <stdlib.h>

TestSuite(xml, .timeout = 60);

static int parse(struct arena *a, const char *text, struct xml_node **ret)
{
    arena_init(a, 64 * MIB);
    return xml_parse(a, str_c(text), ret);
}

Test(xml, reads_a_document_of_s3_with_or_without_namespace)
{
    static const char *const documents[] = {
        "<Delete><Quiet>true</Quiet><Object><Key>a&amp;b</Key></Object><Object><Key>c</Key></Object></Delete>",
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Delete xmlns=\"" XML_S3_NS "\">\n <Quiet>true</Quiet>\n"
        " <Object><Key>a&#38;b</Key></Object><!-- c --><Object>\n<Key><![CDATA[c]]></Key></Object></Delete>\n",
        "<s:Delete xmlns:s=\"" XML_S3_NS "\"><s:Quiet>true</s:Quiet><s:Object><s:Key>a&amp;b</s:Key></s:Object>"
        "<s:Object><s:Key>c</s:Key></s:Object></s:Delete>",
    };
    for (size_t i = 0; i < ARRAY_LEN(documents); i++) {
        struct arena a;
        struct xml_node *root;
        cr_assert_eq(parse(&a, documents[i], &root), 0, "document %zu", i);
        cr_expect(str_eq(root->name, STR("Delete")));
        cr_expect(str_eq(xml_text(root, "Quiet"), STR("true")));
        cr_expect(xml_text(root, "Absent").p == NULL);
        const struct xml_node *object = xml_child(root, "Object");
        cr_assert(object);
        cr_expect(str_eq(xml_text(object, "Key"), STR("a&b")), "document %zu: " STR_FMT, i,
                  STR_ARG(xml_text(object, "Key")));
        object = xml_next(object, "Object");
        cr_assert(object);
        cr_expect(str_eq(xml_text(object, "Key"), STR("c")));
        cr_expect(!xml_next(object, "Object"));
        arena_fini(&a);
    }
}

Test(xml, refuses_what_s3_has_no_use_for)
{
    static const char *const bad[] = {
        "",
        "   ",
        "text",
        "<a>",
        "<a></b>",
        "<a/><b/>",
        "<a>&undefined;</a>",
        "<a b=c/>",
        "<!DOCTYPE a><a/>",
        "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>",
        "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><a>&x;</a>",
        "<!DOCTYPE a SYSTEM \"http://127.0.0.1/\"><a/>",
        "<?php x?><a/>",
        "<a>\x01</a>",
        "<a>\xff</a>",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct arena a;
        struct xml_node *root = NULL;
        cr_expect_eq(parse(&a, bad[i], &root), -EINVAL, "'%s' was taken", bad[i]);
        arena_fini(&a);
    }
}

static int nested(unsigned depth)
{
    struct sbuf text = {0};
    struct arena a;
    struct xml_node *root;
    for (unsigned i = 0; i < depth; i++)
        sbuf_puts(&text, "<a>");
    for (unsigned i = 0; i < depth; i++)
        sbuf_puts(&text, "</a>");
    arena_init(&a, MIB);
    int err = xml_parse(&a, (struct str){text.p, text.len}, &root);
    arena_fini(&a);
    sbuf_fini(&text);
    return err;
}

Test(xml, stops_at_its_depth_and_at_its_number_of_elements)
{
    cr_expect_eq(nested(XML_DEPTH_MAX), 0);
    cr_expect_eq(nested(XML_DEPTH_MAX + 1), -E2BIG);
    cr_expect_eq(nested(100000), -E2BIG);
    struct sbuf text = {0};
    struct arena a;
    struct xml_node *root;
    sbuf_puts(&text, "<a>");
    for (unsigned i = 0; i < XML_NODES_MAX; i++)
        sbuf_puts(&text, "<b/>");
    sbuf_puts(&text, "</a>");
    arena_init(&a, 256 * MIB);
    cr_expect_eq(xml_parse(&a, (struct str){text.p, text.len}, &root), -E2BIG);
    arena_fini(&a);
    arena_init(&a, 64 * KIB);
    cr_expect_eq(xml_parse(&a, (struct str){text.p, text.len}, &root), -ENOMEM, "the arena's limit holds");
    arena_fini(&a);
    sbuf_fini(&text);
}

static void expect_escaped(struct str in, const char *want)
{
    struct sbuf out = {0};
    xml_escape(&out, in);
    cr_expect(str_eq((struct str){out.p, out.len}, str_c(want)), "got '%.*s', expected '%s'", (int)out.len, out.p,
              want);
    sbuf_fini(&out);
}

Test(xml, escapes_every_byte)
{
    expect_escaped(STR(""), "");
    expect_escaped(STR("plain"), "plain");
    expect_escaped(STR("a<b>&\"c'"), "a&lt;b&gt;&amp;&quot;c'");
    expect_escaped(STR("tab\tnl\ncr\r"), "tab&#x9;nl&#xA;cr&#xD;");
    expect_escaped(STR("\x01\x7f"), "&#x1;&#x7F;");
    expect_escaped(STR("h\xc3\xa9 \xf0\x9f\x8e\x89"), "h\xc3\xa9 \xf0\x9f\x8e\x89");
    expect_escaped(STR("\xff\xc3(\xe2\x82"), "\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbd\xef\xbf\xbd");
    expect_escaped(STR("\xc0\xaf\xed\xa0\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
}

Test(xml, what_is_written_reads_back)
{
    struct sbuf out = {0};
    struct arena a;
    struct xml_node *root;
    sbuf_puts(&out, XML_DECLARATION);
    xml_open_ns(&out, "R");
    xml_str(&out, "Key", STR("a<&>\"'\xc3\xa9\n"));
    xml_u64(&out, "Size", UINT64_MAX);
    xml_bool(&out, "Yes", true);
    xml_time(&out, "At", UINT64_C(1136214245678));
    xml_close(&out, "R");
    cr_assert_eq(out.err, 0);
    arena_init(&a, MIB);
    cr_assert_eq(xml_parse(&a, (struct str){out.p, out.len}, &root), 0);
    cr_expect(str_eq(xml_text(root, "Key"), STR("a<&>\"'\xc3\xa9\n")));
    cr_expect(str_eq(xml_text(root, "Size"), STR("18446744073709551615")));
    cr_expect(str_eq(xml_text(root, "Yes"), STR("true")));
    cr_expect(str_eq(xml_text(root, "At"), STR("2006-01-02T15:04:05.678Z")));
    arena_fini(&a);
    sbuf_fini(&out);
}
