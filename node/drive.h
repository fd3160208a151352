/* drive - a directory that is one drive of an installation, and the file `lectern.drive` that says whose it is.
 *
 * The identity is small text with a checksum: format, cluster, drive, index. A drive is locked (flock on the directory)
 * for as long as it is open, so that two servers never share one. Nothing here overwrites what it does not know: a
 * directory with segments but without identity, a newer format, a damaged identity are refused by name.
 * Thread: any; blocking. Memory: drive_open fills the caller's struct, drive_close frees what it holds.
 * Errors: -errno, E_VERSION, E_FOREIGN (not a drive of ours), E_CORRUPT, -EBUSY (another server has it).
 * Durable: drive_init when it returns 0. */
#pragma once
#include "common/base.h"
#include "common/err.h"

#define DRIVE_FORMAT   1
#define DRIVE_ID_BYTES 16
#define DRIVE_FILE     "lectern.drive"

enum drive_outcome { DRIVE_FRESH = 1 };

struct drive {
    char *dir;  /* owned */
    int dir_fd; /* holds the lock */
    uint8_t cluster_id[DRIVE_ID_BYTES], id[DRIVE_ID_BYTES];
    uint32_t index; /* in the cluster's map */
};

/* Makes the directory where it is absent. DRIVE_FRESH: locked and empty of Lectern's things; drive_init comes next, or
 * drive_close. why: one sentence for every negative return. */
int drive_open(const char *dir, struct drive *ret_drive, char *why, size_t why_cap);
/* Gives a fresh drive its identity and its folders. */
int drive_init(struct drive *d, const uint8_t cluster_id[DRIVE_ID_BYTES], uint32_t index, char *why, size_t why_cap);
void drive_close(struct drive *d);
char *drive_path(const struct drive *d, const char *name); /* DIR/name; returns owned; NULL: out of memory */
/* A small file, written whole: temporary name, fsync, rename, fsync of the directory. */
int drive_file_write(const struct drive *d, const char *name, const void *p, size_t n);
int drive_file_read(const struct drive *d, const char *name, size_t most, uint8_t **ret_bytes, size_t *ret_len);
