/* Tokens from outside. Two ways in: the text as it comes, and the text with a right signature put behind it, so that
 * the decoder of claims is reached. Whatever is accepted must be the one spelling of its claims: signing them again
 * gives the same text. */
#include "common/crypt.h"
#include "common/token.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge(struct arena *a, struct str text, struct hmac_key *key)
{
    struct token t, peeked;
    struct str again;
    uint32_t kid = 0;
    int by_kid = token_kid(text, &kid);
    if (token_parse(a, text, key, &t) != TOKEN_OK)
        return;
    if (by_kid || kid != t.kid || token_peek(a, text, &peeked) || token_sign(a, &t, key, &again) ||
        !str_eq(again, text))
        abort();
    token_time(&t, 1700000000, 30);
    if (token_covers(&t, STR("c/12/x")) && !str_starts(STR("c/12/x"), t.prefix))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct hmac_key *key;
    struct arena a;
    if (!key && hmac_key_create("0123456789abcdef0123456789abcdef", 32, &key))
        abort();
    arena_init(&a, MIB);
    judge(&a, (struct str){(const char *)data, size}, key);
    if (size <= 1500) {
        uint8_t raw[1600];
        char text[BASE64_LEN(sizeof(raw))];
        memcpy(raw, data, size);
        hmac_key_sign(key, raw, size, raw + size);
        base64url_encode(raw, size + TOKEN_MAC_LEN, text);
        judge(&a, str_c(text), key);
    }
    arena_fini(&a);
    return 0;
}
