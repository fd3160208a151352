/* What users, courses, lessons, grants and creators are: how a body becomes a row and a row an answer. */
#include "control/catalogue.h"

#include "control/path.h"
#include "control/when.h"

static char *text_of(const struct call *c, const char *name)
{
    struct str s = call_body_str(c, name);
    return (char *)(uintptr_t)(s.p ? s.p : "");
}

static json_t *stamp_ms(uint64_t ms)
{
    return schema_stamp(ms / 1000);
}

/* ---- users ---- */

static bool user_fill(struct call *c, ProtobufCMessage *m)
{
    ((Pb__UserRow *)(void *)m)->name = text_of(c, "name");
    return true;
}

static json_t *user_render(const ProtobufCMessage *m, struct str user, struct str two)
{
    const Pb__UserRow *row = (const void *)m;
    (void)two;
    return json_pack("{s:o, s:s, s:o, s:o}", "user", catalogue_str(user), "name", row->name, "created_at",
                     stamp_ms(row->created_ms), "updated_at", stamp_ms(row->updated_ms));
}

const struct kind kind_user = {
    .name = "user",
    .row = &pb__user_row__descriptor,
    .parts = 1,
    .list = "users",
    .unknown = API_USER_UNKNOWN,
    .children = {"grant"},
    .fill = user_fill,
    .render = user_render,
};

/* ---- courses ---- */

static bool course_fill(struct call *c, ProtobufCMessage *m)
{
    ((Pb__CourseRow *)(void *)m)->title = text_of(c, "title");
    return true;
}

static json_t *course_render(const ProtobufCMessage *m, struct str course, struct str two)
{
    const Pb__CourseRow *row = (const void *)m;
    (void)two;
    return json_pack("{s:o, s:s, s:o, s:o}", "course", catalogue_str(course), "title", row->title, "created_at",
                     stamp_ms(row->created_ms), "updated_at", stamp_ms(row->updated_ms));
}

const struct kind kind_course = {
    .name = "course",
    .row = &pb__course_row__descriptor,
    .parts = 1,
    .list = "courses",
    .unknown = API_COURSE_UNKNOWN,
    .children = {"lesson", "member"},
    .fill = course_fill,
    .render = course_render,
};

/* ---- lessons ---- */

#define LESSON_PREFIX_MAX 900
static_assert(LESSON_PREFIX_MAX + 10 * 3 + 3 * 128 + 63 + 64 + 17 + 5 + TOKEN_MAC_LEN <= TOKEN_TEXT_MAX / 4 * 3,
              "every lesson's token fits TOKEN_TEXT_MAX");

/* Why a prefix and an entry cannot be played, or NULL. */
static const char *lesson_wrong(struct arena *a, struct str prefix, struct str entry)
{
    if (prefix.len > LESSON_PREFIX_MAX || !path_prefix_ok(prefix))
        return "prefix must be 1 to 900 bytes of whole segments: no empty, . or .. segment, no leading /, no "
               "backslash, "
               "; or control character";
    if (prefix.p[prefix.len - 1] != '/')
        return entry.len ? "prefix does not end with /, so it names one object and entry must be empty" : NULL;
    if (entry.len == 0)
        return "prefix ends with /, so entry must name the first object below it";
    char *key = arena_alloc(a, prefix.len + entry.len);
    if (!key)
        return "it is too long";
    memcpy(key, prefix.p, prefix.len);
    memcpy(key + prefix.len, entry.p, entry.len);
    if (!path_key_ok((struct str){key, prefix.len + entry.len}))
        return "entry must be a relative path below the prefix: no empty, . or .. segment, no backslash, ; or control "
               "character, and with the prefix at most 1024 bytes";
    return NULL;
}

static bool lesson_fill(struct call *c, ProtobufCMessage *m)
{
    Pb__LessonRow *row = (void *)m;
    const char *wrong = lesson_wrong(&c->arena, call_body_str(c, "prefix"), call_body_str(c, "entry"));
    if (wrong) {
        call_fail(c, API_FIELD_INVALID, "%s", wrong);
        return false;
    }
    row->title = text_of(c, "title");
    row->bucket = text_of(c, "bucket");
    row->prefix = text_of(c, "prefix");
    row->entry = text_of(c, "entry");
    return true;
}

