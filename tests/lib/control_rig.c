/* control_rig - see control_rig.h. */
#include "tests/lib/control_rig.h"
#include <stdio.h>
#include <stdlib.h>

static void on_ready(void *ctx, int err)
{
    ((struct control_rig *)ctx)->ready = err;
}

static void on_flag(void *ctx)
{
    *(bool *)ctx = true;
}

static const char *halted(void *ctx)
{
    return ((const struct control_rig *)ctx)->halted;
}

static void status(void *ctx, struct sbuf *json)
{
    (void)ctx;
    sbuf_puts(json, "{\"version\":\"test\"}");
}

static void until(struct control_rig *r, const bool *flag)
{
    if (!TURN_UNTIL(r->loop, *flag))
        abort();
}

static int open_control(struct control_rig *r)
{
    struct control_conf conf = {
        .root_access_key = "ROOTKEY",
        .root_secret_key = "rootsecretrootsecret",
        .admin_token = RIG_ADMIN,
        .master_key = r->master_key,
        .external_url = RIG_EXTERNAL,
        .playback_ttl_ms = 12 * 3600 * UINT64_C(1000),
        .grant_cache_ms = r->grant_cache_ms,
        .status = status,
        .halted = halted,
        .status_ctx = r,
    };
    r->ready = 1;
    if (control_open(r->loop, r->client, &conf, &r->control, on_ready, r))
        abort();
    if (!TURN_UNTIL(r->loop, r->ready != 1))
        abort();
    return r->ready;
}

static void listen_on(struct control_rig *r)
{
    struct http_handler handler = control_handler(r->control);
    char why[200];
    if (http_server_open(r->loop, "127.0.0.1:0", NULL, &handler, &r->server, why, sizeof(why)))
        abort();
}

void control_rig_open(struct control_rig *r, uint64_t grant_cache_ms)
{
    struct client_conf conf = {.write_pool_bytes = 16 * MIB, .read_pool_bytes = 16 * MIB};
    *r = (struct control_rig){.grant_cache_ms = grant_cache_ms};
    memset(r->master_key, 7, sizeof(r->master_key));
    clock_manual_init(&r->clock, RIG_WALL_MS);
    if (loop_create(&r->clock.clock, &r->loop) || work_create(r->loop, 1, &r->work))
        abort();
    r->below = peer_mem_create(r->loop, 1, 0, 1);
    r->rows = rows_mem_create(r->loop, &r->below->peer);
    r->ready = 1;
    if (client_open(r->loop, r->work, &r->rows->peer, &conf, &r->client, on_ready, r))
        abort();
    if (!TURN_UNTIL(r->loop, r->ready != 1) || r->ready || open_control(r))
        abort();
    listen_on(r);
}

static void close_control(struct control_rig *r)
{
    r->closed = r->drained = false;
    if (r->server) {
        http_server_close(r->server, 0, on_flag, &r->closed);
        until(r, &r->closed);
    }
    r->server = NULL;
    control_drain(r->control, on_flag, &r->drained);
    until(r, &r->drained);
    control_close(r->control);
    turns(r->loop, 1); /* access keys that were replaced go when the loop turns */
}

int control_rig_restart(struct control_rig *r)
{
    close_control(r);
    int err = open_control(r);
    if (!err)
        listen_on(r);
    return err;
}

void control_rig_close(struct control_rig *r)
{
    close_control(r);
    client_close(r->client);
    turns(r->loop, 1);
    rows_mem_destroy(r->rows);
    peer_mem_destroy(r->below);
    work_destroy(r->work);
    loop_destroy(r->loop);
}

char *control_rig_raw(struct control_rig *r, const char *request)
{
    struct peer p;
    peer_open(&p, r->loop, http_server_port(r->server));
    peer_puts(&p, request);
    if (!peer_until_end(&p))
        abort();
    sbuf_add(&p.got, "", 1);
    char *text = strdup(p.got.p);
    peer_close(&p);
    return text;
}

int control_rig_call(struct control_rig *r, const char *method, const char *path, const char *body, json_t **ret_json)
{
    struct sbuf request = {0};
    int code = 0;
    sbuf_printf(&request,
                "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer " RIG_ADMIN "\r\n",
                method, path);
    if (body)
        sbuf_printf(&request, "Content-Length: %zu\r\n", strlen(body));
    sbuf_printf(&request, "\r\n%s", body ? body : "");
    sbuf_add(&request, "", 1);
    char *text = control_rig_raw(r, request.p);
    sbuf_fini(&request);
    if (sscanf(text, "HTTP/1.1 %d", &code) != 1)
        abort();
    const char *at = strstr(text, "\r\n\r\n");
    if (ret_json)
        *ret_json = at && at[4] ? json_loads(at + 4, 0, NULL) : NULL;
    free(text);
    return code;
}

static void must(int code)
{
    if (code != 200 && code != 201)
        abort();
}

void control_rig_course(struct control_rig *r)
{
    must(control_rig_call(r, "PUT", "/v1/users/ada", "{\"name\":\"Ada\"}", NULL));
    must(control_rig_call(r, "PUT", "/v1/courses/c1", "{\"title\":\"Organ building\"}", NULL));
    must(control_rig_call(r, "PUT", "/v1/courses/c1/lessons/l1",
                          "{\"title\":\"The pipe\",\"bucket\":\"media\",\"prefix\":\"c/12/\",\"entry\":\"index.m3u8\"}",
                          NULL));
    must(control_rig_call(r, "PUT", "/v1/users/ada/grants/c1", "", NULL));
}

char *control_rig_playback(struct control_rig *r, const char *audience)
{
    char body[200];
    json_t *j = NULL;
    snprintf(body, sizeof(body), "{\"user\":\"ada\",\"course\":\"c1\",\"lesson\":\"l1\"%s%s%s}",
             audience ? ",\"audience\":\"" : "", audience ? audience : "", audience ? "\"" : "");
    must(control_rig_call(r, "POST", "/v1/playback", body, &j));
    char *url = strdup(json_string_value(json_object_get(j, "url")));
    json_decref(j);
    return url;
}
