/* The parts of quantization: what qdq.c asks of the others. */
#ifndef PASSES_QDQ_H
#define PASSES_QDQ_H

#include "passes/plan.h"

/* Why an attention stays in float, or NULL (qdq_attention.c). */
const char *ed_qdq_attention_reason(ed_arena *arena, const ed_graph *g, const ed_group *group);
/* Both inputs of both products; edges[2] reads the Softmax. */
void ed_qdq_attention_edges(const ed_graph *g, const ed_group *group, ed_plan_edge edges[4]);
/* Let points share ranges where data is only moved (qdq_share.c). */
void ed_qdq_share(ed_plan *plan);

#endif
