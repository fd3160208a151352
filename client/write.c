/* write - a stream of bytes becomes stripes, one buffer each, at most CLIENT_STRIPES_MAX at a time.
 *
 * The caller fills the last stripe. One work job at a time runs for a stream: it shows the tap what is new, in order
 * (also of a stripe that still fills, so that hashing keeps up with receiving), and codes a sealed stripe. Then the
 * stripe's fragments go out (wstripe.c). When a stripe has settled its buffer goes and the caller may fill another:
 * that is the back-pressure. The stream is acknowledged when every stripe has settled with W fragments durable. A small
 * object that may be inlined is only shown to the tap; its bytes are the result. client_write_free leaves a ghost until
 * the job and every rpc have ended; then the sweep takes uncommitted fragments back. */
#include "client/sweep.h"
#include "client/wstripe.h"
#include "common/crypt.h"
#include <stdlib.h>

struct client_write {
    struct client *c;
    struct client_write_conf conf;
    struct map *map;
    uint8_t write_id[WRITE_ID_BYTES];
    struct wstripe *first, *last; /* by index; gone when quiet */
    struct wstripe *filling;      /* the last one, while bytes may be added */
    unsigned held;                /* stripes that have not settled, the filling one too */
    uint32_t next_index, sent_count;
    uint64_t total;
    int status;
    bool finishing, inlined, freed, committed;
    /* the job */
    struct work_req job;
    bool job_running, job_codes;
    struct wstripe *job_stripe;
    struct buf *job_buf;
    uint64_t job_from, job_to;
    /* who waits */
    void (*on_space)(void *ctx);
    void *space_ctx;
    void (*finish_cb)(void *ctx, int err, const struct client_write_result *res);
    void *finish_ctx;
    struct bufpool_wait wait;
    struct loop_post post, close_post;
    bool posted, close_posted, closed;
    /* what the extent will say */
    struct sweep_handoff *handoffs;
    Pb__Lost *lost;
    size_t handoff_count, lost_count;
    Pb__Extent extent;
    Pb__Handoff *pb_handoffs;
    Pb__Handoff **pb_handoff_list;
    Pb__Lost **pb_lost_list;
    struct client_write_result result;
};

static void write_events(struct client_write *w);
static void write_work(struct client_write *w);
static void write_end(struct client_write *w);

/* Tells whoever waits, from the loop rather than from inside a call of theirs. */
static void write_post(struct client_write *w)
{
    if (w->posted)
        return;
    w->posted = true;
    loop_post(w->c->loop, &w->post);
}

static void write_failed(struct client_write *w, int err)
{
    if (!w->status)
        w->status = err;
    bufpool_cancel(w->c->write_pool, &w->wait);
}

/* ---- the list of stripes ---- */

static void stripe_append(struct client_write *w, struct wstripe *s)
{
    *(w->last ? &w->last->next : &w->first) = s;
    w->last = s;
}

static void stripe_remove(struct client_write *w, struct wstripe *s)
{
    struct wstripe *before = NULL;
    for (struct wstripe *at = w->first; at != s; at = at->next)
        before = at;
    *(before ? &before->next : &w->first) = s->next;
    if (w->last == s)
        w->last = before;
    if (w->filling == s)
        w->filling = NULL;
    wstripe_free(s);
}

/* ---- what became of a stripe ---- */

static int note_frag(struct client_write *w, uint32_t stripe, unsigned fragment, const struct quorum_frag *f)
{
    if (f->state == FRAG_DURABLE && f->handoff) {
        struct sweep_handoff *more = realloc(w->handoffs, (w->handoff_count + 1) * sizeof *more);
        if (!more)
            return -ENOMEM;
        w->handoffs = more;
        more[w->handoff_count++] = (struct sweep_handoff){.stripe = stripe, .fragment = fragment, .store = f->store};
    } else if (f->state == FRAG_LOST) {
        Pb__Lost *more = realloc(w->lost, (w->lost_count + 1) * sizeof *more);
        if (!more)
            return -ENOMEM;
        w->lost = more;
        pb__lost__init(&more[w->lost_count]);
        more[w->lost_count].stripe = stripe;
        more[w->lost_count++].fragment = fragment;
    }
    return 0;
}

