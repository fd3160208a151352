/* client_rig - see client_rig.h. */
#include "tests/lib/client_rig.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define RIG_THREADS 2

static void rig_ready(void *ctx, int err)
{
    ((struct rig *)ctx)->ready = err;
}

void rig_open(struct rig *r, const struct rig_conf *conf)
{
    *r = (struct rig){0};
    clock_manual_init(&r->clock, UINT64_C(1700000000000));
    if (loop_create(&r->clock.clock, &r->loop) || work_create(r->loop, RIG_THREADS, &r->work))
        abort();
    r->peer = peer_mem_create(r->loop, conf->k, conf->m, conf->stores);
    rig_client(r, conf);
}

void rig_client(struct rig *r, const struct rig_conf *conf)
{
    struct client_conf c = {.write_pool_bytes = conf->write_pool_bytes ? conf->write_pool_bytes : 256 * MIB,
                            .read_pool_bytes = conf->read_pool_bytes ? conf->read_pool_bytes : 256 * MIB};
    r->ready = 1;
    if (client_open(r->loop, r->work, r->via ? r->via : &r->peer->peer, &c, &r->client, rig_ready, r))
        abort();
    while (r->ready == 1)
        loop_turn(r->loop);
    if (r->ready)
        abort();
}

void rig_until(struct rig *r, const bool *flag)
{
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (unsigned n = 0; !*flag; n++) {
        loop_turn(r->loop);
        if (n % 64 == 63)
            usleep(20); /* the work threads need the core */
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec - start.tv_sec > 20) {
            fprintf(stderr, "rig: nothing has happened for 20 s, %u calls under way\n", r->peer->out);
            abort();
        }
    }
}

void rig_turns(struct rig *r, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        loop_turn(r->loop);
        usleep(50);
    }
}

void rig_advance(struct rig *r, uint64_t ns)
{
    r->clock.mono_now_ns += ns;
    rig_turns(r, 4);
}

/* A request for each thread; they meet, so both threads are through with what came before. */
struct idle {
    struct work_req req;
    atomic_uint *met;
    bool done;
};
static void idle_run(struct work_req *req)
{
    struct idle *i = container_of(req, struct idle, req);
    atomic_fetch_add(i->met, 1);
    while (atomic_load(i->met) < RIG_THREADS)
        usleep(20);
}
static void idle_done(struct work_req *req)
{
    container_of(req, struct idle, req)->done = true;
}

static void work_idle(struct rig *r)
{
    atomic_uint met = 0;
    struct idle idle[RIG_THREADS];
    for (unsigned i = 0; i < RIG_THREADS; i++) {
        idle[i] = (struct idle){.req = {.run = idle_run, .cb = idle_done}, .met = &met};
        work_submit(r->work, &idle[i].req);
    }
    for (unsigned i = 0; i < RIG_THREADS; i++)
        rig_until(r, &idle[i].done);
}

/* Nothing moves any more but `waiting` calls: several times in a row, since the end of one thing begins another. */
static void settle(struct rig *r, bool waiting_allowed)
{
    for (unsigned calm = 0; calm < 4; calm++) {
        work_idle(r);
        rig_turns(r, 3);
        if (r->peer->out > (waiting_allowed ? r->peer->waiting : 0))
            calm = 0;
    }
}

void rig_settle(struct rig *r)
{
    settle(r, true);
}

void rig_quiet(struct rig *r)
{
    settle(r, false);
}

void rig_close(struct rig *r)
{
    client_close(r->client);
    rig_quiet(r);
    work_destroy(r->work);
    peer_mem_destroy(r->peer);
    loop_destroy(r->loop);
}

void rig_fill(uint8_t *p, size_t n, uint64_t seed)
{
    uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (size_t i = 0; i < n; i++) {
        if (i % 8 == 0) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
        }
        p[i] = (uint8_t)(x >> 8 * (i % 8));
    }
}

/* ---- put ---- */

