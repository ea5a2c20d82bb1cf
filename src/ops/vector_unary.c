/*
 * Functions of one number by vector instructions, in the layout in which the input lies, in place
 * if it dies: Erf and Gelu to 1e-6, Exp to 2 units in the last place, Sqrt, and Pow of a constant
 * exponent of 2, 3, 1/2 or -1.
 */
#include "base/parallel.h"
#include "ops/fast.h"
#include "ops/vector_math.h"

typedef void (*vector_fn)(float *y, const float *x, int64_t n);

#define DEFINE_VECTOR(name, EXPR)                                                                  \
    ED_BODY void name##_body(float *y, const float *x, int64_t n)                                  \
    {                                                                                              \
        ED_INDEPENDENT                                                                             \
        for (int64_t i = 0; i < n; i++)                                                            \
            y[i] = EXPR(x[i]);                                                                     \
    }                                                                                              \
    ED_CLONES_VOID(name, (float *y, const float *x, int64_t n), (y, x, n))
#define SQUARE(x)     ((x) * (x))
#define CUBE(x)       ((x) * (x) * (x))
#define RECIPROCAL(x) (1.0f / (x))
DEFINE_VECTOR(erf_vector, ed_vector_erf)
DEFINE_VECTOR(gelu_vector, ed_vector_gelu)
DEFINE_VECTOR(gelu_tanh_vector, ed_vector_gelu_tanh)
DEFINE_VECTOR(exp_vector, ed_vector_exp)
DEFINE_VECTOR(sqrt_vector, sqrtf)
DEFINE_VECTOR(square_vector, SQUARE)
DEFINE_VECTOR(cube_vector, CUBE)
DEFINE_VECTOR(root_power_vector, ed_vector_root_power)
DEFINE_VECTOR(reciprocal_vector, RECIPROCAL)

/* ---- which one ---- */
static const struct {
    const char *type;
    vector_fn fn;
} functions[] = {
    { "Erf", erf_vector },
    { "Gelu", gelu_vector },
    { "Exp", exp_vector },
    { "Sqrt", sqrt_vector },
};

static const struct {
    float exponent;
    vector_fn fn;
} powers[] = {
    { 2.0f, square_vector },
    { 3.0f, cube_vector },
    { 0.5f, root_power_vector },
    { -1.0f, reciprocal_vector },
};

/* NULL when the exponent is not one constant number of the table. */
static vector_fn find_power(const ed_kernel_plan *p)
{
    ed_id x = p->nodes[0]->in[0], e = p->nodes[0]->in[1];
    const ed_tensor *exponent = p->constants[e];
    if (!exponent || exponent->numel != 1 || exponent->shape.rank > p->types[x].shape.rank)
        return NULL;
    for (size_t i = 0; i < ED_LENGTH(powers); i++)
        if (ed_tensor_get_f64(exponent, 0) == (double)powers[i].exponent)
            return powers[i].fn;
    return NULL;
}

static vector_fn find_function(const ed_kernel_plan *p)
{
    const ed_node *node = p->nodes[0];
    if (strcmp(node->op_type, "Pow") == 0)
        return find_power(p);
    if (strcmp(node->op_type, "Gelu") == 0 &&
        ((const ed_gelu_params *)p->params[0])->approximate == ED_GELU_TANH)
        return gelu_tanh_vector;
    for (size_t i = 0; i < ED_LENGTH(functions); i++)
        if (strcmp(node->op_type, functions[i].type) == 0)
            return functions[i].fn;
    return NULL;
}

/* ---- the row ---- */
typedef struct unary_state {
    vector_fn fn;
    ed_grid grid;
} unary_state;

typedef struct unary_job {
    vector_fn fn;
    float *y;
    const float *x;
} unary_job;

static void unary_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const unary_job *job = ctx;
    (void)thread;
    job->fn(job->y + begin, job->x + begin, end - begin);
}

int ed_vector_unary_run(const ed_call *call)
{
    enum { GRAIN = 4096 };
    const unary_state *s = call->state;
    const ed_grid *grid = &s->grid;
    unary_job job = { s->fn, call->out[0]->data, call->in[0]->data };
    ed_parallel_for(grid->n * grid->g * grid->s * grid->b, GRAIN, unary_range, &job);
    ed_grid_clear_padding(grid, job.y);
    return ED_OK;
}

int ed_vector_unary_plan(ed_kernel_plan *p)
{
    ed_id x = p->nodes[0]->in[0];
    if (!ed_plan_is_f32(p, x))
        return ed_plan_refuse(p, "empty or not float32");
    vector_fn fn = find_function(p);
    if (!fn)
        return ed_plan_refuse(p, "the exponent is not a constant 2, 3, 1/2 or -1");
    unary_state *s = ed_calloc(1, sizeof *s);
    if (!s)
        return ED_ENOMEM;
    s->fn = fn;
    s->grid = ed_grid_of(p->layouts[x], &p->types[x].shape);
    p->taken = 1;
    p->n_in = 1;
    p->in[0] = x;
    p->in_layout[0] = p->out_layout = p->layouts[x];
    p->inplace = ed_plan_dies(p, x, 1) ? 0 : -1;
    p->state = s;
    return ED_OK;
}

void ed_vector_unary_free(void *state)
{
    ed_free(state);
}
