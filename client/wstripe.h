/* wstripe - one stripe of a write stream: its buffer, its coding, and its fragments on their way to the stores.
 *
 * A stripe is filled (wstripe_fill), shown to the tap and coded by the stream's work job, then sent; quorum.h decides.
 * Its memory stays until the last rpc has answered, also when the stream is gone. Thread: the loop, except wstripe_code
 * (a work thread; nothing else touches the stripe's sealed part then). Memory: one buffer from the pool holds data
 * cells, then parity cells; it is taken whole, so that streams that wait for each other cannot deadlock. */
#pragma once
#include "client/internal.h"

struct wstripe;
/* What the stream is told. Neither runs inside wstripe_send. */
struct wstripe_events {
    void (*verdict)(struct wstripe *s, enum quorum_verdict v); /* once, acknowledged or failed */
    void (*settled)(struct wstripe *s);                        /* nothing is sent any more: s->quorum is final */
    void (*quiet)(struct wstripe *s); /* after settled: no rpc is out, wstripe_free may be called */
};

struct send;
struct wstripe {
    struct client *c;
    const struct wstripe_events *events;
    void *owner;
    uint32_t index;
    struct buf *buf;
    uint64_t cap;    /* data bytes that fit */
    uint64_t length; /* data bytes so far */
    uint64_t tapped;
    bool sealed, coded, sent, settled;
    struct stripe shape; /* when sealed */
    uint64_t parity_at;  /* offset of the first parity cell in buf */
    struct map *map;
    struct quorum quorum;
    struct loop_timer timer;
    unsigned rpcs_out;
    struct send *sends; /* one for each fragment */
    struct wstripe *next;
};

/* Buffer bytes for a stripe of up to `data` bytes: its cells and parity. */
uint64_t wstripe_bytes(uint64_t data, unsigned k, unsigned m);
/* Takes buf and shares map on success. NULL: out of memory. */
struct wstripe *wstripe_create(struct client *c, struct map *map, uint32_t index, struct buf *buf, uint64_t cap);
void wstripe_seal(struct wstripe *s);                /* no more bytes */
void wstripe_code(struct wstripe *s, struct buf *b); /* padding and parity; b: the job's reference of s->buf */
/* Sends every fragment; 0, or -ENOMEM and nothing was sent. */
int wstripe_send(struct wstripe *s, const uint8_t write_id[WRITE_ID_BYTES]);
void wstripe_drop_buf(struct wstripe *s); /* gives the buffer back early; no rpc may be out */
void wstripe_free(struct wstripe *s);
