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

#include "case.h"
#include "device_choice.h"
#include "ed/exec.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

enum { MAX_FAMILIES = 32 };
static const double reference_nmse = 1e-10;
static double fast_nmse = 1e-9;
static ed_exec_options exec_options;
static bool rounds_products, rounds_storage; /* to tf32 or bfloat16; all values to bfloat16 */
static int on_host; /* runs in which the device had no kernel for the node */
static const case_form all_constant = { 0, false }, weights_constant = { 1, false },
                       none_constant = { CASE_NO_CONSTANTS, false };

typedef struct family {
    char name[64];
    op_case *cases;
    size_t count;
} family;

static family families[MAX_FAMILIES];
static size_t n_families;
static expected_file expected;
static bool have_expected;

/* Runs one check over the cases of a family; a check says what is wrong in text. */
typedef bool (*check_fn)(char *text, size_t size, const op_case *c);

static void check_family(const family *f, bool failing, check_fn check)
{
    int failed = 0, checked = 0;
    for (size_t i = 0; i < f->count; i++) {
        const op_case *c = &f->cases[i];
        char text[512] = "";
        if (failing != (c->code[0] != '\0'))
            continue;
        checked++;
        if (check(text, sizeof text, c))
            continue;
        print_error("%s.txt:%d (opset %lld): %s\n    %s\n", f->name, c->number, (long long)c->opset,
                    c->line, text);
        failed++;
    }
    print_message("           %d of %d cases\n", checked - failed, checked);
    assert_int_equal(failed, 0);
}

/* ---- reference ---- */
static int evaluate(ed_tensor **out, const op_case *c)
{
    ed_graph *g = NULL;
    ed_tensor *data[CASE_MAX_IN], *outs[CASE_MAX_OUT] = { NULL };
    *out = NULL;
    ED_TRY(case_build(&g, data, c, all_constant));
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
/* Run through the executor; *out is a copy, `plan` receives the printed plan. */
static int run_executor(ed_tensor **out, const ed_graph *g, ed_tensor *const *data, char **plan)
{
    int rc = ED_OK;
    ed_exec *exec = NULL;
    ed_shape shapes[CASE_MAX_IN];
    const ed_tensor *inputs[CASE_MAX_IN], *outputs[1] = { NULL };
    size_t size = 0;
    FILE *file = NULL;

    for (size_t i = 0; i < g->n_inputs; i++) {
        const char *name = g->values[g->inputs[i]].name; /* "in<number>" */
        inputs[i] = data[atoi(name + 2)];
        shapes[i] = inputs[i]->shape;
    }
    ED_GOTO(ed_exec_new(&exec, g, shapes, &exec_options));
    on_host += ed_exec_get_stats(exec).host_steps > 0;
    file = open_memstream(plan, &size);
    ED_GOTO(file ? ed_exec_print(exec, file) : ED_ENOMEM);
    ED_GOTO(ed_exec_run(exec, inputs, outputs));
    ED_GOTO(ed_exec_run(exec, inputs, outputs)); /* nothing of the first run may stay behind */
    if (exec_options.device)
        ED_GOTO(ed_exec_run(exec, inputs, outputs)); /* the second was recorded: replay it */
    ED_GOTO(ed_tensor_clone(out, outputs[0]));
done:
    if (file)
        fclose(file);
    ed_exec_free(exec);
    return rc;
}

static bool check_executor(char *text, size_t size, const op_case *c, case_form form,
                           const ed_tensor *want)
{
    ed_graph *g = NULL;
    ed_tensor *data[CASE_MAX_IN], *got = NULL;
    char *plan = NULL;
    bool good = false;
    if (case_build(&g, data, c, form) != ED_OK || run_executor(&got, g, data, &plan) != ED_OK)
        snprintf(text, size, "%s", ed_error_last());
    else {
        if (c->fastnan)
            tensors_forgive_nan(got, want);
        bool rounded = rounds_storage || (rounds_products && form.convolved);
        case_match match = rounded && want->dtype == ED_F32 ? MATCH_NMSE : c->match;
        good = tensors_match(text, size, got, want, match, fast_nmse);
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
        if (rounds_products && forms[i].convolved && want->dtype != ED_F32)
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
    if (exec_options.device && on_host)
        print_message("           %d runs on the host\n", on_host);
}

/* ---- the program ---- */
static int compare_names(const void *a, const void *b)
{
    return strcmp(((const family *)a)->name, ((const family *)b)->name);
}

static int load(const char *folder, const char *only)
{
    DIR *dir = opendir(folder);
    ED_FAIL_IF(!dir, ED_ENOTFOUND, "there is no folder '%s'", folder);
    int rc = ED_OK;
    for (struct dirent *entry = readdir(dir); entry && rc == ED_OK; entry = readdir(dir)) {
        char path[1024];
        size_t length = strlen(entry->d_name);
        if (length < 5 || length > 60 || strcmp(entry->d_name + length - 4, ".txt") != 0 ||
            n_families == MAX_FAMILIES)
            continue;
        family *f = &families[n_families];
        snprintf(f->name, sizeof f->name, "%.*s", (int)length - 4, entry->d_name);
        if (only && strcmp(only, f->name) != 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        n_families++;
        rc = case_read(&f->cases, &f->count, path);
    }
    closedir(dir);
    qsort(families, n_families, sizeof *families, compare_names);
    return rc;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        CMUnitTestFunction fn;
    } checks[] = { { "reference", test_reference },
                   { "failures", test_failures },
                   { "memory", test_memory },
                   { "shapes", test_shapes },
                   { "fast rows", test_fast } };
    static struct CMUnitTest tests[MAX_FAMILIES * ED_LENGTH(checks)];
    static char names[MAX_FAMILIES * ED_LENGTH(checks)][80];
    size_t n = 0;

    if (argc < 3 || load(argv[1], argc > 3 ? argv[3] : NULL) != ED_OK) {
        fprintf(stderr, "%s\n",
                argc < 3 ? "usage: test_ops CASES_FOLDER EXPECTED_FILE [family]" : ed_error_last());
        return 2;
    }
    if (!choose_device(&exec_options, &fast_nmse))
        return 77;
    rounds_storage = strcmp(exec_options.precision, "bf16") == 0;
    rounds_products = exec_options.device && strcmp(exec_options.precision, "fp32") != 0;
    have_expected = expected_read(&expected, argv[2]) == ED_OK;
    for (size_t f = 0; f < n_families; f++) {
        size_t first = exec_options.device ? ED_LENGTH(checks) - 1 : 0;
        for (size_t k = first; k < ED_LENGTH(checks); k++, n++) {
            snprintf(names[n], sizeof names[n], "%.63s: %s", families[f].name, checks[k].name);
            tests[n] = (struct CMUnitTest){ names[n], checks[k].fn, NULL, NULL, &families[f] };
        }
    }
    int failed = _cmocka_run_group_tests("operators", tests, n, NULL, NULL);
    for (size_t f = 0; f < n_families; f++)
        ed_free(families[f].cases);
    expected_free(&expected);
    return failed;
}
