/* wire - see wire.h. Nothing is allocated before the head's checksum and limits were judged, and nothing is unpacked
 * before the message's checksum was. */
#include "common/wire.h"
#include "common/xxh.h"
#include <protobuf-c/protobuf-c.h>
#include <stdlib.h>

#define FLAG_MESSAGE 1
#define SUMMED_BYTES (WIRE_HEAD_BYTES - 8)

static const uint8_t magic[4] = {'L', 'W', 'I', 'R'};

/* ---- the head ---- */

static void put_be16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static uint16_t get_be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

void wire_head_encode(const struct wire_head *h, uint8_t ret[WIRE_HEAD_BYTES])
{
    memcpy(ret, magic, sizeof magic);
    put_be16(ret + 4, WIRE_VERSION);
    ret[6] = (uint8_t)h->kind;
    ret[7] = h->has_message ? FLAG_MESSAGE : 0;
    put_be16(ret + 8, h->type);
    put_be16(ret + 10, 0);
    put_be32(ret + 12, h->kind == WIRE_REPLY ? (uint32_t)h->status : h->deadline_ms);
    put_be64(ret + 16, h->id);
    put_be32(ret + 24, h->message_bytes);
    put_be32(ret + 28, h->payload_bytes);
    put_be64(ret + 32, h->message_sum);
    put_be64(ret + 40, h->payload_sum);
    put_be64(ret + 48, xxh64of(ret, SUMMED_BYTES, 0));
}

int wire_head_decode(const uint8_t bytes[WIRE_HEAD_BYTES], struct wire_head *ret)
{
    if (memcmp(bytes, magic, sizeof magic) != 0 || get_be64(bytes + 48) != xxh64of(bytes, SUMMED_BYTES, 0))
        return E_PROTOCOL;
    if (get_be16(bytes + 4) != WIRE_VERSION)
        return E_VERSION;
    struct wire_head h = {.kind = bytes[6],
                          .has_message = bytes[7] & FLAG_MESSAGE,
                          .type = get_be16(bytes + 8),
                          .id = get_be64(bytes + 16),
                          .message_bytes = get_be32(bytes + 24),
                          .payload_bytes = get_be32(bytes + 28),
                          .message_sum = get_be64(bytes + 32),
                          .payload_sum = get_be64(bytes + 40)};
    if ((h.kind != WIRE_REQUEST && h.kind != WIRE_REPLY) || bytes[7] & ~FLAG_MESSAGE || get_be16(bytes + 10) != 0)
        return E_PROTOCOL;
    if (h.message_bytes > WIRE_MESSAGE_MAX || h.payload_bytes > WIRE_PAYLOAD_MAX || (h.message_bytes && !h.has_message))
        return E_PROTOCOL;
    if (h.kind == WIRE_REPLY)
        h.status = (int32_t)get_be32(bytes + 12);
    else
        h.deadline_ms = get_be32(bytes + 12);
    *ret = h;
    return 0;
}

/* ---- messages by the table ---- */

static const ProtobufCMessageDescriptor *message_of(enum wire_kind kind, uint16_t type)
{
    switch (type) {
#define RPC(id, number, message)                                                                                       \
    case number: {                                                                                                     \
        static const Pb__##message##Req req = PB__##id##_REQ__INIT;                                                    \
        static const Pb__##message##Rep rep = PB__##id##_REP__INIT;                                                    \
        return kind == WIRE_REQUEST ? req.base.descriptor : rep.base.descriptor;                                       \
    }
#include "common/rpc.def"
#undef RPC
    default:
        return NULL;
    }
}

bool wire_knows(uint16_t type)
{
    return message_of(WIRE_REQUEST, type) != NULL;
}

int wire_pack(struct wire_head *h, const void *msg, uint8_t **ret_bytes)
{
    const ProtobufCMessage *m = msg;
    *ret_bytes = NULL;
    h->has_message = m != NULL;
    h->message_bytes = 0;
    h->message_sum = 0;
    if (!m)
        return 0;
    assert(m->descriptor == message_of(h->kind, h->type));
    size_t n = protobuf_c_message_get_packed_size(m);
    if (n > WIRE_MESSAGE_MAX)
        return -EMSGSIZE;
    uint8_t *bytes = malloc(MAX_OF(n, 1));
    if (!bytes)
        return -ENOMEM;
    protobuf_c_message_pack(m, bytes);
    h->message_bytes = (uint32_t)n;
    h->message_sum = xxh64of(bytes, n, 0);
    *ret_bytes = bytes;
    return 0;
}

int wire_unpack(const struct wire_head *h, const uint8_t *bytes, struct arena *a, void **ret_msg)
{
    const ProtobufCMessageDescriptor *d = message_of(h->kind, h->type);
    *ret_msg = NULL;
    if (!d)
        return E_PROTOCOL;
    if (!h->has_message)
        return 0;
    struct arena_pb pb = arena_pb(a);
    *ret_msg = protobuf_c_message_unpack(d, (ProtobufCAllocator *)&pb, h->message_bytes, bytes);
    return *ret_msg ? 0 : E_PROTOCOL;
}

/* ---- a stream of frames ---- */

void wire_in_fini(struct wire_in *in)
{
    free(in->message);
    buf_unref(in->payload);
    in->message = NULL;
    in->payload = NULL;
    in->part = WIRE_IN_HEAD;
    in->have = 0;
}

static size_t part_bytes(const struct wire_in *in)
{
    return in->part == WIRE_IN_HEAD      ? WIRE_HEAD_BYTES
           : in->part == WIRE_IN_MESSAGE ? in->head.message_bytes
                                         : in->head.payload_bytes;
}

static uint8_t *part_data(struct wire_in *in)
{
    return in->part == WIRE_IN_HEAD ? in->bytes : in->part == WIRE_IN_MESSAGE ? in->message : in->payload->data;
}

void wire_in_space(struct wire_in *in, uint8_t **ret_p, size_t *ret_len)
{
    *ret_p = part_data(in) + in->have;
    *ret_len = part_bytes(in) - in->have;
    assert(*ret_len > 0);
}

static int head_came(struct wire_in *in)
{
    int err = wire_head_decode(in->bytes, &in->head);
    if (err)
        return err;
    if (in->head.message_bytes && !(in->message = malloc(in->head.message_bytes)))
        return -ENOMEM;
    if (in->head.payload_bytes)
        err = in->begin(in, &in->payload);
    assert(err || !in->payload || in->payload->cap >= in->head.payload_bytes);
    return err;
}

static int frame_came(struct wire_in *in)
{
    const struct wire_head *h = &in->head;
    if (h->message_sum != (h->has_message ? xxh64of(in->message, h->message_bytes, 0) : 0) ||
        h->payload_sum != (h->payload_bytes ? xxh64of(in->payload->data, h->payload_bytes, 0) : 0))
        return E_PROTOCOL;
    int err = in->frame(in);
    wire_in_fini(in);
    return err;
}

int wire_in_advance(struct wire_in *in, size_t n)
{
    in->have += n;
    assert(in->have <= part_bytes(in));
    while (in->have == part_bytes(in)) { /* parts of no bytes are over at once */
        int err = in->part == WIRE_IN_HEAD ? head_came(in) : 0;
        if (err)
            return err;
        if (in->part == WIRE_IN_PAYLOAD)
            return frame_came(in);
        in->part++;
        in->have = 0;
    }
    return 0;
}
