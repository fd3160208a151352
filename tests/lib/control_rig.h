/* control_rig - a control plane over rows_mem, with its API behind a real listener, for tests. The clock is set by
 * hand.
 *
 * Thread: one; every wait turns the loop. */
#pragma once
#include "common/http.h"
#include "control/control.h"
#include "tests/lib/http_peer.h"
#include "tests/lib/peer_mem.h"
#include "tests/lib/rows_mem.h"
#include <jansson.h>

#define RIG_ADMIN    "admin-token-of-the-test"
#define RIG_EXTERNAL "https://media.example"
#define RIG_WALL_MS  UINT64_C(1700000000000) /* 2023-11-14T22:13:20Z */

struct control_rig {
    struct clock_manual clock;
    struct loop *loop;
    struct work *work;
    struct peer_mem *below;
    struct rows_mem *rows;
    struct client *client;
    struct control *control;
    struct http_server *server;
    uint8_t master_key[32];
    uint64_t grant_cache_ms;
    const char *halted; /* what /readyz is told; NULL: all is well */
    int ready;          /* 1: not yet */
    bool drained, closed;
};
/* Ready. grant_cache_ms as in control_conf. */
void control_rig_open(struct control_rig *r, uint64_t grant_cache_ms);
void control_rig_close(struct control_rig *r);
/* Closes control and opens it again on the same rows; returns what ready_cb said. */
int control_rig_restart(struct control_rig *r);
/* One call of the API. Answers the status; *ret_json (may be NULL) is the body, owned by the caller, NULL when it is
 * none. */
int control_rig_call(struct control_rig *r, const char *method, const char *path, const char *body, json_t **ret_json);
/* The same without a token, or with another one; the whole answer as text, owned by the caller. */
char *control_rig_raw(struct control_rig *r, const char *request);
/* The usual course: user ada, course c1, lesson l1 (bucket media, prefix c/12/, entry index.m3u8), a grant. */
void control_rig_course(struct control_rig *r);
/* A playback URL for it, owned by the caller; audience NULL: play. */
char *control_rig_playback(struct control_rig *r, const char *audience);
