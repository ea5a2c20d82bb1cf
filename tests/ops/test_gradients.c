/*
 * The gradients of all operators, over the case lines of the operator harness:
 *   differences  reference kernels of the gradient's nodes against central differences of the
 *                forward reference kernel (differences.c), or against a closed form
 *   memory       a failed allocation while differentiating is told, and leaves nothing
 *   fast rows    the executor's kernels for the gradient's nodes against the reference ones, with
 *                inputs 1, 2, ... constant and not, images in the library's layout and not
 *   list         operators without a gradient are the ones that are known to have none
 * usage: test_gradients CASES_FOLDER [family]
 * With ED_TEST_DEVICE=cuda the fast rows are those of the device, with ED_TEST_PRECISION.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "gradient_case.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const case_form inputs_free = { CASE_NO_CONSTANTS, false };

/* ---- totals ---- */
enum { MAX_ROWS = 512 };
static int answers_of[MAX_ROWS]; /* by row: directions and elements compared, cases refused */
static difference_counts counts;
static int refused, empty;
static size_t on_host;

static void count_row(const ed_op *op, int answers)
{
    for (size_t i = 0; i < MAX_ROWS && ed_op_at(i); i++)
        if (ed_op_at(i) == op)
            answers_of[i] += answers;
}

static void begin_counts(void)
{
    counts = (difference_counts){ 0 };
    refused = empty = 0;
    on_host = 0;
}

/* ---- running ---- */
static const ed_exec_options reference_options = { .reference = true };

/* ED_EUNSUPPORTED of a row for this case is an answer: true, and *gc is empty. */
static bool run(char *text, size_t size, gradient_case *gc, ed_tensor **of, const op_case *c,
                case_form form, const ed_exec_options *options)
{
    char *plan = NULL;
    size_t host_steps = 0;
    bool rounded = harness.rounds_products || harness.rounds_storage;
    memset(of, 0, CASE_MAX_IN * sizeof *of);
    int rc = gradient_build(gc, c, form, rounded);
    bool unsupported = rc == ED_EUNSUPPORTED && strstr(ed_error_last(), "'node'");
    refused += unsupported;
    if (rc == ED_OK)
        rc = gradient_run(of, gc, options, &plan, &host_steps);
    on_host += host_steps > 0;
    if (rc != ED_OK)
        snprintf(text, size, "%s", ed_error_last());
    if (plan && getenv("ED_TEST_VERBOSE"))
        print_message("%s\n%s", c->line, plan);
    else if (rc != ED_OK && getenv("ED_TEST_VERBOSE"))
        print_message("%s\n    %s\n", c->line, ed_error_last());
    free(plan);
    return rc == ED_OK || unsupported;
}

static void free_gradients(ed_tensor **of)
{
    for (int i = 0; i < CASE_MAX_IN; i++)
        ed_tensor_free(of[i]);
}

/* ---- FakeQuantize: the closed form (STE, LSQ) in place of differences ---- */
typedef struct quantizer {
    const ed_tensor *x, *scale, *zero_point, *dy;
    ed_fake_quant_params params;
    int64_t inner; /* elements after the axis */
} quantizer;

static int64_t channel_of(const quantizer *q, int64_t i)
{
    return q->params.axis < 0 ? 0 : i / q->inner % q->x->shape.dim[q->params.axis];
}

/* d y / d x is 1 or 0, *ratio is d y / d scale. */
static bool passes(double *ratio, const quantizer *q, int64_t i)
{
    int64_t channel = channel_of(q, i);
    float v = ((const float *)q->x->data)[i] / ((const float *)q->scale->data)[channel];
    double z = q->zero_point ? (double)ed_tensor_get_i64(q->zero_point, channel) : 0;
    double level = rint(v) + z;
    bool below = level<(double)q->params.qmin, above = level>(double) q->params.qmax;
    *ratio = below ? (double)q->params.qmin - z : above ? (double)q->params.qmax - z : rint(v) - v;
    return !below && !above;
}

static bool dx_agrees(char *text, size_t size, const quantizer *q, const ed_tensor *dx)
{
    for (int64_t i = 0; i < q->x->numel; i++) {
        double ratio;
        float x = ((const float *)q->x->data)[i], got = ((const float *)dx->data)[i];
        float want = passes(&ratio, q, i) ? ((const float *)q->dy->data)[i] : 0;
        if (got == want || isnan(x))
            continue;
        snprintf(text, size, "dx %lld is %g instead of %g", (long long)i, (double)got,
                 (double)want);
        return false;
    }
    return true;
}

static bool dscale_agrees(char *text, size_t size, const quantizer *q, const ed_tensor *dscale)
{
    for (int64_t k = 0; k < q->scale->numel; k++) {
        double want = 0, got = ((const float *)dscale->data)[k], length = 0, ratio;
        for (int64_t i = 0; i < q->x->numel; i++) {
            if (channel_of(q, i) != k)
                continue;
            passes(&ratio, q, i);
            want += ((const float *)q->dy->data)[i] * ratio;
            length += fabs(((const float *)q->dy->data)[i] * ratio);
        }
        if (isnan(want) || fabs(got - want) <= 1e-4 * length + 1e-30)
            continue;
        snprintf(text, size, "dscale %lld is %g instead of %g", (long long)k, got, want);
        return false;
    }
    return true;
}

