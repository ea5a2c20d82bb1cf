/*
 * ed-eval: how good models are on labelled samples, and how far they are from the first one.
 */
#include "eval_report.h"

#include <stdlib.h>
#include <string.h>

static const char description[] =
    "Run models side by side on the same samples. The first MODEL is the reference: for the others "
    "the "
    "drop in top-1 accuracy in points, the share of samples with the same answer, and the SQNR of "
    "the "
    "first output in dB are printed. Quantized models (QDQ) of any tool are read.\n\n"
    "With one MODEL only its accuracy is printed; without one, that of the model that the data's "
    "attribute `model' names. Data without labels gives agreement and SQNR only.";

static const char *const examples[] = {
    "ed-eval model.onnx model_int8.onnx --data test.h5",
    "accuracy of both, the drop, agreement, SQNR",
    "ed-eval model.onnx model_int8.onnx -d test.h5 --layers",
    "also where the error comes from, worst group first",
    "ed-eval model.onnx a_int8.onnx b_int8.onnx -d test.h5 --json",
    "several candidates against one reference, for a program to read",
    NULL,
};

enum { MAX_MODELS = 64 };

static const char *check(const settings *s)
{
    if (!s->data)
        return "no samples: give --data FILE";
    if (s->layers && s->operands.count != 2)
        return "--layers compares two models: give the float and the quantized one";
    return NULL;
}

static const command eval_command = {
    .name = "ed-eval",
    .id = CMD_EVAL,
    .operands = "[MODEL.onnx [OTHER.onnx...]]",
    .max_operands = MAX_MODELS,
    .summary = "accuracy of ONNX models, and how far they are from the first",
    .description = description,
    .examples = examples,
    .check = check,
};

typedef struct job {
    const settings *s;
    size_t count;
    char *first; /* the first model's path, also when the data named it */
    const char **paths;
    ed_graph **graphs;
    ed_eval_result *results;
    ed_eval_group *groups;
    size_t group_count;
    ed_dataset *data;
    int64_t batch;
} job;

static int allocate(job *j)
{
    j->count = j->s->operands.count ? j->s->operands.count : 1;
    j->paths = calloc(j->count, sizeof *j->paths);
    j->graphs = calloc(j->count, sizeof *j->graphs);
    j->results = calloc(j->count, sizeof *j->results);
    return j->paths && j->graphs && j->results ? ED_OK : tool_fail(ED_ENOMEM, "memory ran out");
}

static int open_data(job *j)
{
    ed_dataset_options options = { .batch = j->batch,
                                   .limit = j->s->limit,
                                   .need_labels = j->count == 1, /* else nothing to tell */
                                   .allow_nonfinite = j->s->allow_nonfinite };
    ed_dataset_close(j->data);
    j->data = NULL;
    TRY(ed_dataset_open(&j->data, j->s->data, j->graphs[0], &options));
    j->batch = ed_dataset_batch_size(j->data);
    if (j->batch > ed_dataset_count(j->data))
        j->batch = ed_dataset_count(j->data);
    return ED_OK;
}

static int read_models(job *j, const char *device)
{
    TRY(tool_model_path(&j->first, j->s));
    for (size_t i = 0; i < j->count; i++) {
        j->paths[i] = i ? j->s->operands.items[i] : j->first;
        TRY(ed_onnx_read(&j->graphs[i], j->paths[i]));
    }
    j->batch = tool_batch(j->s->batch, j->graphs[0], device);
    TRY(open_data(j));
    for (size_t i = 0; i < j->count; i++) {
        TRY(ed_transform(j->graphs[i],
                         NULL)); /* fused groups: faster, and what --layers compares */
        if (j->s->verbose && !j->s->quiet)
            TRY(ed_graph_print(j->graphs[i], stderr));
    }
    return tool_interrupted();
}

static int evaluate(job *j)
{
    ed_eval_options options = { .progress = tool_progress,
                                .groups = j->s->layers ? &j->groups : NULL,
                                .group_count = &j->group_count,
                                .precision = j->s->precision,
                                .autotune = j->s->autotune };
    TRY(tool_device(&options.device, j->s->device));
    TRY(allocate(j));
    TRY(read_models(j, options.device));
    double start = tool_seconds();
    const ed_graph *const *graphs = (const ed_graph *const *)j->graphs;
    int rc = ed_evaluate(j->results, graphs, j->count, j->data, &options);
    while (tool_smaller_batch(&j->batch, rc, j->graphs[0], options.device)) {
        TRY(open_data(j));
        rc = ed_evaluate(j->results, graphs, j->count, j->data, &options);
    }
    TRY(rc);
    double seconds = tool_seconds() - start;
    if (ed_dataset_nonfinite(j->data))
        tool_warn("%s: %lld inputs are NaN or infinite", j->s->data,
                  (long long)ed_dataset_nonfinite(j->data));
    eval_report r = { .data = j->s->data,
                      .models = j->paths,
                      .results = j->results,
                      .count = j->count,
                      .groups = j->groups,
                      .group_count = j->group_count,
                      .nonfinite = ed_dataset_nonfinite(j->data),
                      .seconds = seconds };
    return j->s->json ? eval_report_json(&r, stdout) : eval_report_table(&r, stdout);
}

int main(int argc, char **argv)
{
    settings s;
    tool_begin(argv);
    options_parse(&s, &eval_command, argc, argv);
    job j = { .s = &s };
    int rc = tool_start(&eval_command, &s);
    if (rc == ED_OK)
        rc = evaluate(&j);
    int status = tool_finish(rc);
    ed_dataset_close(j.data);
    for (size_t i = 0; j.graphs && i < j.count; i++)
        ed_graph_free(j.graphs[i]);
    free(j.graphs);
    free(j.paths);
    free(j.results);
    free(j.groups);
    free(j.first);
    settings_free(&s);
    return status;
}
