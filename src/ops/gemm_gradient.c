/*
 * Gradients of matrix products.
 *
 * Gemm     y = alpha A' B' + beta C      dA' = alpha dy B'^T,  dB' = alpha A'^T dy,  dC = beta dy
 * MatMul   y = A B in each batch         dA = dy B^T,  dB = A^T dy, summed over the batches that
 *                                        broadcast. Of a B without batches (a weight) the rows of
 *                                        all batches of A are one matrix, and dB is one product.
 */
#include "ops/gradient.h"

int ed_gradient_gemm(ed_grad *g)
{
    const ed_gemm_params *p = g->params;
    const bool ta = p->trans_a != 0, tb = p->trans_b != 0;
    ed_id dy = ed_grad_dy(g), a = g->in[0], b = g->in[1], scaled, d;
    if (ed_grad_wants(g, 0) || ed_grad_wants(g, 1))
        ED_TRY(ed_grad_scale(g, &scaled, dy, p->alpha));
    if (ed_grad_wants(g, 0)) {
        ED_TRY(ta ? ed_grad_product(g, &d, b, tb, scaled, true)
                  : ed_grad_product(g, &d, scaled, false, b, !tb));
        ED_TRY(ed_grad_give(g, 0, d));
    }
    if (ed_grad_wants(g, 1)) {
        ED_TRY(tb ? ed_grad_product(g, &d, scaled, true, a, ta)
                  : ed_grad_product(g, &d, a, !ta, scaled, false));
        ED_TRY(ed_grad_give(g, 1, d));
    }
    if (!ed_grad_wants(g, 2))
        return ED_OK;
    const ed_shape c = *ed_grad_shape(g, g->in[2]);
    ED_TRY(ed_grad_sum_to(g, &d, dy, &c));
    ED_TRY(ed_grad_scale(g, &d, d, p->beta));
    return ed_grad_give(g, 2, d);
}

/* ---- MatMul ---- */

typedef struct product { /* with vectors made matrices */
    ed_id a, b, dy;
} product;

/* A vector on the left is a row, one on the right a column. */
static int as_matrices(ed_grad *g, product *m)
{
    ed_shape a = *ed_grad_shape(g, g->in[0]), b = *ed_grad_shape(g, g->in[1]);
    ed_shape y = *ed_grad_shape(g, g->out[0]);
    const bool row = a.rank == 1, column = b.rank == 1;
    if (row) {
        a = ED_SHAPE(1, a.dim[0]);
        y.dim[y.rank] = y.rank > 0 ? y.dim[y.rank - 1] : 1;
        y.dim[y.rank > 0 ? y.rank - 1 : 0] = 1; /* the columns move up one place */
        y.rank++;
    }
    if (column) {
        b = ED_SHAPE(b.dim[0], 1);
        y.dim[y.rank++] = 1;
    }
    ED_TRY(ed_grad_reshape(g, &m->a, g->in[0], &a));
    ED_TRY(ed_grad_reshape(g, &m->b, g->in[1], &b));
    return ed_grad_reshape(g, &m->dy, ed_grad_dy(g), &y);
}

/* [..., K] as [rows, K] */
static int as_rows(ed_grad *g, ed_id *out, ed_id x)
{
    int rank = ed_grad_shape(g, x)->rank;
    const ed_attr attrs[] = { { .name = "axis", .type = ED_ATTR_INT, .i = rank - 1 }, { 0 } };
    *out = x;
    return rank == 2 ? ED_OK : ed_grad_emit_node(g, out, 1, "Flatten", &x, 1, attrs);
}

static int give_reshaped(ed_grad *g, uint32_t i, ed_id d)
{
    const ed_shape shape = *ed_grad_shape(g, g->in[i]);
    ED_TRY(ed_grad_reshape(g, &d, d, &shape));
    return ed_grad_give(g, i, d);
}

static int give_matrix(ed_grad *g, const product *m)
{
    ed_id dy, a, d;
    ED_TRY(as_rows(g, &dy, m->dy));
    if (ed_grad_wants(g, 0)) {
        ED_TRY(ed_grad_product(g, &d, dy, false, m->b, true));
        ED_TRY(give_reshaped(g, 0, d));
    }
    if (!ed_grad_wants(g, 1))
        return ED_OK;
    ED_TRY(as_rows(g, &a, m->a));
    ED_TRY(ed_grad_product(g, &d, a, true, dy, false));
    return give_reshaped(g, 1, d);
}

static int transpose_matrices(ed_grad *g, ed_id *out, ed_id x)
{
    int64_t perm[ED_MAX_RANK];
    int rank = ed_grad_shape(g, x)->rank;
    for (int i = 0; i < rank; i++)
        perm[i] = i < rank - 2 ? i : 2 * rank - 3 - i;
    return ed_grad_transpose(g, out, x, perm);
}

static int give_batches(ed_grad *g, const product *m)
{
    const ed_shape a = *ed_grad_shape(g, m->a), b = *ed_grad_shape(g, m->b);
    ed_id turned, d;
    if (ed_grad_wants(g, 0)) {
        ED_TRY(transpose_matrices(g, &turned, m->b));
        ED_TRY(ed_grad_binary(g, &d, "MatMul", m->dy, turned));
        ED_TRY(ed_grad_sum_to(g, &d, d, &a));
        ED_TRY(give_reshaped(g, 0, d));
    }
    if (!ed_grad_wants(g, 1))
        return ED_OK;
    ED_TRY(transpose_matrices(g, &turned, m->a));
    ED_TRY(ed_grad_binary(g, &d, "MatMul", turned, m->dy));
    ED_TRY(ed_grad_sum_to(g, &d, d, &b));
    return give_reshaped(g, 1, d);
}

int ed_gradient_matmul(ed_grad *g)
{
    product m;
    ED_TRY(as_matrices(g, &m));
    return ed_grad_shape(g, m.b)->rank == 2 ? give_matrix(g, &m) : give_batches(g, &m);
}
