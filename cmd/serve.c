/* serve - composes one process: loop, work threads, disk, node, client, control, gateway and two HTTP listeners, and
 * takes it apart again in the opposite order.
 *
 * Start is a chain of callbacks (listeners -> node -> client -> control -> gateway); any failure and any signal end in
 * serve_stop(), which closes whatever is there: listeners first, so that transfers end by their deadline, the node
 * last. */
#include "cmd/serve.h"
#include "common/err.h"
#include "common/log.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define CONTROL_BODY_MAX (1 * MIB)
#define FD_RESERVE       1024 /* descriptors that are not connections: segments, RocksDB, rings */

static void serve_stop(struct serve *s, int exit_code);

__attribute__((format(printf, 2, 3))) static void fail(struct serve *s, const char *fmt, ...)
{
    va_list ap;
    char sentence[1024];
    va_start(ap, fmt);
    vsnprintf(sentence, sizeof(sentence), fmt, ap);
    va_end(ap);
    cmd_error(s->line, "%s", sentence);
    serve_stop(s, CMD_FAILED);
}

/* ---- listeners ---- */

static void starting(struct http_req *r)
{
    struct http_headers h = {0};
    http_headers_add(r, &h, "Retry-After", STR("1"));
    http_headers_add(r, &h, "Content-Type", STR("text/plain"));
    http_reply(r, 503, &h, STR("starting\n"));
}

static void on_head(void *ctx, struct http_req *r)
{
    struct serve_listener *l = ctx;
    if (l->open)
        l->handler.on_head(l->handler.ctx, r);
    else
        starting(r);
}

static void on_refusal(void *ctx, struct http_req *r, int status, const char *reason)
{
    struct serve_listener *l = ctx;
    if (l->open && l->handler.on_refusal) {
        l->handler.on_refusal(l->handler.ctx, r, status, reason);
        return;
    }
    struct http_headers h = {0};
    http_headers_add(r, &h, "Content-Type", STR("text/plain"));
    http_reply(r, status, &h, str_c(reason));
}

static int listener_open(struct serve *s, enum serve_server which, char *why, size_t why_cap)
{
    const struct conf *c = &s->line->conf;
    struct serve_listener *l = &s->listeners[which];
    struct http_limits limits = http_limits_default;
    limits.head_bytes = (uint32_t)conf_num(c, CONF_HTTP_HEAD_BYTES);
    limits.head_ms = conf_num(c, CONF_HTTP_HEAD_TIME);
    limits.body_idle_ms = conf_num(c, CONF_HTTP_BODY_IDLE);
    limits.send_idle_ms = conf_num(c, CONF_HTTP_SEND_IDLE);
    limits.keepalive_ms = conf_num(c, CONF_HTTP_KEEPALIVE);
    limits.conn_count = (uint32_t)conf_num(c, CONF_HTTP_CONNS);
    if (which == SERVE_CONTROL)
        limits.body_bytes = CONTROL_BODY_MAX;
    struct http_handler handler = {on_head, on_refusal, l};
    l->serve = s;
    enum conf_key key = which == SERVE_S3 ? CONF_S3_LISTEN : CONF_CONTROL_LISTEN;
    return http_server_open(s->loop, conf_str(c, key), &limits, &handler, &l->server, why, why_cap);
}

/* ---- stop ---- */

static void node_closed(void *ctx)
{
    struct serve *s = ctx;
    s->node = NULL;
    loop_stop(s->loop);
}

static void close_node(struct serve *s)
{
    if (s->node)
        node_close(s->node, node_closed, s);
    else
        loop_stop(s->loop);
}

static void client_drained(void *ctx)
{
    struct serve *s = ctx;
    client_close(s->client);
    s->client = NULL;
    close_node(s);
}

static void close_store(struct serve *s)
{
    if (s->client)
        client_drain(s->client, client_drained, s);
    else
        close_node(s);
}

static void control_drained(void *ctx)
{
    struct serve *s = ctx;
    control_close(s->control);
    s->control = NULL;
    close_store(s);
}

static void close_control(struct serve *s)
{
    if (s->control)
        control_drain(s->control, control_drained, s);
    else
        close_store(s);
}

