/*
 * Gradients of whole models against reference values made in float64 (golden_models.py): of every
 * initializer, and in the fake-quantized run of the activations' scales too.
 * usage: test_model_gradients FOLDER
 * With ED_TEST_DEVICE=cuda they run there, in float32. Exit status 77 without the reference values.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "harness.h"

#include "ed/onnx.h"
#include "exec/training.h"
#include "ops/gradient.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Relative to the value, to the reference norm, to the largest element, to the sum of |.|. Float32
 * programs differ by a hundredth of these; a gradient that lacks a term differs by far more. */
static const double loss_tolerance = 1e-5, norm_tolerance = 1e-3, element_tolerance = 2e-3,
                    sum_tolerance = 1e-3, scale_tolerance = 1e-3, step_tolerance = 1e-4;

enum { MAX_WANTED = 256 };

typedef struct model_run {
    const char *model, *prefix; /* "" or "fqr_" */
    bool reference;
} model_run;

typedef struct training {
    const char *prefix;
    expected_file golden;
    ed_graph *graph;
    ed_exec *exec;
    const ed_tensor *feeds[2 + MAX_WANTED]; /* of the graph's inputs, in their order */
    ed_tensor *owned[MAX_WANTED];           /* initializers that became inputs */
    size_t n_owned;
    ed_id wanted[MAX_WANTED];
    size_t n_wanted;
    ed_id loss;
} training;

static const char *folder;

/* ---- reference values ---- */
/* "<prefix><what><name>", NULL when there is none. */
static const ed_tensor *golden(const training *t, const char *prefix, const char *what,
                               const char *name)
{
    char key[512];
    snprintf(key, sizeof key, "%s%s%s", prefix, what, name);
    uint64_t hash = case_hash(UINT64_C(0xCBF29CE484222325), key, strlen(key));
    for (size_t i = 0; i < t->golden.count; i++)
        if (t->golden.outputs[i].key == hash)
            return t->golden.outputs[i].tensor;
    return NULL;
}

static double golden_number(const training *t, const char *what, const char *name)
{
    const ed_tensor *number = golden(t, t->prefix, what, name);
    return number ? ed_tensor_get_f64(number, 0) : NAN;
}

/* ---- the training graph ---- */
static int add_input(training *t, ed_id value, const ed_tensor *data)
{
    t->graph->values[value].dtype = data->dtype;
    t->graph->values[value].shape = data->shape;
    t->feeds[t->graph->n_inputs] = data;
    return ed_graph_add_input(t->graph, value);
}

static int add_wanted(training *t, ed_id value, const ed_tensor *data)
{
    ED_FAIL_IF(t->n_wanted == MAX_WANTED, ED_EINTERNAL, "too many parameters for this test");
    t->wanted[t->n_wanted++] = value;
    return add_input(t, value, data);
}

static int fake_quantize(training *t, ed_id *out, ed_id x, ed_id scale, int64_t axis)
{
    ed_id node, in[2] = { x, scale };
    ED_TRY(ed_graph_add_fresh_value(t->graph, out, "quantized"));
    ED_TRY(ed_graph_add_node(t->graph, &node, "FakeQuantize", "quantize", in, 2, out, 1));
    t->graph->nodes[node].domain = "ed";
    return ed_node_set_int(t->graph, node, "axis", axis);
}

/* One quantizer for each value, whose scale is wanted. */
static int quantize_activation(training *t, ed_id *out, ed_id x, ed_id *done)
{
    char name[512];
    ed_id scale;
    const ed_tensor *data = golden(t, t->prefix, "scale:", t->graph->values[x].name);
    ED_FAIL_IF(!data, ED_ENOTFOUND, "there is no scale for '%s'", t->graph->values[x].name);
    if (done[x] == ED_NONE) {
        snprintf(name, sizeof name, "scale:%s", t->graph->values[x].name);
        ED_TRY(ed_graph_add_value(t->graph, &scale, name));
        ED_TRY(add_wanted(t, scale, data));
        ED_TRY(fake_quantize(t, &done[x], x, scale, -1));
    }
    *out = done[x];
    return ED_OK;
}

