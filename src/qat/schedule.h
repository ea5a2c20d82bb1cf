/* Schedules: the learning rate over the updates. ed_schedule_at() is here. */
#ifndef QAT_SCHEDULE_H
#define QAT_SCHEDULE_H

#include "base/error.h"
#include "ed/qat.h"

typedef struct ed_schedule_row {
    ed_qat_choice choice;
    double (*factor)(double share); /* of the learning rate; share 0 to 1 of the updates */
} ed_schedule_row;

/* A row by name; NULL: the default. ED_EINVAL. */
int ed_schedule_find(const ed_schedule_row **out, const char *name);
/* The rate of update `step` (0 to steps - 1). The first `warmup` (share of all, 0 to 1) rise in
 * equal steps to `rate`; the schedule is for those behind them. */
double ed_schedule_rate(const ed_schedule_row *row, double rate, double warmup, int64_t step,
                        int64_t steps);

#endif