static void gateway_drained(void *ctx)
{
    struct serve *s = ctx;
    gateway_close(s->gateway);
    s->gateway = NULL;
    close_control(s);
}

static void close_floors(struct serve *s)
{
    serve_status_stop(s);
    if (s->gateway)
        gateway_drain(s->gateway, gateway_drained, s);
    else
        close_control(s);
}

static void socket_closed(void *ctx)
{
    struct serve *s = ctx;
    s->socket = NULL;
    close_floors(s);
}

static void close_socket(struct serve *s)
{
    if (s->socket)
        node_socket_close(s->socket, socket_closed, s);
    else
        close_floors(s);
}

static void listener_closed(void *ctx)
{
    struct serve_listener *l = ctx;
    struct serve *s = l->serve;
    l->server = NULL;
    if (!s->listeners[SERVE_S3].server && !s->listeners[SERVE_CONTROL].server)
        close_socket(s);
}

static void serve_stop(struct serve *s, int exit_code)
{
    if (s->stopping)
        return;
    s->stopping = true;
    s->exit_code = exit_code;
    bool waits = false;
    struct http_server *servers[SERVE_SERVERS] = {s->listeners[SERVE_S3].server, s->listeners[SERVE_CONTROL].server};
    for (int i = 0; i < SERVE_SERVERS; i++) {
        if (!servers[i])
            continue;
        waits = true;
        http_server_close(servers[i], s->ready ? conf_num(&s->line->conf, CONF_STOP_DEADLINE) : 0, listener_closed,
                          &s->listeners[i]);
    }
    if (!waits)
        close_socket(s);
}

static void on_signal(void *ctx, int signo)
{
    struct serve *s = ctx;
    if (s->stopping) {
        log_event(LOG_WARN, "stop.now", "signal=%d", signo);
        _exit(CMD_STOPPED);
    }
    log_event(LOG_INFO, "stop", "signal=%d transfers under way have %llu ms; a second signal ends at once", signo,
              (unsigned long long)conf_num(&s->line->conf, CONF_STOP_DEADLINE));
    serve_stop(s, CMD_OK);
}

/* ---- start ---- */

/* A convenience: without it the server is whole for everybody else. */
static void open_socket(struct serve *s)
{
    char path[4096], why[4352];
    snprintf(path, sizeof(path), "%s/%s", s->dirs[0], NODE_SOCKET_NAME);
    if (node_socket_open(s->loop, node_peer(s->node), path, &s->socket, why, sizeof(why)) != 0)
        log_event(LOG_WARN, "socket.none", "why=%s", log_quote(str_c(why)));
}

static void control_ready(void *ctx, int err)
{
    struct serve *s = ctx;
    if (s->stopping)
        return;
    if (err) {
        fail(s, "the control plane cannot start: %s", err_text(err));
        return;
    }
    const struct conf *c = &s->line->conf;
    char assets[4096];
    snprintf(assets, sizeof(assets), "%s/assets", s->dirs[0]);
    struct gateway_conf conf = {
        .domain = conf_str(c, CONF_S3_DOMAIN),
        .region = conf_str(c, CONF_S3_REGION),
        .assets_dir = *conf_str(c, CONF_ASSETS_DIR) ? conf_str(c, CONF_ASSETS_DIR) : assets,
    };
    err = gateway_open(s->loop, s->work, s->client, s->control, &conf, &s->gateway);
    if (err) {
        fail(s, "the gateway cannot start: %s", err_text(err));
        return;
    }
    s->listeners[SERVE_S3].handler = gateway_handler(s->gateway);
    s->listeners[SERVE_CONTROL].handler = control_handler(s->control);
    s->listeners[SERVE_S3].open = s->listeners[SERVE_CONTROL].open = true;
    open_socket(s);
    s->ready = true;
    log_event(LOG_INFO, "serve.ready", "drives=%u disk=%s took_ms=%llu", s->dir_count, s->disk->name,
              (unsigned long long)((loop_now_ns(s->loop) - s->started_ns) / MS_NS));
    serve_announce(s);
}

