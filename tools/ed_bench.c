/*
 * ed-bench: float, every calibration method and QAT side by side, from one command.
 *
 * read, transform, one pass over the calibration data for all methods, train, evaluate all models
 * on the same batches; then a table, JSON and a page.
 */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

static const char description[] =
    "Compare a float ONNX model with its INT8 versions: one for each calibration method, which all "
    "look at the same pass over the calibration data, and with --train one that was trained "
    "further (QAT), from the first method's. For each the accuracy on the test data, the drop in "
    "points, the share of samples with the float model's answer, the SQNR of the first output in "
    "dB, and the seconds that calibration by this method alone, or training, takes.\n\n"
    "With --html a page of its own also shows the SQNR of each group, the histogram of each "
    "quantized value with the ranges that the methods chose, and how training went. No model is "
    "written: ed-calibrate --method and ed-qat do that.\n\n"
    "Without a MODEL the attribute `model' of --calib names it; without any data the command runs "
    "on "
    "the demo, handwritten digits. Files are replaced whole or not at "
    "all.";

static const char *const examples[] = {
    "ed-bench model.onnx --calib calib.h5 --test test.h5",
    "a table of all methods",
    "ed-bench model.onnx -d calib.h5 --test test.h5 --train train.h5 --epochs 3 --html bench.html",
    "with QAT, and a page to look at",
    "ed-bench -d datasets/digits_calib.h5 --test datasets/digits_test.h5 --html digits.html",
    "the model that the data names",
    "ed-bench model.onnx -d calib.h5 --test test.h5 --methods mse,entropy --json -",
    "two methods, for a program to read",
    NULL,
};

static const listing listings[] = {
    { "Methods", option_method_row },
    { "Rules of target tensorrt", option_rule_row },
    { "Optimizers", option_optimizer_row },
    { "Schedules", option_schedule_row },
    { "Losses", option_loss_row },
    { "Scales of activations", option_scales_row },
    { "Scales of weights", option_weight_scales_row },
    { NULL, NULL },
};

/* ---- usage ---- */

/* Options that say how to train. */
static const char *const training_options[] = {
    "val",
    "epochs",
    "accumulate",
    "optimizer",
    "lr",
    "momentum",
    "weight-decay",
    "schedule",
    "warmup",
    "clip",
    "loss",
    "temperature",
    "alpha",
    "augment",
    "freeze",
    "seed",
    "scales",
    "val-every",
    "weight-scales",
    "label-smoothing",
    "deterministic",
    "freeze-observers",
    "patience",
    "memory",
    "train-batch",
    NULL,
};

/* Options that only a method makes use of, by its name. */
static const char *const method_options[] = { "percentile", "ema", NULL };

static bool is_listed(const char *name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(names[i], name))
            return true;
    return false;
}

static const char *check(const settings *s)
{
    static char text[512];
    const char *names[BENCH_MAX_METHODS];
    size_t n;
    bool demo = tool_demo_wanted(s) && !s->test && !s->train;
    if (!s->data && !demo)
        return "no samples to calibrate on: give --calib FILE";
    if (!s->test && !demo)
        return "no samples to evaluate on: give --test FILE";
    if (!bench_methods(names, &n, s->methods, text, sizeof text))
        return text;
    for (size_t i = 0; method_options[i]; i++) {
        if (option_given(s, method_options[i]) && !is_listed(method_options[i], names, n)) {
            snprintf(text, sizeof text, "--%s has no effect without the method %s",
                     method_options[i], method_options[i]);
            return text;
        }
    }
    for (size_t i = 0; !s->train && !demo && training_options[i]; i++) {
        if (option_given(s, training_options[i])) {
            snprintf(text, sizeof text, "--%s has no effect without --train FILE",
                     training_options[i]);
            return text;
        }
    }
    return s->patience && !s->val ? "--patience looks at the validation: give --val FILE" : NULL;
}

static const command bench_command = {
    .name = "ed-bench",
    .id = CMD_BENCH,
    .operands = "[MODEL.onnx]",
    .max_operands = 1,
    .summary = "compare a float ONNX model with its INT8 versions by all methods",
    .description = description,
    .examples = examples,
    .listings = listings,
    .check = check,
};

/* ---- the job ---- */

static int check_paths(char **model, const settings *s)
{
    const bool printed = bench_prints_json(s);
    TRY(tool_model_path(model, s));
    const char *const inputs[] = { *model, s->data, s->test, s->train, s->val, s->plan };
    const char *const outputs[] = { s->html, printed ? NULL : s->json_file };
    return tool_check_outputs(outputs, sizeof outputs / sizeof outputs[0], inputs,
                              sizeof inputs / sizeof inputs[0]);
}

static int report(const bench *b, const settings *s)
{
    progress_clear();
    TRY(tool_interrupted());
    if (s->html)
        TRY(tool_write_file(s->html, bench_html, b));
    if (bench_prints_json(s))
        return bench_json(stdout, b);
    if (s->json_file)
        TRY(tool_write_file(s->json_file, bench_json, b));
    if (s->quiet)
        return ED_OK;
    TRY(bench_table(b, stdout));
    if (s->html)
        printf("wrote %s\n", s->html);
    if (s->json_file)
        printf("wrote %s\n", s->json_file);
    return ED_OK;
}

static int take_demo(settings *s)
{
    demo_files demo;
    if (!tool_demo_wanted(s) || s->test || s->train)
        return ED_OK;
    TRY(tool_demo(&demo));
    s->data = demo.calib;
    s->test = demo.test;
    s->train = demo.train;
    return ED_OK;
}

int main(int argc, char **argv)
{
    settings s;
    bench b = { 0 };
    char *model = NULL;
    tool_begin(argv);
    options_parse(&s, &bench_command, argc, argv);
    int rc = tool_start(&bench_command, &s);
    if (rc == ED_OK)
        rc = take_demo(&s);
    if (rc == ED_OK)
        rc = check_paths(&model, &s);
    if (rc == ED_OK)
        rc = bench_run(&b, model, &s);
    if (rc == ED_OK)
        rc = report(&b, &s);
    int status = tool_finish(rc);
    bench_free(&b);
    free(model);
    settings_free(&s);
    return status;
}
