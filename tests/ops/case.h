/*
 * Case lines of the operator harness; the syntax is told in golden_case.py, the Python twin of
 * this.
 */
#ifndef TESTS_OPS_CASE_H
#define TESTS_OPS_CASE_H

#include "ops/op.h"

enum { CASE_MAX_IN = 8, CASE_MAX_OUT = 4, CASE_MAX_ATTRS = 12, CASE_TEXT = 512 };

typedef enum case_match { MATCH_NMSE, MATCH_CLOSE, MATCH_EXACT } case_match;

typedef struct case_input {
    bool omitted;
    ed_dtype dtype;
    ed_shape shape;
    char generator[CASE_TEXT];
} case_input;

typedef struct case_attr {
    char name[32], value[CASE_TEXT];
} case_attr;

typedef struct op_case {
    char line[CASE_TEXT];
    int number; /* of the line in its file */
    char op[48], domain[16];
    int64_t opset;
    case_match match;
    bool fastnan;         /* a fast row need not give NaN where the reference does */
    bool constant, fixed; /* all inputs are constants, all but input 0: the shape needs them */
    bool dynamic;         /* integers after input 0 need not be constant */
    bool nograd;          /* its gradients are not compared with finite differences */
    uint32_t n_in, n_out, n_attrs;
    uint32_t output; /* the one that is compared */
    case_input in[CASE_MAX_IN];
    case_attr attrs[CASE_MAX_ATTRS];
    char code[24], sentence[160]; /* expected failure; "" */
} op_case;

/* All cases of a file, one for each opset of a line; malloced. */
int case_read(op_case **cases, size_t *count, const char *path);

/* How a case becomes a graph. */
typedef struct case_form {
    uint32_t
        first_constant; /* inputs from this one on are constants; integers after input 0 always */
    bool convolved; /* images come out of a 1x1 convolution that changes nothing: they then lie in
                       the layout that the library likes */
} case_form;
enum { CASE_NO_CONSTANTS = CASE_MAX_IN };

/* The case as a graph with its node and the data, of which data[i] is NULL when omitted. */
int case_build(ed_graph **g, ed_tensor **data, const op_case *c, case_form form);
void case_free_data(ed_tensor **data);
/* Round all floats to bfloat16, which a device that rounds operands leaves alone: where a function
 * jumps, at a tie or between two maxima, both sides then see the same numbers. */
void case_round(ed_graph *g, ed_tensor **data);
/* Whether a `convolved` form has the convolution before this input. */
bool case_is_image(const op_case *c, const ed_tensor *t);
/* *id becomes Conv(*id, identity): the same numbers. */
int case_convolve(ed_graph *g, ed_id *id, const ed_shape *shape);

/* Deterministic data, bit for bit the same as in golden_case.py. */
int case_generate(ed_tensor **out, const op_case *c, uint32_t input);
uint64_t case_hash(uint64_t seed, const void *data, size_t size);
/* What the file of expected outputs calls this case. */
uint64_t case_key(const op_case *c);

/* ---- expected outputs (expected.c) ---- */
typedef struct expected_output {
    uint64_t key;
    ed_tensor *tensor;
} expected_output;

typedef struct expected_file {
    expected_output *outputs;
    size_t count;
} expected_file;
/* ED_ENOTFOUND when there is no such file. */
int expected_read(expected_file *file, const char *path);
const ed_tensor *expected_find(const expected_file *file, const op_case *c);
void expected_free(expected_file *file);

/* True when they match; otherwise text says how they differ. */
bool tensors_match(char *text, size_t size, const ed_tensor *got, const ed_tensor *want,
                   case_match match, double nmse_limit);
/* Copy into `got` the NaNs of `want`, so that only numbers are compared. */
void tensors_forgive_nan(ed_tensor *got, const ed_tensor *want);

#endif
