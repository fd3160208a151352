/* The OpenAPI 3.1 document, made from the same rows that route requests and check bodies: it cannot promise a path that
 * is not served or a field that is not known. */
#include "control/api.h"

#include <stdio.h>
#include <stdlib.h>

static json_t *ref(enum schema s)
{
    char path[96];
    snprintf(path, sizeof(path), "#/components/schemas/%s", schema_name(s));
    return json_pack("{s:s}", "$ref", path);
}

static json_t *text_type(uint64_t min, uint64_t max, bool null)
{
    json_t *type = null ? json_pack("[s, s]", "string", "null") : json_string("string");
    return json_pack("{s:o, s:I, s:I}", "type", type, "minLength", (json_int_t)min, "maxLength", (json_int_t)max);
}

static json_t *pattern_type(const char *pattern, bool null)
{
    json_t *type = null ? json_pack("[s, s]", "string", "null") : json_string("string");
    return json_pack("{s:o, s:s}", "type", type, "pattern", pattern);
}

static json_t *number_type(uint64_t min, uint64_t max, bool null)
{
    json_t *type = null ? json_pack("[s, s]", "integer", "null") : json_string("integer");
    return json_pack("{s:o, s:I, s:I}", "type", type, "minimum", (json_int_t)min, "maximum", (json_int_t)max);
}

static json_t *stamp_type(bool null)
{
    json_t *type = null ? json_pack("[s, s]", "string", "null") : json_string("string");
    return json_pack("{s:o, s:s}", "type", type, "format", "date-time");
}

static json_t *signing_state_type(bool null)
{
    json_t *list = json_pack("[s, s, s]", "active", "verifying", "retired");
    if (null)
        json_array_append_new(list, json_null());
    return json_pack("{s:o}", "enum", list);
}

static json_t *field_type(const struct field *f)
{
    switch (f->type) {
    case FIELD_TEXT:
    case FIELD_TEXT_NULL:
        return text_type(f->min, f->max, f->type == FIELD_TEXT_NULL);
    case FIELD_PATH: {
        json_t *type = text_type(f->min, f->max, false);
        json_object_set_new(type, "pattern", json_string(SCHEMA_PATH_PATTERN));
        return type;
    }
    case FIELD_ID:
    case FIELD_NEXT:
        return pattern_type(SCHEMA_ID_PATTERN, f->type == FIELD_NEXT);
    case FIELD_BUCKET:
        return pattern_type(SCHEMA_BUCKET_PATTERN, false);
    case FIELD_NUMBER:
    case FIELD_NUMBER_NULL:
        return number_type(f->min, f->max, f->type == FIELD_NUMBER_NULL);
    case FIELD_BOOL:
        return json_pack("{s:s}", "type", "boolean");
    case FIELD_STAMP:
    case FIELD_STAMP_NULL:
        return stamp_type(f->type == FIELD_STAMP_NULL);
    case FIELD_TIME:
        return json_pack("{s:[o, o, {s:s}]}", "anyOf", stamp_type(false), number_type(1, UINT64_C(253402300799), false),
                         "type", "null");
    case FIELD_RIGHTS:
        return json_pack("{s:s, s:b, s:i, s:{s:[s, s]}}", "type", "array", "uniqueItems", 1, "maxItems", 2, "items",
                         "enum", "read", "write");
    case FIELD_AUDIENCE:
        return json_pack("{s:[s, s, s, s]}", "enum", "play", "download", "thumbnail", "key");
    case FIELD_SIGNING_STATE:
    case FIELD_SIGNING_STATE_NULL:
        return signing_state_type(f->type == FIELD_SIGNING_STATE_NULL);
    case FIELD_LIST:
        return json_pack("{s:s, s:I, s:o}", "type", "array", "maxItems", (json_int_t)f->max, "items", ref(f->ref));
    case FIELD_OBJECT_NULL:
        return json_pack("{s:[o, {s:s}]}", "anyOf", ref(f->ref), "type", "null");
    }
    return NULL;
}

/* Below a prefix that ends with '/' an entry is needed; one that names an object has none. */
static json_t *lesson_rule(void)
{
    return json_pack("[{s:{s:{s:s}, s:{s:s}}, s:[s]}, {s:{s:{s:s}, s:{s:i}}}]", "properties", "prefix", "pattern", "/$",
                     "entry", "pattern", "[^/]$", "required", "entry", "properties", "prefix", "pattern", "[^/]$",
                     "entry", "maxLength", 0);
}

static bool has_required(enum schema s)
{
    for (size_t i = 0; i < schema_field_count; i++) {
        if (schema_fields[i].schema == s && schema_fields[i].required)
            return true;
    }
    return false;
}

static json_t *schema_type(enum schema s)
{
    json_t *properties = json_object(), *required = json_array();
    for (size_t i = 0; i < schema_field_count; i++) {
        const struct field *f = &schema_fields[i];
        if (f->schema != s)
            continue;
        json_t *type = field_type(f);
        json_object_set_new(type, "description", json_string(f->help));
        json_object_set_new(properties, f->name, type);
        if (f->required)
            json_array_append_new(required, json_string(f->name));
    }
    json_t *type = json_pack("{s:s, s:s, s:o, s:o, s:b}", "type", "object", "description", schema_help(s), "properties",
                             properties, "required", required, "additionalProperties", schema_open(s));
    if (s == SCHEMA_LessonPut)
        json_object_set_new(type, "anyOf", lesson_rule());
    return type;
}

