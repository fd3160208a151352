/* Any bytes as an XML document: no crash, and what is read stays within the limits; text that was read can be written
 * and read again. */
#include "gateway-s3/xml.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned count(const struct xml_node *n, unsigned depth)
{
    unsigned all = 0;
    if (depth > XML_DEPTH_MAX)
        abort();
    for (; n; n = n->next)
        all += 1 + count(n->child, depth + 1);
    return all;
}

static void round_trip(const struct xml_node *n)
{
    struct sbuf out = {0};
    struct arena a;
    struct xml_node *root;
    xml_open(&out, "r");
    xml_str(&out, "t", n->text);
    xml_close(&out, "r");
    arena_init(&a, 16 * MIB);
    int err = xml_parse(&a, (struct str){out.p, out.len}, &root);
    if (err != 0 || !str_eq(xml_text(root, "t"), n->text))
        abort();
    arena_fini(&a);
    sbuf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct xml_node *root;
    arena_init(&a, 64 * MIB);
    if (xml_parse(&a, (struct str){(const char *)data, size}, &root) == 0) {
        if (count(root, 1) > XML_NODES_MAX)
            abort();
        round_trip(root);
    }
    arena_fini(&a);
    struct sbuf out = {0};
    xml_escape(&out, (struct str){(const char *)data, size});
    sbuf_fini(&out);
    return 0;
}
