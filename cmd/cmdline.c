/* cmdline - a command's options: the rows of cmd_opts.def that are its own, and every configuration key as a flag, all
 * through getopt_long, with our own sentences for what is wrong. */
#include "cmd/cmd.h"
#include "cmd/admin.h"
#include "common/err.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CONFIG_DEFAULT "/etc/lectern.conf"
#define FLAG_NAME_MAX  64
#define CONF_BASE      1000 /* getopt values: OPT_BASE + enum cmd_opt, CONF_BASE + enum conf_key */
#define OPT_BASE       500

struct opt_row {
    const char *name;
    char letter;
    const char *arg;
    unsigned commands;
    const char *help;
};
static const struct opt_row opt_rows[OPT_COUNT] = {
#define OPT(id, name, letter, arg, commands, help) [OPT_##id] = {name, letter, arg, commands, help},
#include "cmd/cmd_opts.def"
#undef OPT
};

void cmd_error(const struct cmdline *l, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "lectern%s%s: ", l && l->cmd ? " " : "", l && l->cmd ? l->cmd->name : "");
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
}

static void flag_name(const char *key, char ret[FLAG_NAME_MAX])
{
    size_t n = 0;
    for (; key[n] && n + 1 < FLAG_NAME_MAX; n++)
        ret[n] = strchr("._", key[n]) ? '-' : key[n];
    ret[n] = 0;
}

/* The tables that getopt_long wants, made from ours. */
struct getopt_tables {
    struct option longs[OPT_COUNT + CONF_COUNT + 1];
    char names[CONF_COUNT][FLAG_NAME_MAX];
    char shorts[2 + 2 * OPT_COUNT + 1];
};

static void tables_init(struct getopt_tables *t, unsigned commands)
{
    memset(t, 0, sizeof(*t));
    size_t n = 0, s = 0;
    t->shorts[s++] = ':'; /* a missing argument is told apart from an unknown option */
    for (int i = 0; i < OPT_COUNT; i++) {
        const struct opt_row *row = &opt_rows[i];
        if (!(row->commands & commands))
            continue;
        t->longs[n++] = (struct option){row->name, row->arg ? required_argument : no_argument, NULL, OPT_BASE + i};
        if (row->letter)
            t->shorts[s++] = row->letter;
        if (row->letter && row->arg)
            t->shorts[s++] = ':';
    }
    for (int k = 0; k < CONF_COUNT; k++) {
        flag_name(conf_rows[k].key, t->names[k]);
        t->longs[n++] = (struct option){t->names[k], required_argument, NULL, CONF_BASE + k};
    }
}

static int take_option(struct cmdline *l, int code)
{
    if (code >= CONF_BASE) {
        char why[512], flag[FLAG_NAME_MAX], where[FLAG_NAME_MAX + 2];
        flag_name(conf_rows[code - CONF_BASE].key, flag);
        snprintf(where, sizeof(where), "--%s", flag);
        if (conf_set(&l->conf, (enum conf_key)(code - CONF_BASE), optarg, CONF_FLAG, where, why, sizeof(why)) == 0)
            return CMD_OK;
        cmd_error(l, "%s", why);
        return CMD_USAGE;
    }
    if (code < OPT_BASE)
        for (int i = 0; i < OPT_COUNT; i++)
            if (opt_rows[i].letter == code)
                code = OPT_BASE + i;
    l->opt[code - OPT_BASE] = optarg ? optarg : "";
    return CMD_OK;
}

static int bad_option(const struct cmdline *l, int code, const char *word)
{
    if (code == ':')
        cmd_error(l, "%s needs a value; `lectern %s --help` shows them all", word, l->cmd->name);
    else
        cmd_error(l, "there is no option %s; `lectern %s --help` shows them all", word, l->cmd->name);
    return CMD_USAGE;
}

static int load_conf(struct cmdline *l)
{
    char why[1024];
    const char *path = l->opt[OPT_CONFIG] ? l->opt[OPT_CONFIG] : getenv("LECTERN_CONFIG");
    if (!path && access(CONFIG_DEFAULT, F_OK) == 0)
        path = CONFIG_DEFAULT;
    if ((!path || conf_load_file(&l->conf, path, why, sizeof(why)) == 0) &&
        conf_load_env(&l->conf, why, sizeof(why)) == 0)
        return CMD_OK;
    cmd_error(l, "%s", why);
    return CMD_USAGE;
}

