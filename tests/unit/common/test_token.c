#include "common/crypt.h"
#include "common/token.h"
#include <criterion/criterion.h>
#include <errno.h>

static struct arena arena;
static struct hmac_key *key, *other;

static void setup(void)
{
    arena_init(&arena, 16 * MIB);
    cr_assert_eq(hmac_key_create("0123456789abcdef0123456789abcdef", 32, &key), 0);
    cr_assert_eq(hmac_key_create("another key of the same length..", 32, &other), 0);
}

static void teardown(void)
{
    hmac_key_destroy(key);
    hmac_key_destroy(other);
    arena_fini(&arena);
}

TestSuite(token, .init = setup, .fini = teardown);

static struct token sample(void)
{
    return (struct token){
        .kid = 7,
        .audience = TOKEN_PLAY,
        .user = STR("ada"),
        .course = STR("c1"),
        .lesson = STR("l1"),
        .bucket = STR("media"),
        .prefix = STR("c/12/"),
        .session = STR("s-1"),
        .not_before_s = 1700000000,
        .expires_s = 1700043200,
    };
}

static struct str signed_text(const struct token *t)
{
    struct str text;
    cr_assert_eq(token_sign(&arena, t, key, &text), 0);
    return text;
}

/* A token made by hand: the head, these claims, and a right MAC. */
static struct str forged(const uint8_t *claims, size_t len, uint8_t version)
{
    uint8_t raw[1536];
    raw[0] = version;
    put_be32(raw + 1, 7);
    memcpy(raw + 5, claims, len);
    hmac_key_sign(key, raw, 5 + len, raw + 5 + len);
    char *text = arena_alloc(&arena, BASE64_LEN(len + 37));
    base64url_encode(raw, len + 37, text);
    return str_c(text);
}

/* The claims of a good token, as bytes. */
static size_t claims_of(const struct token *t, uint8_t *ret)
{
    struct str text = signed_text(t);
    uint8_t raw[1536];
    size_t len;
    cr_assert_eq(base64url_decode(text, raw, sizeof(raw), &len), 0);
    memcpy(ret, raw + 5, len - 37);
    return len - 37;
}

Test(token, what_was_signed_is_read_back)
{
    struct token t = sample(), got;
    t.tenant = STR("school");
    struct str text = signed_text(&t);
    uint32_t kid;
    cr_assert_eq(token_kid(text, &kid), 0);
    cr_expect_eq(kid, 7u);
    cr_assert_eq(token_parse(&arena, text, key, &got), TOKEN_OK);
    cr_expect(str_eq(got.tenant, t.tenant) && str_eq(got.user, t.user) && str_eq(got.course, t.course));
    cr_expect(str_eq(got.lesson, t.lesson) && str_eq(got.bucket, t.bucket) && str_eq(got.prefix, t.prefix));
    cr_expect(str_eq(got.session, t.session));
    cr_expect_eq(got.kid, 7u);
    cr_expect_eq(got.audience, TOKEN_PLAY);
    cr_expect_eq(got.not_before_s, t.not_before_s);
    cr_expect_eq(got.expires_s, t.expires_s);
}

Test(token, every_flipped_bit_is_refused)
{
    struct token t = sample(), got;
    struct str text = signed_text(&t);
    uint8_t raw[1536];
    size_t len;
    cr_assert_eq(base64url_decode(text, raw, sizeof(raw), &len), 0);
    for (size_t i = 0; i < len * 8; i++) {
        char changed[BASE64_LEN(sizeof(raw))];
        raw[i / 8] ^= (uint8_t)(1 << i % 8);
        base64url_encode(raw, len, changed);
        int outcome = token_parse(&arena, str_c(changed), key, &got);
        cr_expect(outcome == TOKEN_BAD_SIGNATURE || outcome == TOKEN_MALFORMED, "bit %zu: %d", i, outcome);
        raw[i / 8] ^= (uint8_t)(1 << i % 8);
    }
}

