/* disk - the seam for files that hold fragments and logs: positional reads and writes and fdatasync, asynchronous.
 *
 * Three of it: io_uring with a registered eventfd (disk_uring.c), a thread pool where io_uring is refused
 * (disk_pool.c), and a simulated disk in tests that loses power at the n-th write. disk_open() tries the first and
 * falls back to the second, and disk_name() says which one runs.
 * Thread: the loop. Memory: request and iovecs are the caller's until cb; payload aligned to 4 KiB for O_DIRECT files.
 * Errors: -errno in req.status; a short read or write is completed by the seam (a read past the end of the file gives
 * result_bytes < length; a write is whole or an error). Durable: only after a sync that was submitted after the
 * write's callback. */
#pragma once
#include "common/work.h"
#include <sys/uio.h>

#define DISK_IOV_MAX 8

struct disk;
struct disk_file; /* an open file of that disk */

enum disk_op { DISK_READ, DISK_WRITE, DISK_SYNC };

struct disk_req {
    enum disk_op op;
    struct disk_file *file;
    uint64_t offset;
    struct iovec iov[DISK_IOV_MAX]; /* the seam may change it */
    unsigned iov_count;
    int status;            /* set before cb: 0 or -errno */
    uint64_t result_bytes; /* set before cb */
    void (*cb)(struct disk_req *r);
    /* private */
    uint64_t wanted_bytes;
    struct disk_req *next;
    struct loop_post post;
    struct work_req work;
};

enum { DISK_CREATE = 1, DISK_DIRECT = 2, DISK_READ_ONLY = 4, DISK_EXCL = 8 };

struct disk_ops {
    int (*open)(struct disk *d, const char *path, unsigned flags, struct disk_file **ret_file); /* blocking, short */
    void (*close)(struct disk *d, struct disk_file *f); /* no request of it may be in flight */
    void (*submit)(struct disk *d, struct disk_req *r); /* never fails and never calls back inside */
    /* Blocking calls for start, rename and new segments. Thread: any (work threads, or before the loop runs). p is
     * aligned to 4 KiB for O_DIRECT files; read_now gives fewer bytes only at the end of the file. */
    int (*read_now)(struct disk *d, struct disk_file *f, uint64_t offset, void *p, size_t n, size_t *ret_bytes);
    int (*write_now)(struct disk *d, struct disk_file *f, uint64_t offset, const void *p, size_t n);
    int (*size)(struct disk *d, struct disk_file *f, uint64_t *ret_bytes);
    int (*rename)(struct disk *d, const char *from, const char *to); /* and fsync of the folder */
    int (*unlink)(struct disk *d, const char *path);                 /* and fsync of the folder */
    int (*list)(struct disk *d, const char *dir, void (*each)(void *ctx, const char *name), void *ctx);
    /* Writes zeroes over [from, to) and syncs data and size; blocking. */
    int (*zero)(struct disk *d, struct disk_file *f, uint64_t from, uint64_t to);
    int (*space)(struct disk *d, const char *dir, uint64_t *ret_free_bytes, uint64_t *ret_total_bytes);
    void (*destroy)(struct disk *d); /* every file is closed and no request in flight */
};
struct disk {
    const struct disk_ops *ops;
    const char *name; /* "io_uring", "threads", "simulated" */
};

/* force: NULL tries io_uring first; "io_uring" or "threads" asks for that one. why: one line when it fell back. */
int disk_create(struct loop *loop, const char *force, struct disk **ret_disk, char *why, size_t why_cap);
