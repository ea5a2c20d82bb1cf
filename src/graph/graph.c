/* Making a graph: values, nodes, attributes; looking things up; the public accessors. */
#include "graph/graph.h"

#include <stdio.h>
#include <string.h>

int ed_graph_new(ed_graph **out, const char *name)
{
    *out = NULL;
    ed_graph *g = ed_calloc(1, sizeof *g);
    if (!g)
        return ED_ENOMEM;
    g->arena = ed_arena_new();
    g->name = g->arena ? ed_arena_strdup(g->arena, name) : NULL;
    if (!g->name) {
        ed_graph_free(g);
        return ED_ENOMEM;
    }
    *out = g;
    return ED_OK;
}

void ed_graph_free(ed_graph *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < g->n_values; i++) {
        ed_tensor_free(g->values[i].constant);
        ed_free(g->values[i].uses);
    }
    for (size_t i = 0; i < g->n_tensors; i++)
        ed_tensor_free(g->tensors[i]);
    ed_strmap_clear(&g->value_ids);
    ed_free(g->opsets);
    ed_free(g->nodes);
    ed_free(g->values);
    ed_free(g->inputs);
    ed_free(g->outputs);
    ed_free(g->groups);
    ed_free(g->symbols);
    ed_free(g->tensors);
    ed_arena_free(g->arena);
    ed_free(g);
}

static bool same_domain(const char *a, const char *b)
{
    a = strcmp(a, "ai.onnx") == 0 ? "" : a;
    b = strcmp(b, "ai.onnx") == 0 ? "" : b;
    return strcmp(a, b) == 0;
}

int64_t ed_graph_opset(const ed_graph *g, const char *domain)
{
    for (size_t i = 0; i < g->n_opsets; i++)
        if (same_domain(g->opsets[i].domain, domain))
            return g->opsets[i].version;
    return 0;
}

int ed_graph_set_opset(ed_graph *g, const char *domain, int64_t version)
{
    for (size_t i = 0; i < g->n_opsets; i++) {
        if (same_domain(g->opsets[i].domain, domain)) {
            g->opsets[i].version = version;
            return ED_OK;
        }
    }
    ED_TRY(ed_grow(&g->opsets, &g->opset_capacity, g->n_opsets + 1, sizeof *g->opsets));
    const char *copy = ed_arena_strdup(g->arena, domain);
    if (!copy)
        return ED_ENOMEM;
    g->opsets[g->n_opsets++] = (ed_opset){ copy, version };
    return ED_OK;
}

int64_t ed_graph_symbol(ed_graph *g, const char *name)
{
    for (size_t i = 0; i < g->n_symbols; i++)
        if (strcmp(g->symbols[i], name) == 0)
            return -2 - (int64_t)i;
    if (ed_grow(&g->symbols, &g->symbol_capacity, g->n_symbols + 1, sizeof *g->symbols) != ED_OK)
        return ED_DIM_UNKNOWN;
    const char *copy = ed_arena_strdup(g->arena, name);
    if (!copy)
        return ED_DIM_UNKNOWN;
    g->symbols[g->n_symbols++] = copy;
    return -2 - (int64_t)(g->n_symbols - 1);
}

int ed_graph_add_value(ed_graph *g, ed_id *out, const char *name)
{
    *out = ED_NONE;
    ED_FAIL_IF(ed_strmap_get(&g->value_ids, name, NULL), ED_EFORMAT,
               "the value '%s' is defined twice; names of values must be unique", name);
    ED_TRY(ed_grow(&g->values, &g->value_capacity, g->n_values + 1, sizeof *g->values));
    const char *copy = ed_arena_strdup(g->arena, name);
    if (!copy)
        return ED_ENOMEM;
    ED_TRY(ed_strmap_put(&g->value_ids, copy, (uint32_t)g->n_values));
    g->values[g->n_values] =
        (ed_value){ .name = copy, .shape = ED_SHAPE_UNKNOWN, .producer = ED_NONE };
    *out = (ed_id)g->n_values++;
    return ED_OK;
}

