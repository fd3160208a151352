/* playback - `lectern url` and `lectern explain`: one URL for a learner, and why a URL works or is refused. */
#include "cmd/remote.h"
#include "common/uri.h"
#include <stdio.h>

int cmd_url(struct cmdline *l)
{
    struct remote remote;
    struct str lesson = str_c(l->args[1]), course;
    json_t *reply = NULL;
    if (!str_split(&lesson, '/', &course) || course.len == 0 || lesson.len == 0) {
        cmd_error(l, "\"%s\" must be COURSE/LESSON, such as course-1/intro", l->args[1]);
        return CMD_USAGE;
    }
    int rc = remote_open(&remote, l);
    if (rc == CMD_OK)
        rc = remote_call(&remote, "POST", "/v1/playback",
                         json_pack("{s:s,s:s%,s:s%}", "user", l->args[0], "course", course.p, course.len, "lesson",
                                   lesson.p, lesson.len),
                         &reply);
    if (rc == CMD_OK && cmd_has(l, OPT_JSON))
        remote_print_json(reply);
    else if (rc == CMD_OK)
        puts(json_string_value(json_object_get(reply, "url")) ? json_string_value(json_object_get(reply, "url")) : "");
    json_decref(reply);
    remote_close(&remote);
    return rc;
}

static void print_explanation(const json_t *reply)
{
    const json_t *claims = json_object_get(reply, "claims");
    const char *explanation = json_string_value(json_object_get(reply, "explanation"));
    const char *code = json_string_value(json_object_get(reply, "code"));
    printf("%s (%s)\n", json_is_true(json_object_get(reply, "allowed")) ? "It would be served" : "It would be refused",
           code ? code : "?");
    if (explanation)
        printf("%s\n", explanation);
    if (json_is_object(claims)) {
        puts(json_is_true(json_object_get(reply, "signature_valid")) ? "\nThe link says:"
                                                                     : "\nThe link says (nobody vouches for it):");
        remote_print(claims);
    }
    if (json_is_object(json_object_get(reply, "grant"))) {
        puts("\nThe grant:");
        remote_print(json_object_get(reply, "grant"));
    }
}

int cmd_explain(struct cmdline *l)
{
    struct remote remote;
    struct sbuf path = {0};
    json_t *reply = NULL;
    sbuf_puts(&path, "/v1/explain?token=");
    uri_encode_to(&path, str_c(l->args[0]), false);
    int rc = path.err ? CMD_FAILED : remote_open(&remote, l);
    if (path.err)
        cmd_error(l, "out of memory");
    else {
        if (rc == CMD_OK)
            rc = remote_call(&remote, "GET", path.p, NULL, &reply);
        if (rc == CMD_OK && cmd_has(l, OPT_JSON))
            remote_print_json(reply);
        else if (rc == CMD_OK)
            print_explanation(reply);
        if (rc == CMD_OK && !json_is_true(json_object_get(reply, "allowed")))
            rc = CMD_FAILED;
        json_decref(reply);
        remote_close(&remote);
    }
    sbuf_fini(&path);
    return rc;
}
