/* meta_replica - one copy of the metadata on one drive: its register, its log and its database.
 *
 * DIR/register, DIR/log/, DIR/db/. A copy is good when all three can be read and the log, with what the database has
 * applied, makes an unbroken history; else `why` says what is wrong and it is filled again from another one.
 * After anything but a clean stop an open applies again all of the log that was applied: the database may have lost a
 * piece in the middle.
 * Thread: open, replay, fill and close block; apply on a work thread. Memory: the struct is the caller's. */
#pragma once
#include "node/meta_register.h"
#include "node/meta_schema.h"
#include "node/metalog_file.h"

#define META_PATH_MAX 3072

enum meta_copy_state {
    META_COPY_EMPTY, /* a new drive: nothing was ever written */
    META_COPY_GOOD,
    META_COPY_BAD,
};
struct meta_replica {
    struct meta_conf const *conf; /* of the service */
    struct meta_replica_conf self;
    unsigned number; /* in meta_conf.replicas */
    enum meta_copy_state state;
    int err; /* why it is bad */
    char why[128];
    char dir[META_PATH_MAX];
    struct meta_register *reg;
    Pb__MetaConfig *config; /* what the register said; borrows the arena given to open */
    struct kv *kv;
    struct metalog_file *log;
    uint64_t applied_epoch, applied_seq;
    bool whole;  /* its database holds all that is applied, so that a stop may be called clean */
    bool failed; /* while running: takes nothing more */
    struct metalog_append append;
    bool appending;
    bool stalled; /* given up while it appended: append still uses stalled_entry */
    struct metalog_entry stalled_entry;
    struct meta_register_write reg_write;
    bool reg_writing;
    uint64_t reg_round;
    bool applying; /* takes part in applying the group; and how that went */
    int apply_err;
    void (*idle)(struct meta_replica *r); /* its log has nothing under way any more; NULL before the service runs */
    struct meta *owner;
};

/* Opens what is there. Fails only where the whole start must (E_VERSION, E_FOREIGN, -ENOMEM); damage is a state. */
int meta_replica_open(struct meta_replica *r, const struct meta_conf *conf, unsigned number, struct arena *a, char *why,
                      size_t why_cap);
/* Makes an empty copy where nothing (or an interrupted creation) is. */
int meta_replica_create(struct meta_replica *r, char *why, size_t why_cap);
void meta_replica_close(struct meta_replica *r); /* database made durable first */
/* meta_space.c: -ENOSPC and why when a database in dir had no room to open in (RocksDB would abort). Thread: any */
int meta_space_start(struct disk *disk, const char *dir, char *why, size_t why_cap);
void meta_replica_bad(struct meta_replica *r, int err, const char *what);

/* The last entry it holds, applied or only logged. */
void meta_replica_last(const struct meta_replica *r, uint64_t *ret_epoch, uint64_t *ret_seq);
/* Applies entries of from's log (its own or another's) behind what is applied here, through the last one. */
int meta_replica_replay(struct meta_replica *r, struct meta_replica *from);
/* Its database becomes a copy of from's, row by row; from's log is applied already. */
int meta_replica_fill(struct meta_replica *r, struct meta_replica *from);
/* Empties the log for entries from seq on. */
int meta_replica_log_reset(struct meta_replica *r, uint64_t seq);
/* Applies one committed entry. batch gets the row s/applied behind the entry's own changes. */
int meta_replica_apply(struct meta_replica *r, const struct kv_batch *batch, uint64_t epoch, uint64_t seq);
/* Adds the row that says how far a database is. */
int meta_applied_put(struct kv_batch *b, uint64_t epoch, uint64_t seq);
