/* See params.h: constants are chosen by how they are read. */
#include "qat/params.h"

#include <fnmatch.h>
#include <math.h>
#include <string.h>

/* How an operator reads an input that may be a parameter. */
enum {
    ROLE_NONE,
    ROLE_WEIGHT, /* a factor of a weighted operator */
    ROLE_BIAS,   /* trains also when it is one number */
    ROLE_PLAIN,  /* trains when it is more than one */
    ROLE_OPERAND /* likewise, where the other operand depends on a parameter */
};

static const struct reader {
    const char *op_type;
    uint8_t role[3]; /* of inputs 0, 1, 2 */
    bool variadic;   /* all inputs are as input 0 */
} readers[] = {
    { "Conv", { ROLE_NONE, ROLE_WEIGHT, ROLE_BIAS }, false },
    { "ConvTranspose", { ROLE_NONE, ROLE_WEIGHT, ROLE_BIAS }, false },
    { "Gemm", { ROLE_WEIGHT, ROLE_WEIGHT, ROLE_BIAS }, false },
    { "MatMul", { ROLE_WEIGHT, ROLE_WEIGHT, ROLE_NONE }, false },
    { "LayerNormalization", { ROLE_NONE, ROLE_BIAS, ROLE_BIAS }, false },
    { "InstanceNormalization", { ROLE_NONE, ROLE_BIAS, ROLE_BIAS }, false },
    { "GroupNormalization", { ROLE_NONE, ROLE_BIAS, ROLE_BIAS }, false },
    { "RMSNormalization", { ROLE_NONE, ROLE_BIAS, ROLE_NONE }, false },
    { "BatchNormalization", { ROLE_NONE, ROLE_BIAS, ROLE_BIAS }, false },
    { "PRelu", { ROLE_NONE, ROLE_BIAS, ROLE_NONE }, false },
    { "Gather", { ROLE_PLAIN, ROLE_NONE, ROLE_NONE }, false },  /* an embedding */
    { "Expand", { ROLE_PLAIN, ROLE_NONE, ROLE_NONE }, false },  /* a class token */
    { "Concat", { ROLE_PLAIN, ROLE_PLAIN, ROLE_PLAIN }, true }, /* likewise */
    { "Add", { ROLE_OPERAND, ROLE_OPERAND, ROLE_NONE }, false },
    { "Sub", { ROLE_OPERAND, ROLE_OPERAND, ROLE_NONE }, false },
    { "Mul", { ROLE_OPERAND, ROLE_OPERAND, ROLE_NONE }, false },
    { "Div", { ROLE_OPERAND, ROLE_OPERAND, ROLE_NONE }, false },
};

static int role_of(const ed_node *node, uint32_t i)
{
    if (node->domain[0])
        return ROLE_NONE;
    for (size_t k = 0; k < ED_LENGTH(readers); k++) {
        const struct reader *r = &readers[k];
        if (strcmp(r->op_type, node->op_type) == 0)
            return r->variadic ? r->role[0] : i < ED_LENGTH(r->role) ? r->role[i] : ROLE_NONE;
    }
    return ROLE_NONE;
}

bool ed_is_quantizer(const ed_node *node)
{
    return strcmp(node->domain, "ed") == 0 && strcmp(node->op_type, "FakeQuantize") == 0;
}

int64_t ed_quantizer_attr(const ed_node *node, const char *name, int64_t preset)
{
    const ed_attr *a = ed_node_attr(node, name);
    return a ? a->i : preset;
}

static bool is_symmetric(const ed_graph *g, const ed_node *quantizer)
{
    const ed_tensor *zeros = ed_node_constant(g, quantizer, 2);
    for (int64_t i = 0; zeros && i < zeros->numel; i++)
        if (ed_tensor_get_i64(zeros, i) != 0)
            return false;
    return zeros || ed_node_in(quantizer, 2) == ED_NONE;
}

/* ---- parameters ---- */

/* What all the reads of a value have in common. */
typedef struct uses {
    bool other;  /* one that is none of the table's */
    bool weight; /* a factor */
    bool bias;
} uses;

static void look_at_uses(uses *u, const ed_graph *g, ed_id value)
{
    const ed_value *v = &g->values[value];
    u->other = u->other || v->is_output;
    for (size_t k = 0; k < v->use_count; k++) {
        const ed_node *node = &g->nodes[v->uses[k]];
        for (uint32_t i = 0; i < node->n_in; i++) {
            if (node->in[i] != value)
                continue;
            if (ed_is_quantizer(node) && i == 0) {
                look_at_uses(u, g, node->out[0]);
                continue;
            }
            int role = role_of(node, i);
            u->other = u->other || role == ROLE_NONE;
            u->weight = u->weight || role == ROLE_WEIGHT;
            u->bias = u->bias || role == ROLE_BIAS;
        }
    }
}

