/* secrets - a file of four lines, "name = value". Whoever reads it may enter, so its mode is set before its content. */
#include "cmd/secrets.h"
#include "common/crypt.h"
#include "common/err.h"
#include "common/log.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX      4096
#define PATH_CAP      4096
#define ACCESS_PREFIX "LK"
#define ACCESS_RANDOM 18
#define SECRET_MIN    8

static const char *const file_head =
    "# Lectern's secrets, made at the first start. Whoever reads this file may enter: keep it private.\n"
    "# Every drive has a copy. Without master_key the access keys stored in the metadata cannot be opened.\n";

static int take_line(struct secrets *s, struct str line)
{
    struct str value = line, name;
    line = str_trim(line);
    if (line.len == 0 || line.p[0] == '#')
        return 0;
    if (!str_split(&value, '=', &name))
        return -EINVAL;
    name = str_trim(name);
    value = str_trim(value);
    if (str_eq(name, STR("master_key"))) {
        size_t len;
        s->has_master = hex_decode(value, s->master_key, sizeof(s->master_key), &len) == 0 && len == SECRETS_MASTER_LEN;
        return s->has_master ? 0 : -EINVAL;
    }
    char *slot = str_eq(name, STR("root_access_key"))   ? s->access_key
                 : str_eq(name, STR("root_secret_key")) ? s->secret_key
                 : str_eq(name, STR("admin_token"))     ? s->admin_token
                                                        : NULL;
    if (!slot || value.len > SECRETS_TEXT_MAX)
        return -EINVAL;
    memcpy(slot, value.p, value.len);
    slot[value.len] = 0;
    return 0;
}

int secrets_read(const char *dir, struct secrets *ret, char *why, size_t why_cap)
{
    char path[PATH_CAP], text[FILE_MAX + 1];
    memset(ret, 0, sizeof(*ret));
    snprintf(path, sizeof(path), "%s/" SECRETS_FILE, dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        int err = -errno;
        snprintf(why, why_cap, "%s cannot be read: %s", path, strerror(-err));
        return err == -ENOTDIR ? -ENOENT : err;
    }
    struct stat st;
    if (fstat(fd, &st) == 0 && (st.st_mode & 077) != 0 && fchmod(fd, 0600) == 0)
        log_event(LOG_WARN, "secrets.mode", "path=%s others could read it, its mode is 0600 again",
                  log_quote(str_c(path)));
    ssize_t n = read(fd, text, FILE_MAX + 1);
    close(fd);
    int err = n < 0 ? -errno : n > FILE_MAX ? -EINVAL : 0;
    struct str rest = {text, err ? 0 : (size_t)n}, line;
    while (err == 0 && str_split(&rest, '\n', &line))
        err = take_line(ret, line);
    explicit_bzero(text, sizeof(text));
    if (err)
        snprintf(why, why_cap,
                 "%s is damaged: put a copy from another drive in its place, or remove it to make new keys", path);
    return err;
}

static int write_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -errno;
        p += done;
        n -= (size_t)done;
    }
    return fsync(fd) == 0 ? 0 : -errno;
}

static int sync_folder(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int err = fsync(fd) == 0 ? 0 : -errno;
    close(fd);
    return err;
}

static int write_file(const char *dir, const struct secrets *s)
{
    char path[PATH_CAP], temporary[PATH_CAP], text[FILE_MAX], master[2 * SECRETS_MASTER_LEN + 1];
    snprintf(path, sizeof(path), "%s/" SECRETS_FILE, dir);
    snprintf(temporary, sizeof(temporary), "%s/." SECRETS_FILE ".new", dir);
    hex_encode(s->master_key, SECRETS_MASTER_LEN, master);
    int n = snprintf(text, sizeof(text),
                     "%sroot_access_key = %s\nroot_secret_key = %s\nadmin_token = %s\nmaster_key = %s\n", file_head,
                     s->access_key, s->secret_key, s->admin_token, master);
    assert(n > 0 && (size_t)n < sizeof(text));
    unlink(temporary); /* left by a start that was cut short */
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int err = write_all(fd, text, (size_t)n);
    close(fd);
    explicit_bzero(text, sizeof(text));
    if (err == 0 && rename(temporary, path) != 0)
        err = -errno;
    return err ? err : sync_folder(dir);
}

static void make_text(char *slot, const char *prefix, size_t random_len, const char *alphabet)
{
    size_t n = strlen(prefix), alphabet_len = strlen(alphabet);
    uint8_t raw[SECRETS_TEXT_MAX];
    random_bytes(raw, random_len);
    memcpy(slot, prefix, n);
    for (size_t i = 0; i < random_len; i++)
        slot[n + i] = alphabet[raw[i] % alphabet_len]; /* lengths divide 256: no bias */
    slot[n + random_len] = 0;
    explicit_bzero(raw, sizeof(raw));
}

