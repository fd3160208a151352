/* Any stream in any pieces: what an aws-chunked decoder makes must not depend on how its input was cut, it never makes
 * more than it was given, and a signed stream never ends well (no input knows the key). First byte: kind and cuts. */
#include "gateway-s3/awschunk.h"
#include <stdlib.h>

struct run {
    enum s3_error error;
    bool done;
    uint64_t decoded;
    unsigned trailers;
    uint8_t *out;
    size_t made;
};

static struct run feed(const struct sigv4 *sig, const uint8_t *p, size_t n, size_t step, size_t room)
{
    struct run run = {.out = malloc(n + 1)};
    struct awschunk d;
    if (!run.out || awschunk_init(&d, sig))
        abort();
    for (size_t at = 0; at < n && !run.error;) {
        size_t in_len = n - at < step ? n - at : step, out_len = room < n - run.made ? room : n - run.made;
        run.error = awschunk_decode(&d, p + at, &in_len, run.out + run.made, &out_len);
        if (!run.error && in_len == 0)
            abort();
        at += in_len;
        run.made += out_len;
    }
    if (!run.error)
        run.error = awschunk_end(&d);
    run.done = d.done;
    run.decoded = d.decoded_bytes;
    run.trailers = d.trailer_count;
    awschunk_fini(&d);
    return run;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct sigv4 sig = {.payload = (enum sigv4_payload)(PAYLOAD_CHUNKS + data[0] % 3),
                        .scope = STR("20130524/us-east-1/s3/aws4_request"),
                        .amz_date = STR("20130524T000000Z")};
    memset(sig.signing_key, 0x5a, sizeof sig.signing_key);
    size_t step = 1 + data[0] / 3 % 16;
    struct run whole = feed(&sig, data + 1, size - 1, size, size);
    struct run cut = feed(&sig, data + 1, size - 1, step, step);
    if (whole.error != cut.error || whole.done != cut.done || whole.decoded != cut.decoded || whole.made != cut.made ||
        whole.trailers != cut.trailers || memcmp(whole.out, cut.out, whole.made) != 0)
        abort();
    if (whole.decoded != whole.made || (whole.error == S3_OK) != whole.done)
        abort();
    if (sig.payload != PAYLOAD_UNSIGNED_TRAILER && whole.done)
        abort();
    free(whole.out);
    free(cut.out);
    return 0;
}