static json_t *schemas(void)
{
    json_t *all = json_object();
    for (enum schema s = 0; s < SCHEMA_COUNT; s++) {
        if (s != SCHEMA_None && s != SCHEMA_Text)
            json_object_set_new(all, schema_name(s), schema_type(s));
    }
    return all;
}

static json_t *query_parameter(const char *name, bool required, json_t *type, const char *help)
{
    return json_pack("{s:s, s:s, s:b, s:o, s:s}", "name", name, "in", "query", "required", required, "schema", type,
                     "description", help);
}

static json_t *parameters(const struct api_route *route)
{
    json_t *list = json_array();
    for (const char *p = strchr(route->path, '{'); p; p = strchr(p + 1, '{')) {
        const char *end = strchr(p, '}');
        size_t len = (size_t)(end - p) - 1;
        bool bucket = len == 6 && strncmp(p + 1, "bucket", 6) == 0;
        json_array_append_new(list, json_pack("{s:s%, s:s, s:b, s:o}", "name", p + 1, len, "in", "path", "required", 1,
                                              "schema",
                                              pattern_type(bucket ? SCHEMA_BUCKET_PATTERN : SCHEMA_ID_PATTERN, false)));
    }
    if (route->flags & API_PAGED) {
        json_array_append_new(list, query_parameter("after", false, pattern_type(SCHEMA_ID_PATTERN, false),
                                                    "the `next` of the page before"));
        json_array_append_new(list, query_parameter("limit", false, number_type(1, API_PAGE_MAX, false),
                                                    "at most so many; 100 where absent"));
    }
    if (route->flags & API_TOKEN)
        json_array_append_new(list,
                              query_parameter("token", true, json_pack("{s:s, s:i}", "type", "string", "minLength", 1),
                                              "a token, a path /t/TOKEN/... or a whole playback URL"));
    return list;
}

static json_t *response(const char *help, const char *type, enum schema s)
{
    if (s == SCHEMA_None)
        return json_pack("{s:s}", "description", help);
    json_t *schema = s == SCHEMA_Text ? json_pack("{s:s}", "type", "string") : ref(s);
    return json_pack("{s:s, s:{s:{s:o}}}", "description", help, "content", type, "schema", schema);
}

static json_t *responses(const struct api_route *route)
{
    json_t *all = json_object();
    char status[8];
    const char *type = route->flags & API_PLAIN ? "text/plain" : "application/json";
    snprintf(status, sizeof(status), "%d", route->status);
    json_object_set_new(all, status, response(schema_help(route->response), type, route->response));
    if (route->flags & API_CREATES)
        json_object_set_new(all, "201", response("it is new", type, route->response));
    if (route->admin)
        json_object_set_new(all, "401", response("no admin token, or another one", "application/json", SCHEMA_Error));
    json_object_set_new(all, "default",
                        response("refused or failed: the code says why", "application/json", SCHEMA_Error));
    return all;
}

static json_t *operation(const struct api_route *route)
{
    json_t *op = json_pack("{s:s, s:s, s:o, s:o}", "operationId", route->id, "summary", route->summary, "parameters",
                           parameters(route), "responses", responses(route));
    if (route->request != SCHEMA_None)
        json_object_set_new(op, "requestBody",
                            json_pack("{s:b, s:{s:{s:o}}}", "required", has_required(route->request), "content",
                                      "application/json", "schema", ref(route->request)));
    if (route->admin)
        json_object_set_new(op, "security", json_pack("[{s:[]}]", "admin"));
    return op;
}

static json_t *paths(void)
{
    json_t *all = json_object();
    for (size_t i = 0; i < api_route_count; i++) {
        const struct api_route *route = &api_routes[i];
        char method[8] = {0};
        for (size_t j = 0; route->method_text[j] && j + 1 < sizeof(method); j++)
            method[j] = (char)(route->method_text[j] | 0x20);
        json_t *path = json_object_get(all, route->path);
        if (!path) {
            path = json_object();
            json_object_set_new(all, route->path, path);
        }
        json_object_set_new(path, method, operation(route));
    }
    return all;
}

int openapi_text(struct sbuf *out)
{
    json_t *doc = json_pack(
        "{s:s, s:{s:s, s:s, s:s}, s:o, s:{s:o, s:{s:{s:s, s:s}}}}", "openapi", "3.1.0", "info", "title",
        "Lectern control API", "version", LECTERN_VERSION, "description",
        "Who may see what: users, courses, lessons, grants, playback URLs, creators and their keys, signing keys.",
        "paths", paths(), "components", "schemas", schemas(), "securitySchemes", "admin", "type", "http", "scheme",
        "bearer");
    char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
    json_decref(doc);
    if (!text)
        return -ENOMEM;
    sbuf_puts(out, text);
    free(text);
    return out->err;
}
