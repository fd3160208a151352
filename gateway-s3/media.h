/* media - the signed media path: GET, HEAD and OPTIONS on /t/<token>/<object key>, for players and browsers.
 *
 * The path is made canonical once; then token, time, audience, prefix and grant are judged (control_check), and only
 * then is the object looked for: a denial looks the same whether it exists. The query is ignored (CMCD and the like),
 * except that nothing in it can change the answer. Every answer, errors too, carries CORS headers; refusals are JSON
 * {code, message, request_id}. The token is in no log, header or body.
 * Thread: the loop. Memory: an exchange of its own each; freed when http says it is done.
 * Limits: MEDIA_ARENA_MAX, S3_RANGES_MAX; one unit (CLIENT_READ_UNIT) in flight for a reader. */
#pragma once
#include "gateway-s3/gateway_priv.h"

#define MEDIA_ARENA_MAX (64 * MIB) /* the manifest of an object of 10,000 parts */

bool media_path(struct str path);                        /* is it media's: /t or /t/... */
void media_start(struct gateway *g, struct http_req *r); /* on_head: takes the exchange over */
/* The Content-Type to answer: what was stored, or by the ending where that says nothing useful. */
struct media_kind;
struct str media_type_of(struct str stored, const struct media_kind *kind);
void media_refuse(struct gateway *g, struct http_req *r, int status, const char *reason); /* on_refusal */
