/* From an object's row to the headers and XML that describe it in an answer. */
#include "gateway-s3/s3_object.h"
#include <stdio.h>

static const struct {
    const char *param, *stored, *header;
} overrides[] = {
    {"response-cache-control", "cache-control", "Cache-Control"},
    {"response-content-disposition", "content-disposition", "Content-Disposition"},
    {"response-content-encoding", "content-encoding", "Content-Encoding"},
    {"response-content-language", "content-language", "Content-Language"},
    {"response-content-type", "content-type", "Content-Type"},
    {"response-expires", "expires", "Expires"},
    {NULL, "x-amz-website-redirect-location", "x-amz-website-redirect-location"},
};

bool s3_overrides_ok(struct s3_request *s)
{
    for (size_t i = 0; i < ARRAY_LEN(overrides); i++) {
        if (!overrides[i].param)
            continue;
        struct str v = s3_param_value(s, overrides[i].param);
        for (size_t k = 0; k < v.len; k++)
            if ((unsigned char)v.p[k] < 0x20 || v.p[k] == 0x7F) {
                s3_invalid_argument(s, overrides[i].param, v, "Header value cannot be represented");
                return false;
            }
    }
    return true;
}

static struct str stored_header(const Pb__Object *o, const char *name)
{
    for (size_t i = 0; i < o->n_headers; i++)
        if (strcmp(o->headers[i]->name, name) == 0)
            return (struct str){(const char *)o->headers[i]->value.data, o->headers[i]->value.len};
    return STR_NONE;
}

void s3_etag_header(struct s3_request *s, const char *etag)
{
    s3_header_addf(s, "ETag", "\"%s\"", etag);
}

void s3_object_headers(struct s3_request *s, const Pb__Object *o)
{
    char date[30];
    http_date(o->mtime_ms / 1000, date);
    s3_header_add(s, "Last-Modified", str_c(date));
    s3_etag_header(s, o->etag);
    s3_header_add(s, "Accept-Ranges", STR("bytes"));
    for (size_t i = 0; i < ARRAY_LEN(overrides); i++) {
        struct str v = overrides[i].param ? s3_param_value(s, overrides[i].param) : STR_NONE;
        if (v.len == 0)
            v = stored_header(o, overrides[i].stored);
        if (v.len == 0 && strcmp(overrides[i].stored, "content-type") == 0)
            v = STR("binary/octet-stream");
        if (v.len)
            s3_header_add(s, overrides[i].header, v);
    }
    for (size_t i = 0; i < o->n_user_meta; i++) {
        const Pb__Pair *p = o->user_meta[i];
        char *name = arena_printf(&s->r->arena, "x-amz-meta-%s", p->name);
        if (name)
            s3_header_add(s, name, (struct str){p->value.data ? (const char *)p->value.data : "", p->value.len});
        else
            s->headers.failed = true;
    }
    if (o->n_tags)
        s3_header_addf(s, "x-amz-tagging-count", "%zu", o->n_tags);
}

/* base64, and "-N" behind a composite one. */
static bool checksum_text(const Pb__Checksum *c, size_t part_count, char *ret, size_t cap)
{
    char base64[BASE64_LEN(CHECKSUM_MAX)];
    if (c->kind == CHECKSUM_NONE || c->kind >= CHECKSUM_KINDS ||
        c->value.len != checksum_len((enum checksum_kind)c->kind))
        return false;
    base64_encode(c->value.data, c->value.len, base64);
    if (c->composite)
        snprintf(ret, cap, "%s-%zu", base64, part_count);
    else
        snprintf(ret, cap, "%s", base64);
    return true;
}

void s3_checksum_headers(struct s3_request *s, Pb__Checksum *const *sums, size_t count, size_t part_count)
{
    char text[BASE64_LEN(CHECKSUM_MAX) + 24];
    for (size_t i = 0; i < count; i++)
        if (checksum_text(sums[i], part_count, text, sizeof text)) {
            s3_header_add(s, checksum_header((enum checksum_kind)sums[i]->kind), str_c(text));
            s3_header_add(s, "x-amz-checksum-type", sums[i]->composite ? STR("COMPOSITE") : STR("FULL_OBJECT"));
            return; /* one is enough, and x-amz-checksum-type speaks of one */
        }
}

void s3_checksum_xml(struct s3_request *s, struct sbuf *out, Pb__Checksum *const *sums, size_t count, size_t part_count,
                     bool with_type)
{
    char text[BASE64_LEN(CHECKSUM_MAX) + 24], name[32];
    (void)s;
    for (size_t i = 0; i < count; i++)
        if (checksum_text(sums[i], part_count, text, sizeof text)) {
            snprintf(name, sizeof name, "Checksum%s", checksum_name((enum checksum_kind)sums[i]->kind));
            xml_c(out, name, text);
            if (with_type)
                xml_c(out, "ChecksumType", sums[i]->composite ? "COMPOSITE" : "FULL_OBJECT");
            return;
        }
}

void s3_xml_etag(struct sbuf *out, const char *etag)
{
    sbuf_printf(out, "<ETag>&quot;%s&quot;</ETag>", etag);
}

void s3_xml_mtime(struct sbuf *out, uint64_t mtime_ms)
{
    xml_time(out, "LastModified", mtime_ms / 1000 * 1000);
}
