/* config - `lectern config`: what holds for every key, and which source said so. */
#include "cmd/cmd.h"
#include <jansson.h>
#include <stdio.h>

static const char *shown(const struct conf *c, int k)
{
    if (conf_rows[k].type == CONF_SECRET)
        return *c->text[k] ? "(set, not shown)" : "";
    return c->text[k];
}

static void source_text(const struct conf *c, int k, char *ret, size_t cap)
{
    switch (c->source[k]) {
    case CONF_DEFAULT:
        snprintf(ret, cap, "default");
        break;
    case CONF_FILE:
        snprintf(ret, cap, "file %s", c->where[k] ? c->where[k] : "");
        break;
    case CONF_ENV:
        snprintf(ret, cap, "environment %s", conf_rows[k].env);
        break;
    case CONF_FLAG:
        snprintf(ret, cap, "flag %s", c->where[k] ? c->where[k] : "");
        break;
    }
}

static int print_json(const struct conf *c)
{
    json_t *all = json_array();
    char source[600];
    for (int k = 0; k < CONF_COUNT; k++) {
        const struct conf_row *row = &conf_rows[k];
        source_text(c, k, source, sizeof(source));
        json_array_append_new(all, json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "key", row->key, "value", shown(c, k),
                                             "source", source, "default", row->dflt, "environment", row->env, "unit",
                                             row->unit, "help", row->help));
    }
    json_dumpf(all, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(all);
    return CMD_OK;
}

int cmd_config(struct cmdline *l)
{
    if (cmd_has(l, OPT_JSON))
        return print_json(&l->conf);
    printf("%-24s %-20s %s\n", "key", "value", "from");
    for (int k = 0; k < CONF_COUNT; k++) {
        char source[600];
        const char *value = shown(&l->conf, k);
        source_text(&l->conf, k, source, sizeof(source));
        printf("%-24s %-20s %s\n", conf_rows[k].key, *value ? value : "-", source);
    }
    printf("\nroot.access_key, root.secret_key and admin.token are made at the first start where they are not set, and "
           "kept\n"
           "in the data directory's file `credentials`.\n");
    return CMD_OK;
}
