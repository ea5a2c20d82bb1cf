/* ed/dataset.h: a file's sources and labels, read batch by batch through the prefetch thread. */
#include "ed/dataset.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/strmap.h"
#include "data/order.h"

#include <string.h>
#include <sys/stat.h>

enum { DEFAULT_BATCH = 64, SHAPE_TEXT = 128 };

/* ---- opening ---- */

static int open_sources(ed_dataset *d, const ed_graph *graph)
{
    size_t n = ed_graph_input_count(graph);
    ED_FAIL_IF(n == 0, ED_EUNSUPPORTED, "the model has no inputs, so no data can be fed to it");
    d->sources = ed_calloc(n, sizeof *d->sources);
    if (!d->sources)
        return ED_ENOMEM;
    d->n_sources = n;
    for (size_t i = 0; i < n; i++) {
        ed_value_info input = ed_graph_input(graph, i);
        ED_TRY(ed_source_open(&d->sources[i], d->file, d->path, &input, n == 1));
        const ed_h5_dataset *data = &d->sources[i].data, *first = &d->sources[0].data;
        ED_FAIL_IF(data->shape.dim[0] != first->shape.dim[0], ED_ESHAPE,
                   "%s: dataset '%s' has %lld samples, but '%s' has %lld; every input needs the "
                   "same number",
                   d->path, data->name, (long long)data->shape.dim[0], first->name,
                   (long long)first->shape.dim[0]);
    }
    d->samples = d->sources[0].shape.dim[0];
    return ED_OK;
}

/* Dimensions of one symbol must be one size; the first axis is the samples' and is checked apart.
 */
static int check_symbols(const ed_dataset *d, const ed_graph *graph)
{
    struct seen {
        int64_t symbol, size;
        size_t source;
    } seen[64];
    size_t n = 0;
    for (size_t i = 0; i < d->n_sources; i++) {
        ed_value_info input = ed_graph_input(graph, i);
        const ed_source *s = &d->sources[i];
        for (int k = 1; k < input.shape.rank; k++) {
            int64_t symbol = input.shape.dim[k], size = s->shape.dim[k];
            if (symbol > -2)
                continue;
            for (size_t j = 0; j < n; j++)
                ED_FAIL_IF(seen[j].symbol == symbol && seen[j].size != size, ED_ESHAPE,
                           "%s: axis %d of dataset '%s' has size %lld, but the model wants there "
                           "the same size as in '%s', which has %lld",
                           d->path, k, s->data.name, (long long)size,
                           d->sources[seen[j].source].data.name, (long long)seen[j].size);
            if (n < ED_LENGTH(seen))
                seen[n++] = (struct seen){ symbol, size, i };
        }
    }
    return ED_OK;
}

static int open_labels(ed_dataset *d, bool need)
{
    char text[SHAPE_TEXT];
    d->has_labels = ed_h5_has(d->file, "labels");
    ED_FAIL_IF(!d->has_labels && need, ED_ENOTFOUND,
               "%s: there is no dataset 'labels'; add the class of each sample as integers [%lld]",
               d->path, (long long)d->samples);
    if (!d->has_labels)
        return ED_OK;
    ED_TRY(ed_h5_dataset_open(&d->labels, d->file, d->path, "labels"));
    const ed_shape *shape = &d->labels.shape;
    ED_FAIL_IF(!ed_convert_supported(d->labels.dtype, ED_I64) && d->labels.dtype != ED_U64,
               ED_EUNSUPPORTED,
               "%s: dataset 'labels' holds %s; labels are integers: the class of "
               "each sample",
               d->path, ed_dtype_name(d->labels.dtype));
    ED_FAIL_IF(shape->rank > 2 || (shape->rank == 2 && shape->dim[1] != 1), ED_ESHAPE,
               "%s: dataset 'labels' has the shape %s; labels are one class per sample, [%lld]",
               d->path, ed_shape_format(text, sizeof text, shape), (long long)d->samples);
    ED_FAIL_IF(shape->dim[0] != d->samples, ED_ESHAPE,
               "%s: dataset 'labels' has %lld elements for %lld samples; write one per sample",
               d->path, (long long)shape->dim[0], (long long)d->samples);
    return ED_OK;
}

