/* awschunk: AWS's published streams cut at every point, the shapes that real SDKs send, and everything that must be
 * refused (lengths that lie, signatures that lie, streams that stop, bytes after the end). */
#include "common/err.h"
#include "gateway-s3/awschunk.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define SIG "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

TestSuite(awschunk, .timeout = 120);

/* The key of AWS's examples: derived here by the plain formula. */
static struct sigv4 example(enum sigv4_payload payload, const char *seed)
{
    struct sigv4 s = {
        .payload = payload, .scope = STR("20130524/us-east-1/s3/aws4_request"), .amz_date = STR("20130524T000000Z")};
    static const char secret[] = "AWS4wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    size_t len;
    hmac_sha256(secret, sizeof secret - 1, "20130524", 8, s.signing_key);
    hmac_sha256(s.signing_key, 32, "us-east-1", 9, s.signing_key);
    hmac_sha256(s.signing_key, 32, "s3", 2, s.signing_key);
    hmac_sha256(s.signing_key, 32, "aws4_request", 12, s.signing_key);
    cr_assert_eq(hex_decode(str_c(seed), s.seed_signature, 32, &len), 0);
    return s;
}

struct outcome {
    enum s3_error error; /* of decode, else of end */
    struct sbuf data;
};

/* Feeds the pieces [0, cut) and [cut, n); each decode may make at most room bytes. */
static struct outcome decode(struct awschunk *d, const struct sigv4 *s, struct str body, size_t cut, size_t room)
{
    struct outcome o = {.error = S3_OK};
    uint8_t *out = malloc(room);
    cr_assert(out);
    cr_assert_eq(awschunk_init(d, s), 0);
    for (size_t at = 0; at < body.len && !o.error;) {
        size_t end = at < cut ? cut : body.len, in_len = end - at, out_len = room;
        o.error = awschunk_decode(d, (const uint8_t *)body.p + at, &in_len, out, &out_len);
        cr_assert(in_len <= end - at && out_len <= room);
        cr_assert(o.error || in_len > 0, "no progress at %zu", at);
        sbuf_add(&o.data, out, out_len);
        at += in_len;
    }
    if (!o.error)
        o.error = awschunk_end(d);
    free(out);
    return o;
}

static struct outcome decode_once(const struct sigv4 *s, struct str body)
{
    struct awschunk d;
    struct outcome o = decode(&d, s, body, body.len, 100000);
    awschunk_fini(&d);
    return o;
}

/* ---- AWS's examples ---- */

static void add_run(struct sbuf *b, char byte, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sbuf_add(b, &byte, 1);
}

static struct sbuf aws_body(const char *first, const char *second, const char *last, const char *end)
{
    struct sbuf b = {0};
    sbuf_printf(&b, "10000;chunk-signature=%s\r\n", first);
    add_run(&b, 'a', 65536);
    sbuf_printf(&b, "\r\n400;chunk-signature=%s\r\n", second);
    add_run(&b, 'a', 1024);
    sbuf_printf(&b, "\r\n0;chunk-signature=%s\r\n%s", last, end);
    return b;
}

#define AWS_SEED         "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
#define AWS_SEED_TRAILER "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
#define AWS_TRAILER_SIG  "x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"

