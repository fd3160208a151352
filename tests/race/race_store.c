/* The store under ThreadSanitizer: writes, reads and deletes side by side on the loop, with sums, look-ups, flushes and
 * segment preparation on work threads, on both kinds of disk. The oracle is the sanitizer, and that every byte is
 * right. */
#include "tests/lib/store_rig.h"
#include <stdio.h>
#include <stdlib.h>

#define LANES  24
#define ROUNDS 40

struct lane {
    struct store_rig *rig;
    uint64_t n, end;
    size_t *live;
    struct buf *buf;
    union {
        struct store_write write;
        struct store_read read;
        struct store_delete delete;
    };
    uint8_t id[1][FRAG_ID_BYTES];
};

static void lane_write(struct lane *l);

static size_t length_of(uint64_t n)
{
    return 1000 + (size_t)(n * 7919 % 90000);
}

static void require(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "race_store: %s\n", what);
    abort();
}

static void lane_next(struct lane *l)
{
    if (++l->n == l->end)
        --*l->live;
    else
        lane_write(l);
}

static void deleted(struct store_delete *d)
{
    struct lane *l = container_of(d, struct lane, delete);
    require(d->status == 0 && d->deleted == 1, "a delete failed");
    lane_next(l);
}

static void was_read(struct store_read *r)
{
    struct lane *l = container_of(r, struct lane, read);
    require(r->status == 0 && r->data.len == length_of(l->n), "a read failed");
    require(store_rig_same(l->n, 0, slice_data(r->data), r->data.len), "a wrong byte");
    buf_unref(r->data.buf);
    if (l->n % 2) {
        lane_next(l);
        return;
    }
    store_rig_id(l->n, l->id[0]);
    l->delete = (struct store_delete){.frag_ids = (const uint8_t(*)[FRAG_ID_BYTES])l->id, .count = 1, .cb = deleted};
    store_delete(l->rig->store, &l->delete);
}

static void written(struct store_write *w)
{
    struct lane *l = container_of(w, struct lane, write);
    require(w->status == 0, "a write failed");
    buf_unref(l->buf);
    l->read = (struct store_read){.cb = was_read};
    store_rig_id(l->n, l->read.frag_id);
    store_read(l->rig->store, &l->read);
}

static void lane_write(struct lane *l)
{
    size_t len = length_of(l->n);
    l->buf = buf_create(len);
    require(l->buf != NULL, "no memory");
    store_rig_fill(l->n, l->buf->data, len);
    l->write = (struct store_write){.k = 2, .m = 1, .payload_count = 1, .cb = written};
    l->write.payload[0] = (struct slice){l->buf, 0, len};
    store_rig_id(l->n, l->write.frag_id);
    store_write(l->rig->store, &l->write);
}

static void run(const char *engine)
{
    static struct lane lanes[LANES];
    struct store_rig r;
    size_t live = LANES;
    store_rig_init(&r, engine, 2 * MIB);
    r.compact_percent = 30;
    require(store_rig_open(&r) == 0, "it does not open");
    for (uint64_t i = 0; i < LANES; i++) {
        lanes[i] = (struct lane){.rig = &r, .n = i * ROUNDS, .end = (i + 1) * ROUNDS, .live = &live};
        lane_write(&lanes[i]);
    }
    while (live > 0)
        loop_turn(r.loop);
    store_rig_settle(&r, 300);
    store_rig_close(&r);
    require(store_rig_open(&r) == 0, "it does not open again");
    for (uint64_t n = 0; n < LANES * ROUNDS; n++)
        require(store_rig_read(&r, n, 0, 0, length_of(n)) == (n % 2 ? 0 : STORE_NOT_FOUND),
                "a fragment is not as it was left");
    store_rig_close(&r);
    store_rig_fini(&r);
}

int main(void)
{
    static const char *const engines[] = {"sim", "threads/mem", "io_uring/mem"};
    for (size_t i = 0; i < ARRAY_LEN(engines); i++)
        run(engines[i]);
    return 0;
}
