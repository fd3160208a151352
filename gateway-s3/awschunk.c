/* awschunk - line, data, line, data, a line of size 0, then perhaps trailers.
 *
 * What real clients send differs at the end only: a blank line after the last chunk or none, trailer lines ended by LF
 * or CRLF, a blank line before the trailers' signature, a blank line at the very end or none. All of that is taken,
 * where the signatures (or the framing of unsigned bodies) leave no doubt that everything arrived; anything else is
 * refused. */
#include "gateway-s3/awschunk.h"
#include <stdlib.h>

enum { LINE, DATA, DATA_CR, DATA_LF, TRAILERS, TAIL_CR, TAIL_LF, END };

static bool is_signed(const struct awschunk *d)
{
    return d->sig->payload != PAYLOAD_UNSIGNED_TRAILER;
}

static bool has_trailers(const struct awschunk *d)
{
    return d->sig->payload != PAYLOAD_CHUNKS;
}

int awschunk_init(struct awschunk *d, const struct sigv4 *sig)
{
    assert(sig->payload == PAYLOAD_CHUNKS || sig->payload == PAYLOAD_CHUNKS_TRAILER ||
           sig->payload == PAYLOAD_UNSIGNED_TRAILER);
    memset(d, 0, sizeof *d);
    d->sig = sig;
    d->state = LINE;
    memcpy(d->previous, sig->seed_signature, sizeof d->previous);
    return is_signed(d) ? digest_create(DIGEST_SHA256, &d->sha) : 0;
}

void awschunk_fini(struct awschunk *d)
{
    digest_destroy(d->sha);
    d->sha = NULL;
}

/* ---- chunks ---- */

/* Hexadecimal digits only; at most 16, so it cannot overflow. */
static bool size_parse(struct str s, uint64_t *ret)
{
    uint8_t bytes[8];
    char digits[16];
    size_t len;
    if (s.len == 0 || s.len > sizeof digits)
        return false;
    memset(digits, '0', sizeof digits);
    memcpy(digits + sizeof digits - s.len, s.p, s.len);
    if (hex_decode((struct str){digits, sizeof digits}, bytes, sizeof bytes, &len))
        return false;
    *ret = get_be64(bytes);
    return true;
}

/* The chunk is complete: its signature is the next one's seed. */
static enum s3_error chunk_verify(struct awschunk *d)
{
    uint8_t hash[32], signature[32];
    if (!is_signed(d))
        return S3_OK;
    digest_final(d->sha, hash);
    sigv4_chunk_signature(d->sig, d->previous, hash, signature);
    memcpy(d->previous, signature, sizeof d->previous);
    return bytes_eq_ct(signature, d->expected, sizeof signature) ? S3_OK : S3_SignatureDoesNotMatch;
}

/* "size" or "size;chunk-signature=hex", without its CRLF. */
static enum s3_error chunk_open(struct awschunk *d, struct str line)
{
    static const struct str word = {"chunk-signature=", 16};
    struct str rest = line, size = STR_NONE;
    size_t len;
    if (!str_split(&rest, ';', &size) || !size_parse(size, &d->chunk_left) || is_signed(d) != (rest.p != NULL))
        return S3_InvalidRequest;
    if (is_signed(d)) {
        if (!str_starts(rest, word) || rest.len != word.len + 64)
            return S3_InvalidRequest;
        if (hex_decode((struct str){rest.p + word.len, 64}, d->expected, sizeof d->expected, &len))
            return S3_InvalidRequest;
    }
    if (d->chunk_left > (is_signed(d) ? AWSCHUNK_MAX : AWSCHUNK_UNSIGNED_MAX))
        return S3_EntityTooLarge;
    d->state = DATA;
    if (d->chunk_left)
        return S3_OK;
    enum s3_error e = chunk_verify(d);
    d->state = has_trailers(d) ? TRAILERS : TAIL_CR;
    d->done = !e && !has_trailers(d);
    return e;
}

/* ---- trailers ---- */

