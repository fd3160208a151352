/* kv_door - a kv whose close leaves the one behind it open, as a database stays on its drive when a service ends.
 *
 * Thread: as common/kv.h. Memory: kv_door_open returns owned; the real one is borrowed until the door is closed. */
#pragma once
#include "common/kv.h"
#include <stdatomic.h>

int kv_door_open(struct kv *real, struct kv **ret_kv);
extern atomic_uint kv_door_writes; /* batches written through any door; tests set it back */
