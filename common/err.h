/* err - one domain of errors for the whole program.
 *
 * Every function that can fail returns int: 0 success; negative a failure to hand up unchanged (an errno or E_* below);
 * positive a documented outcome of that very function which its direct caller must switch on and never forwards.
 * Async status uses the same domain. */
#pragma once
#include <errno.h>

enum {
#define ERR(name, number, text) E_##name = -(number),
#include "common/err.def"
#undef ERR
};

/* A sentence fragment for a negative code, static memory, never NULL. Thread: any. */
const char *err_text(int err);