int ed_graph_add_fresh_value(ed_graph *g, ed_id *out, const char *stem)
{
    if (!ed_strmap_get(&g->value_ids, stem, NULL))
        return ed_graph_add_value(g, out, stem);
    for (;;) {
        char *name = ed_asprintf("%s_%u", stem, (unsigned)++g->next_name);
        if (!name)
            return ED_ENOMEM;
        bool taken = ed_strmap_get(&g->value_ids, name, NULL);
        int rc = taken ? ED_OK : ed_graph_add_value(g, out, name);
        ed_free(name);
        if (!taken)
            return rc;
    }
}

ed_id ed_graph_find_value(const ed_graph *g, const char *name)
{
    uint32_t id;
    return ed_strmap_get(&g->value_ids, name, &id) ? id : ED_NONE;
}

ed_id ed_graph_find_node(const ed_graph *g, const char *name)
{
    for (size_t i = 0; i < g->n_nodes; i++)
        if (!g->nodes[i].dead && strcmp(g->nodes[i].name, name) == 0)
            return (ed_id)i;
    return ED_NONE;
}

int ed_graph_add_input(ed_graph *g, ed_id value)
{
    ED_TRY(ed_grow(&g->inputs, &g->input_capacity, g->n_inputs + 1, sizeof *g->inputs));
    g->inputs[g->n_inputs++] = value;
    g->values[value].is_input = true;
    return ED_OK;
}

int ed_graph_add_output(ed_graph *g, ed_id value)
{
    ED_TRY(ed_grow(&g->outputs, &g->output_capacity, g->n_outputs + 1, sizeof *g->outputs));
    g->outputs[g->n_outputs++] = value;
    g->values[value].is_output = true;
    return ED_OK;
}

int ed_graph_set_constant_take(ed_graph *g, ed_id value, ed_tensor *tensor)
{
    ed_value *v = &g->values[value];
    if (v->producer != ED_NONE || v->constant) {
        ed_tensor_free(tensor);
        return ed_error_set(ED_EFORMAT,
                            "the value '%s' is defined twice; an initializer must be the "
                            "only source of its name",
                            v->name);
    }
    v->constant = tensor;
    v->dtype = tensor->dtype;
    v->shape = tensor->shape;
    return ED_OK;
}

int ed_graph_add_constant_take(ed_graph *g, ed_id *out, const char *stem, ed_tensor *tensor)
{
    int rc = ed_graph_add_fresh_value(g, out, stem);
    if (rc != ED_OK) {
        ed_tensor_free(tensor);
        return rc;
    }
    return ed_graph_set_constant_take(g, *out, tensor);
}

static int add_use(ed_graph *g, ed_id value, ed_id node)
{
    if (value == ED_NONE)
        return ED_OK;
    ed_value *v = &g->values[value];
    ED_TRY(ed_grow(&v->uses, &v->use_capacity, v->use_count + 1, sizeof *v->uses));
    v->uses[v->use_count++] = node;
    return ED_OK;
}

int ed_graph_add_node(ed_graph *g, ed_id *out, const char *op_type, const char *name,
                      const ed_id *in, size_t n_in, const ed_id *outputs, size_t n_out)
{
    ed_id id = (ed_id)g->n_nodes;
    for (size_t i = 0; i < n_out; i++) {
        if (outputs[i] == ED_NONE)
            continue;
        const ed_value *v = &g->values[outputs[i]];
        ED_FAIL_IF(v->producer != ED_NONE || v->constant || v->is_input, ED_EFORMAT,
                   "%s '%s': its output '%s' is defined already; every value needs one source",
                   op_type, name ? name : "", v->name);
    }
    ED_TRY(ed_grow(&g->nodes, &g->node_capacity, g->n_nodes + 1, sizeof *g->nodes));
    ed_node node = {
        .domain = "", .doc = "", .n_in = (uint32_t)n_in, .n_out = (uint32_t)n_out, .group = ED_NONE
    };
    node.op_type = ed_arena_strdup(g->arena, op_type);
    node.name = ed_arena_strdup(g->arena, name ? name : "");
    node.in = ed_arena_memdup(g->arena, in, n_in * sizeof *in);
    node.out = ed_arena_memdup(g->arena, outputs, n_out * sizeof *outputs);
    if (!node.op_type || !node.name || !node.in || !node.out)
        return ED_ENOMEM;
    g->nodes[g->n_nodes++] = node;
    for (size_t i = 0; i < n_out; i++)
        if (outputs[i] != ED_NONE)
            g->values[outputs[i]].producer = id;
    for (size_t i = 0; i < n_in; i++)
        ED_TRY(add_use(g, in[i], id));
    if (out)
        *out = id;
    return ED_OK;
}

