/* stream - libuv's pipes behind stream.h. A closed stream lives until libuv has let go of it; its handler is forgotten
 * at once. */
#include "common/stream.h"
#include "common/err.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#define BACKLOG 64

static_assert(sizeof(uv_write_t) <= sizeof(((struct stream_write *)0)->uv), "room for uv_write_t");

struct stream {
    uv_pipe_t pipe;
    struct loop *loop;
    uv_connect_t connect;
    struct stream_handler h;
    bool reading, closed;
};
struct stream_server {
    uv_pipe_t pipe;
    struct loop *loop;
    void (*accepted)(void *ctx, struct stream *s);
    void *ctx;
    char path[STREAM_PATH_MAX + 1];
};

/* ---- reading ---- */

static void give_space(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    struct stream *s = h->data;
    uint8_t *p = NULL;
    size_t n = 0;
    (void)suggested;
    if (!s->closed)
        s->h.space(s->h.ctx, &p, &n);
    *buf = uv_buf_init((char *)p, (unsigned)MIN_OF(n, (size_t)INT32_MAX));
}

static void read_stop(struct stream *s)
{
    s->reading = false;
    uv_read_stop((uv_stream_t *)&s->pipe);
}

static void bytes_came(uv_stream_t *uv, ssize_t n, const uv_buf_t *buf)
{
    struct stream *s = uv->data;
    (void)buf;
    if (s->closed || n == 0)
        return;
    if (n == UV_ENOBUFS) { /* the handler has no room: it asks again by stream_read */
        read_stop(s);
        return;
    }
    if (n > 0) {
        s->h.came(s->h.ctx, (size_t)n);
        return;
    }
    read_stop(s);
    s->h.ended(s->h.ctx, n == UV_EOF ? -ECONNRESET : (int)n);
}

void stream_read(struct stream *s)
{
    if (s->reading || s->closed)
        return;
    s->reading = uv_read_start((uv_stream_t *)&s->pipe, give_space, bytes_came) == 0;
}

/* ---- writing ---- */

static void sent(uv_write_t *uv, int status)
{
    struct stream_write *w = uv->data;
    w->cb(w, status == UV_ECANCELED ? -ECANCELED : status);
}

static void not_sent(struct loop_post *p)
{
    struct stream_write *w = container_of(p, struct stream_write, failed);
    w->cb(w, w->err);
}

void stream_send(struct stream *s, struct stream_write *w)
{
    uv_write_t *uv = (uv_write_t *)(void *)w->uv;
    uv_buf_t bufs[STREAM_IOV_MAX];
    for (unsigned i = 0; i < w->iov_count; i++)
        bufs[i] = uv_buf_init(w->iov[i].iov_base, (unsigned)w->iov[i].iov_len);
    uv->data = w;
    w->err = uv_write(uv, (uv_stream_t *)&s->pipe, bufs, w->iov_count, sent);
    if (w->err == 0)
        return;
    w->failed.cb = not_sent;
    loop_post(s->loop, &w->failed);
}

/* ---- opening and closing ---- */

static void stream_freed(uv_handle_t *h)
{
    free(h->data);
}

void stream_close(struct stream *s)
{
    assert(!s->closed);
    s->closed = true;
    uv_close((uv_handle_t *)&s->pipe, stream_freed);
}

static struct stream *stream_make(struct loop *l)
{
    struct stream *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    if (uv_pipe_init(loop_uv(l), &s->pipe, 0)) {
        free(s);
        return NULL;
    }
    s->pipe.data = s;
    s->loop = l;
    return s;
}

void stream_handle(struct stream *s, const struct stream_handler *h)
{
    s->h = *h;
}

static void connected(uv_connect_t *c, int status)
{
    struct stream *s = c->handle->data;
    if (!s->closed)
        s->h.opened(s->h.ctx, status);
}

int stream_open(struct loop *l, const char *path, const struct stream_handler *h, struct stream **ret_stream)
{
    if (strlen(path) > STREAM_PATH_MAX)
        return -ENAMETOOLONG;
    struct stream *s = stream_make(l);
    if (!s)
        return -ENOMEM;
    s->h = *h;
    uv_pipe_connect(&s->connect, &s->pipe, path, connected);
    *ret_stream = s;
    return 0;
}

/* ---- listening ---- */

static void somebody_came(uv_stream_t *uv, int status)
{
    struct stream_server *server = uv->data;
    if (status)
        return;
    struct stream *s = stream_make(server->loop);
    if (!s)
        return; /* out of memory: libuv offers no more connections until this one is taken; those that stand go on */
    if (uv_accept(uv, (uv_stream_t *)&s->pipe))
        stream_close(s);
    else
        server->accepted(server->ctx, s);
}

/* libuv says EACCES also where the folder is missing. */
static bool folder_missing(const char *path)
{
    char folder[STREAM_PATH_MAX + 1];
    struct stat st;
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (!slash)
        return false;
    *slash = 0;
    return stat(folder[0] ? folder : "/", &st) != 0 && errno == ENOENT;
}

static int bind_private(struct stream_server *s, char *why, size_t why_cap)
{
    struct stat st;
    if (lstat(s->path, &st) == 0 && S_ISSOCK(st.st_mode))
        unlink(s->path); /* left behind: whoever owns the folder's lock owns the socket */
    int err = uv_pipe_bind(&s->pipe, s->path);
    if (err == -EACCES && folder_missing(s->path))
        err = -ENOENT;
    if (err == 0 && chmod(s->path, S_IRUSR | S_IWUSR) != 0)
        err = -errno;
    if (err == 0)
        err = uv_listen((uv_stream_t *)&s->pipe, BACKLOG, somebody_came);
    if (err)
        snprintf(why, why_cap, "cannot listen on %s: %s", s->path, uv_strerror(err));
    return err;
}

int stream_listen(struct loop *l, const char *path, void (*accepted)(void *ctx, struct stream *s), void *ctx,
                  struct stream_server **ret_server, char *why, size_t why_cap)
{
    if (strlen(path) > STREAM_PATH_MAX) {
        snprintf(why, why_cap, "the socket's path is longer than %d bytes: %s", STREAM_PATH_MAX, path);
        return -ENAMETOOLONG;
    }
    struct stream_server *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    snprintf(s->path, sizeof s->path, "%s", path);
    s->loop = l;
    s->accepted = accepted;
    s->ctx = ctx;
    int err = uv_pipe_init(loop_uv(l), &s->pipe, 0);
    if (err) {
        free(s);
        return err;
    }
    s->pipe.data = s;
    err = bind_private(s, why, why_cap);
    if (err) {
        uv_close((uv_handle_t *)&s->pipe, stream_freed);
        return err;
    }
    *ret_server = s;
    return 0;
}

void stream_server_close(struct stream_server *s)
{
    uv_close((uv_handle_t *)&s->pipe, stream_freed); /* libuv removes the file of a bound pipe */
}
