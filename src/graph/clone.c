/* Copying a graph (ids stay the same), hashing it. */
#include "graph/graph.h"

#include <string.h>

/* Replace a list by its copy in the arena. */
static int clone_bytes(ed_arena *arena, ed_bytes **list, size_t n)
{
    if (!n)
        return ED_OK;
    ed_bytes *copy = ed_arena_memdup(arena, *list, n * sizeof *copy);
    if (!copy)
        return ED_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        char *data = ed_arena_alloc(arena, copy[i].size + 1, 1);
        if (!data)
            return ED_ENOMEM;
        memcpy(data, copy[i].data, copy[i].size);
        copy[i].data = data;
    }
    *list = copy;
    return ED_OK;
}

static int clone_meta(ed_graph *to, const ed_graph_meta *from)
{
    const char **strings[] = { &to->meta.producer_name, &to->meta.producer_version,
                               &to->meta.domain, &to->meta.doc, &to->meta.graph_doc };
    struct {
        ed_bytes **list;
        size_t n;
    } lists[] = { { &to->meta.metadata, from->n_metadata * 2 },
                  { &to->meta.functions, from->n_functions },
                  { &to->meta.graph_metadata, from->n_graph_metadata } };
    to->meta = *from;
    for (size_t i = 0; i < ED_LENGTH(strings); i++)
        if (*strings[i] && !(*strings[i] = ed_arena_strdup(to->arena, *strings[i])))
            return ED_ENOMEM;
    for (size_t k = 0; k < ED_LENGTH(lists); k++)
        ED_TRY(clone_bytes(to->arena, lists[k].list, lists[k].n));
    return ED_OK;
}

static int clone_values(ed_graph *to, const ed_graph *from)
{
    for (size_t i = 0; i < from->n_values; i++) {
        const ed_value *v = &from->values[i];
        ed_id id;
        ED_TRY(ed_graph_add_value(to, &id, v->name));
        to->values[id].dtype = v->dtype;
        to->values[id].shape = v->shape;
        if (v->constant)
            ED_TRY(ed_tensor_clone(&to->values[id].constant, v->constant));
    }
    for (size_t i = 0; i < from->n_inputs; i++)
        ED_TRY(ed_graph_add_input(to, from->inputs[i]));
    for (size_t i = 0; i < from->n_outputs; i++)
        ED_TRY(ed_graph_add_output(to, from->outputs[i]));
    return ED_OK;
}

static int clone_node(ed_graph *to, const ed_node *n)
{
    ed_id id;
    /* a dead node keeps its id, but none of its links */
    ED_TRY(ed_graph_add_node(to, &id, n->op_type, n->name, n->in, n->dead ? 0 : n->n_in, n->out,
                             n->dead ? 0 : n->n_out));
    ed_node *copy = &to->nodes[id];
    copy->dead = n->dead;
    copy->group = n->group;
    copy->domain = ed_arena_strdup(to->arena, n->domain);
    copy->doc = ed_arena_strdup(to->arena, n->doc);
    copy->overload = n->overload ? ed_arena_strdup(to->arena, n->overload) : NULL;
    copy->metadata = n->metadata;
    copy->n_metadata = n->n_metadata;
    if (!copy->domain || !copy->doc || (n->overload && !copy->overload))
        return ED_ENOMEM;
    ED_TRY(clone_bytes(to->arena, &copy->metadata, copy->n_metadata));
    for (uint32_t i = 0; i < n->n_attrs; i++) {
        ed_attr attr = n->attrs[i];
        ed_tensor *tensor = NULL;
        if (attr.tensor)
            ED_TRY(ed_tensor_clone(&tensor, attr.tensor));
        attr.tensor = tensor;
        ED_TRY(ed_node_set_attr(to, id, &attr));
    }
    return ED_OK;
}

