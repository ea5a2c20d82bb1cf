/*
 * Gradients against central differences of the reference kernel.
 *
 * At a point x, along a direction d, with a step h:
 *
 *     slope(h) = (loss(x + h d) - loss(x - h d)) / 2h,   error(h) = slope(h) - gradient . d
 *
 * Only outputs that changed are summed, in double, and gradient . d is taken over the float32
 * numbers that x + h d became, so that neither a NaN elsewhere nor rounding x counts as an error.
 * error(h) is free of the h^2 term in (4 error(h/2) - error(h)) / 3 (Richardson). Where the loss
 * has a kink or a jump near x, error(h) does not shrink like h^2, or the bend
 * (loss(x + h d) - 2 loss(x) + loss(x - h d)) / h not like h: a shorter step is tried, then the
 * direction is skipped.
 */
#include "gradient_case.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double steps[] = { 2e-2, 2e-3 }; /* of the scale of x */
static const double tolerance = 2e-3;
static const double rounding = 0x1p-24 * 8; /* of one output: a few units in the last place */
static const double largest = 1e4;          /* elements that are moved */
enum { ALL_ELEMENTS = 12, SOME_ELEMENTS = 8, RANDOM_DIRECTIONS = 2 };

typedef struct point {
    const op_case *c;
    ed_graph *graph;                  /* of the forward node alone */
    const ed_tensor *in[CASE_MAX_IN]; /* the inputs, but one is `moved` */
    ed_tensor *outs[CASE_MAX_OUT];    /* at x */
    ed_tensor *const *cotangents;     /* per output; NULL: not in the loss */
    const ed_tensor *x;               /* the input that is moved */
    ed_tensor *moved;
    const float *gradient;
    double scale; /* of x: a step along one element */
    double rms;   /* of the gradient */
} point;

/* ---- one step ---- */
typedef struct change { /* from loss(x) to loss(x + h d) */
    double loss, predicted;
    double noise; /* what rounding the outputs may do to the loss, squared */
    bool finite;
} change;

static void compare_outputs(change *to, const ed_tensor *before, const ed_tensor *after,
                            const ed_tensor *cotangent)
{
    const float *a = before->data, *b = after->data, *c = cotangent->data;
    for (int64_t i = 0; i < before->numel; i++) {
        if (memcmp(&a[i], &b[i], sizeof *a) == 0)
            continue;
        double unit = c[i] * fmax(fabs(a[i]), fabs(b[i])) * rounding;
        to->loss += c[i] * ((double)b[i] - a[i]);
        to->noise += unit * unit;
        to->finite = to->finite && isfinite(a[i]) && isfinite(b[i]);
    }
}

static int move(change *to, point *p, const double *direction, double h)
{
    ed_tensor *outs[CASE_MAX_OUT] = { NULL };
    const float *x = p->x->data;
    float *moved = p->moved->data;
    *to = (change){ .finite = true };
    for (int64_t i = 0; i < p->x->numel; i++) {
        moved[i] = direction[i] == 0 ? x[i] : (float)(x[i] + h * direction[i]);
        if (direction[i] != 0)
            to->predicted += p->gradient[i] * ((double)moved[i] - x[i]);
    }
    ED_TRY(ed_op_evaluate(p->graph, &p->graph->nodes[0], p->in, outs));
    for (uint32_t k = 0; k < p->c->n_out; k++) {
        if (p->cotangents[k])
            compare_outputs(to, p->outs[k], outs[k], p->cotangents[k]);
        ed_tensor_free(outs[k]);
    }
    return ED_OK;
}

typedef struct slope {
    double value, error, bend, noise;
    bool finite;
} slope;

