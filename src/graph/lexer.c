/* Tokens of the text form: names, quoted strings, numbers, punctuation. */
#include "graph/lexer.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int ed_lex_fail(const ed_lexer *lex, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return ed_error_set(ED_EFORMAT, "%d:%d: %s", lex->line, (int)(lex->p - lex->line_start) + 1,
                        text);
}

void ed_lex_skip(ed_lexer *lex)
{
    while (*lex->p == ' ' || *lex->p == '\t' || *lex->p == '\r')
        lex->p++;
    if (*lex->p == '#')
        lex->p += strcspn(lex->p, "\n");
}

bool ed_lex_at_end_of_line(ed_lexer *lex)
{
    ed_lex_skip(lex);
    return *lex->p == '\n' || *lex->p == 0;
}

bool ed_lex_next_line(ed_lexer *lex)
{
    while (ed_lex_at_end_of_line(lex)) {
        if (*lex->p == 0)
            return false;
        lex->line_start = ++lex->p;
        lex->line++;
    }
    return true;
}

bool ed_lex_take(ed_lexer *lex, char c)
{
    ed_lex_skip(lex);
    if (*lex->p != c)
        return false;
    lex->p++;
    return true;
}

int ed_lex_expect(ed_lexer *lex, char c)
{
    return ed_lex_take(lex, c) ? ED_OK : ed_lex_fail(lex, "expected '%c'", c);
}

bool ed_lex_take_word(ed_lexer *lex, const char *word)
{
    ed_lex_skip(lex);
    size_t n = strlen(word);
    if (strncmp(lex->p, word, n) != 0 || isalnum((unsigned char)lex->p[n]) || lex->p[n] == '_')
        return false;
    lex->p += n;
    return true;
}

int ed_lex_string(ed_lexer *lex, const char **text, size_t *size)
{
    ed_lex_skip(lex);
    if (*lex->p != '"')
        return ed_lex_fail(lex, "expected a string in quotes");
    const char *p = lex->p + 1;
    char *out = ed_arena_alloc(lex->arena, strcspn(p, "\n") + 1, 1);
    if (!out)
        return ED_ENOMEM;
    size_t n = 0;
    while (*p != '"') {
        unsigned code;
        if (*p == 0 || *p == '\n')
            return ed_lex_fail(lex, "the string has no closing quote");
        if (*p == '\\' && p[1] == 'x' && sscanf(p + 2, "%2x", &code) == 1) {
            out[n++] = (char)code;
            p += isxdigit((unsigned char)p[3]) ? 4 : 3;
        } else {
            p += *p == '\\' && (p[1] == '"' || p[1] == '\\');
            out[n++] = *p++;
        }
    }
    lex->p = p + 1;
    *text = out;
    *size = n;
    return ED_OK;
}

int ed_lex_name(ed_lexer *lex, const char **name, bool *labels)
{
    size_t n = 0;
    ed_lex_skip(lex);
    if (*lex->p == '"') {
        ED_TRY(ed_lex_string(lex, name, &n));
        if (labels)
            *labels = ed_lex_take(lex, ':');
        return ED_OK;
    }
    while (isalnum((unsigned char)lex->p[n]) || (lex->p[n] && strchr("_./:-", lex->p[n])))
        n++;
    size_t length = n;
    if (n && lex->p[n - 1] == ':')
        length--;
    if (!length)
        return ed_lex_fail(lex, "expected a name");
    char *copy = ed_arena_alloc(lex->arena, length + 1, 1);
    if (!copy)
        return ED_ENOMEM;
    memcpy(copy, lex->p, length);
    *name = copy;
    if (labels)
        *labels = length < n;
    lex->p += labels ? n : length;
    return ED_OK;
}

int ed_lex_number(ed_lexer *lex, double *f, int64_t *i, bool *is_float)
{
    char *end;
    ed_lex_skip(lex);
    errno = 0;
    *f = strtod(lex->p, &end);
    if (end == lex->p)
        return ed_lex_fail(lex, "expected a number");
    char *int_end;
    errno = 0;
    *i = strtoll(lex->p, &int_end, 10);
    *is_float = int_end != end;
    if (!*is_float && errno == ERANGE)
        return ed_lex_fail(lex, "the integer does not fit 64 bits");
    lex->p = end;
    return ED_OK;
}
