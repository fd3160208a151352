/* disk_uring - the disk seam on io_uring. One ring; the kernel signals completions through a registered eventfd that
 * the loop watches (polling the ring's own descriptor does not wake with every setup: limits.md).
 *
 * At most RING_ENTRIES requests are in the kernel; the rest waits in a FIFO, so the completion queue can never
 * overflow. Requests made while completions are being handed out go to the kernel in one call at the end. Nothing is
 * assumed: the opcodes are probed, and whatever is refused makes disk_create fall back to threads. */
#include "common/disk_file.h"
#include "common/err.h"
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define RING_ENTRIES 256

struct disk_uring {
    struct disk disk;
    struct io_uring ring;
    struct loop *loop;
    struct loop_fd *watch;
    int event_fd;
    unsigned in_kernel;             /* prepared or submitted, not yet completed */
    struct disk_req *first, **last; /* waiting for a place */
    struct loop_post retry;         /* the kernel was short of memory: submit again next turn */
    bool retry_posted;
    bool reaping;
};

static void uring_prepare(struct disk_uring *u, struct disk_req *r)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
    assert(sqe && "in_kernel never passes the ring's size");
    uint64_t at = r->offset + r->result_bytes;
    if (r->op == DISK_READ)
        io_uring_prep_readv(sqe, r->file->fd, r->iov, r->iov_count, at);
    else if (r->op == DISK_WRITE)
        io_uring_prep_writev(sqe, r->file->fd, r->iov, r->iov_count, at);
    else
        io_uring_prep_fsync(sqe, r->file->fd, IORING_FSYNC_DATASYNC);
    io_uring_sqe_set_data(sqe, r);
    u->in_kernel++;
}

static void uring_flush(struct disk_uring *u)
{
    while (u->first && u->in_kernel < RING_ENTRIES) {
        struct disk_req *r = u->first;
        u->first = r->next;
        if (!u->first)
            u->last = &u->first;
        uring_prepare(u, r);
    }
    int n = 1;
    while (io_uring_sq_ready(&u->ring) > 0 && n > 0)
        n = io_uring_submit(&u->ring);
    if (n <= 0 && io_uring_sq_ready(&u->ring) > 0 && !u->retry_posted) { /* EAGAIN, EBUSY, EINTR */
        u->retry_posted = true;
        loop_post(u->loop, &u->retry);
    }
}

static void uring_retry(struct loop_post *p)
{
    struct disk_uring *u = container_of(p, struct disk_uring, retry);
    u->retry_posted = false;
    uring_flush(u);
}

static void uring_enqueue(struct disk_uring *u, struct disk_req *r)
{
    r->next = NULL;
    *u->last = r;
    u->last = &r->next;
}

static void uring_submit(struct disk *d, struct disk_req *r)
{
    struct disk_uring *u = container_of(d, struct disk_uring, disk);
    r->wanted_bytes = disk_req_bytes(r);
    r->result_bytes = 0;
    uring_enqueue(u, r);
    if (!u->reaping)
        uring_flush(u);
}

static void uring_event(void *ctx)
{
    struct disk_uring *u = ctx;
    uint64_t count;
    ssize_t ignored = read(u->event_fd, &count, sizeof count); /* cleared first: what completes later signals again */
    (void)ignored;
    u->reaping = true;
    struct io_uring_cqe *cqe;
    while (io_uring_peek_cqe(&u->ring, &cqe) == 0) {
        struct disk_req *r = io_uring_cqe_get_data(cqe);
        int res = cqe->res;
        io_uring_cqe_seen(&u->ring, cqe);
        u->in_kernel--;
        if (disk_req_moved(r, res))
            r->cb(r);
        else
            uring_enqueue(u, r);
    }
    u->reaping = false;
    uring_flush(u);
}

static void uring_destroy(struct disk *d)
{
    struct disk_uring *u = container_of(d, struct disk_uring, disk);
    assert(u->in_kernel == 0 && !u->first && !u->retry_posted);
    loop_fd_close(u->watch);
    io_uring_queue_exit(&u->ring);
    close(u->event_fd);
    free(u);
}

static const struct disk_ops uring_ops = {DISK_FILE_OPS, .submit = uring_submit, .destroy = uring_destroy};

static int ring_open(struct io_uring *ring)
{
    struct io_uring_params p = {.flags = IORING_SETUP_COOP_TASKRUN};
    int err = io_uring_queue_init_params(RING_ENTRIES, ring, &p);
    if (err == -EINVAL) /* before Linux 5.19 */
        err = io_uring_queue_init(RING_ENTRIES, ring, 0);
    return err;
}

static int ring_probe(struct io_uring *ring)
{
    struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
    if (!probe)
        return -EOPNOTSUPP;
    bool fit = io_uring_opcode_supported(probe, IORING_OP_READV) &&
               io_uring_opcode_supported(probe, IORING_OP_WRITEV) && io_uring_opcode_supported(probe, IORING_OP_FSYNC);
    io_uring_free_probe(probe);
    return fit ? 0 : -EOPNOTSUPP;
}

static int uring_open(struct disk_uring *u, const char **ret_what)
{
    *ret_what = "making a ring";
    int err = ring_open(&u->ring);
    if (err)
        return err;
    *ret_what = "its opcodes";
    err = ring_probe(&u->ring);
    if (err)
        goto exit_ring;
    *ret_what = "an eventfd";
    u->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    err = u->event_fd < 0 ? -errno : 0;
    if (err)
        goto exit_ring;
    *ret_what = "registering an eventfd";
    err = io_uring_register_eventfd(&u->ring, u->event_fd);
    if (err)
        goto close_fd;
    err = loop_fd_open(u->loop, u->event_fd, uring_event, u, &u->watch);
    if (err == 0)
        return 0;
close_fd:
    close(u->event_fd);
exit_ring:
    io_uring_queue_exit(&u->ring);
    return err;
}

int disk_uring_create(struct loop *loop, struct disk **ret_disk, char *why, size_t why_cap)
{
    struct disk_uring *u = calloc(1, sizeof *u);
    const char *what = "memory";
    int err = -ENOMEM;
    if (u) {
        u->loop = loop;
        u->last = &u->first;
        u->retry.cb = uring_retry;
        err = uring_open(u, &what);
    }
    if (err) {
        snprintf(why, why_cap, "io_uring is refused here (%s: %s)", what, err_text(err));
        free(u);
        return err;
    }
    u->disk = (struct disk){&uring_ops, "io_uring"};
    *ret_disk = &u->disk;
    return 0;
}
