/*
 * Gradients of Conv (ops/conv_grad.c) by cuDNN, channels last. The weights are read, and their
 * gradient written, [k][kernel][c / group]: a change of order from and to row-major that the
 * executor makes once for all who want it. Where the picture is rewritten for tensor cores
 * (conv_lift.h) so is the gradient of its weights. In bfloat16 that one is written in bfloat16 too,
 * from float32 sums: with a float32 result cuDNN has only an engine that is ten times slower. The
 * bias's gradient is one more pass over dy.
 */
#include "conv_grad_rows.h"

#include "conv_lift.h"
#include "conv_problem.h"
#include "reduce_rows.h"

typedef struct grad_state {
    ed_cuda_plan *plan; /* the device's */
    bool bf16, w_bf16;  /* storage of dy, x, dx; of dw as the plan writes it */
    ed_conv_padding padding;
    ed_conv_lift lift;
    ed_cuda_lifted_taps taps;
    size_t taps_bytes; /* of the rewritten dw; 0: none */
    bool has_sums;     /* the second output is wanted */
    ed_cuda_reduction sums;
} grad_state;

static void grad_free(void *state)
{
    ed_free(state);
}

/* The engine for the problem, with padding apart where it takes no other. */
static int find_plan(grad_state *s, ed_cuda *device, ed_cuda_conv *c)
{
    ED_TRY(ed_cuda_plan_get(&s->plan, device, &ed_cuda_conv_kind, c));
    if (!s->plan && c->direction == ED_CONV_WEIGHT_GRAD && c->bf16) {
        c->w_bf16 = 0;
        ED_TRY(ed_cuda_plan_get(&s->plan, device, &ed_cuda_conv_kind, c));
        c->w_bf16 = s->plan == NULL;
    }
    if (!s->plan && !s->padding.apart && ed_conv_is_uneven(c)) {
        ed_conv_pad_apart(&s->padding, c);
        return find_plan(s, device, c);
    }
    s->bf16 = c->bf16;
    s->w_bf16 = c->w_bf16;
    return ED_OK;
}

bool ed_cuda_conv_grad_window(ed_window *w, ed_kernel_plan *p, bool weight)
{
    const ed_node *node = p->nodes[0];
    const ed_conv_grad_params *params = p->params[0];
    const ed_id x = weight ? node->in[1] : node->out[0],
                filter = weight ? node->out[0] : node->in[1];
    if (!ed_plan_takes_conv(p))
        return false;
    if (!ed_plan_is_f32(p, node->in[1]))
        ed_plan_refuse(p, "empty or not float32");
    else if (ed_conv_window(w, p->graph, node, &params->conv, &p->types[x].shape,
                            &p->types[filter].shape) != ED_OK)
        ed_plan_refuse(p, "no such window"); /* the reference tells what is wrong */
    return !p->reason;
}

/* The problem; false: refused. */
static bool ready(ed_cuda_conv *c, ed_kernel_plan *p, bool weight)
{
    const ed_node *node = p->nodes[0];
    const ed_conv_grad_params *params = p->params[0];
    const ed_cuda *device = p->device;
    const ed_shape *dy = &p->types[node->in[0]].shape;
    ed_window w;
    if (!ed_cuda_conv_grad_window(&w, p, weight))
        return false;
    if (weight)
        ed_conv_problem(c, device, &w, &params->conv, &p->types[node->in[1]].shape, dy,
                        ED_CONV_WEIGHT_GRAD);
    else
        ed_conv_problem(c, device, &w, &params->conv, dy, &p->types[node->out[0]].shape,
                        ED_CONV_INPUT_GRAD);
    c->deterministic = device->opts.deterministic;
    return true;
}

/* All plans of a graph at once, as those of the convolutions themselves. */
static void prepare(ed_kernel_plan *p, bool weight)
{
    grad_state s = { 0 };
    ed_cuda_conv c;
    if (((const ed_cuda *)p->device)->opts.autotune || !ready(&c, p, weight))
        return; /* what is timed wants the GPU to itself */
    if (c.group > 1 && c.group == c.c && c.group == c.k && c.spatial == 2)
        return; /* depthwise: a kernel of ours runs it */
    if (weight && p->graph->values[p->nodes[0]->in[1]].is_input)
        ed_conv_lift_problem(&s.lift, &c);
    find_plan(&s, p->device, &c);
}

/* ---- ConvInputGrad(dy, w) ---- */
static int input_grad_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    ed_cuda_conv c;
    int rc = ED_OK;
    if (!ready(&c, p, false))
        return ED_OK;
    grad_state *s = ed_calloc(1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    ED_GOTO(find_plan(s, p->device, &c));
    if (!s->plan) {
        ed_plan_refuse(p, "cuDNN has no engine for it");
        goto done;
    }
    ed_layout layout = ed_layout_with_bf16(ED_LAYOUT_CHANNELS_LAST, s->bf16);
    ed_plan_read(p, node->in[0], layout);
    ed_plan_read(p, node->in[1], layout);
    p->scratch = ed_conv_round_up(s->padding.bytes) + ed_cuda_plan_scratch(s->plan);
    p->kernel = ed_cuda_plan_name(s->plan);
    return ed_cuda_take(p, 1, layout, s);
done:
    grad_free(s);
    return rc;
}

