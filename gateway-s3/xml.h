/* xml - the door to expat: a small tree of a bounded document, and a writer that escapes.
 *
 * Thread: pure. Memory: the tree lives in the caller's arena.
 * Limits: XML_DEPTH_MAX, XML_NODES_MAX; the caller bounds the bytes. A document type, an entity declaration or a
 * processing instruction is refused: S3 has no use for them, attackers have. */
#pragma once
#include "common/arena.h"

#define XML_DEPTH_MAX 16
#define XML_NODES_MAX 120000 /* 10,000 parts with every field that S3 knows */

struct xml_node {
    struct str name; /* local name: a prefix is cut off */
    struct str text; /* all character data directly inside, joined */
    struct xml_node *child, *next;
};
/* -EINVAL: not well-formed or refused; -E2BIG: too deep or too many; -ENOMEM. */
int xml_parse(struct arena *a, struct str bytes, struct xml_node **ret_root);
const struct xml_node *xml_child(const struct xml_node *n, const char *name); /* first, or NULL */
const struct xml_node *xml_next(const struct xml_node *n, const char *name);  /* next sibling of that name, or NULL */
struct str xml_text(const struct xml_node *n, const char *name); /* of the first such child; p NULL when absent */

/* ---- writing ---- */
#define XML_DECLARATION "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
#define XML_S3_NS       "http://s3.amazonaws.com/doc/2006-03-01/"
void xml_open(struct sbuf *out, const char *name);
void xml_open_ns(struct sbuf *out, const char *name); /* with S3's namespace */
void xml_close(struct sbuf *out, const char *name);
void xml_str(struct sbuf *out, const char *name, struct str text); /* <name>escaped</name> */
void xml_c(struct sbuf *out, const char *name, const char *text);
void xml_u64(struct sbuf *out, const char *name, uint64_t v);
void xml_bool(struct sbuf *out, const char *name, bool v);
/* "2026-01-02T03:04:05.678Z" */
void xml_time(struct sbuf *out, const char *name, uint64_t unix_ms);
/* Characters that XML 1.0 cannot carry become a character reference, as S3 writes them; bytes that are not UTF-8 become
 * U+FFFD. */
void xml_escape(struct sbuf *out, struct str text);
