/* Gradients of the functions of one number that ordinary nodes express: dx = dy f'(x), where f' is
 * written with y when that is shorter. */
#include "ops/unary_grad.h"

/* factor dy v, or factor dy / v */
static int give(ed_grad *g, const char *type, ed_id v, float factor)
{
    ed_id dx;
    ED_TRY(ed_grad_binary(g, &dx, type, ed_grad_dy(g), v));
    ED_TRY(ed_grad_scale(g, &dx, dx, factor));
    return ed_grad_give(g, 0, dx);
}

/* *out = v^2 + number */
static int square_plus(ed_grad *g, ed_id *out, ed_id v, float number)
{
    ed_id constant;
    ED_TRY(ed_grad_f32(g, &constant, number));
    ED_TRY(ed_grad_binary(g, out, "Mul", v, v));
    return ed_grad_binary(g, out, "Add", *out, constant);
}

int ed_neg_gradient(ed_grad *g)
{
    ed_id dx;
    ED_TRY(ed_grad_unary(g, &dx, "Neg", ed_grad_dy(g)));
    return ed_grad_give(g, 0, dx);
}

/* y */
int ed_exp_gradient(ed_grad *g)
{
    return give(g, "Mul", g->out[0], 1.0f);
}

/* 1 / x */
int ed_log_gradient(ed_grad *g)
{
    return give(g, "Div", g->in[0], 1.0f);
}

/* -y^2 */
int ed_reciprocal_gradient(ed_grad *g)
{
    ed_id square;
    ED_TRY(ed_grad_binary(g, &square, "Mul", g->out[0], g->out[0]));
    return give(g, "Mul", square, -1.0f);
}

/* 1 / (2 y) */
int ed_sqrt_gradient(ed_grad *g)
{
    return give(g, "Div", g->out[0], 0.5f);
}

/* f' is another function of x, up to the sign */
static int give_function(ed_grad *g, const char *type, float factor)
{
    ed_id v;
    ED_TRY(ed_grad_unary(g, &v, type, g->in[0]));
    return give(g, "Mul", v, factor);
}

int ed_sin_gradient(ed_grad *g)
{
    return give_function(g, "Cos", 1.0f);
}

int ed_cos_gradient(ed_grad *g)
{
    return give_function(g, "Sin", -1.0f);
}

int ed_sinh_gradient(ed_grad *g)
{
    return give_function(g, "Cosh", 1.0f);
}

int ed_cosh_gradient(ed_grad *g)
{
    return give_function(g, "Sinh", 1.0f);
}

/* 1 + y^2 */
int ed_tan_gradient(ed_grad *g)
{
    ed_id v;
    ED_TRY(square_plus(g, &v, g->out[0], 1.0f));
    return give(g, "Mul", v, 1.0f);
}

/* 1 / (x^2 + number), times the sign */
static int give_inverse(ed_grad *g, float number, float sign)
{
    ed_id v;
    ED_TRY(square_plus(g, &v, g->in[0], number));
    return give(g, "Div", v, sign);
}

int ed_atan_gradient(ed_grad *g)
{
    return give_inverse(g, 1.0f, 1.0f);
}

int ed_atanh_gradient(ed_grad *g)
{
    return give_inverse(g, -1.0f, -1.0f);
}

/* sign / sqrt(x^2 + number) */
static int give_inverse_root(ed_grad *g, float number, float sign)
{
    ed_id v;
    ED_TRY(square_plus(g, &v, g->in[0], number));
    ED_TRY(ed_grad_unary(g, &v, "Sqrt", v));
    return give(g, "Div", v, sign);
}

int ed_asinh_gradient(ed_grad *g)
{
    return give_inverse_root(g, 1.0f, 1.0f);
}

int ed_acosh_gradient(ed_grad *g)
{
    return give_inverse_root(g, -1.0f, 1.0f);
}

/* sign / sqrt(1 - x^2) */
static int give_arc(ed_grad *g, float sign)
{
    ed_id v;
    ED_TRY(square_plus(g, &v, g->in[0], -1.0f));
    ED_TRY(ed_grad_unary(g, &v, "Neg", v));
    ED_TRY(ed_grad_unary(g, &v, "Sqrt", v));
    return give(g, "Div", v, sign);
}

int ed_asin_gradient(ed_grad *g)
{
    return give_arc(g, 1.0f);
}

int ed_acos_gradient(ed_grad *g)
{
    return give_arc(g, -1.0f);
}
