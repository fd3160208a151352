/* wire - rpc as bytes: frames of a head, a protobuf message and a payload, each checksummed; what to pack and unpack
 * follows from rpc.def.
 *
 * Head, 56 bytes, big-endian: magic "LWIR", version u16, kind u8, flags u8, type u16, zero u16, status i32 (of a reply)
 * or deadline in ms (of a request, 0: none), id u64, message bytes u32, payload bytes u32, XXH3-64 of the message,
 * XXH3-64 of the payload, XXH3-64 of the head before it. wire_in takes a stream of frames apart without sockets: it
 * says where the next bytes go and calls back for each frame. Thread: one at a time. Memory: wire_in owns what it is
 * reading; frame() may take the payload. Limits: WIRE_MESSAGE_MAX, WIRE_PAYLOAD_MAX; unpacking is bounded by the arena.
 * Errors: E_PROTOCOL (not a frame, or checksums differ), E_VERSION (a newer one), -ENOMEM. All end the stream. */
#pragma once
#include "common/rpc.h"

#define WIRE_VERSION     1
#define WIRE_HEAD_BYTES  56
#define WIRE_MESSAGE_MAX (8 * MIB)
#define WIRE_PAYLOAD_MAX (8 * MIB)

enum wire_kind { WIRE_REQUEST = 1, WIRE_REPLY = 2 };
struct wire_head {
    enum wire_kind kind;
    uint16_t type;
    int32_t status;       /* reply */
    uint32_t deadline_ms; /* request */
    uint64_t id;
    bool has_message; /* false: rep is NULL (an empty message is has_message with 0 bytes) */
    uint32_t message_bytes, payload_bytes;
    uint64_t message_sum, payload_sum;
};
void wire_head_encode(const struct wire_head *h, uint8_t ret[WIRE_HEAD_BYTES]);
int wire_head_decode(const uint8_t bytes[WIRE_HEAD_BYTES], struct wire_head *ret);

/* Is it a type of rpc.def? */
bool wire_knows(uint16_t type);
/* Packs a request or reply of `type`; fills the message fields of h. *ret_bytes is malloc'd (NULL when msg is NULL).
 * -EMSGSIZE, -ENOMEM. */
int wire_pack(struct wire_head *h, const void *msg, uint8_t **ret_bytes);
/* Unpacks into the arena. E_PROTOCOL: not such a message, or it does not fit the arena. */
int wire_unpack(const struct wire_head *h, const uint8_t *bytes, struct arena *a, void **ret_msg);

struct wire_in {
    /* A head was read. For payload_bytes > 0: a buffer of that size or more, returned owned. */
    int (*begin)(struct wire_in *in, struct buf **ret_payload);
    /* A whole frame, checksums right. in->payload may be taken (set to NULL). */
    int (*frame)(struct wire_in *in);
    void *ctx;
    /* of the frame being read */
    struct wire_head head;
    uint8_t *message;
    struct buf *payload;
    /* private */
    enum { WIRE_IN_HEAD, WIRE_IN_MESSAGE, WIRE_IN_PAYLOAD } part;
    size_t have;
    uint8_t bytes[WIRE_HEAD_BYTES];
};
void wire_in_fini(struct wire_in *in); /* drops what was begun; may be used again afterwards */
/* Where the next bytes go: at least one. */
void wire_in_space(struct wire_in *in, uint8_t **ret_p, size_t *ret_len);
/* n bytes are there. The first error is for ever. */
int wire_in_advance(struct wire_in *in, size_t n);
