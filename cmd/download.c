/* download - an object on its way down, in pieces, into FILE.part; every piece says If-Match, so that a new version is
 * never mixed into an old one. The whole is compared with the ETag before FILE.part becomes FILE. An ETag of parts
 * ("...-3") is made of the parts' MD5s: their sizes are asked for, one HEAD a part. */
#include "cmd/transfer.h"
#include "common/crypt.h"
#include "common/err.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char *with_suffix(const char *path, const char *suffix)
{
    struct sbuf s = {0};
    sbuf_printf(&s, "%s%s", path, suffix);
    if (s.err)
        sbuf_fini(&s);
    return s.p;
}

static void begin(struct transfer *t)
{
    t->part_path = with_suffix(t->path, ".part");
    t->state_path = with_suffix(t->path, ".part.state");
    t->part_bytes = t->set->part_bytes;
    if (!t->part_path || !t->state_path) {
        transfer_fail(t, "out of memory");
        return;
    }
    t->fd = open(t->part_path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (t->fd < 0)
        transfer_fail(t, "%s cannot be written: %s", t->part_path, err_text(-errno));
    else
        t->step = TRANSFER_HEAD;
}

static bool next_piece(struct transfer *t, struct slot *s)
{
    struct transfer_part *p = transfer_next_part(t, &s->part);
    if (!p)
        return false;
    s3c_call_init(&s->call, "GET", str_c(t->bucket), str_c(t->key));
    snprintf(s->header[0], sizeof(s->header[0]), "Range: bytes=%llu-%llu", (unsigned long long)p->offset,
             (unsigned long long)(p->offset + p->bytes - 1));
    snprintf(s->header[1], sizeof(s->header[1]), "If-Match: \"%s\"", t->etag);
    s->call.headers[s->call.header_count++] = s->header[0];
    s->call.headers[s->call.header_count++] = s->header[1];
    s->call.http.to_file = true;
    s->call.http.file_fd = t->fd;
    s->call.http.file_offset = p->offset;
    s->call.http.file_max = p->bytes;
    return true;
}

static void finish(struct transfer *t)
{
    if (fsync(t->fd) != 0 || rename(t->part_path, t->path) != 0) {
        transfer_fail(t, "cannot be written: %s", err_text(-errno));
        return;
    }
    resume_forget(t);
    transfer_done(t);
}

/* What was put together is not the object: nothing of it is kept. */
static void reject(struct transfer *t)
{
    resume_forget(t);
    unlink(t->part_path);
    transfer_fail(t, "arrived altered: run the same command again");
}

static void compare(struct transfer *t, const uint8_t md5[16], unsigned parts)
{
    char hex[33], text[80];
    hex_encode(md5, 16, hex);
    snprintf(text, sizeof(text), parts ? "%s-%u" : "%s", hex, parts);
    if (strcmp(text, t->etag) == 0)
        finish(t);
    else
        reject(t);
}

/* All bytes are here. An ETag that is no MD5 (another server's) cannot be compared: said, and let through. */
static void begin_verify(struct transfer *t)
{
    struct str rest = str_c(t->etag), hex;
    uint64_t parts = 0;
    uint8_t md5[16];
    size_t len;
    bool of_parts = strchr(t->etag, '-') != NULL;
    str_split(&rest, '-', &hex);
    if (hex_decode(hex, md5, sizeof(md5), &len) != 0 || len != sizeof(md5) ||
        (of_parts && (str_u64(rest, &parts) != 0 || parts < 1 || parts > TRANSFER_PARTS_MAX))) {
        cmd_error(t->set->line, "%s: its ETag is no MD5, so only its size was compared", t->path);
        finish(t);
        return;
    }
    if (!of_parts) {
        int err = transfer_md5(t->fd, 0, t->size, md5);
        if (err)
            transfer_fail(t, "cannot be read again: %s", err_text(err));
        else
            compare(t, md5, 0);
        return;
    }
    if (digest_create(DIGEST_MD5, &t->etag_digest) != 0) {
        transfer_fail(t, "out of memory");
        return;
    }
    t->etag_count = (unsigned)parts;
    t->step = TRANSFER_VERIFY;
}

static bool down_next(struct transfer *t, struct slot *s)
{
    if (t->step == TRANSFER_BEGIN)
        begin(t);
    if (t->step == TRANSFER_PARTS && t->parts_done == t->part_count && !t->running)
        begin_verify(t);
    if (t->step == TRANSFER_PARTS)
        return next_piece(t, s);
    if (t->step >= TRANSFER_DONE || t->running)
        return false;
    s3c_call_init(&s->call, "HEAD", str_c(t->bucket), str_c(t->key));
    if (t->step == TRANSFER_VERIFY) {
        snprintf(s->number, sizeof(s->number), "%u", t->etag_at + 1);
        s3c_call_query(&s->call, "partNumber", str_c(s->number));
        snprintf(s->header[0], sizeof(s->header[0]), "If-Match: \"%s\"", t->etag);
        s->call.headers[s->call.header_count++] = s->header[0];
    }
    return true;
}

static void headed(struct transfer *t, struct slot *s)
{
    struct str etag = http_call_header(&s->call.http, "ETag");
    uint64_t size;
    if (etag.len >= 2 && etag.p[0] == '"')
        etag = (struct str){etag.p + 1, etag.len - 2};
    if (str_u64(http_call_header(&s->call.http, "Content-Length"), &size) != 0 || etag.len == 0 ||
        etag.len >= sizeof(t->etag)) {
        transfer_fail(t, "the server's answer has no size or no ETag");
        return;
    }
    memcpy(t->etag, etag.p, etag.len);
    t->set->total_bytes += size - t->size;
    t->size = size;
    if (!transfer_cut(t))
        return;
    resume_download_load(t);
    t->set->resumed_bytes += t->resumed_bytes;
    if (ftruncate(t->fd, (off_t)size) != 0)
        transfer_fail(t, "%s cannot be written: %s", t->part_path, err_text(-errno));
    else
        t->step = TRANSFER_PARTS;
}

static void piece_down(struct transfer *t, struct slot *s)
{
    struct transfer_part *p = &t->parts[s->part];
    if (s->call.http.file_bytes != p->bytes) {
        transfer_fail(t, "piece %u is %llu bytes instead of %llu: run the same command again", s->part + 1,
                      (unsigned long long)s->call.http.file_bytes, (unsigned long long)p->bytes);
        return;
    }
    p->state = PART_DONE;
    t->parts_done++;
    t->moved_bytes += p->bytes;
    resume_download_save(t);
}

static void part_headed(struct transfer *t, struct slot *s)
{
    uint64_t bytes;
    uint8_t md5[16];
    if (str_u64(http_call_header(&s->call.http, "Content-Length"), &bytes) != 0 || bytes > t->size - t->etag_offset) {
        reject(t);
        return;
    }
    int err = transfer_md5(t->fd, t->etag_offset, bytes, md5);
    if (err) {
        transfer_fail(t, "cannot be read again: %s", err_text(err));
        return;
    }
    digest_update(t->etag_digest, md5, sizeof(md5));
    t->etag_offset += bytes;
    if (++t->etag_at < t->etag_count)
        return; /* the same step: the next part */
    digest_final(t->etag_digest, md5);
    if (t->etag_offset != t->size)
        reject(t);
    else
        compare(t, md5, t->etag_count);
}

static void down_answered(struct transfer *t, struct slot *s)
{
    const struct http_call *h = &s->call.http;
    bool well = h->err == 0 && (h->status == 200 || h->status == 206);
    if (h->err == 0 && h->status == 412) {
        resume_forget(t);
        transfer_fail(t, "the object was replaced meanwhile: run the same command again for the new one");
    } else if (!well && h->err == 0 && h->status == 404 && s->step == TRANSFER_HEAD) {
        unlink(t->part_path);
        transfer_fail(t, "there is no s3://%s/%s: `lectern ls s3://%s/` shows what is there", t->bucket, t->key,
                      t->bucket);
    } else if (!well)
        transfer_fail(t, "not copied: %s", s3c_call_why(&t->set->s3, &s->call));
    else if (s->step == TRANSFER_HEAD)
        headed(t, s);
    else if (s->step == TRANSFER_PARTS)
        piece_down(t, s);
    else
        part_headed(t, s);
}

const struct transfer_way transfer_down = {down_next, down_answered};
