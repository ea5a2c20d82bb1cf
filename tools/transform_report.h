/* What ed-transform did: counts per pattern, and the differences that --verify found. */
#ifndef TOOLS_TRANSFORM_REPORT_H
#define TOOLS_TRANSFORM_REPORT_H

#include "common.h"

/* One output of the model, before against after. */
typedef struct verify_row {
    char *name;
    double difference; /* largest |before - after| */
    double largest;    /* largest |before| */
} verify_row;

typedef struct verify_result {
    verify_row *rows;
    size_t count;
    int64_t samples;
    double tolerance;
} verify_result;

/* Run both on the samples of --data, or on random inputs. Release with verify_free(). */
int verify_run(verify_result *out, const ed_graph *before, const ed_graph *after,
               const settings *s);
/* A difference relative to the output's largest value. */
double verify_relative(const verify_row *row);
/* The row that is farthest off, NULL when all are within the tolerance. */
const verify_row *verify_worst(const verify_result *result);
void verify_free(verify_result *result);

typedef struct transform_report {
    const char *model, *output, *plan_out; /* NULL: not written */
    const ed_report *counts;
    const verify_result *verified; /* NULL: not asked for */
    size_t nodes_before, nodes_after;
    double seconds;
} transform_report;

int transform_report_table(const transform_report *r, FILE *out);
int transform_report_json(const transform_report *r, FILE *out);

#endif
