/* metrics - counters, gauges and histograms from one table (metrics.def), as Prometheus text.
 *
 * Thread: adding is atomic from any thread; a label value is registered at first use (bounded: METRIC_LABEL_MAX a
 * metric, then "other"). */
#pragma once
#include "common/arena.h"

#define METRIC_LABEL_MAX 128
enum metric {
#define METRIC(kind, id, name, labels, help) M_##id,
#include "common/metrics.def"
#undef METRIC
    METRIC_COUNT
};
void metric_add(enum metric m, const char *label, uint64_t n);   /* counters; label NULL or "" when it has none */
void metric_set(enum metric m, const char *label, double value); /* gauges */
void metric_observe_ns(enum metric m, const char *label, uint64_t ns);
uint64_t metric_get(enum metric m, const char *label); /* a counter's value, for tests and status */
void metrics_text(struct sbuf *out);                   /* Prometheus text format 0.0.4 */
void metrics_reset(void);                              /* tests */
