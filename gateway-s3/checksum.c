/* checksum - one table of the five kinds; CRCs in big-endian as S3 sends them. */
#include "gateway-s3/checksum.h"
#include "common/crc.h"
#include "common/err.h"

static const struct {
    const char *name, *header;
    size_t len;
} kinds[CHECKSUM_KINDS] = {
    [CHECKSUM_NONE] = {"", "", 0},
    [CHECKSUM_CRC32] = {"CRC32", "x-amz-checksum-crc32", 4},
    [CHECKSUM_CRC32C] = {"CRC32C", "x-amz-checksum-crc32c", 4},
    [CHECKSUM_CRC64NVME] = {"CRC64NVME", "x-amz-checksum-crc64nvme", 8},
    [CHECKSUM_SHA1] = {"SHA1", "x-amz-checksum-sha1", 20},
    [CHECKSUM_SHA256] = {"SHA256", "x-amz-checksum-sha256", 32},
};

const char *checksum_name(enum checksum_kind k)
{
    assert(k < CHECKSUM_KINDS);
    return kinds[k].name;
}

const char *checksum_header(enum checksum_kind k)
{
    assert(k < CHECKSUM_KINDS);
    return kinds[k].header;
}

size_t checksum_len(enum checksum_kind k)
{
    assert(k < CHECKSUM_KINDS);
    return kinds[k].len;
}

enum checksum_kind checksum_by_name(struct str name)
{
    for (enum checksum_kind k = CHECKSUM_NONE + 1; k < CHECKSUM_KINDS; k++)
        if (str_ieq(name, str_c(kinds[k].name)))
            return k;
    return CHECKSUM_NONE;
}

enum checksum_kind checksum_by_header(struct str header)
{
    for (enum checksum_kind k = CHECKSUM_NONE + 1; k < CHECKSUM_KINDS; k++)
        if (str_ieq(header, str_c(kinds[k].header)))
            return k;
    return CHECKSUM_NONE;
}

static bool is_crc(enum checksum_kind k)
{
    return k == CHECKSUM_CRC32 || k == CHECKSUM_CRC32C || k == CHECKSUM_CRC64NVME;
}

static uint64_t crc_update(enum checksum_kind k, uint64_t crc, const void *p, size_t n)
{
    if (k == CHECKSUM_CRC32)
        return crc32_ieee((uint32_t)crc, p, n);
    if (k == CHECKSUM_CRC32C)
        return crc32c((uint32_t)crc, p, n);
    return crc64nvme(crc, p, n);
}

static void crc_put(enum checksum_kind k, uint64_t crc, uint8_t *ret)
{
    if (k == CHECKSUM_CRC64NVME)
        put_be64(ret, crc);
    else
        put_be32(ret, (uint32_t)crc);
}

/* ---- what a request asks for ---- */

enum s3_error checksum_parse(enum checksum_kind k, struct str base64, uint8_t ret[CHECKSUM_MAX])
{
    size_t len;
    if (k == CHECKSUM_NONE || base64_decode(base64, ret, CHECKSUM_MAX, &len) || len != kinds[k].len)
        return S3_InvalidRequest;
    return S3_OK;
}

/* Headers of the same family that carry no value. */
static bool is_option(struct str header)
{
    return str_ieq(header, STR("x-amz-checksum-algorithm")) || str_ieq(header, STR("x-amz-checksum-mode")) ||
           str_ieq(header, STR("x-amz-checksum-type"));
}

/* x-amz-checksum-<kind>, an option excepted. */
static bool names_checksum(struct str header)
{
    static const struct str prefix = {"x-amz-checksum-", 15};
    return header.len >= prefix.len && str_ieq((struct str){header.p, prefix.len}, prefix) && !is_option(header);
}

/* One checksum a request, from one place. */
static enum s3_error want_kind(struct checksum_want *w, struct str header)
{
    enum checksum_kind k = checksum_by_header(header);
    if (k == CHECKSUM_NONE || w->kind != CHECKSUM_NONE)
        return S3_InvalidRequest;
    w->kind = k;
    return S3_OK;
}

static enum s3_error want_trailer(struct checksum_want *w, struct str value)
{
    struct str rest = value, part;
    while (str_split(&rest, ',', &part)) {
        part = str_trim(part);
        if (!names_checksum(part))
            continue;
        enum s3_error e = want_kind(w, part);
        if (e)
            return e;
        w->in_trailer = true;
    }
    return S3_OK;
}

static enum s3_error want_md5(struct checksum_want *w, struct str value)
{
    size_t len;
    if (w->md5 || base64_decode(value, w->md5_value, sizeof w->md5_value, &len) || len != sizeof w->md5_value)
        return S3_InvalidDigest;
    w->md5 = true;
    return S3_OK;
}

