/*
 * See recompute_cheap.h. A node of the forward pass is cheap when it is one pass over memory. The
 * copy of a value is made of
 *
 *   the same inputs and constants,
 *   values that gradients read, and that therefore stay; their copies, if there are any,
 *   copies of values that no gradient reads, made in the same way.
 *
 * The running order puts a copy right before its first reader, so the original dies in the forward
 * pass.
 */
#include "qat/recompute_cheap.h"

#include "exec/training.h"

/* ---- which values ---- */

typedef struct search {
    const ed_graph *graph;
    size_t n_forward;
    signed char *possible; /* per value: can stand as the input of a copy; -1: not known yet */
} search;

static bool read_by_gradient(const ed_graph *g, ed_id value, size_t n_forward)
{
    const ed_value *v = &g->values[value];
    for (size_t i = 0; i < v->use_count; i++)
        if (v->uses[i] >= n_forward)
            return true;
    return false;
}

static bool is_cheap(const search *s, ed_id node)
{
    const ed_node *n = &s->graph->nodes[node];
    for (uint32_t i = 0; i < n->n_attrs; i++)
        if (n->attrs[i].tensor) /* it belongs to one node */
            return false;
    return node < s->n_forward && n->n_out == 1 && ed_training_is_cheap(s->graph, n);
}

static bool inputs_possible(search *s, ed_id node);

/* Producers stand before readers, so this comes to an end. */
static bool is_possible(search *s, ed_id value)
{
    const ed_value *v = &s->graph->values[value];
    if (s->possible[value] < 0)
        s->possible[value] = v->producer == ED_NONE ||
                             read_by_gradient(s->graph, value, s->n_forward) ||
                             (is_cheap(s, v->producer) && inputs_possible(s, v->producer));
    return s->possible[value];
}

static bool inputs_possible(search *s, ed_id node)
{
    const ed_node *n = &s->graph->nodes[node];
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i] != ED_NONE && !is_possible(s, n->in[i]))
            return false;
    return true;
}

static bool is_candidate(search *s, ed_id value)
{
    const ed_value *v = &s->graph->values[value];
    return v->producer != ED_NONE && !v->is_output && v->dtype == ED_F32 &&
           is_cheap(s, v->producer) && read_by_gradient(s->graph, value, s->n_forward) &&
           inputs_possible(s, v->producer);
}

typedef struct sized {
    ed_id value;
    int64_t bytes;
} sized;

static int by_size(const void *pa, const void *pb)
{
    const sized *a = pa, *b = pb;
    if (a->bytes != b->bytes)
        return a->bytes < b->bytes ? 1 : -1;
    return a->value < b->value ? -1 : 1;
}

static int list_candidates(ed_cheap *out, search *s)
{
    int rc = ED_OK;
    const ed_graph *g = s->graph;
    sized *list = ed_calloc(g->n_values, sizeof *list);
    out->values = ed_calloc(g->n_values, sizeof *out->values);
    out->bytes = ed_calloc(g->n_values, sizeof *out->bytes);
    if (!list || !out->values || !out->bytes)
        ED_GOTO(ED_ENOMEM);
    for (size_t v = 0; v < g->n_values; v++) {
        int64_t numel = 0; /* known and checked when the graph was bound */
        if (!is_candidate(s, (ed_id)v) || ed_shape_numel(&numel, &g->values[v].shape) != ED_OK)
            continue;
        list[out->count++] = (sized){ (ed_id)v, numel * (int64_t)sizeof(float) };
    }
    qsort(list, out->count, sizeof *list, by_size);
    for (size_t i = 0; i < out->count; i++) {
        out->values[i] = list[i].value;
        out->bytes[i] = list[i].bytes;
    }
done:
    ed_free(list);
    return rc;
}

int ed_cheap_find(ed_cheap *out, const ed_graph *graph, size_t n_forward)
{
    search s = { graph, n_forward, ed_malloc(graph->n_values) };
    *out = (ed_cheap){ 0 };
    if (!s.possible)
        return ED_ENOMEM;
    for (size_t v = 0; v < graph->n_values; v++)
        s.possible[v] = -1;
    int rc = list_candidates(out, &s);
    ed_free(s.possible);
    if (rc != ED_OK)
        ed_cheap_clear(out);
    return rc;
}

void ed_cheap_clear(ed_cheap *r)
{
    ed_free(r->values);
    ed_free(r->bytes);
    *r = (ed_cheap){ 0 };
}

