/*
 * ed-qat: quantization-aware training. A float or quantized (QDQ) ONNX model and samples in, the
 * trained QDQ model out.
 *
 * A float model is transformed and calibrated first, as ed-calibrate does it; it is then the
 * teacher. A quantized one is trained from the scales that it has.
 */
#include "qat_report.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CALIBRATION_SAMPLES = 512 };

static const char description[] =
    "Train a quantized ONNX model so that it gives the answers of the float one. A float MODEL is "
    "calibrated first (as ed-calibrate does it) and is its own teacher; a quantized one (QDQ) is "
    "trained as it is, with --teacher for the float model. What trains is the graph that deploys: "
    "weights are quantized anew in each step, gradients pass through rounding.\n\n"
    "With --val the accuracy of the model as it would be written is measured after each epoch, and "
    "the best epoch is kept, or the model as it came in where none is better. With --resume a run "
    "that was stopped, or killed, goes on where it was, bit for bit.\n\n"
    "The same command gives the same bits where these are the same: the number of threads (give "
    "--threads; the default is that of the machine), --memory, --device and --precision, the kind "
    "of processor or GPU, and the versions of this program and its libraries; on a GPU with "
    "--deterministic alone.\n\n"
    "Without a MODEL the data's attribute `model' names it; without data too, the command runs on "
    "the demo, handwritten digits. The output is replaced whole or not at "
    "all, and never the input.";

static const char *const examples[] = {
    "ed-qat --epochs 3",
    "the demo, from calibration to the trained model in digits_qat.onnx",
    "ed-qat model.onnx --data train.h5 --val test.h5",
    "calibrate, train, write model_qat.onnx, and print the accuracy of all three",
    "ed-qat model.onnx -d train.h5 -e 10 --augment flip,crop=4 --resume run.h5",
    "a longer run that may be stopped and started again",
    "ed-qat model_int8.onnx -d train.h5 --teacher model.onnx --scales lsq --weight-scales lsq",
    "train a quantized model further, scales too",
    "ed-qat model.onnx -d train.h5 --loss labels --freeze 'head.*' --log run.csv",
    "learn from the labels; some parameters stay as they are",
    NULL,
};

static const listing listings[] = {
    { "Optimizers", option_optimizer_row },
    { "Schedules", option_schedule_row },
    { "Losses", option_loss_row },
    { "Scales of activations", option_scales_row },
    { "Scales of weights", option_weight_scales_row },
    { "Methods", option_method_row },
    { "Rules of target tensorrt", option_rule_row },
    { NULL, NULL },
};

/* Options that only one choice of another option makes use of. */
static const struct needed {
    const char *option, *other, *choice;
} needed[] = {
    { "percentile", "method", "percentile" },
    { "freeze-observers", "scales", "ema" },
    { "alpha", "loss", "both" },
};

/* The choice that holds for the option. */
static const char *choice_of(const settings *s, const char *option)
{
    if (!strcmp(option, "method"))
        return s->method ? s->method : ed_method_at(0)->name;
    if (!strcmp(option, "scales"))
        return s->scales ? s->scales : ed_scales_at(0)->name;
    return s->loss ? s->loss : ed_loss_at(0)->name;
}

static bool validates(const settings *s)
{
    return s->val || tool_demo_wanted(s);
}

static const char *check_effect(const settings *s)
{
    static char text[256];
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        const struct needed *n = &needed[i];
        if (!option_given(s, n->option) || !strcmp(choice_of(s, n->other), n->choice))
            continue;
        snprintf(text, sizeof text, "--%s has no effect without --%s %s", n->option, n->other,
                 n->choice);
        return text;
    }
    return option_given(s, "val-every") && !validates(s)
               ? "--val-every has no effect without --val FILE"
               : NULL;
}

static const char *check(const settings *s)
{
    if (!s->data && !tool_demo_wanted(s))
        return "no samples: give --data FILE";
    if (s->patience && !validates(s))
        return "--patience looks at the validation: give --val FILE";
    if (s->checkpoint_every && !s->checkpoint && !s->resume)
        return "--checkpoint-every needs --checkpoint FILE, or --resume FILE";
    return check_effect(s);
}

static const command qat_command = {
    .name = "ed-qat",
    .id = CMD_QAT,
    .operands = "[MODEL.onnx]",
    .max_operands = 1,
    .summary = "quantization-aware training of an ONNX model",
    .description = description,
    .examples = examples,
    .listings = listings,
    .check = check,
};

typedef struct job {
    const settings *s;
    char *model, *output;
    const char *device;
    ed_graph *graph, *teacher; /* quantized; float, NULL: none */
    ed_plan *plan;
    ed_ranges *ranges;
    ed_dataset *train, *val;
    ed_qat_options opts;
    ed_qat_result result;
    qat_row rows[3];
    size_t n_rows;
} job;

/* ---- files and options ---- */

