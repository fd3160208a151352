/* GetObjectAttributes: what an object is, without its bytes, chosen by x-amz-object-attributes. */
#include "gateway-s3/s3_object.h"

enum { WANT_ETAG = 1, WANT_CHECKSUM = 2, WANT_PARTS = 4, WANT_CLASS = 8, WANT_SIZE = 16 };
struct attributes {
    unsigned want;
    uint64_t max_parts, marker;
};

static bool read_want(struct s3_request *s, unsigned *ret)
{
    static const struct {
        struct str name;
        unsigned bit;
    } names[] = {{{"ETag", 4}, WANT_ETAG},
                 {{"Checksum", 8}, WANT_CHECKSUM},
                 {{"ObjectParts", 11}, WANT_PARTS},
                 {{"StorageClass", 12}, WANT_CLASS},
                 {{"ObjectSize", 10}, WANT_SIZE}};
    struct str all = s3_header(s, "x-amz-object-attributes"), rest = all, word;
    *ret = 0;
    while (str_split(&rest, ',', &word)) {
        unsigned bit = 0;
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
            if (str_eq(str_trim(word), names[i].name))
                bit = names[i].bit;
        if (!bit) {
            s3_invalid_argument(s, "x-amz-object-attributes", all, "Invalid attribute name specified.");
            return false;
        }
        *ret |= bit;
    }
    if (*ret)
        return true;
    s3_fail_text(s, S3_InvalidRequest,
                 "The x-amz-object-attributes header specifying the attributes to be retrieved is "
                 "either missing or empty");
    return false;
}

static void put_parts(struct s3_request *s, struct sbuf *out, const Pb__Object *o, const struct attributes *a)
{
    if (o->n_parts == 0)
        return;
    uint64_t shown = 0, last = 0;
    bool truncated = false;
    struct sbuf parts = {0};
    for (size_t i = 0; i < o->n_parts; i++) {
        const Pb__Part *p = o->parts[i];
        if (i + 1 <= a->marker)
            continue;
        if (shown == a->max_parts) {
            truncated = true;
            break;
        }
        xml_open(&parts, "Part");
        s3_checksum_xml(s, &parts, p->checksums, p->n_checksums, 0, false);
        xml_u64(&parts, "PartNumber", i + 1); /* as GET's partNumber counts */
        xml_u64(&parts, "Size", p->size);
        xml_close(&parts, "Part");
        last = i + 1;
        shown++;
    }
    xml_open(out, "ObjectParts");
    xml_bool(out, "IsTruncated", truncated);
    xml_u64(out, "MaxParts", a->max_parts);
    xml_u64(out, "NextPartNumberMarker", last);
    xml_u64(out, "PartNumberMarker", a->marker);
    sbuf_add(out, parts.p, parts.len);
    xml_u64(out, "PartsCount", o->n_parts);
    xml_close(out, "ObjectParts");
    out->err = out->err ? out->err : parts.err;
    sbuf_fini(&parts);
}

static void on_object(struct s3_request *s, int status, void *rep)
{
    const struct attributes *a = s->state;
    const Pb__ObjectGetRep *got = status == 0 ? rep : NULL;
    struct sbuf out = {0};
    char date[30];
    if (!got || !got->object) {
        s3_fail(s, status ? s3_error_of(status) : S3_InternalError);
        return;
    }
    const Pb__Object *o = got->object;
    http_date(o->mtime_ms / 1000, date);
    s3_header_add(s, "Last-Modified", str_c(date));
    sbuf_puts(&out, XML_DECLARATION);
    xml_open_ns(&out, "GetObjectAttributesResponse");
    if (a->want & WANT_ETAG)
        xml_c(&out, "ETag", o->etag); /* here without quotes, as S3 does */
    if ((a->want & WANT_CHECKSUM) && o->n_checksums) {
        xml_open(&out, "Checksum");
        s3_checksum_xml(s, &out, o->checksums, o->n_checksums, o->n_parts, true);
        xml_close(&out, "Checksum");
    }
    if (a->want & WANT_PARTS)
        put_parts(s, &out, o, a);
    if (a->want & WANT_CLASS)
        xml_c(&out, "StorageClass", "STANDARD");
    if (a->want & WANT_SIZE)
        xml_u64(&out, "ObjectSize", o->size);
    xml_close(&out, "GetObjectAttributesResponse");
    s3_reply_xml(s, &out);
}

static bool header_u64(struct s3_request *s, const char *name, uint64_t dflt, uint64_t *ret)
{
    struct str v = s3_header(s, name);
    *ret = dflt;
    if (!v.p || str_u64(v, ret) == 0)
        return true;
    s3_invalid_argument(s, name, v, "Argument must be an integer");
    return false;
}

void s3_get_attributes(struct s3_request *s)
{
    struct attributes *a = arena_alloc(&s->arena, sizeof *a);
    if (!a) {
        s3_fail(s, S3_InternalError);
        return;
    }
    s->state = a;
    if (!s3_version_ok(s) || !read_want(s, &a->want) || !header_u64(s, "x-amz-max-parts", 1000, &a->max_parts) ||
        !header_u64(s, "x-amz-part-number-marker", 0, &a->marker))
        return;
    a->max_parts = MIN_OF(a->max_parts, 1000);
    s3_object_find(s, s->route.bucket, s->route.key, false, on_object);
}
