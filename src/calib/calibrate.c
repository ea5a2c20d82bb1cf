/*
 * Calibration: one streaming pass with an observer on every activation that the plan quantizes,
 * then the method on every observation. Memory is one histogram per value, whatever the number of
 * samples.
 */
#include "calib/calib.h"
#include "calib/device_pass.h"
#include "calib/runner.h"

#include "base/clock.h"
#include "base/parallel.h"
#include "base/strmap.h"
#include "exec/on_device.h"

#include <string.h>

typedef struct pass {
    ed_calib_times times;
    const ed_plan *plan;
    const ed_calib_options *opts;
    const ed_ranges *first;  /* of the first method, once they are there */
    size_t count;            /* observed values */
    const char **values;     /* [count] */
    size_t *points;          /* [count]: their points */
    ed_observer **observers; /* on the CPU */
    ed_device_pass on_device;
    ed_observation *seen;    /* [count] */
    const ed_method *method; /* the one whose turn it is, and its answers, [count] */
    ed_range *ranges;
    ed_strmap index; /* value -> position */
} pass;

static const ed_calib_options defaults;

static int list_values(pass *p)
{
    size_t n = ed_plan_point_count(p->plan);
    p->values = ed_calloc(n, sizeof *p->values);
    p->points = ed_calloc(n, sizeof *p->points);
    p->observers = ed_calloc(n, sizeof(ed_observer *));
    p->seen = ed_calloc(n, sizeof *p->seen);
    p->ranges = ed_calloc(n, sizeof *p->ranges);
    if (!p->values || !p->points || !p->observers || !p->seen || !p->ranges)
        return ED_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const ed_qdq_point *point = ed_plan_point(p->plan, i);
        if (point->weight || point->fixed_scale > 0 || point->scale_of != i)
            continue;
        p->points[p->count] = i;
        p->values[p->count] = point->value;
        ED_TRY(ed_strmap_put(&p->index, point->value, (uint32_t)p->count));
        ED_TRY(ed_observer_new(&p->observers[p->count], p->opts->bins, p->opts->params.ema));
        p->count++;
    }
    return ED_OK;
}

static int observe(void *ctx, const char *value, const float *data, int64_t n, int64_t padding)
{
    pass *p = ctx;
    uint32_t i;
    return ed_strmap_get(&p->index, value, &i) ? ed_observer_add(p->observers[i], data, n, padding)
                                               : ED_OK;
}

int ed_calib_tell(const ed_calib_options *opts, int64_t done, int64_t total)
{
    ED_FAIL_IF(opts->progress && opts->progress(opts->progress_ctx, "samples", done, total),
               ED_EINTR, "calibration was stopped after %lld of %lld samples; nothing was written",
               (long long)done, (long long)total);
    return ED_OK;
}

static int begin_on_device(pass *p, const ed_graph *graph, ed_dataset *data,
                           const ed_exec_options *exec)
{
    ed_device_options options = { .autotune = exec->autotune };
    p->on_device = (ed_device_pass){ .graph = graph,
                                     .data = data,
                                     .values = p->values,
                                     .n = p->count,
                                     .bins = p->opts->bins ? p->opts->bins : ED_HISTOGRAM_BINS,
                                     .ema = p->opts->params.ema,
                                     .opts = p->opts };
    ED_TRY(ed_precision_find(&options.precision, exec->precision));
    ED_TRY(ed_device_open(&p->on_device.device, exec->device, &options));
    return ed_device_pass_begin(&p->on_device);
}

static int run_on_device(pass *p, ed_runner *runner)
{
    ED_TRY(ed_device_pass_run(&p->on_device, runner));
    for (size_t i = 0; i < p->count; i++)
        p->seen[i] = p->on_device.seen[i];
    return ED_OK;
}

