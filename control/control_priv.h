/* control_priv - what the files of the control plane share. Only control/ includes it.
 *
 * Thread: the loop. Memory: control.c owns it. */
#pragma once
#include "control/control.h"
#include "control/grants.h"
#include "control/keys.h"
#include "control/rows.h"
#include "control/signing.h"
#include "control/verified.h"
#include "common/crypt.h"
#include "common/err.h"
#include "common/seal.h"

struct control {
    struct loop *loop;
    struct client *client;
    struct control_conf conf; /* strings are owned copies */
    uint8_t master_key[SEAL_KEY_LEN];
    uint8_t admin_digest[DIGEST_MAX]; /* SHA-256 of the admin token */
    struct access_key root;
    struct keys keys;
    struct signing signing;
    struct grants grants;
    struct verified verified;
    bool ready;

    uint32_t process_id; /* random: request ids of two runs differ */
    struct sbuf openapi;
    size_t calls_open; /* calls and checks under way */
    struct loop_post drained;
    void (*drain_cb)(void *ctx);
    void *drain_ctx;

    /* Loading at open. */
    struct arena load_arena;
    struct rows load;
    void (*ready_cb)(void *ctx, int err);
    void *ready_ctx;
    unsigned load_tries;
};
void control_begin(struct control *c); /* something is under way */
void control_end(struct control *c);
/* A row of an access key into memory; it is opened with the master key. */
int control_key_apply(struct control *c, struct arena *a, const Pb__Row *row);
struct str signing_row_key(struct arena *a, uint32_t kid);
/* check.c: everything but the grant. */
enum deny check_token(struct control *c, struct control_check *q);
