/* remote - the control API from the command line: one JSON call, and sentences for what it refuses.
 *
 * Thread: one; blocking. Memory: returned JSON is owned by the caller (json_decref). */
#pragma once
#include "cmd/cmd.h"
#include "cmd/credentials.h"
#include "cmd/http_client.h"
#include <jansson.h>

struct remote {
    const struct cmdline *line;
    struct credentials credentials;
    struct http_client *http;
};
int remote_open(struct remote *a, const struct cmdline *l); /* CMD_OK, or said why */
void remote_close(struct remote *a);
/* body: taken (NULL: none). ret_reply: NULL for an empty answer. CMD_OK when the answer is 2xx, else said why. */
int remote_call(struct remote *a, const char *method, const char *path, json_t *body, json_t **ret_reply);
/* A list, all its pages joined into one. */
int remote_list(struct remote *a, const char *path, json_t **ret_reply);
/* Prints an answer for people: a list as a table, an object as lines "name  value". */
void remote_print(const json_t *reply);
void remote_print_json(const json_t *reply);
