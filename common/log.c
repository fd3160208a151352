/* log - one write(2) a line, so that lines of several threads never mix. */
#include "common/log.h"
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048
#define QUOTE_RING     8
#define QUOTE_MAX      256

static atomic_int least_level = LOG_INFO;
static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_set_level(enum log_level least)
{
    atomic_store(&least_level, (int)least);
}

/* A developer's slip caught in tests: a pair that names a secret. */
static bool names_secret(const char *fmt)
{
    return strstr(fmt, "secret=") || strstr(fmt, "token=") || strstr(fmt, "signature=") ||
           strstr(fmt, "authorization=");
}

void log_event(enum log_level level, const char *event, const char *fmt, ...)
{
    assert(!names_secret(fmt));
    if ((int)level < atomic_load(&least_level))
        return;
    char line[LINE_MAX_BYTES];
    struct timespec t;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &utc);
    size_t len = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &utc);
    int n = snprintf(line + len, sizeof line - len, ".%03ldZ %s %s ", t.tv_nsec / 1000000, level_names[level], event);
    len += n > 0 ? (size_t)n : 0;
    va_list ap;
    va_start(ap, fmt);
    n = vsnprintf(line + len, sizeof line - len - 1, fmt, ap);
    va_end(ap);
    len += n > 0 ? MIN_OF((size_t)n, sizeof line - len - 2) : 0;
    while (len && line[len - 1] == ' ')
        len--;
    line[len++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, len);
    (void)written; /* a log that cannot be written has nowhere to complain */
}

const char *log_quote(struct str value)
{
    static _Thread_local char ring[QUOTE_RING][QUOTE_MAX];
    static _Thread_local unsigned turn;
    char *out = ring[turn++ % QUOTE_RING];
    static const char hex[] = "0123456789abcdef";
    size_t n = 0;
    out[n++] = '"';
    for (size_t i = 0; i < value.len && n < QUOTE_MAX - 8; i++) {
        unsigned char c = (unsigned char)value.p[i];
        if (c == '"' || c == '\\') {
            out[n++] = '\\';
            out[n++] = (char)c;
        } else if (c < 0x20 || c == 0x7f) { /* no forged lines */
            out[n++] = '\\';
            out[n++] = 'x';
            out[n++] = hex[c >> 4];
            out[n++] = hex[c & 15];
        } else {
            out[n++] = (char)c;
        }
    }
    out[n++] = '"';
    out[n] = 0;
    return out;
}
