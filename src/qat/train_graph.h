/*
 * The training graph: a quantized graph of a fixed batch, with its parameters as inputs and the
 * loss and its gradients as outputs.
 *
 *   inputs    those of the model; labels i64[N]; the teacher's logits f32[N, C]; every parameter;
 *             every activation scale that moves
 *   outputs   loss f32[1]; logits f32[N, C]; d loss / d parameter, d loss / d scale
 *
 * The FakeQuantize of a weight is not in it: that input holds the fake-quantized weight, which
 * whoever updates the weight computes in the same pass over it. Activations keep theirs.
 */
#ifndef QAT_TRAIN_GRAPH_H
#define QAT_TRAIN_GRAPH_H

#include "qat/params.h"

/* How activation scales follow; row i of ed_scales_at(). */
typedef enum ed_activation_scaling {
    ED_SCALES_FROZEN,
    ED_SCALES_EMA,
    ED_SCALES_LSQ
} ed_activation_scaling;

/* What the loss is of; row i of ed_loss_at(). */
typedef enum ed_loss_kind { ED_LOSS_DISTILL, ED_LOSS_LABELS, ED_LOSS_BOTH } ed_loss_kind;

/* What the training graph is to be like. */
typedef struct ed_train_spec {
    const ed_shape *shapes; /* of the model's inputs for one batch */
    ed_loss_kind loss;
    ed_activation_scaling scales;
    double temperature, alpha, label_smoothing;
    const ed_qat_options *opts; /* freeze */
} ed_train_spec;

/* One scale that moves: of all quantizers tied to it. */
typedef struct ed_train_scale {
    size_t quantizer;    /* the first of them */
    int64_t qmax, numel; /* numel: elements of one sample that it rounds */
} ed_train_scale;

typedef struct ed_train_graph {
    ed_graph *graph; /* value ids below those that were added are those of the quantized graph */
    ed_param *params;
    size_t n_params;
    ed_quantizer *quantizers;
    size_t n_quantizers;
    ed_train_scale *scales;
    size_t n_scales;
    size_t *scale_of;       /* per quantizer: its scale, SIZE_MAX: frozen */
    size_t n_model;         /* the first inputs are those of the model */
    size_t labels, teacher; /* inputs; SIZE_MAX: none */
    size_t first_param;     /* input of parameter 0, then of the other ones, then scales */
    size_t *gradients;      /* per parameter, then per scale: output; SIZE_MAX: none */
    size_t n_forward;       /* nodes below it are of the forward pass, the others of gradients */
    int64_t batch, classes;
} ed_train_graph;

/* Where two of the outputs lie. */
enum { ED_TRAIN_LOSS, ED_TRAIN_LOGITS };

/* `quantized` is changed in one respect: FakeQuantize nodes of constants share no scales any more.
 * ED_EUNSUPPORTED (an operator without gradient, outputs that are no logits, nothing to train),
 * ED_ESHAPE, ED_ENOMEM. */
int ed_train_graph_new(ed_train_graph **out, ed_graph *quantized, const ed_train_spec *spec);
void ed_train_graph_free(ed_train_graph *t);
/* Tell what trains, as messages of level INFO and DEBUG. */
void ed_train_graph_tell(const ed_train_graph *t);

/* A copy of a model whose one output is the logits: the first output, or what a Softmax or
 * LogSoftmax makes it of. */
int ed_logits_graph(ed_graph **out, const ed_graph *model);

#endif
