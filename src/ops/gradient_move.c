/* Nodes that move elements and multiply matrices, as gradients need them; see gradient.h. */
#include "ops/gradient.h"

#include <string.h>

int ed_gradient_reshape(ed_grad *g)
{
    ed_id dx;
    const ed_shape shape = *ed_grad_shape(g, g->in[0]);
    ED_TRY(ed_grad_reshape(g, &dx, ed_grad_dy(g), &shape));
    return ed_grad_give(g, 0, dx);
}

int ed_grad_zeros(ed_grad *g, ed_id *out, const ed_shape *shape)
{
    ed_tensor *zeros;
    ED_TRY(ed_tensor_new(&zeros, ED_F32, shape));
    return ed_graph_add_constant_take(g->graph, out, "zeros", zeros);
}

int ed_grad_empty(ed_grad *g, uint32_t i, bool *empty)
{
    const ed_shape dy = *ed_grad_shape(g, ed_grad_dy(g)), x = *ed_grad_shape(g, g->in[i]);
    ed_id zeros;
    *empty = false;
    for (int d = 0; d < dy.rank; d++)
        *empty = *empty || dy.dim[d] == 0;
    if (!*empty)
        return ED_OK;
    ED_TRY(ed_grad_zeros(g, &zeros, &x));
    return ed_grad_give(g, i, zeros);
}

int ed_grad_product(ed_grad *g, ed_id *out, ed_id a, bool trans_a, ed_id b, bool trans_b)
{
    /* before opset 11 Gemm requires C, which beta 0 leaves unread */
    const bool addend = ed_graph_opset(g->graph, "") < 11;
    const ed_attr attrs[] = { { .name = "transA", .type = ED_ATTR_INT, .i = trans_a },
                              { .name = "transB", .type = ED_ATTR_INT, .i = trans_b },
                              { .name = addend ? "beta" : NULL, .type = ED_ATTR_FLOAT, .f = 0.0f },
                              { 0 } };
    ed_id in[3] = { a, b, ED_NONE };
    if (addend)
        ED_TRY(ed_grad_zeros(g, &in[2], &ED_SHAPE(1)));
    return ed_grad_emit_node(g, out, 1, "Gemm", in, addend ? 3 : 2, attrs);
}

int ed_grad_slice(ed_grad *g, ed_id *out, ed_id x, int axis, int64_t begin, int64_t end)
{
    const int64_t at = axis;
    const ed_attr attrs[] = {
        { .name = "axes", .type = ED_ATTR_INTS, .ints = &at, .count = 1 },
        { .name = "starts", .type = ED_ATTR_INTS, .ints = &begin, .count = 1 },
        { .name = "ends", .type = ED_ATTR_INTS, .ints = &end, .count = 1 },
        { 0 },
    };
    ed_id in[4] = { x };
    if (ed_graph_opset(g->graph, "") < 10)
        return ed_grad_emit_node(g, out, 1, "Slice", in, 1, attrs);
    ED_TRY(ed_grad_i64(g, &in[1], &begin, 1));
    ED_TRY(ed_grad_i64(g, &in[2], &end, 1));
    ED_TRY(ed_grad_i64(g, &in[3], &at, 1));
    return ed_grad_emit(g, out, "Slice", in, 4);
}

int ed_grad_pad(ed_grad *g, ed_id *out, ed_id x, const int64_t *begin, const int64_t *end)
{
    int64_t pads[2 * ED_MAX_RANK];
    size_t rank = (size_t)ed_grad_shape(g, x)->rank;
    const ed_attr attrs[] = {
        { .name = "pads", .type = ED_ATTR_INTS, .ints = pads, .count = 2 * rank }, { 0 }
    };
    ed_id in[2] = { x };
    bool any = false;
    for (size_t i = 0; i < rank; i++) {
        any = any || begin[i] != 0 || end[i] != 0;
        pads[i] = begin[i];
        pads[rank + i] = end[i];
    }
    *out = x;
    if (!any)
        return ED_OK;
    if (ed_graph_opset(g->graph, "") < 11)
        return ed_grad_emit_node(g, out, 1, "Pad", in, 1, attrs);
    ED_TRY(ed_grad_i64(g, &in[1], pads, 2 * rank));
    return ed_grad_emit(g, out, "Pad", in, 2);
}
