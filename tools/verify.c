/*
 * --verify: the model as it was read and the transformed one side by side on the same inputs.
 *
 *   relative difference of an output = max |before - after| / max |before|, over all samples
 */
#include "transform_report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RANDOM_BATCH = 2 }; /* of a symbolic batch: 1 would hide a batch that became fixed */

typedef struct side {
    const ed_graph *graph;
    ed_exec *exec;
    const ed_tensor **outputs;
} side;

static double distance(double a, double b)
{
    if (isnan(a) && isnan(b))
        return 0;
    if (a == b)
        return 0; /* infinite ones */
    double d = fabs(a - b);
    return isnan(d) ? INFINITY : d;
}

static int compare(verify_row *row, const ed_tensor *before, const ed_tensor *after)
{
    char a[128], b[128];
    if (before->dtype != after->dtype || !ed_shape_equal(&before->shape, &after->shape))
        return tool_fail(ED_ESHAPE, "output '%s' was %s %s and is %s %s after the transformation",
                         row->name, ed_dtype_name(before->dtype),
                         ed_shape_format(a, sizeof a, &before->shape), ed_dtype_name(after->dtype),
                         ed_shape_format(b, sizeof b, &after->shape));
    for (int64_t i = 0; i < before->numel; i++) {
        double x = ed_tensor_get_f64(before, i), d = distance(x, ed_tensor_get_f64(after, i));
        row->difference = d > row->difference ? d : row->difference;
        if (isfinite(x) && fabs(x) > row->largest)
            row->largest = fabs(x);
    }
    return ED_OK;
}

/* Executors for these shapes. */
static int compile(side *sides, const ed_shape *shapes, const ed_exec_options *options)
{
    for (int i = 0; i < 2; i++) {
        ed_exec_free(sides[i].exec);
        sides[i].exec = NULL;
        TRY(ed_exec_new(&sides[i].exec, sides[i].graph, shapes, options));
    }
    return ED_OK;
}

static int run_batch(verify_result *result, side *sides, const ed_tensor *const *inputs)
{
    for (int i = 0; i < 2; i++)
        TRY(ed_exec_run(sides[i].exec, inputs, sides[i].outputs));
    for (size_t k = 0; k < result->count; k++)
        TRY(compare(&result->rows[k], sides[0].outputs[k], sides[1].outputs[k]));
    return tool_interrupted();
}

static int run_data(verify_result *result, side *sides, const settings *s,
                    const ed_exec_options *options)
{
    ed_dataset *data;
    const ed_dataset_options reading = { .batch = s->batch, .limit = s->limit };
    size_t inputs = ed_graph_input_count(sides[0].graph);
    int64_t compiled = 0;
    TRY(ed_dataset_open(&data, s->data, sides[0].graph, &reading));
    ed_shape *shapes = calloc(inputs + 1, sizeof *shapes);
    int rc = shapes ? ED_OK : tool_fail(ED_ENOMEM, "memory ran out");
    while (rc == ED_OK) {
        ed_batch batch;
        rc = ed_dataset_next(data, &batch);
        if (rc != ED_OK || !batch.size)
            break;
        if (batch.size != compiled) {
            rc = ed_dataset_shapes(shapes, data, batch.size);
            if (rc == ED_OK)
                rc = compile(sides, shapes, options);
            compiled = batch.size;
        }
        if (rc == ED_OK)
            rc = run_batch(result, sides, batch.inputs);
        result->samples += batch.size;
        tool_progress(NULL, "samples", result->samples, ed_dataset_count(data));
    }
    free(shapes);
    ed_dataset_close(data);
    return rc;
}

static int run_random(verify_result *result, side *sides, const ed_exec_options *options)
{
    size_t n = ed_graph_input_count(sides[0].graph);
    ed_shape *shapes;
    TRY(tool_input_shapes(&shapes, sides[0].graph, RANDOM_BATCH));
    ed_tensor **inputs = calloc(n + 1, sizeof(ed_tensor *));
    int rc = inputs ? compile(sides, shapes, options) : tool_fail(ED_ENOMEM, "memory ran out");
    for (size_t i = 0; rc == ED_OK && i < n; i++) {
        rc = ed_tensor_new(&inputs[i], ed_graph_input(sides[0].graph, i).dtype, &shapes[i]);
        if (rc == ED_OK)
            tool_fill_random(inputs[i]);
    }
    if (rc == ED_OK)
        rc = run_batch(result, sides, (const ed_tensor *const *)inputs);
    result->samples = n && shapes[0].rank ? shapes[0].dim[0] : 1;
    tool_free_tensors(inputs, n);
    free(shapes);
    return rc;
}

static int prepare(verify_result *result, side *sides, const settings *s)
{
    const ed_graph *graph = sides[0].graph;
    size_t n = ed_graph_output_count(graph);
    result->tolerance = option_given(s, "tolerance") ? s->tolerance : 1e-4;
    result->rows = calloc(n + 1, sizeof *result->rows);
    for (int i = 0; i < 2; i++)
        sides[i].outputs = calloc(n + 1, sizeof(ed_tensor *));
    if (!result->rows || !sides[0].outputs || !sides[1].outputs)
        return tool_fail(ED_ENOMEM, "memory ran out");
    for (; result->count < n; result->count++) {
        char *name = strdup(ed_graph_output(graph, result->count).name);
        if (!name)
            return tool_fail(ED_ENOMEM, "memory ran out");
        result->rows[result->count].name = name;
    }
    return ED_OK;
}

int verify_run(verify_result *out, const ed_graph *before, const ed_graph *after, const settings *s)
{
    side sides[2] = { { .graph = before }, { .graph = after } };
    ed_exec_options options = { .precision = s->precision, .autotune = s->autotune };
    *out = (verify_result){ 0 };
    int rc = tool_device(&options.device, s->device);
    if (rc == ED_OK)
        rc = prepare(out, sides, s);
    if (rc == ED_OK)
        rc = s->data ? run_data(out, sides, s, &options) : run_random(out, sides, &options);
    for (int i = 0; i < 2; i++) {
        ed_exec_free(sides[i].exec);
        free(sides[i].outputs);
    }
    return rc;
}

double verify_relative(const verify_row *row)
{
    if (row->difference == 0)
        return 0;
    return row->largest > 0 ? row->difference / row->largest : INFINITY;
}

const verify_row *verify_worst(const verify_result *result)
{
    const verify_row *worst = NULL;
    for (size_t i = 0; i < result->count; i++) {
        double relative = verify_relative(&result->rows[i]);
        if (!(relative <= result->tolerance) && (!worst || relative > verify_relative(worst)))
            worst = &result->rows[i];
    }
    return worst;
}

void verify_free(verify_result *result)
{
    for (size_t i = 0; i < result->count; i++)
        free(result->rows[i].name);
    free(result->rows);
    *result = (verify_result){ 0 };
}
