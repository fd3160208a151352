/* arena - blocks that double from 4 KiB to 256 KiB; an allocation larger than that gets a block of its own. Freed at
 * once, never piecemeal. sbuf is the growing text beside it. */
#include "common/arena.h"
#include <errno.h>
#include <protobuf-c/protobuf-c.h>
#include <stdio.h>
#include <stdlib.h>

#define BLOCK_MIN (4 * KIB)
#define BLOCK_MAX (256 * KIB)

struct arena_block {
    struct arena_block *next;
    size_t cap, used;
    _Alignas(16) unsigned char bytes[];
};

static_assert(offsetof(struct arena_pb, alloc) == offsetof(ProtobufCAllocator, alloc), "layout of ProtobufCAllocator");
static_assert(offsetof(struct arena_pb, free) == offsetof(ProtobufCAllocator, free), "layout of ProtobufCAllocator");
static_assert(offsetof(struct arena_pb, ctx) == offsetof(ProtobufCAllocator, allocator_data), "layout");

void arena_init(struct arena *a, size_t limit_bytes)
{
    *a = (struct arena){.limit_bytes = limit_bytes};
}

void arena_fini(struct arena *a)
{
    for (struct arena_block *b = a->head, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    a->head = NULL;
    a->used_bytes = 0;
}

void arena_reset(struct arena *a)
{
    while (a->head && (a->head->next || a->head->cap > BLOCK_MIN)) {
        struct arena_block *b = a->head;
        a->head = b->next;
        free(b);
    }
    if (a->head)
        a->head->used = 0;
    a->used_bytes = 0;
}

static struct arena_block *block_add(struct arena *a, size_t n)
{
    size_t cap = a->head ? MIN_OF(a->head->cap * 2, BLOCK_MAX) : BLOCK_MIN;
    cap = MAX_OF(cap, n);
    struct arena_block *b = malloc(sizeof *b + cap);
    if (!b)
        return NULL;
    b->cap = cap;
    b->used = 0;
    b->next = a->head;
    a->head = b;
    return b;
}

void *arena_alloc(struct arena *a, size_t n)
{
    if (n > a->limit_bytes)
        return NULL;
    size_t need = align_up(n ? n : 1, 16);
    if (a->used_bytes + need > a->limit_bytes)
        return NULL;
    struct arena_block *b = a->head;
    if (!b || b->cap - b->used < need)
        b = block_add(a, need);
    if (!b)
        return NULL;
    void *p = b->bytes + b->used;
    b->used += need;
    a->used_bytes += need;
    return memset(p, 0, need);
}

char *arena_copy(struct arena *a, const void *p, size_t n)
{
    char *to = arena_alloc(a, n + 1);
    if (to && n)
        memcpy(to, p, n);
    return to;
}

struct str arena_str(struct arena *a, struct str s)
{
    char *p = arena_copy(a, s.p, s.len);
    return p ? (struct str){p, s.len} : STR_NONE;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        return NULL;
    char *p = arena_alloc(a, (size_t)n + 1);
    if (!p)
        return NULL;
    va_start(ap, fmt);
    vsnprintf(p, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return p;
}

static void *pb_alloc(void *ctx, size_t n)
{
    return arena_alloc(ctx, n);
}

static void pb_free(void *ctx, void *p)
{
    (void)ctx, (void)p; /* the arena goes as a whole */
}

struct arena_pb arena_pb(struct arena *a)
{
    return (struct arena_pb){pb_alloc, pb_free, a};
}

void sbuf_fini(struct sbuf *s)
{
    free(s->p);
    *s = (struct sbuf){0};
}

/* Room for n bytes and a NUL behind them. */
static bool sbuf_room(struct sbuf *s, size_t n)
{
    if (s->err)
        return false;
    if (s->p && s->cap - s->len > n)
        return true;
    size_t cap = MAX_OF(s->cap * 2, align_up(s->len + n + 1, 64));
    char *p = realloc(s->p, cap);
    if (!p) {
        s->err = -ENOMEM;
        return false;
    }
    s->p = p;
    s->cap = cap;
    return true;
}

void sbuf_add(struct sbuf *s, const void *p, size_t n)
{
    if (!sbuf_room(s, n))
        return;
    if (n)
        memcpy(s->p + s->len, p, n);
    s->len += n;
    s->p[s->len] = 0;
}

void sbuf_puts(struct sbuf *s, const char *text)
{
    sbuf_add(s, text, strlen(text));
}

void sbuf_str(struct sbuf *s, struct str t)
{
    sbuf_add(s, t.p, t.len);
}

void sbuf_printf(struct sbuf *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) {
        s->err = -EINVAL;
        return;
    }
    if (!sbuf_room(s, (size_t)n))
        return;
    va_start(ap, fmt);
    vsnprintf(s->p + s->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    s->len += (size_t)n;
}