static struct sbuf aws_signed(const char *end)
{
    return aws_body("ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
                    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
                    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9", end);
}

static struct sbuf aws_trailer(const char *end)
{
    return aws_body("b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
                    "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
                    "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992", end);
}

Test(awschunk, the_signed_example_of_aws_has_the_length_that_aws_gives)
{
    struct sbuf b = aws_signed("\r\n");
    cr_expect_eq(b.len, 66824, "as in the example's Content-Length");
    sbuf_fini(&b);
}

Test(awschunk, the_signed_example_of_aws_passes_however_it_is_cut)
{
    struct sigv4 s = example(PAYLOAD_CHUNKS, AWS_SEED);
    struct sbuf b = aws_signed("\r\n");
    struct str body = {b.p, b.len};
    for (size_t cut = 0; cut <= b.len;
         cut += cut < 200 || (cut > 65500 && cut < 65800) || cut > b.len - 300 ? 1 : 4099) {
        struct awschunk d;
        struct outcome o = decode(&d, &s, body, cut, cut % 7 ? 70000 : 1000);
        cr_expect_eq(o.error, S3_OK, "cut at %zu", cut);
        cr_expect(d.done && d.decoded_bytes == 66560 && o.data.len == 66560, "cut at %zu", cut);
        for (size_t i = 0; i < o.data.len; i += 97)
            cr_assert_eq(o.data.p[i], 'a');
        sbuf_fini(&o.data);
        awschunk_fini(&d);
    }
    sbuf_fini(&b);
}

Test(awschunk, the_trailer_example_of_aws_passes_in_every_shape_that_clients_send)
{
    static const char *const ends[] = {
        "x-amz-checksum-crc32c:sOO8/Q==\r\n" AWS_TRAILER_SIG "\r\n\r\n", /* Java, .NET, Rust, C */
        "x-amz-checksum-crc32c:sOO8/Q==\r\n" AWS_TRAILER_SIG "\r\n",
        "x-amz-checksum-crc32c:sOO8/Q==\n\r\n" AWS_TRAILER_SIG "\r\n\r\n",   /* the example's own text */
        "\r\nx-amz-checksum-crc32c:sOO8/Q==\r\n" AWS_TRAILER_SIG "\r\n\r\n", /* the last chunk's CRLF stays */
        "X-Amz-Checksum-Crc32c: sOO8/Q== \r\n" AWS_TRAILER_SIG "\r\n\r\n",
        "x-amz-checksum-crc32c:sOO8/Q==\n" AWS_TRAILER_SIG "\n\r\n",
    };
    struct sigv4 s = example(PAYLOAD_CHUNKS_TRAILER, AWS_SEED_TRAILER);
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        struct sbuf b = aws_trailer(ends[i]);
        for (size_t back = 0; back < strlen(ends[i]) + 90; back++) {
            struct awschunk d;
            struct outcome o = decode(&d, &s, (struct str){b.p, b.len}, b.len - back, 70000);
            cr_expect_eq(o.error, S3_OK, "end %zu cut %zu from the end", i, back);
            cr_expect(str_eq(awschunk_trailer(&d, "x-amz-checksum-crc32c"), STR("sOO8/Q==")));
            cr_expect_eq(d.trailer_count, 1, "the signature is no trailer of the object");
            sbuf_fini(&o.data);
            awschunk_fini(&d);
        }
        sbuf_fini(&b);
    }
}

Test(awschunk, no_byte_of_a_signed_stream_may_change)
{
    static const struct {
        enum sigv4_payload payload;
        const char *seed;
    } rows[] = {{PAYLOAD_CHUNKS, AWS_SEED}, {PAYLOAD_CHUNKS_TRAILER, AWS_SEED_TRAILER}};
    for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
        struct sigv4 s = example(rows[row].payload, rows[row].seed);
        struct sbuf b =
            row ? aws_trailer("x-amz-checksum-crc32c:sOO8/Q==\r\n" AWS_TRAILER_SIG "\r\n\r\n") : aws_signed("\r\n");
        for (size_t at = 0; at < b.len; at += at < 100 || at > b.len - 1500 ? 1 : 9973) {
            bool loose = row && b.p[at] == '\r' && at > 66700; /* a trailer line may end with LF alone */
            b.p[at] ^= 0x01;
            struct outcome o = decode_once(&s, (struct str){b.p, b.len});
            cr_expect(o.error != S3_OK || loose, "stream %zu, byte %zu", row, at);
            b.p[at] ^= 0x01;
            sbuf_fini(&o.data);
        }
        sbuf_fini(&b);
    }
}

Test(awschunk, a_signed_stream_that_stops_anywhere_is_incomplete)
{
    struct sigv4 s = example(PAYLOAD_CHUNKS, AWS_SEED), t = example(PAYLOAD_CHUNKS_TRAILER, AWS_SEED_TRAILER);
    struct sbuf b = aws_signed("\r\n"),
                c = aws_trailer("x-amz-checksum-crc32c:sOO8/Q==\r\n" AWS_TRAILER_SIG "\r\n\r\n");
    for (size_t keep = 0; keep < b.len - 2; keep += keep < 100 || keep > b.len - 1500 ? 1 : 9973) {
        struct outcome o = decode_once(&s, (struct str){b.p, keep});
        cr_expect_eq(o.error, S3_IncompleteBody, "signed, %zu bytes", keep);
        sbuf_fini(&o.data);
    }
    for (size_t keep = 0; keep < c.len - 4; keep += keep < 100 || keep > c.len - 1500 ? 1 : 9973) {
        struct outcome o = decode_once(&t, (struct str){c.p, keep});
        cr_expect_eq(o.error, S3_IncompleteBody, "with trailer, %zu bytes", keep);
        sbuf_fini(&o.data);
    }
    sbuf_fini(&b);
    sbuf_fini(&c);
}

