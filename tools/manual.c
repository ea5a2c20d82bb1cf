/*
 * A command's man page in man(7) format, from the tables that --help prints.
 */
#include "options.h"

#include <ctype.h>
#include <string.h>

/* Text with the characters escaped that troff would read as its own. */
static void put(FILE *out, const char *text, bool line_start)
{
    for (const char *c = text; *c; c++) {
        if (line_start && (*c == '.' || *c == '\''))
            fputs("\\&", out);
        if (*c == '\\')
            fputs("\\e", out);
        else if (*c == '-')
            fputs("\\-", out);
        else if (*c == '`')
            fputs("\\(oq", out);
        else
            fputc(*c, out);
        line_start = *c == '\n';
    }
}

static void put_upper(FILE *out, const char *text)
{
    for (; *text; text++)
        fputc(toupper((unsigned char)*text), out);
}

/* Paragraphs, an empty line between them. */
static void put_paragraphs(FILE *out, const char *text)
{
    for (const char *end; *text; text = end) {
        end = strstr(text, "\n\n");
        size_t length = end ? (size_t)(end - text) : strlen(text);
        char paragraph[4096];
        snprintf(paragraph, sizeof paragraph, "%.*s", (int)length, text);
        fputs(".PP\n", out);
        put(out, paragraph, true);
        fputc('\n', out);
        end = text + length + (end ? 2 : 0);
    }
}

static void put_option(FILE *out, const option_row *row)
{
    fputs(".TP\n", out);
    if (row->letter)
        fprintf(out, "\\fB\\-%c\\fR%s%s%s, ", row->letter, row->arg ? " \\fI" : "",
                row->arg ? row->arg : "", row->arg ? "\\fR" : "");
    fputs("\\fB\\-\\-", out);
    put(out, row->name, false);
    fprintf(out, "\\fR%s%s%s\n", row->arg ? "=\\fI" : "", row->arg ? row->arg : "",
            row->arg ? "\\fR" : "");
    put(out, row->help, true);
    if (option_default(row)) {
        fputs(" (default: ", out);
        put(out, option_default(row), false);
        fputc(')', out);
    }
    fputc('\n', out);
}

static void put_options(FILE *out, const command *cmd)
{
    const char *heading = NULL;
    for (size_t i = 0; option_row_at(i); i++) {
        const option_row *row = option_row_at(i);
        if (!(row->commands & cmd->id))
            continue;
        if (row->group != heading)
            fprintf(out, ".SS %s\n", row->group);
        heading = row->group;
        put_option(out, row);
    }
    fputs(".TP\n\\fB\\-?\\fR, \\fB\\-\\-help\\fR, \\fB\\-\\-usage\\fR\nexplain the options\n"
          ".TP\n\\fB\\-V\\fR, \\fB\\-\\-version\\fR\nprint the version\n",
          out);
}

static void put_listing(FILE *out, const listing *list)
{
    const char *name, *help;
    fputs(".SH ", out);
    put_upper(out, list->title);
    fputc('\n', out);
    for (size_t i = 0; list->row(i, &name, &help); i++) {
        fputs(".TP\n\\fB", out);
        put(out, name, false);
        fputs("\\fR\n", out);
        put(out, help, true);
        fputc('\n', out);
    }
}

void manual_print(FILE *out, const command *cmd)
{
    fputs(".TH ", out);
    put_upper(out, cmd->name);
    fprintf(out, " 1 \"\" \"ed %s\" \"User Commands\"\n.SH NAME\n", ed_version());
    put(out, cmd->name, false);
    fputs(" \\- ", out);
    put(out, cmd->summary, false);
    fputs("\n.SH SYNOPSIS\n.B ", out);
    put(out, cmd->name, false);
    fputs("\n[\\fIOPTION\\fR]... ", out);
    put(out, cmd->operands, false);
    fputs("\n.SH DESCRIPTION\n", out);
    put_paragraphs(out, cmd->description);
    fputs(".SH OPTIONS\n", out);
    put_options(out, cmd);
    for (const listing *list = cmd->listings; list && list->title; list++)
        put_listing(out, list);
    fputs(
        ".SH EXIT STATUS\n0: done. 1: the job failed, one sentence on standard error says why and "
        "nothing was changed.\n2: usage. 130: stopped by an interrupt.\n.SH EXAMPLES\n",
        out);
    for (const char *const *e = cmd->examples; *e; e += 2) {
        fputs(".TP\n\\fB", out);
        put(out, e[0], false);
        fputs("\\fR\n", out);
        put(out, e[1], true);
        fputc('\n', out);
    }
    fputs(".SH SEE ALSO\n.BR ed\\-bench (1),\n.BR ed\\-calibrate (1),\n.BR ed\\-eval (1),\n.BR "
          "ed\\-inspect (1),\n"
          ".BR ed\\-qat (1),\n.BR ed\\-run (1),\n.BR ed\\-transform (1),\n.BR ed\\-dataset (5)\n",
          out);
}
