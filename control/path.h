/* path - the one decoded form of a media path, for authorisation, storage and playback URLs alike.
 *
 * A path is canonical when every server, proxy and player reads it the same way: UTF-8 without control characters, no
 * empty, "." or ".." segment, no backslash, no ';'. Anything else is refused, never repaired: what was signed, what is
 * judged and what is served are the same bytes (anchors: nginx accepts /sl/../sl/x and //sl/x with one signature).
 * Thread: any; pure. Memory: results in the caller's arena. Limits: PATH_KEY_MAX. */
#pragma once
#include "common/arena.h"

#define PATH_KEY_MAX 1024 /* bytes of an object key */
#define PATH_MEDIA   STR("/t/")

/* A decoded key: 1..PATH_KEY_MAX bytes, canonical. A prefix may end with '/', a key may not. */
bool path_key_ok(struct str key);
bool path_prefix_ok(struct str prefix);
/* Decodes %XX once. -EINVAL: a bad escape, an escaped '/' or NUL, or not canonical. -ENOMEM. */
int path_decode(struct arena *a, struct str raw, struct str *ret_key);
/* Splits "/t/<token>/<raw path>" (no query); neither is judged. -EINVAL: another form. */
int path_media_split(struct str raw, struct str *ret_token, struct str *ret_raw_key);
