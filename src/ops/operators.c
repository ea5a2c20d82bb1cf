/* The operators that a graph uses: how often, and whether a row of the tables runs them. */
#include "ed/exec.h"

#include "ops/op.h"

#include <string.h>

static bool same(const ed_operator_info *info, const ed_node *node)
{
    return strcmp(info->type, node->op_type) == 0 && strcmp(info->domain, node->domain) == 0;
}

/* What to call a node in a listing: its name, or its first output's, or "". */
static const char *name_of(const ed_graph *graph, const ed_node *node)
{
    uint32_t i = 0;
    if (node->name[0])
        return node->name;
    while (i < node->n_out && node->out[i] == ED_NONE)
        i++;
    return i < node->n_out ? graph->values[node->out[i]].name : "";
}

static int by_count(const void *pa, const void *pb)
{
    const ed_operator_info *a = pa, *b = pb;
    if (a->count != b->count)
        return a->count < b->count ? 1 : -1;
    return strcmp(a->type, b->type);
}

int ed_graph_operators(ed_operator_info **out, size_t *count, const ed_graph *graph)
{
    ed_operator_info *list = NULL;
    size_t n = 0, capacity = 0;
    int rc = ED_OK;
    *out = NULL;
    *count = 0;
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const ed_node *node = &graph->nodes[i];
        const ed_op *op;
        size_t k = 0;
        if (node->dead)
            continue;
        while (k < n && !same(&list[k], node))
            k++;
        if (k == n) {
            ED_GOTO(ed_grow(&list, &capacity, n + 1, sizeof *list));
            list[n++] = (ed_operator_info){
                .type = node->op_type,
                .domain = node->domain,
                .opset = ed_graph_opset(graph, node->domain),
                .first = name_of(graph, node),
                .runs = ed_op_find(&op, graph, node) == ED_OK,
            };
        }
        list[k].count++;
    }
    if (n)
        qsort(list, n, sizeof *list, by_count);
    *out = list;
    *count = n;
    list = NULL;
done:
    ed_free(list);
    return rc;
}