Test(token, every_truncation_is_refused)
{
    struct token t = sample(), got;
    struct str text = signed_text(&t);
    uint32_t kid;
    for (size_t len = 0; len < text.len; len++) {
        cr_expect_neq(token_parse(&arena, (struct str){text.p, len}, key, &got), TOKEN_OK, "%zu", len);
        token_kid((struct str){text.p, len}, &kid);
    }
}

Test(token, another_spelling_of_the_same_bytes_is_refused)
{
    struct token t = sample(), got;
    struct str text = signed_text(&t);
    char longer[TOKEN_TEXT_MAX + 8];
    memcpy(longer, text.p, text.len);
    static const char *const tails[] = {"=", "==", "A", " ", "\n", "%3D", "/", "."};
    for (size_t i = 0; i < ARRAY_LEN(tails); i++) {
        memcpy(longer + text.len, tails[i], strlen(tails[i]) + 1);
        cr_expect_neq(token_parse(&arena, str_c(longer), key, &got), TOKEN_OK, "tail '%s'", tails[i]);
    }
    for (size_t i = 0; i < text.len; i++) { /* the other alphabet */
        if (text.p[i] == '-' || text.p[i] == '_') {
            memcpy(longer, text.p, text.len + 1);
            longer[i] = text.p[i] == '-' ? '+' : '/';
            cr_expect_eq(token_parse(&arena, (struct str){longer, text.len}, key, &got), TOKEN_MALFORMED);
        }
    }
    if (text.len % 4 == 2 || text.len % 4 == 3) { /* spare bits of the last digit */
        memcpy(longer, text.p, text.len + 1);
        longer[text.len - 1]++;
        cr_expect_neq(token_parse(&arena, (struct str){longer, text.len}, key, &got), TOKEN_OK);
    }
}

Test(token, another_key_does_not_verify)
{
    struct token t = sample(), got;
    cr_expect_eq(token_parse(&arena, signed_text(&t), other, &got), TOKEN_BAD_SIGNATURE);
}

Test(token, bytes_cannot_move_from_one_claim_to_the_next)
{
    struct token a = sample(), b = sample(), got;
    a.user = STR("ada");
    a.course = STR("c1");
    b.user = STR("adac");
    b.course = STR("1");
    struct str ta = signed_text(&a), tb = signed_text(&b);
    uint8_t ra[1536], rb[1536];
    size_t la, lb;
    cr_assert_eq(base64url_decode(ta, ra, sizeof(ra), &la), 0);
    cr_assert_eq(base64url_decode(tb, rb, sizeof(rb), &lb), 0);
    cr_expect(la == lb && memcmp(ra + la - 32, rb + lb - 32, 32) != 0, "the same MAC for other claims");
    memcpy(ra + la - 32, rb + lb - 32, 32);
    char mixed[BASE64_LEN(sizeof(ra))];
    base64url_encode(ra, la, mixed);
    cr_expect_eq(token_parse(&arena, str_c(mixed), key, &got), TOKEN_BAD_SIGNATURE);
}

