/* See recompute.h. */
#include "qat/recompute.h"

#include <string.h>

typedef struct work {
    ed_graph *graph;
    size_t n_forward, n_values; /* before any node is added */
    ed_id *order;               /* forward nodes */
    size_t count;
    int64_t segments, *segment; /* per node */
    bool *stored, *needed;      /* per value */
    ed_id *again;               /* per value: its second copy, ED_NONE */
    ed_id *copy;                /* per node: its second copy, ED_NONE */
} work;

static double bytes_of(const ed_graph *g, ed_id value)
{
    int64_t numel = 0;
    if (value != ED_NONE)
        (void)ed_shape_numel(&numel, &g->values[value].shape);
    return 4.0 * (double)numel;
}

/* The nodes of the forward pass in their order, each with its segment. */
static int cut(work *w)
{
    const ed_graph *g = w->graph;
    double all = 0, sum = 0;
    ED_TRY(ed_graph_topological(g, &w->order, &w->count));
    size_t kept = 0;
    for (size_t i = 0; i < w->count; i++) {
        if (w->order[i] >= w->n_forward)
            continue;
        w->order[kept++] = w->order[i];
        const ed_node *node = &g->nodes[w->order[i]];
        for (uint32_t k = 0; k < node->n_out; k++)
            all += bytes_of(g, node->out[k]);
    }
    w->count = kept;
    for (size_t i = 0; i < kept && all > 0; i++) {
        const ed_node *node = &g->nodes[w->order[i]];
        w->segment[w->order[i]] = (int64_t)((double)w->segments * sum / all);
        for (uint32_t k = 0; k < node->n_out; k++)
            sum += bytes_of(g, node->out[k]);
    }
    return ED_OK;
}

static bool crosses(const work *w, ed_id node, const ed_value *v)
{
    for (size_t i = 0; i < v->use_count; i++)
        if (v->uses[i] < w->n_forward && w->segment[v->uses[i]] != w->segment[node])
            return true;
    return false;
}

static bool is_stored(const work *w, ed_id id, ed_id value)
{
    const ed_graph *g = w->graph;
    const ed_node *node = &g->nodes[id];
    const ed_value *v = &g->values[value];
    if (v->is_output || strcmp(node->op_type, "Dropout") == 0) /* a mask is drawn once */
        return true;
    return w->segment[id] >= w->segments - 1 || crosses(w, id, v);
}

/* From the last node to the first: what backward nodes, and recomputed ones, read. */
static void find_needed(work *w)
{
    const ed_graph *g = w->graph;
    for (size_t b = w->n_forward; b < g->n_nodes; b++)
        for (uint32_t i = 0; i < g->nodes[b].n_in && !g->nodes[b].dead; i++)
            if (g->nodes[b].in[i] != ED_NONE)
                w->needed[g->nodes[b].in[i]] = true;
    for (size_t i = w->count; i-- > 0;) {
        const ed_node *node = &g->nodes[w->order[i]];
        bool any = false;
        for (uint32_t k = 0; k < node->n_out; k++)
            any = any ||
                  (node->out[k] != ED_NONE && w->needed[node->out[k]] && !w->stored[node->out[k]]);
        for (uint32_t k = 0; any && k < node->n_in; k++)
            if (node->in[k] != ED_NONE)
                w->needed[node->in[k]] = true;
    }
}

static ed_id second(const work *w, ed_id value)
{
    bool copied = value != ED_NONE && value < w->n_values && w->again[value] != ED_NONE;
    return copied ? w->again[value] : value;
}

static int copy_node(work *w, ed_id id)
{
    ed_graph *g = w->graph;
    const ed_node old = g->nodes[id]; /* its lists stay where they are */
    int rc = ED_OK;
    ed_id *in = ed_calloc(old.n_in, sizeof *in), *out = ed_calloc(old.n_out, sizeof *out);
    if (!in || !out)
        ED_GOTO(ED_ENOMEM);
    for (uint32_t k = 0; k < old.n_in; k++)
        in[k] = second(w, old.in[k]);
    for (uint32_t k = 0; k < old.n_out; k++) {
        out[k] = ED_NONE;
        if (old.out[k] == ED_NONE)
            continue;
        ED_GOTO(ed_graph_add_fresh_value(g, &out[k], g->values[old.out[k]].name));
        g->values[out[k]].dtype = g->values[old.out[k]].dtype;
        g->values[out[k]].shape = g->values[old.out[k]].shape;
        if (!w->stored[old.out[k]])
            w->again[old.out[k]] = out[k];
    }
    ED_GOTO(ed_graph_add_like(g, &w->copy[id], id, old.name, in, out));
done:
    ed_free(in);
    ed_free(out);
    return rc;
}

