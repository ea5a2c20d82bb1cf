/*
 * Activations that stand alone, by oneDNN: in the layout in which the input lies, in place if it
 * dies. The library sees the storage as one row; the padding, which f(0) may have changed, is
 * cleared behind it.
 */
#include "ops/fast.h"

typedef struct eltwise_state {
    ed_prim *prim;
    ed_grid grid;
} eltwise_state;

static int build(eltwise_state *s, const ed_kernel_plan *p, ed_id x, const ed_post *f)
{
    ed_shape row = { .rank = 1 };
    ED_TRY(ed_layout_numel(&row.dim[0], p->layouts[x], &p->types[x].shape));
    s->grid = ed_grid_of(p->layouts[x], &p->types[x].shape);
    return ed_dnn_eltwise_new(&s->prim, p->dnn, &(ed_dnn_tensor){ .shape = &row }, f);
}

int ed_onednn_eltwise_plan(ed_kernel_plan *p)
{
    ed_id x = p->nodes[0]->in[0];
    ed_posts posts = { 0 };
    if (!ed_plan_is_f32(p, x))
        return ed_plan_refuse(p, "empty or not float32");
    if (!ed_fuse_activation(&posts, p, 0) || posts.count != 1)
        return ed_plan_refuse(p, "bounds are not constant, or oneDNN lacks the function");
    eltwise_state *s = ed_calloc(1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    int rc = build(s, p, x, &posts.at[0]);
    if (rc != ED_OK || !s->prim) {
        ed_onednn_eltwise_free(s);
        return rc != ED_OK ? rc : ed_plan_refuse(p, "oneDNN has no kernel for it");
    }
    p->taken = 1;
    p->n_in = 1;
    p->in[0] = x;
    p->in_layout[0] = p->out_layout = p->layouts[x];
    p->inplace = ed_plan_dies(p, x, 1) ? 0 : -1;
    p->scratch = ed_prim_scratch(s->prim);
    p->kernel = ed_prim_name(s->prim);
    p->state = s;
    return ED_OK;
}

int ed_onednn_eltwise_run(const ed_call *call)
{
    const eltwise_state *s = call->state;
    const void *data[ED_ARG_COUNT] = {
        [ED_ARG_SRC] = call->in[0]->data, [ED_ARG_DST] = call->out[0]->data
    };
    ED_TRY(ed_prim_run(s->prim, data, call->scratch));
    ed_grid_clear_padding(&s->grid, call->out[0]->data);
    return ED_OK;
}

void ed_onednn_eltwise_free(void *state)
{
    eltwise_state *s = state;
    if (!s)
        return;
    ed_prim_free(s->prim);
    ed_free(s);
}
