/* Activations that stand alone, by oneDNN: in the layout in which the input lies, in place if it
 * dies. */
#include "ops/fast.h"

int ed_onednn_eltwise_plan(ed_kernel_plan *p)
{
    ed_id x = p->nodes[0]->in[0];
    ed_posts posts = { 0 };
    ed_prim *prim = NULL;
    if (!ed_plan_is_f32(p, x))
        return ed_plan_refuse(p, "empty or not float32");
    if (p->types[x].shape.rank < 1)
        return ed_plan_refuse(p, "rank 0");
    if (!ed_fuse_activation(&posts, p, 0) || posts.count != 1)
        return ed_plan_refuse(p, "bounds are not constant, or oneDNN lacks the function");
    ed_dnn_tensor t = { .shape = &p->types[x].shape, .layout = p->layouts[x] };
    ED_TRY(ed_dnn_eltwise_new(&prim, p->dnn, &t, &posts.at[0]));
    if (!prim)
        return ed_plan_refuse(p, "oneDNN has no kernel for it");
    p->taken = 1;
    p->n_in = 1;
    p->in[0] = x;
    p->in_layout[0] = p->out_layout = t.layout;
    p->inplace = ed_plan_dies(p, x, 1) ? 0 : -1;
    p->scratch = ed_prim_scratch(prim);
    p->kernel = ed_prim_name(prim);
    p->state = prim;
    return ED_OK;
}

int ed_onednn_eltwise_run(const ed_call *call)
{
    return ed_onednn_pool_run(call); /* one tensor in, one out */
}

void ed_onednn_eltwise_free(void *state)
{
    ed_prim_free(state);
}
