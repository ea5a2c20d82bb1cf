/* Attributes of nodes: stored in the graph's arena, found by name. */
#include "graph/graph.h"

#include <string.h>

const ed_attr *ed_node_attr(const ed_node *node, const char *name)
{
    for (uint32_t i = 0; i < node->n_attrs; i++)
        if (strcmp(node->attrs[i].name, name) == 0)
            return &node->attrs[i];
    return NULL;
}

static bool copy_bytes(ed_graph *g, ed_bytes *b)
{
    char *copy = ed_arena_alloc(g->arena, b->size + 1, 1);
    if (copy && b->size)
        memcpy(copy, b->data, b->size);
    b->data = copy;
    return copy != NULL;
}

static bool copy_lists(ed_graph *g, ed_attr *a)
{
    bool good = true;
    if (a->ints)
        good = (a->ints = ed_arena_memdup(g->arena, a->ints, a->count * sizeof *a->ints)) != NULL;
    if (good && a->floats)
        good = (a->floats = ed_arena_memdup(g->arena, a->floats, a->count * sizeof *a->floats)) !=
               NULL;
    if (good && a->strings) {
        ed_bytes *copy = ed_arena_memdup(g->arena, a->strings, a->count * sizeof *copy);
        for (size_t i = 0; copy && good && i < a->count; i++)
            good = copy_bytes(g, &copy[i]);
        a->strings = copy;
        good = good && copy;
    }
    return good && copy_bytes(g, &a->s);
}

int ed_node_set_attr(ed_graph *g, ed_id id, const ed_attr *attr)
{
    if (attr->tensor) { /* owned by the graph from here on, whatever happens */
        int rc = ed_grow(&g->tensors, &g->tensor_capacity, g->n_tensors + 1, sizeof *g->tensors);
        if (rc != ED_OK) {
            ed_tensor_free((ed_tensor *)attr->tensor);
            return rc;
        }
        g->tensors[g->n_tensors++] = (ed_tensor *)attr->tensor;
    }
    ed_attr copy = *attr;
    copy.name = ed_arena_strdup(g->arena, attr->name);
    if (!copy.name || !copy_lists(g, &copy))
        return ED_ENOMEM;
    ed_node *node = &g->nodes[id];
    ed_attr *old = (ed_attr *)ed_node_attr(node, attr->name);
    if (old) {
        *old = copy;
        return ED_OK;
    }
    ed_attr *list = ed_arena_alloc(g->arena, node->n_attrs + 1, sizeof *list);
    if (!list)
        return ED_ENOMEM;
    if (node->n_attrs)
        memcpy(list, node->attrs, node->n_attrs * sizeof *list);
    list[node->n_attrs++] = copy;
    node->attrs = list;
    return ED_OK;
}

int ed_node_set_int(ed_graph *g, ed_id node, const char *name, int64_t value)
{
    return ed_node_set_attr(g, node, &(ed_attr){ .name = name, .type = ED_ATTR_INT, .i = value });
}

int ed_node_set_float(ed_graph *g, ed_id node, const char *name, float value)
{
    return ed_node_set_attr(g, node, &(ed_attr){ .name = name, .type = ED_ATTR_FLOAT, .f = value });
}

int ed_node_set_ints(ed_graph *g, ed_id node, const char *name, const int64_t *v, size_t n)
{
    return ed_node_set_attr(
        g, node, &(ed_attr){ .name = name, .type = ED_ATTR_INTS, .ints = v, .count = n });
}
