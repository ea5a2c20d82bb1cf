/*
 * Passes as before/after text graphs. A case file holds
 *
 *     case <name> <mode>
 *     <text graph>
 *     expect
 *     <lines>
 *
 * mode transform: the lines are the transformed graph as printed (constants left out); both graphs
 * are also run on the same random input and must agree. mode quantize: transform, a QUANTIZE plan
 * with every scale 0.05 applied; the target's checks hold. mode plan: the fusion plan's matches,
 * "<pattern> <anchor>" and the reason of those not applied. mode points: the QUANTIZE plan's
 * entries likewise. mode expand: the transformed graph of operators that have no kernel, which is
 * not run. mode error: the error's sentence.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/strbuf.h"
#include "ed/exec.h"
#include "passes/plan.h"

#include <dirent.h>
#include <math.h>
#include <string.h>

static const char *folder;
static int failures;

/* ---- running a graph ---- */

static void fill_input(ed_tensor *t, uint32_t seed)
{
    float *x = t->data;
    for (int64_t i = 0; i < t->numel; i++) {
        seed = seed * 1664525U + 1013904223U;
        x[i] = (float)(seed >> 8) / 8388608.0F - 1.0F;
    }
}

static ed_tensor *run(const ed_graph *g, int64_t batch)
{
    ed_shape shape;
    ed_exec *exec = NULL;
    ed_tensor *in, *copy;
    const ed_tensor *out[4];
    assert_int_equal(ed_graph_input_count(g), 1);
    if (ed_exec_batch_shapes(&shape, g, batch) != ED_OK ||
        ed_exec_new(&exec, g, &shape, NULL) != ED_OK)
        fail_msg("%s", ed_error_last());
    assert_int_equal(ed_tensor_new(&in, ED_F32, &shape), ED_OK);
    fill_input(in, 7);
    if (ed_exec_run(exec, (const ed_tensor *const *)&in, out) != ED_OK)
        fail_msg("%s", ed_error_last());
    assert_int_equal(ed_tensor_clone(&copy, out[0]), ED_OK);
    ed_tensor_free(in);
    ed_exec_free(exec);
    return copy;
}

static void assert_same_numbers(const ed_graph *a, const ed_graph *b, const char *name)
{
    ed_tensor *x = run(a, 3), *y = run(b, 3);
    double signal = 0, noise = 0;
    assert_int_equal(x->numel, y->numel);
    for (int64_t i = 0; i < x->numel; i++) {
        double p = ed_tensor_get_f64(x, i), q = ed_tensor_get_f64(y, i);
        signal += p * p;
        noise += (p - q) * (p - q);
    }
    if (!(noise <= 1e-10 * signal) || !(signal > 0))
        fail_msg("%s: noise %g, signal %g", name, noise, signal);
    ed_tensor_free(x);
    ed_tensor_free(y);
}

/* ---- what a mode prints ---- */

static int print_graph(ed_strbuf *out, const ed_graph *g)
{
    char *text = NULL, *rest;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    int rc = ed_graph_print(g, f);
    fclose(f);
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *comment = strstr(line, "  # ");
        if (comment)
            *comment = 0;
        if (strncmp(line, "const ", 6) != 0)
            ed_strbuf_printf(out, "%s\n", line);
    }
    free(text);
    return rc;
}

static int print_plan(ed_strbuf *out, const ed_graph *g, ed_phase phase)
{
    ed_plan *plan;
    ED_TRY(ed_plan_build(&plan, g, phase, NULL));
    for (size_t i = 0; i < ed_plan_count(plan); i++) {
        const ed_match_info *m = ed_plan_at(plan, i);
        ed_strbuf_printf(out, "%s %s%s%s\n", m->pattern, m->anchor, m->reason ? ": " : "",
                         m->reason ? m->reason : "");
    }
    ed_plan_free(plan);
    return ED_OK;
}