static int clone_groups(ed_graph *to, const ed_graph *from)
{
    ED_TRY(ed_grow(&to->groups, &to->group_capacity, from->n_groups, sizeof *to->groups));
    for (size_t i = 0; i < from->n_groups; i++) {
        const ed_group *group = &from->groups[i];
        ed_group copy = *group;
        copy.kind = ed_arena_strdup(to->arena, group->kind);
        copy.name = ed_arena_strdup(to->arena, group->name);
        copy.nodes = ed_arena_memdup(to->arena, group->nodes, group->n_nodes * sizeof(ed_id));
        if (!copy.kind || !copy.name || !copy.nodes)
            return ED_ENOMEM;
        to->groups[to->n_groups++] = copy;
    }
    return ED_OK;
}

static int clone_into(ed_graph *to, const ed_graph *from)
{
    for (size_t i = 0; i < from->n_opsets; i++)
        ED_TRY(ed_graph_set_opset(to, from->opsets[i].domain, from->opsets[i].version));
    for (size_t i = 0; i < from->n_symbols; i++)
        ED_FAIL_IF(ed_graph_symbol(to, from->symbols[i]) == ED_DIM_UNKNOWN, ED_ENOMEM,
                   "out of memory");
    ED_TRY(clone_meta(to, &from->meta));
    ED_TRY(clone_values(to, from));
    for (size_t i = 0; i < from->n_nodes; i++)
        ED_TRY(clone_node(to, &from->nodes[i]));
    to->next_name = from->next_name;
    return from->n_groups ? clone_groups(to, from) : ED_OK;
}

int ed_graph_clone(ed_graph **out, const ed_graph *graph)
{
    ED_TRY(ed_graph_new(out, graph->name));
    int rc = clone_into(*out, graph);
    if (rc != ED_OK) {
        ed_graph_free(*out);
        *out = NULL;
    }
    return rc;
}

/* ---- hash ---- */

static uint64_t hash_text(uint64_t h, const char *text)
{
    return ed_hash(h, text, strlen(text));
}

static uint64_t hash_tensor(uint64_t h, const ed_tensor *t)
{
    h = ed_hash(h, &t->dtype, sizeof t->dtype);
    h = ed_hash(h, t->shape.dim, (size_t)t->shape.rank * sizeof(int64_t));
    return ed_hash(h, t->data, t->nbytes);
}

static uint64_t hash_value(uint64_t h, const ed_graph *g, ed_id id)
{
    if (id == ED_NONE)
        return hash_text(h, "");
    const ed_value *v = &g->values[id];
    h = hash_text(h, v->name);
    return v->constant ? hash_tensor(h, v->constant) : h;
}

static uint64_t hash_attr(uint64_t h, const ed_attr *a)
{
    h = hash_text(h, a->name);
    h = ed_hash(h, &a->type, sizeof a->type);
    h = ed_hash(h, &a->i, sizeof a->i);
    h = ed_hash(h, &a->f, sizeof a->f);
    h = ed_hash(h, a->s.data, a->s.size);
    if (a->ints)
        h = ed_hash(h, a->ints, a->count * sizeof *a->ints);
    if (a->floats)
        h = ed_hash(h, a->floats, a->count * sizeof *a->floats);
    for (size_t i = 0; a->strings && i < a->count; i++)
        h = ed_hash(h, a->strings[i].data, a->strings[i].size);
    return a->tensor ? hash_tensor(h, a->tensor) : h;
}

uint64_t ed_graph_hash(const ed_graph *g)
{
    uint64_t h = 1;
    for (size_t k = 0; k < g->n_nodes; k++) {
        const ed_node *n = &g->nodes[k];
        if (n->dead)
            continue;
        h = hash_text(hash_text(h, n->domain), n->op_type);
        for (uint32_t i = 0; i < n->n_in; i++)
            h = hash_value(h, g, n->in[i]);
        for (uint32_t i = 0; i < n->n_out; i++)
            h = hash_value(h, g, n->out[i]);
        for (uint32_t i = 0; i < n->n_attrs; i++)
            h = hash_attr(h, &n->attrs[i]);
    }
    for (size_t i = 0; i < g->n_inputs; i++)
        h = hash_value(h, g, g->inputs[i]);
    for (size_t i = 0; i < g->n_outputs; i++)
        h = hash_value(h, g, g->outputs[i]);
    return h;
}
