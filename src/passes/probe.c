/*
 * Probes: the whole graph inferred at three sizes of each symbolic dimension, with the operators'
 * own infer functions and reference kernels, so that no operator needs a second, symbolic
 * implementation. What is the same in all of them does not depend on the symbols.
 *
 * The sizes have different residues for small divisors and a large one among them, so that
 * N % 4, min(N, 8) or max(N, 100) are not mistaken for constants. A node that cannot be inferred
 * stays as it is; whoever needs it will name it.
 */
#include "passes/probe.h"

#include <string.h>

enum { MAX_ELEMENTS = 4096 };

static int64_t probe_size(int p, size_t symbol)
{
    static const int64_t first[ED_PROBES] = { 5, 12, 1009 }, step[ED_PROBES] = { 2, 7, 20 };
    return first[p] + step[p] * (int64_t)symbol;
}

/* ---- one probe ---- */

static ed_shape concrete(const ed_probe *p, const ed_shape *shape)
{
    ed_shape s = *shape;
    for (int i = 0; i < s.rank; i++)
        if (s.dim[i] < ED_DIM_UNKNOWN)
            s.dim[i] = p->sizes[-2 - s.dim[i]];
    return s;
}

static void set_inputs(ed_probes *s, int k)
{
    const ed_graph *g = s->g;
    ed_probe *p = &s->at[k];
    size_t unnamed = g->n_symbols;
    for (size_t i = 0; i < g->n_symbols; i++)
        p->sizes[i] = ED_DIM_UNKNOWN;
    for (size_t i = 0; i < g->n_inputs; i++) {
        const ed_shape *shape = &g->values[g->inputs[i]].shape;
        for (int d = 0; d < shape->rank; d++)
            if (shape->dim[d] < ED_DIM_UNKNOWN)
                p->sizes[-2 - shape->dim[d]] = probe_size(k, (size_t)(-2 - shape->dim[d]));
    }
    for (size_t i = 0; i < g->n_values; i++) {
        const ed_value *v = &g->values[i];
        p->values[i] = v->constant;
        p->types[i] = (ed_type){ v->dtype, concrete(p, &v->shape) };
        for (int d = 0; v->is_input && d < v->shape.rank; d++)
            if (p->types[i].shape.dim[d] == ED_DIM_UNKNOWN)
                p->types[i].shape.dim[d] = probe_size(k, unnamed++);
    }
}

/* Compute a node's small outputs where its inputs are known. */
static int evaluate(const ed_graph *g, ed_probe *p, const ed_node *node)
{
    const ed_tensor *in[ED_CALL_MAX];
    ed_tensor *outs[ED_CALL_MAX], view = { 0 };
    bool shape_only = (ed_op_traits(g, node) & ED_OP_READS_SHAPE) != 0;
    if (node->n_in > ED_CALL_MAX || node->n_out > ED_CALL_MAX ||
        strcmp(node->op_type, "FakeQuantize") == 0)
        return ED_OK;
    for (uint32_t i = 0; i < node->n_in; i++) {
        in[i] = node->in[i] == ED_NONE ? NULL : p->values[node->in[i]];
        if (!in[i] && node->in[i] != ED_NONE && !shape_only)
            return ED_OK;
    }
    for (uint32_t i = 0; i < node->n_out; i++) {
        int64_t numel;
        if (node->out[i] == ED_NONE || !ed_shape_known(&p->types[node->out[i]].shape) ||
            ed_shape_numel(&numel, &p->types[node->out[i]].shape) != ED_OK || numel > MAX_ELEMENTS)
            return ED_OK;
    }
    if (shape_only) { /* its kernel looks at the shape alone: no data is needed */
        view.dtype = p->types[node->in[0]].dtype;
        view.shape = p->types[node->in[0]].shape;
        if (!ed_shape_known(&view.shape) || ed_shape_numel(&view.numel, &view.shape) != ED_OK)
            return ED_OK;
        in[0] = &view;
    }
    int rc = ed_op_evaluate(g, node, in, outs);
    for (uint32_t i = 0; rc == ED_OK && i < node->n_out; i++)
        p->values[node->out[i]] = p->computed[node->out[i]] = outs[i];
    return rc == ED_ENOMEM ? rc : ED_OK;
}

