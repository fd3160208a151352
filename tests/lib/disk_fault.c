/* disk_fault - see the header. A file is the file below and its path; calls that do not fail are handed on. */
#include "tests/lib/disk_fault.h"
#include "common/err.h"
#include <pthread.h>
#include <stdlib.h>

struct disk_fault {
    struct disk disk;
    struct disk *below;
    struct loop *loop;
    pthread_mutex_t mutex;
    const char *word;
    uint64_t left;
    int err;
    bool sticky, hit;
    const char *space_word;
    uint64_t free_bytes;
    const char *held_word; /* of the loop */
    struct disk_req *held;
};
struct disk_file {
    struct disk_file *below;
    char *path;
};

static struct disk_fault *fault_of(struct disk *d)
{
    return container_of(d, struct disk_fault, disk);
}

static int call(struct disk *disk, const char *path)
{
    struct disk_fault *d = fault_of(disk);
    int err = 0;
    pthread_mutex_lock(&d->mutex);
    if (d->word && strstr(path, d->word)) {
        if (d->left > 0 && --d->left == 0) {
            d->hit = true;
            err = d->err;
        } else if (d->hit && d->sticky) {
            err = d->err;
        }
    }
    pthread_mutex_unlock(&d->mutex);
    return err;
}

static int fault_open(struct disk *d, const char *path, unsigned flags, struct disk_file **ret_file)
{
    int err = call(d, path);
    if (err)
        return err;
    struct disk_file *f = calloc(1, sizeof *f);
    if (!f || !(f->path = strdup(path))) {
        free(f);
        return -ENOMEM;
    }
    err = fault_of(d)->below->ops->open(fault_of(d)->below, path, flags, &f->below);
    if (err) {
        free(f->path);
        free(f);
        return err;
    }
    *ret_file = f;
    return 0;
}

static void fault_close(struct disk *d, struct disk_file *f)
{
    fault_of(d)->below->ops->close(fault_of(d)->below, f->below);
    free(f->path);
    free(f);
}

static void failed(struct loop_post *p)
{
    struct disk_req *r = container_of(p, struct disk_req, post);
    r->cb(r);
}

static void fault_submit(struct disk *d, struct disk_req *r)
{
    int err = call(d, r->file->path);
    if (err) {
        r->status = err;
        r->result_bytes = 0;
        r->post.cb = failed;
        loop_post(fault_of(d)->loop, &r->post);
        return;
    }
    if (fault_of(d)->held_word && strstr(r->file->path, fault_of(d)->held_word)) {
        r->next = fault_of(d)->held;
        fault_of(d)->held = r;
        return;
    }
    r->file = r->file->below;
    fault_of(d)->below->ops->submit(fault_of(d)->below, r);
}

static int fault_read(struct disk *d, struct disk_file *f, uint64_t offset, void *p, size_t n, size_t *ret_bytes)
{
    int err = call(d, f->path);
    return err ? err : fault_of(d)->below->ops->read_now(fault_of(d)->below, f->below, offset, p, n, ret_bytes);
}

static int fault_write(struct disk *d, struct disk_file *f, uint64_t offset, const void *p, size_t n)
{
    int err = call(d, f->path);
    return err ? err : fault_of(d)->below->ops->write_now(fault_of(d)->below, f->below, offset, p, n);
}

static int fault_size(struct disk *d, struct disk_file *f, uint64_t *ret_bytes)
{
    return fault_of(d)->below->ops->size(fault_of(d)->below, f->below, ret_bytes);
}

static int fault_rename(struct disk *d, const char *from, const char *to)
{
    int err = call(d, to);
    return err ? err : fault_of(d)->below->ops->rename(fault_of(d)->below, from, to);
}

static int fault_unlink(struct disk *d, const char *path)
{
    int err = call(d, path);
    return err ? err : fault_of(d)->below->ops->unlink(fault_of(d)->below, path);
}

static int fault_list(struct disk *d, const char *dir, void (*each)(void *ctx, const char *name), void *ctx)
{
    return fault_of(d)->below->ops->list(fault_of(d)->below, dir, each, ctx);
}

static int fault_zero(struct disk *d, struct disk_file *f, uint64_t from, uint64_t to)
{
    int err = call(d, f->path);
    return err ? err : fault_of(d)->below->ops->zero(fault_of(d)->below, f->below, from, to);
}

static int fault_space(struct disk *d, const char *dir, uint64_t *ret_free_bytes, uint64_t *ret_total_bytes)
{
    struct disk_fault *f = fault_of(d);
    pthread_mutex_lock(&f->mutex);
    bool told = f->space_word && strstr(dir, f->space_word);
    if (told) {
        *ret_free_bytes = f->free_bytes;
        *ret_total_bytes = 1024 * GIB;
    }
    pthread_mutex_unlock(&f->mutex);
    if (told)
        return 0;
    return fault_of(d)->below->ops->space(fault_of(d)->below, dir, ret_free_bytes, ret_total_bytes);
}

static void fault_destroy(struct disk *d)
{
    pthread_mutex_destroy(&fault_of(d)->mutex);
    free(fault_of(d));
}

static const struct disk_ops fault_ops = {
    .open = fault_open,
    .close = fault_close,
    .submit = fault_submit,
    .read_now = fault_read,
    .write_now = fault_write,
    .size = fault_size,
    .rename = fault_rename,
    .unlink = fault_unlink,
    .list = fault_list,
    .zero = fault_zero,
    .space = fault_space,
    .destroy = fault_destroy,
};

int disk_fault_create(struct loop *loop, struct disk *below, struct disk_fault **ret_fault)
{
    struct disk_fault *d = calloc(1, sizeof *d);
    if (!d)
        return -ENOMEM;
    d->disk = (struct disk){.ops = &fault_ops, .name = "faulty"};
    d->loop = loop;
    d->below = below;
    pthread_mutex_init(&d->mutex, NULL);
    *ret_fault = d;
    return 0;
}

struct disk *disk_fault_disk(struct disk_fault *d)
{
    return &d->disk;
}

void disk_fault_set(struct disk_fault *d, const char *word, uint64_t nth, int err, bool sticky)
{
    pthread_mutex_lock(&d->mutex);
    d->word = word;
    d->left = nth;
    d->err = err;
    d->sticky = sticky;
    d->hit = false;
    pthread_mutex_unlock(&d->mutex);
}

void disk_fault_space(struct disk_fault *d, const char *word, uint64_t free_bytes)
{
    pthread_mutex_lock(&d->mutex);
    d->space_word = word;
    d->free_bytes = free_bytes;
    pthread_mutex_unlock(&d->mutex);
}

void disk_fault_hold(struct disk_fault *d, const char *word)
{
    d->held_word = word;
}

bool disk_fault_holding(const struct disk_fault *d)
{
    return d->held;
}

void disk_fault_release(struct disk_fault *d)
{
    struct disk_req *r = d->held;
    d->held = NULL;
    d->held_word = NULL;
    while (r) {
        struct disk_req *next = r->next;
        r->next = NULL;
        r->file = r->file->below;
        d->below->ops->submit(d->below, r);
        r = next;
    }
}

bool disk_fault_hit(const struct disk_fault *d)
{
    return d->hit;
}
