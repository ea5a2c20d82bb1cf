/*
 * Binding a graph to the shapes of a batch: nodes in topological order, each inferred; what reads
 * shapes alone, and integer arithmetic on constants behind it, is evaluated and becomes a constant,
 * so that a Reshape to a computed shape has a known one.
 */
#include "exec/training.h"

#include "ops/gradient.h"

#include <string.h>

typedef struct binding {
    ed_graph *graph;
    ed_type *types; /* per value */
    const ed_tensor **constants;
} binding;

static int set_inputs(binding *b, const ed_shape *shapes)
{
    ed_graph *g = b->graph;
    for (size_t i = 0; i < g->n_inputs; i++) {
        ed_value *v = &g->values[g->inputs[i]];
        ED_FAIL_IF(!ed_shape_known(&shapes[i]), ED_EINVAL,
                   "the input '%s' was given no known shape", v->name);
        v->shape = shapes[i];
    }
    for (size_t i = 0; i < g->n_values; i++) {
        const ed_value *v = &g->values[i];
        b->constants[i] = v->constant;
        if (v->constant)
            b->types[i] = (ed_type){ v->constant->dtype, v->constant->shape };
        else if (v->is_input)
            b->types[i] = (ed_type){ v->dtype, v->shape };
        else
            b->types[i] = (ed_type){ ED_DTYPE_NONE, ED_SHAPE_UNKNOWN };
    }
    return ED_OK;
}

static int infer(binding *b, const ed_op *op, const ed_node *node)
{
    int rc = ED_OK;
    void *params = ed_calloc(1, op->params_size);
    ed_type *out = ed_calloc(node->n_out, sizeof *out);
    if (!params || !out)
        ED_GOTO(ED_ENOMEM);
    ED_GOTO(ed_op_params(op, b->graph, node, params));
    ED_GOTO(ed_op_infer(op, b->graph, node, params, b->types, b->constants, out));
    for (uint32_t i = 0; i < node->n_out; i++) {
        if (node->out[i] == ED_NONE)
            continue;
        ed_value *v = &b->graph->values[node->out[i]];
        if (out[i].dtype == ED_DTYPE_NONE || !ed_shape_known(&out[i].shape))
            ED_GOTO(ed_error_set(ED_EUNSUPPORTED,
                                 "%s: the shape of its output '%s' does not follow from the "
                                 "model's inputs, so it cannot be trained; export the model with "
                                 "fixed shapes",
                                 ed_node_label(b->graph, node), v->name));
        b->types[node->out[i]] = out[i];
        v->dtype = out[i].dtype;
        v->shape = out[i].shape;
    }
done:
    ed_free(params);
    ed_free(out);
    return rc;
}

/* True when the node's outputs are integers that are known before any data. */
static bool is_known(const binding *b, const ed_op *op, const ed_node *node)
{
    for (uint32_t i = 0; i < node->n_out; i++)
        if (node->out[i] != ED_NONE && (b->graph->values[node->out[i]].dtype == ED_F32 ||
                                        b->graph->values[node->out[i]].is_output))
            return false;
    if (op->traits & ED_OP_READS_SHAPE)
        return true;
    for (uint32_t i = 0; i < node->n_in; i++)
        if (node->in[i] != ED_NONE && !b->constants[node->in[i]])
            return false;
    return true;
}

/* The inputs' tensors; those of a node that does not look at the data have none. */
static int list_inputs(const binding *b, const ed_node *node, ed_tensor *shapes,
                       const ed_tensor **in)
{
    for (uint32_t i = 0; i < node->n_in; i++) {
        ed_id v = node->in[i];
        in[i] = v == ED_NONE ? NULL : b->constants[v];
        if (v == ED_NONE || in[i])
            continue;
        ED_TRY(ed_tensor_view(&shapes[i], b->types[v].dtype, &b->types[v].shape, NULL));
        in[i] = &shapes[i];
    }
    return ED_OK;
}

static int fold(binding *b, ed_id id)
{
    int rc = ED_OK;
    ed_graph *g = b->graph;
    const ed_node *node = &g->nodes[id];
    ed_tensor *shapes = ed_calloc(node->n_in, sizeof *shapes);
    const ed_tensor **in = ed_calloc(node->n_in, sizeof *in);
    ed_tensor **out = ed_calloc(node->n_out, sizeof *out);
    if (!shapes || !in || !out)
        ED_GOTO(ED_ENOMEM);
    ED_GOTO(list_inputs(b, node, shapes, in));
    ED_GOTO(ed_op_evaluate(g, node, in, out));
    ed_graph_remove_node(g, id);
    for (uint32_t i = 0; i < node->n_out; i++) {
        ed_tensor *made = out[i];
        out[i] = NULL;
        if (!made)
            continue;
        ED_GOTO(ed_graph_set_constant_take(g, node->out[i], made));
        b->constants[node->out[i]] = made;
    }
done:
    for (uint32_t i = 0; out && i < node->n_out; i++)
        ed_tensor_free(out[i]);
    ed_free(shapes);
    ed_free(in);
    ed_free(out);
    return rc;
}

static int bind_node(binding *b, ed_id id)
{
    const ed_op *op;
    ED_TRY(ed_op_find(&op, b->graph, &b->graph->nodes[id]));
    ED_TRY(infer(b, op, &b->graph->nodes[id]));
    return is_known(b, op, &b->graph->nodes[id]) ? fold(b, id) : ED_OK;
}

int ed_training_bind(ed_graph *graph, const ed_shape *shapes)
{
    int rc = ED_OK;
    ed_id *order = NULL;
    size_t count = 0;
    binding b = { graph, ed_calloc(graph->n_values, sizeof *b.types),
                  ed_calloc(graph->n_values, sizeof *b.constants) };
    if (!b.types || !b.constants)
        ED_GOTO(ED_ENOMEM);
    ED_GOTO(ed_graph_topological(graph, &order, &count));
    ED_GOTO(set_inputs(&b, shapes));
    for (size_t i = 0; i < count; i++)
        ED_GOTO(bind_node(&b, order[i]));
done:
    ed_free(order);
    ed_free(b.types);
    ed_free(b.constants);
    return rc;
}

int ed_training_differentiate(ed_graph *graph, ed_id loss, const ed_id *wanted, size_t n,
                              ed_id *grads)
{
    return ed_graph_differentiate(graph, loss, wanted, n, grads);
}

bool ed_training_is_cheap(const ed_graph *graph, const ed_node *node)
{
    /* not Sigmoid and the like: kernels that fuse them give other bits than those that do not */
    static const char *const exact[] = { "Abs", "Add", "Cast", "Clip", "Div", "FakeQuantize", "Max",
                                         "Min", "Mul", "Neg",  "Relu", "Sub", "Where" };
    for (size_t i = 0; i < ED_LENGTH(exact); i++)
        if (strcmp(node->op_type, exact[i]) == 0)
            return true;
    return (ed_op_traits(graph, node) & ED_OP_MOVES_DATA) != 0;
}

bool ed_training_moves_data(const ed_graph *graph, const ed_node *node)
{
    return strcmp(node->op_type, "MaxPool") == 0 ||
           (ed_op_traits(graph, node) & ED_OP_MOVES_DATA) != 0;
}
