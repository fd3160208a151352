/* meta_schema - the rows of metadata: how keys are built and records packed.
 *
 *   b/<bucket>                            Bucket
 *   o/<bucket>\0<key>\0<8-byte slot>      Object; slot zeroes: the null version. Keys hold no NUL, so rows sort as keys
 * do i/<inline id>                         the bytes of a small object m/<manifest id>                       Object
 * with nothing but parts and extents, when there are many u/<bucket>\0<key>\0<upload id>        Upload p/<upload
 * id>\0<be16 number>          Part t/<bucket>\0<key>\0<upload id>        Completed: the tombstone that answers a
 * retried Complete w/<write id>                          WriteRow: committed, or claimed by gc g/<be64 due ms><be64
 * serial>          GcRow r/<write id><be32 stripe><fragment>   RepairRow x/<table>\0<key>                      be64
 * revision, then the value s/applied, s/config, s/counters       MetaApplied, MetaConfig, MetaCounters
 *
 * Thread: pure.  Memory: a meta_key is the caller's; packed and unpacked records live in the arena.
 * Errors: E_CORRUPT (a record that does not parse), E_VERSION (a newer format), -ENOMEM. */
#pragma once
#include "common/arena.h"
#include "common/err.h"
#include "common/wire.pb-c.h"
#include "node/meta.h"

#define META_FORMAT        1
#define META_WRITE_ID      12
#define META_ROW_ID        16 /* inline and manifest ids */
#define META_SLOT_BYTES    8
#define META_TABLE_KEY_MAX 1024
#define META_KEY_CAP       (8 + META_BUCKET_MAX + 1 + META_KEY_MAX + 1 + META_UPLOAD_ID_MAX)

struct meta_key {
    size_t len;
    char b[META_KEY_CAP];
};

static inline struct str meta_key_str(const struct meta_key *k)
{
    return (struct str){k->b, k->len};
}
/* Each fills k and answers it as a str that borrows k. */
struct str meta_key_bucket(struct meta_key *k, struct str bucket);
struct str meta_key_object(struct meta_key *k, struct str bucket, struct str key);
struct str meta_key_upload(struct meta_key *k, struct str bucket, struct str key, struct str upload_id);
struct str meta_key_tombstone(struct meta_key *k, struct str bucket, struct str key, struct str upload_id);
struct str meta_key_part(struct meta_key *k, struct str upload_id, uint32_t number);
struct str meta_key_id(struct meta_key *k, char space, struct str id); /* i/ m/ w/ and the prefix of r/ */
struct str meta_key_repair(struct meta_key *k, struct str write_id, uint32_t stripe, uint32_t fragment);
struct str meta_key_gc(struct meta_key *k, uint64_t due_ms, uint64_t serial);
struct str meta_key_row(struct meta_key *k, struct str table, struct str key);
/* What all rows of a kind begin with: "o/<bucket>\0", "u/<bucket>\0", "p/<upload id>\0", "x/<table>\0". */
struct str meta_key_prefix(struct meta_key *k, char space, struct str name);
void meta_key_add(struct meta_key *k, struct str s);
/* The least key above everything that begins with k: k itself becomes it. */
struct str meta_key_successor(struct meta_key *k);

/* A name that may stand in a key: not empty, at most max bytes, no NUL. */
bool meta_name_ok(struct str s, size_t max);

int meta_pack(struct arena *a, const ProtobufCMessage *msg, struct str *ret);
int meta_unpack(struct arena *a, const ProtobufCMessageDescriptor *type, struct str bytes, void *ret_message);

static inline struct str meta_bin(ProtobufCBinaryData d)
{
    return (struct str){(const char *)d.data, d.len};
}
static inline ProtobufCBinaryData meta_bin_of(struct str s)
{
    return (ProtobufCBinaryData){.len = s.len, .data = (uint8_t *)(uintptr_t)s.p};
}
