/* UploadPart and UploadPartCopy. The upload is looked up before the body is asked for; the part's bytes become an
 * extent of their own, which the finished object will name without copying them. */
#include "gateway-s3/s3_range.h"
#include "gateway-s3/s3_source.h"
#include "gateway-s3/s3_upload.h"

struct part {
    struct s3_source source; /* first: s3_source_find expects it so; unused by UploadPart */
    struct s3_upload upload;
    Pb__Part *row;
    uint64_t first, length;
    bool copied;
};

static void cleanup(struct s3_request *s)
{
    struct part *p = s->state;
    s3_source_fini(&p->source);
}

static void reply_copied(struct s3_request *s, const struct part *p)
{
    struct sbuf out = {0};
    sbuf_puts(&out, XML_DECLARATION);
    xml_open_ns(&out, "CopyPartResult");
    s3_xml_mtime(&out, p->row->mtime_ms);
    s3_xml_etag(&out, p->row->etag);
    s3_checksum_xml(s, &out, p->row->checksums, p->row->n_checksums, 0, false);
    xml_close(&out, "CopyPartResult");
    s3_reply_xml(s, &out);
}

static void on_part_put(struct s3_request *s, int status, void *rep)
{
    struct part *p = s->state;
    (void)rep;
    if (p->copied)
        s3_source_settled(&p->source, status);
    else
        s3_body_settled(s, status);
    if (status) {
        s3_fail(s, s3_error_of(status));
    } else if (p->copied) {
        reply_copied(s, p);
    } else {
        s3_etag_header(s, p->row->etag);
        s3_checksum_headers(s, p->row->checksums, p->row->n_checksums, 0);
        s3_reply_empty(s, 200);
    }
}

static bool fill_row(struct s3_request *s, Pb__Part *row, const struct client_write_result *res)
{
    row->size = res->size;
    if (res->size == 0)
        return true; /* an empty part has no extent */
    row->extents = arena_alloc(&s->arena, sizeof *row->extents);
    if (!row->extents)
        return false;
    row->extents[0] = res->extent;
    row->n_extents = 1;
    return true;
}

static bool describe_part(struct s3_request *s, Pb__Part *row, const uint8_t md5[16], enum checksum_kind kind,
                          const uint8_t *value)
{
    row->etag = arena_alloc(&s->arena, 33);
    row->checksums = arena_alloc(&s->arena, 2 * sizeof *row->checksums);
    if (!row->etag || !row->checksums || !(row->checksums[0] = s3_checksum_row(s, kind, value, false)))
        return false;
    row->n_checksums = 1;
    hex_encode(md5, 16, row->etag);
    row->mtime_ms = loop_clock(s->g->loop)->wall_ms(loop_clock(s->g->loop));
    return true;
}

static void commit(struct s3_request *s, const struct client_write_result *res)
{
    struct part *p = s->state;
    Pb__PartPutReq *req = arena_alloc(&s->arena, sizeof *req);
    ProtobufCBinaryData *ids = arena_alloc(&s->arena, sizeof *ids);
    char *bucket = s3_text(s, s->route.bucket);
    if (!req || !ids || !bucket || !fill_row(s, p->row, res)) {
        s3_fail(s, S3_InternalError);
        return;
    }
    pb__part_put_req__init(req);
    req->bucket = bucket;
    req->key = s3_bytes(s->route.key);
    req->upload_id = p->upload.id;
    req->part = p->row;
    if (p->row->n_extents) {
        ids[0] = res->extent->write_id;
        req->write_ids = ids;
        req->n_write_ids = 1;
    }
    s3_call(s, RPC_PART_PUT, req, on_part_put);
}

static bool read_number(struct s3_request *s, struct part *p)
{
    struct str text = s3_param_value(s, "partNumber");
    uint64_t n;
    if (str_u64(text, &n) != 0 || n < 1 || n > S3_PARTS_MAX) {
        s3_invalid_argument(s, "partNumber", text, "Part number must be an integer between 1 and 10000, inclusive");
        return false;
    }
    p->row = arena_alloc(&s->arena, sizeof *p->row);
    if (!p->row) {
        s3_fail(s, S3_InternalError);
        return false;
    }
    pb__part__init(p->row);
    p->row->number = (uint32_t)n;
    return true;
}