static void stripe_verdict(struct wstripe *s, enum quorum_verdict v)
{
    if (v != QUORUM_FAILED)
        return;
    write_failed(s->owner, E_QUORUM);
    write_events(s->owner);
}

static void stripe_settled(struct wstripe *s)
{
    struct client_write *w = s->owner;
    int err = 0;
    bool trouble = false;
    w->held--;
    for (unsigned f = 0; f < s->quorum.width && !err; f++) {
        trouble |= s->quorum.frags[f].handoff || s->quorum.frags[f].state == FRAG_LOST;
        err = note_frag(w, s->index, f, &s->quorum.frags[f]);
    }
    if (err)
        write_failed(w, err);
    if (trouble)
        map_refresh(w->c); /* the cluster may have changed */
    write_events(w);
}

static void stripe_quiet(struct wstripe *s)
{
    struct client_write *w = s->owner;
    stripe_remove(w, s);
    write_end(w);
}

static const struct wstripe_events stripe_events = {stripe_verdict, stripe_settled, stripe_quiet};

/* ---- buffers ---- */

/* Data bytes that the next stripe should hold: the rest of what is expected, at most a whole stripe. */
static uint64_t next_cap(const struct client_write *w)
{
    uint64_t rest = w->conf.expected_bytes > w->total ? w->conf.expected_bytes - w->total : 1;
    return align_up(MIN_OF(rest, CLIENT_STRIPE_BYTES), STRIPE_CELL_ALIGN);
}

/* Makes a stripe to fill, or waits until there may be one. */
static void open_stripe(struct client_write *w)
{
    if (w->status || w->filling || w->held >= CLIENT_STRIPES_MAX || w->wait.queued)
        return;
    if (w->next_index == UINT32_MAX) {
        write_failed(w, E_LIMIT);
        return;
    }
    uint64_t cap = next_cap(w);
    w->wait.cap = wstripe_bytes(cap, w->map->k, w->map->m);
    struct buf *buf = bufpool_take(w->c->write_pool, w->wait.cap);
    if (!buf) {
        bufpool_wait(w->c->write_pool, &w->wait);
        return;
    }
    struct wstripe *s = wstripe_create(w->c, w->map, w->next_index, buf, cap);
    if (!s) {
        buf_unref(buf);
        write_failed(w, -ENOMEM);
        return;
    }
    s->owner = w;
    s->events = &stripe_events;
    stripe_append(w, s);
    w->filling = s;
    w->next_index++;
    w->held++;
}

/* More came than was expected: the first buffer is too small. A stream that holds one must not wait for another, or two
 * such could wait for each other: past the budget the heap serves. */
static void grow_stripe(struct client_write *w)
{
    struct wstripe *s = w->filling;
    uint64_t bytes = wstripe_bytes(CLIENT_STRIPE_BYTES, w->map->k, w->map->m);
    struct buf *buf = bufpool_take(w->c->write_pool, bytes);
    if (!buf)
        buf = buf_create(bytes);
    if (!buf) {
        write_failed(w, -ENOMEM);
        return;
    }
    memcpy(buf->data, s->buf->data, s->length);
    buf_unref(s->buf); /* a running job has a reference of its own */
    s->buf = buf;
    s->cap = CLIENT_STRIPE_BYTES;
}

static void pool_has_room(struct bufpool_wait *wait)
{
    struct client_write *w = container_of(wait, struct client_write, wait);
    open_stripe(w);
    write_events(w);
}

void client_write_space(struct client_write *w, uint8_t **ret_p, size_t *ret_len, void (*on_space)(void *ctx),
                        void *ctx)
{
    assert(!w->finishing && !w->freed);
    w->on_space = NULL;
    *ret_p = NULL;
    *ret_len = 0;
    open_stripe(w);
    if (!w->status && w->filling && w->filling->length == w->filling->cap)
        grow_stripe(w);
    if (!w->status && w->filling) {
        *ret_p = w->filling->buf->data + w->filling->length;
        *ret_len = w->filling->cap - w->filling->length;
        return;
    }
    w->on_space = on_space;
    w->space_ctx = ctx;
    if (w->status)
        write_post(w);
}

static void seal(struct client_write *w)
{
    wstripe_seal(w->filling);
    w->filling = NULL;
}

