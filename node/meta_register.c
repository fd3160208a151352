/* meta_register - a page is: magic, format, length, serial, checksum, then the packed configuration. The valid page
 * with the higher serial holds; the other one is written next. */
#include "node/meta_register.h"
#include "common/err.h"
#include "common/xxh.h"
#include "node/meta_schema.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#define PAGE       4096
#define HEAD_BYTES 32
#define REG_FORMAT 1

static const char magic[8] = "LECTMETA";

struct meta_register {
    struct disk *disk;
    struct disk_file *file;
    uint64_t serial;
    int failed;
    uint8_t *page;
    bool writing;
};

/* magic 8 | be32 format | be32 length | be64 serial | be64 XXH3 of the whole page with zeroes here | payload */
static uint64_t page_sum(const uint8_t *page)
{
    uint8_t copy[PAGE];
    memcpy(copy, page, PAGE);
    memset(copy + 24, 0, 8);
    return xxh64of(copy, PAGE, 0);
}

static bool page_valid(const uint8_t *page)
{
    return memcmp(page, magic, sizeof magic) == 0 && get_be64(page + 24) == page_sum(page);
}

static bool page_zero(const uint8_t *page)
{
    return page[0] == 0 && memcmp(page, page + 1, PAGE - 1) == 0;
}

static int page_read(const uint8_t *page, struct arena *a, Pb__MetaConfig **ret)
{
    if (get_be32(page + 8) > REG_FORMAT)
        return E_VERSION;
    uint32_t length = get_be32(page + 12);
    if (length > PAGE - HEAD_BYTES)
        return E_CORRUPT;
    return meta_unpack(a, &pb__meta_config__descriptor, (struct str){(const char *)page + HEAD_BYTES, length}, ret);
}

static int register_read(struct meta_register *g, struct arena *a, uint8_t *pages, Pb__MetaConfig **ret)
{
    size_t have;
    int err = g->disk->ops->read_now(g->disk, g->file, 0, pages, 2 * (size_t)PAGE, &have);
    if (err)
        return err;
    memset(pages + have, 0, 2 * (size_t)PAGE - have);
    const uint8_t *best = NULL;
    bool empty = true;
    for (int i = 0; i < 2; i++) {
        const uint8_t *page = pages + (size_t)i * PAGE;
        empty = empty && page_zero(page);
        if (page_valid(page) && (!best || get_be64(page + 16) > get_be64(best + 16)))
            best = page;
    }
    *ret = NULL;
    if (!best)
        return empty ? 0 : META_REGISTER_DAMAGED;
    g->serial = get_be64(best + 16);
    return page_read(best, a, ret);
}

/* Under another name first: a crash leaves either no register or a whole one. */
static int register_create(struct disk *disk, const char *path, struct disk_file **ret_file)
{
    char tmp[PATH_MAX];
    struct disk_file *f;
    int n = snprintf(tmp, sizeof tmp, "%s.tmp", path);
    if (n < 0 || (size_t)n >= sizeof tmp)
        return -ENAMETOOLONG;
    int err = disk->ops->open(disk, tmp, DISK_CREATE | DISK_DIRECT, &f);
    if (err)
        return err;
    err = disk->ops->zero(disk, f, 0, 2 * PAGE);
    if (!err)
        err = disk->ops->rename(disk, tmp, path);
    if (err)
        disk->ops->close(disk, f);
    else
        *ret_file = f;
    return err;
}

int meta_register_open(struct disk *disk, const char *path, struct arena *a, struct meta_register **ret_register,
                       Pb__MetaConfig **ret_config)
{
    struct meta_register *g = calloc(1, sizeof *g);
    uint8_t *pages = aligned_alloc(PAGE, 2 * (size_t)PAGE);
    int err = -ENOMEM;
    if (!g || !pages)
        goto fail;
    g->disk = disk;
    g->page = pages;
    err = disk->ops->open(disk, path, DISK_DIRECT, &g->file);
    if (err == -ENOENT)
        err = register_create(disk, path, &g->file);
    if (!err)
        err = register_read(g, a, pages, ret_config);
    if (err >= 0) {
        *ret_register = g;
        return err;
    }
    if (g->file)
        disk->ops->close(disk, g->file);
fail:
    free(pages);
    free(g);
    return err;
}

void meta_register_close(struct meta_register *g)
{
    assert(!g->writing);
    g->disk->ops->close(g->disk, g->file);
    free(g->page);
    free(g);
}

static void write_end(struct meta_register_write *w, int err)
{
    w->reg->writing = false;
    w->reg->failed = err;
    w->cb(w, err);
}

static void reg_synced(struct disk_req *r)
{
    write_end(container_of(r, struct meta_register_write, req), r->status);
}

static void reg_written(struct disk_req *r)
{
    struct meta_register_write *w = container_of(r, struct meta_register_write, req);
    if (r->status) {
        write_end(w, r->status);
        return;
    }
    w->req = (struct disk_req){.op = DISK_SYNC, .file = w->reg->file, .cb = reg_synced};
    w->reg->disk->ops->submit(w->reg->disk, &w->req);
}

/* Makes the next page; returns where it goes. */
static uint64_t page_make(struct meta_register *g, const Pb__MetaConfig *config)
{
    size_t length = pb__meta_config__get_packed_size(config);
    assert(!g->writing && !g->failed && length <= PAGE - HEAD_BYTES);
    g->serial++;
    memset(g->page, 0, PAGE);
    memcpy(g->page, magic, sizeof magic);
    put_be32(g->page + 8, REG_FORMAT);
    put_be32(g->page + 12, (uint32_t)length);
    put_be64(g->page + 16, g->serial);
    pb__meta_config__pack(config, g->page + HEAD_BYTES);
    put_be64(g->page + 24, page_sum(g->page));
    return g->serial % 2 * PAGE;
}

void meta_register_write(struct meta_register *g, const Pb__MetaConfig *config, struct meta_register_write *w)
{
    uint64_t offset = page_make(g, config);
    g->writing = true;
    w->reg = g;
    w->req = (struct disk_req){.op = DISK_WRITE, .file = g->file, .offset = offset, .iov_count = 1, .cb = reg_written};
    w->req.iov[0] = (struct iovec){g->page, PAGE};
    g->disk->ops->submit(g->disk, &w->req);
}

int meta_register_write_now(struct meta_register *g, const Pb__MetaConfig *config)
{
    uint64_t offset = page_make(g, config);
    g->failed = g->disk->ops->write_now(g->disk, g->file, offset, g->page, PAGE);
    if (!g->failed)
        g->failed = g->disk->ops->zero(g->disk, g->file, 0, 0); /* nothing to zero: it syncs */
    return g->failed;
}

bool meta_register_failed(const struct meta_register *g)
{
    return g->failed != 0;
}