static uint64_t hash_on(uint64_t h, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * UINT64_C(0x100000001b3);
    return h;
}

uint64_t rig_hash(const uint8_t *p, size_t n)
{
    return hash_on(7, p, n);
}

static void put_tap(void *ctx, const uint8_t *p, size_t n)
{
    struct rig_put *put = ctx;
    put->tap_hash = hash_on(put->tap_hash, p, n);
    put->tapped += n;
    put->tap_calls++;
}

static void put_closed(void *ctx)
{
    ((struct rig_put *)ctx)->closed = true;
}

static void put_finished(void *ctx, int err, const struct client_write_result *res)
{
    struct rig_put *put = ctx;
    put->err = err;
    put->done = true;
    if (err)
        return;
    put->object.size = res->size;
    if (res->inlined) {
        put->inline_data = (struct str){(const char *)slice_data(res->inline_data), res->inline_data.len};
    } else if (res->extent) {
        put->extents[0] = res->extent;
        put->object.extents = put->extents;
        put->object.n_extents = 1;
    }
}

static void put_more(void *ctx)
{
    struct rig_put *put = ctx;
    if (client_write_status(put->w))
        put->left = 0;
    while (put->left) {
        uint8_t *to;
        size_t room;
        client_write_space(put->w, &to, &room, put_more, put);
        if (room == 0)
            return;
        size_t n = MIN_OF(MIN_OF(room, put->left), put->step ? put->step : room);
        memcpy(to, put->p, n);
        put->p += n;
        put->left -= n;
        client_write_advance(put->w, n);
    }
    client_write_finish(put->w, put_finished, put);
}

void rig_put_start(struct rig *r, struct rig_put *put, const struct rig_put_conf *conf)
{
    *put = (struct rig_put){.rig = r, .p = conf->p, .left = conf->n, .step = conf->step, .tap_hash = 7};
    pb__object__init(&put->object);
    struct client_write_conf c = {.expected_bytes = conf->expected ? conf->expected : conf->n,
                                  .may_inline = conf->may_inline,
                                  .tap = put_tap,
                                  .closed = put_closed,
                                  .ctx = put};
    if (client_write_open(r->client, &c, &put->w))
        abort();
    put_more(put);
}

int rig_put(struct rig *r, struct rig_put *put, const uint8_t *p, size_t n)
{
    rig_put_start(r, put, &(struct rig_put_conf){.p = p, .n = n});
    rig_until(r, &put->done);
    return put->err;
}

void rig_put_free(struct rig *r, struct rig_put *put, bool committed)
{
    client_write_free(put->w, committed);
    put->w = NULL;
    rig_until(r, &put->closed);
}

/* ---- get ---- */

struct rig_read {
    struct client_read *r;
    const uint8_t *want;
    uint64_t n, length;
    bool done, wrong;
    int err;
};

static void get_came(void *ctx, int err, struct slice s)
{
    struct rig_read *g = ctx;
    g->err = err;
    if (!err && s.len) {
        g->wrong |=
            s.len > CLIENT_READ_UNIT || g->n + s.len > g->length || memcmp(slice_data(s), g->want + g->n, s.len) != 0;
        g->n += s.len;
        buf_unref(s.buf);
        client_read_next(g->r, get_came, g);
        return;
    }
    g->done = true;
}

int rig_get(struct rig *r, const struct rig_put *put, uint64_t offset, uint64_t length, const uint8_t *want,
            uint64_t *ret_n)
{
    struct rig_read g = {.want = want, .length = length};
    int err = client_read_open(r->client, &put->object, put->inline_data, offset, length, &g.r);
    if (err)
        return err;
    client_read_next(g.r, get_came, &g);
    rig_until(r, &g.done);
    client_read_free(g.r);
    if (ret_n)
        *ret_n = g.n;
    if (g.wrong) {
        fprintf(stderr, "rig: wrong bytes reading %lu at %lu\n", (unsigned long)length, (unsigned long)offset);
        abort();
    }
    return g.err;
}