void client_write_advance(struct client_write *w, size_t n)
{
    struct wstripe *s = w->filling;
    if (n == 0)
        return;
    assert(s && n <= s->cap - s->length && !w->finishing);
    s->length += n;
    w->total += n;
    if (s->length == CLIENT_STRIPE_BYTES)
        seal(w);
    write_work(w);
}

int client_write_status(const struct client_write *w)
{
    return w->status;
}

/* ---- the job ---- */

static void job_run(struct work_req *r)
{
    struct client_write *w = container_of(r, struct client_write, job);
    if (w->conf.tap && w->job_to > w->job_from)
        w->conf.tap(w->conf.ctx, w->job_buf->data + w->job_from, w->job_to - w->job_from);
    if (w->job_codes)
        wstripe_code(w->job_stripe, w->job_buf);
}

static void job_done(struct work_req *r)
{
    struct client_write *w = container_of(r, struct client_write, job);
    struct wstripe *s = w->job_stripe;
    w->job_running = false;
    buf_unref(w->job_buf);
    s->tapped = w->job_to;
    s->coded = w->job_codes;
    if (w->freed) {
        stripe_remove(w, s);
        write_end(w);
        return;
    }
    if (s->coded && !w->status) {
        int err = wstripe_send(s, w->write_id);
        if (err)
            write_failed(w, err);
        else
            w->sent_count = s->index + 1;
    }
    write_work(w);
    write_events(w);
}

/* Starts the next job: the first stripe that is not coded, as soon as it is sealed or has enough for the tap. */
static void write_work(struct client_write *w)
{
    struct wstripe *s = w->first;
    while (s && s->coded)
        s = s->next;
    if (!s || w->job_running || w->status)
        return;
    uint64_t fresh = s->length - s->tapped;
    bool codes = s->sealed && !w->inlined;
    bool taps = w->conf.tap && fresh >= (s->sealed ? 1 : CLIENT_TAP_BYTES);
    if (!codes && !taps)
        return;
    w->job_stripe = s;
    w->job_buf = buf_ref(s->buf);
    w->job_from = s->tapped;
    w->job_to = s->length;
    w->job_codes = codes;
    w->job_running = true;
    work_submit(w->c->work, &w->job);
}

/* ---- the end of the stream ---- */

static int make_extent(struct client_write *w)
{
    Pb__Extent *e = &w->extent;
    pb__extent__init(e);
    e->write_id = (ProtobufCBinaryData){.len = WRITE_ID_BYTES, .data = w->write_id};
    e->size = w->total;
    e->stripe_bytes = CLIENT_STRIPE_BYTES;
    e->k = w->map->k;
    e->m = w->map->m;
    e->map_epoch = w->map->epoch;
    w->pb_handoffs = calloc(MAX_OF(w->handoff_count, 1), sizeof *w->pb_handoffs);
    w->pb_handoff_list = calloc(MAX_OF(w->handoff_count, 1), sizeof(Pb__Handoff *));
    w->pb_lost_list = calloc(MAX_OF(w->lost_count, 1), sizeof(Pb__Lost *));
    if (!w->pb_handoffs || !w->pb_handoff_list || !w->pb_lost_list)
        return -ENOMEM;
    for (size_t i = 0; i < w->handoff_count; i++) {
        const struct sweep_handoff *h = &w->handoffs[i];
        pb__handoff__init(&w->pb_handoffs[i]);
        w->pb_handoffs[i].stripe = h->stripe;
        w->pb_handoffs[i].fragment = h->fragment;
        w->pb_handoffs[i].store = w->map->index[h->store];
        w->pb_handoff_list[i] = &w->pb_handoffs[i];
    }
    for (size_t i = 0; i < w->lost_count; i++)
        w->pb_lost_list[i] = &w->lost[i];
    e->handoffs = w->pb_handoff_list;
    e->n_handoffs = w->handoff_count;
    e->lost = w->pb_lost_list;
    e->n_lost = w->lost_count;
    assert(extent_check(e) == 0);
    return 0;
}

static bool all_done(const struct client_write *w)
{
    if (w->inlined)
        return !w->job_running && (!w->first || !w->conf.tap || w->first->tapped == w->total);
    return w->held == 0;
}

