/*
 * Gradients against central differences of the reference kernel.
 *
 * At a point x, along a direction d, with a step h:
 *
 *     slope(h) = (loss(x + h d) - loss(x - h d)) / 2h,   error(h) = slope(h) - gradient . d
 *
 * Only outputs that changed are summed, in double, and gradient . d is taken over the float32
 * numbers that x + h d became, so that neither a NaN elsewhere nor rounding x counts as an error.
 * (4 error(h/2) - error(h)) / 3 is free of the h^2 term (Richardson). Near a kink or a jump the
 * slope of an output does not settle like h^2, or its bend (y(x + h d) - 2 y(x) + y(x - h d)) / h
 * does not vanish like h; both are looked at output by output, since kinks of two outputs may
 * cancel in the loss. Then a shorter step is tried, at last the direction is skipped.
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

/* ---- the loss around x ---- */
enum { UP, DOWN, HALF_UP, HALF_DOWN, PLACES };
static const double place_of[PLACES] = { 1, -1, 0.5, -0.5 }; /* times h */

typedef struct surroundings {
    ed_tensor *outs[PLACES][CASE_MAX_OUT];
    double predicted[PLACES]; /* change of the loss by the gradient */
} surroundings;

static int evaluate(surroundings *s, int place, point *p, const double *direction, double h)
{
    const float *x = p->x->data;
    float *moved = p->moved->data;
    for (int64_t i = 0; i < p->x->numel; i++) {
        moved[i] = x[i];
        if (direction[i] == 0)
            continue;
        moved[i] = (float)(x[i] + place_of[place] * h * direction[i]);
        s->predicted[place] += p->gradient[i] * ((double)moved[i] - x[i]);
    }
    return ed_op_evaluate(p->graph, &p->graph->nodes[0], p->in, s->outs[place]);
}

typedef struct slopes {
    double value, half_value;  /* of the loss, for h and h / 2 */
    double unsettled, bend;    /* over the outputs, squared */
    double noise, total_noise; /* of rounding outputs that changed, all outputs; squared */
    bool changed, finite;      /* finite: the outputs that changed */
    bool poisoned;             /* some output is NaN or infinite, and may stay so */
} slopes;

static void add_output(slopes *to, const double *y, double at, double c, double h)
{
    double full = (y[UP] - y[DOWN]) / (2 * h), half = (y[HALF_UP] - y[HALF_DOWN]) / h;
    double bend = (y[UP] - 2 * at + y[DOWN]) / h;
    double half_bend = (y[HALF_UP] - 2 * at + y[HALF_DOWN]) / (h / 2);
    double unit = c * fmax(fabs(at), fmax(fabs(y[UP]), fabs(y[DOWN]))) * rounding / h;
    bool changed = false, finite = isfinite(at);
    for (int k = 0; k < PLACES; k++) {
        changed = changed || !(y[k] == at || (isnan(y[k]) && isnan(at)));
        finite = finite && isfinite(y[k]);
    }
    to->total_noise += isfinite(unit) ? unit * unit : 0;
    to->poisoned = to->poisoned || !isfinite(at);
    if (!changed)
        return;
    to->changed = true;
    to->finite = to->finite && finite;
    to->value += c * full;
    to->half_value += c * half;
    to->unsettled += c * (full - half) * (c * (full - half));
    to->bend += c * (bend - 2 * half_bend) * (c * (bend - 2 * half_bend));
    to->noise += unit * unit;
}

static slopes slopes_of(const surroundings *s, const point *p, double h)
{
    slopes to = { .finite = true };
    for (uint32_t k = 0; k < p->c->n_out; k++) {
        if (!p->cotangents[k])
            continue;
        const float *at = p->outs[k]->data, *c = p->cotangents[k]->data;
        for (int64_t i = 0; i < p->outs[k]->numel; i++) {
            double y[PLACES];
            for (int place = 0; place < PLACES; place++)
                y[place] = ((const float *)s->outs[place][k]->data)[i];
            add_output(&to, y, at[i], c[i], h);
        }
    }
    return to;
}

/* ---- one direction ---- */
typedef enum verdict { AGREES, DIFFERS, NO_VERDICT } verdict;

