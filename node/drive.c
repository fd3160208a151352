/* drive - identity and lock of a directory. The lock is on the directory itself, so nothing has to be created to take
 * it and a symbolic link to the same place does not fool it; the kernel lets it go with the process. */
#include "node/drive.h"
#include "common/crypt.h"
#include "common/xxh.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define IDENTITY_MAX 1024

static const char magic[] = "lectern drive\n";

char *drive_path(const struct drive *d, const char *name)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", d->dir, name) < 0 ? NULL : path;
}

static int fd_write(int fd, const void *p, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t put = write(fd, (const char *)p + done, n - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return put < 0 ? -errno : -EIO;
        done += (size_t)put;
    }
    return fsync(fd) < 0 ? -errno : 0;
}

int drive_file_write(const struct drive *d, const char *name, const void *p, size_t n)
{
    char temporary[64];
    int len = snprintf(temporary, sizeof temporary, "%s.tmp", name);
    assert(len > 0 && (size_t)len < sizeof temporary);
    int fd = openat(d->dir_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (fd < 0)
        return -errno;
    int err = fd_write(fd, p, n);
    close(fd);
    if (err == 0 && renameat(d->dir_fd, temporary, d->dir_fd, name) < 0)
        err = -errno;
    if (err) {
        unlinkat(d->dir_fd, temporary, 0);
        return err;
    }
    return fsync(d->dir_fd) < 0 ? -errno : 0;
}

int drive_file_read(const struct drive *d, const char *name, size_t most, uint8_t **ret_bytes, size_t *ret_len)
{
    int fd = openat(d->dir_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    uint8_t *bytes = malloc(most + 1);
    size_t len = 0;
    int err = bytes ? 0 : -ENOMEM;
    while (err == 0 && len <= most) {
        ssize_t got = read(fd, bytes + len, most + 1 - len);
        if (got < 0 && errno != EINTR)
            err = -errno;
        if (got == 0)
            break;
        len += got > 0 ? (size_t)got : 0;
    }
    close(fd);
    if (err == 0 && len > most)
        err = E_CORRUPT;
    if (err) {
        free(bytes);
        return err;
    }
    *ret_bytes = bytes;
    *ret_len = len;
    return 0;
}

/* ---- the identity's text ---- */

static int id_parse(struct str text, uint8_t ret[DRIVE_ID_BYTES])
{
    size_t len;
    return hex_decode(text, ret, DRIVE_ID_BYTES, &len) == 0 && len == DRIVE_ID_BYTES ? 0 : E_CORRUPT;
}

/* The last line is the checksum of everything before it. */
static bool sum_right(struct str text)
{
    static const char key[] = "sum = ";
    size_t tail = sizeof key - 1 + 16 + 1;
    uint8_t sum[8];
    size_t len;
    if (text.len < tail)
        return false;
    struct str line = {text.p + text.len - tail, tail - 1};
    if (text.p[text.len - 1] != '\n' || !str_starts(line, str_c(key)) ||
        hex_decode((struct str){line.p + sizeof key - 1, 16}, sum, 8, &len) != 0)
        return false;
    return get_be64(sum) == xxh64of(text.p, text.len - tail, 0);
}

static int identity_parse(struct str text, struct drive *d)
{
    struct str rest = text, line, name;
    uint64_t format = 0, index = UINT64_MAX;
    unsigned seen = 0;
    if (!str_starts(text, str_c(magic)))
        return E_FOREIGN;
    while (str_split(&rest, '\n', &line)) {
        struct str value = line;
        if (!str_split(&value, '=', &name) || !value.p)
            continue;
        name = str_trim(name);
        value = str_trim(value);
        int err = 0;
        if (str_eq(name, STR("format")))
            err = str_u64(value, &format), seen |= 1;
        else if (str_eq(name, STR("cluster")))
            err = id_parse(value, d->cluster_id), seen |= 2;
        else if (str_eq(name, STR("drive")))
            err = id_parse(value, d->id), seen |= 4;
        else if (str_eq(name, STR("index")))
            err = str_u64(value, &index), seen |= 8;
        if (err)
            return E_CORRUPT;
    }
    if (format > DRIVE_FORMAT) /* its other lines are its own affair, and so is how they are summed */
        return E_VERSION;
    if (!sum_right(text) || seen != 15 || format == 0 || index > UINT16_MAX)
        return E_CORRUPT;
    d->index = (uint32_t)index;
    return 0;
}

static int identity_write(const struct drive *d)
{
    char text[IDENTITY_MAX], cluster[2 * DRIVE_ID_BYTES + 1], id[2 * DRIVE_ID_BYTES + 1];
    hex_encode(d->cluster_id, DRIVE_ID_BYTES, cluster);
    hex_encode(d->id, DRIVE_ID_BYTES, id);
    int n = snprintf(text, sizeof text, "%sformat = %d\ncluster = %s\ndrive = %s\nindex = %u\n", magic, DRIVE_FORMAT,
                     cluster, id, d->index);
    n +=
        snprintf(text + n, sizeof text - (size_t)n, "sum = %016llx\n", (unsigned long long)xxh64of(text, (size_t)n, 0));
    return drive_file_write(d, DRIVE_FILE, text, (size_t)n);
}

/* ---- opening ---- */

static int lock(struct drive *d, char *why, size_t why_cap)
{
    /* Only the last folder is made: a path whose parent is absent is mistyped, or its drive is not mounted. */
    int err = mkdir(d->dir, 0750) < 0 && errno != EEXIST ? -errno : 0;
    if (err == 0) {
        d->dir_fd = open(d->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        err = d->dir_fd < 0 ? -errno : 0;
    }
    if (err) {
        snprintf(why, why_cap, "%s: cannot be opened: %s", d->dir, err_text(err));
        return err;
    }
    if (flock(d->dir_fd, LOCK_EX | LOCK_NB) < 0) {
        err = errno == EWOULDBLOCK ? -EBUSY : -errno;
        snprintf(why, why_cap,
                 err == -EBUSY ? "%s: another server has this drive open (or the directory was given twice)"
                               : "%s: cannot be locked",
                 d->dir);
    }
    return err;
}

static int fresh_check(const struct drive *d, char *why, size_t why_cap)
{
    static const char *const ours[] = {"segments", "index", "meta"};
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        if (faccessat(d->dir_fd, ours[i], F_OK, 0) == 0) {
            snprintf(why, why_cap,
                     "%s: holds \"%s\" but no " DRIVE_FILE ": it is not taken for an empty drive; restore that file or "
                     "empty the directory",
                     d->dir, ours[i]);
            return E_FOREIGN;
        }
    return DRIVE_FRESH;
}

static int identify(struct drive *d, char *why, size_t why_cap)
{
    uint8_t *text;
    size_t len;
    int err = drive_file_read(d, DRIVE_FILE, IDENTITY_MAX, &text, &len);
    if (err == -ENOENT)
        return fresh_check(d, why, why_cap);
    if (err == 0) {
        err = identity_parse((struct str){(char *)text, len}, d);
        free(text);
    }
    const char *what = err == E_FOREIGN   ? DRIVE_FILE " is not Lectern's"
                       : err == E_VERSION ? "made by a newer version of Lectern; use that version"
                       : err == E_CORRUPT ? DRIVE_FILE " is damaged; restore it from a copy"
                                          : "its identity cannot be read";
    if (err)
        snprintf(why, why_cap, "%s: %s", d->dir, what);
    return err;
}

/* Also after a crash between identity and folders. */
static int folders(const struct drive *d)
{
    static const char *const names[] = {"segments", "index"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (mkdirat(d->dir_fd, names[i], 0750) < 0 && errno != EEXIST)
            return -errno;
    return fsync(d->dir_fd) < 0 ? -errno : 0;
}

int drive_open(const char *dir, struct drive *ret_drive, char *why, size_t why_cap)
{
    struct drive d = {.dir = strdup(dir), .dir_fd = -1};
    if (!d.dir) {
        snprintf(why, why_cap, "%s: out of memory", dir);
        return -ENOMEM;
    }
    int err = lock(&d, why, why_cap);
    if (err == 0)
        err = identify(&d, why, why_cap);
    if (err == 0) {
        err = folders(&d);
        if (err)
            snprintf(why, why_cap, "%s: its folders cannot be made: %s", dir, err_text(err));
    }
    if (err < 0) {
        drive_close(&d);
        return err;
    }
    *ret_drive = d;
    return err;
}

int drive_init(struct drive *d, const uint8_t cluster_id[DRIVE_ID_BYTES], uint32_t index, char *why, size_t why_cap)
{
    memcpy(d->cluster_id, cluster_id, DRIVE_ID_BYTES);
    random_bytes(d->id, DRIVE_ID_BYTES);
    d->index = index;
    int err = identity_write(d); /* first: folders without an identity would be refused for ever */
    if (err == 0)
        err = folders(d);
    if (err)
        snprintf(why, why_cap, "%s: cannot be made a drive: %s", d->dir, err_text(err));
    return err;
}

void drive_close(struct drive *d)
{
    if (d->dir_fd >= 0)
        close(d->dir_fd);
    free(d->dir);
    d->dir = NULL;
    d->dir_fd = -1;
}
