/* Stored numbers to a graph input's: type, normalization, channel order. Pure functions. */
#ifndef DATA_CONVERT_H
#define DATA_CONVERT_H

#include "base/error.h"
#include "ed/tensor.h"

/* How samples of one dataset become samples of one graph input. */
typedef struct ed_convert {
    ed_dtype from, to;
    int64_t channels, plane; /* a sample has channels * plane elements */
    bool channels_last;      /* stored [plane][channels]; the output is [channels][plane] */
    const float *mean, *std; /* [channels], or both NULL; only with `to` ED_F32 */
} ed_convert;

/* Elements that are no sound input: NaN and infinity for floats, out of range for integers. */
typedef struct ed_convert_bad {
    int64_t count, first_sample; /* of the first one, when count > 0 */
} ed_convert_bad;

/* True when there is a conversion between the two types: anything to ED_F32, integers to integers.
 */
bool ed_convert_supported(ed_dtype from, ed_dtype to);
/* True for a graph input's type that some dataset can feed. */
bool ed_convert_target(ed_dtype to);

/* Convert `samples` samples. Floats: (float32(x) - mean) / std, a subtraction and a division, each
 * rounded to float32. */
ed_convert_bad ed_convert_run(const ed_convert *c, void *dst, const void *src, int64_t samples);

#endif
