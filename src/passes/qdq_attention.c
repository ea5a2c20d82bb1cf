/*
 * Points of an attention: rule `attention`.
 *
 *   Softmax(Q K) V   both inputs of both MatMuls; the output of Softmax lies in [0, 1] and has the
 *                    fixed scale 1 / 127
 *
 * Scale and transposition stand before Q and K already (attention_scale.c, moves.c). The target
 * fuses heads of 16, 32 or 64 and at most 512 keys; beyond that the core stays in float.
 */
#include "passes/build.h"
#include "passes/qdq.h"

#include <string.h>

enum { MAX_SEQUENCE = 512 };

/* The first MatMul of the group, and the last one, which reads the Softmax. */
static void find_products(const ed_graph *g, const ed_group *group, ed_id *scores, ed_id *output)
{
    *scores = group->nodes[0];
    *output = group->nodes[group->n_nodes - 1];
    for (uint32_t i = group->n_nodes; i-- > 0;)
        if (ed_node_is(&g->nodes[group->nodes[i]], "MatMul"))
            *scores = group->nodes[i];
}

const char *ed_qdq_attention_reason(ed_arena *arena, const ed_graph *g, const ed_group *group)
{
    ed_id scores, output;
    find_products(g, group, &scores, &output);
    const ed_shape *q = &g->values[g->nodes[scores].in[0]].shape;
    const ed_shape *s = &g->values[g->nodes[scores].out[0]].shape;
    int64_t size = q->rank > 0 ? q->dim[q->rank - 1] : -1;
    int64_t rows = s->rank > 1 ? s->dim[s->rank - 2] : -1;
    int64_t keys = s->rank > 1 ? s->dim[s->rank - 1] : -1;
    if (size < 0 || rows < 0 || keys < 0)
        return "its head size or sequence length is not known";
    if (size != 16 && size != 32 && size != 64)
        return ed_arena_printf(arena, "its heads have %lld channels; the target fuses 16, 32 or 64",
                               (long long)size);
    if (rows > MAX_SEQUENCE || keys > MAX_SEQUENCE)
        return ed_arena_printf(arena, "its sequence of %lld is longer than %d",
                               (long long)(rows > keys ? rows : keys), MAX_SEQUENCE);
    return NULL;
}

void ed_qdq_attention_edges(const ed_graph *g, const ed_group *group, ed_plan_edge edges[4])
{
    ed_id scores, output;
    find_products(g, group, &scores, &output);
    for (uint32_t i = 0; i < 2; i++) {
        edges[i] = (ed_plan_edge){ scores, i };
        edges[2 + i] = (ed_plan_edge){ output, i };
    }
}