static void client_ready(void *ctx, int err)
{
    struct serve *s = ctx;
    if (s->stopping)
        return;
    if (err) {
        fail(s, "the map cannot be read: %s", err_text(err));
        return;
    }
    const struct conf *c = &s->line->conf;
    struct control_conf conf = {
        .root_access_key = s->secrets.access_key,
        .root_secret_key = s->secrets.secret_key,
        .admin_token = s->secrets.admin_token,
        .master_key = s->secrets.master_key,
        .external_url = s->external_url,
        .playback_ttl_ms = conf_num(c, CONF_PLAYBACK_TTL),
        .grant_cache_ms = conf_num(c, CONF_GRANT_CACHE),
        .status = serve_status_json,
        .halted = serve_status_halted,
        .status_ctx = s,
    };
    serve_status_start(s);
    err = control_open(s->loop, s->client, &conf, &s->control, control_ready, s);
    if (err)
        fail(s, "the control plane cannot start: %s", err_text(err));
}

/* "4+2" -> 4, 2; both 0 when nothing is given: by the number of drives. */
static int parse_code(const char *text, unsigned drives, unsigned *ret_k, unsigned *ret_m)
{
    uint64_t k = 0, m = 0;
    struct str rest = str_c(text), part;
    *ret_k = *ret_m = 0;
    if (!*text)
        return 0;
    if (!str_split(&rest, '+', &part) || str_u64(str_trim(part), &k) != 0 || str_u64(str_trim(rest), &m) != 0)
        return -EINVAL;
    if (k == 0 || k > NODE_DRIVES_MAX || m > NODE_DRIVES_MAX || k + m > drives)
        return -ERANGE;
    *ret_k = (unsigned)k;
    *ret_m = (unsigned)m;
    return 0;
}

static int open_node(struct serve *s, char *why, size_t why_cap)
{
    const struct conf *c = &s->line->conf;
    struct node_conf conf = {
        .dirs = s->dirs,
        .dir_count = s->dir_count,
        .segment_bytes = conf_num(c, CONF_SEGMENT_BYTES),
        .compact_percent = (unsigned)conf_num(c, CONF_COMPACT_PERCENT),
        .kv_cache_bytes = conf_num(c, CONF_KV_CACHE),
        .gc_delay_ms = conf_num(c, CONF_GC_DELAY),
        .upload_expire_ms = conf_num(c, CONF_UPLOAD_EXPIRE),
        .accept_missing = cmd_has(s->line, OPT_ACCEPT_MISSING),
    };
    int err = parse_code(conf_str(c, CONF_CODE), s->dir_count, &conf.k, &conf.m);
    if (err) {
        snprintf(
            why, why_cap,
            "code is \"%s\" but must be k+m, such as 4+2, with at most %u drives in all: that is how many you gave",
            conf_str(c, CONF_CODE), s->dir_count);
        return err;
    }
    return node_open(s->loop, s->work, s->disk, &conf, &s->node, why, why_cap);
}

static int open_machine(struct serve *s, char *why, size_t why_cap)
{
    const struct conf *c = &s->line->conf;
    const char *engine = conf_str(c, CONF_DISK_ENGINE);
    uint64_t threads = conf_num(c, CONF_WORK_THREADS);
    bool automatic = strcmp(engine, "auto") == 0;
    if (!automatic && strcmp(engine, "io_uring") != 0 && strcmp(engine, "threads") != 0) {
        snprintf(why, why_cap, "disk.engine is \"%s\" but must be auto, io_uring or threads", engine);
        return -EINVAL;
    }
    if (threads < 1 || threads > 256) {
        snprintf(why, why_cap, "work.threads is %llu but must be 1 to 256", (unsigned long long)threads);
        return -EINVAL;
    }
    int err = work_create(s->loop, (unsigned)threads, &s->work);
    if (err) {
        snprintf(why, why_cap, "threads cannot be started: %s", err_text(err));
        return err;
    }
    err = disk_create(s->loop, automatic ? NULL : engine, &s->disk, s->disk_why, sizeof(s->disk_why));
    if (err)
        snprintf(why, why_cap, "the disk engine %s cannot be started: %s", engine,
                 *s->disk_why ? s->disk_why : err_text(err));
    else if (*s->disk_why)
        log_event(LOG_WARN, "disk.fallback", "engine=%s why=%s", s->disk->name, log_quote(str_c(s->disk_why)));
    return err;
}

