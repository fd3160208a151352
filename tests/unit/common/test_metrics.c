/* metrics and log: what an operator scrapes and reads. */
#include "common/log.h"
#include "common/metrics.h"
#include <criterion/criterion.h>
#include <stdio.h>

Test(metrics, text_has_help_type_labels_and_values)
{
    metrics_reset();
    metric_add(M_S3_REQUESTS, "GetObject", 3);
    metric_set(M_META_REPLICAS, NULL, 2);
    metric_observe_ns(M_S3_SECONDS, "GetObject", 2000000);
    metric_observe_ns(M_S3_SECONDS, "GetObject", 300 * UINT64_C(1000000000));
    struct sbuf s = {0};
    metrics_text(&s);
    const char *want[] = {"# TYPE lectern_s3_requests_total counter\n",
                          "lectern_s3_requests_total{operation=\"GetObject\"} 3\n",
                          "lectern_metadata_replicas_in_sync 2\n",
                          "lectern_s3_request_seconds_bucket{operation=\"GetObject\",le=\"0.0025\"} 1\n",
                          "lectern_s3_request_seconds_bucket{operation=\"GetObject\",le=\"60\"} 1\n",
                          "lectern_s3_request_seconds_bucket{operation=\"GetObject\",le=\"+Inf\"} 2\n",
                          "lectern_s3_request_seconds_count{operation=\"GetObject\"} 2\n",
                          "lectern_gc_fragments_total 0\n"};
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        cr_assert_not_null(strstr(s.p, want[i]), "missing: %s\n%s", want[i], s.p);
    sbuf_fini(&s);
    metrics_reset();
}

Test(metrics, labels_are_bounded_and_the_rest_is_other)
{
    metrics_reset();
    char label[16];
    for (int i = 0; i < METRIC_LABEL_MAX + 50; i++) {
        snprintf(label, sizeof label, "l%d", i);
        metric_add(M_S3_ERRORS, label, 1);
    }
    cr_assert_eq(metric_get(M_S3_ERRORS, "l0"), 1);
    cr_assert_eq(metric_get(M_S3_ERRORS, "other"), 50);
    metrics_reset();
}

Test(log, a_quoted_value_cannot_forge_a_line)
{
    cr_assert_str_eq(log_quote(STR("a\nb\"c\\")), "\"a\\x0ab\\\"c\\\\\"");
    char big[1000];
    memset(big, 'x', sizeof big);
    cr_assert_lt(strlen(log_quote((struct str){big, sizeof big})), 260);
}
