/* uri - percent-encoding and queries, once for authorisation and storage (one decoded form of a path).
 *
 * Thread: pure. Memory: results in the caller's arena. */
#pragma once
#include "common/arena.h"

/* Decodes %XX strictly ('+' stays '+'). -EINVAL: bad escape or NUL. */
int uri_decode(struct arena *a, struct str in, struct str *ret);
/* As SigV4 encodes: unreserved bytes stay, everything else is %XX in upper case; '/' stays when keep_slash. */
struct str uri_encode(struct arena *a, struct str in, bool keep_slash);
void uri_encode_to(struct sbuf *out, struct str in, bool keep_slash);

struct uri_param {
    struct str name, value;         /* decoded; '+' in a query is a space for HTML forms only, so it stays '+' */
    struct str raw_name, raw_value; /* as sent */
    bool has_equals;
};
#define URI_PARAM_MAX 128
/* Splits a raw query. -EINVAL: bad escape; -E2BIG: more than URI_PARAM_MAX. */
int uri_query(struct arena *a, struct str raw, struct uri_param **ret_params, size_t *ret_count);
const struct uri_param *uri_param(const struct uri_param *params, size_t count, const char *name); /* first or NULL */
