/*
 * The row of BatchNormalization that no pass folded: in the order and storage in which the input
 * lies. Its table of means, gains and biases is made here when the parameters are constants, else
 * by a kernel before each run.
 */
#include "lines.h"

#include <math.h>

typedef struct batch_norm_state {
    int64_t outer, channels, inner;
    float epsilon;
    bool bf16, constant;
    void *table; /* on the device; NULL unless constant */
} batch_norm_state;

static void batch_norm_free(void *state)
{
    batch_norm_state *s = state;
    if (s)
        cudaFree(s->table);
    ed_free(s);
}

/* Inputs scale, b, mean, var on the host; false unless all of them are constants. */
static bool parameters(const float *list[4], const ed_kernel_plan *p)
{
    for (uint32_t i = 0; i < 4; i++) {
        const ed_tensor *t = ed_cuda_constant(p, i + 1);
        if (!t)
            return false;
        list[i] = t->data;
    }
    return true;
}

static int make_table(batch_norm_state *s, const float *const list[4])
{
    const float *scale = list[0], *b = list[1], *mean = list[2], *var = list[3];
    size_t n = (size_t)s->channels;
    float *table = ed_calloc(3 * n, sizeof *table);
    if (!table)
        return ED_ENOMEM;
    for (size_t c = 0; c < n; c++) {
        table[c] = mean[c];
        table[n + c] = (float)(scale[c] / sqrt((double)var[c] + (double)s->epsilon));
        table[2 * n + c] = b[c];
    }
    int rc = ed_cuda_upload(&s->table, table, 3 * n * sizeof *table);
    ed_free(table);
    return rc;
}

static int batch_norm_plan(ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    const ed_batch_norm_params *params = p->params[0];
    const ed_shape *x = ed_cuda_shape(p, node->in[0]);
    ed_layout layout = p->layouts[node->in[0]];
    const float *list[4];
    if (params->training_mode)
        return ed_plan_refuse(p, "training mode");
    batch_norm_state *s = ed_calloc(1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    ed_lines lines = ed_cuda_lines(x, layout, 1);
    s->outer = lines.outer;
    s->channels = lines.n;
    s->inner = lines.inner;
    s->epsilon = params->epsilon;
    s->bf16 = ed_layout_element(layout) == 2;
    s->constant = parameters(list, p);
    int rc = s->constant && s->channels > 0 ? make_table(s, list) : ED_OK;
    if (rc != ED_OK) {
        batch_norm_free(s);
        return rc;
    }
    p->scratch = s->constant ? 0 : 3 * (size_t)s->channels * sizeof(float);
    ed_cuda_read(p, 0, layout);
    for (uint32_t i = 1; i < 5 && !s->constant; i++)
        ed_cuda_read(p, i, ED_LAYOUT_PLAIN);
    ed_cuda_overwrite(p);
    return ed_cuda_take(p, 1, layout, s);
}

static int batch_norm_run(const ed_call *call)
{
    const batch_norm_state *s = call->state;
    cudaStream_t stream = ed_cuda_of(call)->stream;
    const float *table = s->table;
    if (!s->constant) {
        ED_CUDA_TRY(ed_cuda_batch_norm_table(call->scratch, call->in[1]->data, call->in[2]->data,
                                             call->in[3]->data, call->in[4]->data, s->epsilon,
                                             s->channels, stream),
                    "the kernel of BatchNormalization");
        table = call->scratch;
    }
    ED_CUDA_TRY(ed_cuda_batch_norm(call->out[0]->data, call->in[0]->data, s->bf16, table, s->outer,
                                   s->channels, s->inner, stream),
                "the kernel of BatchNormalization");
    return ED_OK;
}

const ed_cuda_op ed_cuda_batch_norm_ops[] = {
    { "BatchNormalization", NULL, { ED_CUDA_ROW(batch_norm) } },
    { 0 },
};
