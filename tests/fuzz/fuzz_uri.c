/* Any text: decode(encode(x)) is x; what decodes can be encoded and decoded again to the same; a query's parts point
 * into it and cover every byte that is no separator. */
#include "common/err.h"
#include "common/uri.h"
#include <stdlib.h>

static void round_trip(struct arena *a, struct str text, bool keep_slash)
{
    struct str encoded = uri_encode(a, text, keep_slash), back;
    if (!encoded.p)
        abort();
    int err = uri_decode(a, encoded, &back);
    bool nul = text.len && memchr(text.p, 0, text.len);
    if (err != (nul ? -EINVAL : 0) || (!err && !str_eq(back, text)))
        abort();
}

static void query(struct arena *a, struct str raw)
{
    struct uri_param *params;
    size_t count, covered = 0, ands = 0;
    if (uri_query(a, raw, &params, &count))
        return;
    if (count > URI_PARAM_MAX)
        abort();
    for (size_t i = 0; i < count; i++)
        covered += params[i].raw_name.len + params[i].raw_value.len + params[i].has_equals;
    for (size_t i = 0; i < raw.len; i++)
        ands += raw.p[i] == '&';
    if (covered + ands != raw.len)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct str text = {(const char *)data, size}, decoded;
    if (size > 64 * KIB)
        return 0;
    arena_init(&a, 64 * MIB);
    round_trip(&a, text, true);
    round_trip(&a, text, false);
    query(&a, text);
    if (uri_decode(&a, text, &decoded) == 0)
        round_trip(&a, decoded, true);
    arena_fini(&a);
    return 0;
}
