/* s3_list - the opaque tokens of listings: where to go on, in a form that a client cannot read meaning into.
 *
 * Thread: pure. Form: base64url( kind:1 | key | crc32c of both:4 ). */
#pragma once
#include "common/arena.h"

struct s3_list_token {
    struct str after;
    bool after_is_prefix; /* go on behind every key that begins with after */
};
struct str s3_list_token_encode(struct arena *a, const struct s3_list_token *t);       /* p NULL: out of memory */
int s3_list_token_decode(struct arena *a, struct str text, struct s3_list_token *ret); /* -EINVAL, -ENOMEM */
