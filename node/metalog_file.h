/* metalog_file - the metadata log of one replica on its drive: a few segment files that take turns.
 *
 * An entry is a fragment record (segment.h) whose id is (epoch, seq); the record's own checksums, its segment's uuid
 * and its offset tell it from anything else. Entries are appended one at a time, and seq rises by one; an entry whose
 * seq was there before replaces that one and all behind it. When a file is full the spare takes over, and the full one
 * becomes the next spare once the database holds everything in it durably: no space is asked for while the server runs.
 * Thread: open, each, reset and close block (before the loop runs, or when nothing is under way); append on the loop.
 * Memory: open returns owned; an entry is shared between replicas and stays until every append of it called back.
 * Errors: -errno, E_CORRUPT, E_VERSION, E_FOREIGN. Durable: the entry, before append's cb(0). */
#pragma once
#include "common/buf.h"
#include "common/disk.h"
#include "node/segment.h"

#define METALOG_ENTRY_MAX SEGMENT_PAYLOAD_MAX

struct metalog_entry {
    uint64_t epoch, seq;
    struct buf *payload;          /* padded to whole pages */
    struct segment_record record; /* length and sums; offset and synced differ by replica */
};
/* Copies bytes and sums them. Thread: any. -ENOMEM; E_LIMIT past METALOG_ENTRY_MAX. */
int metalog_entry_init(struct metalog_entry *e, struct str bytes);
void metalog_entry_fini(struct metalog_entry *e);

struct metalog_file;
struct metalog_file_conf {
    struct loop *loop;
    struct disk *disk;
    struct work *work;
    const char *dir;         /* is made where absent; borrows until open returns */
    const uint8_t *drive_id; /* 16 bytes; borrows until open returns */
    uint64_t file_bytes;
    int (*sync_applied)(void *ctx); /* everything applied is durable when it returns 0; called on a work thread */
    void (*idle)(void *ctx);        /* a spare is ready that was not: see metalog_file_idle. Loop */
    void *ctx;
};
int metalog_file_open(const struct metalog_file_conf *conf, struct metalog_file **ret_log, char *why, size_t why_cap);
void metalog_file_close(struct metalog_file *l);      /* no append under way; see idle */
bool metalog_file_idle(const struct metalog_file *l); /* nothing under way, not even a spare being made */

/* What the files hold: an unbroken run of entries, [first_seq, last_seq]; last_seq 0: none. */
struct metalog_run {
    uint64_t first_seq, last_seq, last_epoch;
};
struct metalog_run metalog_file_run(const struct metalog_file *l);
uint64_t metalog_file_epoch_of(const struct metalog_file *l, uint64_t seq); /* 0: not in the run */
/* Every entry from seq on, in order; each's nonzero ends it and is returned. */
int metalog_file_each(struct metalog_file *l, uint64_t from_seq,
                      int (*each)(void *ctx, uint64_t epoch, uint64_t seq, struct str bytes), void *ctx);
/* Forgets all entries (they are applied and durable) and makes the files ready for the next. Must come before the first
 * append. */
int metalog_file_reset(struct metalog_file *l, uint64_t next_seq);

struct metalog_append {
    struct metalog_file *log;
    const struct metalog_entry *entry;
    void (*cb)(struct metalog_append *a, int err);
    struct disk_req req; /* private */
    uint8_t *page;       /* private */
};
/* One at a time. a and entry are the caller's until cb, which never runs inside. After an error the log takes nothing
 * more. */
void metalog_file_append(struct metalog_file *l, const struct metalog_entry *e, struct metalog_append *a);
