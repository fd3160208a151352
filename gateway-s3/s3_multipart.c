/* Multipart uploads: create, abort, and the two listings. An upload is a row with a random id; its description is that
 * of the object it will become. An upload made without a checksum algorithm gets CRC64NVME over the whole object, as on
 * AWS. */
#include "gateway-s3/s3_upload.h"

enum checksum_kind s3_upload_kind(const Pb__Upload *u)
{
    return u->checksum_kind == CHECKSUM_NONE || u->checksum_kind >= CHECKSUM_KINDS
               ? CHECKSUM_CRC64NVME
               : (enum checksum_kind)u->checksum_kind;
}

/* ---- finding ---- */

static void on_upload(struct s3_request *s, int status, void *rep)
{
    struct s3_upload *u = s->state;
    const Pb__UploadGetRep *got = status == 0 ? rep : NULL;
    s->state = u->state;
    if (s3_gone(s))
        return;
    if (got) {
        u->row = got->upload;
        u->completed = got->completed;
    }
    if (status && status != RPC_NOT_FOUND && status != RPC_NO_UPLOAD) {
        s3_fail(s, s3_error_of(status));
    } else if (u->row || (u->completed && u->want_completed)) {
        u->then(s, u);
    } else {
        s3_extra(s, "UploadId", str_c(u->id));
        s3_fail(s, S3_NoSuchUpload);
    }
}

void s3_upload_find(struct s3_request *s, struct s3_upload *u, void (*then)(struct s3_request *s, struct s3_upload *u))
{
    Pb__UploadGetReq *req = arena_alloc(&s->arena, sizeof *req);
    char *bucket = s3_text(s, s->route.bucket);
    u->id = s3_text(s, s3_param_value(s, "uploadId"));
    if (!req || !bucket || !u->id) {
        s3_fail(s, S3_InternalError);
        return;
    }
    pb__upload_get_req__init(req);
    req->bucket = bucket;
    req->key = s3_bytes(s->route.key);
    req->upload_id = u->id;
    u->then = then;
    u->state = s->state;
    s->state = u;
    s3_call(s, RPC_UPLOAD_GET, req, on_upload);
}

/* ---- create ---- */

static void on_created(struct s3_request *s, int status, void *rep)
{
    const Pb__Upload *u = s->state;
    struct sbuf out = {0};
    (void)rep;
    if (status) {
        s3_fail(s, s3_error_of(status));
        return;
    }
    if (u->checksum_kind != CHECKSUM_NONE) {
        s3_header_add(s, "x-amz-checksum-algorithm", str_c(checksum_name((enum checksum_kind)u->checksum_kind)));
        s3_header_add(s, "x-amz-checksum-type", u->checksum_full ? STR("FULL_OBJECT") : STR("COMPOSITE"));
    }
    sbuf_puts(&out, XML_DECLARATION);
    xml_open_ns(&out, "InitiateMultipartUploadResult");
    xml_str(&out, "Bucket", s->route.bucket);
    xml_str(&out, "Key", s->route.key);
    xml_c(&out, "UploadId", u->upload_id);
    xml_close(&out, "InitiateMultipartUploadResult");
    s3_reply_xml(s, &out);
}

