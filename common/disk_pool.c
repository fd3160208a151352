/* disk_pool - the disk seam on threads of its own: preadv, pwritev and fdatasync, for kernels and containers that
 * refuse io_uring. Not the work pool, so that hashing never waits behind a slow drive or the other way round. */
#include "common/disk_file.h"
#include "common/err.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define POOL_THREADS 8

struct disk_pool {
    struct disk disk;
    struct work *work;
};

static void pool_run(struct work_req *w)
{
    struct disk_req *r = container_of(w, struct disk_req, work);
    int64_t n;
    do {
        int fd = r->file->fd;
        off_t at = (off_t)(r->offset + r->result_bytes);
        if (r->op == DISK_READ)
            n = preadv(fd, r->iov, (int)r->iov_count, at);
        else if (r->op == DISK_WRITE)
            n = pwritev(fd, r->iov, (int)r->iov_count, at);
        else
            n = fdatasync(fd);
        n = n < 0 ? -errno : n;
    } while (!disk_req_moved(r, n));
}

static void pool_done(struct work_req *w)
{
    struct disk_req *r = container_of(w, struct disk_req, work);
    r->cb(r);
}

static void pool_submit(struct disk *d, struct disk_req *r)
{
    struct disk_pool *p = container_of(d, struct disk_pool, disk);
    r->wanted_bytes = disk_req_bytes(r);
    r->result_bytes = 0;
    r->work.run = pool_run;
    r->work.cb = pool_done;
    work_submit(p->work, &r->work);
}

static void pool_destroy(struct disk *d)
{
    struct disk_pool *p = container_of(d, struct disk_pool, disk);
    work_destroy(p->work);
    free(p);
}

static const struct disk_ops pool_ops = {DISK_FILE_OPS, .submit = pool_submit, .destroy = pool_destroy};

int disk_pool_create(struct loop *loop, struct disk **ret_disk, char *why, size_t why_cap)
{
    struct disk_pool *p = calloc(1, sizeof *p);
    int err = p ? work_create(loop, POOL_THREADS, &p->work) : -ENOMEM;
    if (err) {
        snprintf(why, why_cap, "no threads for the disks: %s", err_text(err));
        free(p);
        return err;
    }
    p->disk = (struct disk){&pool_ops, "threads"};
    *ret_disk = &p->disk;
    return 0;
}