Test(awschunk, chunks_may_not_be_dropped_reordered_or_repeated)
{
    struct sigv4 s = example(PAYLOAD_CHUNKS, AWS_SEED);
    struct sbuf b = aws_signed("\r\n");
    const size_t line = 5 + 17 + 64 + 2, first = line + 65536 + 2, second = 3 + 17 + 64 + 2 + 1024 + 2;
    static const char *const names[] = {"the first dropped", "the second dropped", "swapped", "the first twice"};
    struct str one = {b.p, first}, two = {b.p + first, second}, end = {b.p + first + second, b.len - first - second};
    struct str orders[][4] = {{two, end}, {one, end}, {two, one, end}, {one, one, two, end}};
    for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
        struct sbuf mixed = {0};
        for (size_t k = 0; k < 4 && orders[i][k].p; k++)
            sbuf_str(&mixed, orders[i][k]);
        struct outcome o = decode_once(&s, (struct str){mixed.p, mixed.len});
        cr_expect_eq(o.error, S3_SignatureDoesNotMatch, "%s", names[i]);
        sbuf_fini(&mixed);
        sbuf_fini(&o.data);
    }
    sbuf_fini(&b);
}

/* ---- unsigned with trailer ---- */

struct shape {
    const char *body, *data; /* data NULL: refused with error */
    enum s3_error error;
};

static const struct shape unsigned_shapes[] = {
    {"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n", "hello", S3_OK},
    {"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\n\r\n", "hello", S3_OK},
    {"5\r\nhello\r\n0\r\n\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n", "hello", S3_OK},
    {"05\r\nhello\r\n00\r\nx:y\r\n\r\n", "hello", S3_OK},
    {"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\nx:y\r\nz:\r\n\r\n", "01234567890123456789", S3_OK},
    {"0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", "", S3_OK},
    {"0\r\n\r\n", "", S3_OK},
    {"3\r\n\r\n\r\r\n0\r\n\r\n", "\r\n\r", S3_OK},
    {"0000000000000005\r\nhello\r\n0\r\n\r\n", "hello", S3_OK},
    /* sizes */
    {"00000000000000005\r\nhello\r\n0\r\n\r\n", NULL, S3_InvalidRequest},
    {"\r\nhello\r\n0\r\n\r\n", NULL, S3_InvalidRequest},
    {"-5\r\nhello\r\n0\r\n\r\n", NULL, S3_InvalidRequest},
    {"+5\r\nhello\r\n0\r\n\r\n", NULL, S3_InvalidRequest},
    {"0x5\r\nhello\r\n0\r\n\r\n", NULL, S3_InvalidRequest},
    {" 5\r\nhello\r\n0\r\n\r\n", NULL, S3_InvalidRequest},
    {"5 \r\nhello\r\n0\r\n\r\n", NULL, S3_InvalidRequest},
    {"5g\r\nhello\r\n0\r\n\r\n", NULL, S3_InvalidRequest},
    {"5\nhello\r\n0\r\n\r\n", NULL, S3_InvalidRequest},
    {"5\r\r\nhello\r\n0\r\n\r\n", NULL, S3_InvalidRequest},
    {"ffffffffffffffff\r\nhello\r\n0\r\n\r\n", NULL, S3_EntityTooLarge},
    {"8000000000000000\r\nhello", NULL, S3_EntityTooLarge},
    {"10000000000000005\r\nhello\r\n0\r\n\r\n", NULL, S3_InvalidRequest},
    {"5;chunk-signature=" SIG "\r\nhello\r\n0\r\n\r\n", NULL, S3_InvalidRequest},
    {"5;x\r\nhello\r\n0\r\n\r\n", NULL, S3_InvalidRequest},
    {"5;\r\nhello\r\n0\r\n\r\n", NULL, S3_InvalidRequest},
    /* data longer or shorter than its size */
    {"4\r\nhello\r\n0\r\n\r\n", NULL, S3_InvalidRequest},
    {"6\r\nhello\r\n0\r\n\r\n", NULL, S3_InvalidRequest},
    {"5\r\nhello0\r\n\r\n", NULL, S3_InvalidRequest},
    {"5\r\nhello\n0\r\n\r\n", NULL, S3_InvalidRequest},
    {"5\r\nhello\r0\r\n\r\n", NULL, S3_InvalidRequest},
    {"ffffff\r\nhello\r\n0\r\n\r\n", NULL, S3_IncompleteBody},
    {"5\r\nhello\r\n", NULL, S3_IncompleteBody},
    {"5\r\nhello\r\n0\r\n", NULL, S3_IncompleteBody},
    {"5\r\nhello\r\n0\r\nx:y\r\n", NULL, S3_IncompleteBody},
    {"5\r\nhello\r\n0\r\n\r\nx:y\r\n", NULL, S3_IncompleteBody},
    {"", NULL, S3_IncompleteBody},
    /* after the end */
    {"0\r\n\r\n\r\n", NULL, S3_InvalidRequest},
    {"0\r\nx:y\r\n\r\nx", NULL, S3_InvalidRequest},
    {"0\r\nx:y\r\n\r\n\r\n", NULL, S3_InvalidRequest},
    {"0\r\n\r\n5\r\nhello\r\n0\r\n\r\n", NULL, S3_MalformedTrailerError},
    /* trailers */
    {"0\r\nnocolon\r\n\r\n", NULL, S3_MalformedTrailerError},
    {"0\r\n:v\r\n\r\n", NULL, S3_MalformedTrailerError},
    {"0\r\n x:v\r\n\r\n", NULL, S3_MalformedTrailerError},
    {"0\r\nx :v\r\n\r\n", NULL, S3_MalformedTrailerError},
    {"0\r\nx:a\rb\r\n\r\n", NULL, S3_MalformedTrailerError},
    {"0\r\nx:\x01\r\n\r\n", NULL, S3_MalformedTrailerError},
    {"0\r\nx:\xc3\xa9\r\n\r\n", NULL, S3_MalformedTrailerError},
    {"0\r\nx:1\r\nX:2\r\n\r\n", NULL, S3_MalformedTrailerError},
    {"0\r\na:1\r\nb:1\r\nc:1\r\nd:1\r\ne:1\r\nf:1\r\ng:1\r\nh:1\r\ni:1\r\n\r\n", NULL, S3_MalformedTrailerError},
    {"0\r\nx:y\r\nx-amz-trailer-signature:" SIG "\r\n\r\n", NULL, S3_MalformedTrailerError},
};

