/*
 * Einsum (ONNX opset 12): "bhid,bhjd->bhij" names the dimensions of each input and of the output;
 * dimensions that the output lacks are summed, an ellipsis stands for dimensions that broadcast. Of
 * an equation without "->" the output has the labels that occur once, in alphabetical order.
 *
 *   y[out labels] = sum over the other labels of the product of the inputs
 *
 * A plain loop over the labels; a label twice in one input is its diagonal. Summed in float32.
 */
#include "ops/einsum.h"
#include "ops/gradient.h"

#include "base/parallel.h"

#include <ctype.h>
#include <string.h>

enum { MAX_INPUTS = ED_EINSUM_MAX_INPUTS, MAX_LABELS = 4 * ED_MAX_RANK };

typedef struct einsum {
    int n_labels, n_out; /* the output's labels come first */
    unsigned char label[MAX_LABELS];
    int64_t size[MAX_LABELS];
    int64_t step[MAX_INPUTS][MAX_LABELS]; /* elements; 0 where it broadcasts or lacks the label */
} einsum;

static int fail(const ed_graph *g, const ed_node *node, const char *what)
{
    const ed_attr *equation = ed_node_attr(node, "equation");

    return ed_node_fail(g, node, ED_EFORMAT, "the equation '%.80s' %s",
                        equation && equation->type == ED_ATTR_STRING ? equation->s.data : "", what);
}

/* ---- the equation ---- */

/* Reads up to a comma, "->" or the end. An ellipsis has `dims` dimensions; -1: what is left of
 * `rank`. False: malformed. */
static bool read_term(ed_einsum_term *t, const char **at, int rank, int dims)
{
    int ellipsis_at = -1;

    t->n = 0;
    for (; **at && **at != ',' && **at != '-'; (*at)++) {
        if (**at == ' ')
            continue;
        if (strncmp(*at, "...", 3) == 0 && ellipsis_at < 0) {
            ellipsis_at = t->n;
            *at += 2;
        } else if (isalpha((unsigned char)**at) && t->n < ED_MAX_RANK) {
            t->label[t->n++] = (unsigned char)**at;
        } else {
            return false;
        }
    }
    if (ellipsis_at < 0)
        return rank < 0 || t->n == rank;
    dims = dims < 0 ? rank - t->n : dims;
    if (dims < 0 || t->n + dims > ED_MAX_RANK)
        return false;
    memmove(t->label + ellipsis_at + dims, t->label + ellipsis_at, (size_t)(t->n - ellipsis_at));
    for (int i = 0; i < dims; i++)
        t->label[ellipsis_at + i] = (unsigned char)(ED_EINSUM_ELLIPSIS + dims - 1 - i);
    t->n += dims;
    return true;
}

static int count_label(const ed_einsum_term *terms, uint32_t n, unsigned char label)
{
    int count = 0;

    for (uint32_t i = 0; i < n; i++)
        for (int k = 0; k < terms[i].n; k++)
            count += terms[i].label[k] == label;
    return count;
}

/* The output without "->": the ellipsis, then labels that occur once. */
static void implicit_output(ed_einsum_term *out, const ed_einsum_term *terms, uint32_t n, int dims)
{
    out->n = 0;
    for (int i = dims - 1; i >= 0; i--)
        out->label[out->n++] = (unsigned char)(ED_EINSUM_ELLIPSIS + i);
    for (int label = 0; label < ED_EINSUM_ELLIPSIS && out->n < 2 * ED_MAX_RANK; label++)
        if (count_label(terms, n, (unsigned char)label) == 1)
            out->label[out->n++] = (unsigned char)label;
}

/* Most dimensions that an input's ellipsis stands for. */
static int ellipsis_dims(const ed_einsum_term *terms, uint32_t n)
{
    int dims = 0;

    for (uint32_t i = 0; i < n; i++)
        for (int k = 0; k < terms[i].n; k++)
            if (terms[i].label[k] - ED_EINSUM_ELLIPSIS >= dims)
                dims = terms[i].label[k] - ED_EINSUM_ELLIPSIS + 1;
    return dims;
}

int ed_einsum_terms(ed_einsum_term *terms, ed_einsum_term *out, const ed_graph *g,
                    const ed_node *node, const int *ranks)
{
    const ed_attr *attr = ed_node_attr(node, "equation");

    if (!attr || attr->type != ED_ATTR_STRING)
        return fail(g, node, "is missing; Einsum requires it");
    const char *at = attr->s.data;
    for (uint32_t i = 0; i < node->n_in; i++) {
        if (!read_term(&terms[i], &at, ranks[i], -1))
            return fail(g, node, "does not fit the dimensions of its inputs");
        if (i + 1 < node->n_in ? *at++ != ',' : *at == ',')
            return fail(g, node, "does not have as many terms as the node has inputs");
    }
    int dims = ellipsis_dims(terms, node->n_in);
    if (*at == '\0') {
        implicit_output(out, terms, node->n_in, dims);
    } else {
        at += 2; /* "->" */
        if (at[-1] != '>' || !read_term(out, &at, -1, dims) || *at)
            return fail(g, node, "has an output that cannot be read");
    }
    if (out->n > ED_MAX_RANK)
        return fail(g, node, "has an output of more than 8 dimensions");
    for (int k = 0; k < out->n; k++)
        if (count_label(out, 1, out->label[k]) > 1 ||
            count_label(terms, node->n_in, out->label[k]) == 0)
            return fail(g, node, "has an output label twice, or one that no input has");
    return ED_OK;
}

