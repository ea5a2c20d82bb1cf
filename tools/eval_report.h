/* What ed-eval found, to be told as a table or as JSON. */
#ifndef TOOLS_EVAL_REPORT_H
#define TOOLS_EVAL_REPORT_H

#include "common.h"

typedef struct eval_report {
    const char *data;
    const char *const *models;
    const ed_eval_result *results;
    size_t count;
    const ed_eval_group *groups; /* worst first; NULL without --layers */
    size_t group_count;
    int64_t nonfinite;
    double seconds;
} eval_report;

int eval_report_table(const eval_report *r, FILE *out);
int eval_report_json(const eval_report *r, FILE *out);

#endif