static int check_paths(job *j)
{
    const settings *s = j->s;
    const char *inputs[] = { NULL, s->data, s->val, s->calib, s->teacher };
    const char *outputs[] = { NULL, s->checkpoint,
                              tool_same_file(s->checkpoint, s->resume) ? NULL : s->resume, s->log };
    TRY(tool_model_path(&j->model, s));
    if (s->output)
        j->output = strdup(s->output);
    else
        TRY(tool_output_beside(&j->output, j->model, "_qat.onnx"));
    if (!j->output)
        return tool_fail(ED_ENOMEM, "memory ran out");
    inputs[0] = j->model;
    outputs[0] = j->output;
    return tool_check_outputs(outputs, sizeof outputs / sizeof outputs[0], inputs,
                              sizeof inputs / sizeof inputs[0]);
}

/* A checkpoint, or the one before it. */
static bool is_there(const char *path)
{
    char *previous = NULL;
    bool there = access(path, F_OK) == 0;
    if (!there && asprintf(&previous, "%s.previous", path) >= 0) {
        there = access(previous, F_OK) == 0;
        free(previous);
    }
    return there;
}

static void fill_options(job *j)
{
    const settings *s = j->s;
    j->opts = tool_qat_options(s);
    j->opts.device = j->device;
    j->opts.checkpoint = s->checkpoint ? s->checkpoint : s->resume;
    j->opts.checkpoint_every = s->checkpoint_every;
    j->opts.resume = s->resume && is_there(s->resume) ? s->resume : NULL;
    j->opts.log = s->log;
    j->opts.report = qat_progress;
    if (s->resume && !j->opts.resume)
        tool_note("%s is not there yet: the run begins anew", s->resume);
}

/* ---- models ---- */

static int open_data(ed_dataset **out, const job *j, const char *path, int64_t limit, bool labels)
{
    ed_qat_options standard = { 0 };
    ed_qat_defaults(&standard);
    ed_dataset_options options = { .batch = j->s->batch, .limit = limit, .need_labels = labels };
    if (!options.batch && !tool_fixed_batch(j->graph))
        options.batch = standard.batch;
    return ed_dataset_open(out, path, j->graph, &options);
}

static int calibrate(job *j)
{
    const settings *s = j->s;
    ed_dataset *data = NULL;
    const ed_plan_options plan = tool_plan_options(s);
    ed_calib_options calib = tool_calib_options(s);
    calib.device = j->device;
    TRY(ed_transform(j->graph, &plan));
    TRY(ed_graph_clone(&j->teacher, j->graph));
    TRY(ed_plan_build(&j->plan, j->graph, ED_PHASE_QUANTIZE, &plan));
    if (!ed_plan_point_count(j->plan))
        return tool_fail(ED_EUNSUPPORTED,
                         "%s: nothing in it can be quantized; ed-calibrate "
                         "--verbose says why",
                         j->model);
    TRY(open_data(&data, j, s->calib ? s->calib : s->data, s->calib ? 0 : CALIBRATION_SAMPLES,
                  false));
    int rc = ed_calibrate(&j->ranges, j->graph, j->plan, data, &calib);
    ed_dataset_close(data);
    TRY(rc);
    TRY(ed_calibrate_apply(j->plan, j->graph, j->ranges, &calib));
    TRY(ed_plan_apply(j->plan, j->graph));
    return ed_target_check(j->graph, s->target);
}

/* What another tool quantized may be meant for another target. */
static int take_quantized(job *j)
{
    TRY(ed_transform(j->graph, NULL));
    int rc = ed_target_check(j->graph, j->s->target);
    if (rc == ED_EUNSUPPORTED)
        tool_warn("%s", ed_error_last());
    return rc == ED_EUNSUPPORTED ? ED_OK : rc;
}

