/* The listener's front door. The Host header is looked at first: a bucket in it makes everything behind it a key, also
 * "/t/..." and "/healthz". Otherwise the health checks and the signed media path have their own prefixes (which are no
 * valid bucket names), a browser's preflight is answered for everybody, and the rest is S3. */
#include "gateway-s3/gateway_priv.h"
#include "gateway-s3/media.h"
#include "gateway-s3/s3_request.h"
#include "gateway-s3/watch.h"
#include <stdlib.h>

static void free_strings(struct gateway *g)
{
    free((char *)(uintptr_t)g->conf.domain);
    free((char *)(uintptr_t)g->conf.region);
}

int gateway_open(struct loop *loop, struct work *work, struct client *client, struct control *control,
                 const struct gateway_conf *conf, struct gateway **ret_gateway)
{
    struct gateway *g = calloc(1, sizeof *g);
    if (!g)
        return -ENOMEM;
    g->loop = loop;
    g->work = work;
    g->client = client;
    g->control = control;
    g->conf = *conf;
    g->conf.domain = strdup(conf->domain ? conf->domain : "");
    g->conf.region = strdup(conf->region ? conf->region : "us-east-1");
    if (!g->conf.domain || !g->conf.region || watch_open(conf->assets_dir, &g->watch)) {
        free_strings(g);
        free(g);
        return -ENOMEM;
    }
    g->conf.assets_dir = NULL; /* read once, by watch_open */
    *ret_gateway = g;
    return 0;
}

void gateway_close(struct gateway *g)
{
    assert(g->live == 0);
    watch_close(g->watch);
    free_strings(g);
    free(g);
}

static void on_drained(struct loop_post *p)
{
    struct gateway *g = container_of(p, struct gateway, drained_post);
    g->drained(g->drained_ctx);
}

static void drained_maybe(struct gateway *g)
{
    if (g->live || !g->drained)
        return;
    g->drained_post.cb = on_drained;
    loop_post(g->loop, &g->drained_post);
}

void gateway_drain(struct gateway *g, void (*cb)(void *ctx), void *ctx)
{
    g->drained = cb;
    g->drained_ctx = ctx;
    drained_maybe(g);
}

void gateway_enter(struct gateway *g)
{
    g->live++;
}

void gateway_leave(struct gateway *g)
{
    assert(g->live > 0);
    g->live--;
    drained_maybe(g);
}

/* ---- health ---- */

struct ready {
    struct http_req *r;
    struct rpc rpc;
    Pb__BucketListReq req;
    struct arena arena;
};

static void reply_text(struct http_req *r, int status, struct str text)
{
    struct http_headers h = {0};
    http_headers_add(r, &h, "Content-Type", STR("text/plain; charset=utf-8"));
    http_headers_add(r, &h, "Cache-Control", STR("no-store"));
    http_reply(r, status, &h, text);
}

static void on_ready(struct rpc *rpc)
{
    struct ready *q = rpc->user;
    bool ok = rpc->status >= 0;
    reply_text(q->r, ok ? 200 : 503, ok ? STR("ready\n") : STR("the metadata service does not answer\n"));
    arena_fini(&q->arena);
    free(q);
}

/* Ready: the metadata service answers a read. */
static void readyz(struct gateway *g, struct http_req *r)
{
    struct ready *q = calloc(1, sizeof *q);
    if (!q) {
        reply_text(r, 503, STR("out of memory\n"));
        return;
    }
    q->r = r;
    arena_init(&q->arena, MIB);
    pb__bucket_list_req__init(&q->req);
    q->req.limit = 1;
    q->rpc = (struct rpc){.type = RPC_BUCKET_LIST, .req = &q->req, .arena = &q->arena, .cb = on_ready, .user = q};
    client_call(g->client, &q->rpc);
}

/* ---- preflight ---- */

static bool header_list_ok(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && !memchr("-_.,* ", c, 6))
            return false;
    }
    return true;
}

/* Requests are signed and carry no cookies, so every origin may ask; the header names are echoed because "*" does not
 * cover Authorization (Fetch, 4.10). */
static void preflight(struct http_req *r)
{
    struct http_headers h = {0};
    struct str asked = http_header(r, "Access-Control-Request-Headers");
    s3_reply_cors(r, &h);
    http_headers_add(r, &h, "Access-Control-Allow-Methods", STR("GET, HEAD, PUT, POST, DELETE"));
    if (asked.len && header_list_ok(asked))
        http_headers_add(r, &h, "Access-Control-Allow-Headers", asked);
    http_headers_add(r, &h, "Access-Control-Max-Age", STR("3600"));
    http_headers_add(r, &h, "Vary", STR("Origin, Access-Control-Request-Headers, Access-Control-Request-Method"));
    http_reply(r, 200, &h, STR_NONE);
}

/* ---- the handler ---- */

static void on_head(void *ctx, struct http_req *r)
{
    struct gateway *g = ctx;
    bool read = r->method == HTTP_M_GET || r->method == HTTP_M_HEAD;
    if (!s3_route_host(r->host, str_c(g->conf.domain)).p) {
        if (read && str_eq(r->path, STR("/healthz"))) {
            reply_text(r, 200, STR("ok\n"));
            return;
        }
        if (read && str_eq(r->path, STR("/readyz"))) {
            readyz(g, r);
            return;
        }
        if (media_path(r->path)) {
            media_start(g, r);
            return;
        }
        if (watch_wants(r)) {
            watch_start(g->watch, r);
            return;
        }
    }
    if (r->method == HTTP_M_OPTIONS)
        preflight(r);
    else
        s3_request_start(g, r);
}

static void on_refusal(void *ctx, struct http_req *r, int status, const char *reason)
{
    struct gateway *g = ctx;
    if (!s3_route_host(r->host, str_c(g->conf.domain)).p && media_path(r->path))
        media_refuse(g, r, status, reason);
    else
        s3_request_refuse(g, r, status, reason);
}

struct http_handler gateway_handler(struct gateway *g)
{
    return (struct http_handler){.on_head = on_head, .on_refusal = on_refusal, .ctx = g};
}
