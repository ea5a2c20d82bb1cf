/* What training asks of a graph: concrete shapes, gradients, which nodes only move data. */
#ifndef EXEC_TRAINING_H
#define EXEC_TRAINING_H

#include "ed/exec.h"
#include "graph/graph.h"

/* Give every input its shape (known, one per input) and find those of all values; arithmetic on
 * shapes becomes constants. ED_EUNSUPPORTED names a value whose shape stays open. */
int ed_training_bind(ed_graph *graph, const ed_shape *shapes);
/* Append the nodes of d loss / d wanted[i]; see ed_graph_differentiate(). */
int ed_training_differentiate(ed_graph *graph, ed_id loss, const ed_id *wanted, size_t n,
                              ed_id *grads);
/* The activation_bytes that an executor with these options would have; nothing is allocated. */
int ed_exec_plan_bytes(int64_t *bytes, const ed_graph *graph, const ed_shape *shapes,
                       const ed_exec_options *opts);
/* True when output 0 follows from the inputs in one pass over memory, and is the same bits by any
 * kernel, fused or not: exact arithmetic by elements, quantization, moves of data. */
bool ed_training_is_cheap(const ed_graph *graph, const ed_node *node);
/* Output 0's elements are elements of input 0: it is quantized as that is. */
bool ed_training_moves_data(const ed_graph *graph, const ed_node *node);

#endif