static int measure(slope *s, point *p, const double *direction, double h)
{
    change up, down;
    ED_TRY(move(&up, p, direction, h));
    ED_TRY(move(&down, p, direction, -h));
    s->value = (up.loss - down.loss) / (2 * h);
    s->error = s->value - (up.predicted - down.predicted) / (2 * h);
    s->bend = (up.loss - up.predicted + down.loss - down.predicted) / h;
    s->noise = sqrt(up.noise + down.noise) / h;
    s->finite = up.finite && down.finite;
    return ED_OK;
}

/* ---- one direction ---- */
typedef enum verdict { AGREES, DIFFERS, NO_VERDICT } verdict;

static verdict judge(const slope *wide, const slope *narrow, double size)
{
    double noise = narrow->noise, unit = size + fabs(narrow->value);
    if (!wide->finite || !narrow->finite || noise > 0.1 * unit)
        return NO_VERDICT;
    if (fabs(wide->error - narrow->error) > 2 * tolerance * unit + noise ||
        fabs(wide->bend - 2 * narrow->bend) > 4 * tolerance * unit + 2 * noise)
        return NO_VERDICT;
    double error = fabs(4 * narrow->error - wide->error) / 3;
    return error <= tolerance * unit + noise ? AGREES : DIFFERS;
}

static int try_direction(verdict *v, slope *narrow, point *p, const double *direction, double size)
{
    slope wide;
    *v = NO_VERDICT;
    for (size_t k = 0; *v == NO_VERDICT && k < ED_LENGTH(steps); k++) {
        ED_TRY(measure(&wide, p, direction, steps[k]));
        ED_TRY(measure(narrow, p, direction, steps[k] / 2));
        *v = judge(&wide, narrow, size);
    }
    return ED_OK;
}

/* What gradient . direction is expected to be like; -1: nothing moves. */
static double size_of(const point *p, const double *direction)
{
    double sum = 0, length = 0;
    for (int64_t i = 0; i < p->x->numel; i++) {
        if (direction[i] == 0)
            continue;
        sum += p->gradient[i] * direction[i] * (p->gradient[i] * direction[i]);
        length += direction[i] * direction[i];
    }
    return length == 0 ? -1 : fmax(sqrt(sum), 0.1 * p->rms * sqrt(length));
}

static bool check_direction(char *text, size_t size, difference_counts *counts, point *p,
                            const double *direction, const char *name)
{
    verdict v;
    slope s;
    double expected = size_of(p, direction);
    if (expected == -1)
        return true;
    if (try_direction(&v, &s, p, direction, expected) != ED_OK) {
        snprintf(text, size, "%s", ed_error_last());
        return false;
    }
    counts->compared += v != NO_VERDICT;
    counts->skipped += v == NO_VERDICT;
    if (v == DIFFERS)
        snprintf(text, size, "%s: the gradient gives %.6g, differences %.6g (noise %.1g)", name,
                 s.value - s.error, s.value, s.noise);
    return v != DIFFERS;
}

/* ---- the directions of one input ---- */
static bool may_move(float x)
{
    return fabsf(x) <= largest; /* no NaN */
}

static double element_step(const point *p, int64_t i)
{
    return fmax(p->scale, fabs(((const float *)p->x->data)[i]) / 16);
}

static bool check_elements(char *text, size_t size, difference_counts *counts, point *p,
                           uint32_t input, double *direction)
{
    const float *x = p->x->data;
    bool all = p->x->numel <= ALL_ELEMENTS, good = true;
    uint64_t seed = case_hash(input, p->c->line, strlen(p->c->line));
    char name[64];
    memset(direction, 0, (size_t)p->x->numel * sizeof *direction);
    for (int64_t k = 0; good && k < (all ? p->x->numel : SOME_ELEMENTS); k++) {
        int64_t i = all ? k : (int64_t)(case_hash(seed, &k, sizeof k) % (uint64_t)p->x->numel);
        if (!may_move(x[i]))
            continue;
        direction[i] = element_step(p, i);
        snprintf(name, sizeof name, "input %u, element %lld (%g)", input, (long long)i,
                 (double)x[i]);
        good = check_direction(text, size, counts, p, direction, name);
        direction[i] = 0;
    }
    return good;
}

