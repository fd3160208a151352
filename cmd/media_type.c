/* media_type - by the extension alone, whatever its case. */
#include "cmd/media_type.h"
#include "common/base.h"

const char *media_type(const char *path)
{
    static const char *const rows[][2] = {
#define MEDIA_TYPE(extension, type) {extension, type},
#include "cmd/media_types.def"
#undef MEDIA_TYPE
    };
    const char *dot = strrchr(path, '.'), *slash = strrchr(path, '/');
    if (dot && (!slash || slash < dot))
        for (size_t i = 0; i < ARRAY_LEN(rows); i++)
            if (str_ieq(str_c(dot + 1), str_c(rows[i][0])))
                return rows[i][1];
    return "application/octet-stream";
}
