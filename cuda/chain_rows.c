/*
 * The row of chains (ops/chain.h): a tree of elementwise nodes by one kernel, in the format of the
 * operands that have the output's shape. What repeats is read from where it lies.
 */
#include "elementwise_rows.h"
#include "kernels.h"
#include "ops/chain.h"
#include "walk.h"

typedef struct chain_state {
    ed_chain_program program;
    ed_cuda_chain call; /* but for the addresses */
} chain_state;

int ed_cuda_chain_plan(ed_kernel_plan *p)
{
    ed_chain_bound c;
    int64_t numel = 0;
    uint32_t taken = ed_chain_take(&c, p);
    if (!taken)
        return ED_OK;
    const ed_shape *y = &p->types[ed_plan_output(p, taken)].shape;
    if (ed_shape_numel(&numel, y) != ED_OK || numel > INT32_MAX)
        return ed_plan_refuse(p, "more than 2^31 elements");
    chain_state *s = ed_calloc(1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    p->n_in = (uint32_t)c.program.inputs;
    ed_layout out = ed_cuda_output_layout(p, y, c.input, p->n_in);
    s->program = c.program;
    s->call.y_b16 = ed_layout_element(out) == 2;
    ed_cuda_walk_begin(&s->call.walk, y);
    ed_cuda_walk_operand(&s->call.walk, y, out);
    for (uint32_t k = 0; k < p->n_in; k++) {
        p->in[k] = c.input[k];
        p->in_layout[k] = ed_cuda_operand_layout(p, y, c.input[k], out);
        s->call.b16[k] = ed_layout_element(p->in_layout[k]) == 2;
        ed_cuda_walk_operand(&s->call.walk, &p->types[c.input[k]].shape, p->in_layout[k]);
    }
    ed_cuda_walk_fold(&s->call.walk);
    p->kernel = "chain";
    ed_cuda_take(p, taken, out, s);
    ed_chain_overwrite(&c, p);
    return ED_OK;
}

int ed_cuda_chain_run(const ed_call *call)
{
    const chain_state *s = call->state;
    ed_cuda_chain now = s->call;
    now.program = &s->program;
    now.y = call->out[0]->data;
    for (int k = 0; k < s->program.inputs; k++)
        now.in[k] = call->in[k]->data;
    ED_CUDA_TRY(ed_cuda_chain_steps(&now, ed_cuda_of(call)->stream), "the kernel of a chain");
    return ED_OK;
}

void ed_cuda_chain_free(void *state)
{
    ed_free(state);
}