/* Makes what is empty; true when anything was. */
static bool make_missing(struct secrets *s)
{
    static const char base32[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    bool made = false;
    if (!s->access_key[0] || !s->secret_key[0]) {
        make_text(s->access_key, ACCESS_PREFIX, ACCESS_RANDOM, base32);
        make_text(s->secret_key, "", 40, base64);
        made = s->made_keys = true;
    }
    if (!s->admin_token[0]) {
        make_text(s->admin_token, "", 43, base64);
        made = s->made_token = true;
    }
    if (!s->has_master) {
        random_bytes(s->master_key, sizeof(s->master_key));
        s->has_master = true;
        made = true;
    }
    return made;
}

/* What the configuration gives wins; it must be something that clients can send. */
static int lay_over(const struct conf *conf, enum conf_key key, size_t least, char *slot, char *why, size_t why_cap)
{
    const char *value = conf_str(conf, key);
    size_t len = strlen(value);
    if (len == 0)
        return 0;
    bool plain = len >= least && len <= SECRETS_TEXT_MAX;
    for (size_t i = 0; i < len; i++)
        plain = plain && value[i] > ' ' && value[i] < 127 && (key != CONF_ROOT_ACCESS_KEY || !strchr("/,=:", value[i]));
    if (!plain) {
        snprintf(why, why_cap, "%s must be %zu to %d visible ASCII characters%s: choose another", conf_rows[key].key,
                 least, SECRETS_TEXT_MAX, key == CONF_ROOT_ACCESS_KEY ? " without / , = :" : "");
        return -EINVAL;
    }
    memcpy(slot, value, len + 1);
    return 0;
}

static int lay_all_over(const struct conf *conf, struct secrets *s, char *why, size_t why_cap)
{
    bool access = *conf_str(conf, CONF_ROOT_ACCESS_KEY), secret = *conf_str(conf, CONF_ROOT_SECRET_KEY);
    if (access != secret) {
        snprintf(why, why_cap, "%s is given without %s: give both or none",
                 conf_rows[access ? CONF_ROOT_ACCESS_KEY : CONF_ROOT_SECRET_KEY].key,
                 conf_rows[access ? CONF_ROOT_SECRET_KEY : CONF_ROOT_ACCESS_KEY].key);
        return -EINVAL;
    }
    s->made_keys = s->made_keys && !access;
    s->made_token = s->made_token && !*conf_str(conf, CONF_ADMIN_TOKEN);
    int err = lay_over(conf, CONF_ROOT_ACCESS_KEY, 3, s->access_key, why, why_cap);
    if (err == 0)
        err = lay_over(conf, CONF_ROOT_SECRET_KEY, SECRET_MIN, s->secret_key, why, why_cap);
    return err ? err : lay_over(conf, CONF_ADMIN_TOKEN, SECRET_MIN, s->admin_token, why, why_cap);
}

/* The first readable file among the drives. -ENOENT: none has one; a damaged one counts only when no other is whole. */
static int find_file(const char *const *dirs, unsigned dir_count, struct secrets *ret, char *why, size_t why_cap)
{
    int worst = -ENOENT;
    for (unsigned i = 0; i < dir_count; i++) {
        char sentence[512];
        int err = secrets_read(dirs[i], ret, sentence, sizeof(sentence));
        if (err == 0)
            return 0;
        if (err != -ENOENT && worst == -ENOENT) {
            worst = err;
            snprintf(why, why_cap, "%s", sentence);
        }
    }
    memset(ret, 0, sizeof(*ret));
    return worst;
}

/* The file in one directory made equal to ret, unless it is there and whole: then it stays, whatever it says. */
static int settle(const char *dir, const struct secrets *ret, bool made)
{
    struct secrets other;
    char path[PATH_CAP], why[512];
    snprintf(path, sizeof(path), "%s/" SECRETS_FILE, dir);
    if (!made && access(path, F_OK) == 0 && secrets_read(dir, &other, why, sizeof(why)) == 0) {
        if (memcmp(&other, ret, sizeof(other)) != 0)
            log_event(LOG_WARN, "secrets.differ", "path=%s differs from the first drive's, which holds",
                      log_quote(str_c(path)));
        secrets_wipe(&other);
        return 0;
    }
    int err = write_file(dir, ret);
    if (err)
        log_event(LOG_WARN, "secrets.copy", "path=%s error=%s", log_quote(str_c(path)),
                  log_quote(str_c(strerror(-err))));
    return err;
}

int secrets_open(const char *const *dirs, unsigned dir_count, const struct conf *conf, struct secrets *ret, char *why,
                 size_t why_cap)
{
    int err = find_file(dirs, dir_count, ret, why, why_cap);
    if (err != 0 && err != -ENOENT)
        return err;
    bool made = make_missing(ret);
    unsigned copies = 0;
    for (unsigned i = 0; i < dir_count; i++) {
        int failed = settle(dirs[i], ret, made);
        copies += failed == 0;
        err = failed ? failed : err;
    }
    if (copies == 0) {
        snprintf(why, why_cap, "no drive takes the file " SECRETS_FILE " (%s): make the data directory writable",
                 strerror(-err));
        return err;
    }
    return lay_all_over(conf, ret, why, why_cap);
}

void secrets_wipe(struct secrets *s)
{
    explicit_bzero(s, sizeof(*s));
}
