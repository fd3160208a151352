/* status - `lectern status`: one screen that says first whether anything needs a look, then what runs. */
#include "cmd/remote.h"
#include "cmd/human.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define GREEN  "\033[32m"
#define YELLOW "\033[33m"
#define RED    "\033[31m"
#define PLAIN  "\033[0m"

static uint64_t number(const json_t *o, const char *name)
{
    json_int_t v = json_integer_value(json_object_get(o, name));
    return v > 0 ? (uint64_t)v : 0;
}

static const char *text(const json_t *o, const char *name)
{
    const char *v = json_string_value(json_object_get(o, name));
    return v ? v : "";
}

static bool flag(const json_t *o, const char *name)
{
    return json_is_true(json_object_get(o, name));
}

/* A drive serves when its state says so; any other word of the node's needs a look. */
static bool serves(const json_t *store)
{
    return strcmp(text(store, "state"), "ok") == 0;
}

struct health {
    size_t drives, serving, metadata, in_sync;
    uint64_t errors, corrupt, live, free, total;
};

static struct health take_health(const json_t *stores)
{
    struct health h = {0};
    size_t i;
    json_t *st;
    json_array_foreach(stores, i, st)
    {
        h.drives++;
        h.serving += serves(st);
        h.metadata += flag(st, "metadata");
        h.in_sync += flag(st, "metadata_in_sync");
        h.errors += number(st, "errors");
        h.corrupt += number(st, "corrupt");
        h.live += number(st, "live_bytes");
        h.free += number(st, "free_bytes");
        h.total += number(st, "total_bytes");
    }
    return h;
}

static void print_verdict(const struct health *h, const json_t *status, bool colour)
{
    uint64_t repair = number(status, "repair_rows");
    bool halted = json_is_false(json_object_get(status, "metadata_writable"));
    bool well = !halted && h->serving == h->drives && h->in_sync == h->metadata && h->corrupt == 0 && h->errors == 0;
    const char *on = !colour ? "" : well ? GREEN : h->serving == h->drives && !halted ? YELLOW : RED;
    printf("%s%s%s", on, well ? "All well." : "Needs a look:", colour ? PLAIN : "");
    if (h->serving != h->drives)
        printf(" %zu of %zu drives out of service.", h->drives - h->serving, h->drives);
    if (h->in_sync != h->metadata)
        printf(" %zu of %zu metadata copies behind.", h->metadata - h->in_sync, h->metadata);
    if (halted)
        printf(" The metadata takes no writes (%s).", text(status, "metadata_why"));
    if (h->errors || h->corrupt)
        printf(" %llu read or write errors, %llu corrupt blocks since the start.", (unsigned long long)h->errors,
               (unsigned long long)h->corrupt);
    if (repair)
        printf(" %llu fragments wait for repair.", (unsigned long long)repair);
    putchar('\n');
}

static void print_drives(const json_t *stores, bool colour)
{
    size_t i;
    json_t *st;
    char live[HUMAN_MAX], dead[HUMAN_MAX], spare[HUMAN_MAX], total[HUMAN_MAX];
    printf("\n%-5s  %-10s %10s %10s %10s %10s  %-9s  %s\n", "drive", "state", "live", "dead", "free", "size",
           "metadata", "path");
    json_array_foreach(stores, i, st)
    {
        const char *on = !colour ? "" : serves(st) ? GREEN : RED;
        const char *metadata = !flag(st, "metadata") ? "-" : flag(st, "metadata_in_sync") ? "in sync" : "behind";
        printf("%-5llu  %s%-10s%s %10s %10s %10s %10s  %-9s  %s\n", (unsigned long long)number(st, "index"), on,
               text(st, "state"), colour ? PLAIN : "", human_bytes(number(st, "live_bytes"), live),
               human_bytes(number(st, "dead_bytes"), dead), human_bytes(number(st, "free_bytes"), spare),
               human_bytes(number(st, "total_bytes"), total), metadata, text(st, "path"));
        if (*text(st, "why"))
            printf("       %s\n", text(st, "why"));
        if (number(st, "errors") || number(st, "corrupt"))
            printf("       %llu errors, %llu corrupt blocks since the start\n",
                   (unsigned long long)number(st, "errors"), (unsigned long long)number(st, "corrupt"));
    }
}

static void print_status(const json_t *status, const struct health *h, bool colour)
{
    const json_t *code = json_object_get(status, "code");
    char up[HUMAN_MAX], live[HUMAN_MAX];
    print_verdict(h, status, colour);
    printf("\nversion    %s, up %s\n", text(status, "version"), human_seconds(number(status, "uptime_s"), up));
    printf("S3         %s\n", text(status, "s3"));
    printf("control    %s\n", text(status, "control"));
    printf("learners   %s/t/...\n", text(status, "external_url"));
    printf("code       %llu+%llu, a write is acknowledged when %llu fragments are durable; disk engine %s\n",
           (unsigned long long)number(code, "k"), (unsigned long long)number(code, "m"),
           (unsigned long long)number(code, "write_quorum"), text(status, "disk_engine"));
    uint64_t buckets = number(status, "buckets");
    printf("objects    %llu in %llu bucket%s; %s on the drives, parity included\n",
           (unsigned long long)number(status, "objects"), (unsigned long long)buckets, buckets == 1 ? "" : "s",
           human_bytes(h->live, live));
    printf("metadata   %zu of %zu copies in sync, change %llu, epoch %llu\n", h->in_sync, h->metadata,
           (unsigned long long)number(status, "metadata_sequence"),
           (unsigned long long)number(status, "metadata_epoch"));
    printf("waiting    %llu to repair, %llu to collect\n", (unsigned long long)number(status, "repair_rows"),
           (unsigned long long)number(status, "gc_rows"));
    print_drives(json_object_get(status, "stores"), colour);
}

int cmd_status(struct cmdline *l)
{
    struct remote remote;
    json_t *status = NULL;
    int rc = remote_open(&remote, l);
    if (rc == CMD_OK)
        rc = remote_call(&remote, "GET", "/v1/status", NULL, &status);
    if (rc == CMD_OK && !json_is_array(json_object_get(status, "stores"))) {
        cmd_error(l, "the server is still starting: try again in a second");
        rc = CMD_FAILED;
    } else if (rc == CMD_OK) {
        struct health h = take_health(json_object_get(status, "stores"));
        if (cmd_has(l, OPT_JSON))
            remote_print_json(status);
        else
            print_status(status, &h, isatty(STDOUT_FILENO) && !getenv("NO_COLOR"));
        rc = h.serving == h.drives && h.in_sync == h.metadata ? CMD_OK : CMD_FAILED;
    }
    json_decref(status);
    remote_close(&remote);
    return rc;
}
