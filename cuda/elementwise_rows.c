/*
 * Arithmetic on two and more tensors with numpy broadcasting: Add, Sub, Mul, Div, Mod, Min, Max,
 * Sum, PRelu and Pow.
 *
 * The first row takes two tensors of float32 in the format of the operand that has the output's
 * shape; an operand that repeats is read from where it lies. The second one takes what is left,
 * row-major: int32 and int64, functions of float32 that are rare, and other numbers of tensors.
 */
#include "elementwise_rows.h"
#include "kernels.h"
#include "walk.h"

#include <string.h>

/* The operators; true: the first row runs it. */
#define FUNCTIONS(ROW)                                                                             \
    ROW("Add", ED_BINARY_ADD, true)                                                                \
    ROW("Sub", ED_BINARY_SUB, true)                                                                \
    ROW("Mul", ED_BINARY_MUL, true)                                                                \
    ROW("Div", ED_BINARY_DIV, true)                                                                \
    ROW("Sum", ED_BINARY_ADD, true)                                                                \
    ROW("Min", ED_BINARY_MIN, true)                                                                \
    ROW("Max", ED_BINARY_MAX, true)                                                                \
    ROW("PRelu", ED_BINARY_PRELU, true)                                                            \
    ROW("Mod", ED_BINARY_MOD, false)

#define FUNCTION_ROW(type, binary, formats) { type, binary, formats },
static const struct {
    const char *type;
    enum ed_cuda_binary binary;
    bool formats;
} functions[] = { FUNCTIONS(FUNCTION_ROW){ "Pow", ED_BINARY_POW, false } };

/* The operator is one of them: the table below has no other. */
static size_t find_function(const ed_kernel_plan *p)
{
    size_t i = 0;
    while (strcmp(functions[i].type, p->nodes[0]->op_type) != 0)
        i++;
    return i;
}

static const ed_shape *output_shape(const ed_kernel_plan *p)
{
    return &p->types[ed_plan_output(p, 1)].shape;
}

static bool is_bf16(ed_layout layout)
{
    return ed_layout_element(layout) == 2;
}

static bool same_order(ed_layout a, ed_layout b)
{
    return ed_layout_with_bf16(a, false) == ed_layout_with_bf16(b, false);
}

/* ---- two tensors of float32 in any format ---- */
typedef struct binary_state {
    enum ed_cuda_binary binary;
    bool a_b16, b_b16;
    ed_walk walk; /* y, a, b */
} binary_state;

static int binary_run(const ed_call *call)
{
    const binary_state *s = call->state;
    ED_CUDA_TRY(ed_cuda_binary(s->binary, call->out[0]->data, call->in[0]->data, s->a_b16,
                               call->in[1]->data, s->b_b16, &s->walk, ed_cuda_of(call)->stream),
                "the kernel of arithmetic on two tensors");
    return ED_OK;
}

static void binary_free(void *state)
{
    ed_free(state);
}

/* An operand that is as large as the output and comes from another kernel. */
static bool is_main(const ed_kernel_plan *p, ed_id id, const ed_shape *y)
{
    return !p->constants[id] && ed_shape_equal(&p->types[id].shape, y);
}

ed_layout ed_cuda_output_layout(const ed_kernel_plan *p, const ed_shape *y, const ed_id *in,
                                uint32_t n)
{
    ed_layout layout = ED_LAYOUT_PLAIN;
    bool bf16 = false;
    for (uint32_t i = 0; i < n; i++) {
        if (!is_main(p, in[i], y))
            continue;
        if (same_order(layout, ED_LAYOUT_PLAIN))
            layout = p->layouts[in[i]];
        bf16 = bf16 || is_bf16(p->layouts[in[i]]);
    }
    return ed_layout_with_bf16(layout, bf16);
}

ed_layout ed_cuda_operand_layout(const ed_kernel_plan *p, const ed_shape *y, ed_id id,
                                 ed_layout out)
{
    ed_layout layout = p->layouts[id];
    if (is_main(p, id, y))
        layout = ed_layout_with_bf16(out, is_bf16(layout));
    return ed_layout_with_bf16(layout, is_bf16(layout) && is_bf16(out));
}

static int binary_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    size_t f = find_function(p);
    if (node->n_in != 2 || !functions[f].formats)
        return ed_plan_refuse(p, "not two tensors, or a rare function");
    if (p->types[node->in[0]].dtype != ED_F32)
        return ed_plan_refuse(p, "not float32");
    ed_layout out = ed_cuda_output_layout(p, output_shape(p), node->in, 2);
    binary_state *s = ed_calloc(1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    s->binary = functions[f].binary;
    ed_cuda_walk_begin(&s->walk, output_shape(p));
    ed_cuda_walk_operand(&s->walk, output_shape(p), out);
    p->n_in = 2;
    for (uint32_t i = 0; i < 2; i++) {
        ed_id id = node->in[i], other = node->in[1 - i];
        p->in[i] = id;
        p->in_layout[i] = ed_cuda_operand_layout(p, output_shape(p), id, out);
        ed_cuda_walk_operand(&s->walk, &p->types[id].shape, p->in_layout[i]);
        if (is_main(p, id, output_shape(p)) && p->in_layout[i] == out && ed_plan_dies(p, id, 1) &&
            ed_plan_memory(p, id) != ed_plan_memory(p, other))
            p->inplace = (int)i;
    }
    s->a_b16 = is_bf16(p->in_layout[0]);
    s->b_b16 = is_bf16(p->in_layout[1]);
    ed_cuda_walk_fold(&s->walk);
    return ed_cuda_take(p, 1, out, s);
}

