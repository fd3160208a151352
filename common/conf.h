/* conf - the configuration: one INI file, environment over it, flags over both; every key a row of conf.def.
 *
 * Thread: loaded once at start, read-only after. Errors are one sentence for the user: what, where, what to do. */
#pragma once
#include "common/arena.h"

enum conf_key {
#define CONF(id, key, env, type, dflt, unit, help) CONF_##id,
#include "common/conf.def"
#undef CONF
    CONF_COUNT
};
enum conf_type { CONF_STRING, CONF_SIZE, CONF_COUNT_T, CONF_MS, CONF_BOOL, CONF_SECRET };
enum conf_source { CONF_DEFAULT, CONF_FILE, CONF_ENV, CONF_FLAG };

struct conf_row {
    const char *key, *env, *dflt, *unit, *help;
    enum conf_type type;
};
extern const struct conf_row conf_rows[CONF_COUNT];

struct conf {
    char *text[CONF_COUNT];      /* owned */
    uint64_t number[CONF_COUNT]; /* SIZE in bytes, COUNT, MS in milliseconds, BOOL 0 or 1 */
    enum conf_source source[CONF_COUNT];
    char *where[CONF_COUNT]; /* "/etc/lectern.conf:12" for CONF_FILE; owned or NULL */
};
void conf_init(struct conf *c); /* defaults */
void conf_fini(struct conf *c);
/* why: the sentence. Order does not matter: a stronger source is never overwritten by a weaker one. */
int conf_load_file(struct conf *c, const char *path, char *why, size_t why_cap);
int conf_load_env(struct conf *c, char *why, size_t why_cap);
int conf_set(struct conf *c, enum conf_key k, const char *value, enum conf_source s, const char *where, char *why,
             size_t why_cap);
int conf_find(const char *key_or_flag); /* "s3.listen" or "s3-listen"; index or -ENOENT */
static inline const char *conf_str(const struct conf *c, enum conf_key k)
{
    return c->text[k];
}
static inline uint64_t conf_num(const struct conf *c, enum conf_key k)
{
    return c->number[k];
}
