/* http_client - libcurl's multi interface with our own call struct around an easy handle. Addresses are sent as they
 * are (a key may hold "..", "//" and "%2F"), redirects are not followed, and a transfer that stalls ends by itself. */
#include "cmd/http_client.h"
#include "common/err.h"
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CONNECT_SECONDS 10L
#define STALL_SECONDS   60L
#define HEAD_MAX        (64 * KIB)

struct http_client {
    CURLM *multi;
    unsigned running;
};

static size_t on_head_line(char *p, size_t size, size_t count, void *user)
{
    struct http_call *c = user;
    size_t n = size * count;
    if (n >= 5 && memcmp(p, "HTTP/", 5) == 0)
        c->head.len = 0; /* "100 Continue" came before: only the last head counts */
    if (c->head.len + n > HEAD_MAX)
        return 0;
    sbuf_add(&c->head, p, n);
    return c->head.err ? 0 : n;
}

static size_t to_file(struct http_call *c, const char *p, size_t n)
{
    if (c->file_bytes + n > c->file_max) {
        c->err = -EFBIG;
        return 0;
    }
    for (size_t done = 0; done < n;) {
        ssize_t wrote = pwrite(c->file_fd, p + done, n - done, (off_t)(c->file_offset + c->file_bytes));
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0) {
            c->err = -errno;
            return 0;
        }
        done += (size_t)wrote;
        c->file_bytes += (uint64_t)wrote;
    }
    return n;
}

static size_t on_body(char *p, size_t size, size_t count, void *user)
{
    struct http_call *c = user;
    size_t n = size * count;
    long status = 0;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    if (c->to_file && (status == 200 || status == 206))
        return to_file(c, p, n);
    if (c->reply.len + n > HTTP_CALL_REPLY_MAX) {
        c->err = -EFBIG;
        return 0;
    }
    sbuf_add(&c->reply, p, n);
    return c->reply.err ? 0 : n;
}

static int on_progress(void *user, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
    (void)down_total, (void)down, (void)up_total;
    struct http_call *c = user;
    c->sent_bytes = (uint64_t)up;
    return 0;
}

static size_t on_send(char *p, size_t size, size_t count, void *user)
{
    struct http_call *c = user;
    size_t n = MIN_OF(size * count, c->body.len - c->body_at);
    memcpy(p, c->body.p + c->body_at, n);
    c->body_at += n;
    return n;
}

/* curl begins again when a kept connection turns out to be closed. */
static int on_seek(void *user, curl_off_t offset, int origin)
{
    struct http_call *c = user;
    if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > c->body.len)
        return CURL_SEEKFUNC_CANTSEEK;
    c->body_at = (size_t)offset;
    return CURL_SEEKFUNC_OK;
}

static void set_method(CURL *easy, struct http_call *c)
{
    bool put = strcmp(c->method, "PUT") == 0;
    if (strcmp(c->method, "HEAD") == 0)
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    else if (put) {
        curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_send);
        curl_easy_setopt(easy, CURLOPT_READDATA, c);
        curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek);
        curl_easy_setopt(easy, CURLOPT_SEEKDATA, c);
        curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)c->body.len);
    } else if (strcmp(c->method, "POST") == 0) {
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->body.len);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, c->body.len ? c->body.p : "");
    } else if (strcmp(c->method, "GET") != 0)
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, c->method);
}

static bool set_headers(CURL *easy, struct http_call *c)
{
    /* Two that curl would add by itself and that nobody signed. */
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    bool typed = false;
    for (unsigned i = 0; list && i < c->header_count; i++) {
        struct curl_slist *more = curl_slist_append(list, c->headers[i]);
        typed = typed || strncasecmp(c->headers[i], "content-type:", 13) == 0;
        if (!more)
            curl_slist_free_all(list);
        list = more;
    }
    if (list && !typed) {
        struct curl_slist *more = curl_slist_append(list, "Content-Type:");
        if (!more)
            curl_slist_free_all(list);
        list = more;
    }
    c->list = list;
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, list);
    return list != NULL;
}

