/*
 * Launchers of the kernels that compute element by element. Data begins at addresses that are
 * multiples of 16 bytes.
 */
#ifndef CUDA_ELEMENTWISE_H
#define CUDA_ELEMENTWISE_H

/* The numbers of ed_post_kind, for C++ (backend/onednn.h tells the formulas). */
enum ed_cuda_post {
    ED_CUDA_POST_RELU,
    ED_CUDA_POST_CLIP,
    ED_CUDA_POST_LINEAR,
    ED_CUDA_POST_SIGMOID,
    ED_CUDA_POST_TANH,
    ED_CUDA_POST_SWISH,
    ED_CUDA_POST_HARDSWISH,
    ED_CUDA_POST_GELU,
    ED_CUDA_POST_GELU_TANH,
    ED_CUDA_POST_SUM, /* of the libraries: not one of these kernels' */
    ED_CUDA_POST_ADD
};

/* The numbers of ed_dtype, for C++. */
enum ed_cuda_type {
    ED_CUDA_F32 = 1,
    ED_CUDA_F64,
    ED_CUDA_F16,
    ED_CUDA_BF16,
    ED_CUDA_I8,
    ED_CUDA_U8,
    ED_CUDA_I16,
    ED_CUDA_U16,
    ED_CUDA_I32,
    ED_CUDA_U32,
    ED_CUDA_I64,
    ED_CUDA_U64,
    ED_CUDA_BOOL
};

/* ---- unary.cu: y[i] = f(x[i]); y may be x ---- */
enum ed_cuda_map {
    ED_MAP_RELU,
    ED_MAP_LEAKY_RELU, /* a: alpha */
    ED_MAP_CLIP,       /* a, b: the bounds */
    ED_MAP_SIGMOID,
    ED_MAP_HARD_SIGMOID, /* a, b: alpha, beta */
    ED_MAP_HARD_SWISH,
    ED_MAP_TANH,
    ED_MAP_MISH,
    ED_MAP_ELU, /* a: alpha */
    ED_MAP_SOFTPLUS,
    ED_MAP_ABS,
    ED_MAP_NEG,
    ED_MAP_CEIL,
    ED_MAP_ERF,
    ED_MAP_EXP,
    ED_MAP_FLOOR,
    ED_MAP_LOG,
    ED_MAP_RECIPROCAL,
    ED_MAP_SQRT,
    ED_MAP_ROUND,
    ED_MAP_SIGN,
    ED_MAP_GELU,
    ED_MAP_GELU_TANH,
    ED_MAP_SQUARE,
    ED_MAP_CUBE,
    ED_MAP_ROOT_POWER, /* x to the power of 1/2 */
    /* of float32 alone */
    ED_MAP_ACOS,
    ED_MAP_FIRST_F32 = ED_MAP_ACOS,
    ED_MAP_ACOSH,
    ED_MAP_ASIN,
    ED_MAP_ASINH,
    ED_MAP_ATAN,
    ED_MAP_ATANH,
    ED_MAP_COS,
    ED_MAP_COSH,
    ED_MAP_SIN,
    ED_MAP_SINH,
    ED_MAP_TAN
};
int ed_cuda_map(int map, void *y, const void *x, bool bf16, int64_t n, float a, float b,
                ed_stream stream);

/* ---- binary.cu, integer.cu: y = f(a, b) along a folded walk with the operands y, a, b ---- */
enum ed_cuda_binary {
    ED_BINARY_ADD,
    ED_BINARY_SUB,
    ED_BINARY_MUL,
    ED_BINARY_DIV,
    ED_BINARY_MIN,
    ED_BINARY_MAX,
    ED_BINARY_PRELU,     /* of floats: a < 0 ? b a : a */
    ED_BINARY_MOD,       /* of float32 and integers, of the divisor's sign */
    ED_BINARY_REMAINDER, /* likewise, of the dividend's sign */
    ED_BINARY_POW        /* of float32 */
};
/* Of float32, or bfloat16 where b16 says so; with a bfloat16 operand y is bfloat16. y lies dense
 * and may be an operand of its shape. */
