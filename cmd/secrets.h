/* secrets - what an installation is entered with: root keys, admin token and the master key, in DIR/credentials.
 *
 * Made at the first start; mode 0600; a copy on every drive, so that a lost first drive does not lose them. What the
 * configuration gives (environment, flag, file) wins and is not written down.
 * Thread: before the loop runs. Durable: the file is written under a temporary name, synced, renamed, folder synced.
 * Errors: one sentence in why. */
#pragma once
#include "common/conf.h"

#define SECRETS_FILE       "credentials"
#define SECRETS_TEXT_MAX   128
#define SECRETS_MASTER_LEN 32

struct secrets {
    char access_key[SECRETS_TEXT_MAX + 1], secret_key[SECRETS_TEXT_MAX + 1], admin_token[SECRETS_TEXT_MAX + 1];
    uint8_t master_key[SECRETS_MASTER_LEN];
    bool has_master;
    bool made_keys, made_token; /* now, and nothing stronger was given: print them once */
};
/* Fills what DIR/credentials has (the rest stays empty). -ENOENT: no such file; -EINVAL: it cannot be understood. */
int secrets_read(const char *dir, struct secrets *ret, char *why, size_t why_cap);
/* The first file found among dirs, what it lacks made new, copied to every directory that has none; then what conf
 * gives laid over. */
int secrets_open(const char *const *dirs, unsigned dir_count, const struct conf *conf, struct secrets *ret, char *why,
                 size_t why_cap);
void secrets_wipe(struct secrets *s);