/* Correctly signed, but not what we write: claims missing, twice, out of order, unknown, too short or too long. */
Test(token, unusual_claims_are_malformed_even_when_signed)
{
    struct token t = sample(), got;
    uint8_t good[1536], bad[1536];
    size_t len = claims_of(&t, good);
    cr_expect_eq(token_parse(&arena, forged(good, len, TOKEN_VERSION), key, &got), TOKEN_OK, "the forge works");
    cr_expect_eq(token_parse(&arena, forged(good, len, 2), key, &got), TOKEN_MALFORMED, "version");
    cr_expect_eq(token_parse(&arena, forged(good, 0, TOKEN_VERSION), key, &got), TOKEN_MALFORMED, "no claims");

    for (size_t at = 0; at < len;) { /* leave each claim out, and say each one twice */
        size_t size = 3 + ((size_t)good[at + 1] << 8 | good[at + 2]);
        memcpy(bad, good, at);
        memcpy(bad + at, good + at + size, len - at - size);
        cr_expect_eq(token_parse(&arena, forged(bad, len - size, TOKEN_VERSION), key, &got), TOKEN_MALFORMED,
                     "without tag %u", good[at]);
        memcpy(bad, good, at + size);
        memcpy(bad + at + size, good + at, len - at);
        cr_expect_eq(token_parse(&arena, forged(bad, len + size, TOKEN_VERSION), key, &got), TOKEN_MALFORMED,
                     "tag %u twice", good[at]);
        memcpy(bad, good, len); /* a length that runs past the end */
        bad[at + 1] = 0xff;
        cr_expect_eq(token_parse(&arena, forged(bad, len, TOKEN_VERSION), key, &got), TOKEN_MALFORMED);
        memcpy(bad, good, len); /* an unknown tag in its place */
        bad[at] = 99;
        cr_expect_eq(token_parse(&arena, forged(bad, len, TOKEN_VERSION), key, &got), TOKEN_MALFORMED);
        at += size;
    }
    memcpy(bad, good, len);
    memcpy(bad + len, (uint8_t[]){11, 0, 1, 'x'}, 4);
    cr_expect_eq(token_parse(&arena, forged(bad, len + 4, TOKEN_VERSION), key, &got), TOKEN_MALFORMED, "a newer tag");
}

Test(token, an_audience_or_a_time_that_is_none_is_malformed)
{
    static const struct {
        size_t from_end; /* of the claims */
        uint8_t value;
    } rows[] = {{8, 0x80}, {8, 0x01}, {19, 0xff}}; /* expiry of 2^63 and 2^56, not-before of 2^63 and more */
    struct token t = sample(), got;
    uint8_t good[1536];
    size_t len = claims_of(&t, good);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t bad[1536];
        memcpy(bad, good, len);
        bad[len - rows[i].from_end] = rows[i].value;
        cr_expect_eq(token_parse(&arena, forged(bad, len, TOKEN_VERSION), key, &got), TOKEN_MALFORMED, "row %zu", i);
    }
    for (unsigned audience = 0; audience < 256; audience++) {
        good[3] = (uint8_t)audience;
        int outcome = token_parse(&arena, forged(good, len, TOKEN_VERSION), key, &got);
        cr_expect_eq(outcome, audience >= 1 && audience <= 4 ? TOKEN_OK : TOKEN_MALFORMED, "audience %u", audience);
    }
}

Test(token, signing_refuses_what_parsing_would)
{
    struct token t;
    struct str text;
    char big[1200];
    memset(big, 'x', sizeof(big));
#define REFUSED(change)                                                                                                \
    t = sample();                                                                                                      \
    change;                                                                                                            \
    cr_expect_eq(token_sign(&arena, &t, key, &text), -EINVAL, #change)
    REFUSED(t.user = STR_NONE);
    REFUSED(t.course = STR_NONE);
    REFUSED(t.lesson = STR_NONE);
    REFUSED(t.bucket = STR_NONE);
    REFUSED(t.prefix = STR_NONE);
    REFUSED(t.session = STR_NONE);
    REFUSED(t.audience = 0);
    REFUSED(t.audience = 5);
    REFUSED(t.expires_s = t.not_before_s);
    REFUSED(t.expires_s = UINT64_MAX);
    REFUSED((t.user = (struct str){big, 129}));
    REFUSED((t.prefix = (struct str){big, 1025}));
    REFUSED((t.bucket = (struct str){big, 64}));
#undef REFUSED
}

Test(token, the_largest_claims_that_a_lesson_may_have_fit)
{
    char big[1200];
    struct token t = sample(), got;
    struct str text;
    memset(big, 'x', sizeof(big));
    big[899] = '/';
    t.user = t.course = t.lesson = (struct str){big, 128};
    t.prefix = (struct str){big, 900};
    t.bucket = (struct str){big, 63};
    cr_assert_eq(token_sign(&arena, &t, key, &text), 0);
    cr_expect_leq(text.len, (size_t)TOKEN_TEXT_MAX);
    cr_expect_eq(token_parse(&arena, text, key, &got), TOKEN_OK);
    t.prefix.len = 1024;
    t.tenant = t.user;
    cr_expect_eq(token_sign(&arena, &t, key, &text), -EINVAL, "longer than a token may be");
}

Test(token, time_is_judged_with_its_skew)
{
    static const struct {
        int64_t after_begin, after_end; /* one of them; INT64_MIN: not this one */
        enum token_outcome want;
    } rows[] = {
        {-31, INT64_MIN, TOKEN_NOT_YET}, {-30, INT64_MIN, TOKEN_OK},     {-29, INT64_MIN, TOKEN_OK},
        {0, INT64_MIN, TOKEN_OK},        {INT64_MIN, -1, TOKEN_OK},      {INT64_MIN, 0, TOKEN_OK},
        {INT64_MIN, 29, TOKEN_OK},       {INT64_MIN, 30, TOKEN_EXPIRED}, {INT64_MIN, 31, TOKEN_EXPIRED},
    };
    struct token t = sample();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool begin = rows[i].after_begin != INT64_MIN;
        uint64_t base = begin ? t.not_before_s : t.expires_s;
        uint64_t now = base + (uint64_t)(begin ? rows[i].after_begin : rows[i].after_end);
        cr_expect_eq(token_time(&t, now, 30), rows[i].want, "row %zu", i);
    }
    cr_expect_eq(token_time(&t, 0, 0), TOKEN_NOT_YET);
    cr_expect_eq(token_time(&t, UINT64_MAX - 60, 30), TOKEN_EXPIRED);
}