static int run_here(pass *p, ed_runner *runner)
{
    int64_t done = 0, total = ed_dataset_count(runner->data);
    ED_TRY(ed_dataset_rewind(runner->data));
    ED_TRY(ed_calib_tell(p->opts, 0, total));
    for (;;) {
        ed_batch batch;
        ED_TRY(ed_dataset_next(runner->data, &batch));
        if (!batch.size)
            break;
        ED_TRY(ed_runner_run(runner, &batch));
        done += batch.size;
        ED_TRY(ed_calib_tell(p->opts, done, total));
    }
    for (size_t i = 0; i < p->count; i++)
        p->seen[i] = ed_observer_get(p->observers[i]);
    return ED_OK;
}

static int run_pass(pass *p, const ed_graph *graph, ed_dataset *data)
{
    bool on_cpu = !p->opts->device || strcmp(p->opts->device, ED_DEVICE_CPU) == 0;
    ed_exec_options exec = { .device = p->opts->device,
                             .precision = p->opts->precision,
                             .autotune = p->opts->autotune,
                             .observed = p->values,
                             .observed_count = p->count,
                             .no_outputs = true };
    ed_runner runner = { 0 };
    double begin = ed_clock_seconds(), compiled = begin;
    int rc = on_cpu ? ED_OK : begin_on_device(p, graph, data, &exec);
    if (rc == ED_OK)
        rc = ed_runner_init(&runner, graph, data, &exec, on_cpu ? observe : NULL, p);
    if (rc == ED_OK) {
        compiled = ed_clock_seconds();
        rc = on_cpu ? run_here(p, &runner) : run_on_device(p, &runner);
        p->times.pass = ed_clock_seconds() - compiled;
    }
    p->times.compile = compiled - begin;
    if (!on_cpu)
        ed_device_pass_end(&p->on_device);
    ed_runner_clear(&runner);
    return rc;
}

static void search(void *ctx, int64_t begin, int64_t end, int thread)
{
    pass *p = ctx;
    (void)thread;
    for (int64_t i = begin; i < end; i++)
        p->ranges[i] = p->method->range(&p->seen[i], &p->opts->params);
}

static int search_all(pass *p)
{
    int rc = ED_EUNSUPPORTED;
    if (p->on_device.observers)
        rc = ed_device_pass_search(p->ranges, &p->on_device, p->method, &p->opts->params);
    if (rc != ED_EUNSUPPORTED && rc != ED_ENOMEM) /* that of the device, which has little left */
        return rc;
    ed_parallel_for((int64_t)p->count, 1, search, p);
    return ED_OK;
}

/* Bits of the activations that the plan quantizes. */
static unsigned planned_bits(const ed_plan *plan)
{
    for (size_t i = 0; i < ed_plan_point_count(plan); i++)
        if (!ed_plan_point(plan, i)->weight)
            return ed_plan_point(plan, i)->bits;
    return 8;
}

/* Targets take activations as signed integers, of as many bits as the plan says. */
static int check_bits(const ed_method_params *params, const ed_plan *plan, int code)
{
    unsigned bits = params->bits ? params->bits : 8, planned = planned_bits(plan);
    ED_FAIL_IF(bits != planned || params->is_unsigned, code,
               "ranges for %s %u bits; the model is quantized to signed %u bits: calibrate for "
               "those",
               params->is_unsigned ? "unsigned" : "signed", bits, planned);
    return ED_OK;
}

/* Of several methods the first one tells, and others what is new. */
static void warn_about(const ed_range_row *row, const ed_range_row *told)
{
    if (row->nonfinite && !told)
        ed_log(ED_LOG_WARNING,
               "the value '%s' held %llu NaN or infinite numbers, which were left out", row->value,
               (unsigned long long)row->nonfinite);
    if (row->floored && !(told && told->floored))
        ed_log(ED_LOG_WARNING, "the value '%s' has the range %g%s%s; its scale is the least, %g",
               row->value, row->amax, row->note ? ": " : "", row->note ? row->note : "",
               (double)row->scale);
}