struct str awschunk_trailer(const struct awschunk *d, const char *name)
{
    for (unsigned i = 0; i < d->trailer_count; i++)
        if (str_eq(str_c(d->trailers[i].name), str_c(name)))
            return str_c(d->trailers[i].value);
    return STR_NONE;
}

static int trailer_cmp(const void *a, const void *b)
{
    const struct awschunk_trailer *const *x = a, *const *y = b;
    return str_cmp(str_c((*x)->name), str_c((*y)->name));
}

static enum s3_error trailers_verify(struct awschunk *d, struct str hex)
{
    const struct awschunk_trailer *sorted[AWSCHUNK_TRAILERS];
    char canonical[sizeof d->trailers];
    uint8_t signature[32], theirs[32];
    size_t len = 0, at = 0;
    if (hex.len != 64 || hex_decode(hex, theirs, sizeof theirs, &len))
        return S3_MalformedTrailerError;
    for (unsigned i = 0; i < d->trailer_count; i++)
        sorted[i] = &d->trailers[i];
    qsort(sorted, d->trailer_count, sizeof *sorted, trailer_cmp);
    for (unsigned i = 0; i < d->trailer_count; i++) {
        struct str name = str_c(sorted[i]->name), value = str_c(sorted[i]->value);
        memcpy(canonical + at, name.p, name.len);
        canonical[at + name.len] = ':';
        memcpy(canonical + at + name.len + 1, value.p, value.len);
        at += name.len + value.len + 2;
        canonical[at - 1] = '\n';
    }
    sigv4_trailer_signature(d->sig, d->previous, (struct str){canonical, at}, signature);
    return bytes_eq_ct(signature, theirs, sizeof theirs) ? S3_OK : S3_SignatureDoesNotMatch;
}

/* Lower-cased token; false when it is none. */
static bool trailer_name(struct str s, char ret[64])
{
    if (s.len == 0 || s.len > 63)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char b = s.p[i];
        if (b >= 'A' && b <= 'Z')
            b = (char)(b + 32);
        if (!((b >= 'a' && b <= 'z') || (b >= '0' && b <= '9') || b == '-' || b == '_'))
            return false;
        ret[i] = b;
    }
    ret[s.len] = 0;
    return true;
}

static bool trailer_value(struct str s, char ret[128])
{
    if (s.len > 127)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] < ' ' || s.p[i] > '~')
            return false;
    if (s.len)
        memcpy(ret, s.p, s.len);
    ret[s.len] = 0;
    return true;
}

static enum s3_error trailer_add(struct awschunk *d, struct str line)
{
    struct awschunk_trailer t;
    struct str value = line, name = STR_NONE;
    if (!str_split(&value, ':', &name) || !value.p || !trailer_name(name, t.name) ||
        !trailer_value(str_trim(value), t.value))
        return S3_MalformedTrailerError;
    if (str_eq(str_c(t.name), STR("x-amz-trailer-signature"))) {
        if (!is_signed(d) || d->trailer_count == 0)
            return S3_MalformedTrailerError;
        enum s3_error e = trailers_verify(d, str_c(t.value));
        d->done = !e;
        d->state = TAIL_CR;
        return e;
    }
    if (d->trailer_count == AWSCHUNK_TRAILERS || awschunk_trailer(d, t.name).p)
        return S3_MalformedTrailerError;
    d->trailers[d->trailer_count++] = t;
    d->done = false; /* an unsigned body ends with a blank line after its trailers */
    d->blank_lines = 0;
    return S3_OK;
}

/* A blank line: unsigned, the end, though one directly after the last chunk may still be followed by trailers. Signed,
 * one may stand before the trailers and one before their signature, which alone makes an end. */
static enum s3_error trailer_blank(struct awschunk *d)
{
    if (d->blank_lines++)
        return is_signed(d) ? S3_MalformedTrailerError : S3_InvalidRequest;
    if (is_signed(d))
        return S3_OK;
    d->done = true;
    if (d->trailer_count)
        d->state = END;
    return S3_OK;
}

/* ---- lines ---- */

