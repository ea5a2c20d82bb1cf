/* What ed-calibrate did, to be told as a table or as JSON. */
#ifndef TOOLS_CALIBRATE_REPORT_H
#define TOOLS_CALIBRATE_REPORT_H

#include "common.h"

typedef struct calibrate_report {
    const char *model, *output, *data, *ranges_file, *method, *weight_method, *weights;
    const ed_ranges *ranges;
    const ed_plan *plan;
    const ed_graph *graph; /* transformed: its groups are counted */
    int64_t samples;       /* 0: the ranges were read from a file */
    int64_t nonfinite;     /* NaN and infinite inputs */
    size_t activations, weight_count;
    double seconds;
} calibrate_report;

int calibrate_report_table(const calibrate_report *r, FILE *out);
int calibrate_report_json(const calibrate_report *r, FILE *out);

#endif
