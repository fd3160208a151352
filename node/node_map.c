/* node_map - the map of the installation: made once at first start, kept on every drive, the newest epoch wins. File:
 * magic, XXH3-64 of the rest, the protobuf. */
#include "common/xxh.h"
#include "node/node_impl.h"
#include <stdio.h>
#include <stdlib.h>

#define MAP_FORMAT 1
#define MAP_HEAD   16

static const char magic[8] = "LECTMAP1";

static char *heap_text(const char *s)
{
    return strdup(s ? s : "");
}

static int store_fill(Pb__MapStore *st, const struct node *n, const struct drive *d)
{
    uint64_t free_bytes, total_bytes;
    int err = n->disk->ops->space(n->disk, d->dir, &free_bytes, &total_bytes);
    if (err)
        return err;
    pb__map_store__init(st);
    st->index = d->index;
    st->weight = MAX_OF(total_bytes, UINT64_C(1));
    st->id.data = malloc(DRIVE_ID_BYTES);
    st->zone = heap_text("");
    st->node = heap_text("");
    st->label = heap_text(d->dir);
    if (!st->id.data || !st->zone || !st->node || !st->label)
        return -ENOMEM;
    st->id.len = DRIVE_ID_BYTES;
    memcpy(st->id.data, d->id, DRIVE_ID_BYTES);
    return 0;
}

static int map_table(Pb__Map *map)
{
    struct ring_store *stores = calloc(map->n_stores, sizeof *stores);
    struct ring ring;
    if (!stores)
        return -ENOMEM;
    ring_stores_of(map, stores);
    unsigned width = map->k + map->m;
    int err =
        ring_build(stores, (unsigned)map->n_stores, width, ring_pg_count((unsigned)map->n_stores, width), NULL, &ring);
    free(stores);
    if (err)
        return err;
    map->pg_count = ring.pg_count;
    map->pg_table.data = malloc(ring_bytes(&ring));
    if (map->pg_table.data) {
        map->pg_table.len = ring_bytes(&ring);
        ring_encode(&ring, map->pg_table.data);
    } else {
        err = -ENOMEM;
    }
    ring_fini(&ring);
    return err;
}

static int map_fill(struct node *n, Pb__Map *map, const struct drive *drives, unsigned count)
{
    map->format = MAP_FORMAT;
    map->epoch = 1;
    map->k = n->conf.k;
    map->m = n->conf.m;
    if (map->k == 0)
        node_default_code(count, &map->k, &map->m);
    map->cluster_id.data = malloc(DRIVE_ID_BYTES);
    map->stores = calloc(count, sizeof(Pb__MapStore *));
    if (!map->cluster_id.data || !map->stores)
        return -ENOMEM;
    memcpy(map->cluster_id.data, n->cluster_id, DRIVE_ID_BYTES);
    map->cluster_id.len = DRIVE_ID_BYTES;
    for (unsigned i = 0; i < count; i++) {
        Pb__MapStore *st = calloc(1, sizeof *st);
        if (!st)
            return -ENOMEM;
        pb__map_store__init(st);
        map->stores[map->n_stores++] = st;
        int err = store_fill(st, n, &drives[i]);
        if (err)
            return err;
    }
    return map_table(map);
}

int node_map_make(struct node *n, const struct drive *drives, unsigned count, char *why, size_t why_cap)
{
    Pb__Map *map = malloc(sizeof *map);
    if (!map)
        return -ENOMEM;
    pb__map__init(map);
    int err = map_fill(n, map, drives, count);
    if (err) {
        snprintf(why, why_cap, "the map of %u drives with the code %u+%u cannot be made: %s", count, map->k, map->m,
                 err_text(err));
        pb__map__free_unpacked(map, NULL);
        return err;
    }
    n->map = map;
    return 0;
}

int node_map_load(const struct drive *d, Pb__Map **ret_map)
{
    uint8_t *bytes;
    size_t len;
    int err = drive_file_read(d, NODE_MAP_FILE, NODE_MAP_BYTES_MAX, &bytes, &len);
    if (err)
        return err;
    err = E_CORRUPT;
    if (len > MAP_HEAD && memcmp(bytes, magic, sizeof magic) == 0 &&
        get_be64(bytes + 8) == xxh64of(bytes + MAP_HEAD, len - MAP_HEAD, 0)) {
        Pb__Map *map = pb__map__unpack(NULL, len - MAP_HEAD, bytes + MAP_HEAD);
        err = map ? map->format > MAP_FORMAT ? E_VERSION : 0 : E_CORRUPT;
        if (err == 0)
            *ret_map = map;
        else if (map)
            pb__map__free_unpacked(map, NULL);
    }
    free(bytes);
    return err;
}

int node_map_save(struct node *n, const struct drive *d)
{
    size_t len = pb__map__get_packed_size(n->map);
    uint8_t *bytes = malloc(MAP_HEAD + len);
    if (!bytes)
        return -ENOMEM;
    memcpy(bytes, magic, sizeof magic);
    pb__map__pack(n->map, bytes + MAP_HEAD);
    put_be64(bytes + 8, xxh64of(bytes + MAP_HEAD, len, 0));
    int err = drive_file_write(d, NODE_MAP_FILE, bytes, MAP_HEAD + len);
    free(bytes);
    return err;
}

int node_map_use(struct node *n, char *why, size_t why_cap)
{
    const Pb__Map *map = n->map;
    bool sane = map->n_stores > 0 && map->n_stores <= NODE_DRIVES_MAX && map->k > 0 &&
                map->cluster_id.len == DRIVE_ID_BYTES &&
                memcmp(map->cluster_id.data, n->cluster_id, DRIVE_ID_BYTES) == 0;
    for (size_t i = 0; sane && i < map->n_stores; i++)
        sane = map->stores[i]->index == i && map->stores[i]->id.len == DRIVE_ID_BYTES;
    int err = sane ? ring_decode(map, &n->ring) : E_CORRUPT;
    if (err)
        snprintf(why, why_cap, "the map of this installation (epoch %llu) is not usable: %s",
                 (unsigned long long)map->epoch, err_text(err));
    return err;
}
