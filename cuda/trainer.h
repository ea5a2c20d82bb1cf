/*
 * Launchers of trainer.cu: the optimizer over all parameters of a model. What stands here lies on
 * the device; backend.h tells what the fields mean.
 */
#ifndef CUDA_TRAINER_H
#define CUDA_TRAINER_H

#include "kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { ED_TRAINER_SLOTS = 2 };
enum { ED_TRAINER_LSQ, ED_TRAINER_ABSMAX, ED_TRAINER_FIXED }; /* as ed_device_scaling */

typedef struct ed_trainer_param {
    int64_t outer, channels, inner;
    float *master, *out, *scale; /* out NULL: none */
    float *slot[ED_TRAINER_SLOTS], *scale_slot[ED_TRAINER_SLOTS];
    const float *gradient; /* what the update reads; NULL: none */
    const float *step_gradient;
    float *sum;             /* NULL: none */
    double gradient_factor; /* of this gradient alone */
    double lsq_root;        /* sqrt(elements of a channel * qmax) */
    float lo, hi;           /* qmin, qmax */
    float least;            /* of a parameter that is a scale; -infinity: none */
    bool quantized, decay;
    int scaling;
    int64_t first, end; /* its parts among the sums of squares */
} ed_trainer_param;

/* What a block works on. */
enum {
    ED_WORK_ELEMENTS, /* of a parameter without scales: elements [begin, end) */
    ED_WORK_WARPS,    /* channels [begin, end), a warp each */
    ED_WORK_BLOCK,    /* channel begin */
    ED_WORK_COLUMNS   /* channels [begin, end), at most ED_WORK_LANES elements side by side */
};
enum { ED_WORK_THREADS = 256, ED_WORK_LANES = 32, ED_WORK_CHUNK = 8192 };
typedef struct ed_trainer_work {
    int param, kind;
    int64_t begin, end;
} ed_trainer_work;

/* The numbers of an update, each rounded to float once. */
typedef struct ed_trainer_numbers {
    float rate, momentum, decay;                           /* sgd */
    float keep, beta1, rest1, beta2, rest2, root, epsilon; /* adamw; `rate` with its correction */
} ed_trainer_numbers;
enum { ED_NUMBERS_DECAY, ED_NUMBERS_PLAIN, ED_NUMBERS_SCALE, ED_NUMBERS_COUNT };
typedef struct ed_trainer_update {
    ed_trainer_numbers of[ED_NUMBERS_COUNT];
    double mean, clip; /* what all gradients are multiplied by; the limit of their norm, 0: none */
} ed_trainer_update;

typedef struct ed_trainer_result {
    double squares, factor; /* of the norm of all gradients; what they were multiplied by */
    int64_t bad_gradient;   /* the first parameter with NaN or infinity in its gradient; -1 */
    unsigned long long bad_weight; /* parameter << 32 | channel, of the weights; ~0: none */
} ed_trainer_result;

typedef struct ed_trainer_state {
    const ed_trainer_param *params; /* [n] */
    const ed_trainer_work *work;    /* [n_work], of the update */
    const ed_trainer_work *parts;   /* [n_parts], elements of gradients */
    const ed_trainer_update *update;
    double *squares; /* [n_parts] */
    ed_trainer_result *result;
    int64_t n, n_work, n_parts;
    bool adamw;
} ed_trainer_state;

/* sum = gradient, or sum + gradient. */
int ed_cuda_trainer_add(const ed_trainer_state *s, bool first, ed_stream stream);
/* The norm, then the update; nothing changes when a gradient is not finite. */
int ed_cuda_trainer_step(const ed_trainer_state *s, ed_stream stream);
/* Scales and quantized values alone. */
int ed_cuda_trainer_quantize(const ed_trainer_state *s, ed_stream stream);

/* follow.cu: the largest |x|; scales that follow it. */
int ed_cuda_find_largest(float *largest, const void *data, int64_t n, bool bf16, ed_stream stream);
int ed_cuda_follow_scales(size_t n, float *scale, float *average, float *largest, const float *qmax,
                          double weight, float least, ed_stream stream);

#ifdef __cplusplus
}
#endif

#endif