Test(awschunk, unsigned_streams_at_every_cut)
{
    struct sigv4 s = {.payload = PAYLOAD_UNSIGNED_TRAILER};
    for (size_t i = 0; i < ARRAY_LEN(unsigned_shapes); i++) {
        const struct shape *shape = &unsigned_shapes[i];
        for (size_t cut = 0; cut <= strlen(shape->body); cut++) {
            struct awschunk d;
            struct outcome o = decode(&d, &s, str_c(shape->body), cut, cut % 3 + 1);
            cr_expect_eq(o.error, shape->error, "%s cut at %zu: %s", shape->body, cut, s3_error_code(o.error));
            cr_expect(!shape->data || str_eq((struct str){o.data.p, o.data.len}, str_c(shape->data)), "%s",
                      shape->body);
            cr_expect_eq(d.done, shape->data != NULL);
            sbuf_fini(&o.data);
            awschunk_fini(&d);
        }
    }
}

Test(awschunk, lines_and_trailers_have_limits)
{
    struct sigv4 s = {.payload = PAYLOAD_UNSIGNED_TRAILER};
    static const struct {
        const char *start;
        size_t run;
        const char *end;
        enum s3_error error;
    } rows[] = {
        {"", AWSCHUNK_LINE_MAX + 1, "", S3_InvalidRequest},
        {"0\r\nx:", 127, "\r\n\r\n", S3_OK},
        {"0\r\nx:", 128, "\r\n\r\n", S3_MalformedTrailerError},
        {"0\r\n", 63, ":v\r\n\r\n", S3_OK},
        {"0\r\n", 64, ":v\r\n\r\n", S3_MalformedTrailerError},
        {"0\r\nx:", AWSCHUNK_TRAILER_MAX, "", S3_MalformedTrailerError},
        {"0\r\n", MIB, "", S3_MalformedTrailerError},
        {"0\r\n", AWSCHUNK_TRAILER_MAX / 2, "", S3_IncompleteBody},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct sbuf b = {0};
        sbuf_puts(&b, rows[i].start);
        add_run(&b, '0', rows[i].run);
        sbuf_puts(&b, rows[i].end);
        struct outcome o = decode_once(&s, (struct str){b.p, b.len});
        cr_expect_eq(o.error, rows[i].error, "row %zu: %s", i, s3_error_code(o.error));
        sbuf_fini(&b);
        sbuf_fini(&o.data);
    }
}

