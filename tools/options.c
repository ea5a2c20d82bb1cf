/*
 * The one parser behind the option table (GNU argp: --help, --usage, --version).
 */
#include "options.h"

#include "common.h"

#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_LISTED = 32,     /* rows of a listing; a command has up to seven */
    KEY_MANUAL = 0x1000, /* beyond all letters and rows */
    KEY_ROW = 0x100
};

static int row_key(size_t i)
{
    return option_row_at(i)->letter ? option_row_at(i)->letter : KEY_ROW + (int)i;
}

static const option_row *row_of_key(const command *cmd, int key, size_t *index)
{
    for (size_t i = 0; option_row_at(i); i++) {
        if ((option_row_at(i)->commands & cmd->id) && row_key(i) == key) {
            *index = i;
            return option_row_at(i);
        }
    }
    return NULL;
}

bool option_given(const settings *s, const char *name)
{
    for (size_t i = 0; option_row_at(i); i++)
        if (!strcmp(option_row_at(i)->name, name) && s->given[i])
            return true;
    return false;
}

/* ---- values ---- */

static void add_text(struct argp_state *state, text_list *list, const char *text)
{
    const char **items = realloc(list->items, (list->count + 1) * sizeof *items);
    if (!items) {
        argp_failure(state, 1, 0, "memory ran out");
        return;
    }
    list->items = items;
    list->items[list->count++] = text;
}

static void bad_choice(struct argp_state *state, const option_row *row, const char *text)
{
    char names[512] = "";
    for (size_t i = 0; row->choice(i); i++) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", row->choice(i));
    }
    argp_error(state, "--%s: `%s' is unknown; choose one of: %s", row->name, text, names);
}

static const char *find_choice(const option_row *row, const char *text)
{
    for (size_t i = 0; row->choice(i); i++)
        if (!strcmp(row->choice(i), text))
            return row->choice(i);
    return NULL;
}

static int64_t parse_bytes(struct argp_state *state, const option_row *row, const char *text)
{
    static const char units[] = "KMG";
    char *end = NULL;
    errno = 0;
    double value = (double)strtoll(text, &end, 10);
    const char *unit = *end ? strchr(units, *end) : NULL;
    bool good = end != text && !errno && (!*end || (unit && !end[1]));
    for (const char *u = units; unit && u <= unit; u++)
        value *= 1024;
    if (!good || value < row->min || value > row->max)
        argp_error(state,
                   "--%s: `%s' is no number of bytes from %.16g to %.16g; K, M or G may follow it",
                   row->name, text, row->min, row->max);
    return (int64_t)value;
}

static double parse_number(struct argp_state *state, const option_row *row, const char *text)
{
    bool whole = row->type != OPTION_REAL;
    char *end = NULL;
    errno = 0;
    double value = whole ? (double)strtoll(text, &end, 10) : strtod(text, &end);
    bool good = end != text && !*end && !errno && value >= row->min && value <= row->max;
    if (row->type == OPTION_POWER2)
        good = good && !((int64_t)value & ((int64_t)value - 1));
    if (!good)
        argp_error(state, "--%s: `%s' is not %s from %.16g to %.16g", row->name, text,
                   row->type == OPTION_POWER2 ? "a power of two"
                   : whole                    ? "a whole number"
                                              : "a number",
                   row->min, row->max);
    return value;
}

static void store(struct argp_state *state, settings *s, const option_row *row, const char *text)
{
    void *field = (char *)s + row->offset;
    text = text ? text : "";
    if (row->arg && !*text)
        argp_error(state, "--%s: its argument is empty; give a %s", row->name, row->arg);
    if (row->check && row->check(text))
        argp_error(state, "--%s: `%s' is unknown; give %s", row->name, text, row->check(text));
    switch (row->type) {
    case OPTION_FLAG:
        *(bool *)field = true;
        break;
    case OPTION_COUNT:
        ++*(int64_t *)field;
        break;
    case OPTION_TEXT:
        *(const char **)field = text;
        break;
    case OPTION_LIST:
        add_text(state, field, text);
        break;
    case OPTION_CHOICE:
        *(const char **)field = find_choice(row, text);
        if (!*(const char **)field)
            bad_choice(state, row, text);
        break;
    case OPTION_INT:
        if (row->standard && !strcmp(row->standard, "auto") && !strcmp(text, "auto")) {
            *(int64_t *)field = 0;
            break;
        } /* fall through */
    case OPTION_POWER2:
        *(int64_t *)field = (int64_t)parse_number(state, row, text);
        break;
    case OPTION_BYTES:
        *(int64_t *)field = parse_bytes(state, row, text);
        break;
    case OPTION_REAL:
        *(double *)field = parse_number(state, row, text);
        break;
    }
}

