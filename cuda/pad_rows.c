/*
 * Row of Pad, all modes, in every layout; pads are constants, the value may be computed at run
 * time.
 */
#include "kernels.h"
#include "stored.h"

#include <string.h>

typedef struct pads {
    ed_cuda_padding padding;
    size_t width;
    bool value_at; /* the value is an input of run() */
} pads;

static const struct {
    const char *name;
    int mode;
} modes[] = {
    { "constant", ED_CUDA_PAD_CONSTANT },
    { "reflect", ED_CUDA_PAD_REFLECT },
    { "edge", ED_CUDA_PAD_EDGE },
    { "wrap", ED_CUDA_PAD_WRAP },
};

static int mode_of(const ed_node *node)
{
    const ed_attr *attr = ed_node_attr(node, "mode");
    for (size_t i = 0; attr && i < ED_LENGTH(modes); i++)
        if (strcmp(attr->s.data, modes[i].name) == 0)
            return modes[i].mode;
    return ED_CUDA_PAD_CONSTANT;
}

/* begin[] by dimension: input 1 for the axes of input 3 (all), before opset 11 an attribute. False
 * when it is no such list. */
static bool begins(int64_t *begin, const ed_kernel_plan *p, int rank)
{
    const ed_tensor *list = ed_cuda_constant(p, 1), *axes = ed_cuda_constant(p, 3);
    const ed_attr *attr = ed_node_attr(p->nodes[0], "pads");
    int64_t n = axes ? axes->numel : rank;
    int64_t count = list ? list->numel : p->nodes[0]->n_in == 1 && attr ? (int64_t)attr->count : -1;
    memset(begin, 0, ED_MAX_RANK * sizeof *begin);
    if (n > rank || count != 2 * n || (ed_node_in(p->nodes[0], 3) != ED_NONE && !axes))
        return false;
    for (int64_t i = 0; i < n; i++) {
        int64_t axis = axes ? ed_tensor_get_i64(axes, i) : i;
        begin[axis < 0 ? axis + rank : axis] = list ? ed_tensor_get_i64(list, i) : attr->ints[i];
    }
    return true;
}

/* Dimensions in the order of memory; neighbours without padding become one. */
static void fold(ed_cuda_padding *padding, const ed_shape *x, const ed_shape *y,
                 const int64_t *begin, ed_layout layout)
{
    bool nhwc = ed_cuda_is_nhwc(layout), before = false;
    for (int i = 0; i < x->rank; i++) {
        int d = !nhwc || i == 0 ? i : i == x->rank - 1 ? 1 : i + 1;
        bool whole = begin[d] == 0 && x->dim[d] == y->dim[d];
        int at = padding->rank - 1;
        if (whole && before) {
            padding->from[at] *= x->dim[d];
            padding->to[at] *= x->dim[d];
        } else {
            padding->from[++at] = x->dim[d];
            padding->to[at] = y->dim[d];
            padding->begin[at] = begin[d];
            padding->rank++;
        }
        before = whole;
    }
    if (padding->rank == 0) { /* a single number has no axis to pad */
        padding->from[0] = padding->to[0] = 1;
        padding->rank = 1;
    }
}

/* The constant as it is stored: input 2, before opset 11 an attribute, else 0. */
static int read_value(uint64_t *out, const ed_kernel_plan *p, ed_layout layout)
{
    const ed_node *node = p->nodes[0];
    const ed_attr *attr = node->n_in == 1 ? ed_node_attr(node, "value") : NULL;
    const ed_tensor *value = ed_cuda_constant(p, 2);
    float number = attr ? attr->f : 0;
    ed_tensor one, *half = NULL;
    if (!value && attr && p->types[node->in[0]].dtype == ED_F32) {
        ED_TRY(ed_tensor_view(&one, ED_F32, &ED_SHAPE_SCALAR, &number));
        value = &one;
    }
    *out = 0;
    if (!value)
        return ED_OK;
    if (value->dtype == ED_F32 && ed_layout_element(layout) == 2) {
        ED_TRY(ed_tensor_cast(&half, value, ED_BF16));
        value = half;
    }
    memcpy(out, value->data, ed_dtype_bits(value->dtype) / 8);
    ed_tensor_free(half);
    return ED_OK;
}

static int pad_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    ed_id x = node->in[0], value = ed_node_in(node, 2);
    const ed_shape *from = ed_cuda_shape(p, x);
    ed_layout lies = p->layouts[x];
    int64_t begin[ED_MAX_RANK];
    pads s = { .padding = { .mode = mode_of(node) }, .width = ed_cuda_width(p, x, lies) };
    if (!begins(begin, p, from->rank))
        return ed_plan_refuse(p, "the pads are computed at run time");
    if (value != ED_NONE &&
        (ed_cuda_numel(p, value) != 1 || p->types[value].dtype != p->types[x].dtype))
        return ed_plan_refuse(p, "the value is not one element of the input's type");
    fold(&s.padding, from, ed_cuda_shape(p, node->out[0]), begin, lies);
    s.value_at = value != ED_NONE && !p->constants[value];
    if (!s.value_at)
        ED_TRY(read_value(&s.padding.value, p, lies));
    pads *state = ed_malloc(sizeof *state);
    if (!state)
        return ED_ENOMEM;
    *state = s;
    ed_cuda_read(p, 0, lies);
    if (s.value_at)
        ed_cuda_read(p, 2, ed_cuda_row_major(lies));
    return ed_cuda_take(p, 1, lies, state);
}

static int pad_run(const ed_call *call)
{
    const pads *s = call->state;
    ED_CUDA_TRY(ed_cuda_pad(call->out[0]->data, call->in[0]->data, s->width, &s->padding,
                            s->value_at ? call->in[1]->data : NULL, ed_cuda_of(call)->stream),
                "the kernel of Pad");
    return ED_OK;
}

const ed_cuda_op ed_cuda_pad_ops[] = {
    { "Pad", NULL, { { "cuda", "cuda", pad_plan, pad_run, ed_free, NULL } } },
    { 0 },
};