static int quantize(ed_graph *g)
{
    ed_plan *plan;
    ED_TRY(ed_plan_build(&plan, g, ED_PHASE_QUANTIZE, NULL));
    int rc = ED_OK;
    for (size_t i = 0; rc == ED_OK && i < ed_plan_point_count(plan); i++) {
        const ed_qdq_point *p = ed_plan_point(plan, i);
        float scales[64];
        size_t n = 1;
        for (size_t k = 0; k < 64; k++)
            scales[k] = 0.05F;
        if (p->axis >= 0)
            n = (size_t)ed_graph_constant(g, p->value)->shape.dim[p->axis];
        rc = ed_plan_set_scales(plan, i, scales, n);
    }
    if (rc == ED_OK)
        rc = ed_plan_apply(plan, g);
    ed_plan_free(plan);
    return rc == ED_OK ? ed_target_check(g, NULL) : rc;
}

static int run_mode(ed_strbuf *out, const char *mode, ed_graph *g, const ed_graph *before,
                    const char *name)
{
    ED_TRY(ed_transform(g, NULL));
    if (strcmp(mode, "plan") == 0) {
        ed_graph_clear_groups(g);
        return print_plan(out, g, ED_PHASE_FUSE);
    }
    if (strcmp(mode, "points") == 0)
        return print_plan(out, g, ED_PHASE_QUANTIZE);
    if (strcmp(mode, "quantize") == 0)
        ED_TRY(quantize(g));
    else if (strcmp(mode, "expand") != 0) /* of operators without a kernel */
        assert_same_numbers(before, g, name);
    return print_graph(out, g);
}

static void check_case(const char *name, const char *mode, const char *graph, const char *expected)
{
    ed_graph *before, *after;
    ed_strbuf out = { 0 };
    if (ed_graph_parse(&before, graph) != ED_OK)
        fail_msg("%s: %s", name, ed_error_last());
    assert_int_equal(ed_graph_clone(&after, before), ED_OK);
    int rc = run_mode(&out, mode, after, before, name);
    if (strcmp(mode, "error") == 0) {
        assert_int_not_equal(rc, ED_OK);
        ed_strbuf_printf(&out, "%s\n", ed_error_last());
    } else if (rc != ED_OK) {
        fail_msg("%s: %s", name, ed_error_last());
    }
    if (strcmp(ed_strbuf_text(&out), expected) != 0) {
        print_error("case %s gives\n%s\nexpected\n%s\n", name, ed_strbuf_text(&out), expected);
        failures++;
    }
    ed_strbuf_free(&out);
    ed_graph_free(before);
    ed_graph_free(after);
}

/* Split a file into cases; returns how many were checked. */
static int check_file(char *text)
{
    int count = 0;
    for (char *p = strstr(text, "case "); p; count++) {
        char name[64], mode[32];
        char *next = strstr(p + 1, "\ncase "), *body = strchr(p, '\n') + 1;
        if (next)
            *next = 0;
        assert_int_equal(sscanf(p, "case %63s %31s", name, mode), 2);
        char *expect = strstr(body, "\nexpect\n");
        assert_non_null(expect);
        *expect = 0;
        ed_strbuf expected = { 0 };
        char *rest;
        for (char *line = strtok_r(expect + 8, "\n", &rest); line;
             line = strtok_r(NULL, "\n", &rest))
            ed_strbuf_printf(&expected, "%s\n", line);
        check_case(name, mode, body, ed_strbuf_text(&expected));
        ed_strbuf_free(&expected);
        p = next ? next + 1 : NULL;
    }
    return count;
}

static void test_case_files(void **state)
{
    (void)state;
    int count = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        void *data;
        size_t size;
        if (!strstr(entry->d_name, ".txt"))
            continue;
        char *path = ed_asprintf("%s/%s", folder, entry->d_name);
        assert_int_equal(ed_file_read(&data, &size, path), ED_OK);
        count += check_file(data);
        ed_free(data);
        ed_free(path);
    }
    closedir(dir);
    print_message("%d cases\n", count);
    assert_true(count >= 20);
    assert_int_equal(failures, 0);
}

int main(int argc, char **argv)
{
    folder = argc > 1 ? argv[1] : "cases";
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_case_files) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
