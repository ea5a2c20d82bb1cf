/*
 * Tables of text: columns two spaces apart, as wide as their widest cell.
 */
#include "common.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct table {
    const char *align;
    char **cells;
    size_t columns, count, capacity;
    bool failed;
};

table *table_new(const char *align)
{
    table *t = calloc(1, sizeof *t);
    if (t) {
        t->align = align;
        t->columns = strlen(align);
    }
    return t;
}

void table_cell(table *t, const char *format, ...)
{
    if (!t || t->failed)
        return;
    if (t->count == t->capacity) {
        size_t capacity = t->capacity ? 2 * t->capacity : 64;
        char **cells = realloc(t->cells, capacity * sizeof *cells);
        t->failed = !cells;
        if (!cells)
            return;
        t->cells = cells;
        t->capacity = capacity;
    }
    va_list args;
    va_start(args, format);
    t->failed = vasprintf(&t->cells[t->count], format, args) < 0;
    va_end(args);
    t->count += !t->failed;
}

/* Characters, not bytes: continuation bytes are 10xxxxxx. */
static size_t width(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static size_t column_width(const table *t, size_t column)
{
    size_t widest = 0;
    for (size_t i = column; i < t->count; i += t->columns) {
        size_t w = width(t->cells[i]);
        widest = w > widest ? w : widest;
    }
    return widest;
}

void table_number(table *t, double value, bool known)
{
    if (known)
        table_cell(t, "%.2f", value);
    else
        table_cell(t, "-");
}

void table_decibel(table *t, double db)
{
    if (isinf(db) && db > 0)
        table_cell(t, "equal");
    else
        table_cell(t, "%.2f", db);
}

int table_print(table *t, FILE *out)
{
    bool failed = !t || t->failed;
    size_t *widths = failed ? NULL : calloc(t->columns, sizeof *widths);
    failed = failed || !widths;

    for (size_t c = 0; !failed && c < t->columns; c++)
        widths[c] = column_width(t, c);
    for (size_t i = 0; !failed && i < t->count; i++) {
        size_t c = i % t->columns;
        bool last = c + 1 == t->columns;
        int pad = (int)(widths[c] - width(t->cells[i]));
        if (t->align[c] == 'r')
            fprintf(out, "%*s%s%s", pad, "", t->cells[i], last ? "\n" : "  ");
        else
            fprintf(out, "%s%*s%s", t->cells[i], last ? 0 : pad, "", last ? "\n" : "  ");
    }
    for (size_t i = 0; t && i < t->count; i++)
        free(t->cells[i]);
    if (t)
        free(t->cells);
    free(t);
    free(widths);
    return failed ? tool_fail(ED_ENOMEM, "memory ran out while a table was printed") : ED_OK;
}