static void set_external_url(struct serve *s)
{
    const char *url = conf_str(&s->line->conf, CONF_EXTERNAL_URL);
    if (*url)
        snprintf(s->external_url, sizeof(s->external_url), "%s", url);
    else
        serve_address(s, SERVE_S3, s->external_url, sizeof(s->external_url));
    for (size_t n = strlen(s->external_url); n && s->external_url[n - 1] == '/'; n--)
        s->external_url[n - 1] = 0;
}

/* Everything up to the first callback. why is set on failure. */
static int serve_start(struct serve *s, char *why, size_t why_cap)
{
    const struct conf *c = &s->line->conf;
    int err = loop_on_signal(s->loop, SIGINT, on_signal, s);
    if (err == 0)
        err = loop_on_signal(s->loop, SIGTERM, on_signal, s);
    if (err) {
        snprintf(why, why_cap, "signals cannot be watched: %s", err_text(err));
        return err;
    }
    for (int i = 0; i < SERVE_SERVERS && err == 0; i++)
        err = listener_open(s, (enum serve_server)i, why, why_cap);
    if (err)
        return err;
    set_external_url(s);
    err = open_machine(s, why, why_cap);
    if (err == 0)
        err = open_node(s, why, why_cap);
    if (err == 0)
        err = secrets_open(s->dirs, s->dir_count, c, &s->secrets, why, why_cap);
    if (err)
        return err;
    struct client_conf conf = {conf_num(c, CONF_WRITE_POOL), conf_num(c, CONF_READ_POOL)};
    err = client_open(s->loop, s->work, node_peer(s->node), &conf, &s->client, client_ready, s);
    if (err)
        snprintf(why, why_cap, "the store's client cannot start: %s", err_text(err));
    return err;
}

/* ---- the command ---- */

static int set_log_level(struct serve *s)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    const char *level = conf_str(&s->line->conf, CONF_LOG_LEVEL);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(level, names[i]) == 0) {
            log_set_level((enum log_level)i);
            return CMD_OK;
        }
    cmd_error(s->line, "log.level is \"%s\" but must be debug, info, warn or error", level);
    return CMD_USAGE;
}

static void raise_descriptors(const struct serve *s)
{
    struct rlimit lim;
    rlim_t wanted = conf_num(&s->line->conf, CONF_HTTP_CONNS) + FD_RESERVE;
    if (getrlimit(RLIMIT_NOFILE, &lim) != 0)
        return;
    lim.rlim_cur = lim.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur < wanted)
        log_event(LOG_WARN, "serve.descriptors",
                  "limit=%llu wanted=%llu raise it (ulimit -Hn) or lower http.connections",
                  (unsigned long long)lim.rlim_cur, (unsigned long long)wanted);
}

static void serve_fini(struct serve *s)
{
    serve_status_fini(s);
    if (s->work)
        work_destroy(s->work);
    if (s->disk)
        s->disk->ops->destroy(s->disk);
    loop_destroy(s->loop);
    secrets_wipe(&s->secrets);
}

int cmd_serve(struct cmdline *l)
{
    struct serve s = {.line = l, .dirs = (const char *const *)l->args, .dir_count = (unsigned)l->arg_count};
    char why[1024] = "";
    static_assert(NODE_DRIVES_MAX == 64, "cmd_table.def says how many DIRs there may be");
    int rc = set_log_level(&s);
    if (rc != CMD_OK)
        return rc;
    raise_descriptors(&s);
    int err = loop_create(clock_real(), &s.loop);
    if (err) {
        cmd_error(l, "the event loop cannot be made: %s", err_text(err));
        return CMD_FAILED;
    }
    s.started_ns = loop_now_ns(s.loop);
    err = serve_start(&s, why, sizeof(why));
    if (err)
        fail(&s, "%s", *why ? why : err_text(err));
    loop_run(s.loop);
    serve_fini(&s);
    if (s.exit_code == CMD_OK)
        log_event(LOG_INFO, "stopped", "cleanly");
    return s.exit_code;
}