/* The batch size that the graph's inputs are fixed at; 0: they take any. */
static int fixed_batch(int64_t *out, const ed_graph *graph)
{
    *out = 0;
    for (size_t i = 0; i < ed_graph_input_count(graph); i++) {
        ed_value_info input = ed_graph_input(graph, i);
        int64_t dim = input.shape.rank > 0 ? input.shape.dim[0] : ED_DIM_UNKNOWN;
        ED_FAIL_IF(dim == 0 || (dim > 0 && *out && dim != *out), ED_EUNSUPPORTED,
                   "the model's input '%s' has %lld as its first axis, which is no batch of "
                   "samples; export the model with a dynamic batch",
                   input.name, (long long)dim);
        if (dim > 0)
            *out = dim;
    }
    return ED_OK;
}

static int set_batch(ed_dataset *d, const ed_graph *graph, const ed_dataset_options *opts)
{
    int64_t fixed = 0;
    d->count = opts->limit && opts->limit < d->samples ? opts->limit : d->samples;
    d->asked_batch = opts->batch;
    d->batch = opts->batch ? opts->batch : DEFAULT_BATCH;
    ED_TRY(fixed_batch(&fixed, graph));
    if (fixed) {
        ED_FAIL_IF(opts->batch && opts->batch != fixed, ED_ESHAPE,
                   "the batch is %lld, but the model's is fixed at %lld; use that, or export the "
                   "model with a dynamic batch",
                   (long long)opts->batch, (long long)fixed);
        ED_FAIL_IF(d->count % fixed, ED_ESHAPE,
                   "%s: %lld samples are no multiple of %lld, the model's fixed batch; limit them "
                   "to %lld, or export the model with a dynamic batch",
                   d->path, (long long)d->count, (long long)fixed,
                   (long long)(d->count / fixed * fixed));
        d->batch = d->asked_batch = fixed;
    }
    if (d->batch > d->count)
        d->batch = d->count;
    return ED_OK;
}

static uint64_t hash_file(const ed_dataset *d)
{
    struct stat st = { 0 };
    const char *slash = strrchr(d->path, '/'), *name = slash ? slash + 1 : d->path;
    (void)stat(d->path, &st); /* it was opened: only a file removed meanwhile has zeros here */
    int64_t facts[] = { st.st_size, st.st_mtim.tv_sec, st.st_mtim.tv_nsec };
    uint64_t hash = ed_hash(ed_hash(0, name, strlen(name)), facts, sizeof facts);
    for (size_t i = 0; i < d->n_sources; i++) {
        const ed_h5_dataset *data = &d->sources[i].data;
        hash = ed_hash(hash, data->name, strlen(data->name));
        hash = ed_hash(hash, data->shape.dim, (size_t)data->shape.rank * sizeof data->shape.dim[0]);
    }
    return hash;
}

/* ---- the API ---- */

static int open_file(ed_dataset *d, const ed_graph *graph, const ed_dataset_options *opts)
{
    ed_h5_enter();
    int rc = ed_h5_open(&d->file, d->path);
    if (rc == ED_OK)
        rc = open_sources(d, graph);
    if (rc == ED_OK)
        rc = open_labels(d, opts->need_labels);
    ed_h5_leave();
    ED_TRY(rc);
    ED_TRY(check_symbols(d, graph));
    return set_batch(d, graph, opts);
}

