/* human - sizes, rates and times as people read them. Thread: pure. */
#pragma once
#include "common/base.h"

#define HUMAN_MAX 32
const char *human_bytes(uint64_t n, char ret[HUMAN_MAX]);   /* "1.5 GiB" */
const char *human_seconds(uint64_t s, char ret[HUMAN_MAX]); /* "3 d 4 h", "2:05" below an hour */
