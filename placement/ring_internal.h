/* ring_internal - what ring.c (the build) and ring_quota.c (how many places each store gets) share. */
#pragma once
#include "placement/ring.h"

struct ring_quota {
    uint32_t *store;    /* places of each store over all PGs; their sum is pg_count * width */
    unsigned zone_most; /* places of one row in one zone */
    unsigned node_most; /* and in one node */
};
/* order: indexes of the live stores, sorted by zone, node, key. */
int ring_quota(const struct ring_store *stores, const uint16_t *order, unsigned live, unsigned width, uint32_t pg_count,
               struct ring_quota *ret);
