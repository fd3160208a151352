/* The media path from outside: whatever is accepted must have one reading. The key is canonical, encoding it again and
 * decoding that gives the same key, and no prefix but its own covers it by another spelling. */
#include "common/token.h"
#include "common/uri.h"
#include "control/path.h"
#include "control/when.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_key(struct arena *a, struct str key)
{
    struct str again;
    if (!path_key_ok(key) || key.p[0] == '/' || key.p[key.len - 1] == '/' || memmem(key.p, key.len, "//", 2) ||
        memmem(key.p, key.len, "/../", 4) || memchr(key.p, 0, key.len) || memchr(key.p, '\\', key.len))
        abort();
    if (path_decode(a, uri_encode(a, key, true), &again) || !str_eq(again, key))
        abort();
    struct token t = {.prefix = STR("c/12/")};
    if (token_covers(&t, key) && (key.len <= 5 || memcmp(key.p, "c/12/", 5) != 0))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct str raw = {(const char *)data, size}, token, rest, key;
    int64_t s;
    char text[24];
    arena_init(&a, MIB);
    if (path_media_split(raw, &token, &rest) == 0) {
        if (token.len && memchr(token.p, '/', token.len))
            abort();
        if (path_decode(&a, rest, &key) == 0)
            check_key(&a, key);
    }
    if (path_decode(&a, raw, &key) == 0)
        check_key(&a, key);
    if (path_prefix_ok(raw) && raw.p[0] == '/')
        abort();
    if (when_parse(raw, &s) == 0 && s >= 0 && (uint64_t)s <= WHEN_MAX_S) {
        int64_t again;
        when_print((uint64_t)s, text);
        if (when_parse(str_c(text), &again) || again != s)
            abort();
    }
    arena_fini(&a);
    return 0;
}