/* x-amz-checksum-algorithm and x-amz-checksum-type: hashes only COMPOSITE, CRC64NVME only FULL_OBJECT. */
static bool read_checksum(struct s3_request *s, Pb__Upload *u)
{
    struct str name = s3_header(s, "x-amz-checksum-algorithm"), type = s3_header(s, "x-amz-checksum-type");
    enum checksum_kind kind = name.p ? checksum_by_name(name) : CHECKSUM_NONE;
    bool full = str_ieq(type, STR("FULL_OBJECT")), composite = str_ieq(type, STR("COMPOSITE"));
    bool hash = kind == CHECKSUM_SHA1 || kind == CHECKSUM_SHA256;
    if (name.p && kind == CHECKSUM_NONE) {
        s3_fail_text(s, S3_InvalidRequest,
                     "Checksum algorithm provided is unsupported. Please try again with any of the "
                     "valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]");
        return false;
    }
    if (type.p && ((!full && !composite) || kind == CHECKSUM_NONE)) {
        s3_fail_text(s, S3_InvalidRequest,
                     "The x-amz-checksum-type header can only be used with the "
                     "x-amz-checksum-algorithm header, as COMPOSITE or FULL_OBJECT");
        return false;
    }
    if ((full && hash) || (composite && kind == CHECKSUM_CRC64NVME)) {
        s3_fail_text(s, S3_InvalidRequest, "The %s checksum type cannot be used with the %s checksum algorithm.",
                     full ? "FULL_OBJECT" : "COMPOSITE", checksum_name(kind));
        return false;
    }
    u->checksum_kind = (uint32_t)kind;
    u->checksum_full = full || kind == CHECKSUM_CRC64NVME || kind == CHECKSUM_NONE;
    return true;
}

static bool describe(struct s3_request *s, Pb__Upload *u)
{
    struct s3_meta m;
    if (!s3_meta_read(s, &m) || !read_checksum(s, u))
        return false;
    u->headers = m.headers;
    u->n_headers = m.header_count;
    u->user_meta = m.user_meta;
    u->n_user_meta = m.user_meta_count;
    u->tags = m.tags;
    u->n_tags = m.tag_count;
    return true;
}

void s3_create_upload(struct s3_request *s)
{
    Pb__UploadCreateReq *req = arena_alloc(&s->arena, sizeof *req);
    Pb__Upload *u = arena_alloc(&s->arena, sizeof *u);
    uint8_t id[24];
    if (!req || !u) {
        s3_fail(s, S3_InternalError);
        return;
    }
    pb__upload_create_req__init(req);
    pb__upload__init(u);
    random_bytes(id, sizeof id);
    u->format = 1;
    u->bucket = s3_text(s, s->route.bucket);
    u->key = s3_bytes(s->route.key);
    u->upload_id = arena_alloc(&s->arena, 2 * sizeof id + 1);
    u->owner = s3_text(s, s->creator);
    u->created_ms = s->now_ms;
    if (!u->bucket || !u->upload_id || !u->owner) {
        s3_fail(s, S3_InternalError);
        return;
    }
    hex_encode(id, sizeof id, u->upload_id);
    if (!describe(s, u))
        return;
    req->upload = u;
    s->state = u;
    s3_call(s, RPC_UPLOAD_CREATE, req, on_created);
}

/* ---- abort ---- */

static void on_aborted(struct s3_request *s, int status, void *rep)
{
    (void)rep;
    if (status)
        s3_fail(s, status == RPC_NOT_FOUND ? S3_NoSuchUpload : s3_error_of(status));
    else
        s3_reply_empty(s, 204);
}

void s3_abort_upload(struct s3_request *s)
{
    Pb__UploadAbortReq *req = arena_alloc(&s->arena, sizeof *req);
    char *bucket = s3_text(s, s->route.bucket), *id = s3_text(s, s3_param_value(s, "uploadId"));
    if (!req || !bucket || !id) {
        s3_fail(s, S3_InternalError);
        return;
    }
    pb__upload_abort_req__init(req);
    req->bucket = bucket;
    req->key = s3_bytes(s->route.key);
    req->upload_id = id;
    s3_call(s, RPC_UPLOAD_ABORT, req, on_aborted);
}

/* ---- ListParts ---- */

static void put_person(struct sbuf *out, const char *element, const char *id)
{
    xml_open(out, element);
    xml_c(out, "ID", id);
    xml_c(out, "DisplayName", id);
    xml_close(out, element);
}

static void put_part(struct s3_request *s, struct sbuf *out, const Pb__Part *p)
{
    xml_open(out, "Part");
    xml_u64(out, "PartNumber", p->number);
    s3_xml_mtime(out, p->mtime_ms);
    s3_xml_etag(out, p->etag);
    xml_u64(out, "Size", p->size);
    s3_checksum_xml(s, out, p->checksums, p->n_checksums, 0, false);
    xml_close(out, "Part");
}

