/* log - structured logs, one line an event: time, level, event, then key=value pairs (logfmt), to stderr.
 *
 * Thread: any; a line is written whole. Secrets and tokens are never passed here (keys ending in _secret or named
 * token, signature, authorization are refused by a debug assertion). */
#pragma once
#include "common/base.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
void log_set_level(enum log_level least);
/* pairs: "key", "printf format of the value", args... is error-prone; one format with key=value words instead, values
 * with blanks are passed through log_quote (thread-local ring of 8). */
void log_event(enum log_level level, const char *event, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
const char *log_quote(struct str value);
