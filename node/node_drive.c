/* node_drive - finds out whose drives the given directories are and opens their stores, all at once on threads of their
 * own: recovery is disk-bound and drives are independent.
 *
 * What an operator most likely did wrong (another installation's drive, one of a newer version, one in use) refuses the
 * start by name; what fails by itself (cannot be read, damaged) is reported and left out while enough others remain. An
 * empty directory beside drives of an installation is left out too: it may be a mount point whose disk is not there. */
#include "common/crypt.h"
#include "common/log.h"
#include "node/node_impl.h"
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

struct found {
    struct drive drive;
    int state; /* of drive_open: 0, DRIVE_FRESH or negative */
};
struct finding {
    struct found *drives;
    unsigned count, known, fresh, failed;
};

static void leave_out(const char *dir, const char *why)
{
    log_event(LOG_WARN, "drive.left_out", "dir=%s why=%s", log_quote(str_c(dir)), log_quote(str_c(why)));
}

static int find_one(struct node *n, struct finding *f, const char *dir, char *why, size_t why_cap)
{
    struct found *d = &f->drives[f->count++];
    d->drive = (struct drive){.dir_fd = -1};
    d->state = drive_open(dir, &d->drive, why, why_cap);
    if (d->state == E_FOREIGN || d->state == E_VERSION || d->state == -EBUSY)
        return d->state;
    if (d->state < 0) {
        leave_out(dir, why);
        f->failed++;
        return 0;
    }
    if (d->state == DRIVE_FRESH) {
        f->fresh++;
        return 0;
    }
    if (f->known++ == 0) {
        memcpy(n->cluster_id, d->drive.cluster_id, DRIVE_ID_BYTES);
    } else if (memcmp(n->cluster_id, d->drive.cluster_id, DRIVE_ID_BYTES) != 0) {
        snprintf(why, why_cap, "%s: belongs to another installation of Lectern than the drives before it", dir);
        return E_FOREIGN;
    }
    for (unsigned i = 0; i + 1 < f->count; i++)
        if (f->drives[i].state == 0 && (f->drives[i].drive.index == d->drive.index)) {
            snprintf(why, why_cap, "%s: is the same drive as %s (number %u): one of them is a copy", dir,
                     f->drives[i].drive.dir, d->drive.index);
            return E_FOREIGN;
        }
    return 0;
}

static void found_free(struct finding *f)
{
    for (unsigned i = 0; i < f->count; i++)
        if (f->drives[i].drive.dir)
            drive_close(&f->drives[i].drive);
    free(f->drives);
}

/* The newest map on any drive; none is no error. */
static int load_map(struct node *n, const struct finding *f, char *why, size_t why_cap)
{
    for (unsigned i = 0; i < f->count; i++) {
        const struct found *d = &f->drives[i];
        Pb__Map *map;
        if (d->state != 0)
            continue;
        int err = node_map_load(&d->drive, &map);
        if (err == E_VERSION) {
            snprintf(why, why_cap, "%s: its map was written by a newer version of Lectern", d->drive.dir);
            return err;
        }
        if (err) {
            if (err != -ENOENT)
                log_event(LOG_WARN, "drive.map", "dir=%s error=%s", log_quote(str_c(d->drive.dir)),
                          log_quote(str_c(err_text(err))));
            continue;
        }
        if (n->map && n->map->epoch >= map->epoch) {
            pb__map__free_unpacked(map, NULL);
            continue;
        }
        if (n->map)
            pb__map__free_unpacked(n->map, NULL);
        n->map = map;
    }
    return 0;
}