/* Along the gradient, then at random. */
static bool check_directions(char *text, size_t size, difference_counts *counts, point *p,
                             uint32_t input, double *direction)
{
    char name[64];
    bool good = true;
    for (int k = 0; good && k <= RANDOM_DIRECTIONS; k++) {
        op_case numbers = { .in[0] = { .dtype = ED_F32, .shape = p->x->shape } };
        ed_tensor *random = NULL;
        snprintf(numbers.line, sizeof numbers.line, "direction %d of input %u", k, input);
        if (case_generate(&random, &numbers, 0) != ED_OK)
            return false;
        for (int64_t i = 0; i < p->x->numel; i++) {
            float along = k ? ((const float *)random->data)[i]
                            : (float)fmax(-3, fmin(3, p->gradient[i] / p->rms));
            bool moves = may_move(((const float *)p->x->data)[i]) && isfinite(along);
            direction[i] = moves ? along * element_step(p, i) : 0;
        }
        ed_tensor_free(random);
        snprintf(name, sizeof name, "input %u, direction %d", input, k);
        good = check_direction(text, size, counts, p, direction, name);
    }
    return good;
}

/* The scale of x, at most 1, and of the gradient; false when no element can be moved. */
static bool find_scales(point *p)
{
    const float *x = p->x->data;
    double squares = 0, gradients = 0, count = 0;
    for (int64_t i = 0; i < p->x->numel; i++) {
        if (!may_move(x[i]))
            continue;
        count++;
        squares += (double)x[i] * x[i];
        gradients += isfinite(p->gradient[i]) ? (double)p->gradient[i] * p->gradient[i] : 0;
    }
    if (count == 0)
        return false;
    p->scale = squares > 0 ? fmin(sqrt(squares / count), 1) : 1;
    p->rms = sqrt(gradients / count);
    return true;
}

static bool check_input(char *text, size_t size, difference_counts *counts, point *p,
                        uint32_t input, const ed_tensor *gradient)
{
    const ed_tensor *x = p->in[input];
    double *direction = ed_calloc((size_t)x->numel, sizeof *direction);
    bool good = false;
    p->x = x;
    p->gradient = gradient->data;
    if (!direction || ed_tensor_clone(&p->moved, x) != ED_OK)
        snprintf(text, size, "memory ran out");
    else if (!find_scales(p))
        good = true;
    else {
        p->in[input] = p->moved;
        good = check_elements(text, size, counts, p, input, direction) &&
               check_directions(text, size, counts, p, input, direction);
        p->in[input] = x;
    }
    ed_tensor_free(p->moved);
    p->moved = NULL;
    ed_free(direction);
    return good;
}

bool differences_agree(char *text, size_t size, difference_counts *counts, const op_case *c,
                       const gradient_case *gc, ed_tensor *const *gradients)
{
    ed_tensor *data[CASE_MAX_IN];
    point p = { .c = c, .cotangents = gc->data + CASE_MAX_IN };
    bool good = true;
    if (case_build(&p.graph, data, c, (case_form){ 0, false }) != ED_OK ||
        ed_op_evaluate(p.graph, &p.graph->nodes[0], (const ed_tensor *const *)data, p.outs) !=
            ED_OK) {
        snprintf(text, size, "%s", ed_error_last());
        good = false;
    }
    memcpy(p.in, gc->data, sizeof p.in);
    for (uint32_t i = 0; good && i < c->n_in; i++)
        if (gc->wanted[i])
            good = check_input(text, size, counts, &p, i, gradients[i]);
    for (uint32_t k = 0; k < CASE_MAX_OUT; k++)
        ed_tensor_free(p.outs[k]);
    if (p.graph)
        case_free_data(data);
    ed_graph_free(p.graph);
    return good;
}
