/* What rotates is which key signs; what verifies is every live key. A key's number never comes back, so a token that
 * names a retired one can be told apart from one that names nothing. */
#include "control/signing.h"

#include "common/err.h"
#include <stdio.h>

const char *signing_state_name(enum signing_state s)
{
    return s == SIGNING_ACTIVE ? "active" : s == SIGNING_VERIFYING ? "verifying" : "retired";
}

static struct signing_key *slot_of(struct signing *s, uint32_t kid)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->keys[i].kid == kid)
            return &s->keys[i];
    }
    return NULL;
}

static void key_drop(struct signing_key *k)
{
    if (k->mac)
        hmac_key_destroy(k->mac);
    k->mac = NULL;
}

void signing_fini(struct signing *s)
{
    for (size_t i = 0; i < s->count; i++)
        key_drop(&s->keys[i]);
    s->count = 0;
}

static struct str place_of(uint32_t kid, char ret[24])
{
    int n = snprintf(ret, 24, "signing/%u", kid);
    return (struct str){ret, (size_t)n};
}

static int mac_open(const uint8_t *master_key, const Pb__SigningRow *row, struct hmac_key **ret)
{
    uint8_t secret[SIGNING_SECRET_LEN];
    char place[24];
    struct str sealed = {(const char *)row->sealed_secret.data, row->sealed_secret.len};
    if (sealed.len != sizeof(secret) + SEAL_OVERHEAD)
        return E_CORRUPT;
    int err = seal_open(master_key, place_of(row->kid, place), sealed, secret);
    if (!err)
        err = hmac_key_create(secret, sizeof(secret), ret);
    explicit_bzero(secret, sizeof(secret));
    return err;
}

int signing_apply(struct signing *s, const uint8_t *master_key, const Pb__SigningRow *row)
{
    struct hmac_key *mac = NULL;
    struct signing_key *k = slot_of(s, row->kid);
    if (row->kid == 0 || row->state < SIGNING_ACTIVE || row->state > SIGNING_RETIRED)
        return E_CORRUPT;
    if (!k && s->count == SIGNING_KEPT_MAX)
        return E_LIMIT;
    int err = row->state == SIGNING_RETIRED ? 0 : mac_open(master_key, row, &mac);
    if (err)
        return err;
    if (!k) {
        k = &s->keys[s->count++];
        *k = (struct signing_key){.kid = row->kid};
    }
    key_drop(k);
    k->mac = mac;
    k->state = (enum signing_state)row->state;
    k->created_ms = row->created_ms;
    k->retired_ms = row->retired_ms;
    return 0;
}

void signing_forget(struct signing *s, uint32_t kid)
{
    struct signing_key *k = slot_of(s, kid);
    if (!k)
        return;
    key_drop(k);
    *k = s->keys[--s->count];
}

const struct signing_key *signing_active(const struct signing *s)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->keys[i].state == SIGNING_ACTIVE)
            return &s->keys[i];
    }
    return NULL;
}

const struct signing_key *signing_find(const struct signing *s, uint32_t kid)
{
    return slot_of((struct signing *)(uintptr_t)s, kid);
}

struct hmac_key *signing_live(const struct signing *s, uint32_t kid)
{
    const struct signing_key *k = signing_find(s, kid);
    return k ? k->mac : NULL;
}

int signing_secret(const uint8_t *master_key, uint32_t kid, uint8_t *ret_sealed)
{
    uint8_t secret[SIGNING_SECRET_LEN];
    char place[24];
    random_bytes(secret, sizeof(secret));
    int err = seal_close(master_key, place_of(kid, place), secret, sizeof(secret), ret_sealed);
    explicit_bzero(secret, sizeof(secret));
    return err;
}