static int quantize_weight(training *t, ed_id *out, ed_id weight, const ed_tensor *data)
{
    ed_id scale;
    ed_tensor *clone;
    const ed_tensor *axis = golden(t, "", "axis:", t->graph->values[weight].name);
    ED_FAIL_IF(!axis, ED_ENOTFOUND, "there is no axis for '%s'", t->graph->values[weight].name);
    ED_TRY(ed_tensor_clone(&clone, data));
    ED_TRY(ed_graph_add_constant_take(t->graph, &scale, "weight_scale", clone));
    return fake_quantize(t, out, weight, scale, ed_tensor_get_i64(axis, 0));
}

/* Quantizers before both inputs of every node with a weight that has a scale. */
static int quantize(training *t)
{
    int rc = ED_OK;
    size_t n_nodes = t->graph->n_nodes;
    ed_id q, *done = ed_malloc(t->graph->n_values * sizeof *done);
    ED_TRY(done ? ED_OK : ED_ENOMEM);
    for (size_t v = 0; v < t->graph->n_values; v++)
        done[v] = ED_NONE;
    ED_GOTO(ed_graph_set_opset(t->graph, "ed", 1));
    for (ed_id id = 0; id < n_nodes; id++) {
        ed_id x = ed_node_in(&t->graph->nodes[id], 0), w = ed_node_in(&t->graph->nodes[id], 1);
        const ed_tensor *scale =
            w == ED_NONE ? NULL : golden(t, t->prefix, "wscale:", t->graph->values[w].name);
        if (!scale)
            continue;
        ED_GOTO(quantize_activation(t, &q, x, done));
        ED_GOTO(ed_node_set_input(t->graph, id, 0, q));
        ED_GOTO(quantize_weight(t, &q, w, scale));
        ED_GOTO(ed_node_set_input(t->graph, id, 1, q));
    }
done:
    ed_free(done);
    return rc;
}

/* Initializers of which a gradient is known become inputs. */
static int free_parameters(training *t)
{
    for (ed_id v = 0; v < t->graph->n_values; v++) {
        ed_tensor *data = t->graph->values[v].constant;
        if (!data || !golden(t, t->prefix, "norm:", t->graph->values[v].name))
            continue;
        ED_TRY(t->n_owned == MAX_WANTED ? ED_EINTERNAL : ED_OK);
        t->graph->values[v].constant = NULL;
        t->owned[t->n_owned++] = data;
        ED_TRY(add_wanted(t, v, data));
    }
    return ED_OK;
}

static int add_loss(training *t)
{
    ed_id in[2] = { t->graph->outputs[0], ED_NONE }, node;
    ED_TRY(ed_graph_set_opset(t->graph, "ed", 1));
    ED_TRY(ed_graph_add_value(t->graph, &in[1], "labels"));
    ED_TRY(add_input(t, in[1], golden(t, t->prefix, "labels", "")));
    ED_TRY(ed_graph_add_value(t->graph, &t->loss, "loss"));
    ED_TRY(ed_graph_add_node(t->graph, &node, "CrossEntropyLoss", "loss", in, 2, &t->loss, 1));
    t->graph->nodes[node].domain = "ed";
    return ed_graph_infer(t->graph);
}

static int add_gradients(training *t)
{
    ed_id grads[MAX_WANTED];
    ED_TRY(ed_graph_differentiate(t->graph, t->loss, t->wanted, t->n_wanted, grads));
    t->graph->n_outputs = 0;
    ED_TRY(ed_graph_add_output(t->graph, t->loss));
    for (size_t i = 0; i < t->n_wanted; i++) {
        ED_FAIL_IF(grads[i] == ED_NONE, ED_EINTERNAL, "no gradient arrives at '%s'",
                   t->graph->values[t->wanted[i]].name);
        ED_TRY(ed_graph_add_output(t->graph, grads[i]));
    }
    return ED_OK;
}