static int add_row(ed_ranges *ranges, const pass *p, size_t i)
{
    const ed_qdq_point *point = ed_plan_point(p->plan, p->points[i]);
    ed_observation seen = p->seen[i];
    unsigned bits = ed_method_params_complete(&p->opts->params).bits;
    ed_range_row row = {
        .value = point->value,
        .group = point->group,
        .rule = point->rule,
        .method = p->method->name,
        .min = seen.min,
        .max = seen.max,
        .amax = p->ranges[i].amax,
        .total = seen.total,
        .nonfinite = seen.nonfinite,
        .note = p->ranges[i].note,
    };
    ED_FAIL_IF(row.note == ed_note_no_memory, ED_ENOMEM,
               "out of memory in the search for the range of '%s'; use fewer bins", row.value);
    row.scale = ed_scale_of(row.amax, bits, &row.floored);
    ED_FAIL_IF(!seen.total && seen.nonfinite, ED_ENONFINITE,
               "the value '%s' is NaN or infinite for every sample; check the model and the data's "
               "mean and std",
               point->value);
    warn_about(&row, p->first ? ed_ranges_at(p->first, i) : NULL);
    ranges->nonfinite += seen.nonfinite;
    return ed_ranges_add(ranges, &row);
}

static int fill_ranges(ed_ranges *ranges, const pass *p, const ed_graph *graph,
                       const ed_dataset *data)
{
    ranges->model_hash = ed_graph_hash(graph);
    ranges->data_hash = ed_dataset_hash(data);
    ranges->method = ed_arena_strdup(ranges->arena, p->method->name);
    ranges->data = ed_arena_strdup(ranges->arena, ed_dataset_name(data));
    ranges->target = ed_arena_strdup(ranges->arena, ed_plan_target(p->plan));
    if (!ranges->method || !ranges->data || !ranges->target)
        return ED_ENOMEM;
    ranges->params = p->opts->params;
    ranges->bins = p->opts->bins ? p->opts->bins : ED_HISTOGRAM_BINS;
    ranges->samples = (uint64_t)ed_dataset_count(data);
    for (size_t i = 0; i < p->count; i++)
        ED_TRY(add_row(ranges, p, i));
    return ED_OK;
}

static void clear_pass(pass *p)
{
    for (size_t i = 0; p->observers && i < p->count; i++)
        ed_observer_free(p->observers[i]);
    ed_device_pass_clear(&p->on_device);
    ed_free(p->seen);
    ed_free(p->observers);
    ed_free(p->values);
    ed_free(p->points);
    ed_free(p->ranges);
    ed_strmap_clear(&p->index);
}

static int find_method(const ed_method **out, const char *name)
{
    *out = name ? ed_method_find(name) : ed_method_at(0);
    ED_FAIL_IF(!*out, ED_ENOTFOUND, "there is no calibration method '%s'; --help lists them", name);
    return ED_OK;
}

static int check_options(const pass *p, const char *const *methods, size_t n)
{
    const ed_method *method;
    const ed_method_params *params = &p->opts->params;
    for (size_t i = 0; i < n; i++)
        ED_TRY(find_method(&method, methods[i]));
    ED_FAIL_IF(!(params->percentile >= 0.0 && params->percentile <= 100.0), ED_EINVAL,
               "the percentile is %g; it must be above 0 and at most 100", params->percentile);
    return check_bits(params, p->plan, ED_EINVAL);
}

/* What the method `name` makes of the observations. */
static int answer(ed_ranges **out, pass *p, const char *name, const ed_graph *graph,
                  const ed_dataset *data)
{
    ED_TRY(find_method(&p->method, name));
    double begin = ed_clock_seconds();
    ED_TRY(search_all(p));
    p->times.search = ed_clock_seconds() - begin;
    ED_TRY(ed_ranges_new(out));
    return fill_ranges(*out, p, graph, data);
}

/* The answers of all methods from one pass. */
static int answer_all(ed_ranges **out, pass *p, const char *const *methods, size_t n,
                      const ed_graph *graph, const ed_dataset *data)
{
    double searched = 0;
    for (size_t i = 0; i < n; i++) {
        ED_TRY(answer(&out[i], p, methods[i], graph, data));
        p->first = out[0];
        searched += p->times.search;
        if (p->opts->times)
            p->opts->times[i] = p->times;
    }
    ed_log(ED_LOG_INFO, "compiled in %.3f s, ran the samples in %.3f s, searched in %.4f s",
           p->times.compile, p->times.pass, searched);
    return p->opts->keep_observations && n ? ed_ranges_keep(out[0], p->seen) : ED_OK;
}

