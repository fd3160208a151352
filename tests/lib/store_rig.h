/* store_rig - a store with everything below it, and calls that turn the loop until the answer is there.
 *
 * Disk and kv are either real (a folder of its own under TMPDIR, io_uring or threads, RocksDB) or simulated. */
#pragma once
#include "node/store.h"
#include "tests/lib/kv_sim.h"

struct store_rig {
    struct loop *loop;
    struct work *work;
    struct disk *disk;
    struct disk_sim *sim; /* NULL: real */
    struct kv *kv;
    struct store *store;
    char dir[256]; /* of segments and index; real */
    char why[512];
    uint64_t segment_bytes;
    unsigned compact_percent;
    uint8_t drive_id[16];
    bool owns_loop, kv_memory;
    struct clock_manual *clock; /* NULL: the real one; else store_rig_settle moves it */
};

/* engine: "sim", "io_uring" or "threads"; "threads/mem": with a kv in memory (ThreadSanitizer does not know RocksDB).
 * Makes loop, work, disk and kv; opens nothing yet. */
void store_rig_init(struct store_rig *r, const char *engine, uint64_t segment_bytes);
void store_rig_init_clock(struct store_rig *r, const char *engine, uint64_t segment_bytes, struct clock_manual *clock);
/* Another one on the same loop and threads, with that disk and kv (takes both), for the state after a power cut. */
void store_rig_sub(struct store_rig *r, const struct store_rig *parent, struct disk_sim *sim, struct kv *kv);
void store_rig_fini(struct store_rig *r);   /* the store is closed or never was open */
int store_rig_open(struct store_rig *r);    /* store_open and store_start */
int store_rig_recover(struct store_rig *r); /* store_open only: reads, no background work */
void store_rig_close(struct store_rig *r);
void store_rig_kv_reopen(struct store_rig *r, bool lose); /* closed store: the index is opened again, or thrown away */
/* Turns the loop until *done, at most 20 s. */
void store_rig_until(struct store_rig *r, const bool *done);
void store_rig_settle(struct store_rig *r, unsigned ms); /* lets timers and background work run for so long */

/* Fragments whose bytes follow from a number: id n, length len. */
void store_rig_id(uint64_t n, uint8_t ret[FRAG_ID_BYTES]);
void store_rig_fill(uint64_t n, uint8_t *p, size_t len);
bool store_rig_same(uint64_t n, uint64_t offset, const uint8_t *p, size_t len);

int store_rig_write(struct store_rig *r, uint64_t n, size_t len);
/* Reads and compares. Returns the status; E_PROTOCOL when bytes came that are not the fragment's. */
int store_rig_read(struct store_rig *r, uint64_t n, uint64_t offset, uint64_t length, size_t len);
int store_rig_delete(struct store_rig *r, uint64_t n); /* 0: was there; STORE_NOT_FOUND */
struct store_stat store_rig_stat(struct store_rig *r);
