/*
 * Trees of elementwise nodes as programs (chain_program.h), for the rows that run several nodes by
 * one kernel: ed_layout_chain here, and its like on a device.
 *
 * To add an operator: one row of the table in chain.c; a new formula is also a code in
 * chain_program.h, a loop in chain_steps.c and a case in cuda/chain_steps.cuh.
 */
#ifndef OPS_CHAIN_H
#define OPS_CHAIN_H

#include "ops/chain_program.h"
#include "ops/op.h"

/* Nodes in topological order; the last one is the root. */
typedef struct ed_chain_nodes {
    const ed_type *types; /* by value id, concrete */
    const ed_tensor *const *constants;
    const ed_node *const *nodes;
    const void *const *params; /* [count] */
    uint32_t count;
} ed_chain_nodes;

/* A program and what it reads. */
typedef struct ed_chain_bound {
    ed_chain_program program;
    ed_id input[ED_CHAIN_MAX_INPUTS]; /* values; each broadcasts to the root's output */
} ed_chain_bound;

/* The nodes as one program; false when they are none. That only the root's output is read elsewhere
 * is for the caller to know. */
bool ed_chain_build(ed_chain_bound *out, const ed_chain_nodes *of);
/* For plan(): the longest part from nodes[0] on that becomes a program and may disappear in one
 * step. Returns its nodes; 0 when there are not two of them, or one that ed_fuse_varies(). */
ED_PLUGIN uint32_t ed_chain_take(ed_chain_bound *out, const ed_kernel_plan *p);
/* For plan(): input k is as large as the output and comes from another kernel. */
bool ed_chain_is_main(const ed_chain_bound *chain, const ed_kernel_plan *p, uint32_t taken, int k);
/* For plan(), after the inputs are listed: the output lies where the first main input dies. */
ED_PLUGIN void ed_chain_overwrite(const ed_chain_bound *chain, ed_kernel_plan *p);

/* y = step of n elements. y may be one of the operands; those that it has not may be NULL. */
typedef void (*ed_chain_fn)(float *y, const float *a, const float *b, const float *c,
                            const float *p, int64_t n);
extern const ed_chain_fn ed_chain_steps[ED_CHAIN_CODES];
/* The step of an operator of the table, as long as its attributes do not make it another one;
 * ED_CHAIN_CODES: none. */
ed_chain_code ed_chain_code_of(const ed_node *node);

#endif
