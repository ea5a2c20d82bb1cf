/* Options of training with the defaults in place and the names resolved. */
#ifndef QAT_QAT_OPTIONS_H
#define QAT_QAT_OPTIONS_H

#include "qat/optimizer.h"
#include "qat/schedule.h"
#include "qat/train_graph.h"
#include "qat/weight_quant.h"

typedef struct ed_qat_settings {
    ed_qat_options opts; /* nothing zeroed but what means "none" */
    const ed_optimizer_row *optimizer;
    const ed_schedule_row *schedule;
    ed_loss_kind loss;
    ed_activation_scaling scales;
    ed_weight_scaling weight_scales;
    bool validates; /* there is a validation set: the numbers at the start are kept as the best */
} ed_qat_settings;

/* ED_EINVAL: the option by name, and what it must be. `opts` may be NULL. */
int ed_qat_options_read(ed_qat_settings *out, const ed_qat_options *opts);
/* Option i of those that are numbers and decide what comes out; false at the end. */
bool ed_qat_number_at(const char **name, double *value, const ed_qat_options *opts, size_t i);
/* A number of the options: ED_QAT_NONE is 0. */
double ed_qat_number(double value);

#endif
