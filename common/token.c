/* One table of claims drives the encoder and the decoder, so they cannot drift apart, and there is exactly one spelling
 * of a token: every claim once, in rising order, none empty, base64url without padding. What is signed is the bytes
 * themselves, and every value carries its length, so no bytes can move from one claim into its neighbour. The form is
 * judged before the signature: the decoder is bounded by TOKEN_TEXT_MAX and reads nothing that it has not counted. */
#include "common/token.h"

#include "common/crypt.h"
#include <errno.h>

#define TOKEN_RAW_MAX        (TOKEN_TEXT_MAX / 4 * 3)
#define TOKEN_HEAD_LEN       5
#define TOKEN_CLAIM_HEAD_LEN 3
#define TOKEN_TIME_MAX_S     UINT64_C(253402300799) /* the end of the year 9999: sums with a skew never wrap */

enum claim_kind { CLAIM_TEXT, CLAIM_TIME, CLAIM_AUDIENCE };
struct claim {
    uint8_t tag;
    enum claim_kind kind;
    bool optional;
    uint16_t max_len;
    size_t offset;
};
/* In rising order of tag. A tag is never used again for something else. */
static const struct claim claims[] = {
    {1, CLAIM_AUDIENCE, false, 1, offsetof(struct token, audience)},
    {2, CLAIM_TEXT, true, 128, offsetof(struct token, tenant)},
    {3, CLAIM_TEXT, false, 128, offsetof(struct token, user)},
    {4, CLAIM_TEXT, false, 128, offsetof(struct token, course)},
    {5, CLAIM_TEXT, false, 128, offsetof(struct token, lesson)},
    {6, CLAIM_TEXT, false, 63, offsetof(struct token, bucket)},
    {7, CLAIM_TEXT, false, 1024, offsetof(struct token, prefix)},
    {8, CLAIM_TEXT, false, 64, offsetof(struct token, session)},
    {9, CLAIM_TIME, false, 8, offsetof(struct token, not_before_s)},
    {10, CLAIM_TIME, false, 8, offsetof(struct token, expires_s)},
};

struct raw {
    uint8_t bytes[TOKEN_RAW_MAX];
    size_t len;
};

static int raw_claim(struct raw *r, uint8_t tag, const void *value, size_t len)
{
    if (r->len + TOKEN_CLAIM_HEAD_LEN + len > sizeof(r->bytes) - TOKEN_MAC_LEN)
        return -EINVAL;
    uint8_t *p = r->bytes + r->len;
    p[0] = tag;
    p[1] = (uint8_t)(len >> 8);
    p[2] = (uint8_t)len;
    memcpy(p + TOKEN_CLAIM_HEAD_LEN, value, len);
    r->len += TOKEN_CLAIM_HEAD_LEN + len;
    return 0;
}

static bool audience_known(unsigned a)
{
    return a >= TOKEN_PLAY && a <= TOKEN_KEY;
}

static int claim_write(struct raw *r, const struct claim *c, const struct token *t)
{
    const void *field = (const char *)t + c->offset;
    uint8_t number[8];
    switch (c->kind) {
    case CLAIM_AUDIENCE:
        if (!audience_known(t->audience))
            return -EINVAL;
        number[0] = (uint8_t)t->audience;
        return raw_claim(r, c->tag, number, 1);
    case CLAIM_TIME: {
        uint64_t s = *(const uint64_t *)field;
        if (s > TOKEN_TIME_MAX_S)
            return -EINVAL;
        put_be64(number, s);
        return raw_claim(r, c->tag, number, 8);
    }
    case CLAIM_TEXT: {
        const struct str *s = field;
        if (s->len == 0)
            return c->optional ? 0 : -EINVAL;
        return s->len > c->max_len ? -EINVAL : raw_claim(r, c->tag, s->p, s->len);
    }
    }
    return -EINVAL;
}

int token_sign(struct arena *a, const struct token *t, struct hmac_key *key, struct str *ret_text)
{
    struct raw r = {.len = TOKEN_HEAD_LEN};
    r.bytes[0] = TOKEN_VERSION;
    put_be32(r.bytes + 1, t->kid);
    if (t->not_before_s >= t->expires_s)
        return -EINVAL;
    for (size_t i = 0; i < ARRAY_LEN(claims); i++) {
        int err = claim_write(&r, &claims[i], t);
        if (err)
            return err;
    }
    hmac_key_sign(key, r.bytes, r.len, r.bytes + r.len);
    r.len += TOKEN_MAC_LEN;
    char *text = arena_alloc(a, BASE64_LEN(r.len));
    if (!text)
        return -ENOMEM;
    base64url_encode(r.bytes, r.len, text);
    *ret_text = str_c(text);
    assert(ret_text->len <= TOKEN_TEXT_MAX);
    return 0;
}

/* The shortest text that can hold a head and a MAC. */
#define TOKEN_TEXT_MIN ((TOKEN_HEAD_LEN + TOKEN_MAC_LEN) * 8 / 6 + 1)

