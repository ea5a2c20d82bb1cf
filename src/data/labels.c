/* See labels.h. */
#include "data/labels.h"

#include <math.h>
#include <stdio.h>

int ed_check_labels(const ed_dataset *data, const ed_batch *batch, int64_t first, int64_t classes)
{
    for (int64_t i = 0; batch->labels && i < batch->size; i++) {
        int64_t label = batch->labels[i];
        char sample[64] = "";
        if (label == ED_NO_LABEL || (label >= 0 && label < classes))
            continue;
        if (first >= 0)
            snprintf(sample, sizeof sample, " of sample %lld", (long long)(first + i));
        return ed_error_set(ED_EFORMAT,
                            "%s: label %lld%s is out of range; the model has classes 0 to %lld, "
                            "%d leaves a sample out",
                            ed_dataset_name(data), (long long)label, sample, (long long)classes - 1,
                            ED_NO_LABEL);
    }
    return ED_OK;
}

int64_t ed_top_class(const float *row, int64_t classes)
{
    int64_t best = -1;
    for (int64_t c = 0; c < classes; c++) {
        if (isnan(row[c]))
            return -1;
        if (best < 0 || row[c] > row[best])
            best = c;
    }
    return best;
}
