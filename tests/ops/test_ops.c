/*
 * The operator harness: for every case line of cases/<family>.txt
 *   reference  the reference kernel against NumPy's expected output (golden.py), or the expected
 * failure shapes     inference with unknown and symbolic dimensions never contradicts the concrete
 * one fast rows  the executor's kernels against the reference, with inputs 1, 2, ... constant and
 * not usage: test_ops CASES_FOLDER EXPECTED_FILE [family]
 * With ED_TEST_DEVICE=cuda the last check alone runs, there, with ED_TEST_PRECISION.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "harness.h"

#include <stdio.h>
#include <string.h>

static const double reference_nmse = 1e-10;
static size_t on_host; /* runs in which the device had no kernel for the node */
static const case_form all_constant = { 0, false }, weights_constant = { 1, false },
                       none_constant = { CASE_NO_CONSTANTS, false };

static expected_file expected;
static bool have_expected;

/* ---- reference ---- */
static int evaluate(ed_tensor **out, const op_case *c)
{
    ed_graph *g = NULL;
    ed_tensor *data[CASE_MAX_IN], *outs[CASE_MAX_OUT] = { NULL };
    *out = NULL;
    ED_TRY(case_build(&g, data, c, all_constant));
    if (harness.rounds_products)
        case_round(g, data);
    int rc = ed_op_evaluate(g, &g->nodes[0], (const ed_tensor *const *)data, outs);
    for (uint32_t i = 0; i < ED_LENGTH(outs); i++)
        if (i != c->output)
            ed_tensor_free(outs[i]);
    *out = outs[c->output];
    case_free_data(data);
    ed_graph_free(g);
    return rc;
}

static bool check_reference(char *text, size_t size, const op_case *c)
{
    ed_tensor *got = NULL;
    const ed_tensor *want = expected_find(&expected, c);
    bool good = false;
    if (evaluate(&got, c) != ED_OK)
        snprintf(text, size, "%s", ed_error_last());
    else if (!want)
        snprintf(text, size, "the file of expected outputs lacks it; run golden.py again");
    else
        good = tensors_match(text, size, got, want, c->match, reference_nmse);
    ed_tensor_free(got);
    return good;
}

static bool check_failure(char *text, size_t size, const op_case *c)
{
    ed_tensor *got = NULL;
    int rc = evaluate(&got, c);
    ed_tensor_free(got);
    if (rc == ED_OK) {
        snprintf(text, size, "it did not fail");
        return false;
    }
    snprintf(text, size, "it failed with %s: %s", ed_error_name(rc), ed_error_last());
    return strcmp(ed_error_name(rc), c->code) == 0 &&
           strstr(ed_error_last(), c->sentence) != NULL &&
           strstr(ed_error_last(), "'node'") != NULL;
}

static void test_reference(void **state)
{
    if (!have_expected) {
        print_message("no expected outputs (golden.py needs Python with NumPy)\n");
        skip();
    }
    check_family(*state, false, check_reference);
}

static void test_failures(void **state)
{
    check_family(*state, true, check_failure);
}

/* ---- memory ---- */
static int evaluate_failing_at(long n, const ed_graph *g, ed_tensor **data)
{
    ed_tensor *outs[CASE_MAX_OUT] = { NULL };
    ed_alloc_fail_at(n);
    int rc = ed_op_evaluate(g, &g->nodes[0], (const ed_tensor *const *)data, outs);
    long count = ed_alloc_count();
    ed_alloc_fail_at(0);
    for (uint32_t i = 0; i < ED_LENGTH(outs); i++) {
        if (rc != ED_OK && outs[i])
            return ED_EINTERNAL; /* a failed run must leave nothing */
        ed_tensor_free(outs[i]);
    }
    return n ? rc : (int)count;
}

static bool check_memory(char *text, size_t size, const op_case *c)
{
    ed_graph *g = NULL;
    ed_tensor *data[CASE_MAX_IN];
    if (case_build(&g, data, c, all_constant) != ED_OK) {
        snprintf(text, size, "%s", ed_error_last());
        return false;
    }
    int count = evaluate_failing_at(0, g, data), rc = ED_ENOMEM;
    for (int n = 1; rc == ED_ENOMEM && n <= count; n++) {
        rc = evaluate_failing_at(n, g, data);
        snprintf(text, size, "allocation %d of %d failed, the code was %s", n, count,
                 ed_error_name(rc));
    }
    case_free_data(data);
    ed_graph_free(g);
    return count > 0 && rc == ED_ENOMEM;
}

static void test_memory(void **state)
{
    check_family(*state, false, check_memory);
}

/* ---- shapes ---- */
static bool shapes_agree(const ed_shape *open, const ed_shape *concrete)
{
    if (open->rank < 0)
        return true;
    if (open->rank != concrete->rank)
        return false;
    for (int i = 0; i < open->rank; i++)
        if (open->dim[i] >= 0 && open->dim[i] != concrete->dim[i])
            return false;
    return true;
}

typedef enum opening { OPEN_NOTHING, OPEN_BATCH, OPEN_DIMS, OPEN_RANK, OPEN_ALL, OPENINGS } opening;

