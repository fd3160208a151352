/* rows_mem - the metadata of a node, made of memory: ROWS_TXN, ROWS_GET and ROWS_RANGE with compare-and-swap as meta
 * promises, OBJECT_GET of objects that a test put there; everything else goes to the peer below (maps, fragments).
 *
 * A test may make calls fail, hold them back, and count them. Callbacks come from the loop. Thread: the loop. */
#pragma once
#include "common/rpc.h"

struct rows_mem_row;
struct rows_mem_object;
struct rows_mem_call;
struct rows_mem {
    struct rpc_peer peer;
    struct rpc_peer *below;
    struct loop *loop;
    struct rows_mem_row *rows; /* sorted by table and key */
    size_t count, cap;
    uint64_t revision;
    struct rows_mem_object *objects;
    int err;            /* rows calls fail with it; 0: none */
    unsigned conflicts; /* so many of the next transactions are refused with RPC_CONDITION */
    unsigned fail_at;   /* the fail_at-th rows call from now fails with E_UNAVAILABLE, and only that one; 0: none */
    bool hold;          /* rows calls wait for rows_mem_release */
    struct rows_mem_call *held;
    unsigned gets, txns, ranges, object_gets, out;
};
struct rows_mem *rows_mem_create(struct loop *loop, struct rpc_peer *below);
void rows_mem_destroy(struct rows_mem *m); /* nothing may be under way */
/* Answers what is held; each is carried out now, not when it came. */
void rows_mem_release(struct rows_mem *m);
/* An inlined object; content_type NULL: none was stored. */
void rows_mem_object(struct rows_mem *m, const char *bucket, const char *key, struct str bytes, const char *etag,
                     const char *content_type);
/* An object whose bytes stand in fragments of the peer below; the row is borrowed. */
void rows_mem_object_row(struct rows_mem *m, const char *bucket, const char *key, Pb__Object *row);
/* A row's bytes, or p NULL. Key with NULs. */
struct str rows_mem_find(struct rows_mem *m, const char *table, struct str key);
void rows_mem_put(struct rows_mem *m, const char *table, struct str key, struct str value);
size_t rows_mem_count(struct rows_mem *m, const char *table, struct str prefix);
/* Whether any stored value holds these bytes (secrets must not). */
bool rows_mem_contains(struct rows_mem *m, struct str bytes);
