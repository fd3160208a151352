/* arena - memory of one request: bump allocation, freed at once.
 *
 * Thread: one at a time (it may move with its request to a work thread and back).
 * Limits: limit_bytes at init; past it every allocation returns NULL. */
#pragma once
#include "common/base.h"
#include <stdarg.h>

struct arena_block;
struct arena {
    struct arena_block *head;
    size_t used_bytes;
    size_t limit_bytes;
};

void arena_init(struct arena *a, size_t limit_bytes); /* allocates nothing yet */
void arena_fini(struct arena *a);                     /* frees everything; the arena may be initialised again */
void arena_reset(struct arena *a);                    /* empties it but keeps the first block, for the next request */
void *arena_alloc(struct arena *a, size_t n);         /* 16-byte aligned, zeroed; NULL past the limit */
char *arena_copy(struct arena *a, const void *p, size_t n); /* with a NUL behind it */
struct str arena_str(struct arena *a, struct str s);        /* a copy; p is NULL when memory ran out */
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The same arena for protobuf-c: pass &alloc to x__unpack; free is a no-op. */
struct ProtobufCAllocator;
struct arena_pb {
    void *(*alloc)(void *ctx, size_t n);
    void (*free)(void *ctx, void *p);
    void *ctx;
};
struct arena_pb arena_pb(struct arena *a); /* same layout as ProtobufCAllocator (asserted in arena.c) */

/* A growing text, for building answers. Fails sticky: check sb.err once at the end. */
struct sbuf {
    char *p;
    size_t len, cap;
    int err; /* 0 or -ENOMEM */
};
void sbuf_fini(struct sbuf *s);
void sbuf_add(struct sbuf *s, const void *p, size_t n);
void sbuf_puts(struct sbuf *s, const char *text);
void sbuf_str(struct sbuf *s, struct str t);
void sbuf_printf(struct sbuf *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