int ed_graph_add_like(ed_graph *g, ed_id *out, ed_id like, const char *name, const ed_id *in,
                      const ed_id *outputs)
{
    const ed_node from = g->nodes[like]; /* its lists stay where they are */
    ED_TRY(ed_graph_add_node(g, out, from.op_type, name, in, from.n_in, outputs, from.n_out));
    ed_node *node = &g->nodes[*out];
    node->domain = from.domain;
    node->attrs = from.attrs;
    node->n_attrs = from.n_attrs;
    return ED_OK;
}

const ed_tensor *ed_node_constant(const ed_graph *g, const ed_node *node, uint32_t i)
{
    ed_id id = ed_node_in(node, i);
    return id == ED_NONE ? NULL : g->values[id].constant;
}

const char *ed_node_label(const ed_graph *g, const ed_node *node)
{
    static _Thread_local char ring[4][160];
    static _Thread_local unsigned next;
    char *buf = ring[next++ % 4];
    const char *name = node->name;
    if (!name[0] && node->n_out && node->out[0] != ED_NONE)
        name = g->values[node->out[0]].name;
    snprintf(buf, sizeof ring[0], "%s '%s'", node->op_type, name);
    return buf;
}

size_t ed_value_uses(const ed_value *value)
{
    return value->use_count + value->is_output;
}

/* ---- public accessors ---- */

static ed_value_info info_of(const ed_graph *g, ed_id id)
{
    const ed_value *v = &g->values[id];
    return (ed_value_info){ v->name, v->dtype, v->shape };
}

size_t ed_graph_input_count(const ed_graph *g)
{
    return g->n_inputs;
}

ed_value_info ed_graph_input(const ed_graph *g, size_t i)
{
    return i < g->n_inputs ? info_of(g, g->inputs[i]) : (ed_value_info){ 0 };
}

size_t ed_graph_output_count(const ed_graph *g)
{
    return g->n_outputs;
}

ed_value_info ed_graph_output(const ed_graph *g, size_t i)
{
    return i < g->n_outputs ? info_of(g, g->outputs[i]) : (ed_value_info){ 0 };
}

size_t ed_graph_node_count(const ed_graph *g, const char *op_type)
{
    size_t count = 0;
    for (size_t i = 0; i < g->n_nodes; i++)
        count += !g->nodes[i].dead && (!op_type || strcmp(g->nodes[i].op_type, op_type) == 0);
    return count;
}

const ed_tensor *ed_graph_constant(const ed_graph *g, const char *name)
{
    ed_id id = ed_graph_find_value(g, name);
    return id == ED_NONE ? NULL : g->values[id].constant;
}

size_t ed_graph_group_count(const ed_graph *g)
{
    return g->n_groups;
}

ed_group_info ed_graph_group(const ed_graph *g, size_t i)
{
    if (i >= g->n_groups)
        return (ed_group_info){ 0 };
    const ed_group *group = &g->groups[i];
    const ed_node *root = &g->nodes[group->nodes[group->n_nodes - 1]];
    return (ed_group_info){ group->kind, group->name, root->name, g->values[root->out[0]].name };
}
