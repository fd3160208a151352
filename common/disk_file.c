/* disk_file - real files, blocking. Where a file system refuses O_DIRECT (tmpfs on old kernels) the file is opened
 * without it: slower and through the page cache, but with the same promises, because every promise rests on fdatasync.
 * A rename or unlink counts only once the folder is synced, so both do that before they return. */
#include "common/disk_file.h"
#include "common/err.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define ZERO_CHUNK ((size_t)MIB)

int disk_file_open(struct disk *d, const char *path, unsigned flags, struct disk_file **ret_file)
{
    (void)d;
    int how = O_CLOEXEC | (flags & DISK_READ_ONLY ? O_RDONLY : O_RDWR);
    how |= flags & DISK_CREATE ? O_CREAT : 0;
    how |= flags & DISK_EXCL ? O_EXCL : 0;
    int fd = open(path, how | (flags & DISK_DIRECT ? O_DIRECT : 0), 0640);
    if (fd < 0 && errno == EINVAL && flags & DISK_DIRECT) {
        how &= ~O_EXCL; /* the refused attempt may have made the file */
        fd = open(path, how, 0640);
    }
    if (fd < 0)
        return -errno;
    struct disk_file *f = malloc(sizeof *f);
    if (!f) {
        close(fd);
        return -ENOMEM;
    }
    f->fd = fd;
    *ret_file = f;
    return 0;
}

void disk_file_close(struct disk *d, struct disk_file *f)
{
    (void)d;
    close(f->fd);
    free(f);
}

int disk_file_read(struct disk *d, struct disk_file *f, uint64_t offset, void *p, size_t n, size_t *ret_bytes)
{
    (void)d;
    size_t done = 0;
    while (done < n) {
        ssize_t got = pread(f->fd, (char *)p + done, n - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        done += (size_t)got;
        if (got % 512) /* O_DIRECT ends off a sector only at the end of the file */
            break;
    }
    *ret_bytes = done;
    return 0;
}

int disk_file_write(struct disk *d, struct disk_file *f, uint64_t offset, const void *p, size_t n)
{
    (void)d;
    for (size_t done = 0; done < n;) {
        ssize_t put = pwrite(f->fd, (const char *)p + done, n - done, (off_t)(offset + done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return put < 0 ? -errno : -EIO;
        done += (size_t)put;
    }
    return 0;
}

int disk_file_size(struct disk *d, struct disk_file *f, uint64_t *ret_bytes)
{
    (void)d;
    struct stat st;
    if (fstat(f->fd, &st) < 0)
        return -errno;
    *ret_bytes = (uint64_t)st.st_size;
    return 0;
}

static int folder_sync(const char *path_inside)
{
    char *folder = strdup(path_inside);
    if (!folder)
        return -ENOMEM;
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0'; /* "/name" lives in "/" */
    int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    if (fd < 0)
        return -errno;
    int err = fsync(fd) < 0 ? -errno : 0;
    close(fd);
    return err;
}

int disk_file_rename(struct disk *d, const char *from, const char *to)
{
    (void)d;
    if (rename(from, to) < 0)
        return -errno;
    return folder_sync(to);
}

int disk_file_unlink(struct disk *d, const char *path)
{
    (void)d;
    if (unlink(path) < 0)
        return -errno;
    return folder_sync(path);
}

int disk_file_list(struct disk *d, const char *dir, void (*each)(void *ctx, const char *name), void *ctx)
{
    (void)d;
    DIR *folder = opendir(dir);
    if (!folder)
        return -errno;
    int err = 0;
    for (;;) {
        errno = 0; /* each may have set it */
        struct dirent *e = readdir(folder);
        if (!e) {
            err = -errno;
            break;
        }
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            each(ctx, e->d_name);
    }
    closedir(folder);
    return err;
}

int disk_file_zero(struct disk *d, struct disk_file *f, uint64_t from, uint64_t to)
{
    void *zeroes = aligned_alloc(4096, ZERO_CHUNK);
    if (!zeroes)
        return -ENOMEM;
    memset(zeroes, 0, ZERO_CHUNK);
    int err = 0;
    for (; err == 0 && from < to; from += MIN_OF(ZERO_CHUNK, to - from))
        err = disk_file_write(d, f, from, zeroes, MIN_OF(ZERO_CHUNK, to - from));
    free(zeroes);
    if (err == 0 && fdatasync(f->fd) < 0)
        err = -errno;
    return err;
}

int disk_file_space(struct disk *d, const char *dir, uint64_t *ret_free_bytes, uint64_t *ret_total_bytes)
{
    (void)d;
    struct statvfs st;
    if (statvfs(dir, &st) < 0)
        return -errno;
    *ret_free_bytes = (uint64_t)st.f_bavail * st.f_frsize;
    *ret_total_bytes = (uint64_t)st.f_blocks * st.f_frsize;
    return 0;
}

uint64_t disk_req_bytes(const struct disk_req *r)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < r->iov_count; i++)
        sum += r->iov[i].iov_len;
    return sum;
}

static void iov_skip(struct disk_req *r, uint64_t n)
{
    for (unsigned i = 0; i < r->iov_count; i++) {
        size_t part = MIN_OF(n, r->iov[i].iov_len);
        r->iov[i].iov_base = (char *)r->iov[i].iov_base + part;
        r->iov[i].iov_len -= part;
        n -= part;
    }
}

bool disk_req_moved(struct disk_req *r, int64_t n)
{
    if (n == -EINTR || n == -EAGAIN)
        return false;
    if (n < 0 || r->op == DISK_SYNC) {
        r->status = (int)(n < 0 ? n : 0);
        return true;
    }
    r->result_bytes += (uint64_t)n;
    if (r->result_bytes < r->wanted_bytes && n > 0 && (r->op == DISK_WRITE || n % 512 == 0)) {
        iov_skip(r, (uint64_t)n);
        return false;
    }
    bool whole = r->result_bytes == r->wanted_bytes;
    r->status = r->op == DISK_WRITE && !whole ? -EIO : 0;
    return true;
}
