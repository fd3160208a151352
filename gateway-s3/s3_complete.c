/* CompleteMultipartUpload. The document names parts; the stored parts' checksums are fetched page by page and joined to
 * the object's; then one metadata change, which itself checks order, ETags and sizes, makes the object. When the upload
 * was completed before, the same change answers a retry with the same ETag. */
#include "gateway-s3/s3_upload.h"
#include <stdio.h>

struct complete {
    struct s3_upload upload;
    Pb__Condition *condition;
    Pb__UploadCompleteReq req;
    Pb__PartListReq list;
    size_t joined; /* parts of req that have been found in the listing */
    bool unjoined; /* a listed part is missing or has another kind of checksum: no object checksum */
    bool join_open;
    struct checksum_join join;
    uint64_t size;
};

static void cleanup(struct s3_request *s)
{
    struct complete *c = s->state;
    if (c->join_open)
        checksum_join_fini(&c->join);
}

/* ---- the answer ---- */

static void refused(struct s3_request *s, int status, const Pb__UploadCompleteRep *rep)
{
    const struct complete *c = s->state;
    if (rep && rep->bad_part) {
        char text[16];
        snprintf(text, sizeof text, "%u", rep->bad_part);
        s3_extra(s, "PartNumber", str_c(text));
        for (size_t i = 0; i < c->req.n_parts; i++)
            if (c->req.parts[i]->number == rep->bad_part) {
                s3_extra(s, "ETag", str_c(c->req.parts[i]->etag));
                break;
            }
    }
    if (status == RPC_PART_TOO_SMALL)
        s3_extra(s, "MinSizeAllowed", STR("5242880"));
    if (status == RPC_INVALID_PART || status == RPC_NO_UPLOAD)
        s3_extra(s, "UploadId", str_c(c->upload.id));
    s3_object_refused(s, status);
}

static void put_location(struct s3_request *s, struct sbuf *out)
{
    xml_open(out, "Location");
    sbuf_puts(out, "http://");
    xml_escape(out, s->r->host);
    if (!s->route.virtual_host) {
        sbuf_puts(out, "/");
        xml_escape(out, s->route.bucket);
    }
    sbuf_puts(out, "/");
    uri_encode_to(out, s->route.key, true);
    xml_close(out, "Location");
}

static void on_completed(struct s3_request *s, int status, void *rep)
{
    const Pb__UploadCompleteRep *r = rep;
    const struct complete *c = s->state;
    struct sbuf out = {0};
    if (s3_gone(s))
        return;
    if (status || !r || !r->object || !*r->object->etag) {
        refused(s, status ? status : E_PROTOCOL, r);
        return;
    }
    sbuf_puts(&out, XML_DECLARATION);
    xml_open_ns(&out, "CompleteMultipartUploadResult");
    put_location(s, &out);
    xml_str(&out, "Bucket", s->route.bucket);
    xml_str(&out, "Key", s->route.key);
    s3_xml_etag(&out, r->object->etag);
    s3_checksum_xml(s, &out, r->object->checksums, r->object->n_checksums, c->req.n_parts, true);
    xml_close(&out, "CompleteMultipartUploadResult");
    s3_reply_xml(s, &out);
}

/* ---- the object's checksum ---- */

/* x-amz-checksum-<kind> of the request: the whole object's, perhaps with "-N". False: answered. */
static bool promised_checksum_holds(struct s3_request *s, const struct complete *c, const uint8_t *value)
{
    struct str given = s3_header(s, checksum_header(c->join.kind));
    uint8_t want[CHECKSUM_MAX];
    if (!given.p)
        return true;
    const char *dash = c->join.composite && given.len ? memrchr(given.p, '-', given.len) : NULL;
    if (dash)
        given.len = (size_t)(dash - given.p);
    if (checksum_parse(c->join.kind, given, want) != S3_OK) {
        s3_fail_text(s, S3_InvalidRequest, "Value for %s header is invalid.", checksum_header(c->join.kind));
        return false;
    }
    if (bytes_eq_ct(want, value, checksum_len(c->join.kind)))
        return true;
    s3_fail(s, S3_BadDigest);
    return false;
}

static bool promised_size_holds(struct s3_request *s, const struct complete *c)
{
    struct str given = s3_header(s, "x-amz-mp-object-size");
    uint64_t want;
    if (!given.p || (str_u64(given, &want) == 0 && want == c->size))
        return true;
    s3_fail_text(s, S3_InvalidRequest,
                 "The provided 'x-amz-mp-object-size' header does not match the size of the object");
    return false;
}