Test(awschunk, signed_streams_refuse_what_is_not_signed)
{
    static const struct shape rows[] = {
        {"5\r\nhello\r\n0\r\n\r\n", NULL, S3_InvalidRequest},
        {"5;\r\nhello", NULL, S3_InvalidRequest},
        {"5;chunk-signature=\r\nhello", NULL, S3_InvalidRequest},
        {"5;chunk-signature=" SIG "0\r\nhello", NULL, S3_InvalidRequest},
        {"5;chunk-signature=" SIG ";x=y\r\nhello", NULL, S3_InvalidRequest},
        {"5;Chunk-Signature=" SIG "\r\nhello", NULL, S3_InvalidRequest},
        {"5; chunk-signature=" SIG "\r\nhello", NULL, S3_InvalidRequest},
        {"5;chunk-signature=g123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\nhello", NULL,
         S3_InvalidRequest},
        {"5;chunk-signature=" SIG "\r\nhello\r\n", NULL, S3_SignatureDoesNotMatch},
        {"0;chunk-signature=" SIG "\r\n\r\n", NULL, S3_SignatureDoesNotMatch},
        {"4000001;chunk-signature=" SIG "\r\n", NULL, S3_EntityTooLarge},
        {"ffffffffffffffff;chunk-signature=" SIG "\r\n", NULL, S3_EntityTooLarge},
        {"4000000;chunk-signature=" SIG "\r\nx", NULL, S3_IncompleteBody},
    };
    static const enum sigv4_payload payloads[] = {PAYLOAD_CHUNKS, PAYLOAD_CHUNKS_TRAILER};
    for (size_t p = 0; p < ARRAY_LEN(payloads); p++) {
        struct sigv4 s = example(payloads[p], AWS_SEED);
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
            struct outcome o = decode_once(&s, str_c(rows[i].body));
            cr_expect_eq(o.error, rows[i].error, "%s: %s", rows[i].body, s3_error_code(o.error));
            sbuf_fini(&o.data);
        }
    }
}

Test(awschunk, signed_trailers_must_be_signed)
{
    static const struct shape rows[] = {
        {"\r\n", NULL, S3_IncompleteBody},
        {"", NULL, S3_IncompleteBody},
        {"x-amz-checksum-crc32c:sOO8/Q==\r\n\r\n", NULL, S3_IncompleteBody},
        {"x-amz-checksum-crc32c:sOO8/Q==\r\n\r\n\r\n", NULL, S3_MalformedTrailerError},
        {AWS_TRAILER_SIG "\r\n\r\n", NULL, S3_MalformedTrailerError},
        {"x-amz-checksum-crc32c:AAAAAA==\r\n" AWS_TRAILER_SIG "\r\n\r\n", NULL, S3_SignatureDoesNotMatch},
        {"x-amz-checksum-crc32:sOO8/Q==\r\n" AWS_TRAILER_SIG "\r\n\r\n", NULL, S3_SignatureDoesNotMatch},
        {"x-amz-checksum-crc32c:sOO8/Q==\r\nx:y\r\n" AWS_TRAILER_SIG "\r\n\r\n", NULL, S3_SignatureDoesNotMatch},
        {"x-amz-checksum-crc32c:sOO8/Q==\r\n" AWS_TRAILER_SIG "\r\nx:y\r\n\r\n", NULL, S3_InvalidRequest},
        {"x-amz-checksum-crc32c:sOO8/Q==\r\n" AWS_TRAILER_SIG "\r\n\r\nx", NULL, S3_InvalidRequest},
        {"x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:" SIG "\r\n", NULL, S3_SignatureDoesNotMatch},
        {"x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:abc\r\n", NULL, S3_MalformedTrailerError},
        {"x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:" SIG "00\r\n", NULL, S3_MalformedTrailerError},
    };
    struct sigv4 s = example(PAYLOAD_CHUNKS_TRAILER, AWS_SEED_TRAILER);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct sbuf b = aws_trailer(rows[i].body);
        struct outcome o = decode_once(&s, (struct str){b.p, b.len});
        cr_expect_eq(o.error, rows[i].error, "%s: %s", rows[i].body, s3_error_code(o.error));
        sbuf_fini(&b);
        sbuf_fini(&o.data);
    }
}