static int input_grad_run(const ed_call *call)
{
    const grad_state *s = call->state;
    ed_cuda *device = ed_cuda_of(call);
    char *scratch = call->scratch;
    void *dx = call->out[0]->data, *to = s->padding.apart ? scratch : dx;
    const void *operands[ED_PLAN_OPERANDS] = {
        [ED_CONV_X] = call->in[0]->data, [ED_CONV_W] = call->in[1]->data, [ED_CONV_Y] = to
    };
    scratch += ed_conv_round_up(s->padding.bytes);
    ED_TRY(ed_cuda_plan_run(s->plan, device, operands, scratch));
    return s->padding.apart ? ed_conv_cut(dx, to, &s->padding, s->bf16, device) : ED_OK;
}

static void input_grad_prepare(ed_kernel_plan *p)
{
    prepare(p, false);
}

/* ---- ConvWeightGrad(dy, x) -> dw [, sums of dy] ---- */
static void answer_weight(ed_kernel_plan *p, grad_state *s)
{
    const ed_node *node = p->nodes[0];
    bool lifted = s->lift.how.width > 0;
    ed_layout layout = ed_layout_with_bf16(ED_LAYOUT_CHANNELS_LAST, s->bf16);
    size_t inner = ed_cuda_plan_scratch(s->plan);
    ed_plan_read(p, node->in[0], layout);
    ed_plan_read(p, node->in[1], lifted ? ED_LAYOUT_PLAIN : layout);
    if (lifted)
        s->taps_bytes =
            ed_conv_lift_taps(&s->taps, &s->lift, p->types[node->out[0]].shape.dim[0], s->w_bf16);
    s->has_sums = node->n_out > 1 && node->out[1] != ED_NONE;
    if (s->has_sums) {
        size_t sums = ed_cuda_channel_sums(&s->sums, &p->types[node->in[0]].shape, layout);
        inner = inner > sums ? inner : sums;
    }
    p->n_out = node->n_out;
    p->scratch = ed_conv_round_up(s->lift.nbytes) + ed_conv_round_up(s->padding.bytes) +
                 ed_conv_round_up(s->taps_bytes) + inner;
    p->kernel = ed_cuda_plan_name(s->plan);
    ed_cuda_take(p, 1,
                 lifted ? ED_LAYOUT_PLAIN : ed_layout_with_bf16(ED_LAYOUT_CHANNELS_LAST, s->w_bf16),
                 s);
}

static int weight_grad_plan(ed_kernel_plan *p)
{
    ed_cuda_conv c;
    int rc = ED_OK;
    if (!ready(&c, p, true))
        return ED_OK;
    grad_state *s = ed_calloc(1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    if (p->layouts[p->nodes[0]->in[1]] == ED_LAYOUT_PLAIN)
        ed_conv_lift_problem(&s->lift, &c);
    ED_GOTO(find_plan(s, p->device, &c));
    if (!s->plan) {
        ed_plan_refuse(p, "cuDNN has no engine for it");
        goto done;
    }
    answer_weight(p, s);
    return ED_OK;
done:
    grad_free(s);
    return rc;
}

int ed_cuda_bias_grad_run(const ed_call *call, const ed_cuda_reduction *sums, bool bf16,
                          void *scratch)
{
    ED_CUDA_TRY(ed_cuda_reduce(call->out[1]->data, call->in[0]->data, bf16, sums, scratch,
                               ed_cuda_of(call)->stream),
                "the kernel of the bias's gradient");
    return ED_OK;
}

static int weight_grad_run(const ed_call *call)
{
    const grad_state *s = call->state;
    ed_cuda *device = ed_cuda_of(call);
    char *scratch = call->scratch;
    void *dw = call->out[0]->data;
    const void *x = call->in[1]->data;
    if (s->lift.how.width) {
        ED_CUDA_TRY(ed_cuda_lift(scratch, s->bf16, x, &s->lift.how, device->stream),
                    "the kernel that adds channels");
        x = scratch;
        scratch += ed_conv_round_up(s->lift.nbytes);
    }
    if (s->padding.apart) {
        ED_TRY(ed_conv_pad(scratch, x, &s->padding, s->bf16, device));
        x = scratch;
        scratch += ed_conv_round_up(s->padding.bytes);
    }
    if (s->taps_bytes) {
        dw = scratch;
        scratch += ed_conv_round_up(s->taps_bytes);
    }
    const void *operands[ED_PLAN_OPERANDS] = {
        [ED_CONV_X] = x, [ED_CONV_W] = dw, [ED_CONV_Y] = call->in[0]->data
    };
    ED_TRY(ed_cuda_plan_run(s->plan, device, operands, scratch));
    if (s->taps_bytes)
        ED_CUDA_TRY(ed_cuda_lower_taps(call->out[0]->data, dw, s->w_bf16, &s->taps, device->stream),
                    "the kernel that rewrites weights");
    return s->has_sums ? ed_cuda_bias_grad_run(call, &s->sums, s->bf16, scratch) : ED_OK;
}

static void weight_grad_prepare(ed_kernel_plan *p)
{
    prepare(p, true);
}

#define input_grad_free  grad_free
#define weight_grad_free grad_free

const ed_cuda_op ed_cuda_conv_grad_ops[] = {
    { "ConvInputGrad",
      "ed",
      { ED_CUDA_ROW(ed_cuda_depthwise_input_grad), ED_CUDA_PREPARED_ROW(input_grad),
        ED_CUDA_ROW(ed_cuda_direct_input_grad) } },
    { "ConvWeightGrad",
      "ed",
      { ED_CUDA_ROW(ed_cuda_depthwise_weight_grad), ED_CUDA_PREPARED_ROW(weight_grad),
        ED_CUDA_ROW(ed_cuda_direct_weight_grad) } },
    { 0 },
};
