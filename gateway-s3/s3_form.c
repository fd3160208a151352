/* The parts are split at "\r\n--boundary". A carriage return can only begin that delimiter, never continue it, so a
 * failed match gives its bytes back as data and starts again at the byte that failed. */
#include "gateway-s3/s3_form.h"
#include <ctype.h>
#include <errno.h>

enum state { AT_START, AFTER_DELIMITER, AFTER_DASH, AFTER_CR, IN_HEADERS, IN_FIELD, IN_FILE, DONE, FAILED };

static enum s3_error fail(struct s3_form *f, enum s3_error e)
{
    f->state = FAILED;
    return e;
}

/* The value of `name=` in a header's parameters, quoted or not. */
static struct str parameter(struct str header, const char *name)
{
    struct str rest = header, part;
    size_t n = strlen(name);
    while (rest.len) {
        bool quoted = false;
        size_t end = 0;
        for (; end < rest.len && (quoted || rest.p[end] != ';'); end++)
            if (rest.p[end] == '"')
                quoted = !quoted;
        part = str_trim((struct str){rest.p, end});
        end = MIN_OF(end + 1, rest.len);
        rest = (struct str){rest.p + end, rest.len - end};
        if (part.len <= n || !str_ieq((struct str){part.p, n}, str_c(name)) || part.p[n] != '=')
            continue;
        part = (struct str){part.p + n + 1, part.len - n - 1};
        if (part.len >= 2 && part.p[0] == '"' && part.p[part.len - 1] == '"')
            part = (struct str){part.p + 1, part.len - 2};
        return part;
    }
    return STR_NONE;
}

enum s3_error s3_form_init(struct s3_form *f, struct arena *a, struct str content_type)
{
    *f = (struct s3_form){.arena = a, .state = AT_START};
    struct str type = STR("multipart/form-data"), boundary = parameter(content_type, "boundary");
    if (content_type.len < type.len || !str_ieq((struct str){content_type.p, type.len}, type) || boundary.len == 0 ||
        boundary.len > S3_FORM_BOUNDARY)
        return fail(f, S3_MalformedPOSTRequest);
    for (size_t i = 0; i < boundary.len; i++)
        if (boundary.p[i] < 0x20 || boundary.p[i] == 0x7F)
            return fail(f, S3_MalformedPOSTRequest);
    memcpy(f->delimiter, "\r\n--", 4);
    memcpy(f->delimiter + 4, boundary.p, boundary.len);
    f->delimiter_len = 4 + boundary.len;
    f->matched = 2; /* the first one has no line before it */
    return S3_OK;
}

void s3_form_fini(struct s3_form *f)
{
    sbuf_fini(&f->value);
}

/* ---- heads of parts ---- */

static struct str lower(struct arena *a, struct str s)
{
    char *p = arena_copy(a, s.p, s.len);
    for (size_t i = 0; p && i < s.len; i++)
        p[i] = (char)tolower((unsigned char)p[i]);
    return (struct str){p, p ? s.len : 0};
}

static enum s3_error header_line(struct s3_form *f)
{
    struct str line = {f->line, f->line_len}, value = line, name;
    f->line_len = 0;
    if (!str_split(&value, ':', &name))
        return fail(f, S3_MalformedPOSTRequest);
    value = str_trim(value);
    if (str_ieq(name, STR("Content-Disposition"))) {
        struct str field = parameter(value, "name"), file = parameter(value, "filename");
        if (!field.p)
            return fail(f, S3_MalformedPOSTRequest);
        f->name = lower(f->arena, field);
        if (file.p)
            f->file_name = arena_str(f->arena, file);
    }
    /* A part's own Content-Type is not judged by any policy, so it is not taken: a field of that name is. */
    return S3_OK;
}

/* The blank line behind a part's headers. */
static enum s3_error headers_end(struct s3_form *f)
{
    if (!f->name.p)
        return fail(f, S3_MalformedPOSTRequest);
    f->matched = 0;
    f->state = IN_FIELD;
    if (str_eq(f->name, STR("file"))) {
        f->state = IN_FILE;
        f->in_file = true;
    } else {
        f->file_name = STR_NONE;
    }
    return S3_OK;
}

static enum s3_error header_byte(struct s3_form *f, char c)
{
    if (c != '\n') {
        if (f->line_len == sizeof f->line)
            return fail(f, S3_MaxPostPreDataLengthExceeded);
        f->line[f->line_len++] = c;
        return S3_OK;
    }
    if (f->line_len == 0 || f->line[f->line_len - 1] != '\r')
        return fail(f, S3_MalformedPOSTRequest);
    f->line_len--;
    return f->line_len ? header_line(f) : headers_end(f);
}

static enum s3_error field_end(struct s3_form *f)
{
    if (f->count == S3_FORM_FIELDS || f->value.err)
        return fail(f, S3_MaxPostPreDataLengthExceeded);
    /* A second field of a name would let the policy judge one and the upload use the other. */
    for (unsigned i = 0; i < f->count; i++)
        if (str_eq(f->fields[i].name, f->name))
            return fail(f, S3_MalformedPOSTRequest);
    struct str value = arena_str(f->arena, (struct str){f->value.p, f->value.len});
    if (!value.p)
        return fail(f, S3_InternalError);
    f->fields[f->count++] = (struct s3_form_field){f->name, value};
    f->value.len = 0;
    return S3_OK;
}

