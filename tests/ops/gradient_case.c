/* From a case to the graph of its gradients. */
#include "gradient_case.h"

#include "ops/gradient.h"

#include <stdio.h>
#include <string.h>

/* Inputs and outputs that are not differentiated: nobody trains what they say. Bits by index. */
typedef struct untrained {
    const char *type;
    unsigned inputs, outputs;
} untrained;

static const untrained table[] = {
    { "BatchNormalization", 1u << 3 | 1u << 4, ~1u }, /* running mean and variance */
    { "Clip", 1u << 1 | 1u << 2, 0 },                 /* bounds */
    { "DistillationLoss", 1u << 1, 0 },               /* the teacher */
    { "Dropout", 1u << 1, 0 },                        /* ratio */
    { "LayerNormalization", 0, ~1u },                 /* mean, 1 / deviation */
    { "Pad", 1u << 2, 0 },                            /* the constant */
    { "Resize", 1u << 1 | 1u << 2, 0 },               /* region, scales */
    { "Upsample", 1u << 1, 0 },                       /* scales */
};

static untrained untrained_of(const op_case *c)
{
    for (size_t i = 0; i < ED_LENGTH(table); i++)
        if (strcmp(table[i].type, c->op) == 0)
            return table[i];
    return (untrained){ 0 };
}

/* ---- rows ---- */
const ed_op *gradient_row(const op_case *c)
{
    const ed_op *op = NULL;
    ed_graph *g = NULL;
    ed_tensor *data[CASE_MAX_IN];
    if (case_build(&g, data, c, (case_form){ 0, false }) != ED_OK)
        return NULL;
    if (ed_op_find(&op, g, &g->nodes[0]) != ED_OK)
        op = NULL;
    case_free_data(data);
    ed_graph_free(g);
    return op;
}

bool gradient_exists(const ed_op *op)
{
    return op->gradient && op->gradient != ed_gradient_none;
}

/* ---- the loss ---- */
static int make_cotangent(ed_tensor **out, const op_case *c, uint32_t k, const ed_shape *shape)
{
    op_case numbers = { .in[0] = { .dtype = ED_F32, .shape = *shape } };
    snprintf(numbers.line, sizeof numbers.line, "cotangent %u %.400s", k, c->line);
    return case_generate(out, &numbers, 0);
}

static int add_node(ed_graph *g, ed_id *out, ed_id *node, const char *type, ed_id a, ed_id b)
{
    ed_id in[2] = { a, b }, id;
    ED_TRY(ed_graph_add_fresh_value(g, out, type));
    ED_TRY(ed_graph_add_node(g, node ? node : &id, type, type, in, b == ED_NONE ? 1 : 2, out, 1));
    return ED_OK;
}

/* *loss grows by sum(y * cotangent). */
static int add_term(gradient_case *gc, ed_id *loss, const op_case *c, uint32_t k, ed_id y,
                    case_form form)
{
    ed_graph *g = gc->graph;
    ed_id cotangent, product, sum, node;
    const ed_shape shape = g->values[y].shape;
    char name[16];
    ED_TRY(make_cotangent(&gc->data[CASE_MAX_IN + k], c, k, &shape));
    snprintf(name, sizeof name, "in%u", CASE_MAX_IN + k);
    ED_TRY(ed_graph_add_value(g, &cotangent, name));
    g->values[cotangent].dtype = ED_F32;
    g->values[cotangent].shape = shape;
    ED_TRY(ed_graph_add_input(g, cotangent));
    if (form.convolved && case_is_image(c, gc->data[CASE_MAX_IN + k]))
        ED_TRY(case_convolve(g, &cotangent, &shape));
    ED_TRY(add_node(g, &product, NULL, "Mul", y, cotangent));
    ED_TRY(add_node(g, &sum, &node, "ReduceSum", product, ED_NONE));
    ED_TRY(ed_node_set_int(g, node, "keepdims", 0));
    if (*loss == ED_NONE)
        *loss = sum;
    else
        ED_TRY(add_node(g, loss, NULL, "Add", *loss, sum));
    return ED_OK;
}

static int add_loss(gradient_case *gc, ed_id *loss, const op_case *c, const ed_id *out,
                    uint32_t n_out, case_form form)
{
    unsigned left_out = untrained_of(c).outputs;
    *loss = ED_NONE;
    for (uint32_t k = 0; k < n_out; k++)
        if (gc->graph->values[out[k]].dtype == ED_F32 && !(left_out >> k & 1))
            ED_TRY(add_term(gc, loss, c, k, out[k], form));
    return *loss == ED_NONE ? ED_OK : ed_graph_infer(gc->graph);
}

