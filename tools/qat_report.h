/* What ed-qat tells while it trains, and in the end. */
#ifndef TOOLS_QAT_REPORT_H
#define TOOLS_QAT_REPORT_H

#include "common.h"

/* An ed_qat_report_fn: a bar on a terminal, a line now and then elsewhere, a line for each epoch;
 * stops on an interrupt. */
int qat_progress(void *ctx, const ed_qat_report *r);

/* A model that was compared: the float one, the calibrated one, the trained one. */
typedef struct qat_row {
    const char *name;
    ed_eval_result result;
} qat_row;

typedef struct qat_report {
    const char *model, *output, *data, *val;
    const ed_qat_options *opts;
    const ed_qat_result *result;
    const qat_row *rows; /* none without --val */
    size_t count;
    double seconds;
} qat_report;

int qat_report_table(const qat_report *r, FILE *out);
int qat_report_json(const qat_report *r, FILE *out);

#endif