/* First start, or one whose first start was cut short before any drive had a map. */
static int found_installation(struct node *n, struct finding *f, char *why, size_t why_cap)
{
    if (f->failed) {
        snprintf(why, why_cap, "a new installation needs all its drives, and %u of %u cannot be opened", f->failed,
                 f->count);
        return E_QUORUM;
    }
    if (f->known == 0)
        random_bytes(n->cluster_id, DRIVE_ID_BYTES);
    struct drive *sorted = calloc(f->count, sizeof *sorted);
    if (!sorted)
        return -ENOMEM;
    int err = 0;
    for (unsigned i = 0; i < f->count; i++) {
        struct found *d = &f->drives[i];
        if (d->state == 0 && d->drive.index < f->count)
            sorted[d->drive.index] = d->drive;
    }
    for (unsigned i = 0, index = 0; i < f->count && err == 0; i++) {
        struct found *d = &f->drives[i];
        if (d->state != DRIVE_FRESH)
            continue;
        while (index < f->count && sorted[index].dir)
            index++;
        err = drive_init(&d->drive, n->cluster_id, index, why, why_cap);
        if (err == 0) {
            d->state = 0;
            sorted[index] = d->drive;
        }
    }
    for (unsigned i = 0; i < f->count && err == 0; i++)
        if (!sorted[i].dir) {
            snprintf(why, why_cap, "the first start was cut short; start again with the same drives, all of them");
            err = E_QUORUM;
        }
    if (err == 0)
        err = node_map_make(n, sorted, f->count, why, why_cap);
    free(sorted);
    return err;
}

/* ---- stores ---- */

static const struct kv_conf index_conf = {NODE_INDEX_CACHE_BYTES, NODE_INDEX_MEMTABLE_BYTES};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

/* Puts the index aside, one generation of it, and begins an empty one: it is built again from the segments. */
static int index_renew(void *drive, struct kv **ret_kv)
{
    struct node_drive *d = drive;
    if (d->kv)
        d->kv->ops->close(d->kv);
    d->kv = NULL;
    char *dir = drive_path(&d->drive, "index"), *bad = drive_path(&d->drive, "index.bad");
    int err = dir && bad ? 0 : -ENOMEM;
    if (err == 0) {
        log_event(LOG_WARN, "drive.index", "dir=%s kept_as=%s", log_quote(str_c(dir)), log_quote(str_c(bad)));
        nftw(bad, remove_one, 16, FTW_DEPTH | FTW_PHYS);
        if (rename(dir, bad) < 0 || mkdir(dir, 0750) < 0)
            err = -errno;
        else
            err = kv_rocks_open(dir, &index_conf, &d->kv, d->why, sizeof d->why);
    }
    if (err == 0)
        *ret_kv = d->kv;
    free(dir);
    free(bad);
    return err;
}

static int index_open(struct node_drive *d)
{
    char *dir = drive_path(&d->drive, "index");
    int err = dir ? kv_rocks_open(dir, &index_conf, &d->kv, d->why, sizeof d->why) : -ENOMEM;
    free(dir);
    if (err != E_CORRUPT && err != E_KV)
        return err;
    log_event(LOG_WARN, "drive.index", "dir=%s why=%s", log_quote(str_c(d->drive.dir)), log_quote(str_c(d->why)));
    struct kv *kv;
    return index_renew(d, &kv);
}

static void *drive_thread(void *arg)
{
    struct node_drive *d = arg;
    const struct node *n = d->node;
    char *dir = drive_path(&d->drive, "segments");
    int err = dir ? index_open(d) : -ENOMEM;
    if (err == 0) {
        struct store_conf conf = {.loop = n->loop,
                                  .work = n->work,
                                  .disk = n->disk,
                                  .kv = d->kv,
                                  .kv_renew = index_renew,
                                  .kv_ctx = d,
                                  .dir = dir,
                                  .label = d->label,
                                  .segment_bytes = n->conf.segment_bytes,
                                  .compact_percent = n->conf.compact_percent};
        memcpy(conf.drive_id, d->drive.id, sizeof conf.drive_id);
        err = store_open(&conf, &d->store, d->why, sizeof d->why);
    }
    free(dir);
    d->state = err ? NODE_DRIVE_FAILED : NODE_DRIVE_OPEN;
    return NULL;
}

