/* store_write - the requests that change something. A write is summed (and gathered into one aligned piece where it is
 * not one already) on a work thread, which also asks the kv what stands under the id; a delete asks for all its ids at
 * once and writes one DELETE record for those that are there, because the kv is not durable: the record keeps a rebuilt
 * index from bringing them back. */
#include "common/metrics.h"
#include "node/store_internal.h"
#include <stdlib.h>

/* ---- write ---- */

static void write_end(struct store_write *w, int status)
{
    struct store *s = w->store;
    if (w->slot.entry) {
        w->slot.entry->writers--;
        chunk_unpin(&s->index, w->slot.entry);
    }
    buf_unref(w->pages);
    buf_unref(w->copy);
    w->status = status;
    metric_add(M_STORE_WRITES, s->conf.label, status == 0);
    w->cb(w);
    store_delete_retry(s);
    store_compact_retry(s);
    store_op_done(s);
}

static void write_appended(struct store_append *a)
{
    struct store_write *w = container_of(a, struct store_write, append);
    write_end(w, a->status);
}

static void write_summed(struct work_req *req)
{
    struct store_write *w = container_of(req, struct store_write, work);
    int err = chunk_get_end(&w->get);
    if (err) {
        w->store->rebuild_next |= err == E_CORRUPT;
        write_end(w, err);
        return;
    }
    store_append(w->store, &w->append);
}

static int write_gather(struct store_write *w, uint32_t length)
{
    const struct slice *first = &w->payload[0];
    w->append.payload = slice_data(*first);
    if (w->payload_count == 1 && (uintptr_t)w->append.payload % SEGMENT_PAGE == 0)
        return 0;
    w->copy = buf_create(length);
    if (!w->copy)
        return -ENOMEM;
    size_t at = 0;
    for (unsigned i = 0; i < w->payload_count; at += w->payload[i++].len)
        memcpy(w->copy->data + at, slice_data(w->payload[i]), w->payload[i].len);
    w->append.payload = w->copy->data;
    return 0;
}

/* Work thread. The padding of the last page must not be what happens to follow the caller's bytes. */
static void write_sum(struct work_req *req)
{
    struct store_write *w = container_of(req, struct store_write, work);
    struct segment_record *r = &w->append.record;
    w->get.err = write_gather(w, r->length);
    if (w->get.err)
        return;
    segment_record_sum(r, w->append.payload);
    size_t rest = r->length % SEGMENT_PAGE;
    memcpy(w->append.last, w->append.payload + r->length - rest, rest);
    memset(w->append.last + rest, 0, SEGMENT_PAGE - rest);
    chunk_get_run(&w->get);
}

static void write_refused(struct loop_post *p)
{
    struct store_write *w = container_of(p, struct store_write, post);
    write_end(w, w->status);
}

void store_write(struct store *s, struct store_write *w)
{
    uint64_t length = 0;
    for (unsigned i = 0; i < w->payload_count; i++)
        length += w->payload[i].len;
    w->store = s;
    w->copy = w->pages = NULL;
    w->slot.entry = NULL;
    w->status = s->closing != STORE_RUNS ? -ECANCELED : length == 0 || length > SEGMENT_PAYLOAD_MAX ? -EINVAL : 0;
    s->ops++;
    if (w->status == 0) {
        w->slot.entry = chunk_pin(&s->index, w->frag_id);
        w->pages = buf_create(2 * SEGMENT_PAGE);
        w->status = w->slot.entry && w->pages ? 0 : -ENOMEM;
        if (w->slot.entry)
            w->slot.entry->writers++;
    }
    if (w->status) {
        w->post.cb = write_refused;
        loop_post(s->conf.loop, &w->post);
        return;
    }
    w->append = (struct store_append){.record = {.kind = SEGMENT_FRAGMENT, .k = w->k, .m = w->m, .epoch = w->epoch},
                                      .entry = w->slot.entry,
                                      .header = w->pages->data,
                                      .last = w->pages->data + SEGMENT_PAGE,
                                      .cb = write_appended};
    w->append.record.length = (uint32_t)length;
    memcpy(w->append.record.frag_id, w->frag_id, FRAG_ID_BYTES);
    chunk_get_begin(&s->index, &w->get, &w->slot, 1);
    w->work.run = write_sum;
    w->work.cb = write_summed;
    work_submit(s->conf.work, &w->work);
}

/* ---- delete ---- */

static void delete_end(struct store_delete *d, int status)
{
    struct store *s = d->store;
    for (size_t i = 0; d->slots && i < d->get.count; i++)
        chunk_unpin(&s->index, d->slots[i].entry);
    free(d->slots);
    buf_unref(d->pages);
    d->status = status;
    if (status)
        d->deleted = 0;
    d->cb(d);
    store_delete_retry(s);
    store_compact_retry(s);
    store_op_done(s);
}

