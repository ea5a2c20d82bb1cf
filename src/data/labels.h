/* Labels of samples beside the logits of a model. */
#ifndef DATA_LABELS_H
#define DATA_LABELS_H

#include "base/error.h"
#include "ed/dataset.h"

/* As in PyTorch's CrossEntropyLoss: the sample counts in no loss and in no accuracy. */
enum { ED_NO_LABEL = -100 };

/* ED_EFORMAT: a label of the batch is no class. `first` is the batch's first sample in the file, -1
 * when it has another order. */
int ed_check_labels(const ed_dataset *data, const ed_batch *batch, int64_t first, int64_t classes);
/* The class of the largest logit, of equal ones the lowest; -1 when one is NaN. */
int64_t ed_top_class(const float *row, int64_t classes);

#endif
