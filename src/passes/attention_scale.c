/*
 * The scale of attention moves into the projection of Q.
 *
 *   Before  Softmax((a Q)(b K) c + mask), a, b, c constant numbers that multiply or divide, in any
 *           of these places, also before a Reshape or Transpose of Q or K
 *   After   Q's linear layer has its weight and bias times a b c: nothing stands between the
 *           quantized Q and K and their product. Where Q comes from no linear layer (or others read
 *           it too): one Mul on Q, before its place of quantization
 *
 *   Conditions  the product of two activations leads to a Softmax.
 */
#include "passes/convert.h"

enum { MAX_SCALES = 8, MAX_STEPS = 12 };

typedef struct scales {
    ed_id node[MAX_SCALES];    /* Mul or Div */
    uint32_t data[MAX_SCALES]; /* its input that is not the number */
    int n;
    double factor;
} scales;

static bool take_scale(scales *s, const ed_graph *g, const ed_node *node)
{
    bool mul = ed_node_is(node, "Mul"), div = ed_node_is(node, "Div");
    for (uint32_t i = 0; (mul || div) && i < 2; i++) {
        double number;
        const ed_tensor *t = ed_node_constant(g, node, i);
        if ((div && i == 0) || !ed_scalar_input(g, node, i, &number) || number == 0 ||
            s->n == MAX_SCALES || t->shape.rank > g->values[node->out[0]].shape.rank)
            continue;
        int from = g->values[node->in[1 - i]].shape.rank;
        if (t->shape.rank > from)
            continue; /* it would change the rank */
        s->node[s->n] = (ed_id)(node - g->nodes);
        s->data[s->n++] = 1 - i;
        s->factor *= div ? 1 / number : number;
        return true;
    }
    return false;
}

static bool is_plain_move(const ed_node *node)
{
    return ed_node_is(node, "Reshape") || ed_node_is(node, "Transpose") ||
           ed_node_is(node, "Squeeze") || ed_node_is(node, "Unsqueeze");
}

/* Up from an operand: scales on the way; the value where moves and scales begin. */
static ed_id walk_up(scales *s, const ed_graph *g, ed_id value)
{
    for (int step = 0; step < MAX_STEPS; step++) {
        const ed_node *node = ed_producer(g, value);
        if (!node || !ed_only_reader(g, value))
            break;
        if (take_scale(s, g, node))
            value = node->in[s->data[s->n - 1]];
        else if (is_plain_move(node))
            value = node->in[0];
        else
            break;
    }
    return value;
}

ed_id ed_attention_softmax(const ed_graph *g, ed_id scores)
{
    static const char *const between[] = { "Mul", "Div", "Add", "Reshape", "Where" };
    for (int step = 0; step < 8; step++) {
        const ed_node *node = ed_only_reader(g, scores);
        if (!node)
            return ED_NONE;
        if (ed_node_is(node, "Softmax"))
            return (ed_id)(node - g->nodes);
        bool passes = false;
        for (size_t i = 0; i < ED_LENGTH(between); i++)
            passes = passes || ed_node_is(node, between[i]);
        if (!passes)
            return ED_NONE;
        scores = node->out[0];
    }
    return ED_NONE;
}

/* All scales around the scores, and where Q begins. */
static bool find(scales *s, ed_id *q, const ed_graph *g, ed_id root)
{
    const ed_node *node = &g->nodes[root];
    *s = (scales){ .factor = 1 };
    *q = node->in[0];
    if (ed_node_constant(g, node, 0) || ed_node_constant(g, node, 1) ||
        ed_attention_softmax(g, node->out[0]) == ED_NONE)
        return false;
    for (const ed_node *next = ed_only_reader(g, node->out[0]); next && take_scale(s, g, next);)
        next = ed_only_reader(g, next->out[0]);
    if (node->in[0] != node->in[1])
        walk_up(s, g, node->in[1]);
    *q = walk_up(s, g, node->in[0]);
    return s->n > 0;
}

static bool folds(const ed_graph *g, ed_id q)
{
    ed_linear l;
    return ed_only_reader(g, q) && ed_linear_of(g, q, &l);
}

bool ed_attention_scale_fits(const ed_graph *g, const ed_match *m)
{
    scales s;
    ed_id q;
    if (!find(&s, &q, g, m->root))
        return false;
    bool settled = s.n == 1 && g->nodes[s.node[0]].out[0] == g->nodes[m->root].in[0] &&
                   ed_node_is(&g->nodes[s.node[0]], "Mul");
    return folds(g, q) || !settled;
}

int ed_attention_scale_move(ed_graph *g, const ed_match *m)
{
    scales s;
    ed_id q, in[2], out;
    find(&s, &q, g, m->root);
    bool fold = folds(g, q);
    for (int i = 0; i < s.n; i++) {
        const ed_node *node = &g->nodes[s.node[i]];
        ED_TRY(ed_graph_replace_value(g, node->out[0], node->in[s.data[i]]));
        ed_graph_remove_node(g, s.node[i]);
    }
    if (fold) {
        ed_linear l;
        ed_linear_of(g, q, &l);
        return ed_linear_scale(g, &l, s.factor);
    }
    in[0] = g->nodes[m->root].in[0];
    ED_TRY(ed_build_f32(g, &in[1], "attention_scale", (float)s.factor));
    ED_TRY(ed_build_node(g, NULL, &out, "Mul", g->values[in[0]].name, in, 2));
    g->values[out].shape = g->values[in[0]].shape;
    g->values[out].dtype = ED_F32;
    return ed_node_set_input(g, m->root, 0, out);
}
