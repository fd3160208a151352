/* serve - what `lectern serve` composes, shared by the files that run it: serve.c (start, stop), serve_status.c (state
 * as JSON, gauges), serve_print.c (what the user reads).
 *
 * Thread: the loop. Memory: one struct serve on the stack of cmd_serve. */
#pragma once
#include "cmd/cmd.h"
#include "cmd/secrets.h"
#include "common/disk.h"
#include "gateway-s3/gateway.h"
#include "node/node.h"
#include "node/serve_socket.h"

enum serve_server { SERVE_S3, SERVE_CONTROL, SERVE_SERVERS };

/* A listener that is open before what it serves is: until then it answers 503, so that a taken port is found before a
 * drive is touched. */
struct serve_listener {
    struct http_server *server;
    struct http_handler handler; /* valid when open */
    bool open;
    bool closed;
    struct serve *serve;
};

/* The node's state, asked for every second or two and kept as the last answer. */
struct serve_status {
    struct loop_timer timer;
    struct rpc rpc;
    struct arena arena;
    Pb__StatusReq req;
    bool asking;
    char *json;                                      /* owned; NULL before the first answer */
    char halted[512];                                /* why metadata takes no writes; "": it does */
    unsigned k, m, drives, serving;                  /* as the installation is, with drives that are missing now */
    struct http_server_stats counted[SERVE_SERVERS]; /* what the metrics have already */
};

struct serve {
    struct cmdline *line;
    const char *const *dirs;
    unsigned dir_count;
    struct secrets secrets;
    char external_url[512];
    char disk_why[256];

    struct loop *loop;
    struct work *work;
    struct disk *disk;
    struct node *node;
    struct node_socket *socket; /* for programs on this machine (client/lectern.h); NULL: none */
    struct client *client;
    struct control *control;
    struct gateway *gateway;
    struct serve_listener listeners[SERVE_SERVERS];
    struct serve_status status;

    bool stopping;
    bool ready;
    bool announced;
    int exit_code;
    uint64_t started_ns;
};

void serve_status_start(struct serve *s);
void serve_status_stop(struct serve *s); /* the answer that is under way is waited for by whoever closes the node */
void serve_status_fini(struct serve *s);
void serve_status_json(void *serve, struct sbuf *json); /* control_conf.status */
const char *serve_status_halted(void *serve);           /* control_conf.halted */

/* "http://127.0.0.1:9000": an address that everybody listens on is shown as one that can be typed. */
void serve_address(const struct serve *s, enum serve_server which, char *ret, size_t cap);
/* Once, when the server is ready and its first status is here. */
void serve_announce(struct serve *s);