static int check_count(const struct cmdline *l)
{
    const struct cmd *cmd = l->cmd;
    if (l->arg_count > cmd->args_max)
        cmd_error(l, "\"%s\" is one argument too many: lectern %s %s", l->args[cmd->args_max], cmd->name, cmd->args);
    else if (l->arg_count < cmd->args_min)
        cmd_error(l, "tell me %s: lectern %s %s; `lectern %s --help` shows examples", l->arg_count ? "more" : "what",
                  cmd->name, cmd->args, cmd->name);
    else
        return CMD_OK;
    return CMD_USAGE;
}

int cmdline_parse(struct cmdline *l, const struct cmd *cmd, int argc, char **argv, bool *ret_help)
{
    struct getopt_tables tables;
    memset(l, 0, sizeof(*l));
    l->cmd = cmd;
    conf_init(&l->conf);
    tables_init(&tables, cmd->options);
    *ret_help = false;
    opterr = 0;
    optind = 1;
    for (;;) {
        int at = optind;
        int code = getopt_long(argc, argv, tables.shorts, tables.longs, NULL);
        if (code < 0)
            break;
        if (code == '?' || code == ':')
            return bad_option(l, code, argv[at < optind ? optind - 1 : at]);
        int rc = take_option(l, code);
        if (rc != CMD_OK)
            return rc;
    }
    l->args = argv + optind;
    l->arg_count = argc - optind;
    *ret_help = l->opt[OPT_HELP] != NULL;
    if (*ret_help)
        return CMD_OK;
    int rc = check_count(l);
    return rc == CMD_OK ? load_conf(l) : rc;
}

void cmdline_fini(struct cmdline *l)
{
    conf_fini(&l->conf);
}

int cmd_number(const struct cmdline *l, enum cmd_opt o, uint64_t dflt, uint64_t least, uint64_t most, uint64_t *ret)
{
    *ret = dflt;
    if (!l->opt[o])
        return CMD_OK;
    /* Any SIZE key lends its parser, so that 8MiB means the same everywhere. */
    struct conf c;
    char why[256];
    conf_init(&c);
    int err = conf_set(&c, CONF_WRITE_POOL, l->opt[o], CONF_FLAG, opt_rows[o].name, why, sizeof(why));
    *ret = conf_num(&c, CONF_WRITE_POOL);
    conf_fini(&c);
    if (err == 0 && *ret >= least && *ret <= most)
        return CMD_OK;
    cmd_error(l, "--%s is \"%s\" but must be a number from %llu to %llu", opt_rows[o].name, l->opt[o],
              (unsigned long long)least, (unsigned long long)most);
    return CMD_USAGE;
}

static void help_conf(void)
{
    printf("\nConfiguration keys, each also in the environment and in the file (`lectern config` shows what holds):\n");
    for (int k = 0; k < CONF_COUNT; k++) {
        const struct conf_row *row = &conf_rows[k];
        char flag[FLAG_NAME_MAX];
        flag_name(row->key, flag);
        printf("  --%-24s %s%s%s%s\n", flag, row->help, *row->dflt ? " (default: " : "", row->dflt,
               *row->dflt ? ")" : "");
        printf("    %-24s $%s\n", "", row->env);
    }
}

void cmd_help(const struct cmd *cmd)
{
    printf("lectern %s %s\n\n%c%s.\n", cmd->name, cmd->args, cmd->summary[0] - 'a' + 'A', cmd->summary + 1);
    if (cmd->text)
        printf("\n%s", cmd->text);
    if (admin_has(cmd->name)) {
        putchar('\n');
        admin_help(cmd->name);
    }
    printf("\nOptions:\n");
    for (int i = 0; i < OPT_COUNT; i++) {
        const struct opt_row *row = &opt_rows[i];
        if (!(row->commands & cmd->options))
            continue;
        char letter[5] = "    ", name[48];
        if (row->letter)
            snprintf(letter, sizeof(letter), "-%c, ", row->letter);
        snprintf(name, sizeof(name), "%s%s%s", row->name, row->arg ? " " : "", row->arg ? row->arg : "");
        printf("  %s--%-26s %s\n", letter, name, row->help);
    }
    if (cmd->options & (FOR_SERVE | FOR_CONFIG))
        help_conf();
    else
        printf("\nConfiguration keys are options too: `lectern config --help` lists them.\n");
}
