/* One pass over a weight: update it, find its scales, write its fake-quantized values.
 * ed_weight_scales_at() is here; its row i is ed_weight_scaling i. */
#ifndef QAT_WEIGHT_QUANT_H
#define QAT_WEIGHT_QUANT_H

#include "qat/optimizer.h"

typedef enum ed_weight_scaling {
    ED_WEIGHTS_LSQ,    /* learned: Esser et al., 2020 */
    ED_WEIGHTS_ABSMAX, /* max |w| / qmax after each update, as calibration's "minmax" */
    ED_WEIGHTS_FIXED   /* given */
} ed_weight_scaling;

/* A trained parameter; everything is borrowed. */
typedef struct ed_weight {
    int64_t outer, channels, inner; /* [outer][channels][inner]; channels 1: one scale */
    bool quantized;                 /* false: a bias and the like: no scales */
    ed_weight_scaling scaling;
    int64_t qmin, qmax;   /* less the zero_point: qmin <= 0 < qmax, within 16 bits */
    float *master;        /* what is trained */
    float *quantized_out; /* what the graph reads; not quantized: a copy, unless NULL or `master` */
    float *scale;         /* [channels], > 0: those that quantized_out was made with */
    float *slot[ED_OPTIMIZER_SLOTS];       /* of the optimizer, as `master` */
    float *scale_slot[ED_OPTIMIZER_SLOTS]; /* [channels], for LSQ */
    bool decay;                            /* weight_decay is for this one */
} ed_weight;

/*
 * One update, then quantization, channel by channel while it is in the cache; parallel over
 * channels, the same bits on any CPU and number of threads. Quantization is ed_fake_quantize()'s,
 * bit for bit.
 *
 *   gradient   d loss / d quantized_out, as `master`; NULL: no update, only scales (absmax) and
 *              quantization. It passes (STE) where rne(w / scale) lies in [qmin, qmax], else it is
 * 0. LSQ: d scale = sum dy * {rne(v) - v inside; qmin, qmax outside} / sqrt(n * qmax), with v = w /
 * scale and n elements in a channel; the same optimizer, no decay; scale > 0. scale_learning_rate
 * for LSQ, in place of u->learning_rate gradient_factor      all gradients are multiplied by it:
 * clipping, 1 / accumulated steps
 *
 * ED_ENONFINITE: there is NaN or infinity in the weights or a scale now, first in that channel; the
 * scale of such a channel stays. `o` and `u` may be NULL without gradient.
 */
int ed_weight_step(ed_weight *w, const float *gradient, const ed_optimizer_row *o,
                   const ed_update *u, double scale_learning_rate, float gradient_factor);

#endif
