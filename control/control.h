/* control - the control plane in this process: creators and access keys, courses, lessons, users, grants, signing keys,
 * playback. Its tables are rows kept through client; small state (keys) is also held in memory.
 *
 * Thread: the loop. Errors: err.h; denials are enum deny below, each with a stable code for people and programs. */
#pragma once
#include "common/conf.h"
#include "common/http.h"
#include "common/token.h"
#include "client/client.h"

struct control;
struct control_conf {
    const char *root_access_key, *root_secret_key; /* a key with every right, never stored in rows */
    const char *admin_token;
    const uint8_t
        *master_key; /* SEAL_KEY_LEN bytes: secrets in rows are sealed with it (common/seal.h); borrowed for life */
    const char *external_url; /* "http://127.0.0.1:9000", no slash at the end */
    uint64_t playback_ttl_ms, grant_cache_ms;
    /* GET /v1/status and friends: cmd passes what it composed. */
    void (*status)(void *ctx, struct sbuf *json);
    /* Why the server takes no writes, as a sentence; NULL: it takes them. For /readyz; may be NULL. */
    const char *(*halted)(void *ctx);
    void *status_ctx; /* of both */
};
/* Loads keys from rows, makes the first signing key. ready_cb once. */
int control_open(struct loop *loop, struct client *client, const struct control_conf *conf,
                 struct control **ret_control, void (*ready_cb)(void *ctx, int err), void *ctx);
/* Nothing of control's is under way when cb runs (never inside the call): calls whose peer is gone may still be
 * writing rows. After the control listener is closed and before control_close; the client must outlive it. */
void control_drain(struct control *c, void (*cb)(void *ctx), void *ctx);
void control_close(struct control *c); /* drained */
/* The HTTP/JSON API for http_server_open. */
struct http_handler control_handler(struct control *c);

/* ---- access keys (S3) ---- */
enum key_right { RIGHT_READ = 1, RIGHT_WRITE = 2, RIGHT_OWNER = 4 /* create, delete bucket */ };
struct access_key {
    const char *access, *secret;
    const char *creator; /* id: owner of the buckets it makes; "root" for the root key */
    bool root;
};
/* NULL: unknown or disabled. Borrowed until the loop turns. */
const struct access_key *control_key(struct control *c, struct str access);
/* Which of RIGHT_* the key has on a bucket whose owner is given. What PUT
 * /v1/creators/{id}/keys/{access}/buckets/{bucket} {rights} said about that very bucket holds exactly (also when it
 * says less); else a creator owns what it made and has nothing elsewhere. */
unsigned control_rights(struct control *c, const struct access_key *k, struct str bucket, struct str owner);

/* ---- playback ---- */
#define DENY_ROWS                                                                                                      \
    DENY(NONE, "ok", 200, "allowed")                                                                                   \
    DENY(MALFORMED, "token_malformed", 403, "the link is damaged: ask for a new one")                                  \
    DENY(UNKNOWN_KEY, "token_key_unknown", 403, "the link was signed with a key that is retired")                      \
    DENY(BAD_SIGNATURE, "token_bad_signature", 403, "the link was altered")                                            \
    DENY(NOT_YET, "token_not_yet_valid", 403, "the link is not valid yet")                                             \
    DENY(EXPIRED, "token_expired", 403, "the link has expired: ask for a new one")                                     \
    DENY(AUDIENCE, "token_audience", 403, "the link is for another use")                                               \
    DENY(PREFIX, "token_path", 403, "the link does not cover this path")                                               \
    DENY(NO_GRANT, "grant_missing", 403, "the learner has no access to this course")                                   \
    DENY(GRANT_NOT_YET, "grant_not_yet_valid", 403, "the learner's access begins later")                               \
    DENY(GRANT_ENDED, "grant_ended", 403, "the learner's access has ended")                                            \
    DENY(BAD_PATH, "path_invalid", 400, "the path is not valid")                                                       \
    DENY(UNAVAILABLE, "entitlement_unavailable", 503, "access cannot be checked right now: try again")
enum deny {
#define DENY(id, code, status, text) DENY_##id,
    DENY_ROWS
#undef DENY
};
const char *deny_code(enum deny d);
int deny_status(enum deny d);
const char *deny_text(enum deny d);

/* Is this token good for this path, now? Checks signature, time, audience, prefix and that the grant still holds (a
 * decision is kept at most grant_cache_ms). t: parsed claims in the arena, for the caller's use (bucket, session).
 * cb may run inside the call when nothing had to be asked (the only exception to the rule, for the hot path).
 * Judged in the order of DENY_ROWS; nothing here knows whether the object exists. */
#define CONTROL_SKEW_S 30 /* clocks of those who sign and those who check may differ so much */
struct control_check {
    struct arena *arena;         /* caller's, until cb */
    struct str token_text, path; /* path: decoded, after the token, without the leading '/' */
    struct token token;          /* set when it parsed */
    enum deny deny;
    void (*cb)(struct control_check *q);
    void *user;
    struct rpc rpc;             /* private */
    Pb__RowsGetReq req;         /* private */
    ProtobufCBinaryData key;    /* private */
    char key_text[1024];        /* private */
    struct control *control;    /* private */
    struct control_check *next; /* private */
    void *grant;                /* private */
};
void control_check(struct control *c, struct control_check *q);
