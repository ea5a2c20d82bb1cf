/* Tokens of the text form of graphs. */
#ifndef GRAPH_LEXER_H
#define GRAPH_LEXER_H

#include "base/mem.h"
#include "base/strbuf.h"

typedef struct ed_lexer {
    const char *p, *line_start;
    int line;
    ed_arena *arena; /* holds the names it returns */
} ed_lexer;

/* ED_EFORMAT with "line:column: " before the sentence. */
int ed_lex_fail(const ed_lexer *lex, const char *format, ...) ED_PRINTF(2, 3);
/* Skip blanks and a comment, not the end of the line. */
void ed_lex_skip(ed_lexer *lex);
/* Go to the next line that holds something; false at the end of the text. */
bool ed_lex_next_line(ed_lexer *lex);
bool ed_lex_at_end_of_line(ed_lexer *lex);
/* Take one character if it is next. */
bool ed_lex_take(ed_lexer *lex, char c);
int ed_lex_expect(ed_lexer *lex, char c);
/* Take a word (letters, digits, _) if it is next. */
bool ed_lex_take_word(ed_lexer *lex, const char *word);
/* A plain or quoted name; *labels is true when a colon follows that is not part of it. */
int ed_lex_name(ed_lexer *lex, const char **name, bool *labels);
int ed_lex_string(ed_lexer *lex, const char **text, size_t *size);
/* A number; *is_float when it has a point, an exponent, or is inf or nan. */
int ed_lex_number(ed_lexer *lex, double *f, int64_t *i, bool *is_float);

#endif
