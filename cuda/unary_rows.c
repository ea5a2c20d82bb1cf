/*
 * Functions of one number: activations and unary operators of float32 in the format in which the
 * input lies, in place if it dies; Neg, Abs and Not of integers.
 */
#include "elementwise_rows.h"
#include "kernels.h"

#include <string.h>

/* ---- functions of float32, one row each ---- */
#define FUNCTIONS(ROW)                                                                             \
    ROW("Relu", ED_MAP_RELU)                                                                       \
    ROW("LeakyRelu", ED_MAP_LEAKY_RELU)                                                            \
    ROW("Clip", ED_MAP_CLIP)                                                                       \
    ROW("Sigmoid", ED_MAP_SIGMOID)                                                                 \
    ROW("HardSigmoid", ED_MAP_HARD_SIGMOID)                                                        \
    ROW("HardSwish", ED_MAP_HARD_SWISH)                                                            \
    ROW("Tanh", ED_MAP_TANH)                                                                       \
    ROW("Mish", ED_MAP_MISH)                                                                       \
    ROW("Elu", ED_MAP_ELU)                                                                         \
    ROW("Softplus", ED_MAP_SOFTPLUS)                                                               \
    ROW("Abs", ED_MAP_ABS)                                                                         \
    ROW("Neg", ED_MAP_NEG)                                                                         \
    ROW("Ceil", ED_MAP_CEIL)                                                                       \
    ROW("Erf", ED_MAP_ERF)                                                                         \
    ROW("Exp", ED_MAP_EXP)                                                                         \
    ROW("Floor", ED_MAP_FLOOR)                                                                     \
    ROW("Log", ED_MAP_LOG)                                                                         \
    ROW("Reciprocal", ED_MAP_RECIPROCAL)                                                           \
    ROW("Sqrt", ED_MAP_SQRT)                                                                       \
    ROW("Acos", ED_MAP_ACOS)                                                                       \
    ROW("Acosh", ED_MAP_ACOSH)                                                                     \
    ROW("Asin", ED_MAP_ASIN)                                                                       \
    ROW("Asinh", ED_MAP_ASINH)                                                                     \
    ROW("Atan", ED_MAP_ATAN)                                                                       \
    ROW("Atanh", ED_MAP_ATANH)                                                                     \
    ROW("Cos", ED_MAP_COS)                                                                         \
    ROW("Cosh", ED_MAP_COSH)                                                                       \
    ROW("Sin", ED_MAP_SIN)                                                                         \
    ROW("Sinh", ED_MAP_SINH)                                                                       \
    ROW("Tan", ED_MAP_TAN)                                                                         \
    ROW("Round", ED_MAP_ROUND)                                                                     \
    ROW("Sign", ED_MAP_SIGN)                                                                       \
    ROW("Gelu", ED_MAP_GELU)

#define FUNCTION_ROW(type, map) { type, map },
static const struct {
    const char *type;
    enum ed_cuda_map map;
} functions[] = { FUNCTIONS(FUNCTION_ROW) };

typedef struct map_state {
    enum ed_cuda_map map;
    bool bf16;
    float a, b;
} map_state;

static int map_run(const ed_call *call)
{
    const map_state *s = call->state;
    ED_CUDA_TRY(ed_cuda_map(s->map, call->out[0]->data, call->in[0]->data, s->bf16,
                            call->out[0]->numel, s->a, s->b, ed_cuda_of(call)->stream),
                "the kernel of an elementwise function");
    return ED_OK;
}

static void map_free(void *state)
{
    ed_free(state);
}

static int take_map(ed_kernel_plan *p, const map_state *now)
{
    ed_id x = p->nodes[0]->in[0];
    ed_layout layout = p->layouts[x];
    map_state *s = ed_malloc(sizeof *s);
    if (!s)
        return ED_ENOMEM;
    if (now->map >= ED_MAP_FIRST_F32)
        layout = ed_layout_with_bf16(layout, false);
    *s = *now;
    s->bf16 = ed_layout_element(layout) == 2;
    p->n_in = 1;
    p->in[0] = x;
    p->in_layout[0] = layout;
    p->inplace = ed_plan_dies(p, x, 1) ? 0 : -1;
    return ed_cuda_take(p, 1, layout, s);
}

/* Of any opset; false when the bounds are not known. */
static bool clip_bounds(map_state *s, const ed_kernel_plan *p)
{
    const ed_tensor *bound[2] = { NULL, NULL };
    for (uint32_t i = 0; i < 2; i++) {
        ed_id id = ed_node_in(p->nodes[0], i + 1);
        bound[i] = id == ED_NONE ? NULL : p->constants[id];
        if (id != ED_NONE && !bound[i])
            return false;
    }
    ed_clip_bounds(&s->a, &s->b, p->params[0], bound[0], bound[1]);
    return true;
}

