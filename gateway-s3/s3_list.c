/* ListObjects V1 and V2 and ListObjectVersions: one metadata call, three documents. The order is that of the keys'
 * bytes; a page's end is named by the last entry, and when that was a common prefix the next page begins behind all of
 * it. */
#include "gateway-s3/s3_list.h"
#include "gateway-s3/s3_object.h"

enum list_kind { LIST_V1, LIST_V2, LIST_VERSIONS };
struct list {
    enum list_kind kind;
    struct str prefix, delimiter, marker; /* as asked; marker: V1 marker, V2 start-after, versions key-marker */
    struct str token;                     /* V2: the continuation-token as sent */
    bool has_marker, url, fetch_owner;
    uint64_t max_keys;
};

static void put_key(struct sbuf *out, const struct list *l, const char *name, struct str key)
{
    if (l->url) {
        xml_open(out, name);
        uri_encode_to(out, key, true);
        xml_close(out, name);
    } else {
        xml_str(out, name, key);
    }
}

static void put_owner(struct sbuf *out, const char *owner)
{
    xml_open(out, "Owner");
    xml_c(out, "ID", owner);
    xml_c(out, "DisplayName", owner);
    xml_close(out, "Owner");
}

static void put_entry(struct s3_request *s, struct sbuf *out, const struct list *l, const Pb__ListEntry *e)
{
    const Pb__Object *o = e->object;
    const char *name = l->kind == LIST_VERSIONS ? "Version" : "Contents";
    const char *owner = o->owner && *o->owner ? o->owner : s->bucket->owner;
    xml_open(out, name);
    put_key(out, l, "Key", (struct str){(const char *)e->key.data, e->key.len});
    if (l->kind == LIST_VERSIONS) {
        xml_c(out, "VersionId", "null");
        xml_bool(out, "IsLatest", true);
    }
    s3_xml_mtime(out, o->mtime_ms);
    s3_xml_etag(out, o->etag);
    for (size_t i = 0; i < o->n_checksums && i < 1; i++) {
        const char *kind =
            o->checksums[i]->kind < CHECKSUM_KINDS ? checksum_name((enum checksum_kind)o->checksums[i]->kind) : "";
        xml_c(out, "ChecksumAlgorithm", kind);
        xml_c(out, "ChecksumType", o->checksums[i]->composite ? "COMPOSITE" : "FULL_OBJECT");
    }
    xml_u64(out, "Size", o->size);
    if (l->kind != LIST_V2 || l->fetch_owner)
        put_owner(out, owner);
    xml_c(out, "StorageClass", "STANDARD");
    xml_close(out, name);
}

static void put_entries(struct s3_request *s, struct sbuf *out, const struct list *l, const Pb__ObjectListRep *rep)
{
    for (size_t i = 0; i < rep->n_entries; i++)
        if (!rep->entries[i]->is_prefix && rep->entries[i]->object)
            put_entry(s, out, l, rep->entries[i]);
    for (size_t i = 0; i < rep->n_entries; i++) {
        const Pb__ListEntry *e = rep->entries[i];
        if (!e->is_prefix)
            continue;
        xml_open(out, "CommonPrefixes");
        put_key(out, l, "Prefix", (struct str){(const char *)e->key.data, e->key.len});
        xml_close(out, "CommonPrefixes");
    }
}

/* Where the next page begins. */
static struct s3_list_token page_end(const Pb__ObjectListRep *rep)
{
    const Pb__ListEntry *last = rep->entries[rep->n_entries - 1];
    return (struct s3_list_token){{(const char *)last->key.data, last->key.len}, last->is_prefix};
}

static void put_head_v1(struct sbuf *out, const struct list *l, bool truncated, const struct s3_list_token *end)
{
    put_key(out, l, "Marker", l->marker);
    if (truncated && l->delimiter.len)
        put_key(out, l, "NextMarker", end->after);
    xml_u64(out, "MaxKeys", l->max_keys);
}

static void put_head_v2(struct s3_request *s, struct sbuf *out, const struct list *l, bool truncated,
                        const struct s3_list_token *end, size_t count)
{
    if (l->marker.len)
        put_key(out, l, "StartAfter", l->marker);
    if (l->token.p)
        xml_str(out, "ContinuationToken", l->token);
    if (truncated) {
        struct str next = s3_list_token_encode(&s->arena, end);
        out->err = next.p ? out->err : -ENOMEM;
        xml_str(out, "NextContinuationToken", next);
    }
    xml_u64(out, "KeyCount", count);
    xml_u64(out, "MaxKeys", l->max_keys);
}

static void put_head_versions(struct sbuf *out, const struct list *l, bool truncated, const struct s3_list_token *end)
{
    put_key(out, l, "KeyMarker", l->marker);
    xml_c(out, "VersionIdMarker", "");
    if (truncated) {
        put_key(out, l, "NextKeyMarker", end->after);
        if (!end->after_is_prefix)
            xml_c(out, "NextVersionIdMarker", "null");
    }
    xml_u64(out, "MaxKeys", l->max_keys);
}

