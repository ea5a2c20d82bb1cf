/* A case's gradients: loss = sum over the float outputs y_k of sum(y_k * cotangent_k), and the
 * nodes of d loss / d input behind it. */
#ifndef TESTS_OPS_GRADIENT_CASE_H
#define TESTS_OPS_GRADIENT_CASE_H

#include "harness.h"

enum { GRADIENT_MAX_DATA = CASE_MAX_IN + CASE_MAX_OUT };

typedef struct gradient_case {
    ed_graph *graph;
    ed_tensor *data[GRADIENT_MAX_DATA]; /* inputs, then the outputs' cotangents; NULL: none */
    bool wanted[CASE_MAX_IN];
    int output[CASE_MAX_IN]; /* of the graph: the gradient; -1: none arrives */
} gradient_case;

/* The row of the case's operator; NULL, with the sentence set, when there is none. */
const ed_op *gradient_row(const op_case *c);
/* True when the row has a gradient that is not always 0. */
bool gradient_exists(const ed_op *op);

/* `rounded`: all float32 numbers become ones that bfloat16 holds, so that a device which rounds
 * sees the same kinks and the same maxima. */
int gradient_build(gradient_case *out, const op_case *c, case_form form, bool rounded);
void gradient_free(gradient_case *gc);
/* Run it. of[i] is the gradient of input i, zeros where none arrives, NULL where none is wanted;
 * plan may be NULL. */
int gradient_run(ed_tensor **of, const gradient_case *gc, const ed_exec_options *options,
                 char **plan, size_t *host_steps);

/* ---- differences.c ---- */
typedef struct difference_counts {
    int compared, skipped; /* directions and elements; skipped: a kink, too coarse, not finite */
} difference_counts;
/* Compare the gradients with central differences of the reference kernel; false: text tells
 * where they differ. */
bool differences_agree(char *text, size_t size, difference_counts *counts, const op_case *c,
                       const gradient_case *gc, ed_tensor *const *gradients);

#endif