/* A promise that cannot be checked is refused, never overlooked. False: answered. */
static bool promises_can_be_checked(struct s3_request *s, const struct complete *c, bool all)
{
    for (unsigned k = CHECKSUM_NONE + 1; k < CHECKSUM_KINDS; k++) {
        const char *header = checksum_header((enum checksum_kind)k);
        if (!s3_header(s, header).p || (all && c->join.kind == (enum checksum_kind)k))
            continue;
        s3_fail_text(s, S3_InvalidRequest,
                     "The %s header cannot be checked: the parts of this upload were not uploaded with it", header);
        return false;
    }
    return true;
}

static void complete(struct s3_request *s)
{
    struct complete *c = s->state;
    bool all = c->join_open && !c->unjoined && c->joined == c->req.n_parts;
    bool found = c->joined == c->req.n_parts; /* else the change itself says which part is wrong */
    if (found && !promises_can_be_checked(s, c, all))
        return;
    if (all) {
        uint8_t value[CHECKSUM_MAX];
        checksum_join_final(&c->join, value);
        c->req.checksums = arena_alloc(&s->arena, sizeof *c->req.checksums);
        if (!c->req.checksums || !(c->req.checksums[0] = s3_checksum_row(s, c->join.kind, value, c->join.composite))) {
            s3_fail(s, S3_InternalError);
            return;
        }
        c->req.n_checksums = 1;
        if (!promised_checksum_holds(s, c, value) || !promised_size_holds(s, c))
            return;
    }
    s3_call(s, RPC_UPLOAD_COMPLETE, &c->req, on_completed);
}

static const Pb__Checksum *checksum_of(const Pb__Part *p, enum checksum_kind kind)
{
    for (size_t i = 0; i < p->n_checksums; i++)
        if (p->checksums[i]->kind == (uint32_t)kind && p->checksums[i]->value.len == checksum_len(kind))
            return p->checksums[i];
    return NULL;
}

/* Both lists ascend, so one pass joins them. */
static void join_page(struct complete *c, const Pb__PartListRep *page)
{
    for (size_t i = 0; i < page->n_parts && c->joined < c->req.n_parts; i++) {
        const Pb__Part *p = page->parts[i];
        if (p->number != c->req.parts[c->joined]->number)
            continue;
        const Pb__Checksum *sum = checksum_of(p, c->join.kind);
        if (sum)
            checksum_join_add(&c->join, sum->value.data, p->size);
        else
            c->unjoined = true;
        c->size += p->size;
        c->joined++;
    }
}

static void ask_parts(struct s3_request *s, uint32_t after);

static void on_parts(struct s3_request *s, int status, void *rep)
{
    struct complete *c = s->state;
    const Pb__PartListRep *page = rep;
    if (s3_gone(s))
        return;
    if (status < 0) {
        s3_fail(s, s3_error_of(status));
        return;
    }
    if (status == 0 && page) {
        join_page(c, page);
        if (page->truncated && page->n_parts && c->joined < c->req.n_parts) {
            ask_parts(s, page->parts[page->n_parts - 1]->number);
            return;
        }
    }
    complete(s);
}

static void ask_parts(struct s3_request *s, uint32_t after)
{
    struct complete *c = s->state;
    c->list.after = after;
    s3_call(s, RPC_PART_LIST, &c->list, on_parts);
}

static void on_upload(struct s3_request *s, struct s3_upload *u)
{
    struct complete *c = s->state;
    struct str type = s3_header(s, "x-amz-checksum-type");
    s3_slow_start(s);
    c->req.upload_id = u->id;
    if (!u->row) { /* completed before: the change knows what it answered */
        complete(s);
        return;
    }
    bool composite = s3_upload_composite(u->row);
    if (type.p && !str_ieq(type, composite ? STR("COMPOSITE") : STR("FULL_OBJECT"))) {
        s3_fail_text(s, S3_InvalidRequest,
                     "The upload was created using the %s checksum type. The complete request must "
                     "use the same.",
                     composite ? "COMPOSITE" : "FULL_OBJECT");
        return;
    }
    c->join_open = checksum_join_init(&c->join, s3_upload_kind(u->row), composite) == 0;
    pb__part_list_req__init(&c->list);
    c->list.bucket = c->req.bucket;
    c->list.key = c->req.key;
    c->list.upload_id = u->id;
    c->list.limit = 1000;
    ask_parts(s, 0);
}

/* ---- the document ---- */

