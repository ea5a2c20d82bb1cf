/*
 * Gradients of Conv by oneDNN. The values lie as the forward convolution has them: blocked, the
 * first convolution's input plain; else NHWC; im2col + GEMM on plain data comes last. Weights are
 * packed, or unpacked, in each run.
 */
#include "ops/fast.h"

typedef struct grad_state {
    ed_prim *prim;
    ed_repack repack;
} grad_state;

typedef int (*builder)(ed_prim **out, ed_dnn *dnn, const ed_dnn_conv *c);

static int build(grad_state *s, ed_kernel_plan *p, ed_dnn_conv *c, ed_layout image, builder make)
{
    ed_layout blocked = ed_dnn_blocked(p->dnn);
    const struct {
        ed_layout x, y;
        bool gemm;
    } list[] = {
        { image == ED_LAYOUT_PLAIN ? ED_LAYOUT_PLAIN : blocked, blocked, false },
        { ED_LAYOUT_CHANNELS_LAST, ED_LAYOUT_CHANNELS_LAST, false },
        { ED_LAYOUT_PLAIN, ED_LAYOUT_PLAIN, true },
    };
    for (size_t i = 0; i < ED_LENGTH(list) && !s->prim; i++) {
        c->x.layout = list[i].x;
        c->y.layout = list[i].y;
        c->gemm = list[i].gemm;
        ED_TRY(make(&s->prim, p->dnn, c));
    }
    return ED_OK;
}

static void set_state(ed_kernel_plan *p, grad_state *s, ed_layout out)
{
    p->taken = 1;
    p->out_layout = out;
    p->kernel = ed_prim_name(s->prim);
    p->state = s;
}

static void free_state(void *state)
{
    grad_state *s = state;
    if (!s)
        return;
    ed_prim_free(s->prim);
    ed_prim_free(s->repack.packer);
    ed_free(s);
}

/* ---- ConvInputGrad(dy, w) ---- */
int ed_onednn_conv_input_grad_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_conv_grad_params *params = p->params[0];
    ed_window w;
    ed_dnn_conv c;
    int rc = ED_OK;
    if (!ed_plan_takes_conv(p))
        return ED_OK;
    ED_TRY(ed_dnn_conv_of(&c, &w, p, &params->conv, &p->types[node->out[0]].shape,
                          &p->types[node->in[1]].shape, &p->types[node->in[0]].shape));
    grad_state *s = ed_calloc(1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    ED_GOTO(build(s, p, &c, ed_dnn_blocked(p->dnn), ed_dnn_conv_input_grad_new));
    if (!s->prim) {
        ed_plan_refuse(p, "oneDNN has no kernel for it");
        goto done;
    }
    ED_GOTO(ed_repack_new(&s->repack, p, s->prim));
    ed_plan_read(p, node->in[0], c.y.layout);
    ed_plan_read(p, node->in[1], ED_LAYOUT_PLAIN);
    set_state(p, s, c.x.layout);
    return ED_OK;
done:
    free_state(s);
    return rc;
}

int ed_onednn_conv_input_grad_run(const ed_call *call)
{
    const grad_state *s = call->state;
    const void *weights;
    ED_TRY(ed_repack_in(&weights, &s->repack, call->in[1], call->scratch));
    const void *data[ED_ARG_COUNT] = { [ED_ARG_SRC] = call->in[0]->data,
                                       [ED_ARG_WEIGHTS] = weights,
                                       [ED_ARG_DST] = call->out[0]->data };
    return ed_prim_run(s->prim, data, ed_repack_scratch(&s->repack, call->scratch));
}

void ed_onednn_conv_input_grad_free(void *state)
{
    free_state(state);
}

/* ---- ConvWeightGrad(dy, x) -> dw [, sums of dy] ---- */
int ed_onednn_conv_weight_grad_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_conv_grad_params *params = p->params[0];
    const ed_shape *x = &p->types[node->in[1]].shape;
    ed_window w;
    ed_dnn_conv c;
    int rc = ED_OK;
    if (!ed_plan_takes_conv(p) || !ed_plan_is_f32(p, node->in[1]))
        return p->reason ? ED_OK : ed_plan_refuse(p, "empty or not float32");
    ED_TRY(ed_dnn_conv_of(&c, &w, p, &params->conv, x, &p->types[node->out[0]].shape,
                          &p->types[node->in[0]].shape));
    grad_state *s = ed_calloc(1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    c.bias = node->n_out > 1 && node->out[1] != ED_NONE;
    ed_layout image = p->layouts[node->in[1]];
    if (c.group != 1 || x->dim[1] >= ed_layout_block(ed_dnn_blocked(p->dnn)))
        image = ed_dnn_blocked(p->dnn);
    ED_GOTO(build(s, p, &c, image, ed_dnn_conv_weight_grad_new));
    if (!s->prim) {
        ed_plan_refuse(p, "oneDNN has no kernel for it");
        goto done;
    }
    ED_GOTO(ed_repack_new(&s->repack, p, s->prim));
    ed_plan_read(p, node->in[0], c.y.layout);
    ed_plan_read(p, node->in[1], c.x.layout);
    p->n_out = node->n_out;
    set_state(p, s, ED_LAYOUT_PLAIN);
    return ED_OK;
done:
    free_state(s);
    return rc;
}

int ed_onednn_conv_weight_grad_run(const ed_call *call)
{
    const grad_state *s = call->state;
    ed_tensor *bias = call->n_out > 1 ? call->out[1] : NULL;
    const void *data[ED_ARG_COUNT] = {
        [ED_ARG_SRC] = call->in[1]->data,
        [ED_ARG_OTHER] = call->in[0]->data,
        [ED_ARG_BIAS] = bias ? bias->data : NULL,
        [ED_ARG_DST] = ed_repack_target(&s->repack, call->out[0], call->scratch),
    };
    ED_TRY(ed_prim_run(s->prim, data, ed_repack_scratch(&s->repack, call->scratch)));
    return ed_repack_out(&s->repack, call->out[0], call->scratch);
}

void ed_onednn_conv_weight_grad_free(void *state)
{
    free_state(state);
}