/* ---- labels with their sizes ---- */

static int find_label(einsum *e, unsigned char label)
{
    for (int i = 0; i < e->n_labels; i++)
        if (e->label[i] == label)
            return i;
    if (e->n_labels == MAX_LABELS)
        return -1;
    e->label[e->n_labels] = label;
    e->size[e->n_labels] = 1;
    return e->n_labels++;
}

/* Dimension i of an input under its label: sizes agree, of an ellipsis 1 gives way. */
static bool merge_size(int64_t *size, int64_t dim)
{
    if (*size == 1 || dim == 1) {
        *size = *size == 1 ? dim : *size;
        return true;
    }
    return ed_dim_unify(size, *size, dim);
}

static int resolve(einsum *e, const ed_graph *g, const ed_node *node, const ed_shape *const *shapes)
{
    ed_einsum_term terms[MAX_INPUTS], out;
    int ranks[MAX_INPUTS];

    memset(e, 0, sizeof *e);
    for (uint32_t i = 0; i < node->n_in; i++)
        ranks[i] = shapes[i]->rank;
    ED_TRY(ed_einsum_terms(terms, &out, g, node, ranks));
    for (int k = 0; k < out.n; k++)
        find_label(e, out.label[k]);
    e->n_out = e->n_labels;
    for (uint32_t i = 0; i < node->n_in; i++) {
        int64_t step = 1;

        for (int k = terms[i].n - 1; k >= 0; k--) {
            int label = find_label(e, terms[i].label[k]);
            int64_t dim = shapes[i]->dim[k];

            if (label < 0)
                return fail(g, node, "has too many labels");
            if (!merge_size(&e->size[label], dim))
                return fail(g, node, "gives one label to dimensions of different sizes");
            e->step[i][label] += dim == 1 ? 0 : step;
            step *= dim < 0 ? 0 : dim; /* unknown sizes: only the output's shape is wanted */
        }
    }
    return ED_OK;
}

static int einsum_infer(ed_infer *ctx)
{
    const ed_shape *shapes[MAX_INPUTS];
    einsum e;

    ED_TRY(ed_infer_f32(ctx));
    ctx->out[0].dtype = ED_F32;
    for (uint32_t i = 0; i < ctx->n_in; i++) {
        shapes[i] = &ctx->in[i].shape;
        if (shapes[i]->rank < 0)
            return ED_OK;
    }
    ED_TRY(resolve(&e, ctx->graph, ctx->node, shapes));
    ctx->out[0].shape.rank = e.n_out;
    memcpy(ctx->out[0].shape.dim, e.size, (size_t)e.n_out * sizeof *e.size);
    return ED_OK;
}

/* ---- kernel ---- */

typedef struct einsum_job {
    const einsum *e;
    const ed_call *call;
    int64_t sums; /* terms of each output element */
} einsum_job;

/* The inputs' elements at the n-th combination of labels [first, last). */
static void seek(int64_t *at, int64_t *index, const einsum *e, uint32_t n_in, int first, int last,
                 int64_t n)
{
    for (int l = last - 1; l >= first; l--) {
        index[l] = n % e->size[l];
        n /= e->size[l];
        for (uint32_t i = 0; i < n_in; i++)
            at[i] += index[l] * e->step[i][l];
    }
}

static void advance(int64_t *at, int64_t *index, const einsum *e, uint32_t n_in)
{
    for (int l = e->n_labels - 1; l >= e->n_out; l--) {
        for (uint32_t i = 0; i < n_in; i++)
            at[i] += e->step[i][l];
        if (++index[l] < e->size[l])
            return;
        index[l] = 0;
        for (uint32_t i = 0; i < n_in; i++)
            at[i] -= e->step[i][l] * e->size[l];
    }
}

static void einsum_elements(void *ctx, int64_t begin, int64_t end, int thread)
{
    const einsum_job *j = ctx;
    const ed_call *c = j->call;

    (void)thread;
    for (int64_t o = begin; o < end; o++) {
        int64_t at[MAX_INPUTS] = { 0 }, index[MAX_LABELS] = { 0 };
        float sum = 0.0f;

        seek(at, index, j->e, c->n_in, 0, j->e->n_out, o);
        for (int64_t s = 0; s < j->sums; s++) {
            float product = ((const float *)c->in[0]->data)[at[0]];

            for (uint32_t i = 1; i < c->n_in; i++)
                product *= ((const float *)c->in[i]->data)[at[i]];
            sum += product;
            advance(at, index, j->e, c->n_in);
        }
        ((float *)c->out[0]->data)[o] = sum;
    }
}

static int einsum_forward(const ed_call *c)
{
    const ed_shape *shapes[MAX_INPUTS];
    einsum e;
    einsum_job job = { &e, c, 1 };

    for (uint32_t i = 0; i < c->n_in; i++)
        shapes[i] = &c->in[i]->shape;
    ED_TRY(resolve(&e, NULL, c->node, shapes));
    for (int l = e.n_out; l < e.n_labels; l++)
        job.sums *= e.size[l];
    ed_parallel_for(c->out[0]->numel, 4096 / (job.sums + 1) + 1, einsum_elements, &job);
    return ED_OK;
}

const ed_op ed_ops_einsum[] = {
    { .type = "Einsum",
      .opset = { 12, 0 },
      .arity = { 1, MAX_INPUTS, 1 },
      .infer = einsum_infer,
      .forward = { ED_REFERENCE(einsum_forward) },
      .gradient = ed_gradient_einsum },
    { 0 },
};