static void put_upload_checksum(struct sbuf *out, const Pb__Upload *u)
{
    if (u->checksum_kind == CHECKSUM_NONE || u->checksum_kind >= CHECKSUM_KINDS)
        return;
    xml_c(out, "ChecksumAlgorithm", checksum_name((enum checksum_kind)u->checksum_kind));
    xml_c(out, "ChecksumType", u->checksum_full ? "FULL_OBJECT" : "COMPOSITE");
}

static void on_parts(struct s3_request *s, int status, void *rep)
{
    const Pb__PartListReq *req = s->state;
    const Pb__PartListRep *r = rep;
    struct sbuf out = {0};
    if (status || !r || !r->upload) {
        s3_fail(s, !status ? S3_InternalError : status == RPC_NOT_FOUND ? S3_NoSuchUpload : s3_error_of(status));
        return;
    }
    sbuf_puts(&out, XML_DECLARATION);
    xml_open_ns(&out, "ListPartsResult");
    xml_str(&out, "Bucket", s->route.bucket);
    xml_str(&out, "Key", s->route.key);
    xml_c(&out, "UploadId", req->upload_id);
    put_person(&out, "Initiator", r->upload->owner);
    put_person(&out, "Owner", s->bucket->owner);
    xml_c(&out, "StorageClass", "STANDARD");
    put_upload_checksum(&out, r->upload);
    xml_u64(&out, "PartNumberMarker", req->after);
    xml_u64(&out, "NextPartNumberMarker", r->n_parts ? r->parts[r->n_parts - 1]->number : 0);
    xml_u64(&out, "MaxParts", req->limit);
    xml_bool(&out, "IsTruncated", r->truncated);
    for (size_t i = 0; i < r->n_parts; i++)
        put_part(s, &out, r->parts[i]);
    xml_close(&out, "ListPartsResult");
    s3_reply_xml(s, &out);
}

void s3_list_parts(struct s3_request *s)
{
    Pb__PartListReq *req = arena_alloc(&s->arena, sizeof *req);
    char *bucket = s3_text(s, s->route.bucket), *id = s3_text(s, s3_param_value(s, "uploadId"));
    uint64_t limit, after;
    if (!req || !bucket || !id) {
        s3_fail(s, S3_InternalError);
        return;
    }
    if (!s3_param_u64(s, "max-parts", 1000, 1000, true, &limit) ||
        !s3_param_u64(s, "part-number-marker", 0, UINT32_MAX - 1, true, &after))
        return;
    pb__part_list_req__init(req);
    req->bucket = bucket;
    req->key = s3_bytes(s->route.key);
    req->upload_id = id;
    req->after = (uint32_t)after;
    req->limit = (uint32_t)limit;
    s->state = req;
    s3_call(s, RPC_PART_LIST, req, on_parts);
}

/* ---- ListMultipartUploads ---- */

struct uploads {
    Pb__UploadListReq req;
    bool url;
};

static void put_key(struct sbuf *out, const struct uploads *l, const char *name, ProtobufCBinaryData key)
{
    struct str k = {(const char *)key.data, key.len};
    xml_open(out, name);
    if (l->url)
        uri_encode_to(out, k, true);
    else
        xml_escape(out, k);
    xml_close(out, name);
}

/* The page ended with whichever sorts last: an upload's key, or a common prefix. */
static void put_next(struct sbuf *out, const struct uploads *l, const Pb__UploadListRep *r)
{
    const Pb__Upload *last = r->n_uploads ? r->uploads[r->n_uploads - 1] : NULL;
    ProtobufCBinaryData prefix = r->n_prefixes ? r->prefixes[r->n_prefixes - 1] : (ProtobufCBinaryData){0};
    struct str a = last ? (struct str){(const char *)last->key.data, last->key.len} : STR_NONE;
    struct str b = {(const char *)prefix.data, prefix.len};
    bool upload_last = last && (!r->n_prefixes || str_cmp(a, b) > 0);
    put_key(out, l, "NextKeyMarker", upload_last ? last->key : prefix);
    xml_c(out, "NextUploadIdMarker", upload_last ? last->upload_id : "");
}

