/* main - `lectern`: finds the command's row and runs it. Everything a user can say stands in cmd_table.def. */
#include "cmd/cmd.h"
#include <signal.h>
#include <stdio.h>

static const struct cmd cmds[] = {
#define CMD(name, args, min, max, options, summary, text) {#name, args, summary, text, options, min, max, cmd_##name},
#include "cmd/cmd_table.def"
#undef CMD
};

static void help_all(FILE *out)
{
    fprintf(out, "lectern stores and streams course media: upload with S3 tools, stream through one signed URL.\n\n"
                 "Begin:\n"
                 "  lectern serve ./data            run it here; prints keys, addresses and what to try next\n"
                 "  lectern status                  how it is doing\n\n"
                 "Commands:\n");
    for (size_t i = 0; i < ARRAY_LEN(cmds); i++)
        fprintf(out, "  %-10s %s\n", cmds[i].name, cmds[i].summary);
    fprintf(out, "\n`lectern COMMAND --help` explains one, with its arguments and options.\n");
}

static const struct cmd *find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(cmds); i++)
        if (strcmp(cmds[i].name, name) == 0)
            return &cmds[i];
    return NULL;
}

int cmd_version(struct cmdline *l)
{
    (void)l;
    printf("lectern %s\n", LECTERN_VERSION);
    return CMD_OK;
}

static int run(const struct cmd *cmd, int argc, char **argv)
{
    struct cmdline l;
    bool help;
    int rc = cmdline_parse(&l, cmd, argc, argv, &help);
    if (rc == CMD_OK && help)
        cmd_help(cmd);
    else if (rc == CMD_OK)
        rc = cmd->run(&l);
    cmdline_fini(&l);
    if (fflush(stdout) != 0 && rc == CMD_OK)
        rc = CMD_FAILED;
    return rc;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    const char *word = argc > 1 ? argv[1] : "";
    if (argc < 2) {
        help_all(stderr);
        return CMD_USAGE;
    }
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0)
        word = "version";
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        const struct cmd *about = argc > 2 ? find(argv[2]) : NULL;
        if (about)
            cmd_help(about);
        else
            help_all(stdout);
        return CMD_OK;
    }
    const struct cmd *cmd = find(word);
    if (!cmd) {
        cmd_error(NULL, "there is no command \"%s\": `lectern --help` lists them", word);
        return CMD_USAGE;
    }
    return run(cmd, argc - 1, argv + 1);
}