/* Gathers a line up to its LF; *ret_line is complete only then (without LF, with its CR). */
static enum s3_error line_take(struct awschunk *d, const uint8_t *in, size_t n, size_t *ret_taken, bool *ret_whole)
{
    const uint8_t *lf = memchr(in, '\n', n);
    size_t take = lf ? (size_t)(lf - in) : n;
    size_t most = d->state == LINE ? AWSCHUNK_LINE_MAX : AWSCHUNK_TRAILER_MAX - d->trailer_bytes;
    *ret_taken = take + (lf ? 1 : 0);
    *ret_whole = lf != NULL;
    if (d->line_len + take > most)
        return d->state == LINE ? S3_InvalidRequest : S3_MalformedTrailerError;
    memcpy(d->line + d->line_len, in, take);
    d->line_len += take;
    return S3_OK;
}

static enum s3_error line_use(struct awschunk *d)
{
    struct str line = {d->line, d->line_len};
    bool cr = line.len && line.p[line.len - 1] == '\r';
    line.len -= cr;
    d->line_len = 0;
    if (d->state == LINE)
        return cr ? chunk_open(d, line) : S3_InvalidRequest;
    d->trailer_bytes += line.len;
    return line.len ? trailer_add(d, line) : trailer_blank(d);
}

static enum s3_error expect(struct awschunk *d, uint8_t byte, char wanted, int next)
{
    d->state = next;
    return byte == (uint8_t)wanted ? S3_OK : S3_InvalidRequest;
}

static enum s3_error data_pass(struct awschunk *d, const uint8_t *in, size_t n, uint8_t *out)
{
    if (is_signed(d))
        digest_update(d->sha, in, n);
    memmove(out, in, n);
    d->chunk_left -= n;
    d->decoded_bytes += n;
    if (d->chunk_left)
        return S3_OK;
    d->state = DATA_CR;
    return chunk_verify(d);
}

enum s3_error awschunk_decode(struct awschunk *d, const uint8_t *in, size_t *in_len, uint8_t *out, size_t *out_len)
{
    size_t at = 0, made = 0, n = *in_len, room = *out_len;
    enum s3_error e = d->failed;
    while (!e && at < n) {
        size_t step = 1;
        bool whole = false;
        switch (d->state) {
        case DATA:
            step = (size_t)MIN_OF(MIN_OF(n - at, room - made), d->chunk_left);
            if (step == 0)
                goto full;
            e = data_pass(d, in + at, step, out + made);
            made += step;
            break;
        case DATA_CR:
            e = expect(d, in[at], '\r', DATA_LF);
            break;
        case DATA_LF:
            e = expect(d, in[at], '\n', LINE);
            break;
        case TAIL_CR:
            e = expect(d, in[at], '\r', TAIL_LF);
            break;
        case TAIL_LF:
            e = expect(d, in[at], '\n', END);
            break;
        case END:
            e = S3_InvalidRequest;
            break;
        default:
            e = line_take(d, in + at, n - at, &step, &whole);
            e = e ? e : whole ? line_use(d) : S3_OK;
        }
        at += step;
    }
full:
    d->failed = e;
    d->done = d->done && !e;
    *in_len = at;
    *out_len = made;
    return e;
}

enum s3_error awschunk_end(const struct awschunk *d)
{
    return d->failed ? d->failed : d->done ? S3_OK : S3_IncompleteBody;
}

enum s3_error awschunk_checksum(const struct awschunk *d, struct checksum_want *want)
{
    for (unsigned i = 0; i < d->trailer_count; i++) {
        struct str name = str_c(d->trailers[i].name);
        if (!str_starts(name, STR("x-amz-checksum-")))
            continue;
        if (!want->in_trailer || checksum_by_header(name) != want->kind)
            return S3_MalformedTrailerError;
        enum s3_error e = checksum_parse(want->kind, str_c(d->trailers[i].value), want->value);
        if (e)
            return e;
        want->has_value = true;
    }
    return want->in_trailer && !want->has_value ? S3_MalformedTrailerError : S3_OK;
}
