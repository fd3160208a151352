/* err - the text of every negative code: ours from the table, errno's from the C library. */
#include "common/err.h"
#include <string.h>

const char *err_text(int err)
{
    switch (err) {
#define ERR(name, number, text)                                                                                        \
    case E_##name:                                                                                                     \
        return text;
#include "common/err.def"
#undef ERR
    default:
        break;
    }
    const char *text = strerrordesc_np(err < 0 ? -err : err);
    return text ? text : "unknown error";
}
