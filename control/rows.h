/* rows - control's rows: keys with parts, typed values, one read or one transaction at a time.
 *
 * All rows stand in one table, so that one transaction may compare a user and put a grant. A key is its kind and its
 * parts with NUL between ("grant\0ada\0c1"): a list of one kind, or of everything below one part, is a range. The
 * parts never hold bytes under 0x20, so keys sort as their parts do.
 * Thread: the loop. Memory: struct rows is embedded by the caller until next() ran; keys, messages and answers live in
 * its arena. Errors: err.h; ROWS_CONFLICT when a comparison did not hold. */
#pragma once
#include "client/client.h"
#include "common/control.pb-c.h"

#define ROWS_TABLE        "control"
#define ROWS_FORMAT       1
#define ROWS_COMPARES_MAX 6
#define ROWS_PUTS_MAX     4
#define ROWS_DELETES_MAX  400

enum rows_outcome { ROWS_CONFLICT = 1 };

/* rows_key(a, "grant", user, course): a kind and up to two parts, absent ones STR_NONE. p NULL: out of memory. */
struct str rows_key(struct arena *a, const char *kind, struct str one, struct str two);
/* The range of everything below a key: rows_from (past the part `after`, or from the first one) to rows_to. */
struct str rows_from(struct arena *a, struct str key, struct str after);
struct str rows_to(struct arena *a, struct str key);
struct str rows_last_part(const Pb__Row *row);

struct rows {
    struct loop *loop; /* the caller's, set by rows_init */
    struct client *client;
    struct arena *arena;
    /* The answer. */
    Pb__Row **items;
    size_t count;
    bool truncated;
    /* private */
    struct rpc rpc;
    Pb__RowsGetReq get;
    Pb__RowsRangeReq range;
    Pb__RowsTxnReq txn;
    Pb__RowCompare compares[ROWS_COMPARES_MAX], *compare_refs[ROWS_COMPARES_MAX];
    Pb__Row puts[ROWS_PUTS_MAX], *put_refs[ROWS_PUTS_MAX];
    ProtobufCBinaryData deletes[ROWS_DELETES_MAX];
    void (*next)(struct rows *r, int status);
    struct loop_post post;
    int err; /* of building, sticky */
};
void rows_init(struct rows *r, struct loop *loop, struct client *client, struct arena *a);
/* One of these at a time; next runs once, never inside. status: 0, ROWS_CONFLICT, or negative. */
void rows_get(struct rows *r, const struct str *keys, size_t count, void (*next)(struct rows *r, int status));
void rows_range(struct rows *r, struct str from, struct str to, uint32_t limit,
                void (*next)(struct rows *r, int status));
/* A transaction: begin, then what must hold and what changes, then commit. revision 0: must not exist. */
void rows_begin(struct rows *r);
void rows_expect(struct rows *r, struct str key, uint64_t revision);
void rows_put(struct rows *r, struct str key, const ProtobufCMessage *value);
void rows_delete(struct rows *r, struct str key);
void rows_commit(struct rows *r, void (*next)(struct rows *r, int status));

const Pb__Row *rows_find(const struct rows *r, struct str key); /* in the answer; NULL when absent */
/* The value, in the arena. E_CORRUPT, also when the arena is used up; E_VERSION: a newer format than we know. */
int rows_value(struct arena *a, const Pb__Row *row, const ProtobufCMessageDescriptor *kind, ProtobufCMessage **ret);
