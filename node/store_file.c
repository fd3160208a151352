/* store_file - the table of segments and their files. A drive may have tens of thousands of segments, so their files
 * are opened when used and the least recently used one is closed past STORE_FILES_MAX. */
#include "node/store_internal.h"
#include <stdio.h>
#include <stdlib.h>

char *store_path(const struct store *s, uint64_t number, const char *suffix)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%016llx.seg%s", s->conf.dir, (unsigned long long)number, suffix) < 0)
        return NULL;
    return path;
}

bool store_path_number(const char *name, uint64_t *ret_number, bool *ret_temporary)
{
    uint64_t n = 0;
    for (int i = 0; i < 16; i++) {
        char c = name[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        n = n << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *ret_temporary = strcmp(name + 16, ".seg.tmp") == 0;
    *ret_number = n;
    return *ret_temporary || strcmp(name + 16, ".seg") == 0;
}

/* The first index whose number is not below. */
static size_t segment_index(const struct store *s, uint64_t number)
{
    size_t lo = 0, hi = s->segment_count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (s->segments[mid]->number < number)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

struct store_segment *store_segment_find(struct store *s, uint64_t number)
{
    size_t i = segment_index(s, number);
    return i < s->segment_count && s->segments[i]->number == number ? s->segments[i] : NULL;
}

bool store_segment_any(struct store *s, uint64_t from, uint64_t to)
{
    size_t i = segment_index(s, from);
    return i < s->segment_count && s->segments[i]->number < to;
}

int store_segment_add(struct store *s, struct store_segment *seg)
{
    if (s->segment_count == s->segment_cap) {
        size_t cap = s->segment_cap ? s->segment_cap * 2 : 64;
        struct store_segment **table = realloc(s->segments, cap * sizeof(struct store_segment *));
        if (!table)
            return -ENOMEM;
        s->segments = table;
        s->segment_cap = cap;
    }
    size_t i = segment_index(s, seg->number);
    assert(i == s->segment_count || s->segments[i]->number != seg->number);
    memmove(s->segments + i + 1, s->segments + i, (s->segment_count - i) * sizeof(struct store_segment *));
    s->segments[i] = seg;
    s->segment_count++;
    return 0;
}

void store_segment_remove(struct store *s, struct store_segment *seg)
{
    size_t i = segment_index(s, seg->number);
    assert(i < s->segment_count && s->segments[i] == seg && seg->refs == 0);
    memmove(s->segments + i, s->segments + i + 1, (s->segment_count - i - 1) * sizeof(struct store_segment *));
    s->segment_count--;
    store_segment_close(s, seg);
    free(seg);
}

void store_segment_close(struct store *s, struct store_segment *seg)
{
    if (!seg->file)
        return;
    s->conf.disk->ops->close(s->conf.disk, seg->file);
    seg->file = NULL;
    s->open_files--;
}

static void close_oldest(struct store *s)
{
    struct store_segment *oldest = NULL;
    for (size_t i = 0; i < s->segment_count; i++) {
        struct store_segment *seg = s->segments[i];
        if (seg->file && seg->refs == 0 && seg != s->active && (!oldest || seg->used_at < oldest->used_at))
            oldest = seg;
    }
    if (oldest)
        store_segment_close(s, oldest);
}

int store_segment_ref(struct store *s, struct store_segment *seg)
{
    if (!seg->file) {
        if (s->open_files >= STORE_FILES_MAX)
            close_oldest(s);
        char *path = store_path(s, seg->number, "");
        if (!path)
            return -ENOMEM;
        int err = s->conf.disk->ops->open(s->conf.disk, path, DISK_DIRECT, &seg->file);
        if (err == -EMFILE || err == -ENFILE) { /* somebody else needs many, too */
            close_oldest(s);
            err = s->conf.disk->ops->open(s->conf.disk, path, DISK_DIRECT, &seg->file);
        }
        free(path);
        if (err)
            return err;
        s->open_files++;
    }
    seg->used_at = ++s->use_clock;
    seg->refs++;
    return 0;
}

void store_segment_unref(struct store *s, struct store_segment *seg)
{
    assert(seg->refs > 0);
    if (--seg->refs == 0 && seg->gone)
        store_segment_remove(s, seg);
}

uint64_t store_segment_dead(const struct store_segment *seg)
{
    uint64_t used = (seg->sealed ? seg->bytes : seg->tail) - SEGMENT_PAGE;
    return used > seg->live_bytes ? used - seg->live_bytes : 0;
}

uint64_t store_kept_bytes(const struct store_segment *seg)
{
    return MIN_OF(STORE_KEPT_BYTES, seg->bytes / 16 / SEGMENT_PAGE * SEGMENT_PAGE);
}
