/* conf - the table of conf.def made into text and numbers, with the source of each value kept beside it.
 *
 * A value is checked when it is set, whatever its source, so that a wrong line in the file is named even where the
 * environment would have overridden it. inih has no line numbers in Debian's build: our own reader counts the lines it
 * hands over, and refuses a line longer than inih's buffer instead of letting it be cut. */
#include "common/conf.h"
#include "common/err.h"
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>

#define TYPE_STRING CONF_STRING
#define TYPE_SIZE   CONF_SIZE
#define TYPE_COUNT  CONF_COUNT_T
#define TYPE_MS     CONF_MS
#define TYPE_BOOL   CONF_BOOL
#define TYPE_SECRET CONF_SECRET

const struct conf_row conf_rows[CONF_COUNT] = {
#define CONF(id, key, env, type, dflt, unit, help) [CONF_##id] = {key, env, dflt, unit, help, TYPE_##type},
#include "common/conf.def"
#undef CONF
};

struct unit {
    const char *name;
    uint64_t factor;
};
static const struct unit size_units[] = {{"", 1},      {"B", 1},     {"KiB", KIB},
                                         {"MiB", MIB}, {"GiB", GIB}, {"TiB", GIB *KIB}};
static const struct unit time_units[] = {{"", 1},          {"ms", 1},          {"s", 1000},
                                         {"m", 60 * 1000}, {"h", 3600 * 1000}, {"d", 86400 * 1000}};
static const struct unit plain_units[] = {{"", 1}};

static int parse_number(struct str text, const struct unit *units, size_t unit_count, uint64_t *ret)
{
    size_t digits = 0;
    while (digits < text.len && text.p[digits] >= '0' && text.p[digits] <= '9')
        digits++;
    uint64_t n;
    if (str_u64((struct str){text.p, digits}, &n) != 0)
        return -EINVAL;
    struct str unit = str_trim((struct str){text.p + digits, text.len - digits});
    for (size_t i = 0; i < unit_count; i++)
        if (str_ieq(unit, str_c(units[i].name)))
            return __builtin_mul_overflow(n, units[i].factor, ret) ? -ERANGE : 0;
    return -EINVAL;
}

static int parse_bool(struct str text, uint64_t *ret)
{
    static const char *const words[][2] = {{"false", "true"}, {"no", "yes"}, {"off", "on"}, {"0", "1"}};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        for (uint64_t v = 0; v < 2; v++)
            if (str_ieq(text, str_c(words[i][v]))) {
                *ret = v;
                return 0;
            }
    return -EINVAL;
}

static int parse_value(enum conf_type type, struct str text, uint64_t *ret, const char **ret_form)
{
    switch (type) {
    case CONF_SIZE:
        *ret_form = "a size such as 512KiB, 256MiB or 2GiB";
        return parse_number(text, size_units, ARRAY_LEN(size_units), ret);
    case CONF_COUNT_T:
        *ret_form = "a whole number";
        return parse_number(text, plain_units, ARRAY_LEN(plain_units), ret);
    case CONF_MS:
        *ret_form = "a time such as 500ms, 15s, 10m or 12h";
        return parse_number(text, time_units, ARRAY_LEN(time_units), ret);
    case CONF_BOOL:
        *ret_form = "true or false";
        return parse_bool(text, ret);
    case CONF_STRING:
    case CONF_SECRET:
        break;
    }
    *ret_form = "one line of text";
    return 0;
}

static void replace(char **slot, const char *text)
{
    char *copy = text ? strdup(text) : NULL;
    if (text && !copy)
        abort(); /* start-up, some bytes: nothing sensible is left to do */
    free(*slot);
    *slot = copy;
}

void conf_init(struct conf *c)
{
    memset(c, 0, sizeof(*c));
    for (int k = 0; k < CONF_COUNT; k++) {
        const char *form;
        int err = parse_value(conf_rows[k].type, str_c(conf_rows[k].dflt), &c->number[k], &form);
        assert(err == 0); /* a default in conf.def that does not parse is our bug */
        (void)err;
        replace(&c->text[k], conf_rows[k].dflt);
    }
}

void conf_fini(struct conf *c)
{
    for (int k = 0; k < CONF_COUNT; k++) {
        free(c->text[k]);
        free(c->where[k]);
    }
    memset(c, 0, sizeof(*c));
}

/* "s3.listen" and "s3-listen" are one key: '.', '_' and '-' are the same in a flag. */
static bool same_key(const char *a, const char *b)
{
    for (; *a && *b; a++, b++) {
        bool sep_a = strchr("._-", *a) != NULL, sep_b = strchr("._-", *b) != NULL;
        if (sep_a != sep_b || (!sep_a && *a != *b))
            return false;
    }
    return *a == *b;
}