static void reply_list(struct s3_request *s, const Pb__ObjectListRep *rep)
{
    const struct list *l = s->state;
    const char *root = l->kind == LIST_VERSIONS ? "ListVersionsResult" : "ListBucketResult";
    bool truncated = rep->truncated && rep->n_entries;
    struct s3_list_token end = truncated ? page_end(rep) : (struct s3_list_token){0};
    struct sbuf out = {0};
    sbuf_puts(&out, XML_DECLARATION);
    xml_open_ns(&out, root);
    xml_str(&out, "Name", s->route.bucket);
    put_key(&out, l, "Prefix", l->prefix);
    if (l->kind == LIST_V1)
        put_head_v1(&out, l, truncated, &end);
    else if (l->kind == LIST_V2)
        put_head_v2(s, &out, l, truncated, &end, rep->n_entries);
    else
        put_head_versions(&out, l, truncated, &end);
    if (l->delimiter.len)
        put_key(&out, l, "Delimiter", l->delimiter);
    if (l->url)
        xml_c(&out, "EncodingType", "url");
    xml_bool(&out, "IsTruncated", truncated);
    put_entries(s, &out, l, rep);
    xml_close(&out, root);
    s3_reply_xml(s, &out);
}

static void on_list(struct s3_request *s, int status, void *rep)
{
    if (s3_gone(s))
        return;
    if (status || !rep)
        s3_fail(s, status ? (status == RPC_NOT_FOUND ? S3_NoSuchBucket : s3_error_of(status)) : S3_InternalError);
    else
        reply_list(s, rep);
}

/* ---- asking ---- */

/* A marker that is itself a common prefix stands for all keys under it: it was given out as such. */
static bool marker_is_prefix(const struct list *l)
{
    struct str m = l->marker, d = l->delimiter;
    if (d.len == 0 || m.len < l->prefix.len + d.len || !str_starts(m, l->prefix))
        return false;
    struct str rest = {m.p + l->prefix.len, m.len - l->prefix.len};
    const char *hit = memmem(rest.p, rest.len, d.p, d.len);
    return hit && hit + d.len == rest.p + rest.len;
}

static bool read_common(struct s3_request *s, struct list *l, const char *marker)
{
    struct str encoding = s3_param_value(s, "encoding-type");
    if (encoding.len && !str_eq(encoding, STR("url"))) {
        s3_invalid_argument(s, "encoding-type", encoding, "Invalid Encoding Method specified in Request");
        return false;
    }
    l->url = encoding.len > 0;
    l->prefix = s3_param_value(s, "prefix");
    l->delimiter = s3_param_value(s, "delimiter");
    l->marker = s3_param_value(s, marker);
    if (l->prefix.len > S3_KEY_MAX || l->delimiter.len > S3_KEY_MAX || l->marker.len > S3_KEY_MAX) {
        s3_fail(s, S3_KeyTooLongError);
        return false;
    }
    return s3_param_u64(s, "max-keys", 1000, 1000, true, &l->max_keys);
}

static void ask(struct s3_request *s, const struct s3_list_token *from)
{
    struct list *l = s->state;
    Pb__ObjectListReq *req = arena_alloc(&s->arena, sizeof *req);
    char *bucket = s3_text(s, s->route.bucket);
    if (!req || !bucket) {
        s3_fail(s, S3_InternalError);
        return;
    }
    pb__object_list_req__init(req);
    req->bucket = bucket;
    req->prefix = s3_bytes(l->prefix);
    req->delimiter = s3_bytes(l->delimiter);
    req->after = s3_bytes(from->after);
    req->after_is_prefix = from->after_is_prefix;
    req->limit = (uint32_t)l->max_keys;
    if (l->max_keys == 0) { /* S3 answers an empty page that is not truncated */
        Pb__ObjectListRep none;
        pb__object_list_rep__init(&none);
        reply_list(s, &none);
        return;
    }
    s3_call(s, RPC_OBJECT_LIST, req, on_list);
}

static struct list *begin(struct s3_request *s, enum list_kind kind)
{
    struct list *l = arena_alloc(&s->arena, sizeof *l);
    if (!l) {
        s3_fail(s, S3_InternalError);
        return NULL;
    }
    l->kind = kind;
    s->state = l;
    return l;
}

void s3_list_v1(struct s3_request *s)
{
    struct list *l = begin(s, LIST_V1);
    if (l && read_common(s, l, "marker"))
        ask(s, &(struct s3_list_token){l->marker, marker_is_prefix(l)});
}

void s3_list_versions(struct s3_request *s)
{
    struct list *l = begin(s, LIST_VERSIONS);
    if (l && read_common(s, l, "key-marker"))
        ask(s, &(struct s3_list_token){l->marker, marker_is_prefix(l)});
}

void s3_list_v2(struct s3_request *s)
{
    struct list *l = begin(s, LIST_V2);
    if (!l || !read_common(s, l, "start-after"))
        return;
    struct s3_list_token from = {l->marker, marker_is_prefix(l)};
    l->fetch_owner = str_eq(s3_param_value(s, "fetch-owner"), STR("true"));
    l->token = s3_param_value(s, "continuation-token");
    if (l->token.p && s3_list_token_decode(&s->arena, l->token, &from) != 0) {
        s3_invalid_argument(s, "continuation-token", l->token, "The continuation token provided is incorrect");
        return;
    }
    ask(s, &from);
}
