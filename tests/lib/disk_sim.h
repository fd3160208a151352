/* disk_sim - a disk in memory that forgets: every write that no sync covered may be kept, dropped or torn at 512 bytes
 * when the power is cut. The n-th call can be made to fail. Everything that changes a file is kept as a trace, so that
 * a test can cut the power after every single step of a run, without running it again.
 *
 * Concurrent requests complete on the loop in an order that the seed decides.
 * Thread: as common/disk.h; notes may come from any thread. Memory: disk_sim_create and disk_sim_cut return owned. */
#pragma once
#include "common/disk.h"

#define DISK_SIM_SECTOR 512

struct disk_sim;
int disk_sim_create(struct loop *loop, uint64_t seed, struct disk_sim **ret_sim);
struct disk *disk_sim_disk(struct disk_sim *s);             /* destroy through its vtable */
void disk_sim_capacity(struct disk_sim *s, uint64_t bytes); /* file bytes that fit; default 1 GiB */

/* The n-th call from now fails with err (1: the next; 0: none); calls are counted over reads, writes, syncs and the
 * blocking ones except size, close and space. A failed write may have written some sectors; after a failed sync what it
 * should have covered stays unstable for ever, while later syncs succeed (as Linux does). */
void disk_sim_fail_nth(struct disk_sim *s, uint64_t n, int err);
/* From the n-th call on every one fails, until disk_sim_fail_nth(s, 0, 0): a drive that dies. */
void disk_sim_fail_from(struct disk_sim *s, uint64_t n, int err);
bool disk_sim_fail_pending(struct disk_sim *s); /* the chosen call has not come yet */
/* Only calls of these kinds are counted: bits 1 << enum disk_sim_call. Default: all. */
enum disk_sim_call { SIM_OPEN, SIM_READ, SIM_WRITE, SIM_SYNC, SIM_RENAME, SIM_UNLINK, SIM_LIST };
void disk_sim_fail_kinds(struct disk_sim *s, unsigned kinds);

/* ---- the trace ---- */
size_t disk_sim_steps(const struct disk_sim *s);
/* A mark of the test's own at this place of the trace (an acknowledgement, a batch of the kv). Returns its step. */
size_t disk_sim_note(struct disk_sim *s);

enum disk_sim_cut {
    CUT_KEEP,    /* a killed process: everything that was submitted arrived */
    CUT_DROP,    /* nothing that was not synced arrived */
    CUT_WRITES,  /* whole writes are kept or dropped */
    CUT_TEAR,    /* one write kept up to a sector, those before it kept, those after dropped */
    CUT_SECTORS, /* each sector for itself */
    CUT_STALE,   /* as CUT_SECTORS, and what is dropped shows the bytes of `stale` at that offset */
    CUT_KINDS
};
/* The disk as it is found after the power was cut when `steps` of the trace had happened. stale: see above, or NULL. */
int disk_sim_cut(const struct disk_sim *s, struct loop *loop, size_t steps, enum disk_sim_cut cut, uint64_t seed,
                 const uint8_t *stale, size_t stale_len, struct disk_sim **ret_sim);

/* Forgets the trace and begins a new one with what is on the disk now, all of it stable: before a second cut. */
void disk_sim_settle(struct disk_sim *s);

/* The bytes of a file as they are now, to look at or to spoil; NULL when there is none of that name. */
uint8_t *disk_sim_bytes(struct disk_sim *s, const char *path, size_t *ret_len);
/* The n-th file (by path) that ends in suffix; NULL past the last. */
const char *disk_sim_file(struct disk_sim *s, const char *suffix, size_t n);
