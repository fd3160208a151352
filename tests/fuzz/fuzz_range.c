/* Any bytes as a Range header and as a list of entity tags: what is accepted lies inside the object and is bounded. */
#include "gateway-s3/s3_conditions.h"
#include "gateway-s3/s3_range.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct s3_range ranges[S3_RANGES_MAX];
    unsigned count;
    uint64_t length, total = 0, first, last;
    if (size < sizeof length)
        return 0;
    memcpy(&length, data, sizeof length);
    struct str text = {(const char *)data + sizeof length, size - sizeof length};
    enum s3_range_outcome o = s3_range_parse(text, length, ranges, &count);
    if ((o == S3_RANGE_OK) != (count > 0) || count > S3_RANGES_MAX)
        abort();
    for (unsigned i = 0; i < count; i++) {
        if (ranges[i].length == 0 || ranges[i].first >= length || ranges[i].length > length - ranges[i].first)
            abort();
        total += ranges[i].length;
    }
    if (total > length)
        abort();
    if (s3_range_copy(text, &first, &last) && (last < first || last == UINT64_MAX))
        abort();
    struct s3_conditions c = {text, text, text, text};
    if (s3_conditions_judge(&c, STR("abc"), 1, 2) == S3_CONDITIONS_PASS && s3_etag_listed(text, STR("abc"), true))
        abort();
    s3_if_range(text, STR("abc"), 1);
    return 0;
}
