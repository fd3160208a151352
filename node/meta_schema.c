/* meta_schema - keys are a letter, a slash and the parts, ended by NUL where another part follows; numbers are
 * big-endian so that they sort. Records are protobuf with a format number that a reader must know. */
#include "node/meta_schema.h"

static void key_begin(struct meta_key *k, char space)
{
    k->b[0] = space;
    k->b[1] = '/';
    k->len = 2;
}

void meta_key_add(struct meta_key *k, struct str s)
{
    assert(k->len + s.len <= sizeof k->b);
    if (s.len)
        memcpy(k->b + k->len, s.p, s.len);
    k->len += s.len;
}

static void key_end_part(struct meta_key *k)
{
    meta_key_add(k, (struct str){"", 1});
}

struct str meta_key_prefix(struct meta_key *k, char space, struct str name)
{
    key_begin(k, space);
    meta_key_add(k, name);
    key_end_part(k);
    return meta_key_str(k);
}

struct str meta_key_bucket(struct meta_key *k, struct str bucket)
{
    key_begin(k, 'b');
    meta_key_add(k, bucket);
    return meta_key_str(k);
}

struct str meta_key_object(struct meta_key *k, struct str bucket, struct str key)
{
    static const char null_slot[META_SLOT_BYTES];
    meta_key_prefix(k, 'o', bucket);
    meta_key_add(k, key);
    key_end_part(k);
    meta_key_add(k, (struct str){null_slot, sizeof null_slot});
    return meta_key_str(k);
}

static struct str key_of_upload(struct meta_key *k, char space, struct str bucket, struct str key, struct str upload_id)
{
    meta_key_prefix(k, space, bucket);
    meta_key_add(k, key);
    key_end_part(k);
    meta_key_add(k, upload_id);
    return meta_key_str(k);
}

struct str meta_key_upload(struct meta_key *k, struct str bucket, struct str key, struct str upload_id)
{
    return key_of_upload(k, 'u', bucket, key, upload_id);
}

struct str meta_key_tombstone(struct meta_key *k, struct str bucket, struct str key, struct str upload_id)
{
    return key_of_upload(k, 't', bucket, key, upload_id);
}

struct str meta_key_part(struct meta_key *k, struct str upload_id, uint32_t number)
{
    char be16[2] = {(char)(number >> 8), (char)number};
    meta_key_prefix(k, 'p', upload_id);
    meta_key_add(k, (struct str){be16, sizeof be16});
    return meta_key_str(k);
}

struct str meta_key_id(struct meta_key *k, char space, struct str id)
{
    key_begin(k, space);
    meta_key_add(k, id);
    return meta_key_str(k);
}

struct str meta_key_repair(struct meta_key *k, struct str write_id, uint32_t stripe, uint32_t fragment)
{
    uint8_t tail[5];
    put_be32(tail, stripe);
    tail[4] = (uint8_t)fragment;
    meta_key_id(k, 'r', write_id);
    meta_key_add(k, (struct str){(const char *)tail, sizeof tail});
    return meta_key_str(k);
}

struct str meta_key_gc(struct meta_key *k, uint64_t due_ms, uint64_t serial)
{
    uint8_t tail[16];
    put_be64(tail, due_ms);
    put_be64(tail + 8, serial);
    key_begin(k, 'g');
    meta_key_add(k, (struct str){(const char *)tail, sizeof tail});
    return meta_key_str(k);
}

struct str meta_key_row(struct meta_key *k, struct str table, struct str key)
{
    meta_key_prefix(k, 'x', table);
    meta_key_add(k, key);
    return meta_key_str(k);
}

struct str meta_key_successor(struct meta_key *k)
{
    while (k->len > 0 && (uint8_t)k->b[k->len - 1] == 0xff)
        k->len--;
    assert(k->len > 0); /* every key begins with a letter */
    k->b[k->len - 1]++;
    return meta_key_str(k);
}

bool meta_name_ok(struct str s, size_t max)
{
    return s.len > 0 && s.len <= max && memchr(s.p, 0, s.len) == NULL;
}

int meta_pack(struct arena *a, const ProtobufCMessage *msg, struct str *ret)
{
    size_t len = protobuf_c_message_get_packed_size(msg);
    uint8_t *p = arena_alloc(a, len + 1);
    if (!p)
        return -ENOMEM;
    protobuf_c_message_pack(msg, p);
    *ret = (struct str){(const char *)p, len};
    return 0;
}

/* The format stands in field 1 of every record that carries one. */
static int check_format(const ProtobufCMessage *msg)
{
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(msg->descriptor, "format");
    if (!f)
        return 0;
    uint32_t format;
    memcpy(&format, (const char *)msg + f->offset, sizeof format);
    return format > META_FORMAT ? E_VERSION : 0;
}

int meta_unpack(struct arena *a, const ProtobufCMessageDescriptor *type, struct str bytes, void *ret_message)
{
    struct arena_pb alloc = arena_pb(a);
    size_t limit = a->limit_bytes, used = a->used_bytes;
    ProtobufCMessage *msg =
        protobuf_c_message_unpack(type, (ProtobufCAllocator *)(void *)&alloc, bytes.len, (const uint8_t *)bytes.p);
    if (!msg) /* the library does not tell damage from want of memory: what is left of the arena does */
        return limit - used < bytes.len * 4 + 4096 ? -ENOMEM : E_CORRUPT;
    int err = check_format(msg);
    if (err)
        return err;
    memcpy(ret_message, &msg, sizeof msg);
    return 0;
}
