/* Four small files under strict headers: no script but ours, no frame around us, no referrer. connect-src and media-src
 * are open, because a playback URL may live on another host than this page. */
#include "gateway-s3/watch.h"

#include "common/crypt.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const unsigned char page_html[] = {
#include "gateway-s3/watch.html.inc"
};
static const unsigned char page_js[] = {
#include "gateway-s3/watch.js.inc"
};
static const unsigned char page_css[] = {
#include "gateway-s3/watch.css.inc"
};

struct file {
    const char *path, *type;
    struct str bytes;
    char etag[19]; /* quoted */
};
struct watch {
    struct file files[4];
    size_t count;
    char *library; /* hls.min.js */
};

#define POLICY                                                                                                         \
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src *; media-src * blob: data:; img-src * "      \
    "data:; "                                                                                                          \
    "worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

static void add(struct watch *w, const char *path, const char *type, const void *bytes, size_t len)
{
    uint8_t digest[DIGEST_MAX];
    char hex[2 * 8 + 1];
    struct file *f = &w->files[w->count++];
    digest_once(DIGEST_SHA256, bytes, len, digest);
    hex_encode(digest, 8, hex);
    *f = (struct file){path, type, {bytes, len}, ""};
    snprintf(f->etag, sizeof(f->etag), "\"%s\"", hex);
}

/* The whole file, or NULL: absent, unreadable, too large. */
static char *file_read(const char *path, size_t *ret_len)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *bytes = NULL;
    if (fd < 0)
        return NULL;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 && (uint64_t)st.st_size <= WATCH_ASSET_MAX)
        bytes = malloc((size_t)st.st_size);
    if (bytes && read(fd, bytes, (size_t)st.st_size) != st.st_size) {
        free(bytes);
        bytes = NULL;
    }
    close(fd);
    if (bytes)
        *ret_len = (size_t)st.st_size;
    return bytes;
}

int watch_open(const char *assets_dir, struct watch **ret_watch)
{
    char path[4096];
    size_t len = 0;
    struct watch *w = calloc(1, sizeof(*w));
    if (!w)
        return -ENOMEM;
    add(w, "/watch", "text/html; charset=utf-8", page_html, sizeof(page_html));
    add(w, "/watch/watch.js", "text/javascript; charset=utf-8", page_js, sizeof(page_js));
    add(w, "/watch/watch.css", "text/css; charset=utf-8", page_css, sizeof(page_css));
    if (assets_dir && assets_dir[0] && snprintf(path, sizeof(path), "%s/hls.min.js", assets_dir) < (int)sizeof(path)) {
        w->library = file_read(path, &len);
        if (w->library)
            add(w, "/watch/hls.min.js", "text/javascript; charset=utf-8", w->library, len);
    }
    *ret_watch = w;
    return 0;
}

void watch_close(struct watch *w)
{
    if (!w)
        return;
    free(w->library);
    free(w);
}

bool watch_wants(const struct http_req *r)
{
    bool ours = str_eq(r->path, STR("/watch")) || str_starts(r->path, STR("/watch/"));
    return ours && (r->method == HTTP_M_GET || r->method == HTTP_M_HEAD) && !r->query.p &&
           !http_header(r, "Authorization").p;
}

static const struct file *file_of(const struct watch *w, struct str path)
{
    for (size_t i = 0; i < w->count; i++) {
        if (str_eq(path, str_c(w->files[i].path)) || (i == 0 && str_eq(path, STR("/watch/"))))
            return &w->files[i];
    }
    return NULL;
}

void watch_start(struct watch *w, struct http_req *r)
{
    struct http_headers h = {0};
    const struct file *f = file_of(w, r->path);
    http_headers_add(r, &h, "X-Content-Type-Options", STR("nosniff"));
    http_headers_add(r, &h, "Referrer-Policy", STR("no-referrer"));
    http_headers_add(r, &h, "Content-Security-Policy", STR(POLICY));
    if (!f) {
        http_reply(r, 404, &h, STR_NONE);
        return;
    }
    http_headers_add(r, &h, "Content-Type", str_c(f->type));
    http_headers_add(r, &h, "Cache-Control", STR("no-cache"));
    http_headers_add(r, &h, "ETag", str_c(f->etag));
    if (str_eq(http_header(r, "If-None-Match"), str_c(f->etag)))
        http_reply_head(r, 304, &h, UINT64_MAX);
    else
        http_reply(r, 200, &h, f->bytes);
}