static int copy_needed(work *w)
{
    for (size_t i = 0; i < w->count; i++) {
        const ed_node *node = &w->graph->nodes[w->order[i]];
        bool any = false;
        for (uint32_t k = 0; k < node->n_out; k++)
            any = any ||
                  (node->out[k] != ED_NONE && w->needed[node->out[k]] && !w->stored[node->out[k]]);
        if (any)
            ED_TRY(copy_node(w, w->order[i]));
    }
    return ED_OK;
}

/* A group whose nodes all have a copy has one too. */
static int copy_groups(work *w)
{
    ed_graph *g = w->graph;
    for (size_t i = 0, n = g->n_groups; i < n; i++) {
        const ed_group group = g->groups[i];
        ed_id *nodes = ed_calloc(group.n_nodes, sizeof *nodes);
        bool all = group.n_nodes > 0;
        if (!nodes)
            return ED_ENOMEM;
        for (uint32_t k = 0; k < group.n_nodes; k++) {
            nodes[k] = group.nodes[k] < w->n_forward ? w->copy[group.nodes[k]] : ED_NONE;
            all = all && nodes[k] != ED_NONE;
        }
        int rc = all ? ed_graph_add_group(g, NULL, group.kind, nodes, group.n_nodes) : ED_OK;
        ed_free(nodes);
        ED_TRY(rc);
    }
    return ED_OK;
}

static int redirect(work *w, size_t n_nodes)
{
    ed_graph *g = w->graph;
    for (size_t b = w->n_forward; b < n_nodes; b++)
        for (uint32_t i = 0; i < g->nodes[b].n_in && !g->nodes[b].dead; i++)
            ED_TRY(ed_node_set_input(g, (ed_id)b, i, second(w, g->nodes[b].in[i])));
    return ED_OK;
}

static int run(work *w)
{
    ed_graph *g = w->graph;
    size_t n_nodes = g->n_nodes;
    for (size_t i = 0; i < w->n_values; i++)
        w->again[i] = ED_NONE;
    for (size_t i = 0; i < w->n_forward; i++)
        w->copy[i] = ED_NONE;
    ED_TRY(cut(w));
    for (size_t i = 0; i < w->count; i++) {
        const ed_node *node = &g->nodes[w->order[i]];
        for (uint32_t k = 0; k < node->n_out; k++)
            if (node->out[k] != ED_NONE)
                w->stored[node->out[k]] = is_stored(w, w->order[i], node->out[k]);
    }
    find_needed(w);
    ED_TRY(copy_needed(w));
    ED_TRY(copy_groups(w));
    ED_TRY(redirect(w, n_nodes));
    return ed_graph_remove_unused(g);
}

int ed_recompute(ed_graph *g, size_t n_forward, int64_t segments)
{
    work w = { .graph = g,
               .n_forward = n_forward,
               .n_values = g->n_values,
               .segments = segments,
               .segment = ed_calloc(g->n_nodes, sizeof *w.segment),
               .stored = ed_calloc(g->n_values, sizeof *w.stored),
               .needed = ed_calloc(g->n_values, sizeof *w.needed),
               .again = ed_calloc(g->n_values, sizeof *w.again),
               .copy = ed_calloc(n_forward, sizeof *w.copy) };
    int rc = ED_OK;
    if (!w.segment || !w.stored || !w.needed || !w.again || !w.copy)
        rc = ED_ENOMEM;
    else
        rc = run(&w);
    void *arrays[] = { w.order, w.segment, w.stored, w.needed, w.again, w.copy };
    for (size_t i = 0; i < ED_LENGTH(arrays); i++)
        ed_free(arrays[i]);
    return rc;
}