/* Options of what is done to a float model. */
static int check_quantized(const job *j)
{
    static const char *const names[] = { "calib", "method", "percentile", "exclude",
                                         "rule",  "bits-w", "bits-a",     "int8-storage" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (option_given(j->s, names[i]))
            return tool_fail(ED_EINVAL,
                             "%s: it is quantized already; --%s is for a float "
                             "model",
                             j->model, names[i]);
    return ED_OK;
}

static int read_teacher(job *j)
{
    ed_graph_free(j->teacher);
    j->teacher = NULL;
    TRY(ed_onnx_read(&j->teacher, j->s->teacher));
    return ed_transform(j->teacher, NULL);
}

/* All files are opened, and found wanting, before anything takes time. */
static int prepare(job *j)
{
    const settings *s = j->s;
    TRY(ed_onnx_read(&j->graph, j->model));
    bool quantized = ed_graph_node_count(j->graph, "FakeQuantize") > 0;
    if (quantized)
        TRY(check_quantized(j));
    if (quantized && !s->teacher && !s->loss) {
        j->opts.loss = "labels";
        tool_note("the model is quantized and there is no --teacher: it learns from the labels");
    }
    TRY(open_data(&j->train, j, s->data, s->limit,
                  j->opts.loss && strcmp(j->opts.loss, ed_loss_at(0)->name) != 0));
    if (s->val)
        TRY(open_data(&j->val, j, s->val, 0, true));
    TRY(quantized ? take_quantized(j) : calibrate(j));
    if (s->teacher)
        TRY(read_teacher(j));
    return tool_interrupted();
}

/* ---- before and after ---- */

static int evaluate(job *j, const char *name)
{
    const ed_graph *graphs[] = { j->teacher ? j->teacher : j->graph, j->graph };
    size_t count = j->teacher ? 2 : 1;
    ed_eval_result results[2];
    ed_eval_options options = { .device = j->device,
                                .precision = j->s->precision,
                                .autotune = j->s->autotune,
                                .progress = tool_progress };
    if (!j->val)
        return ED_OK;
    TRY(ed_evaluate(results, graphs, count, j->val, &options));
    if (j->n_rows == 0 && count == 2)
        j->rows[j->n_rows++] = (qat_row){ "float", results[0] };
    j->rows[j->n_rows++] = (qat_row){ name, results[count - 1] };
    return ED_OK;
}

/* Nobody should have to find out from the figures of another command. */
static void warn_if_worse(const job *j)
{
    if (j->n_rows < 2)
        return;
    double before = j->rows[j->n_rows - 2].result.top1, after = j->rows[j->n_rows - 1].result.top1;
    if (after < before - 1.0)
        tool_warn("training lost %.2f points of top-1; try a smaller --lr, or --clip",
                  before - after);
}

static int train(job *j)
{
    TRY(ed_qat_train(&j->result, j->graph, j->teacher, j->train, j->val, &j->opts));
    if (!j->result.interrupted)
        return ED_OK;
    TRY(tool_interrupted() == ED_OK ? tool_fail(ED_EINTR, "stopped") : ED_OK);
    if (j->opts.checkpoint)
        return tool_fail(ED_EINTR,
                         "stopped by a signal after %lld steps; no model was written; --resume %s "
                         "goes on from there",
                         (long long)j->result.steps, j->opts.checkpoint);
    return tool_fail(ED_EINTR,
                     "stopped by a signal after %lld steps; no file was changed; with --resume "
                     "FILE a run can go on",
                     (long long)j->result.steps);
}

static int write_model(const job *j)
{
    const settings *s = j->s;
    ed_onnx_write_options options = {
        .weights = s->weights && !strcmp(s->weights, "float") ? ED_WEIGHTS_FLOAT : ED_WEIGHTS_INT8,
        .external_data = s->external_data,
    };
    return ed_onnx_write(j->graph, j->output, &options);
}

static int report(job *j, double seconds)
{
    const settings *s = j->s;
    ed_qat_defaults(&j->opts);
    j->opts.batch = ed_dataset_batch_size(j->train);
    qat_report r = { .model = j->model,
                     .output = j->output,
                     .data = s->data,
                     .val = s->val,
                     .opts = &j->opts,
                     .result = &j->result,
                     .rows = j->rows,
                     .count = j->n_rows,
                     .seconds = seconds };
    if (s->json)
        return qat_report_json(&r, stdout);
    return s->quiet ? ED_OK : qat_report_table(&r, stdout);
}

static int run(job *j)
{
    double start = tool_seconds();
    TRY(tool_device(&j->device, j->s->device));
    TRY(check_paths(j));
    fill_options(j);
    TRY(prepare(j));
    TRY(evaluate(j, j->plan ? "calibrated" : "quantized"));
    TRY(train(j));
    TRY(evaluate(j, "trained"));
    warn_if_worse(j);
    TRY(write_model(j));
    return report(j, tool_seconds() - start);
}

/* The demo's files where the command line names none; the result comes into the working folder. */
static int take_demo(settings *s)
{
    demo_files demo;
    if (!tool_demo_wanted(s))
        return ED_OK;
    TRY(tool_demo(&demo));
    s->data = demo.train;
    s->val = s->val ? s->val : demo.test;
    s->calib = s->calib ? s->calib : demo.calib;
    s->output = s->output ? s->output : "digits_qat.onnx";
    return ED_OK;
}

int main(int argc, char **argv)
{
    settings s;
    tool_begin(argv);
    options_parse(&s, &qat_command, argc, argv);
    job j = { .s = &s };
    int rc = tool_start(&qat_command, &s);
    if (rc == ED_OK)
        rc = take_demo(&s);
    if (rc == ED_OK)
        rc = run(&j);
    int status = tool_finish(rc);
    ed_dataset_close(j.train);
    ed_dataset_close(j.val);
    ed_ranges_free(j.ranges);
    ed_plan_free(j.plan);
    ed_graph_free(j.graph);
    ed_graph_free(j.teacher);
    free(j.model);
    free(j.output);
    settings_free(&s);
    return status;
}