int conf_find(const char *key_or_flag)
{
    for (int k = 0; k < CONF_COUNT; k++)
        if (same_key(conf_rows[k].key, key_or_flag))
            return k;
    return -ENOENT;
}

/* Where a value came from, in words, for the sentence of an error. */
static void describe(enum conf_key k, enum conf_source s, const char *where, char *ret, size_t cap)
{
    if (s == CONF_FILE)
        snprintf(ret, cap, "%s: %s", where ? where : "configuration file", conf_rows[k].key);
    else if (s == CONF_ENV)
        snprintf(ret, cap, "environment: %s", conf_rows[k].env);
    else
        snprintf(ret, cap, "%s", where ? where : conf_rows[k].key);
}

int conf_set(struct conf *c, enum conf_key k, const char *value, enum conf_source s, const char *where, char *why,
             size_t why_cap)
{
    const struct conf_row *row = &conf_rows[k];
    struct str text = str_trim(str_c(value));
    const char *form;
    uint64_t number = 0;
    int err = memchr(text.p, '\n', text.len) ? -EINVAL : 0;
    if (err)
        form = "one line of text";
    else
        err = parse_value(row->type, text, &number, &form);
    if (err) {
        char place[256];
        describe(k, s, where, place, sizeof(place));
        if (row->type == CONF_SECRET)
            snprintf(why, why_cap, "%s must be %s", place, form);
        else
            snprintf(why, why_cap, "%s is \"%.80s\" but must be %s%s", place, value, form,
                     err == -ERANGE ? " of at most 64 bits" : "");
        return -EINVAL;
    }
    if (s < c->source[k])
        return 0;
    char *copy = strndup(text.p, text.len);
    if (!copy)
        return -ENOMEM;
    free(c->text[k]);
    c->text[k] = copy;
    c->number[k] = number;
    c->source[k] = s;
    replace(&c->where[k], where);
    return 0;
}

int conf_load_env(struct conf *c, char *why, size_t why_cap)
{
    for (int k = 0; k < CONF_COUNT; k++) {
        const char *value = getenv(conf_rows[k].env);
        if (!value)
            continue;
        int err = conf_set(c, (enum conf_key)k, value, CONF_ENV, NULL, why, why_cap);
        if (err)
            return err;
    }
    return 0;
}

struct file_read {
    struct conf *conf;
    FILE *file;
    const char *path;
    unsigned line;
    bool seen[CONF_COUNT];
    int err;
    char *why;
    size_t why_cap;
};

/* inih's fgets: counts lines, and stops with an error at one that does not fit. */
static char *read_line(char *str, int num, void *stream)
{
    struct file_read *r = stream;
    if (r->err || !fgets(str, num, r->file))
        return NULL;
    r->line++;
    size_t len = strlen(str);
    if (len + 1 == (size_t)num && str[len - 1] != '\n' && !feof(r->file)) {
        snprintf(r->why, r->why_cap, "%s:%u is longer than %d characters: shorten it", r->path, r->line, num - 2);
        r->err = -EINVAL;
        return NULL;
    }
    return str;
}

static int on_value(void *user, const char *section, const char *name, const char *value)
{
    struct file_read *r = user;
    char key[128], where[512];
    if (r->err)
        return 0;
    snprintf(key, sizeof(key), "%s%s%s", section, *section ? "." : "", name);
    snprintf(where, sizeof(where), "%s:%u", r->path, r->line);
    int k = conf_find(key);
    if (k < 0 || strcmp(conf_rows[k].key, key) != 0) {
        snprintf(r->why, r->why_cap, "%s: there is no key \"%s\": `lectern config` lists them all", where, key);
        r->err = -EINVAL;
    } else if (r->seen[k]) {
        snprintf(r->why, r->why_cap, "%s: \"%s\" is given twice: keep one of the two lines", where, key);
        r->err = -EINVAL;
    } else {
        r->seen[k] = true;
        r->err = conf_set(r->conf, (enum conf_key)k, value, CONF_FILE, where, r->why, r->why_cap);
    }
    return r->err == 0;
}

int conf_load_file(struct conf *c, const char *path, char *why, size_t why_cap)
{
    struct file_read r = {.conf = c, .path = path, .why = why, .why_cap = why_cap};
    r.file = fopen(path, "re");
    if (!r.file) {
        int err = -errno;
        snprintf(why, why_cap, "the configuration file %s cannot be read: %s", path, strerror(-err));
        return err;
    }
    int bad = ini_parse_stream(read_line, &r, on_value, &r);
    bool failed = ferror(r.file) != 0;
    fclose(r.file);
    if (r.err)
        return r.err;
    if (failed) {
        snprintf(why, why_cap, "the configuration file %s cannot be read to its end", path);
        return -EIO;
    }
    if (bad != 0) {
        snprintf(why, why_cap, "%s:%d is neither \"key = value\", nor \"[section]\", nor a comment", path, bad);
        return -EINVAL;
    }
    return 0;
}
