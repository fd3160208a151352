/* cp - `lectern cp`: which files go where; transfer.c carries them. */
#include "cmd/transfer.h"
#include "common/err.h"
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static bool ends_with_slash(struct str s)
{
    return s.len == 0 || s.p[s.len - 1] == '/';
}

static struct str base_name(struct str path)
{
    while (path.len > 1 && path.p[path.len - 1] == '/')
        path.len--;
    for (size_t i = path.len; i > 0; i--)
        if (path.p[i - 1] == '/')
            return (struct str){path.p + i, path.len - i};
    return path;
}

static void add_up(struct transfer_set *set, const char *path, struct str bucket, struct str prefix, struct str name,
                   uint64_t size)
{
    struct sbuf key = {0};
    sbuf_str(&key, prefix);
    sbuf_str(&key, name);
    if (key.err)
        abort(); /* a command line without memory for names */
    transfer_add(set, &transfer_up, path, bucket, (struct str){key.p, key.len}, size);
    sbuf_fini(&key);
}

/* ---- up ---- */

static int add_tree(struct transfer_set *set, char *root, struct str bucket, struct str prefix)
{
    char *const roots[] = {root, NULL};
    FTS *tree = fts_open(roots, FTS_LOGICAL | FTS_NOCHDIR, NULL);
    int rc = CMD_OK;
    size_t skip = strlen(root);
    struct sbuf folder = {0};
    while (skip && root[skip - 1] == '/')
        skip--;
    sbuf_str(&folder, prefix);
    if (!ends_with_slash(prefix))
        sbuf_puts(&folder, "/");
    for (FTSENT *e; tree && (e = fts_read(tree));) {
        if (e->fts_info == FTS_F) {
            const char *name = e->fts_path + skip;
            while (*name == '/')
                name++;
            add_up(set, e->fts_path, bucket, (struct str){folder.p, folder.len}, str_c(name),
                   (uint64_t)e->fts_statp->st_size);
        } else if (e->fts_info == FTS_DNR || e->fts_info == FTS_ERR || e->fts_info == FTS_NS ||
                   e->fts_info == FTS_SLNONE) {
            cmd_error(set->line, "%s: cannot be read: %s", e->fts_path,
                      e->fts_info == FTS_SLNONE ? "a link to nothing" : err_text(-e->fts_errno));
            rc = CMD_FAILED;
        }
    }
    if (tree)
        fts_close(tree);
    sbuf_fini(&folder);
    return tree ? rc : CMD_FAILED;
}

static int add_uploads(struct transfer_set *set, char *path, struct str bucket, struct str key)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        cmd_error(set->line, "%s cannot be read: %s", path, err_text(-errno));
        return CMD_FAILED;
    }
    if (S_ISDIR(st.st_mode)) {
        if (cmd_has(set->line, OPT_RECURSIVE))
            return add_tree(set, path, bucket, key);
        cmd_error(set->line, "%s is a folder: -r copies it with all that is in it", path);
        return CMD_USAGE;
    }
    add_up(set, path, bucket, key, ends_with_slash(key) ? base_name(str_c(path)) : STR_NONE, (uint64_t)st.st_size);
    return CMD_OK;
}

/* ---- down ---- */

struct gather {
    struct transfer_set *set;
    struct str bucket, prefix;
    const char *folder;
    unsigned left_out;
};

/* A key that stays below the folder as a path: no empty, "." or ".." segment, no NUL. */
static bool path_is_safe(struct str key)
{
    struct str rest = key, part;
    if (key.len == 0 || memchr(key.p, 0, key.len))
        return false;
    while (str_split(&rest, '/', &part))
        if (part.len == 0 || str_eq(part, STR(".")) || str_eq(part, STR("..")))
            return false;
    return true;
}

