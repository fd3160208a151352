/* signing - the keys that sign playback tokens: numbered, one active, at most two live, retired ones remembered.
 *
 * Thread: the loop. Memory: keys live as long as they are remembered.
 * Limits: SIGNING_LIVE_MAX, SIGNING_KEPT_MAX. */
#pragma once
#include "common/control.pb-c.h"
#include "common/crypt.h"
#include "common/seal.h"

#define SIGNING_SECRET_LEN 32
#define SIGNING_LIVE_MAX   2
#define SIGNING_KEPT_MAX   32

enum signing_state { SIGNING_ACTIVE = 1, SIGNING_VERIFYING = 2, SIGNING_RETIRED = 3 };
struct signing_key {
    uint32_t kid;
    enum signing_state state;
    uint64_t created_ms, retired_ms;
    struct hmac_key *mac; /* NULL when retired */
};
struct signing {
    struct signing_key keys[SIGNING_KEPT_MAX];
    size_t count;
};
const char *signing_state_name(enum signing_state s);
void signing_fini(struct signing *s);
/* Takes a row over: adds it or brings it up to date. E_CORRUPT: it does not open with this master key; E_LIMIT. */
int signing_apply(struct signing *s, const uint8_t *master_key, const Pb__SigningRow *row);
void signing_forget(struct signing *s, uint32_t kid);
const struct signing_key *signing_active(const struct signing *s);             /* NULL: none */
const struct signing_key *signing_find(const struct signing *s, uint32_t kid); /* also retired ones */
struct hmac_key *signing_live(const struct signing *s, uint32_t kid);          /* NULL: unknown or retired */
/* A new row's secret, sealed: SIGNING_SECRET_LEN + SEAL_OVERHEAD bytes. */
int signing_secret(const uint8_t *master_key, uint32_t kid, uint8_t *ret_sealed);
