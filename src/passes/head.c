/*
 * The linear head behind an average pool becomes a convolution, which fuses and runs like the
 * others.
 *
 *   Before  p = GlobalAveragePool | AveragePool | ReduceMean (x)   [N, C, 1, 1], or [N, C] from a
 *                                                                  ReduceMean with keepdims 0
 *           y = Gemm | MatMul, Add (Flatten | Reshape | Squeeze (p), W, b)
 *   After   y = Flatten(Conv(p, W as [O, C, 1, 1], b)); the ReduceMean has keepdims 1
 *
 *   Conditions  W and b are float32 constants; a ReduceMean without keepdims has no other reader.
 */
#include "passes/convert.h"

#include <string.h>

typedef struct head {
    ed_linear linear;
    ed_id pool;
} head;

static bool is_pool(const ed_node *node)
{
    return ed_node_is(node, "GlobalAveragePool") || ed_node_is(node, "AveragePool") ||
           ed_node_is(node, "ReduceMean");
}

static bool is_flat(const ed_node *node)
{
    return ed_node_is(node, "Flatten") || ed_node_is(node, "Reshape") ||
           ed_node_is(node, "Squeeze");
}

static bool find_head(head *h, const ed_graph *g, const ed_match *m)
{
    ed_id y = g->nodes[m->root].out[0];
    if (!ed_linear_of(g, y, &h->linear))
        return false;
    const ed_node *next = ed_only_reader(g, y);
    ed_linear with_bias;
    if (next && ed_linear_of(g, next->out[0], &with_bias) && with_bias.matmul == m->root)
        return false; /* the Add is the root */
    ed_id x = g->nodes[h->linear.matmul].in[0];
    const ed_node *node = ed_producer(g, x);
    int64_t channels = h->linear.weight->shape.dim[1 - h->linear.axis];
    bool flattened = is_flat(node);
    if (g->values[x].shape.rank != 2 || g->values[x].shape.dim[1] != channels)
        return false;
    if (flattened)
        node = ed_producer(g, node->in[0]);
    if (!is_pool(node))
        return false;
    h->pool = (ed_id)(node - g->nodes);
    const ed_shape *p = &g->values[node->out[0]].shape, *in = &g->values[node->in[0]].shape;
    if (flattened)
        return p->rank == 4 && p->dim[1] == channels && p->dim[2] == 1 && p->dim[3] == 1;
    return ed_node_is(node, "ReduceMean") && in->rank == 4 && in->dim[1] == channels &&
           in->dim[0] == p->dim[0] && !ed_node_int(node, "keepdims", 1) &&
           g->values[x].use_count == 1 && !g->values[x].is_output;
}

bool ed_linear_head_fits(const ed_graph *g, const ed_match *m)
{
    head h;
    return find_head(&h, g, m);
}

/* W as [O, C, 1, 1]. */
static int conv_weight(ed_tensor **out, const ed_linear *l)
{
    int64_t in = l->weight->shape.dim[1 - l->axis];
    ED_TRY(ed_tensor_new(out, ED_F32, &ED_SHAPE(l->channels, in, 1, 1)));
    const float *w = l->weight->data;
    float *y = (*out)->data;
    for (int64_t o = 0; o < l->channels; o++)
        for (int64_t c = 0; c < in; c++)
            y[o * in + c] = l->axis == 0 ? w[o * in + c] : w[c * l->channels + o];
    return ED_OK;
}

static int keep_plane(ed_graph *g, ed_id pool)
{
    ed_value *p = &g->values[g->nodes[pool].out[0]];
    if (p->shape.rank == 4)
        return ED_OK;
    p->shape = ED_SHAPE(p->shape.dim[0], p->shape.dim[1], 1, 1);
    return ed_node_set_int(g, pool, "keepdims", 1);
}

int ed_linear_head_convert(ed_graph *g, const ed_match *m)
{
    head h;
    find_head(&h, g, m);
    const ed_node old = g->nodes[h.linear.matmul], root = g->nodes[m->root];
    const char *name = g->values[root.out[0]].name;
    ed_id in[3] = { g->nodes[h.pool].out[0], ED_NONE, ED_NONE }, conv, flat, out;
    char stem[512];
    ed_tensor *w, *b = NULL;
    ED_TRY(conv_weight(&w, &h.linear));
    int rc = h.linear.bias ? ed_tensor_clone(&b, h.linear.bias) : ED_OK;
    if (rc != ED_OK) {
        ed_tensor_free(w);
        return rc;
    }
    snprintf(stem, sizeof stem, "%.490s_conv", g->values[old.in[1]].name);
    rc = ed_graph_add_constant_take(g, &in[1], stem, w);
    if (rc != ED_OK) {
        ed_tensor_free(b);
        return rc;
    }
    snprintf(stem, sizeof stem, "%.490s_conv_bias", g->values[old.in[1]].name);
    if (b)
        ED_TRY(ed_graph_add_constant_take(g, &in[2], stem, b));
    ED_TRY(keep_plane(g, h.pool));
    snprintf(stem, sizeof stem, "%.490s_plane", name);
    ED_TRY(ed_graph_add_fresh_value(g, &out, stem));
    ED_TRY(ed_graph_add_node(g, &conv, "Conv", old.name, in, b ? 3 : 2, &out, 1));
    ED_TRY(ed_node_set_ints(g, conv, "kernel_shape", (int64_t[]){ 1, 1 }, 2));
    g->values[out].dtype = ED_F32;
    g->values[out].shape = ED_SHAPE(g->values[in[0]].shape.dim[0], h.linear.channels, 1, 1);
    ed_graph_remove_node(g, m->root);
    if (h.linear.matmul != m->root)
        ed_graph_remove_node(g, h.linear.matmul);
    snprintf(stem, sizeof stem, "%.490s_Flatten", name);
    ED_TRY(ed_graph_add_node(g, &flat, "Flatten", stem, &out, 1, root.out, 1));
    return ed_node_set_int(g, flat, "axis", 1);
}
