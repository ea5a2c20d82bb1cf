/* Which constants of a quantized graph are parameters, and which activations are quantized. */
#ifndef QAT_PARAMS_H
#define QAT_PARAMS_H

#include "ed/qat.h"
#include "graph/graph.h"

/* A constant that training changes. */
typedef struct ed_param {
    ed_id value; /* the initializer */
    /* Its only reader is a symmetric FakeQuantize, through which all of its readers see it; else
     * ED_NONE, and what quantizes it keeps its scales. */
    ed_id quantizer;
    bool decay; /* a factor of a weighted operator: weight decay is for these */
} ed_param;

/* FakeQuantize of something that is computed. */
typedef struct ed_quantizer {
    ed_id node, input, scale; /* the node; the value that it rounds; its scale's initializer */
    bool fixed;  /* its scale stays: an attention's probabilities, one per channel, asymmetric */
    size_t tied; /* the first quantizer whose scale it shares; itself if none */
} ed_quantizer;

/* The integer attribute of a FakeQuantize. */
int64_t ed_quantizer_attr(const ed_node *node, const char *name, int64_t preset);
bool ed_is_quantizer(const ed_node *node);

/*
 * Parameters in the order of the values. A float32 constant is one when every reader takes it as
 * one (params.c has the table), it has more than one element or is a bias, it is no mask (zeros and
 * numbers of at most -100), no pattern of opts->freeze fits its name, and arithmetic on it is not
 * what normalizes the model's input. *out is released with ed_free().
 */
int ed_params_find(ed_param **out, size_t *count, const ed_graph *graph,
                   const ed_qat_options *opts);
/* Quantizers in the order of the nodes; scales that were equal, and belong to one initializer or to
 * values that are copies of each other (Concat, moves), are tied. */
int ed_quantizers_find(ed_quantizer **out, size_t *count, const ed_graph *graph);
/* Give every FakeQuantize of a constant, and every one whose scale stays, an initializer of its own
 * for it. */
int ed_quantizers_separate(ed_graph *graph);

#endif
