/* kv_sim - a kv in memory whose unsynced batches a power cut takes away, in step with a simulated disk's trace.
 *
 * Thread: as common/kv.h. Memory: kv_sim_create and kv_sim_cut return owned; close through the vtable. */
#pragma once
#include "common/kv.h"
#include "tests/lib/disk_sim.h"

int kv_sim_create(struct disk_sim *disk, struct kv **ret_kv);               /* borrows the disk: its trace tells when */
int kv_sim_wrap(struct disk_sim *disk, struct kv *mem, struct kv **ret_kv); /* the same around a kv_mem; takes it */
/* The kv (a kv_mem) that is found when the power was cut after `steps` of the disk's trace: every batch up to the last
 * synced one, and as many of the later ones as the seed says (keep_all: all of them, a killed process). */
int kv_sim_cut(struct kv *kv, size_t steps, bool keep_all, uint64_t seed, struct kv **ret_kv);
/* The same of a database with two write-ahead logs, as RocksDB has between the switch of a memtable and its flush: of
 * what was not synced a piece in the middle is gone, and what came behind it is there. */
int kv_sim_cut_hole(struct kv *kv, size_t steps, uint64_t seed, struct kv **ret_kv);
/* The n-th call from now fails; as kv_mem_fail_nth. */
void kv_sim_fail_nth(struct kv *kv, uint64_t n, int err);
bool kv_sim_fail_pending(struct kv *kv);
