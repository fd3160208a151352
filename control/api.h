/* api - the control API's exchanges: routing, admission, bodies, answers. Handlers are rows of control_api.def.
 *
 * A call is one exchange. Its handler is a chain of steps: read rows, judge, write rows, answer. The chain ends with
 * exactly one call_json, call_empty, call_text or call_fail, also when the peer has gone meanwhile.
 * Thread: the loop. Memory: a call, its arena and its body live until it is answered and the exchange is done.
 * Limits: API_BODY_MAX, API_ARENA_MAX, API_PAGE_MAX, API_TRIES. */
#pragma once
#include "control/control_priv.h"
#include "control/rows.h"
#include "control/schema.h"

#define API_BODY_MAX     (64 * KIB)
#define API_ARENA_MAX    (64 * MIB) /* a page of 1,000 keys with 256 buckets each */
#define API_PAGE_MAX     1000
#define API_PAGE_DEFAULT 100
#define API_PARAMS_MAX   3
#define API_TRIES        8 /* of a compare-and-swap that others keep winning */

enum api_error {
#define API_ERROR(id, code, status, text) API_##id,
#include "control/control_errors.def"
#undef API_ERROR
    API_ERROR_COUNT
};
enum { API_PAGED = 1, API_CREATES = 2, API_TOKEN = 4, API_PLAIN = 8 };

struct call;
struct api_route {
    enum http_method method;
    const char *method_text, *path, *id; /* id: the handler's name, and operationId */
    void (*handler)(struct call *c);
    bool admin;
    unsigned flags;
    enum schema request, response;
    int status;
    const char *summary;
};
extern const struct api_route api_routes[];
extern const size_t api_route_count;

struct call {
    struct control *control;
    struct http_req *http; /* valid until it is answered */
    const struct api_route *route;
    struct arena arena;
    struct rows rows;
    struct str params[API_PARAMS_MAX]; /* decoded, in order of the template; valid ids */
    unsigned param_count;
    struct str after, token; /* of the query */
    uint32_t limit;
    json_t *body;
    char request_id[28];
    struct sbuf body_text;
    bool body_too_large, answered;
    unsigned tries;
    void *state; /* the handler's own, in the arena */
};

void api_on_head(void *ctx, struct http_req *r);
void api_on_refusal(void *ctx, struct http_req *r, int status, const char *reason);

void call_json(struct call *c, int status, json_t *takes); /* NULL: out of memory, answered as 500 */
void call_empty(struct call *c, int status);
void call_text(struct call *c, int status, const char *type, struct str text);
/* fmt NULL: the error's own text. */
void call_fail(struct call *c, enum api_error e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* For a status of rows below 0 that the handler has nothing to say about. */
void call_fail_rows(struct call *c, int status);
struct str call_body_str(const struct call *c, const char *name); /* p NULL when absent */
/* The next step of rows_*: struct call of a struct rows. */
static inline struct call *call_of(struct rows *r)
{
    return container_of(r, struct call, rows);
}
uint64_t call_now_s(const struct call *c);
uint64_t call_now_ms(const struct call *c);

#define API(method, path, handler, auth, flags, request, status, response, summary) void api_##handler(struct call *c);
#include "control/control_api.def"
#undef API
/* The OpenAPI document; built once. */
int openapi_text(struct sbuf *out);
