/*
 * A tree of elementwise nodes as a program: steps over operands, each of one element of the output
 * at a time. Plain data, valid C11 and C++: kernels on a device get it as it is.
 */
#ifndef OPS_CHAIN_PROGRAM_H
#define OPS_CHAIN_PROGRAM_H

#include <stdint.h>

enum {
    ED_CHAIN_MAX_NODES = 8,
    ED_CHAIN_MAX_INPUTS = 6,  /* tensors that are read */
    ED_CHAIN_MAX_NUMBERS = 8, /* constants of one element */
    ED_CHAIN_MAX_SLOTS = 4,   /* results that wait while others are computed */
    ED_CHAIN_MAX_STEPS = 16   /* a Sum of several tensors takes more than one */
};

/* What a step computes of its operands a, b, c and its parameters p. */
typedef enum ed_chain_code {
    ED_CHAIN_ADD,
    ED_CHAIN_SUB,
    ED_CHAIN_MUL,
    ED_CHAIN_DIV,
    ED_CHAIN_MIN, /* NaN wins, as in MAX */
    ED_CHAIN_MAX,
    ED_CHAIN_NEG,
    ED_CHAIN_ABS,
    ED_CHAIN_RELU,
    ED_CHAIN_LEAKY_RELU, /* p[0]: alpha */
    ED_CHAIN_CLIP,       /* p: the bounds */
    ED_CHAIN_SIGMOID,
    ED_CHAIN_TANH,
    ED_CHAIN_HARD_SIGMOID, /* p: alpha, beta */
    ED_CHAIN_HARD_SWISH,
    ED_CHAIN_ERF,
    ED_CHAIN_GELU,
    ED_CHAIN_GELU_TANH,
    ED_CHAIN_EXP,
    ED_CHAIN_LOG,
    ED_CHAIN_SQRT,
    ED_CHAIN_RECIPROCAL,
    ED_CHAIN_SQUARE,
    ED_CHAIN_CUBE,
    ED_CHAIN_ROOT_POWER, /* a to the power of 1/2 */
    ED_CHAIN_POW,        /* a to the power of b */
    ED_CHAIN_QUANTIZE,   /* FakeQuantize with the scale b and zero_point 0; p: qmin, qmax */
    /* gradients: a is dy, b what the operator reads besides it (activation_grad.c) */
    ED_CHAIN_RELU_GRAD,
    ED_CHAIN_LEAKY_RELU_GRAD, /* p[0]: alpha */
    ED_CHAIN_CLIP_GRAD,       /* p: the bounds; NaN limits nothing */
    ED_CHAIN_SIGMOID_GRAD,
    ED_CHAIN_HARD_SIGMOID_GRAD, /* p[0]: alpha */
    ED_CHAIN_HARD_SWISH_GRAD,
    ED_CHAIN_TANH_GRAD,
    ED_CHAIN_MISH_GRAD,
    ED_CHAIN_ELU_GRAD, /* p[0]: alpha */
    ED_CHAIN_GELU_GRAD,
    ED_CHAIN_GELU_TANH_GRAD,
    ED_CHAIN_ERF_GRAD,
    ED_CHAIN_ABS_GRAD,
    ED_CHAIN_QUANTIZE_GRAD, /* FakeQuantizeGrad at b with the scale c; p as of QUANTIZE */
    ED_CHAIN_CODES
} ed_chain_code;

/* Where an operand comes from. */
enum {
    ED_CHAIN_NOTHING,    /* the step has no such operand */
    ED_CHAIN_LAST,       /* the result of the step before */
    ED_CHAIN_SLOT = 16,  /* + number of a slot */
    ED_CHAIN_INPUT = 32, /* + number of an input */
    ED_CHAIN_NUMBER = 48 /* + number of a constant */
};

typedef struct ed_chain_step {
    uint8_t code;    /* ed_chain_code */
    uint8_t keep;    /* ED_CHAIN_SLOT + number: the result also goes there; or ED_CHAIN_NOTHING */
    uint8_t from[3]; /* the operands a, b, c */
    float p[2];
} ed_chain_step;

typedef struct ed_chain_program {
    int steps, inputs, numbers, slots;
    ed_chain_step step[ED_CHAIN_MAX_STEPS];
    float number[ED_CHAIN_MAX_NUMBERS];
} ed_chain_program;

#endif