Test(token, a_prefix_covers_whole_segments_only)
{
    static const struct {
        const char *prefix, *path;
        bool covered;
    } rows[] = {
        {"c/12/", "c/12/x", true},
        {"c/12/", "c/12/a/b/c.ts", true},
        {"c/12/", "c/123/x", false},
        {"c/12/", "c/12", false},
        {"c/12/", "c/1", false},
        {"c/12/", "C/12/x", false},
        {"c/12/", "/c/12/x", false},
        {"c/12/", "", false},
        {"c/12", "c/12", true},
        {"c/12", "c/12/x", false},
        {"c/12", "c/123", false},
        {"", "x", false},
        {"", "", false},
        {"a.pdf", "a.pdf", true},
        {"a.pdf", "a.pdf.bak", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct token t = {.prefix = str_c(rows[i].prefix)};
        cr_expect_eq(token_covers(&t, str_c(rows[i].path)), rows[i].covered, "%s over %s", rows[i].prefix,
                     rows[i].path);
    }
}

Test(token, a_look_without_trust_needs_no_key)
{
    struct token t = sample(), got;
    struct str text = signed_text(&t);
    cr_assert_eq(token_peek(&arena, text, &got), 0);
    cr_expect(str_eq(got.user, t.user) && got.expires_s == t.expires_s);
    cr_expect_eq(token_peek(&arena, STR("AAAA"), &got), TOKEN_MALFORMED);
}

Test(token, a_copy_stands_on_its_own)
{
    struct token t = sample(), got, copy;
    struct arena mine;
    char to[256];
    arena_init(&mine, MIB);
    cr_assert_eq(token_parse(&mine, signed_text(&t), key, &got), TOKEN_OK);
    cr_assert_eq(token_copy(&got, to, sizeof(to), &copy), 0);
    arena_fini(&mine);
    cr_expect(str_eq(copy.user, t.user) && str_eq(copy.prefix, t.prefix) && str_eq(copy.session, t.session));
    cr_expect_eq(copy.kid, 7u);
    cr_expect_eq(token_copy(&t, to, 10, &copy), -EINVAL);
}

Test(token, memory_that_runs_out_is_an_error_and_not_a_verdict)
{
    struct token t = sample(), got;
    struct str text = signed_text(&t);
    struct arena small;
    arena_init(&small, 8);
    cr_expect_eq(token_parse(&small, text, key, &got), -ENOMEM);
    cr_expect_eq(token_sign(&small, &t, key, &text), -ENOMEM);
    arena_fini(&small);
}
