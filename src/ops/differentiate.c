/*
 * Reverse-mode differentiation of a graph. From the loss backwards in topological order: when a
 * node is reached all readers of its outputs have contributed, so each gradient is complete.
 */
#include "ops/gradient.h"

#include <string.h>

typedef struct walk {
    ed_graph *graph;
    size_t n_values;  /* before any node was added */
    bool *reaches;    /* per value: depends on a wanted one */
    ed_id *gradients; /* per value: the sum so far, ED_NONE */
} walk;

static bool is_float(const ed_graph *graph, ed_id value)
{
    return graph->values[value].dtype == ED_F32;
}

/* Values that a wanted value has influence on. */
static void find_reach(walk *w, const ed_id *order, size_t count, const ed_id *wanted, size_t n)
{
    const ed_graph *graph = w->graph;
    for (size_t i = 0; i < n; i++)
        w->reaches[wanted[i]] = true;
    for (size_t k = 0; k < count; k++) {
        const ed_node *node = &graph->nodes[order[k]];
        bool any = false;
        for (uint32_t i = 0; i < node->n_in; i++)
            any = any || (node->in[i] != ED_NONE && w->reaches[node->in[i]]);
        for (uint32_t i = 0; any && i < node->n_out; i++)
            if (node->out[i] != ED_NONE && is_float(graph, node->out[i]))
                w->reaches[node->out[i]] = true;
    }
}

/* One more reader's contribution to the gradient of a value. */
static int contribute(walk *w, ed_grad *g, ed_id value, ed_id gradient)
{
    ed_id *sum = &w->gradients[value];
    if (!ed_shape_equal(ed_grad_shape(g, value), ed_grad_shape(g, gradient)))
        return ed_grad_fail(g, ED_EINTERNAL,
                            "its gradient of '%s' is of another shape; please report it with the "
                            "model",
                            w->graph->values[value].name);
    if (*sum == ED_NONE)
        *sum = gradient;
    else
        ED_TRY(ed_grad_binary(g, sum, "Add", *sum, gradient));
    return ED_OK;
}

static int ask_row(walk *w, ed_grad *g)
{
    if (!g->op->gradient)
        return ed_grad_fail(g, ED_EUNSUPPORTED,
                            "the operator %s has no gradient; freeze the parameters before it, or "
                            "cut the model behind it",
                            g->op->type);
    ED_TRY(g->op->gradient(g));
    for (uint32_t i = 0; i < g->n_in; i++)
        if (g->din[i] != ED_NONE)
            ED_TRY(contribute(w, g, g->in[i], g->din[i]));
    return ED_OK;
}

/* What the row sees; the lists are copies, since the graph's own may move. */
typedef struct lists {
    ed_id *in, *out, *dout, *din;
    bool *wanted;
    void *params;
} lists;

static int make_lists(lists *l, const walk *w, const ed_op *op, const ed_node *node)
{
    size_t n_in = node->n_in, n_out = node->n_out;
    *l = (lists){ ed_calloc(n_in, sizeof(ed_id)),  ed_calloc(n_out, sizeof(ed_id)),
                  ed_calloc(n_out, sizeof(ed_id)), ed_calloc(n_in, sizeof(ed_id)),
                  ed_calloc(n_in, sizeof(bool)),   ed_calloc(1, op->params_size) };
    if (!l->in || !l->out || !l->dout || !l->din || !l->wanted || !l->params)
        return ED_ENOMEM;
    for (size_t i = 0; i < n_in; i++) {
        l->in[i] = node->in[i];
        l->din[i] = ED_NONE;
        l->wanted[i] = node->in[i] != ED_NONE && w->reaches[node->in[i]];
    }
    for (size_t i = 0; i < n_out; i++) {
        l->out[i] = node->out[i];
        l->dout[i] = node->out[i] == ED_NONE ? ED_NONE : w->gradients[node->out[i]];
    }
    return ED_OK;
}

static void free_lists(lists *l)
{
    ed_free(l->in);
    ed_free(l->out);
    ed_free(l->dout);
    ed_free(l->din);
    ed_free(l->wanted);
    ed_free(l->params);
}

/* True when a gradient arrives at the node and something before it wants one. */
static bool lies_between(const walk *w, const ed_node *node)
{
    bool arrives = false, wanted = false;
    for (uint32_t i = 0; i < node->n_out; i++)
        arrives = arrives || (node->out[i] != ED_NONE && w->gradients[node->out[i]] != ED_NONE);
    for (uint32_t i = 0; i < node->n_in; i++)
        wanted = wanted || (node->in[i] != ED_NONE && w->reaches[node->in[i]]);
    return arrives && wanted;
}

static int step_back(walk *w, ed_id id)
{
    int rc = ED_OK;
    const ed_op *op;
    lists l = { 0 };
    const ed_node *node = &w->graph->nodes[id];
    if (!lies_between(w, node))
        return ED_OK;
    ED_TRY(ed_op_find(&op, w->graph, node));
    ED_GOTO(make_lists(&l, w, op, node));
    ED_GOTO(ed_op_params(op, w->graph, node, l.params));
    ed_grad g = { .graph = w->graph,
                  .op = op,
                  .params = l.params,
                  .node = id,
                  .n_in = node->n_in,
                  .n_out = node->n_out,
                  .in = l.in,
                  .out = l.out,
                  .dout = l.dout,
                  .wanted = l.wanted,
                  .din = l.din };
    ED_GOTO(ask_row(w, &g));
done:
    free_lists(&l);
    return rc;
}

/* d loss / d loss */
static int begin(walk *w, ed_id loss)
{
    const ed_value *v = &w->graph->values[loss];
    ed_tensor *one;
    int64_t numel = 0;
    ED_FAIL_IF(v->dtype != ED_F32 || ed_shape_numel(&numel, &v->shape) != ED_OK || numel != 1,
               ED_ESHAPE, "the loss '%s' must be one float32 number of known shape", v->name);
    ED_TRY(ed_tensor_new(&one, ED_F32, &v->shape));
    *(float *)one->data = 1.0f;
    return ed_graph_add_constant_take(w->graph, &w->gradients[loss], "one", one);
}

int ed_graph_differentiate(ed_graph *graph, ed_id loss, const ed_id *wanted, size_t n, ed_id *grads)
{
    int rc = ED_OK;
    ed_id *order = NULL;
    size_t count = 0;
    walk w = { graph, graph->n_values, ed_calloc(graph->n_values, sizeof(bool)),
               ed_malloc(graph->n_values * sizeof(ed_id)) };
    if (!w.reaches || !w.gradients)
        ED_GOTO(ED_ENOMEM);
    for (size_t v = 0; v < w.n_values; v++)
        w.gradients[v] = ED_NONE;
    ED_GOTO(ed_graph_topological(graph, &order, &count));
    find_reach(&w, order, count, wanted, n);
    ED_GOTO(begin(&w, loss));
    while (count--)
        ED_GOTO(step_back(&w, order[count]));
    for (size_t i = 0; i < n; i++)
        grads[i] = w.gradients[wanted[i]];
done:
    ed_free(order);
    ed_free(w.reaches);
    ed_free(w.gradients);
    return rc;
}
