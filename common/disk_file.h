/* disk_file - the blocking half of the disk seam on real files, shared by io_uring and the thread pool.
 *
 * Thread: any.  Memory: disk_file_open returns owned, disk_file_close frees.  Errors: -errno.
 * Durable: rename and unlink after they return (the folder is synced); zero likewise. */
#pragma once
#include "common/disk.h"

struct disk_file {
    int fd;
};

/* Fills a vtable's blocking calls; submit and destroy stay the implementation's. */
#define DISK_FILE_OPS                                                                                                  \
    .open = disk_file_open, .close = disk_file_close, .read_now = disk_file_read, .write_now = disk_file_write,        \
    .size = disk_file_size, .rename = disk_file_rename, .unlink = disk_file_unlink, .list = disk_file_list,            \
    .zero = disk_file_zero, .space = disk_file_space

int disk_file_open(struct disk *d, const char *path, unsigned flags, struct disk_file **ret_file);
void disk_file_close(struct disk *d, struct disk_file *f);
int disk_file_read(struct disk *d, struct disk_file *f, uint64_t offset, void *p, size_t n, size_t *ret_bytes);
int disk_file_write(struct disk *d, struct disk_file *f, uint64_t offset, const void *p, size_t n);
int disk_file_size(struct disk *d, struct disk_file *f, uint64_t *ret_bytes);
int disk_file_rename(struct disk *d, const char *from, const char *to);
int disk_file_unlink(struct disk *d, const char *path);
int disk_file_list(struct disk *d, const char *dir, void (*each)(void *ctx, const char *name), void *ctx);
int disk_file_zero(struct disk *d, struct disk_file *f, uint64_t from, uint64_t to);
int disk_file_space(struct disk *d, const char *dir, uint64_t *ret_free_bytes, uint64_t *ret_total_bytes);

/* Before submission: what the iovecs ask for. */
uint64_t disk_req_bytes(const struct disk_req *r);
/* One call has moved n bytes (n < 0: -errno). Returns true when the request is over (status and result_bytes are set);
 * false: the iovecs stand at the remainder, submit again at offset + result_bytes. */
bool disk_req_moved(struct disk_req *r, int64_t n);

int disk_uring_create(struct loop *loop, struct disk **ret_disk, char *why, size_t why_cap);
int disk_pool_create(struct loop *loop, struct disk **ret_disk, char *why, size_t why_cap);