Test(awschunk, an_error_stays)
{
    struct sigv4 s = {.payload = PAYLOAD_UNSIGNED_TRAILER};
    struct awschunk d;
    uint8_t out[16];
    size_t in_len = 2, out_len = sizeof out;
    cr_assert_eq(awschunk_init(&d, &s), 0);
    cr_expect_eq(awschunk_decode(&d, (const uint8_t *)"z\n", &in_len, out, &out_len), S3_InvalidRequest);
    in_len = 5, out_len = sizeof out;
    cr_expect_eq(awschunk_decode(&d, (const uint8_t *)"0\r\n\r\n", &in_len, out, &out_len), S3_InvalidRequest);
    cr_expect_eq(in_len, 0);
    cr_expect_eq(out_len, 0);
    cr_expect_eq(awschunk_end(&d), S3_InvalidRequest);
    cr_expect_not(d.done);
    awschunk_fini(&d);
}

Test(awschunk, decodes_in_place)
{
    struct sigv4 s = {.payload = PAYLOAD_UNSIGNED_TRAILER};
    struct awschunk d;
    char body[] = "5\r\nhello\r\n6\r\n world\r\n0\r\nx:y\r\n\r\n";
    size_t in_len = sizeof body - 1, out_len = in_len;
    cr_assert_eq(awschunk_init(&d, &s), 0);
    cr_expect_eq(awschunk_decode(&d, (uint8_t *)body, &in_len, (uint8_t *)body, &out_len), S3_OK);
    cr_expect(str_eq((struct str){body, out_len}, STR("hello world")));
    cr_expect_eq(awschunk_end(&d), S3_OK);
    awschunk_fini(&d);
}

Test(awschunk, the_announced_checksum_is_taken_from_the_trailers)
{
    static const struct {
        const char *trailers;
        enum checksum_kind kind;
        bool announced;
        enum s3_error error;
        bool has_value;
    } rows[] = {
        {"x-amz-checksum-crc32:NhCmhg==\r\n", CHECKSUM_CRC32, true, S3_OK, true},
        {"X-Amz-Checksum-CRC32: NhCmhg==\r\nx-amz-other:1\r\n", CHECKSUM_CRC32, true, S3_OK, true},
        {"", CHECKSUM_CRC32, true, S3_MalformedTrailerError, false},
        {"x:y\r\n", CHECKSUM_CRC32, true, S3_MalformedTrailerError, false},
        {"x-amz-checksum-crc32c:NhCmhg==\r\n", CHECKSUM_CRC32, true, S3_MalformedTrailerError, false},
        {"x-amz-checksum-crc32:NhCmhg==\r\nx-amz-checksum-sha1:x\r\n", CHECKSUM_CRC32, true, S3_MalformedTrailerError,
         true},
        {"x-amz-checksum-crc32:NhCmhg==\r\n", CHECKSUM_NONE, false, S3_MalformedTrailerError, false},
        {"x-amz-checksum-crc32:NhCmhg\r\n", CHECKSUM_CRC32, true, S3_InvalidRequest, false},
        {"x-amz-checksum-crc32:\r\n", CHECKSUM_CRC32, true, S3_InvalidRequest, false},
        {"", CHECKSUM_NONE, false, S3_OK, false},
        {"", CHECKSUM_SHA256, false, S3_OK, false},
    };
    struct sigv4 s = {.payload = PAYLOAD_UNSIGNED_TRAILER};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct sbuf b = {0};
        struct awschunk d;
        sbuf_printf(&b, "0\r\n%s\r\n", rows[i].trailers);
        struct outcome o = decode(&d, &s, (struct str){b.p, b.len}, b.len, 16);
        cr_assert_eq(o.error, S3_OK);
        struct checksum_want w = {.kind = rows[i].kind, .in_trailer = rows[i].announced};
        cr_expect_eq(awschunk_checksum(&d, &w), rows[i].error, "row %zu", i);
        cr_expect_eq(w.has_value, rows[i].has_value, "row %zu", i);
        if (rows[i].error == S3_OK && w.has_value)
            cr_expect_eq(memcmp(w.value, "\x36\x10\xa6\x86", 4), 0);
        awschunk_fini(&d);
        sbuf_fini(&b);
        sbuf_fini(&o.data);
    }
}
