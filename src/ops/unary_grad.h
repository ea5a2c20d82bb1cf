/* Gradients of the functions of one number that ordinary nodes express (unary_grad.c). */
#ifndef OPS_UNARY_GRAD_H
#define OPS_UNARY_GRAD_H

#include "ops/gradient.h"

int ed_neg_gradient(ed_grad *g);
int ed_exp_gradient(ed_grad *g);
int ed_log_gradient(ed_grad *g);
int ed_reciprocal_gradient(ed_grad *g);
int ed_sqrt_gradient(ed_grad *g);
int ed_sin_gradient(ed_grad *g);
int ed_cos_gradient(ed_grad *g);
int ed_tan_gradient(ed_grad *g);
int ed_asin_gradient(ed_grad *g);
int ed_acos_gradient(ed_grad *g);
int ed_atan_gradient(ed_grad *g);
int ed_sinh_gradient(ed_grad *g);
int ed_cosh_gradient(ed_grad *g);
int ed_asinh_gradient(ed_grad *g);
int ed_acosh_gradient(ed_grad *g);
int ed_atanh_gradient(ed_grad *g);

#endif
