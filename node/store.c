/* store - opening, closing and looking at a store. Closing is a short staircase: everything under way ends (what has no
 * place in the log yet is cancelled), an END record proves the last batch, and a synced flush marks the index as clean
 * so that the next start has nothing to scan. */
#include "common/log.h"
#include "common/metrics.h"
#include "node/store_internal.h"
#include <stdio.h>
#include <stdlib.h>

void store_failed(struct store *s, const char *what, int err, bool write)
{
    s->errors++;
    s->write_errors += write;
    metric_add(M_STORE_ERRORS, s->conf.label, 1);
    log_event(LOG_ERROR, "store.error", "store=%s what=%s error=%s", s->conf.label, log_quote(str_c(what)),
              log_quote(str_c(err_text(err))));
}

const char *store_state_name(enum store_state state)
{
    static const char *const names[] = {"ok", "full", "suspect"};
    return names[state];
}

void store_stat(struct store *s, struct store_stat *ret)
{
    *ret = (struct store_stat){.live_bytes = s->live_bytes,
                               .fragments = s->fragments,
                               .segments = s->segment_count + (s->spare != NULL),
                               .errors = s->errors,
                               .corrupt = s->bad_count,
                               .rebuilt = s->rebuilt,
                               .scanned_bytes = s->scanned_bytes};
    for (size_t i = 0; i < s->segment_count; i++)
        ret->dead_bytes += s->segments[i]->gone ? 0 : store_segment_dead(s->segments[i]);
    ret->state = s->write_errors >= STORE_SUSPECT_ERRORS ? STORE_SUSPECT : s->full ? STORE_FULL : STORE_OK;
    s->conf.disk->ops->space(s->conf.disk, s->conf.dir, &ret->free_bytes, &ret->total_bytes);
    metric_set(M_STORE_LIVE_BYTES, s->conf.label, (double)ret->live_bytes);
    metric_set(M_STORE_DEAD_BYTES, s->conf.label, (double)ret->dead_bytes);
    metric_set(M_STORE_FREE_BYTES, s->conf.label, (double)ret->free_bytes);
}

static void store_free(struct store *s)
{
    if (s->active && s->active->refs)
        s->active->refs--; /* the log's own */
    while (s->segment_count)
        store_segment_remove(s, s->segments[s->segment_count - 1]);
    if (s->spare) {
        store_segment_close(s, s->spare);
        free(s->spare);
    }
    for (struct store_bad *b = s->bad, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    chunk_index_fini(&s->index);
    kv_batch_fini(&s->flush.batch);
    kv_batch_fini(&s->flush.extra);
    buf_unref(s->marker_page);
    free(s->segments);
    free((void *)(uintptr_t)s->conf.dir);
    free((void *)(uintptr_t)s->conf.label);
    free(s);
}

static int store_init(struct store *s, const struct store_conf *conf)
{
    s->conf = *conf;
    s->conf.dir = strdup(conf->dir);
    s->conf.label = strdup(conf->label);
    s->queue_last = &s->queue_first;
    s->flight_last = &s->flight_first;
    s->idle.cb = store_idle_timer;
    s->flush.timer.cb = store_flush_timer;
    s->compact_timer.cb = store_compact_timer;
    s->next_seq = s->next_number = 1;
    kv_batch_init(&s->flush.batch);
    kv_batch_init(&s->flush.extra);
    s->marker_page = buf_create(SEGMENT_PAGE);
    return s->conf.dir && s->conf.label && s->marker_page ? chunk_index_init(&s->index, conf->kv) : -ENOMEM;
}

int store_open(const struct store_conf *conf, struct store **ret_store, char *why, size_t why_cap)
{
    struct store *s = calloc(1, sizeof *s);
    int err = s ? store_init(s, conf) : -ENOMEM;
    if (err)
        snprintf(why, why_cap, "%s: %s", conf->dir, err_text(err));
    else
        err = store_recover(s, why, why_cap);
    if (err) {
        if (s)
            store_free(s);
        return err;
    }
    *ret_store = s;
    return 0;
}

void store_start(struct store *s)
{
    assert(!s->started);
    s->started = true;
    store_pump(s);
    store_flush_soon(s);
    store_compact_look(s);
}

/* ---- closing ---- */

static void close_advance(struct store *s)
{
    if (s->ops > 0)
        return;
    struct store_segment *seg = s->active;
    if (s->closing == STORE_DRAINS) {
        s->closing = STORE_MARKS;
        bool room = seg && !seg->failed && !seg->sealed && seg->tail + 2 * SEGMENT_PAGE <= seg->bytes;
        if (room && !s->marked && seg->tail > SEGMENT_PAGE) {
            store_mark(s, SEGMENT_END);
            return;
        }
    }
    if (s->closing == STORE_MARKS) {
        s->closing = STORE_FLUSHES;
        s->close_flush.clean = !s->rebuild_next && (!seg || !seg->failed);
        store_flush_now(s, &s->close_flush);
        return;
    }
    void (*cb)(void *ctx) = s->closed_cb;
    void *ctx = s->closed_ctx;
    store_free(s);
    cb(ctx);
}

void store_op_done(struct store *s)
{
    assert(s->ops > 0);
    s->ops--;
    if (s->closing != STORE_RUNS)
        close_advance(s);
}

static void close_flushed(struct store_flush_wait *w, int err)
{
    (void)w, (void)err; /* logged; the next start scans more */
}

static void close_begin(struct loop_post *p)
{
    struct store *s = container_of(p, struct store, close_post);
    store_append_cancel(s, -ECANCELED);
    store_op_done(s);
}

void store_close(struct store *s, void (*cb)(void *ctx), void *ctx)
{
    assert(s->closing == STORE_RUNS);
    s->closing = STORE_DRAINS;
    s->closed_cb = cb;
    s->closed_ctx = ctx;
    s->close_flush.cb = close_flushed;
    loop_timer_stop(s->conf.loop, &s->idle);
    loop_timer_stop(s->conf.loop, &s->flush.timer);
    loop_timer_stop(s->conf.loop, &s->compact_timer);
    s->ops++;
    s->close_post.cb = close_begin;
    loop_post(s->conf.loop, &s->close_post);
    store_compact_retry(s); /* sees the closing and stops */
}
