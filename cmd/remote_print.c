/* remote_print - JSON for people: no braces, columns that line up, nothing invented. */
#include "cmd/remote.h"
#include <stdio.h>
#include <stdlib.h>

#define COLUMNS_MAX 12
#define CELL_MAX    512

void remote_print_json(const json_t *reply)
{
    json_dumpf(reply, stdout, JSON_INDENT(2));
    putchar('\n');
}

/* One value on one line. Control characters of a title never reach the terminal. */
static void cell_text(const json_t *v, char ret[CELL_MAX])
{
    if (!v || json_is_null(v))
        snprintf(ret, CELL_MAX, "-");
    else if (json_is_string(v))
        snprintf(ret, CELL_MAX, "%s", json_string_value(v));
    else if (json_is_boolean(v))
        snprintf(ret, CELL_MAX, "%s", json_is_true(v) ? "yes" : "no");
    else {
        char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
        snprintf(ret, CELL_MAX, "%s", text ? text : "?");
        free(text);
    }
    for (char *p = ret; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 127)
            *p = '?';
}

/* Columns on the screen, near enough: UTF-8 continuation bytes take none. */
static int width(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void print_padded(const char *text, int to, bool last)
{
    printf("%s%*s", text, last ? 0 : to - width(text) + 2, "");
}

static void print_table(const json_t *rows)
{
    const char *names[COLUMNS_MAX];
    int widths[COLUMNS_MAX], count = 0;
    const char *name;
    json_t *row, *value;
    size_t i;
    char cell[CELL_MAX];
    json_object_foreach(json_array_get(rows, 0), name, value) if (count < COLUMNS_MAX) names[count++] = name;
    for (int c = 0; c < count; c++) {
        widths[c] = width(names[c]);
        json_array_foreach(rows, i, row)
        {
            cell_text(json_object_get(row, names[c]), cell);
            widths[c] = MAX_OF(widths[c], width(cell));
        }
    }
    for (int c = 0; c < count; c++)
        print_padded(names[c], widths[c], c + 1 == count);
    putchar('\n');
    json_array_foreach(rows, i, row)
    {
        for (int c = 0; c < count; c++) {
            cell_text(json_object_get(row, names[c]), cell);
            print_padded(cell, widths[c], c + 1 == count);
        }
        putchar('\n');
    }
}

void remote_print(const json_t *reply)
{
    const char *name;
    json_t *value;
    char cell[CELL_MAX];
    int widest = 0;
    json_object_foreach((json_t *)reply, name, value) widest =
        json_is_array(value) && json_is_object(json_array_get(value, 0)) ? widest : MAX_OF(widest, width(name));
    json_object_foreach((json_t *)reply, name, value)
    {
        if (json_is_array(value) && json_is_object(json_array_get(value, 0))) {
            print_table(value);
            continue;
        }
        if (json_is_array(value) && json_array_size(value) == 0 && json_object_size(reply) == 1) {
            printf("no %s yet\n", name);
            continue;
        }
        cell_text(value, cell);
        print_padded(name, widest, false);
        puts(cell);
    }
}
