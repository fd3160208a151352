/* disk_fault - a disk over another one that fails chosen calls: the n-th of those on paths that hold a word.
 *
 * Counted are reads, writes, syncs (blocking and not), open, zero, rename and unlink. A failed write or sync did
 * nothing. Once it has failed a call, it may go on failing (a dead drive) or not. Thread: as disk.h. Memory:
 * disk_fault_create returns owned; destroy does not destroy the disk below. */
#pragma once
#include "common/disk.h"

struct disk_fault;
int disk_fault_create(struct loop *loop, struct disk *below, struct disk_fault **ret_fault);
struct disk *disk_fault_disk(struct disk_fault *d);
/* nth: from 1; 0: nothing fails. word: borrowed. sticky: every call from the n-th on. */
void disk_fault_set(struct disk_fault *d, const char *word, uint64_t nth, int err, bool sticky);
/* Folders whose path holds the word say that so much is free (of a TiB); NULL: what is true. */
void disk_fault_space(struct disk_fault *d, const char *word, uint64_t free_bytes);
/* Asynchronous requests on paths that hold the word come to nothing until the release, which hands them on. Loop. */
void disk_fault_hold(struct disk_fault *d, const char *word);
bool disk_fault_holding(const struct disk_fault *d); /* a request has come and is held */
void disk_fault_release(struct disk_fault *d);
bool disk_fault_hit(const struct disk_fault *d); /* the chosen call has come */
