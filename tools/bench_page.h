/* The page of ed-bench inside: its parts, and text that is safe in HTML. */
#ifndef TOOLS_BENCH_PAGE_H
#define TOOLS_BENCH_PAGE_H

#include "bench.h"

/* Colours of the page; one a method, beyond them they begin again. */
enum { PAGE_COLORS = 6 };

/* ---- bench_style.c ---- */
/* Parts of the style sheet; NULL at the end. */
extern const char *const bench_style[];

/* ---- bench_text.c ---- */
/* Text between tags or in a quoted attribute; what is no UTF-8, and control characters, become
 * U+FFFD. */
void page_text(FILE *out, const char *text);
/* "12.34", or a dash where it is not known. */
void page_number(FILE *out, double value, int decimals);
/* "31.20", "exact" without noise, or a dash. */
void page_decibel(FILE *out, double db);
/* 12,345 */
void page_count(FILE *out, uint64_t count);

/* ---- bench_groups.c, bench_histograms.c, bench_curves.c: a section each ---- */
void page_groups(FILE *out, const bench *b);
void page_histograms(FILE *out, const bench *b);
void page_training(FILE *out, const bench *b);

#endif
