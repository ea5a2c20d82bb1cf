/*
 * Cast (ONNX opset 6, 9, 13, 19, 21 to 23): every element as another number type.
 *
 *   float to integer   truncates towards zero; outside of the type's range the result is what
 *                      x86 gives: of the 64-bit (or, for types of up to 32 bits signed, the 32-bit)
 *                      conversion's least number, cut to the type's bits. NaN likewise.
 *   integer to integer keeps the low bits
 *   to bool            x != 0
 *   to float           rounds half to even
 *
 * Elements pass in blocks through int64 (from integers) or double (from floats), of which each type
 * has one conversion.
 */
#include "base/parallel.h"
#include "ops/gradient.h"
#include "tensor/dtype.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 512 };

/* ---- blocks of numbers ---- */
typedef struct numbers {
    bool is_float, is_unsigned;
    int64_t i[BLOCK]; /* of a uint64 the same bits */
    double f[BLOCK];
} numbers;

static bool is_float(ed_dtype dtype)
{
    return dtype == ED_F32 || dtype == ED_F64 || dtype == ED_F16 || dtype == ED_BF16;
}

static void load(numbers *block, const ed_tensor *x, int64_t begin, int64_t n)
{
    block->is_float = is_float(x->dtype);
    block->is_unsigned = x->dtype == ED_U64;
    for (int64_t k = 0; block->is_float && k < n; k++)
        block->f[k] = ed_tensor_get_f64(x, begin + k);
    for (int64_t k = 0; !block->is_float && k < n; k++)
        block->i[k] = ed_tensor_get_i64(x, begin + k);
}

/* A float as an integer of that type, in the low bits. */
static int64_t truncated(double x, ed_dtype dtype)
{
    if (dtype == ED_BOOL)
        return x != 0; /* NaN too */
    if (dtype == ED_U64 && x >= 0x1p63 && x < 0x1p64)
        return (int64_t)(uint64_t)x;
    if (dtype == ED_I64 || dtype == ED_U64 || dtype == ED_U32)
        return x > -0x1p63 && x < 0x1p63 ? (int64_t)x : INT64_MIN;
    return x > -0x1p31 - 1 && x < 0x1p31 ? (int64_t)x : INT32_MIN;
}

static double as_float(const numbers *block, int64_t k)
{
    if (block->is_float)
        return block->f[k];
    return block->is_unsigned ? (double)(uint64_t)block->i[k] : (double)block->i[k];
}

/* Rounded once also from 64-bit integers. */
static float as_f32(const numbers *block, int64_t k)
{
    if (block->is_float)
        return (float)block->f[k];
    return block->is_unsigned ? (float)(uint64_t)block->i[k] : (float)block->i[k];
}

static void store_floats(ed_tensor *y, const numbers *block, int64_t begin, int64_t n)
{
    for (int64_t k = 0; k < n; k++) {
        if (y->dtype == ED_F64)
            ((double *)y->data)[begin + k] = as_float(block, k);
        else if (y->dtype == ED_F32)
            ((float *)y->data)[begin + k] = as_f32(block, k);
        else if (y->dtype == ED_F16)
            ((uint16_t *)y->data)[begin + k] = ed_f32_to_f16(as_f32(block, k));
        else
            ((uint16_t *)y->data)[begin + k] = ed_f32_to_bf16(as_f32(block, k));
    }
}

static void store_integers(ed_tensor *y, const numbers *block, int64_t begin, int64_t n)
{
    unsigned bits = ed_dtype_bits(y->dtype);
    for (int64_t k = 0; k < n; k++) {
        int64_t v = block->is_float ? truncated(block->f[k], y->dtype) : block->i[k];
        if (y->dtype == ED_BOOL)
            v = v != 0;
        if (bits == 4) { /* two a byte; blocks begin at even elements */
            uint8_t *byte = (uint8_t *)y->data + (begin + k) / 2;
            unsigned nibble = (unsigned)v & 15u;
            *byte = (uint8_t)(k % 2 ? (*byte & 15u) | nibble << 4 : nibble);
        } else { /* the low bytes come first */
            memcpy((char *)y->data + (size_t)(begin + k) * (bits / 8), &v, bits / 8);
        }
    }
}

