/* A chained hash table with a list in order of use. The hash is seeded: learners choose neither ids nor tokens, but the
 * platform's ids may come from a stranger's sign-up form. */
#include "control/grants.h"

#include "common/crypt.h"
#include "common/xxh.h"
#include <stdlib.h>

int grants_init(struct grants *g, size_t max)
{
    *g = (struct grants){.max = max};
    g->buckets = calloc(max, sizeof(struct grant_entry *));
    random_bytes(&g->seed, sizeof(g->seed));
    return g->buckets ? 0 : -ENOMEM;
}

void grants_fini(struct grants *g)
{
    for (struct grant_entry *e = g->newest; e;) {
        struct grant_entry *older = e->older;
        assert(!e->reading);
        free(e);
        e = older;
    }
    free(g->buckets);
    *g = (struct grants){0};
}

struct str grant_key(struct str user, struct str course, char ret[GRANT_KEY_MAX])
{
    static const char kind[] = "grant"; /* with its NUL */
    size_t len = sizeof(kind) + user.len + 1 + course.len;
    assert(len <= GRANT_KEY_MAX);
    memcpy(ret, kind, sizeof(kind));
    memcpy(ret + sizeof(kind), user.p, user.len);
    ret[sizeof(kind) + user.len] = 0;
    memcpy(ret + sizeof(kind) + user.len + 1, course.p, course.len);
    return (struct str){ret, len};
}

static struct grant_entry **bucket_of(const struct grants *g, uint64_t hash)
{
    return &g->buckets[hash % g->max];
}

static struct grant_entry *find(const struct grants *g, struct str key, uint64_t hash)
{
    for (struct grant_entry *e = *bucket_of(g, hash); e; e = e->chain) {
        if (e->hash == hash && str_eq((struct str){e->key, e->key_len}, key))
            return e;
    }
    return NULL;
}

static void unlink_use(struct grants *g, struct grant_entry *e)
{
    *(e->newer ? &e->newer->older : &g->newest) = e->older;
    *(e->older ? &e->older->newer : &g->oldest) = e->newer;
}

static void link_newest(struct grants *g, struct grant_entry *e)
{
    e->newer = NULL;
    e->older = g->newest;
    *(g->newest ? &g->newest->newer : &g->oldest) = e;
    g->newest = e;
}

static bool evict(struct grants *g)
{
    struct grant_entry *e = g->oldest;
    while (e && e->reading)
        e = e->newer;
    if (!e)
        return false;
    struct grant_entry **at = bucket_of(g, e->hash);
    while (*at != e)
        at = &(*at)->chain;
    *at = e->chain;
    unlink_use(g, e);
    g->count--;
    free(e);
    return true;
}

struct grant_entry *grants_entry(struct grants *g, struct str key)
{
    uint64_t hash = xxh64of(key.p, key.len, g->seed);
    struct grant_entry *e = find(g, key, hash);
    if (e) {
        unlink_use(g, e);
        link_newest(g, e);
        return e;
    }
    if (g->count == g->max && !evict(g))
        return NULL;
    e = calloc(1, sizeof(*e) + key.len);
    if (!e)
        return NULL;
    e->hash = hash;
    e->key_len = key.len;
    memcpy(e->key, key.p, key.len);
    e->chain = *bucket_of(g, hash);
    *bucket_of(g, hash) = e;
    link_newest(g, e);
    g->count++;
    return e;
}

void grants_forget(struct grants *g, struct str user, struct str course)
{
    char text[GRANT_KEY_MAX];
    struct str key = grant_key(user, course, text);
    struct grant_entry *e = find(g, key, xxh64of(key.p, key.len, g->seed));
    if (!e)
        return;
    e->known = false;
    e->stale = e->reading;
}

enum deny grant_judge(bool exists, uint64_t from_s, uint64_t until_s, uint64_t now_s)
{
    if (!exists)
        return DENY_NO_GRANT;
    if (from_s && now_s < from_s)
        return DENY_GRANT_NOT_YET;
    if (until_s && now_s >= until_s)
        return DENY_GRANT_ENDED;
    return DENY_NONE;
}
