/* What ed-bench found, to be told as a table, as JSON and as a page. */
#ifndef TOOLS_BENCH_H
#define TOOLS_BENCH_H

#include "common.h"

/* One that was compared; the first one is the float model. */
typedef struct bench_model {
    const char *name; /* "float", a method's name, "QAT" */
    ed_eval_result result;
    double seconds; /* of calibration by this method alone, or of training */
} bench_model;

/* SQNR of a group's output against the float model's; NaN: not measured. */
typedef struct bench_group {
    ed_group_info info;
    double calibrated, trained; /* by the first method; by QAT */
} bench_group;

/* A value that is calibrated. */
typedef struct bench_value {
    size_t row;         /* in the ranges */
    const double *sqnr; /* in dB, one a method: of the value rounded and clipped by it */
    double largest;     /* |x| */
} bench_value;

/* A step or an epoch of training. */
typedef struct bench_curve {
    ed_qat_report *points;
    size_t count, capacity;
} bench_curve;

typedef struct bench {
    const char *model, *calib, *test, *train, *val; /* paths; train and val may be NULL */
    const char *target, *weight_method, *precision, *device;
    char date[32], device_text[256];
    unsigned weight_bits, activation_bits;
    int64_t calib_samples, train_samples, group_samples, nonfinite;
    bench_model *models; /* float, the methods, QAT */
    size_t count;
    ed_ranges **ranges; /* one a method; the first ones hold the observations */
    ed_calib_times *times;
    size_t methods;
    bench_group *groups; /* worst first */
    size_t group_count;
    bench_value *values; /* worst first */
    double *sqnr;        /* of all values */
    size_t value_count;
    bench_curve steps, epochs; /* of QAT */
    double evaluation;         /* seconds */
    /* what the members above borrow from */
    ed_plan *plan;
    ed_graph *source, **graphs; /* graphs: one a model */
} bench;

/* ---- bench_run.c ---- */
enum { BENCH_MAX_METHODS = 32 };
/* The names of --methods; all for NULL. False, and a sentence in `text`: one is unknown or twice.
 */
bool bench_methods(const char **names, size_t *n, const char *list, char *text, size_t size);
/* Do all of it; bench_free() in every case. Texts of the settings and `model` must live as long. */
int bench_run(bench *b, const char *model, const settings *s);
void bench_free(bench *b);
/* --json -: on standard output. */
bool bench_prints_json(const settings *s);
/* --html or --json want what the table does not tell. */
bool bench_wants_details(const settings *s);

/* ---- bench_values.c ---- */
/* SQNR in dB of a value whose |x| were counted, when it is quantized with `scale` to symmetric
 * integers of so many bits: the middle of a bin stands for its numbers. Infinity without noise. */
double bench_sqnr(const ed_observation *seen, double scale, unsigned bits);
/* Fill `values` from the ranges. ED_ENOMEM */
int bench_list_values(bench *b);
/* Sums of the histogram in `n` columns of [0, largest]. */
void bench_columns(double *columns, size_t n, const ed_observation *seen, double largest);

/* ---- the three forms ---- */
int bench_table(const bench *b, FILE *out);
/* tool_write_file() takes these; ctx is the bench. */
int bench_json(FILE *out, const void *ctx);
int bench_html(FILE *out, const void *ctx);

/* ---- what they share ---- */
/* The model of the greatest top-1 (of the greatest SQNR without labels) but the float one. */
size_t bench_best(const bench *b);
bool bench_labelled(const bench *b);
/* Points lost against the float model. */
double bench_drop(const bench *b, size_t i);
/* The part of a path behind the last slash. */
const char *bench_file_name(const char *path);

#endif