typedef struct outcome {
    verdict verdict;
    double numeric, predicted, noise;
} outcome;

/* Along many elements the gradient counts what an output that is NaN, or so large that it hides
 * the change, does not show; of one element, only the outputs that changed are looked at. */
static outcome judge(const slopes *s, const surroundings *around, double h, double size,
                     bool single)
{
    double full = (around->predicted[UP] - around->predicted[DOWN]) / (2 * h);
    double half = (around->predicted[HALF_UP] - around->predicted[HALF_DOWN]) / h;
    bool visible = single && s->changed;
    double noise = sqrt(visible ? s->noise : s->total_noise);
    double unit = tolerance * (size + fabs(s->half_value));
    double error = fabs(4 * (s->half_value - half) - (s->value - full)) / 3;
    outcome o = { NO_VERDICT, s->half_value, half, noise };
    if (!s->changed && half == 0)
        o.verdict = AGREES;
    else if (s->finite && (visible || !s->poisoned) && !(noise > 10 * unit) &&
             !(sqrt(s->unsettled) > unit / 2 + noise) && !(sqrt(s->bend) > unit + 4 * noise))
        o.verdict = error <= unit + noise ? AGREES : DIFFERS;
    return o;
}

static int try_step(outcome *o, point *p, const double *direction, double h, double size,
                    bool single)
{
    int rc = ED_OK;
    surroundings around = { 0 };
    for (int place = 0; place < PLACES; place++)
        ED_GOTO(evaluate(&around, place, p, direction, h));
    slopes s = slopes_of(&around, p, h);
    *o = judge(&s, &around, h, size, single);
done:
    for (int place = 0; place < PLACES; place++)
        for (int k = 0; k < CASE_MAX_OUT; k++)
            ed_tensor_free(around.outs[place][k]);
    return rc;
}

static int try_direction(outcome *o, point *p, const double *direction, double size, bool single)
{
    *o = (outcome){ .verdict = NO_VERDICT };
    for (size_t k = 0; o->verdict == NO_VERDICT && k < ED_LENGTH(steps); k++)
        ED_TRY(try_step(o, p, direction, steps[k], size, single));
    return ED_OK;
}

/* What gradient . direction is expected to be like; -1: nothing moves. */
static double size_of(const point *p, const double *direction)
{
    double sum = 0, length = 0;
    for (int64_t i = 0; i < p->x->numel; i++) {
        if (direction[i] == 0)
            continue;
        double part = p->gradient[i] * direction[i];
        sum += isfinite(part) ? part * part : 0;
        length += direction[i] * direction[i];
    }
    return length == 0 ? -1 : fmax(sqrt(sum), 0.1 * p->rms * sqrt(length));
}

static bool check_direction(char *text, size_t size, difference_counts *counts, point *p,
                            const double *direction, bool single, const char *name)
{
    outcome o;
    double expected = size_of(p, direction);
    if (expected == -1)
        return true;
    if (try_direction(&o, p, direction, expected, single) != ED_OK) {
        snprintf(text, size, "%s", ed_error_last());
        return false;
    }
    counts->compared += o.verdict != NO_VERDICT;
    counts->skipped += o.verdict == NO_VERDICT;
    if (o.verdict == DIFFERS)
        snprintf(text, size, "%s: the gradient gives %.6g, differences %.6g (noise %.1g)", name,
                 o.predicted, o.numeric, o.noise);
    return o.verdict != DIFFERS;
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
        good = check_direction(text, size, counts, p, direction, true, name);
        direction[i] = 0;
    }
    return good;
}

/* Along the gradient, then at random; where a gradient is NaN, single elements tell whether it may
 * be. */
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
                            : (float)fmax(-3, fmin(3, p->gradient[i] / fmax(p->rms, 1e-30)));
            bool moves = may_move(((const float *)p->x->data)[i]) && isfinite(p->gradient[i]);
            direction[i] = moves ? along * element_step(p, i) : 0;
        }
        ed_tensor_free(random);
        snprintf(name, sizeof name, "input %u, direction %d", input, k);
        good = check_direction(text, size, counts, p, direction, false, name);
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
