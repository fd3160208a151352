/* serve_print - what `lectern serve` says on stdout when it is ready: where it listens, the keys once, what to try. */
#include "cmd/serve.h"
#include <stdio.h>

void serve_address(const struct serve *s, enum serve_server which, char *ret, size_t cap)
{
    const char *listen = conf_str(&s->line->conf, which == SERVE_S3 ? CONF_S3_LISTEN : CONF_CONTROL_LISTEN);
    const char *colon = strrchr(listen, ':');
    struct str host = {listen, colon ? (size_t)(colon - listen) : strlen(listen)};
    if (host.len == 0 || str_eq(host, STR("0.0.0.0")))
        host = STR("127.0.0.1");
    else if (str_eq(host, STR("[::]")))
        host = STR("[::1]");
    const struct http_server *server = s->listeners[which].server;
    snprintf(ret, cap, "http://" STR_FMT ":%u", STR_ARG(host), server ? http_server_port(server) : 0);
}

static void print_made(const struct serve *s)
{
    const struct secrets *made = &s->secrets;
    if (!made->made_keys && !made->made_token)
        return;
    printf("Made for this installation and shown this once (kept in %s/%s, mode 0600):\n", s->dirs[0], SECRETS_FILE);
    if (made->made_keys)
        printf("  access key    %s\n  secret key    %s\n", made->access_key, made->secret_key);
    if (made->made_token)
        printf("  admin token   %s\n", made->admin_token);
    putchar('\n');
}

static void print_head(const struct serve *s)
{
    const struct serve_status *st = &s->status;
    char s3[300], control[300];
    serve_address(s, SERVE_S3, s3, sizeof(s3));
    serve_address(s, SERVE_CONTROL, control, sizeof(control));
    printf("Lectern %s serves %u drive%s", LECTERN_VERSION, st->drives, st->drives == 1 ? "" : "s");
    if (st->serving < st->drives)
        printf(", of which %u out of service", st->drives - st->serving);
    if (st->m)
        printf(" (code %u+%u: any %u may fail, ", st->k, st->m, st->m);
    else
        printf(" (%s", st->drives > 1 ? "no parity: none may fail, " : "");
    printf("%s)\n\n"
           "  S3 API        %s   region %s, path style or BUCKET.%s\n"
           "  Playback      %s/t/...\n"
           "  Control API   %s   /openapi.json, /metrics\n\n",
           s->disk->name, s3, conf_str(&s->line->conf, CONF_S3_REGION), conf_str(&s->line->conf, CONF_S3_DOMAIN),
           s->external_url, control);
}

void serve_announce(struct serve *s)
{
    if (!s->ready || !s->status.json || s->announced)
        return;
    s->announced = true;
    print_head(s);
    print_made(s);
    printf("Try, in another terminal:\n"
           "  lectern status --data %s\n"
           "  lectern mb s3://videos --data %s && lectern cp lesson.mp4 s3://videos/ --data %s\n"
           "  lectern course --help\n\n"
           "Ctrl-C stops.\n",
           s->dirs[0], s->dirs[0], s->dirs[0]);
    fflush(stdout);
}
