/* Streams tapped and coded on work threads, ranges decoded there, and slices given back by another thread, under
 * ThreadSanitizer. */
#include "client/client.h"
#include "tests/lib/client_rig.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define STREAMS 8
#define SIZE    (5 * MIB + 123)
#define RING    1024

/* Slices on their way to the thread that drops them. */
struct drop {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct slice ring[RING];
    size_t head, tail;
    bool end;
    uint64_t sum;
};
static struct drop drop = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, {{0}}, 0, 0, false, 0};

static void *dropper(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&drop.lock);
    for (;;) {
        while (drop.head == drop.tail && !drop.end)
            pthread_cond_wait(&drop.more, &drop.lock);
        if (drop.head == drop.tail)
            break;
        struct slice s = drop.ring[drop.head++ % RING];
        pthread_mutex_unlock(&drop.lock);
        for (size_t i = 0; i < s.len; i += 997)
            drop.sum += slice_data(s)[i];
        buf_unref(s.buf);
        pthread_mutex_lock(&drop.lock);
    }
    pthread_mutex_unlock(&drop.lock);
    return NULL;
}

struct reader {
    struct client_read *r;
    uint64_t n;
    bool done;
    int err;
};

static void came(void *ctx, int err, struct slice s)
{
    struct reader *g = ctx;
    if (err || s.len == 0) {
        g->err = err;
        g->done = true;
        return;
    }
    g->n += s.len;
    pthread_mutex_lock(&drop.lock);
    if (drop.tail - drop.head == RING)
        abort();
    drop.ring[drop.tail++ % RING] = s;
    pthread_cond_signal(&drop.more);
    pthread_mutex_unlock(&drop.lock);
    client_read_next(g->r, came, g);
}

static int read_all(struct rig *r, struct rig_put *puts)
{
    struct reader readers[STREAMS] = {0};
    for (unsigned i = 0; i < STREAMS; i++) {
        if (client_read_open(r->client, &puts[i].object, STR_NONE, 0, SIZE, &readers[i].r))
            return 1;
        client_read_next(readers[i].r, came, &readers[i]);
    }
    for (unsigned i = 0; i < STREAMS; i++) {
        rig_until(r, &readers[i].done);
        client_read_free(readers[i].r);
        if (readers[i].err || readers[i].n != SIZE)
            return 1;
    }
    return 0;
}

int main(void)
{
    static uint8_t bytes[SIZE];
    static struct rig_put puts[STREAMS];
    struct rig r;
    pthread_t thread;
    int failed = 0;
    rig_fill(bytes, SIZE, 9);
    rig_open(&r, &(struct rig_conf){.k = 4, .m = 2, .stores = 7, .read_pool_bytes = 4 * MIB});
    pthread_create(&thread, NULL, dropper, NULL);
    for (unsigned i = 0; i < STREAMS; i++)
        rig_put_start(&r, &puts[i], &(struct rig_put_conf){.p = bytes, .n = SIZE, .step = 100000});
    for (unsigned i = 0; i < STREAMS; i++) {
        rig_until(&r, &puts[i].done);
        failed |= puts[i].err != 0 || puts[i].tap_hash != rig_hash(bytes, SIZE);
    }
    failed |= read_all(&r, puts);
    r.peer->stores[1].mode = r.peer->stores[4].mode = PEER_FAIL;
    failed |= read_all(&r, puts);
    for (unsigned i = 0; i < STREAMS; i++)
        rig_put_free(&r, &puts[i], true);
    pthread_mutex_lock(&drop.lock);
    drop.end = true;
    pthread_cond_signal(&drop.more);
    pthread_mutex_unlock(&drop.lock);
    pthread_join(thread, NULL);
    rig_close(&r);
    printf(failed ? "failed\n" : "as written\n");
    return failed;
}
