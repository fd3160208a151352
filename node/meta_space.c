/* meta_space - keeps metadata from running its drives full. A log that cannot grow and a database that cannot write end
 * all writing, the deletes that would make room included; so while there is still some room what grows is refused, and
 * what makes room goes on. Space is asked for once a group: statvfs is nothing beside the syncs of a group. */
#include "node/meta_impl.h"
#include <stdio.h>

#define RESERVE_BYTES       (256 * MIB)
#define RESERVE_SMALL_BYTES (64 * MIB)
#define SMALL_BYTES         (4 * GIB)  /* a file system below this keeps the smaller reserve, or a quarter of itself */
#define START_BYTES         (16 * MIB) /* RocksDB writes a new log and what its old one held before it opens */

static uint64_t reserve_of(uint64_t total)
{
    return total >= SMALL_BYTES ? RESERVE_BYTES : MIN_OF(RESERVE_SMALL_BYTES, total / 4);
}

bool meta_space_low(const struct meta *m)
{
    for (unsigned i = 0; i < m->replica_count; i++) {
        uint64_t free_bytes, total;
        const struct meta_replica *r = &m->replicas[i];
        if (!(m->group.watched & 1U << i) || m->conf.disk->ops->space(m->conf.disk, r->dir, &free_bytes, &total))
            continue;
        if (free_bytes < reserve_of(total))
            return true;
    }
    return false;
}

int meta_space_start(struct disk *disk, const char *dir, char *why, size_t why_cap)
{
    uint64_t free_bytes, total;
    if (disk->ops->space(disk, dir, &free_bytes, &total))
        return 0; /* what is wrong with the folder, who opens it will say */
    uint64_t need = MIN_OF((uint64_t)START_BYTES, total / 16);
    if (free_bytes >= need)
        return 0;
    snprintf(why, why_cap, "its file system is full: %llu KiB are free, %llu KiB are needed to start",
             (unsigned long long)(free_bytes / KIB), (unsigned long long)(need / KIB));
    return -ENOSPC;
}

bool meta_space_grows(const struct rpc *r)
{
    switch ((int)r->type) {
    case RPC_BUCKET_CREATE:
    case RPC_OBJECT_PUT:
    case RPC_UPLOAD_CREATE:
    case RPC_PART_PUT:
        return true;
    case RPC_ROWS_TXN:
        return ((const Pb__RowsTxnReq *)r->req)->n_puts > 0;
    default:
        return false;
    }
}