static int build(training *t, const model_run *run)
{
    char path[1024];
    t->prefix = run->prefix;
    snprintf(path, sizeof path, "%s/%s.bin", folder, run->model);
    ED_TRY(expected_read(&t->golden, path));
    snprintf(path, sizeof path, "%s/%s.onnx", folder, run->model);
    ED_TRY(ed_onnx_read(&t->graph, path));
    t->feeds[0] = golden(t, t->prefix, "x", "");
    ED_TRY(ed_training_bind(t->graph, &t->feeds[0]->shape));
    if (*t->prefix)
        ED_TRY(quantize(t));
    ED_TRY(free_parameters(t));
    ED_TRY(add_loss(t));
    return add_gradients(t);
}

static int execute(training *t, const ed_tensor **outputs, bool reference)
{
    ed_shape shapes[2 + MAX_WANTED];
    ed_exec_options options = harness.exec;
    options.reference = reference;
    for (size_t i = 0; i < t->graph->n_inputs; i++)
        shapes[i] = t->feeds[i]->shape;
    ED_TRY(ed_exec_new(&t->exec, t->graph, shapes, &options));
    ED_TRY(ed_exec_run(t->exec, t->feeds, outputs));
    return ed_exec_run(t->exec, t->feeds, outputs);
}

static void release(training *t)
{
    ed_exec_free(t->exec);
    ed_graph_free(t->graph);
    for (size_t i = 0; i < t->n_owned; i++)
        ed_tensor_free(t->owned[i]);
    expected_free(&t->golden);
}

/* ---- comparing ---- */
static bool near(const char *name, const char *what, double got, double want, double limit)
{
    if (fabs(got - want) <= limit)
        return true;
    print_error("%s: the %s is %.9g instead of %.9g (within %.2g)\n", name, what, got, want, limit);
    return false;
}

static bool parameter_agrees(const training *t, const char *name, const ed_tensor *gradient)
{
    const float *g = gradient->data;
    double squares = 0, sum = 0, most = 0, norm = golden_number(t, "norm:", name);
    const ed_tensor *idx = golden(t, t->prefix, "idx:", name),
                    *val = golden(t, t->prefix, "val:", name);
    for (int64_t i = 0; i < gradient->numel; i++) {
        squares += (double)g[i] * g[i];
        sum += g[i];
        most = fmax(most, fabsf(g[i]));
    }
    bool good = near(name, "norm", sqrt(squares), norm, norm_tolerance * norm) &&
                near(name, "sum", sum, golden_number(t, "sum:", name),
                     sum_tolerance * golden_number(t, "l1:", name));
    for (int64_t k = 0; good && k < val->numel; k++)
        good = near(name, "element", g[ed_tensor_get_i64(idx, k)], ed_tensor_get_f64(val, k),
                    element_tolerance * most);
    return good;
}

/* Against the largest of all scales' gradients. */
static double largest_scale_gradient(const training *t)
{
    double most = 0;
    for (size_t i = 0; i < t->n_wanted; i++) {
        const char *name = t->graph->values[t->wanted[i]].name;
        if (strncmp(name, "scale:", 6) == 0)
            most = fmax(most, fabs(golden_number(t, "dscale:", name + 6)));
    }
    return most;
}

static int count_differences(const training *t, const ed_tensor *const *outputs)
{
    double loss = golden_number(t, "loss", ""), most = largest_scale_gradient(t);
    int differ =
        !near("loss", "value", *(const float *)outputs[0]->data, loss, loss_tolerance * loss);
    for (size_t i = 0; i < t->n_wanted; i++) {
        const char *name = t->graph->values[t->wanted[i]].name;
        if (strncmp(name, "scale:", 6) == 0)
            differ += !near(name, "gradient", *(const float *)outputs[1 + i]->data,
                            golden_number(t, "dscale:", name + 6), scale_tolerance * most);
        else
            differ += !parameter_agrees(t, name, outputs[1 + i]);
    }
    return differ;
}

