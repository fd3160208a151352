/* One check a type of field. A body with a member that the table does not know is refused: a misspelt "untill" that is
 * silently dropped would be a grant for ever. */
#include "control/schema.h"

#include "control/control.h"
#include "control/when.h"
#include <stdio.h>

enum { OPEN = 1, CLOSED = 0, REQUIRED = 1, OPTIONAL = 0 };

const struct field schema_fields[] = {
#define SCHEMA(id, open, help)
#define FIELD(schema, name, type, ref, need, min, max, help)                                                           \
    {SCHEMA_##schema, SCHEMA_##ref, name, FIELD_##type, need, min, max, help},
#include "control/control_fields.def"
#undef SCHEMA
#undef FIELD
};
const size_t schema_field_count = ARRAY_LEN(schema_fields);

static const struct {
    const char *name, *help;
    bool open;
} schemas[] = {
#define SCHEMA(id, open, help) {#id, help, open},
#define FIELD(schema, name, type, ref, need, min, max, help)
#include "control/control_fields.def"
#undef SCHEMA
#undef FIELD
};

const char *schema_name(enum schema s)
{
    return schemas[s].name;
}

const char *schema_help(enum schema s)
{
    return schemas[s].help;
}

bool schema_open(enum schema s)
{
    return schemas[s].open;
}

bool schema_id_ok(struct str id)
{
    if (id.len < 1 || id.len > 128 || str_eq(id, STR(".")) || str_eq(id, STR("..")))
        return false;
    for (size_t i = 0; i < id.len; i++) {
        char c = id.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && (!c || !strchr("._~@:-", c)))
            return false;
    }
    return true;
}

bool schema_bucket_ok(struct str name)
{
    if (name.len < 3 || name.len > 63)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!letter && (i == 0 || i + 1 == name.len || (c != '.' && c != '-')))
            return false;
    }
    return true;
}

static uint64_t characters(const json_t *text)
{
    const char *p = json_string_value(text);
    uint64_t n = 0;
    for (size_t i = 0; i < json_string_length(text); i++)
        n += ((uint8_t)p[i] & 0xc0) != 0x80;
    return n;
}

static struct str text_of(const json_t *v)
{
    return (struct str){json_string_value(v), json_string_length(v)};
}

/* 0 is refused: it would mean "never" to us and "long ago" to whoever sent it. 5.0 is an integer (JSON Schema, 6.1.1).
 */
static bool time_ok(const json_t *v)
{
    int64_t s;
    if (json_is_number(v)) {
        double n = json_number_value(v);
        return n >= 1 && n <= (double)WHEN_MAX_S && n == (double)(int64_t)n;
    }
    return json_is_null(v) || (json_is_string(v) && when_parse(text_of(v), &s) == 0);
}

static bool rights_ok(const json_t *v)
{
    unsigned seen = 0;
    if (!json_is_array(v) || json_array_size(v) > 2)
        return false;
    for (size_t i = 0; i < json_array_size(v); i++) {
        const char *word = json_string_value(json_array_get(v, i));
        unsigned right = !word ? 0 : !strcmp(word, "read") ? RIGHT_READ : !strcmp(word, "write") ? RIGHT_WRITE : 0;
        if (!right || (seen & right))
            return false;
        seen |= right;
    }
    return true;
}

/* What a value should have been; NULL when it is. Only types that requests use: others describe answers. */
static const char *field_wrong(const struct field *f, const json_t *v)
{
    switch (f->type) {
    case FIELD_TEXT:
    case FIELD_PATH:
        return json_is_string(v) && characters(v) >= f->min && characters(v) <= f->max ? NULL : "text";
    case FIELD_ID:
        return json_is_string(v) && schema_id_ok(text_of(v)) ? NULL : "an id of A-Z a-z 0-9 . _ ~ @ : - with";
    case FIELD_BUCKET:
        return json_is_string(v) && schema_bucket_ok(text_of(v)) ? NULL : "a bucket's name with";
    case FIELD_TIME:
        return time_ok(v) ? NULL : "RFC 3339 (2026-01-02T03:04:05Z), Unix seconds or null";
    case FIELD_RIGHTS:
        return rights_ok(v) ? NULL : "a list of \"read\" and \"write\", each at most once";
    case FIELD_AUDIENCE:
        return json_is_string(v) && schema_audience(json_string_value(v)) ? NULL : "play, download, thumbnail or key";
    default:
        assert(false && f->type); /* this type is for answers only */
        return "absent";
    }
}

static bool member_known(enum schema s, const char *name)
{
    for (size_t i = 0; i < schema_field_count; i++) {
        if (schema_fields[i].schema == s && strcmp(schema_fields[i].name, name) == 0)
            return true;
    }
    return false;
}

bool schema_check(enum schema s, const json_t *object, char *why, size_t why_cap)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        if (!member_known(s, name)) {
            snprintf(why, why_cap, "%.60s is not a field of %s", name, schema_name(s));
            return false;
        }
    }
    for (size_t i = 0; i < schema_field_count; i++) {
        const struct field *f = &schema_fields[i];
        if (f->schema != s)
            continue;
        value = json_object_get(object, f->name);
        const char *wrong = value ? field_wrong(f, value) : f->required ? "there" : NULL;
        if (!wrong)
            continue;
        if (value && f->max)
            snprintf(why, why_cap, "%s must be %s of %llu to %llu characters (%s)", f->name, wrong,
                     (unsigned long long)f->min, (unsigned long long)f->max, f->help);
        else
            snprintf(why, why_cap, "%s must be %s (%s)", f->name, wrong, f->help);
        return false;
    }
    return true;
}

uint64_t schema_time(const json_t *value)
{
    int64_t s = 0;
    if (json_is_number(value))
        return (uint64_t)json_number_value(value);
    if (!json_is_string(value) || when_parse(text_of(value), &s))
        return 0;
    return s < 1 ? 1 : MIN_OF((uint64_t)s, WHEN_MAX_S); /* before 1970 is as long ago as 1970 */
}

unsigned schema_rights(const json_t *value)
{
    unsigned rights = 0;
    for (size_t i = 0; i < json_array_size(value); i++)
        rights |= strcmp(json_string_value(json_array_get(value, i)), "read") ? RIGHT_WRITE : RIGHT_READ;
    return rights;
}

json_t *schema_rights_json(unsigned rights)
{
    json_t *list = json_array();
    if (rights & RIGHT_READ)
        json_array_append_new(list, json_string("read"));
    if (rights & RIGHT_WRITE)
        json_array_append_new(list, json_string("write"));
    return list;
}

json_t *schema_stamp(uint64_t unix_s)
{
    char text[24];
    when_print(unix_s, text);
    return json_string(text);
}

json_t *schema_stamp_or_null(uint64_t unix_s)
{
    return unix_s ? schema_stamp(unix_s) : json_null();
}

static const char *const audiences[] = {
    [TOKEN_PLAY] = "play", [TOKEN_DOWNLOAD] = "download", [TOKEN_THUMBNAIL] = "thumbnail", [TOKEN_KEY] = "key"};

const char *schema_audience_name(unsigned audience)
{
    return audience < ARRAY_LEN(audiences) ? audiences[audience] : NULL;
}

unsigned schema_audience(const char *name)
{
    for (unsigned i = TOKEN_PLAY; i < ARRAY_LEN(audiences); i++) {
        if (strcmp(audiences[i], name) == 0)
            return i;
    }
    return 0;
}
