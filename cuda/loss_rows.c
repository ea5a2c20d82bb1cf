/* Losses and their gradients, row-major float32: the last layers are small. */
#include "grad.h"
#include "stored.h"

typedef struct loss_state {
    ed_cuda_loss loss;
    int64_t numel; /* of the first input */
} loss_state;

static void loss_free(void *state)
{
    ed_free(state);
}

/* z: the input that the sizes are of. */
static int take(ed_kernel_plan *p, uint32_t z, bool logits)
{
    const ed_node *node = p->nodes[0];
    const ed_loss_params *params = p->params[0];
    const ed_shape *shape = ed_cuda_shape(p, node->in[z]);
    loss_state *s = ed_calloc(1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    s->numel = ed_cuda_numel(p, node->in[z]);
    s->loss = (ed_cuda_loss){ .weight = params->weight,
                              .label_smoothing = params->label_smoothing,
                              .temperature = params->temperature };
    if (logits) {
        s->loss.classes = shape->dim[1];
        s->loss.inner = ed_cuda_span(shape, 2, shape->rank);
        s->loss.samples = shape->dim[0] * s->loss.inner;
        p->scratch = ed_cuda_loss_scratch(&s->loss);
    } else {
        p->scratch = ed_cuda_squares_scratch(s->numel);
    }
    return ed_cuda_take_plain(p, s);
}

static int loss_plan(ed_kernel_plan *p)
{
    return take(p, 0, true);
}

static int grad_plan(ed_kernel_plan *p)
{
    return take(p, 1, true);
}

static int squares_plan(ed_kernel_plan *p)
{
    return take(p, 0, false);
}

static int squares_grad_plan(ed_kernel_plan *p)
{
    return take(p, 1, false);
}

static int entropy_run(const ed_call *c)
{
    const loss_state *s = c->state;
    ED_CUDA_TRY(ed_cuda_cross_entropy(c->out[0]->data, c->in[0]->data, c->in[1]->data, &s->loss,
                                      c->scratch, ed_cuda_of(c)->stream),
                "the kernel of CrossEntropyLoss");
    return ED_OK;
}

static int entropy_grad_run(const ed_call *c)
{
    const loss_state *s = c->state;
    ED_CUDA_TRY(ed_cuda_cross_entropy_grad(c->out[0]->data, c->in[0]->data, c->in[1]->data,
                                           c->in[2]->data, &s->loss, c->scratch,
                                           ed_cuda_of(c)->stream),
                "the kernel of CrossEntropyLossGrad");
    return ED_OK;
}

static int distillation_run(const ed_call *c)
{
    const loss_state *s = c->state;
    ED_CUDA_TRY(ed_cuda_distillation(c->out[0]->data, c->in[0]->data, c->in[1]->data, &s->loss,
                                     c->scratch, ed_cuda_of(c)->stream),
                "the kernel of DistillationLoss");
    return ED_OK;
}

static int distillation_grad_run(const ed_call *c)
{
    const loss_state *s = c->state;
    ED_CUDA_TRY(ed_cuda_distillation_grad(c->out[0]->data, c->in[0]->data, c->in[1]->data,
                                          c->in[2]->data, &s->loss, ed_cuda_of(c)->stream),
                "the kernel of DistillationLossGrad");
    return ED_OK;
}

static int squares_run(const ed_call *c)
{
    const loss_state *s = c->state;
    ED_CUDA_TRY(ed_cuda_squares(c->out[0]->data, c->in[0]->data, c->in[1]->data, s->numel, &s->loss,
                                c->scratch, ed_cuda_of(c)->stream),
                "the kernel of MeanSquaredError");
    return ED_OK;
}

static int squares_grad_run(const ed_call *c)
{
    const loss_state *s = c->state;
    ED_CUDA_TRY(ed_cuda_squares_grad(c->out[0]->data, c->in[0]->data, c->in[1]->data,
                                     c->in[2]->data, s->numel, &s->loss, ed_cuda_of(c)->stream),
                "the kernel of MeanSquaredErrorGrad");
    return ED_OK;
}

#define LOSS_ROW(plan, run)                                                                        \
    {                                                                                              \
        "cuda", "cuda", plan, run, loss_free, NULL                                                 \
    }
const ed_cuda_op ed_cuda_loss_ops[] = {
    { "CrossEntropyLoss", "ed", { LOSS_ROW(loss_plan, entropy_run) } },
    { "CrossEntropyLossGrad", "ed", { LOSS_ROW(grad_plan, entropy_grad_run) } },
    { "DistillationLoss", "ed", { LOSS_ROW(loss_plan, distillation_run) } },
    { "DistillationLossGrad", "ed", { LOSS_ROW(grad_plan, distillation_grad_run) } },
    { "MeanSquaredError", "ed", { LOSS_ROW(squares_plan, squares_run) } },
    { "MeanSquaredErrorGrad", "ed", { LOSS_ROW(squares_grad_plan, squares_grad_run) } },
    { 0 },
};