static int make_folders(const struct cmdline *l, char *path)
{
    for (char *p = path + 1; (p = strchr(p, '/')); p++) {
        *p = 0;
        int failed = mkdir(path, 0777) != 0 && errno != EEXIST;
        if (failed)
            cmd_error(l, "%s cannot be made: %s", path, err_text(-errno));
        *p = '/';
        if (failed)
            return CMD_FAILED;
    }
    return CMD_OK;
}

static void add_down(struct transfer_set *set, const char *folder, struct str name, struct str bucket, struct str key,
                     uint64_t size)
{
    struct sbuf path = {0};
    sbuf_puts(&path, folder);
    if (name.len && path.len && path.p[path.len - 1] != '/')
        sbuf_puts(&path, "/");
    sbuf_str(&path, name);
    if (path.err)
        abort(); /* a command line without memory for names */
    if (make_folders(set->line, path.p) == CMD_OK)
        transfer_add(set, &transfer_down, path.p, bucket, key, size);
    else
        set->failed++;
    sbuf_fini(&path);
}

static bool each_key(void *ctx, const struct s3c_object *o)
{
    struct gather *g = ctx;
    struct str name = o->key;
    if (str_starts(name, g->prefix))
        name = (struct str){name.p + g->prefix.len, name.len - g->prefix.len};
    if (name.len && name.p[0] == '/' && g->prefix.len && !ends_with_slash(g->prefix))
        name = (struct str){name.p + 1, name.len - 1}; /* -r s3://bucket/folder means what lies below folder/ */
    if (path_is_safe(name))
        add_down(g->set, g->folder, name, g->bucket, o->key, o->size);
    else if (!(o->size == 0 && ends_with_slash(o->key))) { /* an empty "folder/" object is no file */
        cmd_error(g->set->line, "s3://" STR_FMT "/" STR_FMT ": left out, its name is not a path for a file",
                  STR_ARG(g->bucket), STR_ARG(o->key));
        g->left_out++;
    }
    return true;
}

static int add_downloads(struct transfer_set *set, struct str bucket, struct str key, const char *to)
{
    struct stat st;
    bool folder = ends_with_slash(str_c(to)) || (stat(to, &st) == 0 && S_ISDIR(st.st_mode));
    if (cmd_has(set->line, OPT_RECURSIVE)) {
        struct gather g = {set, bucket, key, to, 0};
        int rc = s3c_list(&set->s3, set->line, bucket, key, NULL, each_key, &g);
        set->failed += g.left_out;
        return rc;
    }
    if (ends_with_slash(key)) {
        cmd_error(set->line, "s3://" STR_FMT "/" STR_FMT " names many objects: -r copies them all", STR_ARG(bucket),
                  STR_ARG(key));
        return CMD_USAGE;
    }
    struct str name = folder ? base_name(key) : STR_NONE;
    if (folder && !path_is_safe(name)) {
        cmd_error(set->line, "\"" STR_FMT "\" is no file name: say which file it shall be", STR_ARG(name));
        return CMD_USAGE;
    }
    add_down(set, to, name, bucket, key, 0);
    return CMD_OK;
}

int cmd_cp(struct cmdline *l)
{
    struct transfer_set set;
    struct str bucket, key, other_bucket, other_key;
    bool from = s3c_address(l->args[0], &bucket, &key), to = s3c_address(l->args[1], &other_bucket, &other_key);
    if (from == to) {
        cmd_error(l, from ? "both sides are s3:// addresses: copy inside with `aws s3 cp` or `rclone`"
                          : "one side must be s3://BUCKET/KEY");
        return CMD_USAGE;
    }
    int rc = transfer_set_open(&set, l);
    if (rc != CMD_OK)
        return rc;
    rc = from ? add_downloads(&set, bucket, key, l->args[1]) : add_uploads(&set, l->args[0], other_bucket, other_key);
    if (rc == CMD_OK || (rc == CMD_FAILED && set.count)) {
        int ran = transfer_run(&set);
        rc = ran != CMD_OK ? ran : rc;
    }
    transfer_set_close(&set);
    return rc;
}
