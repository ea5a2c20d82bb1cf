/*
 * What training changes: weights with their scales and the optimizer's slots, activation scales
 * with theirs, gradients that are being summed. One list of named arrays, which checkpoints, the
 * best epoch and resuming walk alike.
 */
#ifndef QAT_STATE_H
#define QAT_STATE_H

#include "qat/checkpoint.h"
#include "qat/qat_options.h"

enum {
    ED_FIELD_SAVED = 1 << 0,   /* in a checkpoint */
    ED_FIELD_DEPLOYED = 1 << 1 /* of the model: the best epoch keeps a copy */
};

typedef struct ed_field {
    char *name;               /* "weights/conv1.weight", "activation_scales/relu1" */
    ed_tensor *tensor, *best; /* float32; best: NULL before there is one */
    unsigned flags;
} ed_field;

typedef struct ed_train_state {
    const ed_train_graph *plan;
    const ed_qat_settings *settings;
    ed_weight *weights;        /* [n_params] */
    const ed_tensor **inputs;  /* [n_params + n_scales]: what the executor reads */
    const float **gradients;   /* [n_params + n_scales]: of the update that comes; NULL: none */
    float **sums;              /* likewise; NULL with one step an update */
    float *scales;             /* [n_scales], one after the other */
    ed_tensor *scale_inputs;   /* [n_scales]: views of them */
    float *averages, *largest; /* [n_scales]: for ED_SCALES_EMA; `largest` is of the present step,
                                  NaN when there was one */
    float *scale_slots[ED_OPTIMIZER_SLOTS]; /* [n_scales], for ED_SCALES_LSQ */
    ed_field *fields;
    size_t n_fields, field_capacity;
    int64_t updates; /* so far */
    int64_t summed;  /* steps in the gradients of the update that comes */
} ed_train_state;

/* Of a step in the averages of ED_SCALES_EMA; below the least one a range gives no useful scale. */
#define ED_EMA_WEIGHT 0.01
#define ED_LEAST_AMAX 0x1p-24f

/* Starts from the quantized graph's numbers. */
int ed_train_state_new(ed_train_state **out, const ed_train_graph *plan, const ed_graph *quantized,
                       const ed_qat_settings *settings);
void ed_train_state_free(ed_train_state *s);

/* Find the weights' scales and quantized values anew. */
int ed_state_requantize(ed_train_state *s);
/* Take the gradients of one step from the executor's outputs. */
void ed_state_add(ed_train_state *s, const ed_tensor *const *outputs);
/* An ed_observe_fn for ED_SCALES_EMA; ctx is the state. */
int ed_state_observe(void *ctx, const char *value, const float *data, int64_t numel,
                     int64_t padding);
/* After a step: scales follow the averages, but for one whose largest number is not finite. */
void ed_state_follow(ed_train_state *s);
/* One update by the gradients so far. ED_ENONFINITE names the first parameter whose gradient is NaN
 * or infinite. */
int ed_state_update(ed_train_state *s, double learning_rate);

/* The numbers of the update that comes. */
ed_update ed_state_numbers(const ed_train_state *s, double learning_rate);
/* LSQ: what the gradient of an activation's scale is multiplied by. */
double ed_lsq_factor(const ed_train_scale *scale);
/* The sentence for a gradient (of parameters, then scales) that is not finite; ED_ENONFINITE. */
int ed_state_fail_gradient(const ed_train_state *s, size_t i);

/* Write weights and scales into the graph that the state was made from. */
void ed_state_export(const ed_train_state *s, ed_graph *quantized);
/* Keep weights and scales as the best ones; put them back. */
int ed_state_keep(ed_train_state *s);
void ed_state_restore(ed_train_state *s);
/* All fields to or from a checkpoint, under "last/", the best ones under "best/". */
int ed_state_save(const ed_train_state *s, ed_checkpoint *c);
int ed_state_load(ed_train_state *s, const ed_checkpoint *c);

#endif
