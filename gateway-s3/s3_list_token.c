/* A check value tells a damaged or invented token from ours; it protects nothing, for a token grants nothing. */
#include "gateway-s3/s3_list.h"
#include "common/crc.h"
#include "common/crypt.h"
#include "common/err.h"

#define TOKEN_AFTER_MAX 1024
#define TOKEN_MAX       ((1 + TOKEN_AFTER_MAX + 4 + 2) / 3 * 4)

struct str s3_list_token_encode(struct arena *a, const struct s3_list_token *t)
{
    size_t n = 1 + t->after.len;
    uint8_t *raw = arena_alloc(a, n + 4);
    char *text = arena_alloc(a, BASE64_LEN(n + 4));
    if (!raw || !text)
        return STR_NONE;
    raw[0] = t->after_is_prefix ? 'p' : 'k';
    if (t->after.len)
        memcpy(raw + 1, t->after.p, t->after.len);
    put_be32(raw + n, crc32c(0, raw, n));
    base64url_encode(raw, n + 4, text);
    return str_c(text);
}

int s3_list_token_decode(struct arena *a, struct str text, struct s3_list_token *ret)
{
    if (text.len > TOKEN_MAX || text.len < 7)
        return -EINVAL;
    uint8_t *raw = arena_alloc(a, text.len);
    size_t n;
    if (!raw)
        return -ENOMEM;
    if (base64url_decode(text, raw, text.len, &n) != 0 || n < 5 || (raw[0] != 'k' && raw[0] != 'p') ||
        crc32c(0, raw, n - 4) != get_be32(raw + n - 4))
        return -EINVAL;
    *ret = (struct s3_list_token){{(const char *)raw + 1, n - 5}, raw[0] == 'p'};
    return 0;
}
