/* upload - a file on its way up. Small ones go in one PUT; others in parts, of which those that an earlier run brought
 * there are kept when their MD5 is the file's. Each answer's ETag is compared with the MD5 of what was read. */
#include "cmd/transfer.h"
#include "common/crypt.h"
#include "common/err.h"
#include "control/media_kind.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static bool etag_is(struct str etag, const uint8_t md5[16])
{
    char hex[33];
    hex_encode(md5, 16, hex);
    if (etag.len >= 2 && etag.p[0] == '"')
        etag = (struct str){etag.p + 1, etag.len - 2};
    return str_eq(etag, (struct str){hex, 32});
}

static void begin(struct transfer *t)
{
    struct stat st;
    t->fd = open(t->path, O_RDONLY | O_CLOEXEC);
    if (t->fd < 0 || fstat(t->fd, &st) != 0) {
        transfer_fail(t, "cannot be read: %s", err_text(-errno));
        return;
    }
    if (!S_ISREG(st.st_mode)) {
        transfer_fail(t, "is not a file%s", S_ISDIR(st.st_mode) ? ": -r copies a folder" : "");
        return;
    }
    t->set->total_bytes += (uint64_t)st.st_size - t->size;
    t->size = (uint64_t)st.st_size;
    t->mtime_ns = (uint64_t)st.st_mtim.tv_sec * SEC_NS + (uint64_t)st.st_mtim.tv_nsec;
    t->part_bytes = t->set->part_bytes;
    t->step = TRANSFER_WHOLE;
    if (t->size > t->part_bytes) {
        resume_upload_load(t);
        t->step = t->upload_id ? TRANSFER_FIND : TRANSFER_CREATE;
    }
    transfer_cut(t);
}

/* The part's bytes into the slot's memory, their MD5 beside. */
static bool load_part(struct transfer *t, struct slot *s, struct transfer_part *p)
{
    if (s->memory_cap < p->bytes) {
        free(s->memory);
        s->memory = malloc(p->bytes);
        s->memory_cap = s->memory ? p->bytes : 0;
    }
    int err = p->bytes == 0 ? 0 : s->memory ? transfer_read(t->fd, s->memory, p->offset, p->bytes) : -ENOMEM;
    if (err) {
        transfer_fail(t, err == -EIO ? "cannot be read, or became shorter meanwhile" : "%s", err_text(err));
        return false;
    }
    digest_once(DIGEST_MD5, s->memory ? s->memory : (const uint8_t *)"", p->bytes, p->md5);
    s->call.http.body = (struct str){(const char *)s->memory, p->bytes};
    return true;
}

static void init_call(struct transfer *t, struct slot *s, const char *method)
{
    s3c_call_init(&s->call, method, str_c(t->bucket), str_c(t->key));
}

static void add_type(struct transfer *t, struct slot *s)
{
    snprintf(s->header[0], sizeof(s->header[0]), "Content-Type: %s", media_kind(str_c(t->path))->type);
    s->call.headers[s->call.header_count++] = s->header[0];
}

static bool next_part(struct transfer *t, struct slot *s)
{
    struct transfer_part *p = transfer_next_part(t, &s->part);
    if (!p)
        return false;
    init_call(t, s, "PUT");
    snprintf(s->number, sizeof(s->number), "%u", s->part + 1);
    s3c_call_query(&s->call, "partNumber", str_c(s->number));
    s3c_call_query(&s->call, "uploadId", str_c(t->upload_id));
    return load_part(t, s, p);
}

static bool next_complete(struct transfer *t, struct slot *s)
{
    struct sbuf xml = {0};
    char hex[33];
    sbuf_puts(&xml, "<CompleteMultipartUpload xmlns=\"" XML_S3_NS "\">");
    for (unsigned i = 0; i < t->part_count; i++) {
        hex_encode(t->parts[i].md5, 16, hex);
        sbuf_printf(&xml, "<Part><PartNumber>%u</PartNumber><ETag>\"%s\"</ETag></Part>", i + 1, hex);
    }
    sbuf_puts(&xml, "</CompleteMultipartUpload>");
    if (xml.err) {
        sbuf_fini(&xml);
        transfer_fail(t, "out of memory");
        return false;
    }
    free(s->memory);
    s->memory = (uint8_t *)xml.p;
    s->memory_cap = xml.cap;
    init_call(t, s, "POST");
    s3c_call_query(&s->call, "uploadId", str_c(t->upload_id));
    s->call.headers[s->call.header_count++] = "Content-Type: application/xml";
    s->call.http.body = (struct str){xml.p, xml.len};
    return true;
}

static bool up_next(struct transfer *t, struct slot *s)
{
    if (t->step == TRANSFER_BEGIN)
        begin(t);
    if (t->step == TRANSFER_PARTS && t->parts_done == t->part_count)
        t->step = TRANSFER_COMPLETE;
    if (t->step == TRANSFER_PARTS)
        return next_part(t, s);
    if (t->step >= TRANSFER_DONE || t->running)
        return false;
    switch (t->step) {
    case TRANSFER_FIND:
        init_call(t, s, "GET");
        snprintf(s->number, sizeof(s->number), "%u", t->list_after);
        s3c_call_query(&s->call, "part-number-marker", str_c(s->number));
        s3c_call_query(&s->call, "uploadId", str_c(t->upload_id));
        return true;
    case TRANSFER_CREATE:
        init_call(t, s, "POST");
        s3c_call_query(&s->call, "uploads", STR(""));
        add_type(t, s);
        return true;
    case TRANSFER_WHOLE:
        init_call(t, s, "PUT");
        add_type(t, s);
        return load_part(t, s, &t->parts[0]);
    default:
        return next_complete(t, s);
    }
}