int token_kid(struct str text, uint32_t *ret_kid)
{
    uint8_t head[6];
    size_t len;
    if (text.len < TOKEN_TEXT_MIN || text.len > TOKEN_TEXT_MAX)
        return TOKEN_MALFORMED;
    if (base64url_decode((struct str){text.p, 8}, head, sizeof(head), &len) || len != sizeof(head) ||
        head[0] != TOKEN_VERSION)
        return TOKEN_MALFORMED;
    *ret_kid = get_be32(head + 1);
    return 0;
}

static bool claim_read(const struct claim *c, const uint8_t *p, size_t len, struct token *t)
{
    void *field = (char *)t + c->offset;
    if (len == 0 || len > c->max_len || (c->kind != CLAIM_TEXT && len != c->max_len))
        return false;
    switch (c->kind) {
    case CLAIM_AUDIENCE:
        t->audience = (enum token_audience)p[0];
        return audience_known(p[0]);
    case CLAIM_TIME:
        *(uint64_t *)field = get_be64(p);
        return get_be64(p) <= TOKEN_TIME_MAX_S;
    case CLAIM_TEXT:
        *(struct str *)field = (struct str){(const char *)p, len};
        return true;
    }
    return false;
}

/* Walks the claims; every row of the table is met once, in order, or left out where it may be. */
static bool claims_read(const uint8_t *p, size_t len, struct token *t)
{
    size_t i = 0;
    while (len > 0) {
        if (len < TOKEN_CLAIM_HEAD_LEN)
            return false;
        size_t value_len = (size_t)p[1] << 8 | p[2];
        while (i < ARRAY_LEN(claims) && claims[i].tag != p[0]) {
            if (!claims[i].optional)
                return false;
            i++;
        }
        if (i == ARRAY_LEN(claims) || value_len > len - TOKEN_CLAIM_HEAD_LEN ||
            !claim_read(&claims[i], p + TOKEN_CLAIM_HEAD_LEN, value_len, t))
            return false;
        i++;
        p += TOKEN_CLAIM_HEAD_LEN + value_len;
        len -= TOKEN_CLAIM_HEAD_LEN + value_len;
    }
    for (; i < ARRAY_LEN(claims); i++) {
        if (!claims[i].optional)
            return false;
    }
    return t->not_before_s < t->expires_s;
}

static int token_read(struct arena *a, struct str text, struct token *ret, uint8_t **ret_raw, size_t *ret_len)
{
    if (text.len < TOKEN_TEXT_MIN || text.len > TOKEN_TEXT_MAX)
        return TOKEN_MALFORMED;
    size_t len, cap = text.len / 4 * 3 + 3;
    uint8_t *raw = arena_alloc(a, cap);
    if (!raw)
        return -ENOMEM;
    if (base64url_decode(text, raw, cap, &len) || len < TOKEN_HEAD_LEN + TOKEN_MAC_LEN || raw[0] != TOKEN_VERSION)
        return TOKEN_MALFORMED;
    struct token t = {.kid = get_be32(raw + 1)};
    if (!claims_read(raw + TOKEN_HEAD_LEN, len - TOKEN_HEAD_LEN - TOKEN_MAC_LEN, &t))
        return TOKEN_MALFORMED;
    *ret = t;
    *ret_raw = raw;
    *ret_len = len;
    return 0;
}

int token_parse(struct arena *a, struct str text, struct hmac_key *key, struct token *ret)
{
    struct token t;
    uint8_t *raw, mac[TOKEN_MAC_LEN];
    size_t len;
    int err = token_read(a, text, &t, &raw, &len);
    if (err)
        return err;
    hmac_key_sign(key, raw, len - TOKEN_MAC_LEN, mac);
    if (!bytes_eq_ct(mac, raw + len - TOKEN_MAC_LEN, TOKEN_MAC_LEN))
        return TOKEN_BAD_SIGNATURE;
    *ret = t;
    return 0;
}

int token_peek(struct arena *a, struct str text, struct token *ret)
{
    uint8_t *raw;
    size_t len;
    return token_read(a, text, ret, &raw, &len);
}

int token_copy(const struct token *t, char *to, size_t cap, struct token *ret)
{
    struct token copy = *t;
    size_t used = 0;
    for (size_t i = 0; i < ARRAY_LEN(claims); i++) {
        struct str *s = (void *)((char *)&copy + claims[i].offset);
        if (claims[i].kind != CLAIM_TEXT || s->len == 0)
            continue;
        if (s->len > cap - used)
            return -EINVAL;
        s->p = memcpy(to + used, s->p, s->len);
        used += s->len;
    }
    *ret = copy;
    return 0;
}

enum token_outcome token_time(const struct token *t, uint64_t now_s, uint64_t skew_s)
{
    assert(t->expires_s <= TOKEN_TIME_MAX_S);
    if (now_s + skew_s < t->not_before_s)
        return TOKEN_NOT_YET;
    if (now_s >= t->expires_s + skew_s)
        return TOKEN_EXPIRED;
    return TOKEN_OK;
}

bool token_covers(const struct token *t, struct str key)
{
    struct str prefix = t->prefix;
    if (prefix.len == 0)
        return false;
    if (prefix.p[prefix.len - 1] == '/')
        return str_starts(key, prefix);
    return str_eq(key, prefix);
}
