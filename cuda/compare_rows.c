/*
 * Comparisons, logic and Where with numpy broadcasting, Cast: row-major, with integers and truth
 * values as they are.
 */
#include "kernels.h"
#include "rows.h"
#include "walk.h"

#include <string.h>

/* Output, then the inputs: all broadcast to the output's shape. */
static void walk_of(ed_walk *w, const ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_shape *y = &p->types[ed_plan_output(p, 1)].shape;
    ed_cuda_walk_begin(w, y);
    ed_cuda_walk_operand(w, y, ED_LAYOUT_PLAIN);
    for (uint32_t i = 0; i < node->n_in; i++)
        ed_cuda_walk_operand(w, &p->types[node->in[i]].shape, ED_LAYOUT_PLAIN);
    ed_cuda_walk_fold(w);
}

/* ---- comparisons and logic ---- */
#define COMPARISONS(ROW)                                                                           \
    ROW("Equal", ED_COMPARE_EQUAL)                                                                 \
    ROW("Greater", ED_COMPARE_GREATER)                                                             \
    ROW("Less", ED_COMPARE_LESS)                                                                   \
    ROW("GreaterOrEqual", ED_COMPARE_GREATER_EQUAL)                                                \
    ROW("LessOrEqual", ED_COMPARE_LESS_EQUAL)                                                      \
    ROW("And", ED_COMPARE_AND)                                                                     \
    ROW("Or", ED_COMPARE_OR)                                                                       \
    ROW("Xor", ED_COMPARE_XOR)

#define COMPARISON_ROW(type, compare) { type, compare },
static const struct {
    const char *type;
    enum ed_cuda_compare compare;
} comparisons[] = { COMPARISONS(COMPARISON_ROW) };

typedef struct compare_state {
    enum ed_cuda_compare compare;
    ed_dtype dtype; /* of the operands */
    ed_walk walk;
} compare_state;

static int compare_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    ed_dtype dtype = p->types[node->in[0]].dtype;
    if (dtype != ED_F32 && dtype != ED_I32 && dtype != ED_I64 && dtype != ED_U8 && dtype != ED_BOOL)
        return ed_plan_refuse(p, "integers of this type");
    compare_state *s = ed_calloc(1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    for (size_t i = 0; i < ED_LENGTH(comparisons); i++)
        if (strcmp(comparisons[i].type, node->op_type) == 0)
            s->compare = comparisons[i].compare;
    s->dtype = dtype;
    walk_of(&s->walk, p);
    return ed_cuda_take_plain(p, s);
}

static int compare_run(const ed_call *call)
{
    const compare_state *s = call->state;
    ED_CUDA_TRY(ed_cuda_compare(s->compare, (int)s->dtype, call->out[0]->data, call->in[0]->data,
                                call->in[1]->data, &s->walk, ed_cuda_of(call)->stream),
                "the kernel of a comparison");
    return ED_OK;
}

static void compare_free(void *state)
{
    ed_free(state);
}

/* ---- Where ---- */
static int where_plan(ed_kernel_plan *p)
{
    ed_walk *walk = ed_malloc(sizeof *walk);
    if (!walk)
        return ED_ENOMEM;
    walk_of(walk, p);
    return ed_cuda_take_plain(p, walk);
}

static int where_run(const ed_call *call)
{
    int size = (int)ed_dtype_bits(call->out[0]->dtype) / 8;
    ED_CUDA_TRY(ed_cuda_select(size, call->out[0]->data, call->in[0]->data, call->in[1]->data,
                               call->in[2]->data, call->state, ed_cuda_of(call)->stream),
                "the kernel of Where");
    return ED_OK;
}

static void where_free(void *state)
{
    ed_free(state);
}

/* ---- Cast ---- */
static int cast_plan(ed_kernel_plan *p)
{
    ed_dtype from = p->types[p->nodes[0]->in[0]].dtype, to = p->types[ed_plan_output(p, 1)].dtype;
    if (ed_dtype_bits(from) < 8 || ed_dtype_bits(to) < 8)
        return ed_plan_refuse(p, "integers of 4 bits");
    return ed_cuda_take_plain(p, NULL);
}

static int cast_run(const ed_call *call)
{
    const ed_tensor *x = call->in[0], *y = call->out[0];
    cudaStream_t stream = ed_cuda_of(call)->stream;
    if (x->dtype != y->dtype)
        ED_CUDA_TRY(ed_cuda_cast(y->data, (int)y->dtype, x->data, (int)x->dtype, y->numel, stream),
                    "the kernel of Cast");
    else if (y->nbytes)
        ED_CUDA_TRY(cudaMemcpyAsync(y->data, x->data, y->nbytes, cudaMemcpyDeviceToDevice, stream),
                    "a copy");
    return ED_OK;
}

static void cast_free(void *state)
{
    (void)state;
}

/* ---- the table ---- */
#define OP_ROW(type, unused) { type, NULL, { ED_CUDA_ROW(compare) } },
const ed_cuda_op ed_cuda_compare_ops[] = {
    COMPARISONS(OP_ROW){ "Where", NULL, { ED_CUDA_ROW(where) } },
    { "Cast", NULL, { ED_CUDA_ROW(cast) } },
    { "CastLike", NULL, { ED_CUDA_ROW(cast) } },
    { 0 },
};

#define SAME_NUMBER(a, b)                                                                          \
    _Static_assert((int)(a) == (int)(b), "elementwise.h must number its types and posts alike")
SAME_NUMBER(ED_CUDA_F32, ED_F32);
SAME_NUMBER(ED_CUDA_F64, ED_F64);
SAME_NUMBER(ED_CUDA_F16, ED_F16);
SAME_NUMBER(ED_CUDA_BF16, ED_BF16);
SAME_NUMBER(ED_CUDA_I8, ED_I8);
SAME_NUMBER(ED_CUDA_U8, ED_U8);
SAME_NUMBER(ED_CUDA_I16, ED_I16);
SAME_NUMBER(ED_CUDA_U16, ED_U16);
SAME_NUMBER(ED_CUDA_I32, ED_I32);
SAME_NUMBER(ED_CUDA_U32, ED_U32);
SAME_NUMBER(ED_CUDA_I64, ED_I64);
SAME_NUMBER(ED_CUDA_U64, ED_U64);
SAME_NUMBER(ED_CUDA_BOOL, ED_BOOL);
SAME_NUMBER(ED_CUDA_POST_RELU, ED_POST_RELU);
SAME_NUMBER(ED_CUDA_POST_CLIP, ED_POST_CLIP);
SAME_NUMBER(ED_CUDA_POST_LINEAR, ED_POST_LINEAR);
SAME_NUMBER(ED_CUDA_POST_SIGMOID, ED_POST_SIGMOID);
SAME_NUMBER(ED_CUDA_POST_TANH, ED_POST_TANH);
SAME_NUMBER(ED_CUDA_POST_SWISH, ED_POST_SWISH);
SAME_NUMBER(ED_CUDA_POST_HARDSWISH, ED_POST_HARDSWISH);
SAME_NUMBER(ED_CUDA_POST_GELU, ED_POST_GELU);
SAME_NUMBER(ED_CUDA_POST_GELU_TANH, ED_POST_GELU_TANH);
SAME_NUMBER(ED_CUDA_POST_SUM, ED_POST_SUM);
SAME_NUMBER(ED_CUDA_POST_ADD, ED_POST_ADD);