static void put_upload(struct sbuf *out, const struct uploads *l, const Pb__Upload *u)
{
    xml_open(out, "Upload");
    put_key(out, l, "Key", u->key);
    xml_c(out, "UploadId", u->upload_id);
    put_person(out, "Initiator", u->owner);
    put_person(out, "Owner", u->owner);
    xml_c(out, "StorageClass", "STANDARD");
    xml_time(out, "Initiated", u->created_ms / 1000 * 1000);
    put_upload_checksum(out, u);
    xml_close(out, "Upload");
}

static void on_uploads(struct s3_request *s, int status, void *rep)
{
    const struct uploads *l = s->state;
    const Pb__UploadListRep *r = rep;
    struct sbuf out = {0};
    if (status || !r) {
        s3_fail(s, status ? s3_error_of(status) : S3_InternalError);
        return;
    }
    sbuf_puts(&out, XML_DECLARATION);
    xml_open_ns(&out, "ListMultipartUploadsResult");
    xml_str(&out, "Bucket", s->route.bucket);
    put_key(&out, l, "KeyMarker", l->req.key_after);
    xml_c(&out, "UploadIdMarker", l->req.upload_after);
    if (r->truncated)
        put_next(&out, l, r);
    put_key(&out, l, "Prefix", l->req.prefix);
    if (l->req.delimiter.len)
        put_key(&out, l, "Delimiter", l->req.delimiter);
    if (l->url)
        xml_c(&out, "EncodingType", "url");
    xml_u64(&out, "MaxUploads", l->req.limit);
    xml_bool(&out, "IsTruncated", r->truncated);
    for (size_t i = 0; i < r->n_uploads; i++)
        put_upload(&out, l, r->uploads[i]);
    for (size_t i = 0; i < r->n_prefixes; i++) {
        xml_open(&out, "CommonPrefixes");
        put_key(&out, l, "Prefix", r->prefixes[i]);
        xml_close(&out, "CommonPrefixes");
    }
    xml_close(&out, "ListMultipartUploadsResult");
    s3_reply_xml(s, &out);
}

void s3_list_uploads(struct s3_request *s)
{
    struct uploads *l = arena_alloc(&s->arena, sizeof *l);
    uint64_t limit;
    if (!l) {
        s3_fail(s, S3_InternalError);
        return;
    }
    if (!s3_param_u64(s, "max-uploads", 1000, 1000, true, &limit))
        return;
    pb__upload_list_req__init(&l->req);
    struct str after = s3_param_value(s, "key-marker"), upload = s3_param_value(s, "upload-id-marker");
    l->url = str_eq(s3_param_value(s, "encoding-type"), STR("url"));
    l->req.bucket = s3_text(s, s->route.bucket);
    l->req.prefix = s3_bytes(s3_param_value(s, "prefix"));
    l->req.delimiter = s3_bytes(s3_param_value(s, "delimiter"));
    l->req.key_after = s3_bytes(after);
    l->req.upload_after = s3_text(s, after.len ? upload : STR("")); /* counts only with a key-marker (AWS) */
    l->req.limit = (uint32_t)limit;
    s->state = l;
    if (!l->req.bucket || !l->req.upload_after)
        s3_fail(s, S3_InternalError);
    else if (l->req.prefix.len > S3_KEY_MAX || l->req.delimiter.len > S3_KEY_MAX || after.len > S3_KEY_MAX ||
             upload.len > 128)
        s3_fail(s, S3_InvalidArgument);
    else
        s3_call(s, RPC_UPLOAD_LIST, &l->req, on_uploads);
}
