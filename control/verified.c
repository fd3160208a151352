/* A set-associative table: the newest entry stands first in its set, the last one falls out. */
#include "control/verified.h"

#include "common/crypt.h"
#include "common/xxh.h"
#include <errno.h>
#include <stdlib.h>

struct verified_entry {
    uint64_t hash;
    struct token token;
    size_t text_len;
    char text[]; /* then as many bytes for the claims */
};

int verified_init(struct verified *v)
{
    v->sets = calloc(VERIFIED_SETS, sizeof(*v->sets));
    random_bytes(&v->seed, sizeof(v->seed));
    return v->sets ? 0 : -ENOMEM;
}

void verified_fini(struct verified *v)
{
    for (size_t i = 0; v->sets && i < VERIFIED_SETS; i++) {
        for (size_t j = 0; j < VERIFIED_WAYS; j++)
            free(v->sets[i][j]);
    }
    free(v->sets);
    v->sets = NULL;
}

const struct token *verified_find(struct verified *v, struct str text)
{
    uint64_t hash = xxh64of(text.p, text.len, v->seed);
    struct verified_entry **set = v->sets[hash % VERIFIED_SETS];
    for (size_t i = 0; i < VERIFIED_WAYS; i++) {
        struct verified_entry *e = set[i];
        if (e && e->hash == hash && str_eq((struct str){e->text, e->text_len}, text))
            return &e->token;
    }
    return NULL;
}

void verified_put(struct verified *v, struct str text, const struct token *t)
{
    struct verified_entry *e = calloc(1, sizeof(*e) + 2 * text.len);
    if (!e)
        return;
    e->hash = xxh64of(text.p, text.len, v->seed);
    e->text_len = text.len;
    memcpy(e->text, text.p, text.len);
    if (token_copy(t, e->text + text.len, text.len, &e->token)) {
        free(e);
        return;
    }
    struct verified_entry **set = v->sets[e->hash % VERIFIED_SETS];
    free(set[VERIFIED_WAYS - 1]);
    memmove(set + 1, set, (VERIFIED_WAYS - 1) * sizeof(*set));
    set[0] = e;
}
