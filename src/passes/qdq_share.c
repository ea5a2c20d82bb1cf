/*
 * Points that share a range.
 *
 *   Concat            y = Concat(a, b): where y is quantized, a and b that are quantized too (for
 *                     other readers) take the range of y: the copy stays in int8
 *   moves, MaxPool    y = Reshape(x), Transpose, MaxPool, ...: where x is quantized, y takes its
 *                     range; its elements are elements of x, so that one Q serves both
 */
#include "passes/build.h"
#include "passes/qdq.h"

/* The point of that value that stands for a range of its own. */
static size_t free_point(const ed_plan *plan, ed_id value)
{
    for (size_t i = 0; i < plan->n_points; i++)
        if (plan->points[i].value == value && !plan->infos[i].weight &&
            plan->infos[i].fixed_scale <= 0)
            return i;
    return SIZE_MAX;
}

/* Point i takes the range of `lead`, if it has none to share already. */
static void follow(ed_plan *plan, size_t i, size_t lead)
{
    lead = plan->infos[lead].scale_of;
    bool leads = false;
    for (size_t k = 0; k < plan->n_points; k++)
        leads = leads || (k != i && plan->infos[k].scale_of == i);
    if (i != lead && plan->infos[i].scale_of == i && !leads)
        plan->infos[i].scale_of = lead;
}

static bool moves_data(const ed_graph *g, const ed_node *node)
{
    return ed_node_is(node, "MaxPool") || ((ed_op_traits(g, node) & ED_OP_MOVES_DATA) &&
                                           !ed_node_is(node, "Concat") && !ed_node_is(node, "Pad"));
}

void ed_qdq_share(ed_plan *plan)
{
    const ed_graph *g = plan->graph;
    for (size_t i = 0; i < plan->n_points; i++) {
        const ed_node *node = ed_producer(g, plan->points[i].value);
        if (plan->infos[i].weight || plan->infos[i].fixed_scale > 0 || !node)
            continue;
        for (uint32_t k = 0; ed_node_is(node, "Concat") && k < node->n_in; k++) {
            size_t part = free_point(plan, node->in[k]);
            if (part != SIZE_MAX)
                follow(plan, part, i);
        }
        for (; node && moves_data(g, node); node = ed_producer(g, node->in[0])) {
            size_t source = free_point(plan, node->in[0]);
            if (source == SIZE_MAX)
                continue;
            follow(plan, i, source);
            break;
        }
    }
}
