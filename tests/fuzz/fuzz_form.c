/* Any bytes as an upload form and as a policy: no crash, no bytes out of nothing, and a cut changes nothing. */
#include "gateway-s3/s3_policy.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum s3_error parse(struct arena *a, struct s3_form *f, struct sbuf *file, const uint8_t *data, size_t size,
                           size_t step)
{
    uint8_t out[33];
    enum s3_error e = s3_form_init(f, a, STR("multipart/form-data; boundary=X"));
    for (size_t at = 0; e == S3_OK && at < size;) {
        size_t in_len = MIN_OF(step, size - at), out_len = f->in_file ? sizeof out : 0;
        e = s3_form_feed(f, data + at, &in_len, out, &out_len);
        if (e == S3_OK && in_len == 0 && out_len == 0)
            abort();
        sbuf_add(file, out, out_len);
        at += in_len;
    }
    return e == S3_OK ? s3_form_end(f) : e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    static struct s3_form one, two;
    struct sbuf file_one = {0}, file_two = {0};
    struct s3_policy_limits limits;
    const char *why;
    arena_init(&a, 16 * MIB);
    enum s3_error e = parse(&a, &one, &file_one, data, size, SIZE_MAX), e2 = parse(&a, &two, &file_two, data, size, 1);
    if (e != e2 || one.count != two.count || file_one.len > size ||
        !str_eq((struct str){file_one.p, file_one.len}, (struct str){file_two.p, file_two.len}))
        abort();
    if (s3_policy_check(&a, (struct str){(const char *)data, size}, &one, STR("bucket"), 0, &limits, &why) != S3_OK &&
        !why)
        abort();
    s3_form_fini(&one);
    s3_form_fini(&two);
    sbuf_fini(&file_one);
    sbuf_fini(&file_two);
    arena_fini(&a);
    return 0;
}
