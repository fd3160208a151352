/* metalog_file_impl - what appending (metalog_file.c) and recovery (metalog_scan.c) of the log share. */
#pragma once
#include "common/err.h"
#include "node/metalog_file.h"

#define LOG_PATH_MAX  4096
#define LOG_FILES_MAX 64 /* found at start; there are two or three */

struct log_seg {
    struct disk_file *file;
    uint64_t number;
    uint8_t uuid[16];
    uint64_t used;   /* next record's offset */
    uint64_t synced; /* everything before is durable */
};
struct log_place { /* where an entry stands, for replay */
    uint64_t epoch, seq, offset;
    uint32_t length;
    unsigned file; /* in found */
};

struct metalog_file {
    struct disk *disk;
    struct work *work;
    struct loop *loop;
    char dir[LOG_PATH_MAX - 64];
    uint8_t drive_id[16];
    uint64_t file_bytes, next_number;
    int (*sync_applied)(void *ctx);
    void (*idle)(void *ctx);
    void *ctx;

    /* of recovery; gone after reset */
    struct log_seg found[LOG_FILES_MAX];
    unsigned found_count;
    struct log_place *places;
    size_t place_count, place_cap;
    struct metalog_run run;

    struct log_seg active, spare, retired;
    bool making_spare;
    int spare_err;
    uint64_t spare_seq;
    struct work_req spare_work;
    struct metalog_append *appending, *waiting;
    struct loop_post fail_post;
    int failed;
};

void log_entry_id(uint64_t epoch, uint64_t seq, uint8_t id[FRAG_ID_BYTES]);
int log_path(const struct metalog_file *l, uint64_t number, const char *suffix, char *ret, size_t cap);
int log_seg_create(struct metalog_file *l, struct log_seg *s, uint64_t next_seq);
int log_seg_recycle(struct metalog_file *l, struct log_seg *s, uint64_t next_seq);