int ed_calibrate_methods(ed_ranges **out, const ed_graph *graph, const ed_plan *plan,
                         ed_dataset *data, const ed_calib_options *opts, const char *const *methods,
                         size_t n)
{
    ed_calib_options own = opts ? *opts : defaults;
    pass p = { .plan = plan, .opts = &own };
    if (!own.params.bits)
        own.params.bits = planned_bits(plan);
    for (size_t i = 0; i < n; i++)
        out[i] = NULL;
    ED_TRY(check_options(&p, methods, n));
    int rc = list_values(&p);
    if (rc == ED_OK)
        rc = run_pass(&p, graph, data);
    if (rc == ED_OK)
        rc = answer_all(out, &p, methods, n, graph, data);
    clear_pass(&p);
    for (size_t i = 0; rc != ED_OK && i < n; i++) {
        ed_ranges_free(out[i]);
        out[i] = NULL;
    }
    return rc;
}

int ed_calibrate(ed_ranges **out, const ed_graph *graph, const ed_plan *plan, ed_dataset *data,
                 const ed_calib_options *opts)
{
    const char *method = opts ? opts->method : NULL;
    return ed_calibrate_methods(out, graph, plan, data, opts, &method, 1);
}

/* ---- scales into the plan ---- */

static int apply_weight(ed_plan *plan, size_t i, const ed_graph *graph, const char *method)
{
    const ed_qdq_point *point = ed_plan_point(plan, i);
    const ed_tensor *w = ed_graph_constant(graph, point->value);
    ED_FAIL_IF(!w, ED_EMISMATCH, "the weight '%s' is not in the graph; build the plan from it",
               point->value);
    size_t n = point->axis < 0 ? 1 : (size_t)w->shape.dim[point->axis];
    float *scales = ed_malloc(n * sizeof *scales);
    if (!scales)
        return ED_ENOMEM;
    int rc = ed_weight_scales(scales, w, point->axis, method, point->bits);
    if (rc != ED_OK)
        ed_error_context(rc, "weight '%s'", point->value);
    else
        rc = ed_plan_set_scales(plan, i, scales, n);
    ed_free(scales);
    return rc;
}

static int apply_activation(ed_plan *plan, size_t i, const ed_ranges *ranges)
{
    const ed_qdq_point *point = ed_plan_point(plan, i);
    float fixed = (float)point->fixed_scale;
    if (fixed > 0.0F)
        return ed_plan_set_scales(plan, i, &fixed, 1);
    const char *value = ed_plan_point(plan, point->scale_of)->value;
    const ed_range_row *row = ed_ranges_find(ranges, value);
    ED_FAIL_IF(!row, ED_EMISMATCH,
               "the ranges hold nothing for the value '%s'; calibrate again with the same options",
               value);
    return ed_plan_set_scales(plan, i, &row->scale, 1);
}

int ed_calibrate_apply(ed_plan *plan, const ed_graph *graph, const ed_ranges *ranges,
                       const ed_calib_options *opts)
{
    const char *weight_method = opts && opts->weight_method ? opts->weight_method : "mse";
    ED_FAIL_IF(ranges->model_hash != ed_graph_hash(graph), ED_EMISMATCH,
               "the ranges were made for another model (%016llx, not %016llx); calibrate this one",
               (unsigned long long)ranges->model_hash, (unsigned long long)ed_graph_hash(graph));
    ED_FAIL_IF(strcmp(ranges->target, ed_plan_target(plan)) != 0, ED_EMISMATCH,
               "the ranges were made for target %s, not %s; calibrate again", ranges->target,
               ed_plan_target(plan));
    ED_TRY(check_bits(&ranges->params, plan, ED_EMISMATCH));
    for (size_t i = 0; i < ed_plan_point_count(plan); i++)
        ED_TRY(ed_plan_point(plan, i)->weight ? apply_weight(plan, i, graph, weight_method)
                                              : apply_activation(plan, i, ranges));
    return ED_OK;
}
