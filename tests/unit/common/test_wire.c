/* Frames: every message type survives the trip, and whatever was tampered with is refused. */
#include "common/wire.h"
#include "common/xxh.h"
#include <criterion/criterion.h>
#include <stdlib.h>

static struct wire_head head_of(enum wire_kind kind, uint16_t type)
{
    return (struct wire_head){.kind = kind, .type = type, .id = 77};
}

Test(wire, every_type_of_the_table_packs_and_unpacks)
{
    unsigned types = 0;
#define RPC(name, number, message)                                                                                     \
    do {                                                                                                               \
        struct wire_head h = head_of(WIRE_REQUEST, number);                                                            \
        Pb__##message##Req req = PB__##name##_REQ__INIT;                                                               \
        Pb__##message##Rep rep = PB__##name##_REP__INIT;                                                               \
        uint8_t *bytes;                                                                                                \
        struct arena a;                                                                                                \
        void *back;                                                                                                    \
        arena_init(&a, MIB);                                                                                           \
        cr_assert(wire_knows(number));                                                                                 \
        cr_assert_eq(wire_pack(&h, &req, &bytes), 0);                                                                  \
        cr_assert_eq(wire_unpack(&h, bytes, &a, &back), 0);                                                            \
        cr_assert_eq(((ProtobufCMessage *)back)->descriptor, req.base.descriptor);                                     \
        free(bytes);                                                                                                   \
        h.kind = WIRE_REPLY;                                                                                           \
        cr_assert_eq(wire_pack(&h, &rep, &bytes), 0);                                                                  \
        cr_assert_eq(wire_unpack(&h, bytes, &a, &back), 0);                                                            \
        cr_assert_eq(((ProtobufCMessage *)back)->descriptor, rep.base.descriptor);                                     \
        free(bytes);                                                                                                   \
        arena_fini(&a);                                                                                                \
        types++;                                                                                                       \
    } while (0);
#include "common/rpc.def"
#undef RPC
    cr_assert_gt(types, 15);
    cr_assert(!wire_knows(0) && !wire_knows(7) && !wire_knows(65535));
}

