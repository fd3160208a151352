/* admin - the commands that are one call of the control API: rows of admin_table.def. Thread: one. */
#pragma once
#include "cmd/cmd.h"

int admin_run(struct cmdline *l);  /* exit code */
bool admin_has(const char *noun);  /* is that command one of ours? */
void admin_help(const char *noun); /* its verbs, to stdout */