static void cast_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const ed_call *c = ctx;
    ed_tensor *y = c->out[0];
    numbers block;
    (void)thread;

    for (; begin < end; begin += BLOCK) {
        int64_t n = end - begin < BLOCK ? end - begin : BLOCK;
        load(&block, c->in[0], begin, n);
        if (is_float(y->dtype))
            store_floats(y, &block, begin, n);
        else
            store_integers(y, &block, begin, n);
    }
}

static int cast_forward(const ed_call *c)
{
    enum { GRAIN = 8 * BLOCK };
    const ed_tensor *x = c->in[0];
    ed_call call = *c;
    if (x->dtype == c->out[0]->dtype && x->nbytes)
        memcpy(c->out[0]->data, x->data, x->nbytes);
    else if (x->dtype != c->out[0]->dtype)
        ed_parallel_for(x->numel, GRAIN, cast_range, &call);
    return ED_OK;
}

/* ---- inference and row ---- */
typedef struct cast_params {
    int64_t to;
} cast_params;

ed_dtype ed_dtype_of_number(int64_t number)
{
    static const ed_dtype dtype_of[] = {
        [1] = ED_F32,  [2] = ED_U8,   [3] = ED_I8,    [4] = ED_U16,  [5] = ED_I16,
        [6] = ED_I32,  [7] = ED_I64,  [9] = ED_BOOL,  [10] = ED_F16, [11] = ED_F64,
        [12] = ED_U32, [13] = ED_U64, [16] = ED_BF16, [21] = ED_U4,  [22] = ED_I4,
    };
    return number >= 0 && number < (int64_t)ED_LENGTH(dtype_of) ? dtype_of[number] : ED_DTYPE_NONE;
}

static int infer_cast(ed_infer *ctx)
{
    const cast_params *p = ctx->params;
    ED_TRY(ed_infer_dtypes(ctx, 0, ED_DTYPES_STORED));
    ctx->out[0].shape = ctx->in[0].shape;
    ctx->out[0].dtype = ed_dtype_of_number(p->to);
    if (ctx->out[0].dtype == ED_DTYPE_NONE)
        return ed_infer_fail(ctx, ED_EUNSUPPORTED,
                             "attribute 'to' is the type number %lld, to which nothing is "
                             "converted here; export the model with float32 or integers",
                             (long long)p->to);
    return ED_OK;
}

static int infer_cast_like(ed_infer *ctx)
{
    ED_TRY(ed_infer_dtypes(ctx, 0, ED_DTYPES_STORED));
    ED_TRY(ed_infer_dtypes(ctx, 1, ED_DTYPES_STORED));
    ctx->out[0] = (ed_type){ .dtype = ctx->in[1].dtype, .shape = ctx->in[0].shape };
    return ED_OK;
}

/* Asked only from float32 to float32. */
static int cast_gradient(ed_grad *g)
{
    return ed_grad_give(g, 0, ed_grad_dy(g));
}

static const ed_attr_spec cast_attrs[] = {
    { "to", ED_KIND_I64, offsetof(cast_params, to), 0, NULL, true },
    { 0 },
};

const ed_op ed_ops_cast[] = {
    { .type = "Cast",
      .opset = { 6, 0 },
      .arity = { 1, 1, 1 },
      .traits = ED_OP_ELEMENTWISE,
      .attrs = cast_attrs,
      .params_size = sizeof(cast_params),
      .infer = infer_cast,
      .forward = { ED_REFERENCE(cast_forward) },
      .gradient = cast_gradient },
    { .type = "CastLike", /* to the type of input 1 */
      .opset = { 15, 0 },
      .arity = { 2, 2, 1 },
      .infer = infer_cast_like,
      .forward = { ED_REFERENCE(cast_forward) },
      .gradient = cast_gradient },
    { 0 },
};
