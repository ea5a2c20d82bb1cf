/* Case files as families, checks over their cases, runs by the executor. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "harness.h"

#include "device_choice.h"

#include "backend/backend.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

family families[MAX_FAMILIES];
size_t n_families;
harness_device harness = { .nmse = 1e-9 };

/* ---- families ---- */
static int compare_names(const void *a, const void *b)
{
    return strcmp(((const family *)a)->name, ((const family *)b)->name);
}

int families_read(const char *folder, const char *only)
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

void families_free(void)
{
    for (size_t f = 0; f < n_families; f++)
        ed_free(families[f].cases);
}

void check_family(const family *f, bool failing, check_fn check)
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

int families_run(const family_test *list, size_t n_list)
{
    enum { MAX_TESTS = 8 };
    static struct CMUnitTest tests[MAX_FAMILIES * MAX_TESTS];
    static char names[MAX_FAMILIES * MAX_TESTS][80];
    size_t n = 0;
    for (size_t f = 0; f < n_families; f++) {
        for (size_t k = 0; k < n_list && k < MAX_TESTS; k++) {
            if (harness.exec.device && !list[k].on_device)
                continue;
            snprintf(names[n], sizeof names[n], "%.63s: %s", families[f].name, list[k].name);
            tests[n] = (struct CMUnitTest){ names[n], list[k].run, NULL, NULL, &families[f] };
            n++;
        }
    }
    return _cmocka_run_group_tests("operators", tests, n, NULL, NULL);
}

/* ---- the device ---- */
bool harness_choose_device(void)
{
    if (!choose_device(&harness.exec, &harness.nmse))
        return false;
    harness.rounds_storage = strcmp(harness.exec.precision, "bf16") == 0;
    harness.rounds_products = harness.exec.device && strcmp(harness.exec.precision, "fp32") != 0;
    return true;
}

/* ---- running ---- */
enum { MAX_INPUTS = CASE_MAX_IN + CASE_MAX_OUT, MAX_OUTPUTS = 1 + CASE_MAX_IN };

static int run_repeatedly(ed_exec *exec, const ed_tensor *const *inputs, const ed_tensor **outputs)
{
    ED_TRY(ed_exec_run(exec, inputs, outputs));
    ED_TRY(ed_exec_run(exec, inputs, outputs)); /* nothing of the first run may stay behind */
    if (harness.exec.device)
        ED_TRY(ed_exec_run(exec, inputs, outputs)); /* the second was recorded: replay it */
    return ED_OK;
}

int harness_execute(ed_tensor **outs, const ed_graph *g, ed_tensor *const *data,
                    const ed_exec_options *options, char **plan, size_t *host_steps)
{
    int rc = ED_OK;
    ed_exec *exec = NULL;
    ed_shape shapes[MAX_INPUTS];
    const ed_tensor *inputs[MAX_INPUTS], *outputs[MAX_OUTPUTS] = { NULL };
    size_t size = 0;
    FILE *file = NULL;

    for (size_t i = 0; i < g->n_inputs; i++) {
        const char *name = g->values[g->inputs[i]].name; /* "in<number>" */
        inputs[i] = data[atoi(name + 2)];
        shapes[i] = inputs[i]->shape;
    }
    ED_GOTO(ed_exec_new(&exec, g, shapes, options));
    if (host_steps)
        *host_steps = ed_exec_get_stats(exec).host_steps;
    file = open_memstream(plan, &size);
    ED_GOTO(file ? ed_exec_print(exec, file) : ED_ENOMEM);
    ED_GOTO(run_repeatedly(exec, inputs, outputs));
    for (size_t i = 0; i < g->n_outputs; i++)
        ED_GOTO(ed_tensor_clone(&outs[i], outputs[i]));
done:
    if (file)
        fclose(file);
    ed_exec_free(exec);
    return rc;
}