/* ---- UploadPart ---- */

/* An upload made without an algorithm becomes an object with CRC64NVME, whatever its parts were sent with (AWS). */
static bool add_crc64(struct s3_request *s, Pb__Part *row)
{
    if (!s->body.also_crc64 || s->body.kind == CHECKSUM_CRC64NVME)
        return true;
    Pb__Checksum *c = s3_checksum_row(s, CHECKSUM_CRC64NVME, s->body.crc64, false);
    if (c)
        row->checksums[row->n_checksums++] = c;
    return c != NULL;
}

static void on_body(struct s3_request *s, enum s3_error e)
{
    struct part *p = s->state;
    if (e == S3_OK && (!describe_part(s, p->row, s->body.md5, s->body.kind, s->body.value) || !add_crc64(s, p->row)))
        e = S3_InternalError;
    if (e == S3_OK)
        commit(s, s->body.result);
    else
        s3_fail(s, e);
}

static void on_upload(struct s3_request *s, struct s3_upload *u)
{
    struct checksum_want want;
    enum s3_error e = checksum_wanted(s->r, &want);
    s->body.also_crc64 = u->row->checksum_kind == CHECKSUM_NONE;
    if (e == S3_OK && want.kind != CHECKSUM_NONE && u->row->checksum_kind != CHECKSUM_NONE &&
        want.kind != s3_upload_kind(u->row)) {
        s3_fail_text(s, S3_InvalidRequest,
                     "Checksum Type mismatch occurred, expected checksum Type: %s, actual checksum "
                     "Type: %s",
                     checksum_name(s3_upload_kind(u->row)), checksum_name(want.kind));
        return;
    }
    if (e == S3_OK)
        e = s3_body_to_write(s, false, s3_upload_kind(u->row), on_body);
    if (e != S3_OK)
        s3_fail(s, e);
}

static struct part *begin(struct s3_request *s, bool copied)
{
    struct part *p = arena_alloc(&s->arena, sizeof *p);
    if (!p) {
        s3_fail(s, S3_InternalError);
        return NULL;
    }
    p->copied = copied;
    s->state = p;
    s->cleanup = cleanup;
    return s3_unsupported(s) && read_number(s, p) ? p : NULL;
}

void s3_upload_part(struct s3_request *s)
{
    struct part *p = begin(s, false);
    if (p)
        s3_upload_find(s, &p->upload, on_upload);
}

/* ---- UploadPartCopy ---- */

static void on_copied(struct s3_request *s, enum s3_error e)
{
    struct part *p = s->state;
    if (s3_gone(s))
        return;
    if (e == S3_OK && !describe_part(s, p->row, p->source.md5, p->source.kind, p->source.value))
        e = S3_InternalError;
    if (e == S3_OK)
        commit(s, p->source.result);
    else
        s3_fail(s, e);
}

static void on_source(struct s3_request *s)
{
    struct part *p = s->state;
    struct str range = s3_header(s, "x-amz-copy-source-range");
    uint64_t size = p->source.object->size, last;
    p->length = size;
    if (range.p) {
        if (!s3_range_copy(range, &p->first, &last) || last >= size) {
            s3_invalid_argument(
                s, "x-amz-copy-source-range", range,
                "The x-amz-copy-source-range value must be of the form bytes=first-last where first and "
                "last are the zero-based offsets of the first and last bytes to copy, inside the source");
            return;
        }
        p->length = last - p->first + 1;
    }
    if (p->length > S3_OBJECT_MAX) {
        s3_fail_text(s, S3_InvalidRequest,
                     "The specified copy source is larger than the maximum allowable size for a "
                     "copy source: 5368709120");
        return;
    }
    s3_slow_start(s);
    s3_source_pump(s, &p->source, p->first, p->length, false, s3_upload_kind(p->upload.row), on_copied);
}

static void on_upload_for_copy(struct s3_request *s, struct s3_upload *u)
{
    struct part *p = s->state;
    (void)u;
    s3_source_find(s, &p->source, on_source);
}

void s3_upload_part_copy(struct s3_request *s)
{
    struct part *p = begin(s, true);
    if (p)
        s3_upload_find(s, &p->upload, on_upload_for_copy);
}