static int map_plan(ed_kernel_plan *p)
{
    const char *type = p->nodes[0]->op_type;
    map_state now = { .map = ED_MAP_RELU };
    if (p->types[p->nodes[0]->in[0]].dtype != ED_F32)
        return ed_plan_refuse(p, "not float32");
    for (size_t i = 0; i < ED_LENGTH(functions); i++)
        if (strcmp(type, functions[i].type) == 0)
            now.map = functions[i].map;
    if (now.map == ED_MAP_LEAKY_RELU || now.map == ED_MAP_HARD_SIGMOID || now.map == ED_MAP_ELU) {
        const ed_activation_params *a = p->params[0];
        now.a = a->alpha;
        now.b = a->beta;
    }
    if (now.map == ED_MAP_CLIP && !clip_bounds(&now, p))
        return ed_plan_refuse(p, "the bounds are not constant");
    if (now.map == ED_MAP_GELU &&
        ((const ed_gelu_params *)p->params[0])->approximate == ED_GELU_TANH)
        now.map = ED_MAP_GELU_TANH;
    return take_map(p, &now);
}

/* ---- Pow of a constant exponent ---- */
static const struct {
    double exponent;
    enum ed_cuda_map map;
} powers[] = {
    { 2, ED_MAP_SQUARE },
    { 3, ED_MAP_CUBE },
    { 0.5, ED_MAP_ROOT_POWER },
    { -1, ED_MAP_RECIPROCAL },
};

int ed_cuda_power_plan(ed_kernel_plan *p)
{
    ed_id x = p->nodes[0]->in[0];
    const ed_tensor *exponent = p->constants[p->nodes[0]->in[1]];
    if (p->types[x].dtype != ED_F32)
        return ed_plan_refuse(p, "not float32");
    if (exponent && exponent->numel == 1 && exponent->shape.rank <= p->types[x].shape.rank)
        for (size_t i = 0; i < ED_LENGTH(powers); i++)
            if (ed_tensor_get_f64(exponent, 0) == powers[i].exponent)
                return take_map(p, &(map_state){ .map = powers[i].map });
    return ed_plan_refuse(p, "the exponent is not a constant 2, 3, 1/2 or -1");
}

int ed_cuda_power_run(const ed_call *call)
{
    return map_run(call);
}

void ed_cuda_power_free(void *state)
{
    map_free(state);
}

/* ---- Neg and Abs of signed integers, Not ---- */
typedef struct integer_state {
    enum ed_cuda_integer_map map;
    ed_dtype dtype;
} integer_state;

static int integer_plan(ed_kernel_plan *p)
{
    const char *type = p->nodes[0]->op_type;
    ed_dtype dtype = p->types[p->nodes[0]->in[0]].dtype;
    bool is_signed = dtype == ED_I8 || dtype == ED_I16 || dtype == ED_I32 || dtype == ED_I64;
    integer_state *s, now = { .dtype = dtype };
    if (is_signed && strcmp(type, "Neg") == 0)
        now.map = ED_INTEGER_NEG;
    else if (is_signed && strcmp(type, "Abs") == 0)
        now.map = ED_INTEGER_ABS;
    else if (dtype == ED_BOOL && strcmp(type, "Not") == 0)
        now.map = ED_INTEGER_NOT;
    else
        return ed_plan_refuse(p, "integers of this type");
    s = ed_malloc(sizeof *s);
    if (!s)
        return ED_ENOMEM;
    *s = now;
    return ed_cuda_take_plain(p, s);
}

static int integer_run(const ed_call *call)
{
    const integer_state *s = call->state;
    ED_CUDA_TRY(ed_cuda_map_integers(s->map, (int)s->dtype, call->out[0]->data, call->in[0]->data,
                                     call->out[0]->numel, ed_cuda_of(call)->stream),
                "the kernel of a function of integers");
    return ED_OK;
}

static void integer_free(void *state)
{
    ed_free(state);
}

/* ---- the table ---- */
#define OP_ROW(type, unused)                                                                       \
    { type, NULL, { ED_CUDA_ROW(ed_cuda_chain), ED_CUDA_ROW(map), ED_CUDA_ROW(integer) } },
const ed_cuda_op ed_cuda_unary_ops[] = {
    FUNCTIONS(OP_ROW){ "Not", NULL, { ED_CUDA_ROW(integer) } },
    { 0 },
};