int ed_dataset_open(ed_dataset **out, const char *path, const ed_graph *graph,
                    const ed_dataset_options *opts)
{
    static const ed_dataset_options defaults;
    *out = NULL;
    if (!opts)
        opts = &defaults;
    ED_FAIL_IF(opts->batch < 0, ED_EINVAL, "the batch is %lld; it must be at least 1, or 0 for %d",
               (long long)opts->batch, DEFAULT_BATCH);
    ED_FAIL_IF(opts->limit < 0, ED_EINVAL,
               "the limit is %lld; it must be at least 1, or 0 for all samples",
               (long long)opts->limit);
    ed_dataset *d = ed_calloc(1, sizeof *d);
    if (!d)
        return ED_ENOMEM;
    int rc = ED_OK;
    d->allow_nonfinite = opts->allow_nonfinite;
    d->path = ed_strdup(path);
    if (!d->path) {
        rc = ED_ENOMEM;
        goto done;
    }
    ED_GOTO(open_file(d, graph, opts));
    ED_GOTO(ed_reader_new_buffers(d));
    d->hash = hash_file(d);
    ED_GOTO(ed_reader_start(d));
done:
    if (rc != ED_OK)
        ed_dataset_close(d);
    else
        *out = d;
    return rc;
}

void ed_dataset_close(ed_dataset *d)
{
    if (!d)
        return;
    ed_reader_stop(d); /* first: the thread uses all of the rest */
    ed_order_free(d->order, d);
    ed_h5_enter();
    for (size_t i = 0; i < d->n_sources; i++)
        ed_source_close(&d->sources[i]);
    ed_h5_dataset_close(&d->labels);
    ed_h5_close(d->file);
    ed_h5_leave();
    ed_reader_free_buffers(d);
    ed_free(d->sources);
    ed_free(d->path);
    ed_free(d);
}

const char *ed_dataset_name(const ed_dataset *dataset)
{
    const char *slash = strrchr(dataset->path, '/');
    return slash ? slash + 1 : dataset->path;
}

int64_t ed_dataset_count(const ed_dataset *d)
{
    return d->count;
}

int64_t ed_dataset_batch_size(const ed_dataset *d)
{
    return d->batch;
}

int ed_dataset_shapes(ed_shape *shapes, const ed_dataset *d, int64_t n)
{
    ED_FAIL_IF(n < 1, ED_EINVAL, "shapes were asked for a batch of %lld samples", (long long)n);
    for (size_t i = 0; i < d->n_sources; i++) {
        shapes[i] = d->sources[i].shape;
        shapes[i].dim[0] = n;
    }
    return ED_OK;
}

int ed_dataset_next(ed_dataset *d, ed_batch *batch)
{
    int index;
    int64_t count;
    *batch = (ed_batch){ 0 };
    ED_TRY(ed_reader_start(d));
    if (!d->prefetch) /* an epoch that began at its end */
        return ED_OK;
    ED_TRY(ed_prefetch_next(d->prefetch, &index, &count));
    if (count == 0)
        return ED_OK;
    const ed_batch_slot *slot = &d->slots[index];
    d->current = index;
    d->nonfinite += slot->nonfinite;
    *batch = (ed_batch){ .size = count, .inputs = slot->views, .labels = slot->labels };
    return ED_OK;
}

int ed_dataset_rewind(ed_dataset *d)
{
    ED_TRY(ed_reader_start(d));
    if (d->prefetch)
        ed_prefetch_rewind(d->prefetch);
    d->nonfinite = 0;
    return ED_OK;
}

int64_t ed_dataset_nonfinite(const ed_dataset *d)
{
    return d->nonfinite;
}

uint64_t ed_dataset_hash(const ed_dataset *d)
{
    return d->hash;
}

int ed_dataset_model_path(char **out, const char *path)
{
    hid_t file = 0;
    char *model = NULL;
    *out = NULL;
    ed_h5_enter();
    int rc = ed_h5_open(&file, path);
    if (rc == ED_OK)
        rc = ed_h5_attr_text(&model, file, path, "model");
    ed_h5_close(file);
    ed_h5_leave();
    ED_TRY(rc);
    if (!model || !model[0])
        rc =
            ed_error_set(ED_ENOTFOUND,
                         "%s: it names no model; give MODEL.onnx before it, or set the file's root "
                         "attribute 'model'",
                         path);
    else if (!(*out = model[0] == '/' ? ed_strdup(model) : ed_path_beside(path, model)))
        rc = ED_ENOMEM;
    ed_free(model);
    return rc;
}