static bool quantizer_agrees(char *text, size_t size, const gradient_case *gc, ed_tensor *const *of)
{
    const ed_op *op;
    const ed_node *node = &gc->graph->nodes[0];
    quantizer q = { .x = gc->data[0],
                    .scale = gc->data[1],
                    .zero_point = gc->data[2],
                    .dy = gc->data[CASE_MAX_IN],
                    .inner = 1 };
    if (ed_op_find(&op, gc->graph, node) != ED_OK ||
        ed_op_params(op, gc->graph, node, &q.params) != ED_OK)
        return false;
    for (int i = (int)q.params.axis + 1; q.params.axis >= 0 && i < q.x->shape.rank; i++)
        q.inner *= q.x->shape.dim[i];
    counts.compared += 2;
    return dx_agrees(text, size, &q, of[0]) && dscale_agrees(text, size, &q, of[1]);
}

/* ---- differences ---- */
/* Elements that could be moved. */
static int64_t numel_wanted(const gradient_case *gc)
{
    int64_t numel = 0;
    for (int i = 0; i < CASE_MAX_IN; i++)
        numel += gc->wanted[i] ? gc->data[i]->numel : 0;
    return numel;
}

static bool shapes_agree(const gradient_case *gc, ed_tensor *const *of)
{
    for (int i = 0; i < CASE_MAX_IN; i++)
        if (gc->wanted[i] && !ed_shape_equal(&of[i]->shape, &gc->data[i]->shape))
            return false;
    return true;
}

static bool compare(char *text, size_t size, const op_case *c, const gradient_case *gc,
                    ed_tensor *const *of)
{
    int before = counts.compared;
    if (!shapes_agree(gc, of)) {
        snprintf(text, size, "a gradient is not of its input's shape");
        return false;
    }
    if (c->nograd || numel_wanted(gc) == 0) {
        empty++;
        return true;
    }
    if (strcmp(c->op, "FakeQuantize") == 0)
        return quantizer_agrees(text, size, gc, of);
    if (!differences_agree(text, size, &counts, c, gc, of))
        return false;
    snprintf(text, size, "no direction could be compared; choose other data, or mark it nograd");
    return counts.compared > before;
}

static bool check_differences(char *text, size_t size, const op_case *c)
{
    gradient_case gc = { 0 };
    ed_tensor *of[CASE_MAX_IN];
    const ed_op *op = gradient_row(c);
    int before = counts.compared + refused;
    if (!op)
        snprintf(text, size, "%s", ed_error_last());
    if (!op || !gradient_exists(op))
        return op != NULL;
    bool good = run(text, size, &gc, of, c, inputs_free, &reference_options);
    if (good && gc.graph)
        good = compare(text, size, c, &gc, of);
    count_row(op, counts.compared + refused - before);
    free_gradients(of);
    gradient_free(&gc);
    return good;
}

static void test_differences(void **state)
{
    begin_counts();
    check_family(*state, false, check_differences);
    print_message("           %d directions agree, %d skipped; %d cases with nothing to compare, "
                  "%d without a gradient for their attributes\n",
                  counts.compared, counts.skipped, empty, refused);
}

/* ---- fast rows ---- */
/* A gradient that is summed over a broadcast may be what is left of larger numbers: where these are
 * rounded to bfloat16 it is compared by their error. */
static double limit_of(const ed_graph *g, const op_case *c, const ed_tensor *gradient)
{
    enum { CANCELLED = 20 };
    int64_t most = 0, numel = 0;
    bool elementwise = false;
    for (size_t i = 0; i < g->n_nodes; i++)
        if (strcmp(g->nodes[i].op_type, c->op) == 0)
            elementwise = (ed_op_traits(g, &g->nodes[i]) & ED_OP_ELEMENTWISE) != 0;
    for (uint32_t i = 0; i < c->n_in; i++)
        if (!c->in[i].omitted && ed_shape_numel(&numel, &c->in[i].shape) == ED_OK && numel > most)
            most = numel;
    return harness.rounds_storage && elementwise && gradient->numel < most
               ? CANCELLED * harness.nmse
               : harness.nmse;
}

