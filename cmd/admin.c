/* admin - the commands that are one call of the control API each: rows of admin_table.def, carried out by one function.
 */
#include "cmd/admin.h"
#include "cmd/remote.h"
#include "common/uri.h"
#include <stdio.h>

#define PATH_ARENA_MAX (64 * KIB)

struct admin_row {
    const char *noun, *verb, *args, *method, *path, *body, *help;
};
static const struct admin_row rows[] = {
#define ADMIN(noun, verb, args, method, path, body, help) {noun, verb, args, method, path, body, help},
#include "cmd/admin_table.def"
#undef ADMIN
};

void admin_help(const char *noun)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].noun, noun) == 0)
            printf("  lectern %s %-6s %s\n      %s\n", noun, rows[i].verb, rows[i].args, rows[i].help);
}

bool admin_has(const char *noun)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].noun, noun) == 0)
            return true;
    return false;
}

/* How many arguments a row needs and takes: its words, those in brackets may be absent. */
static void arg_counts(const char *args, int *ret_least, int *ret_most)
{
    struct str rest = str_c(*args ? args : NULL), word;
    *ret_least = *ret_most = 0;
    while (str_split(&rest, ' ', &word)) {
        (*ret_most)++;
        *ret_least += word.p[0] != '[';
    }
}

static const struct admin_row *find_row(const struct cmdline *l)
{
    const struct admin_row *row = NULL;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].noun, l->cmd->name) == 0 && strcmp(rows[i].verb, l->args[0]) == 0)
            row = &rows[i];
    if (!row) {
        cmd_error(l, "there is no \"%s\" for it; `lectern %s --help` shows what there is", l->args[0], l->cmd->name);
        return NULL;
    }
    int least, most, given = l->arg_count - 1;
    arg_counts(row->args, &least, &most);
    if (given >= least && given <= most)
        return row;
    cmd_error(l, "%s arguments: lectern %s %s %s", given < least ? "it needs more" : "these are too many", row->noun,
              row->verb, row->args);
    return NULL;
}

/* The argument that a reference "1", "1<" or "1>" means; p NULL where it has no such half. */
static struct str argument(const struct cmdline *l, struct str ref)
{
    int n = ref.p[0] - '0';
    struct str arg = n < l->arg_count ? str_c(l->args[n]) : STR_NONE, first = arg;
    if (ref.len < 2)
        return arg;
    bool split = arg.p && memchr(arg.p, '/', arg.len) && str_split(&arg, '/', &first);
    return !split ? STR_NONE : ref.p[1] == '<' ? first : arg;
}

static int build_path(const struct cmdline *l, const struct admin_row *row, struct sbuf *out)
{
    struct arena arena;
    arena_init(&arena, PATH_ARENA_MAX);
    int rc = CMD_OK;
    for (const char *p = row->path; *p && rc == CMD_OK; p++) {
        if (*p != '{') {
            sbuf_add(out, p, 1);
            continue;
        }
        const char *end = strchr(p, '}');
        struct str value = argument(l, (struct str){p + 1, (size_t)(end - p - 1)});
        if (value.len == 0) {
            cmd_error(l, "an argument is empty or lacks its '/': lectern %s %s %s", row->noun, row->verb, row->args);
            rc = CMD_USAGE;
        }
        uri_encode_to(out, value, false);
        p = end;
    }
    arena_fini(&arena);
    return rc;
}

static json_t *list_at_commas(struct str text)
{
    json_t *list = json_array();
    struct str part;
    while (text.len && str_split(&text, ',', &part))
        if (!str_eq(str_trim(part), STR("none")))
            json_array_append_new(list, json_stringn(str_trim(part).p ? str_trim(part).p : "", str_trim(part).len));
    return list;
}

static json_t *build_body(const struct cmdline *l, const struct admin_row *row)
{
    struct str rest = str_c(*row->body ? row->body : NULL), word;
    json_t *body = strcmp(row->method, "PUT") == 0 || *row->body ? json_object() : NULL;
    while (str_split(&rest, ' ', &word)) {
        struct str ref = word, name;
        char field[64];
        str_split(&ref, '=', &name);
        snprintf(field, sizeof(field), STR_FMT, STR_ARG(name));
        struct str value = str_eq(ref, STR("from"))    ? str_c(l->opt[OPT_FROM])
                           : str_eq(ref, STR("until")) ? str_c(l->opt[OPT_UNTIL])
                                                       : argument(l, (struct str){ref.p, 1});
        char kind = ref.len == 2 ? ref.p[1] : 0;
        if (kind == '*')
            json_object_set_new(body, field, list_at_commas(value));
        else if (value.p)
            json_object_set_new(body, field, json_stringn(value.p, value.len));
    }
    return body;
}

int admin_run(struct cmdline *l)
{
    const struct admin_row *row = find_row(l);
    struct remote remote;
    struct sbuf path = {0};
    json_t *reply = NULL;
    if (!row)
        return CMD_USAGE;
    int rc = build_path(l, row, &path);
    if (rc != CMD_OK) {
        sbuf_fini(&path);
        return rc;
    }
    rc = remote_open(&remote, l);
    if (rc == CMD_OK && strcmp(row->method, "LIST") == 0)
        rc = remote_list(&remote, path.p, &reply);
    else if (rc == CMD_OK)
        rc = remote_call(&remote, row->method, path.p, build_body(l, row), &reply);
    if (rc == CMD_OK && cmd_has(l, OPT_JSON) && reply)
        remote_print_json(reply);
    else if (rc == CMD_OK && reply)
        remote_print(reply);
    else if (rc == CMD_OK && !cmd_has(l, OPT_JSON))
        puts("done");
    json_decref(reply);
    remote_close(&remote);
    sbuf_fini(&path);
    return rc;
}

#define NOUN(name)                                                                                                     \
    int cmd_##name(struct cmdline *l)                                                                                  \
    {                                                                                                                  \
        return admin_run(l);                                                                                           \
    }
NOUN(creator)
NOUN(key)
NOUN(course)
NOUN(lesson)
NOUN(user)
NOUN(grant)
NOUN(signing)