/* ---- bytes ---- */

static enum s3_error delimiter_seen(struct s3_form *f)
{
    enum s3_error e = S3_OK;
    if (f->state == IN_FIELD)
        e = field_end(f);
    f->done = f->state == IN_FILE;
    f->name = STR_NONE;
    f->line_len = 0;
    if (e == S3_OK)
        f->state = f->done ? DONE : AFTER_DELIMITER;
    return e;
}

/* One byte of everything but a file. */
static enum s3_error head_byte(struct s3_form *f, char c)
{
    if (++f->head_bytes > S3_FORM_BYTES)
        return fail(f, S3_MaxPostPreDataLengthExceeded);
    switch ((enum state)f->state) {
    case AT_START:
        if (c != f->delimiter[f->matched])
            return fail(f, S3_MalformedPOSTRequest);
        return ++f->matched == f->delimiter_len ? delimiter_seen(f) : S3_OK;
    case AFTER_DELIMITER:
        f->state = c == '\r' ? AFTER_CR : c == '-' ? AFTER_DASH : FAILED;
        return f->state == FAILED ? S3_MalformedPOSTRequest : S3_OK;
    case AFTER_CR:
        f->state = c == '\n' ? IN_HEADERS : FAILED;
        return f->state == FAILED ? S3_MalformedPOSTRequest : S3_OK;
    case IN_HEADERS:
        return header_byte(f, c);
    case IN_FIELD:
        if (c == f->delimiter[f->matched])
            return ++f->matched == f->delimiter_len ? delimiter_seen(f) : S3_OK;
        sbuf_add(&f->value, f->delimiter, f->matched);
        f->matched = c == '\r';
        if (!f->matched)
            sbuf_add(&f->value, &c, 1);
        return S3_OK;
    case AFTER_DASH: /* the end without a file: what follows is not looked at */
    case IN_FILE:
    case DONE:
        return S3_OK;
    case FAILED:
        break;
    }
    return S3_MalformedPOSTRequest;
}

struct run {
    const uint8_t *in;
    size_t in_len, used;
    uint8_t *out;
    size_t out_len, made;
};

/* Runs of the file without a carriage return go in one piece. False: out is full. */
static bool file_bytes(struct s3_form *f, struct run *r)
{
    while (r->used < r->in_len && !f->done) {
        char c = (char)r->in[r->used];
        if (f->flush_len) {
            size_t n = MIN_OF(f->flush_len, r->out_len - r->made);
            if (n == 0)
                return false;
            memcpy(r->out + r->made, f->delimiter + f->flush_at, n);
            r->made += n;
            f->flush_at += n;
            f->flush_len -= n;
            continue;
        }
        if (c == f->delimiter[f->matched]) {
            r->used++;
            if (++f->matched == f->delimiter_len)
                (void)delimiter_seen(f); /* cannot fail behind a file */
            continue;
        }
        if (f->matched) { /* it was data after all */
            f->flush_at = 0;
            f->flush_len = f->matched;
            f->matched = 0;
            continue;
        }
        const uint8_t *cr = memchr(r->in + r->used, '\r', r->in_len - r->used);
        size_t n = cr ? (size_t)(cr - r->in) - r->used : r->in_len - r->used;
        n = MIN_OF(n, r->out_len - r->made);
        if (n == 0)
            return false;
        memcpy(r->out + r->made, r->in + r->used, n);
        r->used += n;
        r->made += n;
    }
    return true;
}

enum s3_error s3_form_feed(struct s3_form *f, const uint8_t *in, size_t *in_len, uint8_t *out, size_t *out_len)
{
    struct run r = {.in = in, .in_len = *in_len, .out = out, .out_len = *out_len};
    enum s3_error e = f->state == FAILED ? S3_MalformedPOSTRequest : S3_OK;
    while (e == S3_OK && r.used < r.in_len) {
        if (f->state == DONE) {
            r.used = r.in_len;
        } else if (f->state == IN_FILE) {
            if (!file_bytes(f, &r))
                break;
        } else {
            e = head_byte(f, (char)r.in[r.used++]);
            if (f->state == IN_FILE)
                break; /* the caller judges the fields first */
        }
    }
    *in_len = r.used;
    *out_len = r.made;
    return e;
}

enum s3_error s3_form_end(const struct s3_form *f)
{
    if (f->done)
        return S3_OK;
    return f->state == AFTER_DASH ? S3_InvalidArgument : S3_IncompleteBody;
}

struct str s3_form_value(const struct s3_form *f, const char *lower_name)
{
    for (unsigned i = 0; i < f->count; i++)
        if (str_eq(f->fields[i].name, str_c(lower_name)))
            return f->fields[i].value.p ? f->fields[i].value : STR("");
    return STR_NONE;
}
