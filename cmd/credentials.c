/* credentials - the search order in one place. */
#include "cmd/credentials.h"
#include "common/err.h"
#include <stdio.h>
#include <stdlib.h>

static const char *env_or_empty(const char *name)
{
    const char *value = getenv(name);
    return value ? value : "";
}

static void take(char *slot, size_t cap, const char *value)
{
    if (!*slot && *value)
        snprintf(slot, cap, "%s", value);
}

/* "http://" and the address that the server listens on, as one can reach it from here. */
static void listen_url(const char *listen, char *ret, size_t cap)
{
    const char *colon = strrchr(listen, ':');
    struct str host = {listen, colon ? (size_t)(colon - listen) : 0};
    if (host.len == 0 || str_eq(host, STR("0.0.0.0")))
        host = STR("127.0.0.1");
    else if (str_eq(host, STR("[::]")))
        host = STR("[::1]");
    snprintf(ret, cap, "http://" STR_FMT ":%s", STR_ARG(host), colon ? colon + 1 : listen);
}

static void find_url(char *slot, const char *option, const char *env, const char *env_aws, const char *listen)
{
    take(slot, CREDENTIALS_URL_MAX, option ? option : "");
    take(slot, CREDENTIALS_URL_MAX, env_or_empty(env));
    if (env_aws)
        take(slot, CREDENTIALS_URL_MAX, env_or_empty(env_aws));
    if (!*slot)
        listen_url(listen, slot, CREDENTIALS_URL_MAX);
    for (size_t n = strlen(slot); n && slot[n - 1] == '/'; n--)
        slot[n - 1] = 0;
}

static const char *data_dir(const struct cmdline *l)
{
    if (l->opt[OPT_DATA])
        return l->opt[OPT_DATA];
    const char *env = getenv("LECTERN_DATA");
    return env && *env ? env : "./data";
}

int credentials_open(struct credentials *c, const struct cmdline *l, bool for_s3)
{
    struct secrets file;
    char why[512];
    memset(c, 0, sizeof(*c));
    find_url(c->endpoint, l->opt[OPT_ENDPOINT], "LECTERN_ENDPOINT_URL", "AWS_ENDPOINT_URL",
             conf_str(&l->conf, CONF_S3_LISTEN));
    find_url(c->control, l->opt[OPT_CONTROL], "LECTERN_CONTROL_URL", NULL, conf_str(&l->conf, CONF_CONTROL_LISTEN));
    take(c->access_key, sizeof(c->access_key), conf_str(&l->conf, CONF_ROOT_ACCESS_KEY));
    take(c->secret_key, sizeof(c->secret_key), conf_str(&l->conf, CONF_ROOT_SECRET_KEY));
    take(c->admin_token, sizeof(c->admin_token), conf_str(&l->conf, CONF_ADMIN_TOKEN));
    if (!*c->access_key && !l->opt[OPT_DATA]) { /* a named data directory means its keys */
        take(c->access_key, sizeof(c->access_key), env_or_empty("AWS_ACCESS_KEY_ID"));
        take(c->secret_key, sizeof(c->secret_key), env_or_empty("AWS_SECRET_ACCESS_KEY"));
    }
    if (for_s3 ? *c->access_key && *c->secret_key : *c->admin_token)
        return CMD_OK;
    int err = secrets_read(data_dir(l), &file, why, sizeof(why));
    if (err == 0) {
        if (!*c->access_key) {
            take(c->access_key, sizeof(c->access_key), file.access_key);
            take(c->secret_key, sizeof(c->secret_key), file.secret_key);
        }
        take(c->admin_token, sizeof(c->admin_token), file.admin_token);
        secrets_wipe(&file);
    }
    if (for_s3 ? *c->access_key && *c->secret_key : *c->admin_token)
        return CMD_OK;
    if (err == -ENOENT)
        cmd_error(l, "I have no %s: set %s, or name the data directory with --data DIR (%s has no " SECRETS_FILE ")",
                  for_s3 ? "access keys" : "admin token",
                  for_s3 ? "LECTERN_ROOT_ACCESS_KEY and LECTERN_ROOT_SECRET_KEY" : "LECTERN_ADMIN_TOKEN", data_dir(l));
    else
        cmd_error(l, "%s", err ? why : "the credentials file lacks what this command needs");
    return CMD_FAILED;
}

void credentials_wipe(struct credentials *c)
{
    explicit_bzero(c, sizeof(*c));
}
