/*
 * A decomposed LayerNormalization becomes the operator.
 *
 *   Before  d = x - ReduceMean(x);  y = d / Sqrt(ReduceMean(d ^ 2) + epsilon) * w + b
 *           over the last axis, with keepdims; d ^ 2 as Pow(d, 2) or Mul(d, d)
 *   After   y = LayerNormalization(x, w, b)
 *
 *   Conditions  opset 17 or later; w and b are float32 vectors of the last axis; inner values have
 *               no other reader.
 */
#include "passes/convert.h"

typedef struct norm {
    ed_id x, w, b;
    ed_id nodes[9]; /* what goes, readers before producers */
    int n;
    float epsilon;
} norm;

static const ed_node *take(norm *s, const ed_graph *g, ed_id value, const char *op, size_t readers)
{
    const ed_node *node = ed_producer(g, value);
    if (!ed_node_is(node, op) || g->values[value].is_output ||
        g->values[value].use_count != readers)
        return NULL;
    s->nodes[s->n++] = (ed_id)(node - g->nodes);
    return node;
}

static bool is_last_axis_mean(const ed_graph *g, const ed_node *mean)
{
    const ed_shape *x = &g->values[mean->in[0]].shape;
    const ed_attr *a = ed_node_attr(mean, "axes");
    const ed_tensor *t = ed_node_constant(g, mean, 1);
    if (x->rank < 1 || !ed_node_int(mean, "keepdims", 1) ||
        (a ? a->type != ED_ATTR_INTS || a->count != 1 : !t || t->numel != 1))
        return false;
    int64_t axis = a ? a->ints[0] : ed_tensor_get_i64(t, 0);
    return axis == -1 || axis == x->rank - 1;
}

static bool is_vector(const ed_graph *g, ed_id value, int64_t size)
{
    const ed_tensor *t = g->values[value].constant;
    return t && t->dtype == ED_F32 && t->shape.rank == 1 && t->numel == size;
}

/* The operand of a Mul or Add that is a vector over the last axis: 0 or 1; -1. */
static int vector_operand(const ed_graph *g, const ed_node *node)
{
    const ed_shape *y = &g->values[node->out[0]].shape;
    for (int i = 0; i < 2; i++)
        if (y->rank > 0 && is_vector(g, node->in[i], y->dim[y->rank - 1]))
            return i;
    return -1;
}

/* d * d; readers counts the inputs of this node that are d. */
static ed_id squared(norm *s, const ed_graph *g, ed_id value, size_t *readers)
{
    double two;
    const ed_node *node = ed_producer(g, value);
    bool pow = ed_node_is(node, "Pow");
    if (!take(s, g, value, pow ? "Pow" : "Mul", 1) ||
        (pow ? !ed_scalar_input(g, node, 1, &two) || two != 2 : node->in[0] != node->in[1]))
        return ED_NONE;
    *readers = pow ? 1 : 2;
    return node->in[0];
}

static bool find(norm *s, const ed_graph *g, ed_id root)
{
    const ed_node *add = &g->nodes[root], *mul, *div, *root2, *plus, *mean, *sub, *mean2;
    double epsilon = 0;
    size_t readers = 0;
    int b = vector_operand(g, add), w, e;
    *s = (norm){ .n = 0 };
    if (ed_graph_opset(g, "") < 17 || b < 0 || !(mul = take(s, g, add->in[1 - b], "Mul", 1)) ||
        (w = vector_operand(g, mul)) < 0 || !(div = take(s, g, mul->in[1 - w], "Div", 1)) ||
        !(root2 = take(s, g, div->in[1], "Sqrt", 1)) ||
        !(plus = take(s, g, root2->in[0], "Add", 1)))
        return false;
    e = ed_scalar_input(g, plus, 0, &epsilon) ? 0 : ed_scalar_input(g, plus, 1, &epsilon) ? 1 : -1;
    if (e < 0 || !(mean = take(s, g, plus->in[1 - e], "ReduceMean", 1)) ||
        !is_last_axis_mean(g, mean) || squared(s, g, mean->in[0], &readers) != div->in[0] ||
        !(sub = take(s, g, div->in[0], "Sub", readers + 1)) ||
        !(mean2 = take(s, g, sub->in[1], "ReduceMean", 1)) || !is_last_axis_mean(g, mean2))
        return false;
    s->x = sub->in[0];
    s->w = mul->in[w];
    s->b = add->in[b];
    s->epsilon = (float)epsilon;
    return mean2->in[0] == s->x;
}

bool ed_decomposed_norm_fits(const ed_graph *g, const ed_match *m)
{
    norm s;
    return find(&s, g, m->root);
}

int ed_decomposed_norm_join(ed_graph *g, const ed_match *m)
{
    norm s;
    const ed_node old = g->nodes[m->root];
    ed_id node;
    find(&s, g, m->root);
    ed_graph_remove_node(g, m->root);
    for (int i = 0; i < s.n; i++)
        ed_graph_remove_node(g, s.nodes[i]);
    ED_TRY(ed_graph_add_node(g, &node, "LayerNormalization", old.name, (ed_id[]){ s.x, s.w, s.b },
                             3, old.out, 1));
    ED_TRY(ed_node_set_int(g, node, "axis", -1));
    return ed_node_set_float(g, node, "epsilon", s.epsilon);
}
