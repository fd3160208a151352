/* s3_request - one S3 request from its head to its answer: route, authenticate once, rights on the bucket, then the
 * handler of its row in s3_ops.def.
 *
 * It may outlive the HTTP exchange while a call is under way: what calls refer to lives in its own arena. Every request
 * ends with exactly one answer or, when nobody is left to answer, with s3_gone(), which ends the exchange; an answer
 * after that is without effect.
 * Thread: the loop. Memory: freed by itself when the exchange is over and no callback is owed.
 * Limits: S3_ARENA_BYTES. Errors: enum s3_error, answered by s3_fail. */
#pragma once
#include "gateway-s3/gateway_priv.h"
#include "gateway-s3/s3_body.h"
#include "gateway-s3/s3_route.h"
#include "gateway-s3/sigv4.h"
#include "gateway-s3/xml.h"

#define S3_ARENA_BYTES (64 * MIB)
#define S3_EXTRAS_MAX  12
#define S3_SLOW_FIRST_MS                                                                                               \
    10000 /* a long Complete or Copy begins its answer after this and then stays alive with blanks */
#define S3_SLOW_EVERY_MS 5000

struct s3_slow { /* private to s3_reply.c */
    struct loop_timer timer;
    struct s3_request *s;
    bool begun, sending, last;
    struct sbuf final;
};

struct s3_request {
    struct gateway *g;
    struct http_req *r; /* NULL: the exchange is over */
    bool finished;      /* answered, or ended because the peer is gone: http's on_done follows */
    struct arena arena;
    unsigned pending; /* callbacks that are owed to us */
    struct s3_route route;
    struct uri_param *params;
    size_t param_count;
    struct sigv4 sig;
    unsigned auth;              /* S3_AUTH_* */
    struct str access, creator; /* of the key; copies */
    bool root;
    Pb__Bucket *bucket; /* the target's row, when the operation needs one */
    char request_id[17], host_id[45];
    uint64_t started_ns;
    uint64_t now_ms;

    struct http_headers headers; /* of the answer */
    struct {
        const char *name;
        struct str value;
    } extras[S3_EXTRAS_MAX]; /* of the error's document */
    unsigned extra_count;
    struct str about_bucket, about_key; /* what an error is about when not the target: a copy's source */
    uint64_t object_size;               /* for 416's Content-Range */
    enum s3_error error;                /* what was answered, for logs and metrics */
    struct s3_slow slow;

    struct s3_body body;
    struct rpc rpc;
    void (*then)(struct s3_request *s, int status, void *rep);
    void *state;                           /* the handler's own, in the arena */
    void (*cleanup)(struct s3_request *s); /* the handler's: frees what state holds outside the arena */
};

/* The handler of http for S3: takes the exchange over. */
void s3_request_start(struct gateway *g, struct http_req *r);
/* Answers what http refused before there was a request (on_refusal). */
void s3_request_refuse(struct gateway *g, struct http_req *r, int status, const char *reason);

/* Nobody is left to answer: the exchange is then ended here, and the handler only has to return. */
bool s3_gone(struct s3_request *s);
void s3_abort(struct s3_request *s); /* resets the connection, unless the exchange has been finished */
/* A callback that is owed begins and ends; s may be freed by s3_leave. Every callback of a handler is wrapped so. */
void s3_enter(struct s3_request *s);
void s3_leave(struct s3_request *s);

/* A metadata call, one at a time: then() always runs, also when the peer has gone. req and what it points at live in
 * s->arena. */
void s3_call(struct s3_request *s, enum rpc_type type, const void *req,
             void (*then)(struct s3_request *s, int status, void *rep));
/* The S3 error for a failed or refused call (status != 0), by what was asked for. */
enum s3_error s3_error_of(int status);
/* Is header (x-amz-expected-bucket-owner) absent or this owner? */
bool s3_owner_expected(const struct s3_request *s, const char *header, const char *owner);
/* Rights of this request's key on a bucket (RIGHT_*). */
unsigned s3_rights(struct s3_request *s, struct str bucket, struct str owner);

/* Strings of messages: NUL-terminated copies in the arena ("" stands for none; never NULL but when memory ran out). */
char *s3_text(struct s3_request *s, struct str t);
ProtobufCBinaryData s3_bytes(struct str t);
struct str s3_header(const struct s3_request *s, const char *name); /* p NULL: absent */
const struct uri_param *s3_param(const struct s3_request *s, const char *name);
struct str s3_param_value(const struct s3_request *s, const char *name); /* p NULL: absent */
/* A decimal parameter between min and max: absent gives dflt; false: answered with InvalidArgument. Above max is cut to
 * max when clamp. */
bool s3_param_u64(struct s3_request *s, const char *name, uint64_t dflt, uint64_t max, bool clamp, uint64_t *ret);
/* ?versionId= on a store without versions: absent or "null" is true; else NoSuchVersion was answered. */
bool s3_version_ok(struct s3_request *s);

/* ---- answers (s3_reply.c) ---- */
void s3_reply_begin(struct s3_request *s); /* the headers of every answer */
void s3_reply_cors(struct http_req *r, struct http_headers *h);
void s3_extra(struct s3_request *s, const char *name, struct str value); /* an element of the error's document */
void s3_fail(struct s3_request *s, enum s3_error e);
void s3_fail_text(struct s3_request *s, enum s3_error e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void s3_invalid_argument(struct s3_request *s, const char *name, struct str value, const char *text);
void s3_reply_empty(struct s3_request *s, int status);
void s3_reply_head(struct s3_request *s, int status, uint64_t content_length); /* of HEAD */
void s3_reply_xml(struct s3_request *s, struct sbuf *out); /* 200; frees out; a failed sbuf answers InternalError */
void s3_reply_xml_as(struct s3_request *s, int status, struct sbuf *out);
void s3_header_add(struct s3_request *s, const char *name, struct str value);
void s3_header_addf(struct s3_request *s, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* From now on the answer may begin by itself, as 200 with blanks; then an error comes inside the 200. */
void s3_slow_start(struct s3_request *s);
void s3_slow_stop(struct s3_request *s);

/* ---- handlers: one for each row ---- */
#define S3_OP(id, method, target, selector, handler, rights, auth, body) void handler(struct s3_request *s);
#include "gateway-s3/s3_ops.def"
#undef S3_OP