static void finish_tell(struct client_write *w)
{
    void (*cb)(void *ctx, int err, const struct client_write_result *res) = w->finish_cb;
    int err = w->status;
    w->finish_cb = NULL;
    w->result = (struct client_write_result){.inlined = w->inlined, .size = w->total};
    if (w->inlined && w->first)
        w->result.inline_data = (struct slice){.buf = w->first->buf, .len = w->total};
    if (!err && !w->inlined && w->total > 0) {
        err = make_extent(w);
        w->result.extent = &w->extent;
    }
    cb(w->finish_ctx, err, err ? NULL : &w->result);
}

/* The one place that calls the stream's owner, and always the last thing that is done: w may be gone afterwards. */
static void write_events(struct client_write *w)
{
    if (w->freed)
        return;
    if (w->finish_cb) {
        if (w->status || all_done(w))
            finish_tell(w);
        return;
    }
    if (!w->on_space)
        return;
    open_stripe(w);
    if (!w->filling && !w->status)
        return;
    void (*on_space)(void *ctx) = w->on_space;
    w->on_space = NULL;
    on_space(w->space_ctx);
}

static void events_posted(struct loop_post *p)
{
    struct client_write *w = container_of(p, struct client_write, post);
    w->posted = false;
    if (w->freed)
        write_end(w);
    else
        write_events(w);
}

void client_write_finish(struct client_write *w, void (*cb)(void *ctx, int err, const struct client_write_result *res),
                         void *ctx)
{
    assert(!w->finishing && !w->freed);
    bufpool_cancel(w->c->write_pool, &w->wait);
    w->finishing = true;
    w->on_space = NULL;
    w->finish_cb = cb;
    w->finish_ctx = ctx;
    if (w->filling && w->filling->length == 0) {
        stripe_remove(w, w->filling);
        w->held--;
        w->next_index--;
    }
    w->inlined = w->conf.may_inline && w->total <= CLIENT_INLINE_MAX;
    if (w->filling)
        seal(w);
    write_work(w);
    write_post(w);
}

/* ---- opening and freeing ---- */

int client_write_open(struct client *c, const struct client_write_conf *conf, struct client_write **ret_w)
{
    struct map *map = map_find(c, 0);
    if (!map)
        return E_UNAVAILABLE;
    struct client_write *w = calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    w->c = client_ref(c);
    w->conf = *conf;
    w->map = map_ref(map);
    random_bytes(w->write_id, sizeof w->write_id);
    w->job.run = job_run;
    w->job.cb = job_done;
    w->wait.cb = pool_has_room;
    w->post.cb = events_posted;
    *ret_w = w;
    return 0;
}

static void write_destroy(struct client_write *w)
{
    struct client *c = w->c;
    if (!w->committed && w->sent_count) {
        sweep_start(c, w->map, w->write_id, w->sent_count, w->handoffs, w->handoff_count);
        w->handoffs = NULL;
    }
    map_unref(w->map);
    free(w->handoffs);
    free(w->lost);
    free(w->pb_handoffs);
    free(w->pb_handoff_list);
    free(w->pb_lost_list);
    free(w);
    client_unref(c);
}

static void closed_posted(struct loop_post *p)
{
    struct client_write *w = container_of(p, struct client_write, close_post);
    w->closed = true;
    if (w->conf.closed)
        w->conf.closed(w->conf.ctx);
    write_end(w);
}

/* The ghost goes in two steps: when no job runs any more the owner hears `closed`; when no rpc is out either it ends.
 */
static void write_end(struct client_write *w)
{
    if (!w->freed || w->job_running)
        return;
    if (!w->close_posted) {
        w->close_posted = true;
        w->close_post.cb = closed_posted;
        loop_post(w->c->loop, &w->close_post);
    }
    if (w->closed && !w->posted && !w->first)
        write_destroy(w);
}

void client_write_free(struct client_write *w, bool committed)
{
    assert(!w->freed);
    w->freed = true;
    w->committed = committed;
    w->on_space = NULL;
    w->finish_cb = NULL;
    bufpool_cancel(w->c->write_pool, &w->wait);
    for (struct wstripe *s = w->first, *next; s; s = next) {
        next = s->next;
        if (!s->sent && !(w->job_running && w->job_stripe == s))
            stripe_remove(w, s);
    }
    write_end(w);
}
