/*
 * Attention by cuDNN's flash attention engines, in bfloat16: the whole chain of nodes is one call
 * that never stores the scores. What is refused runs as products and a Softmax.
 */
#include "attention_rows.h"

typedef struct attention_state {
    ed_cuda_plan *plan; /* the device's */
    void *mask;         /* a constant one, float32 */
    bool borrowed;      /* it belongs to another executor's state */
    bool has_mask;
} attention_state;

/* *reason: why this mask is refused. */
static int take_mask(attention_state *s, const char **reason, const ed_kernel_plan *p,
                     const ed_tensor *mask)
{
    const attention_state *other = p->shared;
    if (other && other->mask) {
        s->mask = other->mask;
        s->borrowed = true;
        return ED_OK;
    }
    float *finite = ed_malloc((size_t)mask->numel * sizeof *finite);
    if (!finite)
        return ED_ENOMEM;
    int64_t columns = mask->shape.rank ? mask->shape.dim[mask->shape.rank - 1] : 1;
    *reason = ed_cuda_attention_mask(finite, mask->data, mask->numel / columns, columns);
    int rc = *reason ? ED_OK : ed_cuda_upload_floats(&s->mask, finite, mask->numel, false);
    ed_free(finite);
    return rc;
}

static int answer(ed_kernel_plan *p, const ed_attention *a, const ed_cuda_sdpa *problem,
                  attention_state *s)
{
    p->n_in = s->has_mask && !s->mask ? ED_ATTENTION_INPUTS : ED_ATTENTION_MASK;
    for (uint32_t k = 0; k < p->n_in; k++) {
        p->in[k] = a->in[k];
        p->in_layout[k] =
            ed_layout_with_bf16(ED_LAYOUT_PLAIN, k != ED_ATTENTION_MASK || !problem->bias_f32);
    }
    p->scratch = ed_cuda_plan_scratch(s->plan);
    p->kernel = ed_cuda_plan_name(s->plan);
    return ed_cuda_take(p, a->taken, ED_LAYOUT_PLAIN_BF16, s);
}

/* Versions whose attention gives wrong results, by NVIDIA's own list. */
static bool is_broken(size_t version)
{
    return version == 91000 || version == 91001;
}

static const char *describe(ed_cuda_sdpa *problem, const ed_kernel_plan *p, const ed_attention *a)
{
    ed_id mask = a->in[ED_ATTENTION_MASK];
    if (!ed_cuda_bf16(p->device))
        return "fused attention needs bf16";
    if (is_broken(cudnnGetVersion()))
        return "attention of this cuDNN is broken";
    const char *reason = ed_cuda_attention_problem(problem, a);
    if (!reason && problem->bias) /* as it lies; what is uploaded keeps its precision */
        problem->bias_f32 = p->constants[mask] || ed_layout_element(p->layouts[mask]) == 4;
    return reason;
}

int ed_cuda_attention_plan(ed_kernel_plan *p)
{
    ed_attention a;
    ed_cuda_sdpa problem;
    int rc = ED_OK;
    if (!ed_attention_match(&a, p))
        return ed_plan_refuse(p, NULL);
    const char *reason = describe(&problem, p, &a);
    if (reason)
        return ed_plan_refuse(p, reason);
    attention_state *s = ed_calloc(1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    s->has_mask = problem.bias;
    if (s->has_mask && p->constants[a.in[ED_ATTENTION_MASK]])
        ED_GOTO(take_mask(s, &reason, p, p->constants[a.in[ED_ATTENTION_MASK]]));
    if (!reason)
        ED_GOTO(ed_cuda_plan_get(&s->plan, p->device, &ed_cuda_sdpa_kind, &problem));
    if (s->plan)
        return answer(p, &a, &problem, s);
    ed_plan_refuse(p, reason ? reason : "cuDNN has no engine for it");
done:
    ed_cuda_attention_free(s);
    return rc;
}

int ed_cuda_attention_run(const ed_call *call)
{
    const attention_state *s = call->state;
    const void *operands[ED_PLAN_OPERANDS] = { [ED_SDPA_Q] = call->in[ED_ATTENTION_Q]->data,
                                               [ED_SDPA_K] = call->in[ED_ATTENTION_K]->data,
                                               [ED_SDPA_V] = call->in[ED_ATTENTION_V]->data,
                                               [ED_SDPA_O] = call->out[0]->data };
    if (s->has_mask)
        operands[ED_SDPA_BIAS] = s->mask ? s->mask : call->in[ED_ATTENTION_MASK]->data;
    return ed_cuda_plan_run(s->plan, ed_cuda_of(call), operands, call->scratch);
}

void ed_cuda_attention_free(void *state)
{
    attention_state *s = state;
    if (s && !s->borrowed)
        cudaFree(s->mask);
    ed_free(s);
}