static int infer_node(const ed_graph *g, ed_probe *p, const ed_node *node)
{
    int rc = ED_OK;
    const ed_op *op;
    if (ed_op_find(&op, g, node) != ED_OK)
        return ED_OK;
    void *params = ed_calloc(1, op->params_size + 1);
    ed_type *out = ed_calloc(node->n_out + 1, sizeof *out);
    if (!params || !out)
        ED_GOTO(ED_ENOMEM);
    rc = ed_op_params(op, g, node, params);
    if (rc == ED_OK)
        rc = ed_op_infer(op, g, node, params, p->types, p->values, out);
    for (uint32_t i = 0; rc == ED_OK && i < node->n_out; i++)
        if (node->out[i] != ED_NONE && out[i].shape.rank >= 0)
            p->types[node->out[i]] = out[i];
    if (rc == ED_OK)
        rc = evaluate(g, p, node);
done:
    ed_free(params);
    ed_free(out);
    return rc == ED_ENOMEM ? rc : ED_OK;
}

static int make_probe(ed_probes *s, int k, const ed_id *order, size_t n)
{
    ed_probe *p = &s->at[k];
    p->types = ed_calloc(s->n_values + 1, sizeof *p->types);
    p->values = ed_calloc(s->n_values + 1, sizeof *p->values);
    p->computed = ed_calloc(s->n_values + 1, sizeof *p->computed);
    p->sizes = ed_calloc(s->n_symbols + 1, sizeof *p->sizes);
    if (!p->types || !p->values || !p->computed || !p->sizes)
        return ED_ENOMEM;
    set_inputs(s, k);
    for (size_t i = 0; i < n; i++)
        ED_TRY(infer_node(s->g, p, &s->g->nodes[order[i]]));
    return ED_OK;
}

int ed_probes_make(ed_probes *s, ed_graph *g, const ed_id *order, size_t n)
{
    *s = (ed_probes){ .g = g, .n_values = g->n_values, .n_symbols = g->n_symbols };
    for (int k = 0; k < ED_PROBES; k++)
        ED_TRY(make_probe(s, k, order, n));
    return ED_OK;
}

void ed_probes_release(ed_probes *s)
{
    for (int k = 0; k < ED_PROBES; k++) {
        ed_probe *p = &s->at[k];
        for (size_t i = 0; p->computed && i < s->n_values; i++)
            ed_tensor_free(p->computed[i]);
        ed_free(p->types);
        ed_free(p->values);
        ed_free(p->computed);
        ed_free(p->sizes);
    }
}

/* ---- what the probes say ---- */

bool ed_probes_settle(const ed_probes *s, const int64_t sizes[ED_PROBES], int64_t *dim)
{
    *dim = sizes[0];
    if (sizes[0] == sizes[1] && sizes[0] == sizes[2])
        return sizes[0] >= 0;
    for (size_t i = 0; i < s->n_symbols; i++) {
        bool same = true;
        for (int k = 0; k < ED_PROBES; k++)
            same = same && s->at[k].sizes[i] == sizes[k];
        *dim = -2 - (int64_t)i;
        if (same)
            return true;
    }
    return false;
}

bool ed_probes_know(const ed_probes *s, ed_id v)
{
    if (v >= s->n_values || !s->at[0].computed[v])
        return false;
    for (int k = 1; k < ED_PROBES; k++)
        if (!s->at[k].computed[v] ||
            !ed_shape_equal(&s->at[k].computed[v]->shape, &s->at[0].computed[v]->shape))
            return false;
    return true;
}

bool ed_probes_agree(const ed_probes *s, ed_id v)
{
    if (!ed_probes_know(s, v))
        return false;
    const ed_tensor *t = s->at[0].computed[v];
    for (int k = 1; k < ED_PROBES; k++)
        if (t->nbytes && memcmp(t->data, s->at[k].computed[v]->data, t->nbytes) != 0)
            return false;
    return true;
}