static void delete_appended(struct store_append *a)
{
    struct store_delete *d = container_of(a, struct store_delete, append);
    struct store *s = d->store;
    for (size_t i = 0; i < d->get.count; i++) {
        struct segment_tomb t;
        d->slots[i].entry->deleters--;
        int err = segment_tomb_decode(a->payload + i * SEGMENT_TOMB_BYTES, &t);
        assert(err == 0);
        if (err == 0 && a->status == 0)
            store_apply_tomb(s, d->slots[i].entry, &t);
    }
    delete_end(d, a->status);
}

/* Forgets the slots whose fragment is not there (or named twice), so that slots and tombs go together. */
static void delete_narrow(struct store_delete *d)
{
    size_t kept = 0;
    for (size_t i = 0; i < d->get.count; i++) {
        struct chunk_entry *e = d->slots[i].entry;
        if (e->state == CHUNK_PRESENT && e->deleters == 0) {
            e->deleters++;
            d->slots[kept++].entry = e;
        } else {
            chunk_unpin(&d->store->index, e);
        }
    }
    d->get.count = d->deleted = kept;
}

static bool delete_must_wait(const struct store_delete *d)
{
    for (size_t i = 0; i < d->get.count; i++)
        if (d->slots[i].entry->writers || d->slots[i].entry->deleters)
            return true;
    return false;
}

static void delete_go(struct store_delete *d)
{
    struct store *s = d->store;
    if (delete_must_wait(d)) {
        d->next = s->delete_waiting;
        s->delete_waiting = d;
        return;
    }
    delete_narrow(d);
    if (d->get.count == 0) {
        delete_end(d, 0);
        return;
    }
    uint32_t length = (uint32_t)(d->get.count * SEGMENT_TOMB_BYTES);
    d->pages = buf_create(SEGMENT_PAGE + align_up(length, SEGMENT_PAGE));
    d->append = (struct store_append){
        .record = {.kind = SEGMENT_DELETE, .length = length}, .urgent = true, .cb = delete_appended};
    if (!d->pages) {
        for (size_t i = 0; i < d->get.count; i++)
            d->slots[i].entry->deleters--;
        delete_end(d, -ENOMEM);
        return;
    }
    uint8_t *payload = d->pages->data + SEGMENT_PAGE;
    memset(payload, 0, align_up(length, SEGMENT_PAGE));
    for (size_t i = 0; i < d->get.count; i++) {
        const struct chunk_entry *e = d->slots[i].entry;
        struct segment_tomb t = {.many = e->loc.many, .oldest = e->loc.oldest, .before_seq = e->loc.seq + 1};
        memcpy(t.frag_id, e->frag_id, FRAG_ID_BYTES);
        segment_tomb_encode(&t, payload + i * SEGMENT_TOMB_BYTES);
    }
    d->append.header = d->pages->data;
    d->append.payload = payload;
    d->append.last = payload + length / SEGMENT_PAGE * SEGMENT_PAGE;
    segment_record_sum(&d->append.record, payload);
    store_append(s, &d->append);
}

static void delete_looked(struct work_req *req)
{
    struct store_delete *d = container_of(req, struct store_delete, work);
    int err = chunk_get_end(&d->get);
    d->store->rebuild_next |= err == E_CORRUPT;
    if (err)
        delete_end(d, err);
    else
        delete_go(d);
}

static void delete_look(struct work_req *req)
{
    chunk_get_run(&container_of(req, struct store_delete, work)->get);
}

void store_delete_retry(struct store *s)
{
    struct store_delete *d = s->delete_waiting;
    s->delete_waiting = NULL;
    for (struct store_delete *next; d; d = next) {
        next = d->next;
        delete_go(d);
    }
}

static void delete_refused(struct loop_post *p)
{
    struct store_delete *d = container_of(p, struct store_delete, post);
    delete_end(d, d->status);
}

static int delete_begin(struct store *s, struct store_delete *d)
{
    if (s->closing != STORE_RUNS)
        return -ECANCELED;
    if (d->count > STORE_DELETE_MAX)
        return -EINVAL;
    d->slots = calloc(d->count ? d->count : 1, sizeof *d->slots);
    if (!d->slots)
        return -ENOMEM;
    for (; d->get.count < d->count; d->get.count++) {
        struct chunk_entry *e = chunk_pin(&s->index, d->frag_ids[d->get.count]);
        if (!e)
            return -ENOMEM;
        d->slots[d->get.count].entry = e;
    }
    return 0;
}

void store_delete(struct store *s, struct store_delete *d)
{
    d->store = s;
    d->slots = NULL;
    d->pages = NULL;
    d->deleted = 0;
    d->get = (struct chunk_get){0};
    s->ops++;
    d->status = delete_begin(s, d);
    if (d->status) {
        d->post.cb = delete_refused;
        loop_post(s->conf.loop, &d->post);
        return;
    }
    chunk_get_begin(&s->index, &d->get, d->slots, d->count);
    d->work.run = delete_look;
    d->work.cb = delete_looked;
    work_submit(s->conf.work, &d->work);
}