/* Zeros, and numbers that a Softmax makes zeros of. */
static bool is_mask(const ed_tensor *t)
{
    const float *x = t->data;
    bool masks = false;
    for (int64_t i = 0; i < t->numel; i++) {
        if (x[i] != 0.0f && !(x[i] <= -100.0f))
            return false;
        masks = masks || x[i] <= -100.0f;
    }
    return masks;
}

static bool is_frozen(const char *name, const ed_qat_options *opts)
{
    for (size_t i = 0; opts && i < opts->freeze_count; i++)
        if (fnmatch(opts->freeze[i], name, 0) == 0)
            return true;
    return false;
}

static bool may_train(const ed_graph *g, ed_id value, const ed_qat_options *opts)
{
    const ed_value *v = &g->values[value];
    uses u = { 0 };
    if (!v->constant || v->constant->dtype != ED_F32 || !v->use_count || !v->constant->numel)
        return false;
    look_at_uses(&u, g, value);
    return !u.other && (v->constant->numel > 1 || u.bias) && !is_mask(v->constant) &&
           !is_frozen(v->name, opts);
}

/* In topological order: values that depend on a parameter; an operand whose partner does not is
 * what normalizes the input, and no parameter. */
static void look_at_node(const ed_node *node, bool *trains, bool *depends)
{
    bool any = false;
    for (uint32_t i = 0; i < node->n_in; i++) {
        ed_id v = node->in[i];
        any = any ||
              (v != ED_NONE && (depends[v] || (trains[v] && role_of(node, i) != ROLE_OPERAND)));
    }
    for (uint32_t i = 0; i < node->n_in && !any; i++)
        if (node->in[i] != ED_NONE && role_of(node, i) == ROLE_OPERAND)
            trains[node->in[i]] = false;
    for (uint32_t i = 0; i < node->n_out; i++)
        if (node->out[i] != ED_NONE)
            depends[node->out[i]] = any;
}

/* A pattern that fits nothing is a slip of the pen. */
static int check_freeze(const ed_graph *g, const ed_qat_options *opts)
{
    for (size_t i = 0; opts && i < opts->freeze_count; i++) {
        bool fits = false;
        for (size_t v = 0; v < g->n_values && !fits; v++)
            fits = g->values[v].constant && g->values[v].constant->dtype == ED_F32 &&
                   fnmatch(opts->freeze[i], g->values[v].name, 0) == 0;
        ED_FAIL_IF(!fits, ED_ENOTFOUND,
                   "no parameter of the model is named '%s', which is to be frozen; * and ? stand "
                   "for other characters, --verbose lists the parameters",
                   opts->freeze[i]);
    }
    return ED_OK;
}

static int choose(bool *trains, const ed_graph *g, const ed_qat_options *opts)
{
    ed_id *order = NULL;
    size_t count = 0;
    bool *depends = ed_calloc(g->n_values, sizeof *depends);
    if (!depends)
        return ED_ENOMEM;
    for (size_t v = 0; v < g->n_values; v++)
        trains[v] = may_train(g, (ed_id)v, opts);
    int rc = ed_graph_topological(g, &order, &count);
    for (size_t i = 0; rc == ED_OK && i < count; i++)
        look_at_node(&g->nodes[order[i]], trains, depends);
    ed_free(order);
    ed_free(depends);
    return rc;
}

/* The quantizer that alone reads a constant. */
static ed_id quantizer_of(const ed_graph *g, ed_id value)
{
    const ed_value *v = &g->values[value];
    if (v->use_count != 1 || !ed_is_quantizer(&g->nodes[v->uses[0]]))
        return ED_NONE;
    const ed_node *node = &g->nodes[v->uses[0]];
    bool trains =
        is_symmetric(g, node) && ed_node_constant(g, node, 1) && !g->values[node->out[0]].is_output;
    return trains ? v->uses[0] : ED_NONE;
}

int ed_params_find(ed_param **out, size_t *count, const ed_graph *graph, const ed_qat_options *opts)
{
    bool *trains = ed_calloc(graph->n_values, sizeof *trains);
    ed_param *params = ed_calloc(graph->n_values, sizeof *params);
    size_t n = 0;
    *out = NULL;
    *count = 0;
    int rc = trains && params ? check_freeze(graph, opts) : ED_ENOMEM;
    if (rc == ED_OK)
        rc = choose(trains, graph, opts);
    for (size_t v = 0; rc == ED_OK && v < graph->n_values; v++) {
        uses u = { 0 };
        if (!trains[v])
            continue;
        look_at_uses(&u, graph, (ed_id)v);
        params[n++] = (ed_param){ .value = (ed_id)v,
                                  .quantizer = quantizer_of(graph, (ed_id)v),
                                  .decay = u.weight };
    }
    ed_free(trains);
    if (rc != ED_OK) {
        ed_free(params);
        return rc;
    }
    *out = params;
    *count = n;
    return ED_OK;
}