Test(wire, heads_survive_and_any_flipped_bit_is_noticed)
{
    struct wire_head h = {.kind = WIRE_REPLY,
                          .type = 8,
                          .status = -5005,
                          .id = UINT64_C(0x1122334455667788),
                          .has_message = true,
                          .message_bytes = 17,
                          .payload_bytes = 4096,
                          .message_sum = 1,
                          .payload_sum = 2};
    uint8_t bytes[WIRE_HEAD_BYTES];
    struct wire_head back;
    wire_head_encode(&h, bytes);
    cr_assert_eq(wire_head_decode(bytes, &back), 0);
    cr_assert(back.kind == h.kind && back.type == 8 && back.status == -5005 && back.id == h.id && back.has_message &&
              back.message_bytes == 17 && back.payload_bytes == 4096 && back.message_sum == 1 && back.payload_sum == 2);
    for (unsigned bit = 0; bit < WIRE_HEAD_BYTES * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
        cr_assert_eq(wire_head_decode(bytes, &back), E_PROTOCOL, "bit %u", bit);
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
}

static void sum_again(uint8_t *bytes)
{
    put_be64(bytes + 48, xxh64of(bytes, 48, 0));
}

Test(wire, heads_out_of_bounds_are_refused)
{
    struct wire_head h = {.kind = WIRE_REQUEST, .type = 8, .has_message = true, .message_bytes = 1}, back;
    uint8_t bytes[WIRE_HEAD_BYTES];
    static const struct {
        unsigned at;
        uint8_t value;
        int err;
    } cases[] = {{5, 2, E_VERSION},  {6, 0, E_PROTOCOL},  {6, 3, E_PROTOCOL},  {7, 0, E_PROTOCOL},
                 {7, 3, E_PROTOCOL}, {10, 1, E_PROTOCOL}, {24, 1, E_PROTOCOL}, {28, 1, E_PROTOCOL}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        wire_head_encode(&h, bytes);
        bytes[cases[i].at] = cases[i].value;
        sum_again(bytes);
        cr_assert_eq(wire_head_decode(bytes, &back), cases[i].err, "case %zu", i);
    }
}

struct sink {
    unsigned frames;
    uint64_t payload_bytes;
};
static int begin(struct wire_in *in, struct buf **ret_payload)
{
    *ret_payload = buf_create(in->head.payload_bytes);
    return 0;
}
static int frame(struct wire_in *in)
{
    struct sink *s = in->ctx;
    s->frames++;
    for (uint32_t i = 0; i < in->head.payload_bytes; i++)
        cr_assert_eq(in->payload->data[i], (uint8_t)(i * 7));
    s->payload_bytes += in->head.payload_bytes;
    return 0;
}

Test(wire, frames_come_out_of_a_stream_cut_anywhere)
{
    static uint8_t stream[64 * 1024];
    size_t n = 0;
    for (unsigned i = 0; i < 6; i++) {
        Pb__BucketGetReq req = PB__BUCKET_GET_REQ__INIT;
        struct wire_head h = head_of(WIRE_REQUEST, RPC_BUCKET_GET);
        uint8_t *message, *at = stream + n;
        char name[] = "a-bucket";
        req.name = name;
        cr_assert_eq(wire_pack(&h, i % 2 ? &req : NULL, &message), 0);
        h.payload_bytes = i * 1000;
        for (uint32_t j = 0; j < h.payload_bytes; j++)
            at[WIRE_HEAD_BYTES + h.message_bytes + j] = (uint8_t)(j * 7);
        h.payload_sum = h.payload_bytes ? xxh64of(at + WIRE_HEAD_BYTES + h.message_bytes, h.payload_bytes, 0) : 0;
        wire_head_encode(&h, at);
        if (message)
            memcpy(at + WIRE_HEAD_BYTES, message, h.message_bytes);
        n += WIRE_HEAD_BYTES + h.message_bytes + h.payload_bytes;
        free(message);
    }
    for (size_t step = 1; step < 300; step += step < 70 ? 1 : 37) {
        struct sink s = {0};
        struct wire_in in = {.begin = begin, .frame = frame, .ctx = &s};
        for (size_t at = 0; at < n;) {
            uint8_t *to;
            size_t room;
            wire_in_space(&in, &to, &room);
            size_t take = MIN_OF(MIN_OF(room, n - at), step);
            memcpy(to, stream + at, take);
            at += take;
            cr_assert_eq(wire_in_advance(&in, take), 0);
        }
        cr_assert_eq(s.frames, 6);
        cr_assert_eq(s.payload_bytes, 15000);
        wire_in_fini(&in);
    }
}

Test(wire, unpacking_is_bounded_by_the_arena)
{
    enum { ENTRIES = 100000 };
    uint8_t *bytes = malloc(2 * ENTRIES);
    for (unsigned i = 0; i < ENTRIES; i++) { /* repeated ListEntry entries = 1, each empty: 2 bytes become 80 */
        bytes[2 * i] = 0x0a;
        bytes[2 * i + 1] = 0;
    }
    struct wire_head h = head_of(WIRE_REPLY, RPC_OBJECT_LIST);
    h.has_message = true;
    h.message_bytes = 2 * ENTRIES;
    struct arena a;
    void *msg;
    arena_init(&a, MIB);
    cr_assert_eq(wire_unpack(&h, bytes, &a, &msg), E_PROTOCOL);
    cr_assert_leq(a.used_bytes, MIB);
    arena_fini(&a);
    arena_init(&a, 64 * MIB);
    cr_assert_eq(wire_unpack(&h, bytes, &a, &msg), 0);
    cr_assert_eq(((Pb__ObjectListRep *)msg)->n_entries, ENTRIES);
    arena_fini(&a);
    free(bytes);
}