static void found_part(struct transfer *t, const struct xml_node *n)
{
    uint64_t number, size;
    if (str_u64(xml_text(n, "PartNumber"), &number) != 0 || number < 1 || number > t->part_count ||
        str_u64(xml_text(n, "Size"), &size) != 0)
        return;
    struct transfer_part *p = &t->parts[number - 1];
    if (p->state != PART_WAITING || size != p->bytes || transfer_md5(t->fd, p->offset, p->bytes, p->md5) != 0 ||
        !etag_is(xml_text(n, "ETag"), p->md5))
        return;
    p->state = PART_DONE;
    t->parts_done++;
    t->moved_bytes += p->bytes;
    t->resumed_bytes += p->bytes;
}

static void found(struct transfer *t, struct slot *s)
{
    const struct xml_node *root = s->call.http.status == 200 ? s3c_call_xml(&s->call) : NULL;
    uint64_t next = 0;
    if (!root) { /* the upload was aborted or completed meanwhile: begin anew */
        free(t->upload_id);
        t->upload_id = NULL;
        t->part_bytes = t->set->part_bytes;
        t->step = TRANSFER_CREATE;
        transfer_cut(t);
        return;
    }
    for (const struct xml_node *n = xml_child(root, "Part"); n; n = xml_next(n, "Part"))
        found_part(t, n);
    if (str_eq(xml_text(root, "IsTruncated"), STR("true")) &&
        str_u64(xml_text(root, "NextPartNumberMarker"), &next) == 0 && next > t->list_after &&
        next < TRANSFER_PARTS_MAX) {
        t->list_after = (unsigned)next;
        return; /* the same step again: the next page */
    }
    t->set->resumed_bytes += t->resumed_bytes;
    t->step = TRANSFER_PARTS;
}

static void created(struct transfer *t, struct slot *s)
{
    const struct xml_node *root = s3c_call_xml(&s->call);
    struct str id = root ? xml_text(root, "UploadId") : STR_NONE;
    if (id.len == 0) {
        transfer_fail(t, "the server named no upload id");
        return;
    }
    t->upload_id = strndup(id.p, id.len);
    resume_upload_save(t);
    t->step = TRANSFER_PARTS;
}

static void part_up(struct transfer *t, struct slot *s)
{
    struct transfer_part *p = &t->parts[s->part];
    if (!etag_is(http_call_header(&s->call.http, "ETag"), p->md5)) {
        transfer_fail(t, "part %u arrived altered: run the same command again", s->part + 1);
        return;
    }
    p->state = PART_DONE;
    t->parts_done++;
    t->moved_bytes += p->bytes;
}

/* The ETag of parts: MD5 over the parts' MD5s, "-", their number. */
static void expected_etag(const struct transfer *t, char ret[64])
{
    struct digest *d;
    uint8_t md5[16] = {0};
    char hex[33];
    if (digest_create(DIGEST_MD5, &d) == 0) {
        for (unsigned i = 0; i < t->part_count; i++)
            digest_update(d, t->parts[i].md5, 16);
        digest_final(d, md5);
        digest_destroy(d);
    }
    hex_encode(md5, 16, hex);
    snprintf(ret, 64, "\"%s-%u\"", hex, t->part_count);
}

static void completed(struct transfer *t, struct slot *s)
{
    char expected[64];
    const struct xml_node *root = s3c_call_xml(&s->call);
    struct str etag = root ? xml_text(root, "ETag") : STR_NONE;
    expected_etag(t, expected);
    if (root && str_eq(root->name, STR("Error")))
        transfer_fail(t, "the server could not join the parts: %s", s3c_call_why(&t->set->s3, &s->call));
    else if (!str_eq(etag, str_c(expected)))
        transfer_fail(t, "the object's ETag is " STR_FMT " but the file's is %s: run the same command again",
                      STR_ARG(etag), expected);
    else {
        resume_forget(t);
        transfer_done(t);
    }
}

static void up_answered(struct transfer *t, struct slot *s)
{
    bool well = s->call.http.err == 0 && s->call.http.status / 100 == 2;
    if (s->step == TRANSFER_FIND) {
        found(t, s);
        return;
    }
    if (!well && s->call.http.status == 404 && t->upload_id)
        resume_forget(t); /* the upload is gone: the next run begins anew */
    if (!well)
        transfer_fail(t, "not copied: %s", s3c_call_why(&t->set->s3, &s->call));
    else if (s->step == TRANSFER_CREATE)
        created(t, s);
    else if (s->step == TRANSFER_PARTS)
        part_up(t, s);
    else if (s->step == TRANSFER_COMPLETE)
        completed(t, s);
    else if (!etag_is(http_call_header(&s->call.http, "ETag"), t->parts[0].md5))
        transfer_fail(t, "arrived altered: run the same command again");
    else
        transfer_done(t);
}

const struct transfer_way transfer_up = {up_next, up_answered};