static bool compare_fast(char *text, size_t size, const op_case *c, case_form form)
{
    gradient_case plain = { 0 }, fast = { 0 };
    ed_tensor *want[CASE_MAX_IN], *got[CASE_MAX_IN] = { NULL };
    char what[256] = "";
    bool good = run(text, size, &plain, want, c, form, &reference_options) &&
                run(text, size, &fast, got, c, form, &harness.exec);
    for (uint32_t i = 0; good && i < CASE_MAX_IN; i++) {
        if (!want[i])
            continue;
        if (c->fastnan)
            tensors_forgive_nan(got[i], want[i]);
        good = tensors_match(what, sizeof what, got[i], want[i], MATCH_NMSE,
                             limit_of(plain.graph, c, want[i]));
        snprintf(text, size, "gradient %u, %s%s: %s", i,
                 form.first_constant == 1 ? "constants" : "", form.convolved ? ", convolved" : "",
                 what);
    }
    free_gradients(want);
    free_gradients(got);
    gradient_free(&plain);
    gradient_free(&fast);
    return good;
}

static bool check_fast(char *text, size_t size, const op_case *c)
{
    static const case_form forms[] = {
        { 1, false }, { CASE_NO_CONSTANTS, false }, { 1, true }, { CASE_NO_CONSTANTS, true }
    };
    const ed_op *op = gradient_row(c);
    bool good = true;
    for (size_t i = 0; op && gradient_exists(op) && good && i < ED_LENGTH(forms); i++)
        good = compare_fast(text, size, c, forms[i]);
    return good;
}

static void test_fast(void **state)
{
    begin_counts();
    check_family(*state, false, check_fast);
    if (harness.exec.device && on_host)
        print_message("           %zu runs on the host\n", on_host);
}

/* ---- memory ---- */
/* Differentiate with the n-th allocation failing; 0: none does. */
static int build_failing_at(long n, long *count, const op_case *c)
{
    gradient_case gc = { 0 };
    ed_alloc_fail_at(n);
    int rc = gradient_build(&gc, c, inputs_free, false);
    *count = ed_alloc_count();
    ed_alloc_fail_at(0);
    gradient_free(&gc);
    return rc;
}

static bool check_memory(char *text, size_t size, const op_case *c)
{
    enum { TRIALS = 50 };
    const ed_op *op = gradient_row(c);
    long count = 0, unused;
    if (!op || !gradient_exists(op) || build_failing_at(0, &count, c) != ED_OK)
        return true;
    for (long n = 1; n <= count; n += 1 + count / TRIALS) {
        int rc = build_failing_at(n, &unused, c);
        snprintf(text, size, "allocation %ld of %ld failed, the code was %s", n, count,
                 ed_error_name(rc));
        if (rc != ED_ENOMEM)
            return false;
    }
    return true;
}

static void test_memory(void **state)
{
    check_family(*state, false, check_memory);
}

/* ---- the list ---- */
/* Operators whose rows have no gradient function: to integers and back, where FakeQuantize is what
 * trains. */
static const char *const without[] = { "QuantizeLinear", "DequantizeLinear" };

/* The output's shape follows from what the inputs hold: they cannot be inputs of a graph. */
static const char *const of_constants[] = { "Range" };

static bool is_listed(const char *type, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i], type) == 0)
            return true;
    return false;
}

/* Gradients are not differentiated again. */
static bool is_gradient(const char *type)
{
    return strstr(type, "Grad") != NULL;
}

static int answers_with(const char *type)
{
    int answers = 0;
    for (size_t i = 0; i < MAX_ROWS && ed_op_at(i); i++)
        answers += strcmp(ed_op_at(i)->type, type) == 0 ? answers_of[i] : 0;
    return answers;
}

static void test_list(void **state)
{
    int wrong = 0;
    (void)state;
    for (size_t i = 0; i < MAX_ROWS && ed_op_at(i); i++) {
        const ed_op *op = ed_op_at(i);
        if (!op->gradient && !is_gradient(op->type)) {
            bool listed = is_listed(op->type, without, ED_LENGTH(without));
            print_message("           no gradient: %s (opset %d)%s\n", op->type, op->opset.since,
                          listed ? "" : ", which is not on the list");
            wrong += !listed;
        } else if (gradient_exists(op) && answers_with(op->type) == 0 &&
                   !is_listed(op->type, of_constants, ED_LENGTH(of_constants))) {
            print_message("           never compared: %s\n", op->type);
            wrong++;
        } else if (op->gradient && is_listed(op->type, without, ED_LENGTH(without))) {
            print_message("           has a gradient now, take it off the list: %s\n", op->type);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

/* ---- the program ---- */
int main(int argc, char **argv)
{
    static const family_test tests[] = { { "differences", test_differences, false },
                                         { "memory of gradients", test_memory, false },
                                         { "fast gradients", test_fast, true } };
    static const struct CMUnitTest list[] = { cmocka_unit_test(test_list) };
    if (argc < 2 || families_read(argv[1], argc > 2 ? argv[2] : NULL) != ED_OK) {
        fprintf(stderr, "%s\n",
                argc < 2 ? "usage: test_gradients CASES_FOLDER [family]" : ed_error_last());
        return 2;
    }
    if (!harness_choose_device())
        return 77;
    int failed = families_run(tests, ED_LENGTH(tests));
    if (argc == 2 && !harness.exec.device)
        failed += cmocka_run_group_tests_name("list of gradients", list, NULL, NULL);
    families_free();
    return failed;
}
