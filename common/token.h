/* token - the signed claims inside a playback URL: /t/<token>/path.
 *
 * Form: base64url( version:1 | kid:4 be | claims | HMAC-SHA256 over all before it ). Claims are length-delimited: one
 * byte tag, two bytes big-endian length, value; known tags once each, in rising order; an unknown tag is refused. The
 * algorithm follows from kid, never from the token. docs/platform.md shows it byte by byte.
 * Thread: any; pure. Errors of token_parse: the enum below, in the order they are checked. */
#pragma once
#include "common/arena.h"

#define TOKEN_VERSION  1
#define TOKEN_TEXT_MAX 2048
#define TOKEN_MAC_LEN  32

enum token_audience { TOKEN_PLAY = 1, TOKEN_DOWNLOAD = 2, TOKEN_THUMBNAIL = 3, TOKEN_KEY = 4 };

struct token {
    uint32_t kid;
    enum token_audience audience;
    struct str tenant; /* may be empty */
    struct str user;
    struct str course;
    struct str lesson;
    struct str bucket;
    struct str prefix;                /* "c/12/": whole segments; ends with '/' or names one object exactly */
    struct str session;               /* unique for each playback */
    uint64_t not_before_s, expires_s; /* Unix seconds */
};

enum token_outcome {
    TOKEN_OK = 0,
    TOKEN_MALFORMED = 1,   /* not base64url, truncated, repeated or unknown claim, unknown version */
    TOKEN_UNKNOWN_KEY = 2, /* kid is not (any more) a signing key */
    TOKEN_BAD_SIGNATURE = 3,
    TOKEN_NOT_YET = 4,
    TOKEN_EXPIRED = 5,
};

struct hmac_key;
/* Signs; text in the arena. -EINVAL: a claim too long or empty where it must not be. */
int token_sign(struct arena *a, const struct token *t, struct hmac_key *key, struct str *ret_text);
/* Reads the kid without trusting anything (to find the key). TOKEN_MALFORMED or 0. */
int token_kid(struct str text, uint32_t *ret_kid);
/* Checks form and signature; claims point into the arena. -ENOMEM, or an outcome. Time is judged apart (token_time), so
 * that explain can tell. */
int token_parse(struct arena *a, struct str text, struct hmac_key *key, struct token *ret);
/* The claims without any trust, for people who ask why a token is refused. Never for a decision. TOKEN_MALFORMED or 0.
 */
int token_peek(struct arena *a, struct str text, struct token *ret);
enum token_outcome token_time(const struct token *t, uint64_t now_s, uint64_t skew_s);
/* A copy whose claims live at `to`; a token's text is always longer than its claims. -EINVAL: cap is too little. */
int token_copy(const struct token *t, char *to, size_t cap, struct token *ret);
/* The path (decoded object key) lies under the prefix by whole segments: "c/12/" covers "c/12/x", never "c/123/x". */
bool token_covers(const struct token *t, struct str key);
