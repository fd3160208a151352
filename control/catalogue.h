/* catalogue - users, courses, lessons, grants and creators: things of one kind are put, read, listed and deleted alike,
 * so a kind is a row of functions and the steps are written once.
 *
 * A put is a read of the thing and its parents and one transaction that compares them all. A thing with children is
 * deleted by marking it (from then on no put below it succeeds), sweeping the children in bounded transactions, and
 * dropping it: a delete that was cut short is finished by the next one.
 * Thread: the loop. */
#pragma once
#include "control/api.h"

struct kind {
    const char *name; /* first part of the row's key */
    const ProtobufCMessageDescriptor *row;
    unsigned parts;   /* of the path that make the key: 1 or 2 */
    const char *list; /* the list's member in answers */
    enum api_error unknown;
    const struct kind *parents[2]; /* must exist for a put; parent i is named by part i */
    const char *mirror;            /* kind of a row with the parts the other way round, or NULL */
    const char *children[2];       /* kinds whose first part is this thing's id */
    /* The row as the body asks; false: the call was failed. old: NULL when new. */
    bool (*fill)(struct call *c, ProtobufCMessage *row);
    json_t *(*render)(const ProtobufCMessage *row, struct str one, struct str two);
    void (*changed)(struct control *control, struct str one, struct str two); /* after each commit; or NULL */
};
void catalogue_put(struct call *c, const struct kind *k);
void catalogue_get(struct call *c, const struct kind *k);
void catalogue_list(struct call *c, const struct kind *k);
void catalogue_delete(struct call *c, const struct kind *k);
json_t *catalogue_str(struct str s); /* a JSON string, or NULL */

extern const struct kind kind_user, kind_course, kind_lesson, kind_grant, kind_creator;
/* Typed reads of a row for the files above; NULL when it is absent, being deleted or unreadable (*ret_err set). */
const ProtobufCMessage *catalogue_row(struct call *c, const struct kind *k, struct str key, int *ret_err);
