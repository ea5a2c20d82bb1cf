/* How good the graph is that would be written now. */
#ifndef QAT_VALIDATE_H
#define QAT_VALIDATE_H

#include "qat/qat_options.h"

/* Rows of a batch whose largest logit is that of the label, of those that have one. */
void ed_count_correct(int64_t *correct, int64_t *labelled, const ed_tensor *logits,
                      const int64_t *labels, int64_t n);

/* Run a quantized graph over all samples: mean cross entropy and top-1 in percent. ED_ENOTFOUND
 * (no sample has a label), ED_EFORMAT (a label that is no class), and what running fails with. */
int ed_qat_validate(double *loss, double *accuracy, const ed_graph *quantized, ed_dataset *data,
                    const ed_qat_options *opts);

#endif