/* ---- the largest ones, for a sentence ---- */

void ed_name_largest(char *out, size_t size, const ed_graph *g)
{
    enum { NAMED = 3 };
    sized list[NAMED + 1] = { { 0 } };
    size_t length = 0;
    for (size_t v = 0; v < g->n_values; v++) {
        int64_t numel = 0;
        if (g->values[v].producer == ED_NONE ||
            ed_shape_numel(&numel, &g->values[v].shape) != ED_OK)
            continue;
        list[NAMED] = (sized){ (ed_id)v, numel * (int64_t)sizeof(float) };
        qsort(list, NAMED + 1, sizeof *list, by_size);
    }
    out[0] = '\0';
    for (size_t i = 0; i < NAMED && list[i].bytes && length < size; i++)
        length += (size_t)snprintf(out + length, size - length, "%s%s (%lld MiB)", i ? ", " : "",
                                   g->values[list[i].value].name, (long long)(list[i].bytes >> 20));
}

/* ---- copies ---- */

typedef struct copies {
    ed_graph *graph;
    size_t n_forward, n_nodes; /* before there were copies */
    bool *chosen;              /* per value */
    ed_id *copy;               /* per value; ED_NONE */
} copies;

static int copy_value(copies *c, ed_id value);

/* What a copy reads in place of `value`. */
static int stand_in(copies *c, ed_id *out, ed_id value)
{
    *out = value;
    if (value == ED_NONE || c->graph->values[value].producer == ED_NONE)
        return ED_OK;
    if (!c->chosen[value] && read_by_gradient(c->graph, value, c->n_forward))
        return ED_OK;
    ED_TRY(copy_value(c, value));
    *out = c->copy[value];
    return ED_OK;
}

static int copy_node(copies *c, ed_id id, const ed_id *in, ed_id value)
{
    ed_graph *g = c->graph;
    char stem[256];
    ed_id made, node;
    snprintf(stem, sizeof stem, "%s/again", g->values[value].name);
    ED_TRY(ed_graph_add_fresh_value(g, &made, stem));
    g->values[made].dtype = g->values[value].dtype;
    g->values[made].shape = g->values[value].shape;
    snprintf(stem, sizeof stem, "%s/again", g->nodes[id].name);
    ED_TRY(ed_graph_add_like(g, &node, id, stem, in, &made));
    c->copy[value] = made;
    return ED_OK;
}

static int copy_value(copies *c, ed_id value)
{
    int rc = ED_OK;
    if (c->copy[value] != ED_NONE)
        return ED_OK;
    ed_id id = c->graph->values[value].producer;
    const uint32_t n = c->graph->nodes[id].n_in;
    ed_id *in = ed_calloc(n, sizeof *in);
    if (!in)
        return ED_ENOMEM;
    for (uint32_t i = 0; i < n; i++)
        ED_GOTO(stand_in(c, &in[i], c->graph->nodes[id].in[i]));
    ED_GOTO(copy_node(c, id, in, value));
done:
    ed_free(in);
    return rc;
}

/* Gradients read the copies of the chosen values. */
static int redirect(const copies *c)
{
    ed_graph *g = c->graph;
    for (size_t k = c->n_forward; k < c->n_nodes; k++)
        for (uint32_t i = 0; !g->nodes[k].dead && i < g->nodes[k].n_in; i++) {
            ed_id value = g->nodes[k].in[i];
            if (value != ED_NONE && c->chosen[value])
                ED_TRY(ed_node_set_input(g, (ed_id)k, i, c->copy[value]));
        }
    return ED_OK;
}

int ed_cheap_apply(ed_graph *graph, const ed_cheap *r, size_t n_forward, size_t count)
{
    int rc = ED_OK;
    const size_t n = graph->n_values;
    copies c = { graph, n_forward, graph->n_nodes, ed_calloc(n, sizeof *c.chosen),
                 ed_malloc(n * sizeof *c.copy) };
    if (!c.chosen || !c.copy)
        ED_GOTO(ED_ENOMEM);
    for (size_t v = 0; v < n; v++)
        c.copy[v] = ED_NONE;
    for (size_t i = 0; i < count; i++)
        c.chosen[r->values[i]] = true;
    for (size_t i = 0; i < count; i++)
        ED_GOTO(copy_value(&c, r->values[i]));
    ED_GOTO(redirect(&c));
    ED_GOTO(ed_graph_remove_unused(graph));
done:
    ed_free(c.chosen);
    ed_free(c.copy);
    return rc;
}
