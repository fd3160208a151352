/* checksum - S3's object checksums: which were asked for in headers or trailers, computing them as the body passes,
 * comparing, and joining parts (COMPOSITE and FULL_OBJECT).
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
 *
 * Thread: checksum_set_update may run on a work thread, one at a time; the rest is pure. */
#pragma once
#include "common/crypt.h"
#include "common/http.h"
#include "common/wire.pb-c.h"
#include "gateway-s3/s3_error.h"

enum checksum_kind {
    CHECKSUM_NONE,
    CHECKSUM_CRC32,
    CHECKSUM_CRC32C,
    CHECKSUM_CRC64NVME,
    CHECKSUM_SHA1,
    CHECKSUM_SHA256,
    CHECKSUM_KINDS
};
#define CHECKSUM_MAX 32
const char *checksum_name(enum checksum_kind k);      /* "CRC32", "CRC64NVME" ... as in x-amz-checksum-algorithm */
const char *checksum_header(enum checksum_kind k);    /* "x-amz-checksum-crc32" ... */
enum checksum_kind checksum_by_name(struct str name); /* any case; CHECKSUM_NONE when unknown */
enum checksum_kind checksum_by_header(struct str header);
size_t checksum_len(enum checksum_kind k); /* bytes of the value */

/* What a request asked for. */
struct checksum_want {
    bool md5; /* Content-MD5 given */
    uint8_t md5_value[16];
    enum checksum_kind kind; /* from a header, a trailer announcement or x-amz-sdk-checksum-algorithm; else NONE */
    bool has_value;          /* value known from a header */
    bool in_trailer;         /* value comes in the trailer named by kind */
    uint8_t value[CHECKSUM_MAX];
};
/* InvalidDigest (Content-MD5 not 16 bytes of base64), InvalidRequest (two checksums, header and trailer at once,
 * unknown). Not for CompleteMultipartUpload: its x-amz-checksum-* is the whole object's and may end in "-N". */
enum s3_error checksum_wanted(const struct http_req *r, struct checksum_want *ret);
enum s3_error checksum_parse(enum checksum_kind k, struct str base64, uint8_t ret[CHECKSUM_MAX]); /* InvalidRequest */

/* Running digests of a body: always MD5 (ETag); SHA-256 when the payload's hash is signed; one checksum. */
struct checksum_set {
    enum checksum_kind kind;
    bool want_sha256;
    struct digest *md5, *sha256, *sha1;
    uint64_t crc;
    bool also_crc64; /* set after init: CRC64NVME beside kind, for parts whose object gets it */
    uint64_t crc64;
    uint64_t total_bytes;
};
int checksum_set_init(struct checksum_set *s, enum checksum_kind kind, bool want_sha256);
void checksum_set_update(void *set, const uint8_t *p, size_t n); /* the tap of client_write */
void checksum_set_final(struct checksum_set *s, uint8_t md5[16], uint8_t sha256[32], uint8_t value[CHECKSUM_MAX]);
void checksum_set_fini(struct checksum_set *s);

/* Multipart: COMPOSITE = checksum of the parts' checksums (text: base64 + "-N"); FULL_OBJECT = joined CRCs. */
struct checksum_join {
    enum checksum_kind kind;
    bool composite;
    uint64_t crc;
    uint32_t part_count;
    struct digest *digest;
};
/* -EINVAL: a hash in FULL_OBJECT, CRC64NVME in COMPOSITE, no kind. */
int checksum_join_init(struct checksum_join *j, enum checksum_kind kind, bool composite);
void checksum_join_add(struct checksum_join *j, const uint8_t *value, uint64_t part_bytes);
void checksum_join_final(struct checksum_join *j, uint8_t value[CHECKSUM_MAX]);
void checksum_join_fini(struct checksum_join *j);
