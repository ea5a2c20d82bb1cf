/*
 * Attention as one step on the CPU (the nodes: attention_match.h). One unit of work is one head of
 * one sample.
 */
#include "ops/attention_kernel.h"
#include "ops/attention_match.h"
#include "ops/fast.h"

#include "base/parallel.h"

enum { Q = ED_ATTENTION_Q, K = ED_ATTENTION_K, V = ED_ATTENTION_V, MASK = ED_ATTENTION_MASK };

typedef struct attention_state {
    ed_head head; /* sizes and steps; pointers are set by run() */
    ed_attention a;
    int64_t heads;
    const float *mask; /* a constant one */
    bool has_mask;
    size_t scratch; /* floats a thread */
} attention_state;

/* ---- run ---- */
typedef struct attention_job {
    const attention_state *s;
    const float *in[ED_ATTENTION_INPUTS];
    float *y, *scratch;
} attention_job;

static void heads(void *ctx, int64_t begin, int64_t end, int thread)
{
    const attention_job *job = ctx;
    const attention_state *s = job->s;
    float *scratch = job->scratch + (size_t)thread * s->scratch;
    for (int64_t unit = begin; unit < end; unit++) {
        ed_head head = s->head;
        int64_t at[ED_ATTENTION_INPUTS] = { 0 }, y = 0, rest = unit;
        for (int i = s->a.batch_rank - 1; i >= 0; i--) {
            for (int k = 0; k < ED_ATTENTION_INPUTS; k++)
                at[k] += rest % s->a.batch[i] * s->a.at[k].batch[i];
            y += rest % s->a.batch[i] * s->a.y.batch[i];
            rest /= s->a.batch[i];
        }
        head.q = job->in[Q] + at[Q];
        head.k = job->in[K] + at[K];
        head.v = job->in[V] + at[V];
        head.mask = s->has_mask ? job->in[MASK] + at[MASK] : NULL;
        head.y = job->y + y;
        ed_head_run(&head, scratch);
    }
}

int ed_attention_run(const ed_call *call)
{
    const attention_state *s = call->state;
    attention_job job = { .s = s, .y = call->out[0]->data, .scratch = call->scratch };
    for (int k = Q; k <= V; k++)
        job.in[k] = call->in[k]->data;
    if (s->has_mask)
        job.in[MASK] = s->mask ? s->mask : call->in[MASK]->data;
    ed_parallel_for(s->heads, 1, heads, &job);
    return ED_OK;
}

void ed_attention_free(void *state)
{
    ed_free(state);
}

/* ---- plan ---- */

static ed_head head_of(const ed_attention *a)
{
    return (ed_head){ .n = a->n,
                      .m = a->m,
                      .d = a->d,
                      .dv = a->dv,
                      .scale = a->scale,
                      .q_row = a->at[Q].row,
                      .k_row = a->at[K].column, /* the operand is K^T [d, m] */
                      .k_column = a->at[K].row,
                      .v_row = a->at[V].row,
                      .y_row = a->y.row,
                      .mask_row = a->at[MASK].row,
                      .mask_column = a->at[MASK].column };
}

int ed_attention_plan(ed_kernel_plan *p)
{
    ed_attention a;
    if (!ed_attention_match(&a, p))
        return ed_plan_refuse(p, NULL);
    if (p->deterministic)
        return ed_plan_refuse(p, "its bits are not those of its nodes one by one");
    attention_state *s = ed_calloc(1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    s->a = a;
    s->head = head_of(&a);
    s->heads = 1;
    for (int i = 0; i < a.batch_rank; i++)
        s->heads *= a.batch[i];
    s->has_mask = a.in[MASK] != ED_NONE;
    if (s->has_mask && p->constants[a.in[MASK]])
        s->mask = p->constants[a.in[MASK]]->data;
    s->scratch = ed_head_scratch(a.m, a.d, a.dv);
    p->taken = a.taken;
    p->n_in = s->has_mask && !s->mask ? ED_ATTENTION_INPUTS : MASK;
    for (uint32_t k = 0; k < p->n_in; k++) /* the layouts are all plain: zeros */
        p->in[k] = a.in[k];
    p->scratch = (size_t)ed_threads_get() * s->scratch * sizeof(float);
    p->state = s;
    return ED_OK;
}
