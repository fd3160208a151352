/* gateway_rig - see gateway_rig.h. */
#include "tests/lib/gateway_rig.h"
#include "common/crypt.h"
#include "common/err.h"
#include "common/uri.h"
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define ACCESS "ROOTKEY"
#define SECRET "rootsecretrootsecret"

#define MUST(cond)                                                                                                     \
    do {                                                                                                               \
        if (!(cond)) {                                                                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                                                 \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* ---- the hook ---- */

struct gateway_rig_call {
    struct gateway_rig *rig;
    struct rpc *rpc;
    void (*cb)(struct rpc *r);
    void *user;
    int lie; /* 0: tell the truth */
    struct loop_post post;
    struct gateway_rig_call *next;
};

static void answer(struct gateway_rig_call *c)
{
    struct rpc *rpc = c->rpc;
    rpc->cb = c->cb;
    rpc->user = c->user;
    if (c->lie)
        rpc->status = c->lie;
    c->rig->out--;
    free(c);
    rpc->cb(rpc);
}

static void on_rpc(struct rpc *r)
{
    answer(r->user);
}

static void on_post(struct loop_post *p)
{
    answer(container_of(p, struct gateway_rig_call, post));
}

static void pass_on(struct gateway_rig_call *c)
{
    struct rpc_peer *node = node_peer(c->rig->node);
    c->rpc->cb = on_rpc;
    c->rpc->user = c;
    node->submit(node, c->rpc);
}

static void fail(struct gateway_rig_call *c, int status)
{
    c->lie = status;
    c->rpc->rep = NULL;
    c->post.cb = on_post;
    loop_post(c->rig->loop, &c->post);
}

static void submit(struct rpc_peer *p, struct rpc *rpc)
{
    struct gateway_rig *r = container_of(p, struct gateway_rig, peer);
    struct gateway_rig_call *c = calloc(1, sizeof *c);
    MUST(c);
    *c = (struct gateway_rig_call){.rig = r, .rpc = rpc, .cb = rpc->cb, .user = rpc->user};
    r->out++;
    r->seen[rpc->type]++;
    bool hit = r->hook.type == rpc->type && r->hook.skip == 0;
    if (r->hook.type == rpc->type && r->hook.skip > 0)
        r->hook.skip--;
    if (!hit) {
        pass_on(c);
        return;
    }
    if (r->hook.how == HOOK_HOLD) {
        c->next = r->held;
        r->held = c;
        r->held_count++;
        return;
    }
    if (r->hook.how == HOOK_FAIL) {
        fail(c, r->hook.status);
        return;
    }
    c->lie = r->hook.status;
    pass_on(c);
}

void gateway_rig_release(struct gateway_rig *r, int status)
{
    struct gateway_rig_call *held = r->held;
    r->hook = (struct gateway_rig_hook){0};
    r->held = NULL;
    r->held_count = 0;
    while (held) {
        struct gateway_rig_call *next = held->next;
        if (status == 0)
            pass_on(held);
        else
            fail(held, status);
        held = next;
    }
}

/* ---- open, close ---- */

static void on_ready(void *ctx, int err)
{
    ((struct gateway_rig *)ctx)->status = err;
}

static void on_flag(void *ctx)
{
    ((struct gateway_rig *)ctx)->flag = true;
}

static void wait_ready(struct gateway_rig *r)
{
    MUST(TURN_UNTIL(r->loop, r->status != 1));
    MUST(r->status == 0);
}

static void wait_flag(struct gateway_rig *r)
{
    MUST(TURN_UNTIL(r->loop, r->flag));
    r->flag = false;
}

static void open_node(struct gateway_rig *r)
{
    char why[256] = "";
    const char *dirs[] = {r->dir};
    struct node_conf conf = {.dirs = dirs,
                             .dir_count = 1,
                             .segment_bytes = 32 * MIB,
                             .compact_percent = 30,
                             .kv_cache_bytes = 8 * MIB,
                             .gc_delay_ms = 600000,
                             .upload_expire_ms = 600000000};
    snprintf(r->dir, sizeof r->dir, "test-gateway-XXXXXX");
    MUST(mkdtemp(r->dir));
    clock_manual_init(&r->clock, UINT64_C(1700000000000));
    MUST(loop_create(&r->clock.clock, &r->loop) == 0);
    MUST(work_create(r->loop, 2, &r->work) == 0);
    MUST(disk_create(r->loop, NULL, &r->disk, why, sizeof why) == 0);
    int err = node_open(r->loop, r->work, r->disk, &conf, &r->node, why, sizeof why);
    if (err)
        fprintf(stderr, "%s\n", why);
    MUST(err == 0);
}

void gateway_rig_open(struct gateway_rig *r)
{
    char why[256];
    *r = (struct gateway_rig){.peer = {submit}};
    open_node(r);
    struct client_conf pools = {.write_pool_bytes = 32 * MIB, .read_pool_bytes = 16 * MIB};
    r->status = 1;
    MUST(client_open(r->loop, r->work, &r->peer, &pools, &r->client, on_ready, r) == 0);
    wait_ready(r);
    struct control_conf control = {.root_access_key = ACCESS,
                                   .root_secret_key = SECRET,
                                   .admin_token = "admin",
                                   .master_key = r->master_key,
                                   .external_url = "http://127.0.0.1:1",
                                   .playback_ttl_ms = 1000,
                                   .grant_cache_ms = 1000};
    r->status = 1;
    MUST(control_open(r->loop, r->client, &control, &r->control, on_ready, r) == 0);
    wait_ready(r);
    struct gateway_conf conf = {.domain = "s3.test", .region = "us-east-1"};
    MUST(gateway_open(r->loop, r->work, r->client, r->control, &conf, &r->gateway) == 0);
    struct http_handler handler = gateway_handler(r->gateway);
    MUST(http_server_open(r->loop, "127.0.0.1:0", NULL, &handler, &r->server, why, sizeof why) == 0);
    memset(r->seen, 0, sizeof r->seen);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

void gateway_rig_close(struct gateway_rig *r)
{
    gateway_rig_release(r, 0);
    http_server_close(r->server, 0, on_flag, r);
    wait_flag(r);
    gateway_drain(r->gateway, on_flag, r);
    wait_flag(r);
    gateway_close(r->gateway);
    control_drain(r->control, on_flag, r);
    wait_flag(r);
    control_close(r->control);
    client_drain(r->client, on_flag, r);
    wait_flag(r);
    client_close(r->client);
    MUST(r->out == 0);
    node_close(r->node, on_flag, r);
    wait_flag(r);
    r->disk->ops->destroy(r->disk);
    work_destroy(r->work);
    loop_destroy(r->loop);
    MUST(nftw(r->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
}

void gateway_rig_advance(struct gateway_rig *r, uint64_t ms)
{
    r->clock.mono_now_ns += ms * MS_NS;
    r->clock.wall_now_ms += ms;
    turns(r->loop, 20);
}

/* ---- signing ---- */

struct line {
    char name[64], value[512];
};
struct head {
    struct line lines[24];
    unsigned count;
};

static void head_add(struct head *h, const char *name, const char *value)
{
    unsigned at = h->count++;
    MUST(h->count <= ARRAY_LEN(h->lines));
    for (; at > 0 && strcmp(h->lines[at - 1].name, name) > 0; at--)
        h->lines[at] = h->lines[at - 1];
    snprintf(h->lines[at].name, sizeof h->lines[at].name, "%s", name);
    snprintf(h->lines[at].value, sizeof h->lines[at].value, "%s", value);
}

static void head_add_lines(struct head *h, const char *lines)
{
    struct str rest = str_c(lines), line, name;
    while (str_split(&rest, '\n', &line)) {
        char n[64], v[512];
        struct str value = line;
        if (line.len == 0 || !str_split(&value, ':', &name))
            continue;
        value = str_trim(value);
        snprintf(n, sizeof n, STR_FMT, STR_ARG(name));
        snprintf(v, sizeof v, STR_FMT, STR_ARG(value));
        head_add(h, n, v);
    }
}

/* Query parameters must already stand in order and be encoded; a lone name gets its "=". */
static void canonical_query(struct sbuf *out, const char *query)
{
    struct str rest = *query ? str_c(query) : STR_NONE, part;
    for (bool first = true; str_split(&rest, '&', &part); first = false) {
        sbuf_puts(out, first ? "" : "&");
        sbuf_str(out, part);
        if (!memchr(part.p, '=', part.len))
            sbuf_puts(out, "=");
    }
}

static void hmac_next(uint8_t key[32], const char *text)
{
    uint8_t out[32];
    hmac_sha256(key, 32, text, strlen(text), out);
    memcpy(key, out, 32);
}

static void sign(const struct head *h, const char *method, const char *target, const char *date, char ret_auth[1024])
{
    struct sbuf canonical = {0}, names = {0};
    const char *query = strchr(target, '?');
    uint8_t key[32], hash[32];
    char hex[65], text[256];
    sbuf_printf(&canonical, "%s\n%.*s\n", method, query ? (int)(query - target) : (int)strlen(target), target);
    canonical_query(&canonical, query ? query + 1 : "");
    sbuf_puts(&canonical, "\n");
    for (unsigned i = 0; i < h->count; i++) {
        sbuf_printf(&canonical, "%s:%s\n", h->lines[i].name, h->lines[i].value);
        sbuf_printf(&names, "%s%s", i ? ";" : "", h->lines[i].name);
    }
    sbuf_printf(&canonical, "\n%.*s\nUNSIGNED-PAYLOAD", (int)names.len, names.p);
    MUST(canonical.err == 0 && names.err == 0);
    digest_once(DIGEST_SHA256, canonical.p, canonical.len, hash);
    hex_encode(hash, 32, hex);
    snprintf(text, sizeof text, "AWS4-HMAC-SHA256\n%s\n%.8s/us-east-1/s3/aws4_request\n%s", date, date, hex);
    char day[9];
    snprintf(day, sizeof day, "%.8s", date);
    hmac_sha256("AWS4" SECRET, strlen("AWS4" SECRET), day, 8, key);
    hmac_next(key, "us-east-1");
    hmac_next(key, "s3");
    hmac_next(key, "aws4_request");
    hmac_next(key, text);
    hex_encode(key, 32, hex);
    snprintf(ret_auth, 1024,
             "AWS4-HMAC-SHA256 Credential=" ACCESS "/%.8s/us-east-1/s3/aws4_request, SignedHeaders=%.*s, Signature=%s",
             date, (int)names.len, names.p, hex);
    sbuf_fini(&canonical);
    sbuf_fini(&names);
}

void gateway_rig_send(struct gateway_rig *r, struct peer *p, const char *method, const char *target,
                      const char *headers, const void *body, size_t length, size_t sent)
{
    struct head h = {0};
    struct sbuf text = {0};
    char date[32], host[32], auth[1024];
    time_t now = (time_t)(r->clock.wall_now_ms / 1000);
    struct tm tm;
    strftime(date, sizeof date, "%Y%m%dT%H%M%SZ", gmtime_r(&now, &tm));
    snprintf(host, sizeof host, "127.0.0.1:%u", http_server_port(r->server));
    head_add_lines(&h, headers);
    head_add(&h, "host", host);
    head_add(&h, "x-amz-date", date);
    head_add(&h, "x-amz-content-sha256", "UNSIGNED-PAYLOAD");
    sign(&h, method, target, date, auth);
    sbuf_printf(&text, "%s %s HTTP/1.1\r\nAuthorization: %s\r\n", method, target, auth);
    for (unsigned i = 0; i < h.count; i++)
        sbuf_printf(&text, "%s: %s\r\n", h.lines[i].name, h.lines[i].value);
    if (body || strcmp(method, "PUT") == 0 || strcmp(method, "POST") == 0)
        sbuf_printf(&text, "Content-Length: %zu\r\n", length);
    sbuf_puts(&text, "\r\n");
    MUST(text.err == 0);
    peer_send(p, text.p, text.len);
    if (body)
        peer_send(p, body, sent);
    sbuf_fini(&text);
}

static bool whole(const struct peer *p)
{
    const char *end = p->got.len ? memmem(p->got.p, p->got.len, "\r\n\r\n", 4) : NULL;
    if (!end)
        return false;
    size_t head = (size_t)(end - p->got.p) + 4;
    const char *length = memmem(p->got.p, head, "\r\nContent-Length: ", 18);
    if (length)
        return p->got.len - head >= strtoull(length + 18, NULL, 10);
    if (memmem(p->got.p, head, "Transfer-Encoding: chunked", 26))
        return p->got.len >= 5 && memcmp(p->got.p + p->got.len - 5, "0\r\n\r\n", 5) == 0;
    return true;
}

static bool ended_or_whole(struct peer *p)
{
    peer_recv(p);
    return whole(p) || peer_ended(p);
}

int gateway_rig_ask(struct gateway_rig *r, struct peer *p, const char *method, const char *target, const char *headers,
                    const void *body, size_t length)
{
    gateway_rig_send(r, p, method, target, headers, body, length, length);
    MUST(TURN_UNTIL(r->loop, ended_or_whole(p)));
    return p->got.len > 12 ? (int)strtol(p->got.p + 9, NULL, 10) : 0;
}

int gateway_rig_call(struct gateway_rig *r, const char *method, const char *target, const char *headers,
                     const void *body, size_t length, char ret_code[64])
{
    struct peer p;
    peer_open(&p, r->loop, http_server_port(r->server));
    int status = gateway_rig_ask(r, &p, method, target, headers, body, length);
    const char *code = p.got.len ? memmem(p.got.p, p.got.len, "<Code>", 6) : NULL;
    ret_code[0] = 0;
    if (code)
        sscanf(code + 6, "%63[A-Za-z0-9]", ret_code);
    peer_close(&p);
    return status;
}
