/* Any bytes as a stream of frames, in any cut: no crash, no leak, no message beyond the arena; and a frame that was
 * taken packs to the same head again. */
#include "common/wire.h"
#include "common/xxh.h"
#include <stdlib.h>

#define ARENA_BYTES (1 * MIB)

static int begin(struct wire_in *in, struct buf **ret_payload)
{
    *ret_payload = buf_create(in->head.payload_bytes);
    return *ret_payload ? 0 : -ENOMEM;
}

static int frame(struct wire_in *in)
{
    struct arena a;
    void *msg = NULL;
    arena_init(&a, ARENA_BYTES);
    int err = wire_unpack(&in->head, in->message, &a, &msg);
    if (!err && msg) {
        struct wire_head again = in->head;
        uint8_t *bytes = NULL;
        if (wire_pack(&again, msg, &bytes) == 0 && again.type != in->head.type)
            abort();
        free(bytes);
    }
    arena_fini(&a);
    return 0;
}

static int feed(const uint8_t *p, size_t n, size_t step)
{
    struct wire_in in = {.begin = begin, .frame = frame};
    int err = 0;
    while (n && !err) {
        uint8_t *to;
        size_t room;
        wire_in_space(&in, &to, &room);
        size_t take = MIN_OF(MIN_OF(room, n), step);
        memcpy(to, p, take);
        p += take;
        n -= take;
        err = wire_in_advance(&in, take);
    }
    wire_in_fini(&in);
    return err;
}

/* The head's checksums would stop nearly everything: they are made right first, so that what follows is reached. */
static void mend(uint8_t *p, size_t n)
{
    for (size_t at = 0; n - at >= WIRE_HEAD_BYTES;) {
        uint32_t message = get_be32(p + at + 24), payload = get_be32(p + at + 28);
        size_t left = n - at - WIRE_HEAD_BYTES;
        if (message > left || payload > left - message)
            message = payload = 0;
        put_be32(p + at + 24, message);
        put_be32(p + at + 28, payload);
        memcpy(p + at, "LWIR\0\1", 6);
        const uint8_t *body = p + at + WIRE_HEAD_BYTES;
        put_be64(p + at + 32, p[at + 7] & 1 ? xxh64of(body, message, 0) : 0);
        put_be64(p + at + 40, payload ? xxh64of(body + message, payload, 0) : 0);
        put_be64(p + at + 48, xxh64of(p + at, 48, 0));
        at += WIRE_HEAD_BYTES + message + payload;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 64 * KIB)
        return 0;
    size_t step = 1 + data[0], n = size - 1;
    int whole = feed(data + 1, n, SIZE_MAX), cut = feed(data + 1, n, step);
    if (whole != cut)
        abort();
    uint8_t *copy = malloc(n);
    memcpy(copy, data + 1, n);
    mend(copy, n);
    if (feed(copy, n, SIZE_MAX) != feed(copy, n, step))
        abort();
    free(copy);
    return 0;
}
