/* credentials - what a client command needs to enter: addresses and keys, from wherever the user put them.
 *
 * Order: option, LECTERN_* environment or configuration file, AWS_* environment (S3 keys), then the data directory's
 * file (--data, $LECTERN_DATA, ./data). Thread: one. */
#pragma once
#include "cmd/cmd.h"
#include "cmd/secrets.h"

#define CREDENTIALS_URL_MAX 512

struct credentials {
    char endpoint[CREDENTIALS_URL_MAX], control[CREDENTIALS_URL_MAX]; /* no slash at the end */
    char access_key[SECRETS_TEXT_MAX + 1], secret_key[SECRETS_TEXT_MAX + 1], admin_token[SECRETS_TEXT_MAX + 1];
};
/* for_s3: the access and secret key must be there; else the admin token. CMD_OK, or CMD_FAILED and said why. */
int credentials_open(struct credentials *c, const struct cmdline *l, bool for_s3);
void credentials_wipe(struct credentials *c);
