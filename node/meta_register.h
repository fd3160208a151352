/* meta_register - the small file of a replica that says who holds the metadata: the newest configuration it took, and
 * the epoch it has promised not to go below. Two pages take turns, so that a torn write leaves the one before it.
 *
 * A configuration holds once a majority of the members' registers carry it; a promise is made to a majority first, so
 * that an unfinished change can never be mistaken for one that won (R1, R2 of design.md on one machine).
 * Thread: open, close and write_now block; write on the loop. Memory: open returns owned; the configuration read lives
 * in the arena. Errors: -errno, E_VERSION. Durable: what was written, before cb(0). */
#pragma once
#include "common/arena.h"
#include "common/disk.h"
#include "common/wire.pb-c.h"

struct meta_register;
enum { META_REGISTER_DAMAGED = 1 };
/* ret_config: NULL when the register has never been written, or is damaged (then the outcome says so: it has lost its
 * memory and must not vote, but it can be written again). */
int meta_register_open(struct disk *disk, const char *path, struct arena *a, struct meta_register **ret_register,
                       Pb__MetaConfig **ret_config);
void meta_register_close(struct meta_register *g); /* no write under way */
int meta_register_write_now(struct meta_register *g, const Pb__MetaConfig *config);
bool meta_register_failed(const struct meta_register *g);

struct meta_register_write {
    void (*cb)(struct meta_register_write *w, int err);
    struct meta_register *reg; /* private */
    struct disk_req req;       /* private */
};
/* One at a time. config is borrowed during the call only. After an error the register takes nothing more. */
void meta_register_write(struct meta_register *g, const Pb__MetaConfig *config, struct meta_register_write *w);