static enum s3_error want_header(struct checksum_want *w, const struct http_header *h)
{
    if (str_ieq(h->name, STR("content-md5")))
        return want_md5(w, h->value);
    if (str_ieq(h->name, STR("x-amz-trailer")))
        return want_trailer(w, h->value);
    if (!names_checksum(h->name))
        return S3_OK;
    enum s3_error e = want_kind(w, h->name);
    w->has_value = !e;
    return e ? e : checksum_parse(w->kind, h->value, w->value);
}

enum s3_error checksum_wanted(const struct http_req *r, struct checksum_want *ret)
{
    struct checksum_want w = {.kind = CHECKSUM_NONE};
    enum s3_error e = S3_OK;
    for (size_t i = 0; i < r->header_count && !e; i++)
        e = want_header(&w, &r->headers[i]);
    for (size_t i = 0; i < r->header_count && !e; i++) {
        if (!str_ieq(r->headers[i].name, STR("x-amz-sdk-checksum-algorithm")))
            continue;
        enum checksum_kind k = checksum_by_name(r->headers[i].value);
        if (k == CHECKSUM_NONE || (w.kind != CHECKSUM_NONE && w.kind != k))
            e = S3_InvalidRequest;
        w.kind = k;
    }
    if (!e)
        *ret = w;
    return e;
}

/* ---- running digests ---- */

int checksum_set_init(struct checksum_set *s, enum checksum_kind kind, bool want_sha256)
{
    *s = (struct checksum_set){.kind = kind, .want_sha256 = want_sha256};
    int err = digest_create(DIGEST_MD5, &s->md5);
    if (!err && (want_sha256 || kind == CHECKSUM_SHA256))
        err = digest_create(DIGEST_SHA256, &s->sha256);
    if (!err && kind == CHECKSUM_SHA1)
        err = digest_create(DIGEST_SHA1, &s->sha1);
    if (err)
        checksum_set_fini(s);
    return err;
}

void checksum_set_update(void *set, const uint8_t *p, size_t n)
{
    struct checksum_set *s = set;
    digest_update(s->md5, p, n);
    if (s->sha256)
        digest_update(s->sha256, p, n);
    if (s->sha1)
        digest_update(s->sha1, p, n);
    if (is_crc(s->kind))
        s->crc = crc_update(s->kind, s->crc, p, n);
    if (s->also_crc64)
        s->crc64 = crc64nvme(s->crc64, p, n);
    s->total_bytes += n;
}

void checksum_set_final(struct checksum_set *s, uint8_t md5[16], uint8_t sha256[32], uint8_t value[CHECKSUM_MAX])
{
    uint8_t hash[32] = {0};
    digest_final(s->md5, md5);
    if (s->sha256)
        digest_final(s->sha256, hash);
    memcpy(sha256, hash, sizeof hash);
    memset(value, 0, CHECKSUM_MAX);
    if (is_crc(s->kind))
        crc_put(s->kind, s->crc, value);
    else if (s->kind == CHECKSUM_SHA1)
        digest_final(s->sha1, value);
    else if (s->kind == CHECKSUM_SHA256)
        memcpy(value, hash, sizeof hash);
}

void checksum_set_fini(struct checksum_set *s)
{
    digest_destroy(s->md5);
    digest_destroy(s->sha256);
    digest_destroy(s->sha1);
    *s = (struct checksum_set){.kind = CHECKSUM_NONE};
}

/* ---- joining parts ---- */

int checksum_join_init(struct checksum_join *j, enum checksum_kind kind, bool composite)
{
    *j = (struct checksum_join){.kind = kind, .composite = composite};
    if (kind == CHECKSUM_NONE || kind >= CHECKSUM_KINDS || (!composite && !is_crc(kind)))
        return -EINVAL; /* hashes cannot be joined */
    if (composite && kind == CHECKSUM_CRC64NVME)
        return -EINVAL; /* S3 knows it for whole objects only */
    if (is_crc(kind))
        return 0;
    return digest_create(kind == CHECKSUM_SHA1 ? DIGEST_SHA1 : DIGEST_SHA256, &j->digest);
}

void checksum_join_add(struct checksum_join *j, const uint8_t *value, uint64_t part_bytes)
{
    j->part_count++;
    if (j->digest)
        digest_update(j->digest, value, kinds[j->kind].len);
    else if (j->composite)
        j->crc = crc_update(j->kind, j->crc, value, kinds[j->kind].len);
    else if (j->kind == CHECKSUM_CRC32)
        j->crc = crc32_ieee_combine((uint32_t)j->crc, get_be32(value), part_bytes);
    else if (j->kind == CHECKSUM_CRC32C)
        j->crc = crc32c_combine((uint32_t)j->crc, get_be32(value), part_bytes);
    else
        j->crc = crc64nvme_combine(j->crc, get_be64(value), part_bytes);
}

void checksum_join_final(struct checksum_join *j, uint8_t value[CHECKSUM_MAX])
{
    memset(value, 0, CHECKSUM_MAX);
    if (j->digest)
        digest_final(j->digest, value);
    else
        crc_put(j->kind, j->crc, value);
}

void checksum_join_fini(struct checksum_join *j)
{
    digest_destroy(j->digest);
    j->digest = NULL;
}
