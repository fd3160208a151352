/* remote - one call is one HTTP exchange with a bearer token; a list is followed from page to page by its `next`. */
#include "cmd/remote.h"
#include "common/err.h"
#include "common/uri.h"
#include <stdio.h>
#include <stdlib.h>

#define PATH_ARENA_MAX (64 * KIB)

int remote_open(struct remote *a, const struct cmdline *l)
{
    memset(a, 0, sizeof(*a));
    a->line = l;
    int rc = credentials_open(&a->credentials, l, false);
    if (rc == CMD_OK && http_client_create(1, &a->http) != 0) {
        cmd_error(l, "out of memory");
        rc = CMD_FAILED;
    }
    return rc;
}

void remote_close(struct remote *a)
{
    if (a->http)
        http_client_destroy(a->http);
    credentials_wipe(&a->credentials);
}

static int refused(const struct remote *a, const struct http_call *c, const json_t *reply)
{
    const char *message = json_string_value(json_object_get(reply, "message"));
    const char *id = json_string_value(json_object_get(reply, "request_id"));
    if (c->err == -ECONNREFUSED)
        cmd_error(a->line, "nothing answers at %s: is `lectern serve` running there? (--control names another)",
                  a->credentials.control);
    else if (c->err)
        cmd_error(a->line, "%s: %s", a->credentials.control, c->why);
    else if (c->status == 401)
        cmd_error(a->line, "the admin token is not the one of %s: give it in LECTERN_ADMIN_TOKEN, or --data DIR",
                  a->credentials.control);
    else if (message)
        cmd_error(a->line, "%s (%d%s%s)", message, c->status, id ? ", request " : "", id ? id : "");
    else
        cmd_error(a->line, "%s answered %d: is that the control API?", a->credentials.control, c->status);
    return CMD_FAILED;
}

int remote_call(struct remote *a, const char *method, const char *path, json_t *body, json_t **ret_reply)
{
    char url[8192], bearer[SECRETS_TEXT_MAX + 32];
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    *ret_reply = NULL;
    if (snprintf(url, sizeof(url), "%s%s", a->credentials.control, path) >= (int)sizeof(url)) {
        free(text);
        cmd_error(a->line, "an argument is too long");
        return CMD_USAGE;
    }
    snprintf(bearer, sizeof(bearer), "Authorization: Bearer %s", a->credentials.admin_token);
    struct http_call c = {.method = method, .url = url, .body = str_c(text)};
    c.headers[c.header_count++] = bearer;
    c.headers[c.header_count++] = "Accept: application/json";
    if (text)
        c.headers[c.header_count++] = "Content-Type: application/json";
    http_client_do(a->http, &c);
    explicit_bzero(bearer, sizeof(bearer));
    json_t *reply = c.reply.len ? json_loadb(c.reply.p, c.reply.len, 0, NULL) : NULL;
    int rc = CMD_OK;
    if (c.err || c.status / 100 != 2)
        rc = refused(a, &c, reply);
    if (rc == CMD_OK)
        *ret_reply = reply;
    else
        json_decref(reply);
    http_call_fini(&c);
    free(text);
    return rc;
}

/* The member of a page that is the list. */
static json_t *list_of(json_t *page)
{
    const char *name;
    json_t *member;
    json_object_foreach(page, name, member) if (json_is_array(member)) return member;
    return NULL;
}

int remote_list(struct remote *a, const char *path, json_t **ret_reply)
{
    json_t *all = NULL;
    char *next = strdup("");
    int rc = CMD_OK;
    while (next && rc == CMD_OK) {
        struct arena arena;
        arena_init(&arena, PATH_ARENA_MAX);
        struct str after = uri_encode(&arena, str_c(next), false);
        const char *page_path = after.len ? arena_printf(&arena, "%s?limit=1000&after=" STR_FMT, path, STR_ARG(after))
                                          : arena_printf(&arena, "%s?limit=1000", path);
        json_t *page = NULL;
        rc = remote_call(a, "GET", page_path ? page_path : path, NULL, &page);
        free(next);
        const char *more = json_string_value(json_object_get(page, "next"));
        next = more ? strdup(more) : NULL;
        if (rc == CMD_OK && !all)
            all = json_incref(page);
        else if (rc == CMD_OK && list_of(all) && list_of(page))
            json_array_extend(list_of(all), list_of(page));
        json_decref(page);
        arena_fini(&arena);
    }
    free(next);
    json_object_del(all, "next");
    if (rc == CMD_OK)
        *ret_reply = all;
    else
        json_decref(all);
    return rc;
}
