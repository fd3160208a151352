/* resume - what is remembered between runs, as small JSON files: of an upload its id (under the user's cache folder,
 * named after source and target), of a download which pieces of FILE.part are there (beside it). Nothing in them is
 * trusted: parts are compared by MD5, the whole by its ETag. */
#include "cmd/transfer.h"
#include "common/crypt.h"
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static bool make_folders(char *path)
{
    for (char *p = path + 1; (p = strchr(p, '/')); p++) {
        *p = 0;
        bool ok = mkdir(path, 0700) == 0 || errno == EEXIST;
        *p = '/';
        if (!ok)
            return false;
    }
    return true;
}

static char *upload_state_path(const struct transfer *t)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char real[PATH_MAX], hex[65];
    uint8_t raw[32];
    struct sbuf name = {0}, path = {0};
    if ((!cache || *cache != '/') && !home)
        return NULL;
    sbuf_printf(&name, "%s\n%s\n%s\n%s", t->set->s3.endpoint, t->bucket, t->key,
                realpath(t->path, real) ? real : t->path);
    digest_once(DIGEST_SHA256, name.p, name.len, raw);
    sbuf_fini(&name);
    hex_encode(raw, sizeof(raw), hex);
    if (cache && *cache == '/')
        sbuf_printf(&path, "%s/lectern/uploads/%.32s.json", cache, hex);
    else
        sbuf_printf(&path, "%s/.cache/lectern/uploads/%.32s.json", home, hex);
    return path.p;
}

/* Under a temporary name first: a state that was cut short is worse than none. */
static void save(const char *path, json_t *state)
{
    char temporary[PATH_MAX];
    if ((size_t)snprintf(temporary, sizeof(temporary), "%s.new", path) < sizeof(temporary) &&
        json_dump_file(state, temporary, JSON_COMPACT) == 0 && rename(temporary, path) != 0)
        unlink(temporary);
    json_decref(state);
}

static bool number_is(const json_t *state, const char *name, uint64_t n)
{
    return json_is_integer(json_object_get(state, name)) &&
           json_integer_value(json_object_get(state, name)) == (json_int_t)n;
}

void resume_upload_load(struct transfer *t)
{
    t->state_path = upload_state_path(t);
    json_t *state = t->state_path ? json_load_file(t->state_path, 0, NULL) : NULL;
    const char *id = json_string_value(json_object_get(state, "upload_id"));
    json_int_t part = json_integer_value(json_object_get(state, "part_bytes"));
    if (id && number_is(state, "size", t->size) && number_is(state, "mtime_ns", t->mtime_ns) &&
        part >= (json_int_t)TRANSFER_PART_LEAST && part <= (json_int_t)TRANSFER_PART_MOST) {
        t->upload_id = strdup(id);
        t->part_bytes = (uint64_t)part;
    }
    json_decref(state);
}

void resume_upload_save(struct transfer *t)
{
    if (t->state_path && make_folders(t->state_path))
        save(t->state_path, json_pack("{s:s,s:I,s:I,s:I}", "upload_id", t->upload_id, "size", (json_int_t)t->size,
                                      "mtime_ns", (json_int_t)t->mtime_ns, "part_bytes", (json_int_t)t->part_bytes));
}

void resume_download_load(struct transfer *t)
{
    json_t *state = json_load_file(t->state_path, 0, NULL);
    const char *etag = json_string_value(json_object_get(state, "etag"));
    const char *done = json_string_value(json_object_get(state, "done"));
    if (etag && done && strcmp(etag, t->etag) == 0 && number_is(state, "size", t->size) &&
        number_is(state, "part_bytes", t->part_bytes) && strlen(done) == t->part_count)
        for (unsigned i = 0; i < t->part_count; i++)
            if (done[i] == '1') {
                t->parts[i].state = PART_DONE;
                t->parts_done++;
                t->moved_bytes += t->parts[i].bytes;
                t->resumed_bytes += t->parts[i].bytes;
            }
    json_decref(state);
}

void resume_download_save(struct transfer *t)
{
    char *done = malloc(t->part_count + 1u);
    if (!done)
        return;
    for (unsigned i = 0; i < t->part_count; i++)
        done[i] = t->parts[i].state == PART_DONE ? '1' : '0';
    done[t->part_count] = 0;
    save(t->state_path, json_pack("{s:s,s:I,s:I,s:s}", "etag", t->etag, "size", (json_int_t)t->size, "part_bytes",
                                  (json_int_t)t->part_bytes, "done", done));
    free(done);
}

void resume_forget(struct transfer *t)
{
    if (t->state_path)
        unlink(t->state_path);
}