static bool set_up(CURL *easy, struct http_call *c)
{
    curl_easy_setopt(easy, CURLOPT_URL, c->url);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, STALL_SECONDS);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 256L * 1024);
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, 1024L * 1024);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "lectern/" LECTERN_VERSION);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_head_line);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, c);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(easy, CURLOPT_XFERINFODATA, c);
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, c);
    set_method(easy, c);
    return set_headers(easy, c);
}

static void ended(struct http_call *c, CURLcode code)
{
    long status = 0;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    c->status = (int)status;
    curl_easy_cleanup(c->easy);
    curl_slist_free_all(c->list);
    c->easy = c->list = NULL;
    c->client->running--;
    if (code == CURLE_OK || c->err) { /* c->err: our own callback refused */
        if (c->err)
            snprintf(c->why, sizeof(c->why), "%s", err_text(c->err));
        return;
    }
    c->err = code == CURLE_COULDNT_CONNECT      ? -ECONNREFUSED
             : code == CURLE_OPERATION_TIMEDOUT ? -ETIMEDOUT
             : code == CURLE_OUT_OF_MEMORY      ? -ENOMEM
                                                : E_LIB;
    snprintf(c->why, sizeof(c->why), "%s", curl_easy_strerror(code));
}

void http_client_start(struct http_client *h, struct http_call *c)
{
    c->client = h;
    c->err = 0;
    c->status = 0;
    c->file_bytes = c->sent_bytes = 0;
    c->body_at = 0;
    c->easy = curl_easy_init();
    /* A call that cannot even begin is a lack of memory: the command line has no other plan for it. */
    if (!c->easy || !set_up(c->easy, c) || curl_multi_add_handle(h->multi, c->easy) != CURLM_OK)
        abort();
    h->running++;
}

unsigned http_client_running(const struct http_client *h)
{
    return h->running;
}

void http_client_turn(struct http_client *h, int timeout_ms)
{
    int running, left;
    if (curl_multi_perform(h->multi, &running) == CURLM_OK && running && (unsigned)running == h->running)
        curl_multi_poll(h->multi, NULL, 0, timeout_ms, NULL);
    curl_multi_perform(h->multi, &running);
    for (CURLMsg *m; (m = curl_multi_info_read(h->multi, &left));) {
        if (m->msg != CURLMSG_DONE)
            continue;
        struct http_call *c;
        CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&c);
        curl_multi_remove_handle(h->multi, m->easy_handle);
        ended(c, code);
        if (c->on_done)
            c->on_done(c);
    }
}

void http_client_do(struct http_client *h, struct http_call *c)
{
    assert(!c->on_done);
    http_client_start(h, c);
    while (c->easy)
        http_client_turn(h, 1000);
}

int http_client_create(unsigned parallel, struct http_client **ret_client)
{
    struct http_client *h = calloc(1, sizeof(*h));
    if (!h || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(h);
        return -ENOMEM;
    }
    h->multi = curl_multi_init();
    if (!h->multi) {
        free(h);
        return -ENOMEM;
    }
    curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)parallel);
    *ret_client = h;
    return 0;
}

void http_client_destroy(struct http_client *h)
{
    curl_multi_cleanup(h->multi);
    curl_global_cleanup();
    free(h);
}

void http_call_fini(struct http_call *c)
{
    if (c->easy) { /* its client is being given up while it runs */
        curl_multi_remove_handle(c->client->multi, c->easy);
        ended(c, CURLE_ABORTED_BY_CALLBACK);
        c->err = -ECANCELED;
    }
    sbuf_fini(&c->reply);
    sbuf_fini(&c->head);
}

struct str http_call_header(const struct http_call *c, const char *name)
{
    struct str rest = {c->head.p, c->head.len}, line;
    while (str_split(&rest, '\n', &line)) {
        struct str value = line, key;
        if (line.len && line.p[line.len - 1] == '\r')
            value.len--;
        if (memchr(value.p ? value.p : "", ':', value.len) && str_split(&value, ':', &key) && str_ieq(key, str_c(name)))
            return str_trim(value);
    }
    return STR_NONE;
}
