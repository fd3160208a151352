/* lectern.h - a Lectern store as a C library: put, get with ranges, list, stat, delete.
 *
 * For programs on the machine of `lectern serve`: they talk to it over DIR/lectern.sock, which only its own user may
 * open, and may do whatever that user may; creators' keys and rights are the S3 gateway's business. Objects written
 * here are served by S3 and the signed media path, and the other way round. Buckets are made through S3.
 *
 *     struct lectern *l;
 *     int err = lectern_open("/var/lib/lectern", &l);
 *     if (!err)
 *         err = lectern_put(l, "courses", "algebra/1.mp4", data, size, NULL, NULL);
 *     if (err)
 *         fprintf(stderr, "%s\n", lectern_error(err));
 *
 * Thread: any thread may call; calls block. A reader or writer belongs to one thread at a time. One loop thread and two
 * work threads live inside; they take no signals.
 * Memory: handles are owned by the caller until their close; what a callback is given is borrowed until it returns.
 * Limits: keys to 1,024 bytes; about 96 MiB of buffers for writing and 64 MiB for reading inside one struct lectern.
 * Errors: 0 or negative. -ENOENT: no such object; -ENXIO: no such bucket; -EEXIST: a condition did not hold; -EINVAL;
 *   -ENOMEM; -ETIMEDOUT: not known whether it was done; -EAGAIN: the store is not reachable or too busy, try again;
 *   -EIO: stored bytes are gone or damaged beyond repair; -ENOSPC: too few drives fit to take a write; -EPROTO: the
 *   server is of another version.
 * Durable: when lectern_put or lectern_writer_commit has returned 0. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LECTERN_API          1          /* of this header; functions are only added within one */
#define LECTERN_SIZE_UNKNOWN UINT64_MAX /* a writer's size that only its end will tell */
#define LECTERN_TO_THE_END   UINT64_MAX /* a reader's length */

struct lectern;
struct lectern_reader;
struct lectern_writer;

struct lectern_stat {
    uint64_t size;     /* bytes */
    uint64_t mtime_ms; /* Unix time */
    char etag[72];     /* as S3 shows it, without quotes */
    char content_type[256];
    uint8_t version[16]; /* another one for each write of the key */
};
struct lectern_put_options {
    const char *content_type; /* NULL: none */
    bool only_new;            /* -EEXIST when the key is there */
    const char *if_etag;      /* -EEXIST unless the key has this ETag now (-ENOENT: no key); NULL: whatever */
};
struct lectern_entry {
    const char *key; /* NUL-terminated; ends with the delimiter when is_prefix */
    bool is_prefix;  /* stands for all keys that begin with it */
    uint64_t size, mtime_ms;
    const char *etag;
};

/* path: the server's data folder (its first, where there are several), or the socket itself. */
int lectern_open(const char *path, struct lectern **ret_lectern);
void lectern_close(struct lectern *l); /* every reader and writer must be closed; NULL is fine */
const char *lectern_error(int err);    /* a sentence fragment, static */

/* The whole of an object at once. options, ret_stat: may be NULL. */
int lectern_put(struct lectern *l, const char *bucket, const char *key, const void *data, size_t size,
                const struct lectern_put_options *options, struct lectern_stat *ret_stat);
/* Up to `size` bytes from `offset` into `data`; *ret_size is less only at the object's end. */
int lectern_get(struct lectern *l, const char *bucket, const char *key, uint64_t offset, void *data, size_t size,
                size_t *ret_size);
int lectern_stat(struct lectern *l, const char *bucket, const char *key, struct lectern_stat *ret_stat);
int lectern_delete(struct lectern *l, const char *bucket, const char *key); /* 0 also when there was none */
/* Keys in order of their bytes, after `after`, beginning with `prefix`; with a delimiter keys that share it behind the
 * prefix come as one. Any of the three may be NULL. each returns 0 to go on; what else it returns ends the list and is
 * returned. */
int lectern_list(struct lectern *l, const char *bucket, const char *prefix, const char *delimiter, const char *after,
                 int (*each)(void *ctx, const struct lectern_entry *e), void *ctx);

/* A range as a stream: the version that stood at open is read to its end, also when the key is written meanwhile. */
int lectern_reader_open(struct lectern *l, const char *bucket, const char *key, uint64_t offset, uint64_t length,
                        struct lectern_reader **ret_reader, struct lectern_stat *ret_stat);
int lectern_reader_read(struct lectern_reader *r, void *data, size_t size, size_t *ret_size); /* 0 bytes: the end */
void lectern_reader_close(struct lectern_reader *r);                                          /* NULL is fine */

/* An object as a stream; nothing is visible before the commit. size: what will come, or LECTERN_SIZE_UNKNOWN. */
int lectern_writer_open(struct lectern *l, const char *bucket, const char *key, uint64_t size,
                        const struct lectern_put_options *options, struct lectern_writer **ret_writer);
int lectern_writer_write(struct lectern_writer *w, const void *data, size_t size);
int lectern_writer_commit(struct lectern_writer *w, struct lectern_stat *ret_stat); /* closes w, whatever it returns */
void lectern_writer_abort(struct lectern_writer *w);                                /* closes w; NULL is fine */

#ifdef __cplusplus
}
#endif
