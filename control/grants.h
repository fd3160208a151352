/* grants - what is known of grants, for a short while: a permission query a byte range would melt the metadata.
 *
 * An entry remembers the answer of one read, also "there is none", for the time that conf.grant_cache_ms gives. Those
 * who ask while it is being read wait for that one read. grants_forget makes an answer under way worthless: it is read
 * again, so nobody who asks after a revocation was acknowledged is let in by what was read before.
 * Thread: the loop. Limits: GRANTS_MAX entries, least recently used first; E_LIMIT when all of them are being read. */
#pragma once
#include "control/control.h"

#define GRANTS_MAX    65536
#define GRANT_KEY_MAX 300

struct grant_entry {
    struct grant_entry *chain, *newer, *older; /* private */
    uint64_t hash;                             /* private */
    uint64_t read_ns;                          /* mono, when the read began */
    bool known, exists;
    uint64_t from_s, until_s; /* 0: no bound */
    bool reading, stale;
    struct control_check *waiters;
    size_t key_len;
    char key[]; /* of the row */
};
struct grants {
    struct grant_entry **buckets;
    struct grant_entry *newest, *oldest;
    size_t count, max;
    uint64_t seed;
};
int grants_init(struct grants *g, size_t max);
void grants_fini(struct grants *g); /* nothing is being read */
/* The row's key: "grant" NUL user NUL course. */
struct str grant_key(struct str user, struct str course, char ret[GRANT_KEY_MAX]);
/* Finds or makes, and marks as used now. NULL: out of memory, or every entry is being read. */
struct grant_entry *grants_entry(struct grants *g, struct str key);
void grants_forget(struct grants *g, struct str user, struct str course);
/* DENY_NONE, DENY_NO_GRANT, DENY_GRANT_NOT_YET or DENY_GRANT_ENDED. */
enum deny grant_judge(bool exists, uint64_t from_s, uint64_t until_s, uint64_t now_s);
