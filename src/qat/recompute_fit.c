/* See recompute_fit.h. Nothing is compiled for running: plans are measured. */
#include "qat/recompute_fit.h"

#include "base/error.h"
#include "qat/recompute.h"
#include "qat/recompute_cheap.h"

typedef struct fitting {
    const ed_graph *graph;
    ed_cheap list;
    size_t n_forward;
    int64_t limit, before, bytes, least; /* bytes: of the last try */
    ed_recompute_measure_fn measure;
    void *ctx;
} fitting;

/* What is computed again: so many cheap values, or (not 0) segments. */
typedef struct way {
    size_t count;
    int64_t segments;
} way;

/* *out: a graph of that way; NULL when it is above the limit. */
static int try_way(fitting *f, ed_graph **out, way w)
{
    ED_TRY(ed_graph_clone(out, f->graph));
    int rc = w.segments ? ed_recompute(*out, f->n_forward, w.segments)
                        : ed_cheap_apply(*out, &f->list, f->n_forward, w.count);
    if (rc == ED_OK)
        rc = f->measure(f->ctx, &f->bytes, *out);
    if (rc == ED_OK && f->bytes < f->least)
        f->least = f->bytes;
    if (rc == ED_OK && f->bytes <= f->limit)
        return ED_OK;
    ed_graph_free(*out);
    *out = NULL;
    return rc;
}

static int fail_limit(const fitting *f)
{
    return ed_error_set(ED_EINVAL,
                        "the activations need at least %lld MiB with all that can be computed "
                        "again, the limit is %.1f MiB; use a smaller --batch, and --accumulate for "
                        "the rest of it, or a larger --memory",
                        (long long)((f->least + (1 << 20) - 1) >> 20),
                        (double)f->limit / (1 << 20));
}

static void tell(const fitting *f, way w, int64_t after)
{
    char what[64];
    for (size_t i = 0; i < w.count; i++)
        ed_log(ED_LOG_DEBUG, "computes %s again for its gradients: %.2f MiB",
               f->graph->values[f->list.values[i]].name, (double)f->list.bytes[i] / (1 << 20));
    if (w.segments)
        snprintf(what, sizeof what, "%lld segments of the forward pass", (long long)w.segments);
    else
        snprintf(what, sizeof what, "%zu of %zu cheap activations", w.count, f->list.count);
    ed_log(ED_LOG_INFO,
           "%s are computed again: %.1f MiB instead of %.1f MiB, the limit is %.1f MiB", what,
           (double)after / (1 << 20), (double)f->before / (1 << 20), (double)f->limit / (1 << 20));
}

/* Fewer than all cheap values, of which *made is. */
static int bisect(fitting *f, ed_graph **made, way *w)
{
    int64_t after = f->bytes;
    for (size_t few = 0; w->count - few > 1;) {
        way middle = { .count = few + (w->count - few) / 2 };
        ed_graph *better;
        ED_TRY(try_way(f, &better, middle));
        if (!better) {
            few = middle.count;
            continue;
        }
        ed_graph_free(*made);
        *made = better;
        *w = middle;
        after = f->bytes;
    }
    tell(f, *w, after);
    return ED_OK;
}

/* The first way within the limit. */
static int search(fitting *f, ed_graph **made)
{
    static const int64_t segments[] = { 4, 8, 16, 32, 64 };
    way w = { .count = f->list.count };
    ED_TRY(try_way(f, made, w));
    if (*made)
        return bisect(f, made, &w);
    for (size_t i = 0; i < ED_LENGTH(segments); i++) {
        w = (way){ .segments = segments[i] };
        ED_TRY(try_way(f, made, w));
        if (*made) {
            tell(f, w, f->bytes);
            return ED_OK;
        }
    }
    return fail_limit(f);
}

int ed_recompute_fit(ed_graph **graph, size_t n_forward, int64_t limit,
                     ed_recompute_measure_fn measure, void *ctx)
{
    fitting f = { .graph = *graph,
                  .n_forward = n_forward,
                  .limit = limit,
                  .least = INT64_MAX,
                  .measure = measure,
                  .ctx = ctx };
    ed_graph *made = NULL;
    ED_TRY(measure(ctx, &f.before, *graph));
    if (f.before <= limit)
        return ED_OK;
    ED_TRY(ed_cheap_find(&f.list, *graph, n_forward));
    int rc = search(&f, &made);
    ed_cheap_clear(&f.list);
    if (rc != ED_OK) {
        ed_graph_free(made);
        return rc;
    }
    ed_graph_free(*graph);
    *graph = made;
    return ED_OK;
}
