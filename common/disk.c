/* disk - picks the engine: io_uring where the kernel lets us, else threads, with one line that says why. */
#include "common/disk_file.h"
#include "common/err.h"
#include <stdio.h>

int disk_create(struct loop *loop, const char *force, struct disk **ret_disk, char *why, size_t why_cap)
{
    char refusal[160];
    if (why_cap)
        why[0] = '\0';
    if (force && strcmp(force, "threads") == 0)
        return disk_pool_create(loop, ret_disk, why, why_cap);
    int err = disk_uring_create(loop, ret_disk, refusal, sizeof refusal);
    if (err == 0)
        return 0;
    if (force && strcmp(force, "io_uring") == 0) {
        snprintf(why, why_cap, "%s; set disk.engine to auto or threads", refusal);
        return err;
    }
    err = disk_pool_create(loop, ret_disk, why, why_cap);
    if (err == 0)
        snprintf(why, why_cap, "%s; a pool of threads serves the drives instead", refusal);
    return err;
}