/* ---- the gradients ---- */
static uint32_t find_wanted(ed_id *ids, gradient_case *gc, const op_case *c, const ed_id *in)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->n_in; i++) {
        const ed_value *v = in[i] == ED_NONE ? NULL : &gc->graph->values[in[i]];
        gc->wanted[i] =
            v && v->dtype == ED_F32 && !v->constant && !(untrained_of(c).inputs >> i & 1);
        if (gc->wanted[i])
            ids[n++] = in[i];
    }
    return n;
}

static int add_gradients(gradient_case *gc, ed_id loss, const ed_id *ids, uint32_t n)
{
    ed_graph *g = gc->graph;
    ed_id grads[CASE_MAX_IN];
    uint32_t k = 0;
    if (n == 0 || loss == ED_NONE)
        return ED_OK;
    ED_TRY(ed_graph_differentiate(g, loss, ids, n, grads));
    for (uint32_t i = 0; i < CASE_MAX_IN; i++) {
        ed_id gradient = gc->wanted[i] ? grads[k++] : ED_NONE;
        if (gradient == ED_NONE)
            continue;
        for (size_t o = 0; o < g->n_outputs; o++) /* two inputs may have the same gradient */
            if (g->outputs[o] == gradient)
                gc->output[i] = (int)o;
        if (gc->output[i] >= 0)
            continue;
        gc->output[i] = (int)g->n_outputs;
        ED_TRY(ed_graph_add_output(g, gradient));
    }
    return ED_OK;
}

static bool shapes_known(const ed_graph *g)
{
    for (size_t v = 0; v < g->n_values; v++)
        if (!ed_shape_known(&g->values[v].shape))
            return false;
    return true;
}

/* The node and its inputs, its outputs of known shape. */
static int build_forward(gradient_case *gc, const op_case *c, case_form form)
{
    op_case all_fixed = *c;
    ED_TRY(case_build(&gc->graph, gc->data, c, form));
    int rc = ed_graph_infer(gc->graph);
    if (rc != ED_OK || shapes_known(gc->graph))
        return rc;
    case_free_data(gc->data); /* the output's shape is in what an input holds */
    ed_graph_free(gc->graph);
    gc->graph = NULL;
    all_fixed.fixed = true;
    ED_TRY(case_build(&gc->graph, gc->data, &all_fixed, form));
    return ed_graph_infer(gc->graph);
}

static int build(gradient_case *gc, const op_case *c, case_form form, bool rounded)
{
    ed_id in[CASE_MAX_IN], out[CASE_MAX_OUT], ids[CASE_MAX_IN], loss;
    ED_TRY(build_forward(gc, c, form));
    if (rounded)
        case_round(gc->graph, gc->data);
    const ed_node *node = &gc->graph->nodes[gc->graph->n_nodes - 1];
    memcpy(in, node->in, node->n_in * sizeof *in);
    memcpy(out, node->out, node->n_out * sizeof *out);
    ED_TRY(add_loss(gc, &loss, c, out, node->n_out, form));
    return add_gradients(gc, loss, ids, find_wanted(ids, gc, c, in));
}

int gradient_build(gradient_case *out, const op_case *c, case_form form, bool rounded)
{
    *out = (gradient_case){ 0 };
    for (int i = 0; i < CASE_MAX_IN; i++)
        out->output[i] = -1;
    int rc = build(out, c, form, rounded);
    if (rc != ED_OK)
        gradient_free(out);
    return rc;
}

void gradient_free(gradient_case *gc)
{
    for (int i = 0; i < GRADIENT_MAX_DATA; i++)
        ed_tensor_free(gc->data[i]);
    ed_graph_free(gc->graph);
    *gc = (gradient_case){ 0 };
}

/* ---- running ---- */
static int pick(ed_tensor **of, const gradient_case *gc, ed_tensor *const *outs)
{
    for (uint32_t i = 0; i < CASE_MAX_IN; i++) {
        if (!gc->wanted[i])
            continue;
        if (gc->output[i] >= 0)
            ED_TRY(ed_tensor_clone(&of[i], outs[gc->output[i]]));
        else
            ED_TRY(ed_tensor_new(&of[i], ED_F32, &gc->data[i]->shape));
    }
    return ED_OK;
}

int gradient_run(ed_tensor **of, const gradient_case *gc, const ed_exec_options *options,
                 char **plan, size_t *host_steps)
{
    ed_tensor *outs[1 + CASE_MAX_IN] = { NULL };
    memset(of, 0, CASE_MAX_IN * sizeof *of);
    int rc = harness_execute(outs, gc->graph, gc->data, options, plan, host_steps);
    if (rc == ED_OK)
        rc = pick(of, gc, outs);
    for (size_t i = 0; i < ED_LENGTH(outs); i++)
        ed_tensor_free(outs[i]);
    return rc;
}
