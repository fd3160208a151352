/* schema - the JSON objects of the control API, rows of control_fields.def: they check what comes in and describe, for
 * the OpenAPI document, what comes in and goes out.
 *
 * Thread: any; pure. */
#pragma once
#include "common/arena.h"
#include <jansson.h>

enum schema {
#define SCHEMA(id, open, help) SCHEMA_##id,
#define FIELD(schema, name, type, ref, need, min, max, help)
#include "control/control_fields.def"
#undef SCHEMA
#undef FIELD
    SCHEMA_COUNT
};
enum field_type {
    FIELD_TEXT,
    FIELD_TEXT_NULL,
    FIELD_PATH, /* of an object, or a prefix of it; control/path.h judges it */
    FIELD_ID,
    FIELD_BUCKET,
    FIELD_NUMBER,
    FIELD_NUMBER_NULL,
    FIELD_BOOL,
    FIELD_STAMP, /* RFC 3339 out */
    FIELD_STAMP_NULL,
    FIELD_TIME, /* RFC 3339, Unix seconds or null in */
    FIELD_NEXT, /* an id or null */
    FIELD_RIGHTS,
    FIELD_AUDIENCE,
    FIELD_SIGNING_STATE,
    FIELD_SIGNING_STATE_NULL,
    FIELD_LIST,
    FIELD_OBJECT_NULL,
};
struct field {
    enum schema schema, ref;
    const char *name;
    enum field_type type;
    bool required;
    uint64_t min, max;
    const char *help;
};
extern const struct field schema_fields[];
extern const size_t schema_field_count;
const char *schema_name(enum schema s);
const char *schema_help(enum schema s);
bool schema_open(enum schema s);
#define SCHEMA_ID_PATTERN "^(?!\\.{1,2}$)[A-Za-z0-9._~@:-]{1,128}$"
/* As path.c: no empty, "." or ".." segment, no control character, backslash or ";". */
#define SCHEMA_PATH_PATTERN   "^(?!/)(?!.*//)(?!(.*/)?\\.{1,2}(/|$))[^\\u0000-\\u001f\\u007f-\\u009f\\\\;]*$"
#define SCHEMA_BUCKET_PATTERN "^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"

/* Does the object hold what the schema says, and nothing else? False: why is one sentence. */
bool schema_check(enum schema s, const json_t *object, char *why, size_t why_cap);
bool schema_id_ok(struct str id);
bool schema_bucket_ok(struct str name);
/* A TIME that was checked: seconds, 0 when null or absent. */
uint64_t schema_time(const json_t *value);
/* RIGHTS that were checked, as RIGHT_* of control.h. */
unsigned schema_rights(const json_t *value);
json_t *schema_rights_json(unsigned rights);
json_t *schema_stamp(uint64_t unix_s);               /* a STAMP */
json_t *schema_stamp_or_null(uint64_t unix_s);       /* 0: null */
const char *schema_audience_name(unsigned audience); /* of token.h; NULL when unknown */
unsigned schema_audience(const char *name);          /* 0 when unknown */