static enum s3_error read_checksums(struct s3_request *s, const struct xml_node *n, Pb__Part *part)
{
    static const char *const elements[CHECKSUM_KINDS] = {
        [CHECKSUM_CRC32] = "ChecksumCRC32",         [CHECKSUM_CRC32C] = "ChecksumCRC32C",
        [CHECKSUM_CRC64NVME] = "ChecksumCRC64NVME", [CHECKSUM_SHA1] = "ChecksumSHA1",
        [CHECKSUM_SHA256] = "ChecksumSHA256",
    };
    for (unsigned k = 0; k < CHECKSUM_KINDS; k++) {
        struct str text = elements[k] ? xml_text(n, elements[k]) : STR_NONE;
        uint8_t value[CHECKSUM_MAX];
        if (text.len == 0)
            continue;
        if (checksum_parse((enum checksum_kind)k, text, value) != S3_OK)
            return S3_InvalidPart;
        if (!part->checksums && !(part->checksums = arena_alloc(&s->arena, CHECKSUM_KINDS * sizeof *part->checksums)))
            return S3_InternalError;
        Pb__Checksum *row = s3_checksum_row(s, (enum checksum_kind)k, value, false);
        if (!row)
            return S3_InternalError;
        part->checksums[part->n_checksums++] = row;
    }
    return S3_OK;
}

static enum s3_error read_part(struct s3_request *s, const struct xml_node *n, Pb__Part **ret)
{
    struct str etag = str_trim(xml_text(n, "ETag")), number = str_trim(xml_text(n, "PartNumber"));
    uint64_t v;
    if (str_u64(number, &v) != 0 || v > UINT32_MAX)
        return S3_MalformedXML;
    if (v < 1 || v > S3_PARTS_MAX)
        return S3_InvalidArgument;
    if (etag.len >= 2 && etag.p[0] == '"' && etag.p[etag.len - 1] == '"')
        etag = (struct str){etag.p + 1, etag.len - 2};
    if (etag.len == 0)
        return S3_MalformedXML;
    Pb__Part *p = arena_alloc(&s->arena, sizeof *p);
    if (!p)
        return S3_InternalError;
    pb__part__init(p);
    p->number = (uint32_t)v;
    p->etag = s3_text(s, etag);
    *ret = p;
    return p->etag ? read_checksums(s, n, p) : S3_InternalError;
}

static enum s3_error read_document(struct s3_request *s, struct complete *c)
{
    struct str text = {s->body.memory.p, s->body.memory.len};
    struct xml_node *root;
    if (text.len == 0 || xml_parse(&s->arena, text, &root) != 0 || !str_eq(root->name, STR("CompleteMultipartUpload")))
        return S3_MalformedXML;
    c->req.parts = arena_alloc(&s->arena, S3_PARTS_MAX * sizeof *c->req.parts);
    if (!c->req.parts)
        return S3_InternalError;
    for (const struct xml_node *n = xml_child(root, "Part"); n; n = xml_next(n, "Part")) {
        size_t i = c->req.n_parts;
        if (i == S3_PARTS_MAX)
            return S3_MalformedXML;
        enum s3_error e = read_part(s, n, &c->req.parts[i]);
        if (e != S3_OK)
            return e;
        if (i && c->req.parts[i]->number <= c->req.parts[i - 1]->number)
            return S3_InvalidPartOrder;
        c->req.n_parts++;
    }
    s3_body_forget(s);
    return c->req.n_parts ? S3_OK : S3_MalformedXML;
}

static void on_document(struct s3_request *s, enum s3_error e)
{
    struct complete *c = s->state;
    uint8_t *version = arena_alloc(&s->arena, 16);
    pb__upload_complete_req__init(&c->req);
    if (e == S3_OK)
        e = read_document(s, c);
    c->req.bucket = s3_text(s, s->route.bucket);
    if (e == S3_OK && (!version || !c->req.bucket))
        e = S3_InternalError;
    if (e != S3_OK) {
        s3_fail(s, e);
        return;
    }
    random_bytes(version, 16);
    c->req.key = s3_bytes(s->route.key);
    c->req.condition = c->condition;
    c->req.version_id = (ProtobufCBinaryData){.data = version, .len = 16};
    c->req.mtime_ms = loop_clock(s->g->loop)->wall_ms(loop_clock(s->g->loop));
    c->req.min_part_bytes = S3_PART_MIN_BYTES;
    c->upload.want_completed = true;
    s3_upload_find(s, &c->upload, on_upload);
}

void s3_complete_upload(struct s3_request *s)
{
    struct complete *c = arena_alloc(&s->arena, sizeof *c);
    if (!c) {
        s3_fail(s, S3_InternalError);
        return;
    }
    s->state = c;
    s->cleanup = cleanup;
    if (!s3_write_condition(s, &c->condition))
        return;
    enum s3_error e = s3_body_to_memory(s, on_document);
    if (e != S3_OK)
        s3_fail(s, e);
}
