/* See validate.h. The graph is compiled anew each time: its weights are constants, as deployed. */
#include "qat/validate.h"

#include "base/mem.h"
#include "data/device_feed.h"
#include "data/labels.h"
#include "data/raw.h"
#include "exec/on_device.h"

#include <math.h>

void ed_count_correct(int64_t *correct, int64_t *labelled, const ed_tensor *logits,
                      const int64_t *labels, int64_t n)
{
    int64_t classes = logits->shape.dim[1];
    const float *x = logits->data;
    *correct = *labelled = 0;
    for (int64_t i = 0; i < n; i++) {
        if (labels[i] == ED_NO_LABEL)
            continue;
        ++*labelled;
        *correct += ed_top_class(x + i * classes, classes) == labels[i];
    }
}

/* -log softmax(row)[label] */
static double cross_entropy(const float *row, int64_t classes, int64_t label)
{
    double most = -INFINITY, sum = 0;
    for (int64_t c = 0; c < classes; c++)
        most = fmax(most, row[c]);
    for (int64_t c = 0; c < classes; c++)
        sum += exp((double)row[c] - most);
    return log(sum) + most - (double)row[label];
}

/* One executor for full batches, one for a smaller last one. */
typedef struct validation {
    ed_graph *graph; /* its one output is the logits */
    ed_dataset *data;
    ed_exec_options options;
    ed_exec *full, *last;
    ed_device_feed *feed; /* batches of 8 bits on a device; else NULL */
    ed_tensor *views;     /* of an executor's inputs there */
    const ed_tensor **inputs;
    void **places;
    int64_t samples, labelled, correct;
    double loss;
} validation;

static int compile(ed_exec **out, const validation *v, int64_t size)
{
    ed_exec_options options = v->options;
    options.share = v->full;
    ed_shape *shapes = ed_calloc(ed_graph_input_count(v->graph), sizeof *shapes);
    if (!shapes)
        return ED_ENOMEM;
    int rc = ed_dataset_shapes(shapes, v->data, size);
    if (rc == ED_OK)
        rc = ed_exec_new(out, v->graph, shapes, &options);
    ed_free(shapes);
    return rc;
}

static int check_batch(const validation *v, const ed_batch *batch, const ed_tensor *logits)
{
    char text[128];
    ED_FAIL_IF(!batch->labels, ED_ENOTFOUND,
               "%s: there is no dataset 'labels', which validation needs",
               ed_dataset_name(v->data));
    ED_FAIL_IF(logits->dtype != ED_F32 || logits->shape.rank != 2 ||
                   logits->shape.dim[0] != batch->size,
               ED_ESHAPE, "the model's logits are %s%s; validation needs float32 [N, classes]",
               ed_dtype_name(logits->dtype), ed_shape_format(text, sizeof text, &logits->shape));
    return ed_check_labels(v->data, batch, v->samples, logits->shape.dim[1]);
}

static int begin_feed(validation *v)
{
    const ed_device *device = ed_exec_device(v->full);
    size_t n = ed_graph_input_count(v->graph);
    if (!device || !ed_dataset_raw_possible(v->data))
        return ED_OK;
    v->views = ed_calloc(n, sizeof *v->views);
    v->inputs = ed_calloc(n, sizeof(ed_tensor *));
    v->places = ed_calloc(n, sizeof(void *));
    if (!v->views || !v->inputs || !v->places)
        return ED_ENOMEM;
    return ed_device_feed_new(&v->feed, device, v->data);
}

static int run(validation *v, ed_exec *exec, const ed_batch *batch, const ed_tensor **logits)
{
    if (!v->feed)
        return ed_exec_run(exec, batch->inputs, logits);
    for (size_t i = 0; i < ed_graph_input_count(v->graph); i++) {
        v->places[i] = ed_exec_device_input(exec, i);
        v->views[i] = *batch->inputs[i];
        v->views[i].data = v->places[i];
        v->inputs[i] = &v->views[i];
    }
    ED_TRY(ed_device_feed_batch(v->feed, batch, v->places));
    ED_TRY(ed_exec_run(exec, v->inputs, logits));
    return ed_device_feed_done(v->feed);
}

static int run_batch(validation *v, const ed_batch *batch)
{
    const ed_tensor *logits;
    int64_t correct, labelled;
    ed_exec *exec = v->full;
    if (batch->size != ed_dataset_batch_size(v->data)) {
        if (!v->last)
            ED_TRY(compile(&v->last, v, batch->size));
        exec = v->last;
    }
    ED_TRY(run(v, exec, batch, &logits));
    ED_TRY(check_batch(v, batch, logits));
    ed_count_correct(&correct, &labelled, logits, batch->labels, batch->size);
    v->correct += correct;
    v->labelled += labelled;
    for (int64_t i = 0; i < batch->size; i++)
        if (batch->labels[i] != ED_NO_LABEL)
            v->loss += cross_entropy((const float *)logits->data + i * logits->shape.dim[1],
                                     logits->shape.dim[1], batch->labels[i]);
    v->samples += batch->size;
    return ED_OK;
}

static int run_all(validation *v)
{
    ED_TRY(compile(&v->full, v, ed_dataset_batch_size(v->data)));
    ED_TRY(begin_feed(v));
    ED_TRY(ed_dataset_rewind(v->data));
    for (;;) {
        ed_batch batch;
        ED_TRY(ed_dataset_next(v->data, &batch));
        if (!batch.size)
            break;
        ED_TRY(run_batch(v, &batch));
    }
    ED_FAIL_IF(!v->labelled, ED_ENOTFOUND,
               "%s: none of its samples has a label, which validation needs",
               ed_dataset_name(v->data));
    return v->feed ? ed_device_feed_judge(v->feed) : ED_OK;
}

int ed_qat_validate(double *loss, double *accuracy, const ed_graph *quantized, ed_dataset *data,
                    const ed_qat_options *opts)
{
    validation v = { .data = data,
                     .options = { .device = opts->device,
                                  .precision = opts->precision,
                                  .autotune = opts->autotune,
                                  .deterministic = opts->deterministic } };
    ED_TRY(ed_logits_graph(&v.graph, quantized));
    int rc = run_all(&v);
    *loss = v.loss / (double)v.labelled; /* NaN after an error */
    *accuracy = 100.0 * (double)v.correct / (double)v.labelled;
    ed_device_feed_free(v.feed);
    ed_free(v.views);
    ed_free(v.inputs);
    ed_free(v.places);
    ed_exec_free(v.last);
    ed_exec_free(v.full);
    ed_graph_free(v.graph);
    return rc;
}
