/*
 * The table of augmentations.
 *
 *   flip     left and right change places, for one sample in two
 *   crop=P   P zeros on each side, then a window of the picture's size at a random place: the
 *            picture moves by -P to P, rows and columns apart, and zeros come in
 *
 * A row is a function from one buffer into another one; those that leave a picture as it is copy
 * nothing.
 */
#include "data/augment.h"

#include "base/strbuf.h"

#include <string.h>

enum { MAX_ARGUMENT = 4096 };

typedef struct ed_augment_row {
    const char *name, *argument, *help; /* argument: its letter, NULL: none */
    /* True when `to` was written; false: the picture stays. */
    bool (*apply)(const ed_picture *p, char *to, const char *from, int64_t argument,
                  ed_random *random);
} augment_row;

/* ---- rows ---- */

/* `n` pixels backwards; a constant size makes the copy a move. */
static inline void reverse_pixels(char *to, const char *from, int64_t n, size_t pixel)
{
    for (int64_t i = 0; i < n; i++)
        memcpy(to + (size_t)i * pixel, from + (size_t)(n - 1 - i) * pixel, pixel);
}

static void reverse_row(char *to, const char *from, int64_t n, size_t pixel)
{
    switch (pixel) {
    case 1:
        reverse_pixels(to, from, n, 1);
        break;
    case 3:
        reverse_pixels(to, from, n, 3);
        break;
    case 4:
        reverse_pixels(to, from, n, 4);
        break;
    default:
        reverse_pixels(to, from, n, pixel);
    }
}

static bool flip(const ed_picture *p, char *to, const char *from, int64_t argument,
                 ed_random *random)
{
    (void)argument;
    if (ed_random_below(random, 2) == 0)
        return false;
    size_t row = (size_t)p->width * p->pixel;
    for (int64_t y = 0; y < p->planes * p->height; y++, to += row, from += row)
        reverse_row(to, from, p->width, p->pixel);
    return true;
}

/* to[x] = from[x + dx], zeros from outside. */
static void shift_row(char *to, const char *from, int64_t n, int64_t dx, size_t pixel)
{
    int64_t gap = dx < 0 ? -dx : dx;
    size_t kept = (size_t)(n - gap) * pixel, zeros = (size_t)gap * pixel;
    memcpy(to + (dx < 0 ? zeros : 0), from + (dx > 0 ? zeros : 0), kept);
    memset(to + (dx < 0 ? 0 : kept), 0, zeros);
}

static bool crop(const ed_picture *p, char *to, const char *from, int64_t argument,
                 ed_random *random)
{
    uint64_t places = 2 * (uint64_t)argument + 1;
    int64_t dy = (int64_t)ed_random_below(random, places) - argument;
    int64_t dx = (int64_t)ed_random_below(random, places) - argument;
    size_t row = (size_t)p->width * p->pixel;
    if (dx == 0 && dy == 0)
        return false;
    for (int64_t k = 0; k < p->planes; k++, from += (size_t)p->height * row)
        for (int64_t y = 0; y < p->height; y++, to += row) {
            if (y + dy < 0 || y + dy >= p->height)
                memset(to, 0, row);
            else
                shift_row(to, from + (size_t)(y + dy) * row, p->width, dx, p->pixel);
        }
    return true;
}

static const augment_row rows[] = {
    { "flip", NULL, "mirrors every other picture, left to right", flip },
    { "crop", "P", "moves pictures by up to P pixels; zeros come in", crop },
};
_Static_assert(ED_LENGTH(rows) <= ED_AUGMENT_MAX, "each row can be named once");

/* ---- by name ---- */

static int fail_item(const char *item, size_t length, const char *problem)
{
    ed_strbuf list = { 0 };
    for (size_t i = 0; i < ED_LENGTH(rows); i++)
        ed_strbuf_printf(&list, "%s%s%s%s (%s)", i ? ", " : "", rows[i].name,
                         rows[i].argument ? "=" : "", rows[i].argument ? rows[i].argument : "",
                         rows[i].help);
    ed_error_set(ED_EINVAL, "augment: '%.*s' %s; there is: %s", (int)(length < 64 ? length : 64),
                 item, problem, ed_strbuf_text(&list));
    ed_strbuf_free(&list);
    return ED_EINVAL;
}

/* Digits up to `length`; -1: another thing, or out of range. */
static int64_t parse_number(const char *text, size_t length)
{
    int64_t number = length > 0 ? 0 : -1;
    for (size_t i = 0; i < length && number >= 0; i++) {
        bool digit = text[i] >= '0' && text[i] <= '9';
        number = digit ? number * 10 + (text[i] - '0') : -1;
        if (number > MAX_ARGUMENT)
            number = -1;
    }
    return number;
}

static int parse_item(struct ed_augment_step *step, const char *item, size_t length)
{
    const char *equals = memchr(item, '=', length);
    size_t name = equals ? (size_t)(equals - item) : length;
    const augment_row *row = NULL;
    for (size_t i = 0; i < ED_LENGTH(rows); i++)
        if (strlen(rows[i].name) == name && memcmp(rows[i].name, item, name) == 0)
            row = &rows[i];
    if (!row)
        return fail_item(item, length, "is not known");
    if (!row->argument && equals)
        return fail_item(item, length, "takes no number");
    *step = (struct ed_augment_step){ .row = row };
    if (!row->argument)
        return ED_OK;
    step->argument = equals ? parse_number(equals + 1, length - name - 1) : -1;
    return step->argument < 1 ? fail_item(item, length, "needs a number from 1 to 4096") : ED_OK;
}

int ed_augment_parse(ed_augment *out, const char *text)
{
    *out = (ed_augment){ 0 };
    while (text && *text) {
        struct ed_augment_step step = { 0 };
        size_t length = strcspn(text, ",");
        ED_TRY(parse_item(&step, text, length));
        for (size_t i = 0; i < out->count; i++)
            if (out->steps[i].row == step.row)
                return fail_item(text, length, "comes twice");
        out->steps[out->count++] = step;
        if (text[length] == ',' && !text[length + 1])
            return fail_item("", 0, "is not known"); /* "flip," */
        text += length + (text[length] == ',');
    }
    return ED_OK;
}

/* ---- on pictures ---- */

bool ed_augment_fits(const ed_augment *a, const ed_picture *p, const char **which)
{
    for (size_t i = 0; i < a->count; i++)
        if (a->steps[i].argument >= p->height || a->steps[i].argument >= p->width) {
            *which = a->steps[i].row->name;
            return false;
        }
    return true;
}

void ed_augment_run(const ed_augment *a, const ed_picture *p, void *data, void *scratch,
                    ed_random random)
{
    char *now = data, *other = scratch;
    for (size_t i = 0; i < a->count; i++)
        if (a->steps[i].row->apply(p, other, now, a->steps[i].argument, &random)) {
            char *written = other;
            other = now;
            now = written;
        }
    if (now != data)
        memcpy(data, now, (size_t)(p->planes * p->height * p->width) * p->pixel);
}