static int infer_opened(ed_type *out, const op_case *c, opening how)
{
    int rc = ED_OK;
    ed_graph *g = NULL;
    ed_tensor *data[CASE_MAX_IN];
    ED_TRY(case_build(&g, data, c, how == OPEN_ALL ? none_constant : weights_constant));
    for (size_t i = 0; i < g->n_inputs; i++) {
        ed_value *v = &g->values[g->inputs[i]];
        for (int d = 0; d < v->shape.rank; d++)
            if (how == OPEN_DIMS || how == OPEN_ALL)
                v->shape.dim[d] = ED_DIM_UNKNOWN;
        if (how == OPEN_BATCH && v->shape.rank > 0 &&
            (v->shape.dim[0] = ed_graph_symbol(g, "N")) >= 0)
            rc = ED_ENOMEM;
        if (how == OPEN_RANK)
            v->shape = ED_SHAPE_UNKNOWN;
    }
    if (rc == ED_OK)
        rc = ed_graph_infer(g);
    *out = (ed_type){ g->values[g->outputs[0]].dtype, g->values[g->outputs[0]].shape };
    case_free_data(data);
    ed_graph_free(g);
    return rc;
}

static bool check_shapes(char *text, size_t size, const op_case *c)
{
    ed_tensor *got = NULL;
    if (evaluate(&got, c) != ED_OK) {
        snprintf(text, size, "%s", ed_error_last());
        return false;
    }
    bool good = true;
    for (opening how = OPEN_NOTHING; good && how < OPENINGS; how++) {
        ed_type open = { ED_DTYPE_NONE, ED_SHAPE_UNKNOWN };
        char a[128], b[128];
        int rc = infer_opened(&open, c, how);
        good = rc == ED_OK && open.dtype == got->dtype && shapes_agree(&open.shape, &got->shape);
        if (how == OPEN_NOTHING)
            good = good && ed_shape_known(&open.shape);
        snprintf(text, size, "opening %d: %s, %s %s for %s", how, rc ? ed_error_last() : "inferred",
                 ed_dtype_name(open.dtype), ed_shape_format(a, sizeof a, &open.shape),
                 ed_shape_format(b, sizeof b, &got->shape));
    }
    ed_tensor_free(got);
    return good;
}

static void test_shapes(void **state)
{
    check_family(*state, false, check_shapes);
}

/* ---- fast rows ---- */
static bool check_executor(char *text, size_t size, const op_case *c, case_form form,
                           const ed_tensor *want)
{
    ed_graph *g = NULL;
    ed_tensor *data[CASE_MAX_IN], *got = NULL;
    char *plan = NULL;
    size_t host_steps = 0;
    bool good = false;
    int rc = case_build(&g, data, c, form);
    if (rc == ED_OK && harness.rounds_products)
        case_round(g, data);
    if (rc != ED_OK || harness_execute(&got, g, data, &harness.exec, &plan, &host_steps) != ED_OK)
        snprintf(text, size, "%s", ed_error_last());
    else {
        if (c->fastnan)
            tensors_forgive_nan(got, want);
        on_host += host_steps > 0;
        bool rounded = harness.rounds_storage || (harness.rounds_products && form.convolved);
        case_match match = rounded && want->dtype == ED_F32 ? MATCH_NMSE : c->match;
        good = tensors_match(text, size, got, want, match, harness.nmse);
    }
    if (plan && (!good || getenv("ED_TEST_VERBOSE")))
        print_message("%s\n%s", c->line, plan);
    free(plan);
    ed_tensor_free(got);
    case_free_data(data);
    ed_graph_free(g);
    return good;
}

static bool check_fast(char *text, size_t size, const op_case *c)
{
    ed_tensor *want = NULL;
    if (evaluate(&want, c) != ED_OK) {
        snprintf(text, size, "%s", ed_error_last());
        return false;
    }
    static const case_form forms[] = {
        { 1, false }, { CASE_NO_CONSTANTS, false }, { 1, true }, { CASE_NO_CONSTANTS, true }
    };
    bool good = true;
    for (size_t i = 0; good && i < ED_LENGTH(forms); i++) {
        if (harness.rounds_products && forms[i].convolved && want->dtype != ED_F32)
            continue; /* a rounded operand may give another integer */
        good = check_executor(text, size, c, forms[i], want);
    }
    ed_tensor_free(want);
    return good;
}

static void test_fast(void **state)
{
    on_host = 0;
    check_family(*state, false, check_fast);
    if (harness.exec.device && on_host)
        print_message("           %zu runs on the host\n", on_host);
}

/* ---- the program ---- */
int main(int argc, char **argv)
{
    static const family_test tests[] = { { "reference", test_reference, false },
                                         { "failures", test_failures, false },
                                         { "memory", test_memory, false },
                                         { "shapes", test_shapes, false },
                                         { "fast rows", test_fast, true } };
    if (argc < 3 || families_read(argv[1], argc > 3 ? argv[3] : NULL) != ED_OK) {
        fprintf(stderr, "%s\n",
                argc < 3 ? "usage: test_ops CASES_FOLDER EXPECTED_FILE [family]" : ed_error_last());
        return 2;
    }
    if (!harness_choose_device())
        return 77;
    have_expected = expected_read(&expected, argv[2]) == ED_OK;
    int failed = families_run(tests, ED_LENGTH(tests));
    families_free();
    expected_free(&expected);
    return failed;
}
