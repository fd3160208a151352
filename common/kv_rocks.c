/* kv_rocks - the door to RocksDB (C API 7.8). One database a directory, one column family, bytes as keys in bytewise
 * order. Options lean to safety: paranoid checks, XXH3 on every block, verified reads, a write-ahead log that recovers
 * to a point in time; level compaction with LZ4, ten bloom bits a key, index and filter blocks inside the block cache
 * so that memory has one bound. */
#include "common/kv.h"
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECKSUM_XXH3     4 /* ROCKSDB_NAMESPACE::kXXH3 */
#define TABLE_FORMAT      5
#define BLOOM_BITS        10
#define BLOCK_BYTES       (16 * KIB)
#define MEMTABLE_BYTES    (16 * MIB)
#define BLOCK_CACHE_BYTES (16 * MIB)
#define OPEN_FILES_MAX    1000
#define LOG_FILE_BYTES    (4 * MIB) /* RocksDB's own text log */
#define LOG_FILES_KEPT    3
#define BACKGROUND_JOBS   2
#define SYNC_STEP_BYTES   (1 * MIB)

struct kv_rocks {
    struct kv kv;
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_block_based_table_options_t *table;
    rocksdb_cache_t *cache;
    rocksdb_readoptions_t *read;
    rocksdb_writeoptions_t *write, *write_sync;
};
struct kv_rocks_iter {
    struct kv_iter it;
    rocksdb_iterator_t *rit;
};

static _Thread_local char last_error[256];

const char *kv_last_error(void)
{
    return last_error;
}

static struct kv_rocks *rocks_of(struct kv *kv)
{
    return container_of(kv, struct kv_rocks, kv);
}

/* Takes RocksDB's text and makes one of our codes of it. */
static int rocks_error(char *text)
{
    if (!text)
        return 0;
    snprintf(last_error, sizeof last_error, "%s", text);
    free(text);
    if (strncmp(last_error, "Corruption", 10) == 0)
        return E_CORRUPT;
    if (strstr(last_error, "No space left"))
        return -ENOSPC;
    return E_KV;
}

static int rocks_get(struct kv *kv, struct str key, struct arena *a, struct str *ret_value)
{
    struct kv_rocks *r = rocks_of(kv);
    char *text = NULL;
    rocksdb_pinnableslice_t *pin = rocksdb_get_pinned(r->db, r->read, key.p, key.len, &text);
    int err = rocks_error(text);
    if (err)
        return err;
    if (!pin)
        return KV_NOT_FOUND;
    size_t len;
    const char *p = rocksdb_pinnableslice_value(pin, &len);
    struct str copy = arena_str(a, (struct str){p, len});
    rocksdb_pinnableslice_destroy(pin);
    if (!copy.p)
        return -ENOMEM;
    *ret_value = copy;
    return 0;
}

static int batch_to_rocks(void *ctx, int op, struct str key, struct str value)
{
    rocksdb_writebatch_t *wb = ctx;
    if (op == KV_OP_PUT)
        rocksdb_writebatch_put(wb, key.p, key.len, value.p, value.len);
    else if (op == KV_OP_DEL)
        rocksdb_writebatch_delete(wb, key.p, key.len);
    else
        rocksdb_writebatch_delete_range(wb, key.p, key.len, value.p, value.len);
    return 0;
}

static int rocks_write(struct kv *kv, const struct kv_batch *b, bool sync)
{
    struct kv_rocks *r = rocks_of(kv);
    if (b->ops.err)
        return b->ops.err;
    rocksdb_writebatch_t *wb = rocksdb_writebatch_create();
    int err = kv_batch_each((struct str){b->ops.p, b->ops.len}, batch_to_rocks, wb);
    if (!err) {
        char *text = NULL;
        rocksdb_write(r->db, sync ? r->write_sync : r->write, wb, &text);
        err = rocks_error(text);
    }
    rocksdb_writebatch_destroy(wb);
    return err;
}

static int rocks_sync(struct kv *kv)
{
    char *text = NULL;
    rocksdb_flush_wal(rocks_of(kv)->db, 1, &text);
    return rocks_error(text);
}

static int rocks_checkpoint(struct kv *kv, const char *dir)
{
    char *text = NULL;
    rocksdb_checkpoint_t *cp = rocksdb_checkpoint_object_create(rocks_of(kv)->db, &text);
    int err = rocks_error(text);
    if (err)
        return err;
    text = NULL;
    rocksdb_checkpoint_create(cp, dir, 0, &text); /* 0: flush first, so that the copy has no log */
    rocksdb_checkpoint_object_destroy(cp);
    return rocks_error(text);
}

static uint64_t rocks_bytes(struct kv *kv)
{
    static const char *const parts[] = {"rocksdb.total-sst-files-size", "rocksdb.cur-size-all-mem-tables"};
    uint64_t sum = 0;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        uint64_t n = 0;
        if (rocksdb_property_int(rocks_of(kv)->db, parts[i], &n) == 0)
            sum += n;
    }
    return sum;
}

static struct kv_rocks_iter *iter_of(struct kv_iter *it)
{
    return container_of(it, struct kv_rocks_iter, it);
}

static void iter_seek(struct kv_iter *it, struct str key)
{
    rocksdb_iter_seek(iter_of(it)->rit, key.p ? key.p : "", key.len);
}

static void iter_seek_prev(struct kv_iter *it, struct str key)
{
    rocksdb_iter_seek_for_prev(iter_of(it)->rit, key.p ? key.p : "", key.len);
}

static bool iter_valid(struct kv_iter *it)
{
    return rocksdb_iter_valid(iter_of(it)->rit) != 0;
}