/* ---- argp ---- */

typedef struct parse_input {
    settings *s;
    const command *cmd;
} parse_input;

static error_t parse_one(int key, char *arg, struct argp_state *state)
{
    const parse_input *in = state->input;
    size_t index = 0;
    const option_row *row = row_of_key(in->cmd, key, &index);

    if (row) {
        in->s->given[index] = true;
        store(state, in->s, row, arg);
    } else if (key == KEY_MANUAL) {
        manual_print(stdout, in->cmd);
        exit(fflush(stdout) || ferror(stdout) ? 1 : 0);
    } else if (key == ARGP_KEY_ARG) {
        if (in->s->operands.count == in->cmd->max_operands)
            argp_error(state, "`%s' is one model too many; %s takes %s", arg, in->cmd->name,
                       in->cmd->operands);
        add_text(state, &in->s->operands, arg);
    } else if (key == ARGP_KEY_SUCCESS) {
        const char *wrong = in->cmd->check ? in->cmd->check(in->s) : NULL;
        if (wrong)
            argp_error(state, "%s", wrong);
    } else {
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

/* Adds the defaults; argp releases what this returns. */
static char *filter_help(int key, const char *text, void *input)
{
    const parse_input *in = input;
    size_t index = 0;
    const option_row *row = row_of_key(in->cmd, key, &index);
    char *with_default = NULL;
    if (!row || !text || !option_default(row))
        return (char *)text;
    return asprintf(&with_default, "%s (default: %s)", text, option_default(row)) < 0
               ? (char *)text
               : with_default;
}

static const command *running; /* for the hook below: argp hands it no input */

static void print_version(FILE *stream, struct argp_state *state)
{
    (void)state;
    fprintf(stream, "%s %s\n", running->name, ed_version());
}

/* The rows that a command takes, under their headings. */
static size_t add_rows(struct argp_option *options, size_t n, const command *cmd, int *group)
{
    const char *heading = NULL;
    for (size_t i = 0; option_row_at(i); i++) {
        const option_row *row = option_row_at(i);
        if (!(row->commands & cmd->id))
            continue;
        if (row->group != heading) {
            heading = row->group;
            options[n++] = (struct argp_option){ .doc = heading, .group = ++*group };
        }
        options[n++] =
            (struct argp_option){ row->name, row_key(i), row->arg, 0, row->help, *group };
    }
    return n;
}

/* The tables behind the options, which argp formats alike. */
static size_t add_listings(struct argp_option *options, size_t n, const command *cmd, int *group)
{
    for (const listing *list = cmd->listings; list && list->title; list++) {
        const char *name, *help;
        options[n++] = (struct argp_option){ .doc = list->title, .group = ++*group };
        for (size_t i = 0; i < MAX_LISTED && list->row(i, &name, &help); i++)
            options[n++] =
                (struct argp_option){ name, 0, NULL, OPTION_DOC | OPTION_NO_USAGE, help, *group };
    }
    return n;
}

void options_parse(settings *out, const command *cmd, int argc, char **argv)
{
    struct argp_option options[2 * OPTION_MAX_ROWS + 4 * MAX_LISTED] = { { 0 } };
    int group = 0;
    size_t n = add_rows(options, 0, cmd, &group);
    n = add_listings(options, n, cmd, &group);
    options[n] = (struct argp_option){ "man", KEY_MANUAL, NULL, OPTION_HIDDEN, "", -1 };

    char doc[4096];
    snprintf(doc, sizeof doc,
             "%s\n\n%s\vExit status: 0 done, 1 the job failed, 2 usage. Examples: man %s",
             cmd->summary, cmd->description, cmd->name);
    parse_input input = { out, cmd };
    struct argp argp = { options, parse_one, cmd->operands, doc, NULL, filter_help, NULL };
    memset(out, 0, sizeof *out);
    running = cmd;
    argv[0] = (char *)cmd->name; /* messages begin with it */
    argp_err_exit_status = EXIT_USAGE;
    argp_program_version_hook = print_version;
    if (argp_parse(&argp, argc, argv, 0, NULL, &input))
        exit(EXIT_USAGE);
}

void settings_free(settings *s)
{
    free(s->operands.items);
    free(s->exclude.items);
    free(s->rules.items);
    free(s->disable.items);
    free(s->inputs.items);
    free(s->freeze.items);
}
