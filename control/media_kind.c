/* One table of endings serves the judge (audience) and the gateway (Content-Type, caching). */
#include "control/media_kind.h"

#include "common/token.h"

static const struct media_kind kinds[] = {
#define MEDIA_KIND(ending, class, type) {ending, MEDIA_##class, type},
#include "control/media_kinds.def"
#undef MEDIA_KIND
};
static const struct media_kind other = {"", MEDIA_OTHER, "application/octet-stream"};

const struct media_kind *media_kind(struct str key)
{
    const char *dot = key.len ? memrchr(key.p, '.', key.len) : NULL;
    if (!dot)
        return &other;
    struct str ending = {dot + 1, key.len - (size_t)(dot + 1 - key.p)};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (str_ieq(str_c(kinds[i].ending), ending))
            return &kinds[i];
    }
    return &other;
}

bool media_kind_allowed(unsigned audience, struct str key)
{
    enum media_class class = media_kind(key)->class;
    switch (audience) {
    case TOKEN_PLAY:
    case TOKEN_DOWNLOAD:
        return true;
    case TOKEN_THUMBNAIL:
        return class == MEDIA_IMAGE;
    case TOKEN_KEY:
        return class == MEDIA_KEY;
    default:
        return false;
    }
}