static void iter_next(struct kv_iter *it)
{
    rocksdb_iter_next(iter_of(it)->rit);
}

static void iter_prev(struct kv_iter *it)
{
    rocksdb_iter_prev(iter_of(it)->rit);
}

static struct str iter_key(struct kv_iter *it)
{
    struct str s;
    s.p = rocksdb_iter_key(iter_of(it)->rit, &s.len);
    return s;
}

static struct str iter_value(struct kv_iter *it)
{
    struct str s;
    s.p = rocksdb_iter_value(iter_of(it)->rit, &s.len);
    return s;
}

static int iter_status(struct kv_iter *it)
{
    char *text = NULL;
    rocksdb_iter_get_error(iter_of(it)->rit, &text);
    return rocks_error(text);
}

static void iter_close(struct kv_iter *it)
{
    rocksdb_iter_destroy(iter_of(it)->rit);
    free(iter_of(it));
}

static const struct kv_iter_ops rocks_iter_ops = {
    .seek = iter_seek,
    .seek_prev = iter_seek_prev,
    .valid = iter_valid,
    .next = iter_next,
    .prev = iter_prev,
    .key = iter_key,
    .value = iter_value,
    .status = iter_status,
    .close = iter_close,
};

static struct kv_iter *rocks_iter(struct kv *kv)
{
    struct kv_rocks *r = rocks_of(kv);
    struct kv_rocks_iter *it = malloc(sizeof *it);
    if (!it)
        return NULL;
    it->it.ops = &rocks_iter_ops;
    it->rit = rocksdb_create_iterator(r->db, r->read);
    return &it->it;
}

static void rocks_close(struct kv *kv)
{
    struct kv_rocks *r = rocks_of(kv);
    if (r->db)
        rocksdb_close(r->db);
    rocksdb_readoptions_destroy(r->read);
    rocksdb_writeoptions_destroy(r->write);
    rocksdb_writeoptions_destroy(r->write_sync);
    rocksdb_options_destroy(r->options);
    rocksdb_block_based_options_destroy(r->table);
    rocksdb_cache_destroy(r->cache);
    free(r);
}

static const struct kv_ops rocks_ops = {
    .get = rocks_get,
    .write = rocks_write,
    .sync = rocks_sync,
    .iter = rocks_iter,
    .checkpoint = rocks_checkpoint,
    .bytes = rocks_bytes,
    .close = rocks_close,
};

static void table_options(struct kv_rocks *r)
{
    rocksdb_block_based_options_set_checksum(r->table, CHECKSUM_XXH3);
    rocksdb_block_based_options_set_format_version(r->table, TABLE_FORMAT);
    rocksdb_block_based_options_set_block_size(r->table, BLOCK_BYTES);
    rocksdb_block_based_options_set_filter_policy(r->table, rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS));
    rocksdb_block_based_options_set_block_cache(r->table, r->cache);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(r->table, 1);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(r->table, 1);
    rocksdb_options_set_block_based_table_factory(r->options, r->table);
}

static void database_options(rocksdb_options_t *o, uint64_t memtable_bytes)
{
    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_options_set_paranoid_checks(o, 1);
    rocksdb_options_set_wal_recovery_mode(o, rocksdb_point_in_time_recovery);
    rocksdb_options_set_compaction_style(o, rocksdb_level_compaction);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(o, 1);
    rocksdb_options_set_compression(o, rocksdb_lz4_compression);
    rocksdb_options_set_write_buffer_size(o, memtable_bytes);
    rocksdb_options_set_max_total_wal_size(o, 4 * memtable_bytes);
    rocksdb_options_set_max_background_jobs(o, BACKGROUND_JOBS);
    rocksdb_options_set_max_open_files(o, OPEN_FILES_MAX);
    rocksdb_options_set_bytes_per_sync(o, SYNC_STEP_BYTES);
    rocksdb_options_set_keep_log_file_num(o, LOG_FILES_KEPT);
    rocksdb_options_set_max_log_file_size(o, LOG_FILE_BYTES);
    rocksdb_options_set_info_log_level(o, 2); /* warnings */
    rocksdb_options_set_stats_dump_period_sec(o, 0);
    rocksdb_options_set_stats_persist_period_sec(o, 0);
    rocksdb_options_set_is_fd_close_on_exec(o, 1);
}

int kv_rocks_open(const char *dir, const struct kv_conf *conf, struct kv **ret_kv, char *why, size_t why_cap)
{
    struct kv_rocks *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    r->kv.ops = &rocks_ops;
    r->options = rocksdb_options_create();
    r->table = rocksdb_block_based_options_create();
    r->cache = rocksdb_cache_create_lru(conf->block_cache_bytes ? conf->block_cache_bytes : BLOCK_CACHE_BYTES);
    r->read = rocksdb_readoptions_create();
    r->write = rocksdb_writeoptions_create();
    r->write_sync = rocksdb_writeoptions_create();
    rocksdb_readoptions_set_verify_checksums(r->read, 1);
    rocksdb_writeoptions_set_sync(r->write_sync, 1);
    table_options(r);
    database_options(r->options, conf->memtable_bytes ? conf->memtable_bytes : MEMTABLE_BYTES);

    char *text = NULL;
    r->db = rocksdb_open(r->options, dir, &text);
    int err = rocks_error(text);
    if (err) {
        snprintf(why, why_cap, "%s: the database cannot be opened: %s", dir, last_error);
        rocks_close(&r->kv);
        return err;
    }
    *ret_kv = &r->kv;
    return 0;
}
