/* metrics - a registry that is a table: one row a metric, a small list of label values under each, atomics inside.
 *
 * A label value is looked up by walking its metric's list, which is append-only, so readers take no lock; a lock guards
 * appending. Label values come from our own tables (operations, error codes, stores), never from clients. */
#include "common/metrics.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define BUCKETS 14
static const double bounds[BUCKETS] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60};

enum kind { COUNTER, GAUGE, HISTOGRAM };
static const struct {
    enum kind kind;
    const char *name, *label, *help;
} rows[METRIC_COUNT] = {
#define METRIC(kind, id, name, labels, help) [M_##id] = {kind, name, labels, help},
#include "common/metrics.def"
#undef METRIC
};

struct series {
    struct series *_Atomic next;
    _Atomic uint64_t count; /* counters and histograms */
    _Atomic double value;   /* gauges */
    _Atomic uint64_t sum_ns;
    _Atomic uint64_t buckets[BUCKETS];
    char label[];
};
static struct series *_Atomic heads[METRIC_COUNT];
static pthread_mutex_t append_lock = PTHREAD_MUTEX_INITIALIZER;

static struct series *find(enum metric m, const char *label, unsigned *ret_count)
{
    unsigned n = 0;
    struct series *s = atomic_load(&heads[m]);
    while (s && strcmp(s->label, label) != 0) {
        n++;
        s = atomic_load(&s->next);
    }
    *ret_count = n;
    return s;
}

static struct series *series_of(enum metric m, const char *label)
{
    label = label && rows[m].label[0] ? label : "";
    unsigned n;
    struct series *s = find(m, label, &n);
    if (s)
        return s;
    pthread_mutex_lock(&append_lock);
    s = find(m, label, &n);
    if (!s && n >= METRIC_LABEL_MAX) {
        label = "other";
        s = find(m, label, &n);
    }
    if (!s) {
        size_t len = strlen(label);
        s = calloc(1, sizeof *s + len + 1);
        if (s) {
            memcpy(s->label, label, len);
            atomic_store(&s->next, atomic_load(&heads[m]));
            atomic_store(&heads[m], s);
        }
    }
    pthread_mutex_unlock(&append_lock);
    return s;
}

void metric_add(enum metric m, const char *label, uint64_t n)
{
    assert(rows[m].kind == COUNTER);
    struct series *s = series_of(m, label);
    if (s)
        atomic_fetch_add_explicit(&s->count, n, memory_order_relaxed);
}

void metric_set(enum metric m, const char *label, double value)
{
    assert(rows[m].kind == GAUGE);
    struct series *s = series_of(m, label);
    if (s)
        atomic_store(&s->value, value);
}

void metric_observe_ns(enum metric m, const char *label, uint64_t ns)
{
    assert(rows[m].kind == HISTOGRAM);
    struct series *s = series_of(m, label);
    if (!s)
        return;
    double seconds = (double)ns / 1e9;
    for (unsigned i = 0; i < BUCKETS; i++)
        if (seconds <= bounds[i]) {
            atomic_fetch_add_explicit(&s->buckets[i], 1, memory_order_relaxed);
            break;
        }
    atomic_fetch_add_explicit(&s->sum_ns, ns, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->count, 1, memory_order_relaxed);
}

uint64_t metric_get(enum metric m, const char *label)
{
    unsigned n;
    struct series *s = find(m, label && rows[m].label[0] ? label : "", &n);
    return s ? atomic_load(&s->count) : 0;
}

static void histogram_text(struct sbuf *out, enum metric m, struct series *s)
{
    const char *sep = rows[m].label[0] ? "," : "";
    char label[256] = "";
    if (rows[m].label[0])
        snprintf(label, sizeof label, "%s=\"%s\"", rows[m].label, s->label);
    uint64_t total = 0;
    for (unsigned i = 0; i < BUCKETS; i++) {
        total += atomic_load(&s->buckets[i]);
        sbuf_printf(out, "%s_bucket{%s%sle=\"%g\"} %lu\n", rows[m].name, label, sep, bounds[i], total);
    }
    uint64_t count = MAX_OF(atomic_load(&s->count), total);
    sbuf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %lu\n", rows[m].name, label, sep, count);
    const char *open = label[0] ? "{" : "", *close = label[0] ? "}" : "";
    sbuf_printf(out, "%s_sum%s%s%s %.9f\n", rows[m].name, open, label, close, (double)atomic_load(&s->sum_ns) / 1e9);
    sbuf_printf(out, "%s_count%s%s%s %lu\n", rows[m].name, open, label, close, count);
}

static void series_text(struct sbuf *out, enum metric m, struct series *s)
{
    if (rows[m].kind == HISTOGRAM) {
        histogram_text(out, m, s);
        return;
    }
    sbuf_puts(out, rows[m].name);
    if (rows[m].label[0])
        sbuf_printf(out, "{%s=\"%s\"}", rows[m].label, s->label);
    if (rows[m].kind == COUNTER)
        sbuf_printf(out, " %lu\n", atomic_load(&s->count));
    else
        sbuf_printf(out, " %.17g\n", atomic_load(&s->value));
}

void metrics_text(struct sbuf *out)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    for (unsigned m = 0; m < METRIC_COUNT; m++) {
        sbuf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", rows[m].name, rows[m].help, rows[m].name, kinds[rows[m].kind]);
        if (!rows[m].label[0])
            series_of(m, ""); /* a metric without labels is always there, at 0 */
        for (struct series *s = atomic_load(&heads[m]); s; s = atomic_load(&s->next))
            series_text(out, m, s);
    }
}

void metrics_reset(void)
{
    for (unsigned m = 0; m < METRIC_COUNT; m++) {
        struct series *s = atomic_exchange(&heads[m], NULL);
        while (s) {
            struct series *next = atomic_load(&s->next);
            free(s);
            s = next;
        }
    }
}