static json_t *lesson_render(const ProtobufCMessage *m, struct str course, struct str lesson)
{
    const Pb__LessonRow *row = (const void *)m;
    return json_pack("{s:o, s:o, s:s, s:s, s:s, s:s, s:o, s:o}", "course", catalogue_str(course), "lesson",
                     catalogue_str(lesson), "title", row->title, "bucket", row->bucket, "prefix", row->prefix, "entry",
                     row->entry, "created_at", stamp_ms(row->created_ms), "updated_at", stamp_ms(row->updated_ms));
}

const struct kind kind_lesson = {
    .name = "lesson",
    .row = &pb__lesson_row__descriptor,
    .parts = 2,
    .list = "lessons",
    .unknown = API_LESSON_UNKNOWN,
    .parents = {&kind_course},
    .fill = lesson_fill,
    .render = lesson_render,
};

/* ---- grants ---- */

static bool grant_fill(struct call *c, ProtobufCMessage *m)
{
    Pb__GrantRow *row = (void *)m;
    uint64_t from = schema_time(json_object_get(c->body, "from")),
             until = schema_time(json_object_get(c->body, "until"));
    if (until && from >= until) {
        call_fail(c, API_FIELD_INVALID, "until must be later than from");
        return false;
    }
    row->from_s = from;
    row->until_s = until;
    return true;
}

static json_t *grant_render(const ProtobufCMessage *m, struct str user, struct str course)
{
    const Pb__GrantRow *row = (const void *)m;
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "user", catalogue_str(user), "course", catalogue_str(course),
                     "from", schema_stamp_or_null(row->from_s), "until", schema_stamp_or_null(row->until_s),
                     "created_at", stamp_ms(row->created_ms), "updated_at", stamp_ms(row->updated_ms));
}

static void grant_changed(struct control *control, struct str user, struct str course)
{
    grants_forget(&control->grants, user, course);
}

const struct kind kind_grant = {
    .name = "grant",
    .row = &pb__grant_row__descriptor,
    .parts = 2,
    .list = "grants",
    .unknown = API_GRANT_UNKNOWN,
    .parents = {&kind_user, &kind_course},
    .mirror = "member",
    .fill = grant_fill,
    .render = grant_render,
    .changed = grant_changed,
};

/* ---- creators ---- */

static bool creator_fill(struct call *c, ProtobufCMessage *m)
{
    ((Pb__CreatorRow *)(void *)m)->name = text_of(c, "name");
    return true;
}

static json_t *creator_render(const ProtobufCMessage *m, struct str id, struct str two)
{
    const Pb__CreatorRow *row = (const void *)m;
    (void)two;
    return json_pack("{s:o, s:s, s:o}", "id", catalogue_str(id), "name", row->name, "created_at",
                     stamp_ms(row->created_ms));
}

const struct kind kind_creator = {
    .name = "creator",
    .row = &pb__creator_row__descriptor,
    .parts = 1,
    .list = "creators",
    .unknown = API_CREATOR_UNKNOWN,
    .fill = creator_fill,
    .render = creator_render,
};

/* ---- the routes ---- */

#define CATALOGUE_ROUTE(thing, verb)                                                                                   \
    void api_##thing##_##verb(struct call *c)                                                                          \
    {                                                                                                                  \
        catalogue_##verb(c, &kind_##thing);                                                                            \
    }
CATALOGUE_ROUTE(user, put)
CATALOGUE_ROUTE(user, get)
CATALOGUE_ROUTE(user, list)
CATALOGUE_ROUTE(user, delete)
CATALOGUE_ROUTE(course, put)
CATALOGUE_ROUTE(course, get)
CATALOGUE_ROUTE(course, list)
CATALOGUE_ROUTE(course, delete)
CATALOGUE_ROUTE(lesson, put)
CATALOGUE_ROUTE(lesson, get)
CATALOGUE_ROUTE(lesson, list)
CATALOGUE_ROUTE(lesson, delete)
CATALOGUE_ROUTE(grant, put)
CATALOGUE_ROUTE(grant, get)
CATALOGUE_ROUTE(grant, list)
CATALOGUE_ROUTE(grant, delete)
CATALOGUE_ROUTE(creator, get)
CATALOGUE_ROUTE(creator, list)