static int place(struct node *n, struct finding *f, char *why, size_t why_cap)
{
    n->drives = calloc(n->map->n_stores, sizeof *n->drives);
    if (!n->drives)
        return -ENOMEM;
    for (size_t i = 0; i < n->map->n_stores; i++) {
        struct node_drive *nd = &n->drives[i];
        nd->node = n;
        nd->drive.dir_fd = -1;
        snprintf(nd->label, sizeof nd->label, "%u", (unsigned)i);
        snprintf(nd->why, sizeof nd->why, "the drive is not there (last seen at %.200s)", n->map->stores[i]->label);
    }
    for (unsigned i = 0; i < f->count; i++) {
        struct found *d = &f->drives[i];
        if (d->state == DRIVE_FRESH) {
            leave_out(d->drive.dir, "it is empty, while the other drives hold an installation that does not count it");
            continue;
        }
        if (d->state != 0)
            continue;
        bool listed = d->drive.index < n->map->n_stores &&
                      memcmp(n->map->stores[d->drive.index]->id.data, d->drive.id, DRIVE_ID_BYTES) == 0;
        if (!listed) {
            snprintf(why, why_cap, "%s: is of this installation but not in its map", d->drive.dir);
            return E_FOREIGN;
        }
        n->drives[d->drive.index].drive = d->drive;
        n->drives[d->drive.index].state = NODE_DRIVE_FAILED; /* until its store is open */
        d->drive.dir = NULL;                                 /* moved */
    }
    return 0;
}

static int stores_open(struct node *n, char *why, size_t why_cap)
{
    size_t count = n->map->n_stores, open = 0;
    const struct node_drive *worst = NULL;
    for (size_t i = 0; i < count; i++) {
        struct node_drive *d = &n->drives[i];
        if (!d->drive.dir)
            continue;
        d->threaded = pthread_create(&d->thread, NULL, drive_thread, d) == 0;
        if (!d->threaded)
            drive_thread(d);
    }
    for (size_t i = 0; i < count; i++) {
        struct node_drive *d = &n->drives[i];
        if (d->threaded)
            pthread_join(d->thread, NULL);
        if (d->state == NODE_DRIVE_OPEN) {
            open++;
            continue;
        }
        worst = d;
        leave_out(d->drive.dir ? d->drive.dir : n->map->stores[i]->label, d->why);
    }
    if (open < n->map->k) {
        snprintf(why, why_cap, "%zu of %zu drives are fit and %u are needed to read anything; %s", open, count,
                 n->map->k, worst->why);
        return E_QUORUM;
    }
    n->stores_open = open;
    return 0;
}

static int maps_save(struct node *n, char *why, size_t why_cap)
{
    size_t saved = 0;
    int err = 0;
    for (size_t i = 0; i < n->map->n_stores; i++) {
        struct node_drive *d = &n->drives[i];
        Pb__Map *map;
        if (d->state != NODE_DRIVE_OPEN)
            continue;
        int found = node_map_load(&d->drive, &map);
        bool same = found == 0 && map->epoch == n->map->epoch;
        if (found == 0)
            pb__map__free_unpacked(map, NULL);
        int failed = same ? 0 : node_map_save(n, &d->drive);
        err = failed ? failed : err;
        saved += failed == 0;
    }
    if (saved > 0)
        return 0;
    snprintf(why, why_cap, "the map cannot be saved on any drive: %s", err_text(err));
    return err;
}

int node_drives_open(struct node *n, char *why, size_t why_cap)
{
    struct finding f = {.drives = calloc(n->conf.dir_count, sizeof *f.drives)};
    int err = f.drives ? 0 : -ENOMEM;
    for (unsigned i = 0; i < n->conf.dir_count && err == 0; i++)
        err = find_one(n, &f, n->conf.dirs[i], why, why_cap);
    if (err == 0)
        err = load_map(n, &f, why, why_cap);
    if (err == 0 && !n->map)
        err = found_installation(n, &f, why, why_cap);
    if (err == 0)
        err = node_map_use(n, why, why_cap);
    if (err == 0)
        err = place(n, &f, why, why_cap);
    if (f.drives)
        found_free(&f);
    if (err == 0)
        err = stores_open(n, why, why_cap);
    return err ? err : maps_save(n, why, why_cap);
}

void node_drives_free(struct node *n)
{
    for (size_t i = 0; n->drives && i < n->map->n_stores; i++) {
        struct node_drive *d = &n->drives[i];
        assert(!d->store);
        free(d->gc_left);
        if (d->kv)
            d->kv->ops->close(d->kv);
        if (d->drive.dir)
            drive_close(&d->drive);
    }
    free(n->drives);
    n->drives = NULL;
}