/* ---- any number of tensors of one type, row-major ---- */
typedef struct fold_state {
    enum ed_cuda_binary binary;
    ed_dtype dtype;
    float *exponent; /* of Pow, on the device, when it is made of integers */
    uint32_t steps;  /* y = f(in[0], in[1]), y = f(y, in[2]), ...; 0: y = in[0] */
    ed_walk walk[];  /* y, a, b of each */
} fold_state;

static int fold_step(const fold_state *s, uint32_t i, const ed_call *call)
{
    void *y = call->out[0]->data, *a = i == 0 ? call->in[0]->data : y;
    void *b = s->exponent ? s->exponent : call->in[i + 1]->data;
    ed_stream stream = ed_cuda_of(call)->stream;
    if (s->dtype != ED_F32)
        return ed_cuda_binary_integers(s->binary, (int)s->dtype, y, a, b, &s->walk[i], stream);
    return ed_cuda_binary(s->binary, y, a, false, b, false, &s->walk[i], stream);
}

static int fold_run(const ed_call *call)
{
    const fold_state *s = call->state;
    if (!s->steps && call->out[0]->nbytes)
        ED_CUDA_TRY(cudaMemcpyAsync(call->out[0]->data, call->in[0]->data, call->out[0]->nbytes,
                                    cudaMemcpyDeviceToDevice, ed_cuda_of(call)->stream),
                    "a copy");
    for (uint32_t i = 0; i < s->steps; i++)
        ED_CUDA_TRY(fold_step(s, i, call), "the kernel of arithmetic on tensors");
    return ED_OK;
}

static void fold_free(void *state)
{
    fold_state *s = state;
    if (!s)
        return;
    cudaFree(s->exponent);
    ed_free(s);
}

/* A constant of any type as floats on the device. */
static int upload_floats(float **out, const ed_tensor *t)
{
    int rc = ED_OK;
    void *device = NULL;
    float *host = ed_malloc((size_t)t->numel * sizeof *host + 1);
    if (!host)
        return ED_ENOMEM;
    for (int64_t i = 0; i < t->numel; i++)
        host[i] = (float)ed_tensor_get_f64(t, i);
    if (t->numel)
        rc = ed_cuda_upload(&device, host, (size_t)t->numel * sizeof *host);
    ed_free(host);
    *out = device;
    return rc;
}

static bool has_zero(const ed_tensor *t)
{
    for (int64_t i = 0; i < t->numel; i++)
        if (ed_tensor_get_i64(t, i) == 0)
            return true;
    return false;
}

/* Why the operands do not run here; NULL when they do. */
static const char *fold_refused(const ed_kernel_plan *p, enum ed_cuda_binary binary)
{
    const ed_node *node = p->nodes[0];
    ed_dtype dtype = p->types[node->in[0]].dtype;
    const ed_tensor *last = p->constants[node->in[node->n_in - 1]];
    bool divides = binary == ED_BINARY_DIV || binary == ED_BINARY_MOD;

    if (dtype != ED_F32 && dtype != ED_I32 && dtype != ED_I64)
        return "integers of this type";
    if (binary == ED_BINARY_POW && dtype != ED_F32)
        return "a power of integers";
    if (binary == ED_BINARY_POW && p->types[node->in[1]].dtype != ED_F32 && !last)
        return "the exponents are integers and not constant";
    if (divides && dtype != ED_F32 && (!last || has_zero(last)))
        return "the divisor is not constant, or 0"; /* which is an error that the host reports */
    return NULL;
}

static int fold_fill(fold_state *s, const ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_shape *y = output_shape(p);
    for (uint32_t i = 0; i < s->steps; i++) {
        ed_walk *w = &s->walk[i];
        ed_cuda_walk_begin(w, y);
        ed_cuda_walk_operand(w, y, ED_LAYOUT_PLAIN);
        ed_cuda_walk_operand(w, i == 0 ? &p->types[node->in[0]].shape : y, ED_LAYOUT_PLAIN);
        ed_cuda_walk_operand(w, &p->types[node->in[i + 1]].shape, ED_LAYOUT_PLAIN);
        ed_cuda_walk_fold(w);
    }
    if (s->binary == ED_BINARY_POW && p->types[node->in[1]].dtype != ED_F32)
        return upload_floats(&s->exponent, p->constants[node->in[1]]);
    return ED_OK;
}

static int fold_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_attr *fmod = ed_node_attr(node, "fmod");
    enum ed_cuda_binary binary = functions[find_function(p)].binary;
    const char *refused = fold_refused(p, binary);
    if (refused)
        return ed_plan_refuse(p, refused);
    fold_state *s = ed_calloc(1, sizeof *s + (node->n_in - 1) * sizeof s->walk[0]);
    if (!s)
        return ED_ENOMEM;
    s->binary = binary == ED_BINARY_MOD && fmod && fmod->i ? ED_BINARY_REMAINDER : binary;
    s->dtype = p->types[node->in[0]].dtype;
    s->steps = node->n_in - 1;
    int rc = fold_fill(s, p);
    if (rc != ED_OK) {
        fold_free(s);
        return rc;
    }
    return ed_cuda_take_plain(p, s);
}

/* ---- the table ---- */
#define OP_ROW(type, unused, formats)                                                              \
    { type, NULL, { ED_CUDA_ROW(ed_cuda_chain), ED_CUDA_ROW(binary), ED_CUDA_ROW(fold) } },
const ed_cuda_op ed_cuda_elementwise_ops[] = {
    FUNCTIONS(OP_ROW){
        "Pow",
        NULL,
        { ED_CUDA_ROW(ed_cuda_chain), ED_CUDA_ROW(ed_cuda_power), ED_CUDA_ROW(fold) } },
    { 0 },
};