/* ---- a step ---- */
/* The loss with every parameter moved by -rate * gradient. */
static int loss_after(double *loss, training *t, ed_tensor *const *gradients, double rate)
{
    const ed_tensor *outputs[1 + MAX_WANTED];
    for (size_t i = 0; i < t->n_owned; i++) {
        const float *g = gradients[i]->data;
        float *p = t->owned[i]->data;
        for (int64_t k = 0; k < t->owned[i]->numel; k++)
            p[k] = (float)(p[k] - rate * g[k]);
    }
    ED_TRY(ed_exec_run(t->exec, t->feeds, outputs));
    *loss = *(const float *)outputs[0]->data;
    return ED_OK;
}

/* Two steps from the same place: the second one goes on from the first. */
static int take_steps(training *t, const ed_tensor *const *outputs, int *differ)
{
    int rc = ED_OK;
    ed_tensor *gradients[MAX_WANTED] = { NULL };
    double loss, small = golden_number(t, "small_lr", ""), sgd = golden_number(t, "sgd_lr", "");
    double small_loss = golden_number(t, "small_loss", ""),
           sgd_loss = golden_number(t, "sgd_loss", "");
    for (size_t i = 0; i < t->n_owned; i++)
        ED_GOTO(ed_tensor_clone(&gradients[i], outputs[1 + i]));
    ED_GOTO(loss_after(&loss, t, gradients, small));
    *differ += !near("a small step", "loss", loss, small_loss, step_tolerance * small_loss);
    ED_GOTO(loss_after(&loss, t, gradients, sgd - small));
    *differ += !near("a step", "loss", loss, sgd_loss, step_tolerance * sgd_loss);
done:
    for (size_t i = 0; i < t->n_owned; i++)
        ed_tensor_free(gradients[i]);
    return rc;
}

static void test_model(void **state)
{
    training t = { 0 };
    const ed_tensor *outputs[1 + MAX_WANTED];
    const model_run *run = *state;
    int differ = -1, rc = build(&t, run);
    if (rc == ED_OK)
        rc = execute(&t, outputs, run->reference);
    if (rc == ED_OK)
        differ = count_differences(&t, outputs);
    if (rc == ED_OK && !*run->prefix) /* without scales: parameter i is wanted[i] */
        rc = take_steps(&t, outputs, &differ);
    if (rc != ED_OK)
        print_error("%s\n", ed_error_last());
    print_message("           %zu parameters and scales\n", t.n_wanted);
    release(&t);
    assert_int_equal(rc, ED_OK);
    assert_int_equal(differ, 0);
}

int main(int argc, char **argv)
{
    static model_run runs[] = { { "resnet20", "", false },    { "resnet20", "fqr_", false },
                                { "resnet20", "fqr_", true }, { "vit", "", false },
                                { "vit", "fqr_", false },     { "vit", "fqr_", true } };
    static struct CMUnitTest tests[ED_LENGTH(runs)];
    static char names[ED_LENGTH(runs)][64];
    char path[1024];
    folder = argc > 1 ? argv[1] : ".";
    snprintf(path, sizeof path, "%s/vit.bin", folder);
    FILE *file = fopen(path, "rb");
    if (!file || !harness_choose_device()) {
        print_message("skipped: '%s' is not there (golden_models.py writes it), or no device\n",
                      path);
        return 77;
    }
    fclose(file);
    size_t n = 0;
    for (size_t i = 0; i < ED_LENGTH(runs); i++) {
        if (harness.exec.device && runs[i].reference)
            continue;
        snprintf(names[n], sizeof names[n], "%s, %s%s", runs[i].model,
                 *runs[i].prefix ? "fake-quantized" : "float",
                 runs[i].reference ? ", reference kernels" : "");
        tests[n] = (struct CMUnitTest){ names[n], test_model, NULL, NULL, &runs[i] };
        n++;
    }
    return _cmocka_run_group_tests("models", tests, n, NULL, NULL);
}
