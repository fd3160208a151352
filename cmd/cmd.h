/* cmd - the subcommands of `lectern`: one row each in cmd_table.def, their options rows of cmd_opts.def.
 *
 * Thread: one; client commands block. Errors: a command returns its exit code: CMD_OK, CMD_FAILED, CMD_USAGE; it has
 * said why in one sentence on stderr (cmd_error). */
#pragma once
#include "common/conf.h"

enum { CMD_OK = 0, CMD_FAILED = 1, CMD_USAGE = 2, CMD_STOPPED = 130 };

/* Which commands an option belongs to. */
enum {
    FOR_SERVE = 1,
    FOR_CONTROL = 2, /* speaks to the control API */
    FOR_S3 = 4,      /* speaks S3 */
    FOR_CP = 8,
    FOR_LS = 16,
    FOR_CONFIG = 32,
    FOR_ALL = 63,
};
enum cmd_opt {
#define OPT(id, name, letter, arg, commands, help) OPT_##id,
#include "cmd/cmd_opts.def"
#undef OPT
    OPT_COUNT
};

struct cmd;
struct cmdline {
    const struct cmd *cmd;
    struct conf conf;
    const char *opt[OPT_COUNT]; /* NULL: not given; "" for a switch that is on */
    char **args;                /* what is not an option; borrowed from argv */
    int arg_count;
};
struct cmd {
    const char *name, *args, *summary, *text;
    unsigned options; /* FOR_* */
    int args_min, args_max;
    int (*run)(struct cmdline *l);
};

/* "lectern cp: sentence". */
void cmd_error(const struct cmdline *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline bool cmd_has(const struct cmdline *l, enum cmd_opt o)
{
    return l->opt[o] != NULL;
}
/* The number of an option that takes one: default when it is not given; CMD_OK, or CMD_USAGE and said why. */
int cmd_number(const struct cmdline *l, enum cmd_opt o, uint64_t dflt, uint64_t least, uint64_t most, uint64_t *ret);
/* Parses argv (argv[0] is the command's name) and loads the configuration: CMD_OK, CMD_USAGE; *ret_help when --help. */
int cmdline_parse(struct cmdline *l, const struct cmd *cmd, int argc, char **argv, bool *ret_help);
void cmdline_fini(struct cmdline *l);
void cmd_help(const struct cmd *cmd); /* of one command, to stdout */

#define CMD(name, args, min, max, options, summary, text) int cmd_##name(struct cmdline *l);
#include "cmd/cmd_table.def"
#undef CMD