int ed_cuda_binary(int binary, void *y, const void *a, bool a_b16, const void *b, bool b_b16,
                   const ed_walk *walk, ed_stream stream);
/* Of int32 or int64; a divisor of 0 gives any number. */
int ed_cuda_binary_integers(int binary, int type, void *y, const void *a, const void *b,
                            const ed_walk *walk, ed_stream stream);

enum ed_cuda_integer_map { ED_INTEGER_NEG, ED_INTEGER_ABS, ED_INTEGER_NOT /* of bool */ };
/* y[i] = f(x[i]) of int8, int16, int32, int64. */
int ed_cuda_map_integers(int map, int type, void *y, const void *x, int64_t n, ed_stream stream);

/* ---- chain.cu: y = program(in[0], ...) along a folded walk with the operands y, in[0], ... ----
 */
typedef struct ed_cuda_chain {
    const ed_chain_program *program;
    void *y; /* dense; may be an input of its shape and storage */
    const void *in[ED_CHAIN_MAX_INPUTS];
    bool y_b16, b16[ED_CHAIN_MAX_INPUTS]; /* bfloat16, else float32 */
    ed_walk walk;
} ed_cuda_chain;
int ed_cuda_chain_steps(const ed_cuda_chain *chain, ed_stream stream);
/* chain_fixed.cu: by a kernel of its own, if the program is one of those; -1: it is not. */
int ed_cuda_chain_fixed(const ed_cuda_chain *chain, ed_stream stream);

/* ---- compare.cu: y is bool, 0 or 1 ---- */
enum ed_cuda_compare {
    ED_COMPARE_EQUAL,
    ED_COMPARE_GREATER,
    ED_COMPARE_LESS,
    ED_COMPARE_GREATER_EQUAL,
    ED_COMPARE_LESS_EQUAL,
    ED_COMPARE_AND, /* of bool, as the two that follow */
    ED_COMPARE_OR,
    ED_COMPARE_XOR
};
/* Of float32, int32, int64, uint8 or bool, along a folded walk with the operands y, a, b. */
int ed_cuda_compare(int compare, int type, uint8_t *y, const void *a, const void *b,
                    const ed_walk *walk, ed_stream stream);
/* y = condition ? a : b, of elements of 1, 2, 4 or 8 bytes; the operands are y, condition, a, b. */
int ed_cuda_select(int size, void *y, const uint8_t *condition, const void *a, const void *b,
                   const ed_walk *walk, ed_stream stream);

/* ---- cast.cu: y[i] = x[i] as another type; all of whole bytes ---- */
int ed_cuda_cast(void *y, int to, const void *x, int from, int64_t n, ed_stream stream);

/* ---- quantize.cu: FakeQuantize of [outer][channels][inner]; y may be x ---- */
typedef struct ed_cuda_quantizer {
    const float *scale;        /* [channels], on the device */
    const int32_t *zero_point; /* likewise; NULL: zeros */
    int64_t qmin, qmax;
} ed_cuda_quantizer;
int ed_cuda_fake_quantize(void *y, const void *x, bool bf16, int64_t outer, int64_t channels,
                          int64_t inner, const ed_cuda_quantizer *q, ed_stream stream);

/* ---- epilogue.cu ---- */
/* y = posts(y + bias[channel]) in place, y [rows][channels][inner]. ED_CUDA_POST_ADD adds
 * `residual`, of y's shape and storage. bias, residual and posts may be NULL. */
int ed_cuda_epilogue(void *y, bool bf16, int64_t rows, int64_t channels, int64_t inner,
                     const float *bias, const void *residual, const ed_cuda_posts *posts,
                     ed_stream stream);

/* ---- reorder.cu ---- */
/* [batches][rows][columns] becomes [batches][columns][rows] in the other storage or the same. With
 * one row or one column it only changes the storage. */
int ed_cuda_convert(void *to, bool to_bf16, const void *from, bool from_bf16, int64_t batches,
                    int64_t rows, int64_t columns, ed_stream stream);

#endif
