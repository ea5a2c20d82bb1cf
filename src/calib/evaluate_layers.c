/* Evaluation, group by group: the SQNR of every value that two models' groups compute. */
#include "calib/evaluate.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

double ed_difference(float a, float b)
{
    return a == b || (isnan(a) && isnan(b)) ? 0.0 : (double)a - (double)b;
}

void ed_noise_add(ed_noise *sum, const float *a, const float *b, int64_t n)
{
    double signal = 0, noise = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = ed_difference(a[i], b[i]);
        signal += isfinite(a[i]) ? (double)a[i] * (double)a[i] : 0.0;
        noise += d * d;
    }
    sum->signal += signal;
    sum->noise += noise;
}

double ed_noise_decibel(const ed_noise *sum)
{
    if (!isfinite(sum->noise))
        return -INFINITY;
    return sum->noise > 0 ? 10.0 * log10(sum->signal / sum->noise) : INFINITY;
}

static bool computes(const ed_graph *graph, const char *value)
{
    for (size_t i = 0; i < ed_graph_group_count(graph); i++)
        if (strcmp(ed_graph_group(graph, i).output, value) == 0)
            return true;
    return false;
}

int ed_layers_init(ed_layers *l, const ed_graph *first, const ed_graph *second)
{
    size_t n = ed_graph_group_count(first);
    l->values = ed_calloc(n, sizeof *l->values);
    l->groups = ed_calloc(n, sizeof *l->groups);
    l->copies = ed_calloc(n, sizeof(float *));
    l->sizes = ed_calloc(n, sizeof *l->sizes);
    l->capacities = ed_calloc(n, sizeof *l->capacities);
    l->errors = ed_calloc(n, sizeof *l->errors);
    if (!l->values || !l->groups || !l->copies || !l->sizes || !l->capacities || !l->errors)
        return ED_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const char *value = ed_graph_group(first, i).output;
        if (!computes(second, value))
            continue;
        ED_TRY(ed_strmap_put(&l->index, value, (uint32_t)l->count));
        l->groups[l->count] = i;
        l->values[l->count++] = value;
    }
    return ED_OK;
}

int ed_layers_see_first(void *ctx, const char *value, const float *data, int64_t n, int64_t padding)
{
    ed_layers *l = ctx;
    uint32_t i;
    (void)padding; /* plain: there is none */
    if (!ed_strmap_get(&l->index, value, &i))
        return ED_OK;
    if (l->capacities[i] < n) {
        float *grown = ed_realloc(l->copies[i], (size_t)n, sizeof *grown);
        if (!grown)
            return ED_ENOMEM;
        l->copies[i] = grown;
        l->capacities[i] = n;
    }
    l->sizes[i] = n;
    if (n)
        memcpy(l->copies[i], data, (size_t)n * sizeof *data);
    return ED_OK;
}

int ed_layers_see_second(void *ctx, const char *value, const float *data, int64_t n,
                         int64_t padding)
{
    ed_layers *l = ctx;
    uint32_t i;
    (void)padding;
    if (!ed_strmap_get(&l->index, value, &i))
        return ED_OK;
    ED_FAIL_IF(l->sizes[i] != n, ED_ESHAPE,
               "the value '%s' has %lld numbers in the first model and %lld in the second; compare "
               "versions of one model",
               value, (long long)l->sizes[i], (long long)n);
    ed_noise_add(&l->errors[i], l->copies[i], data, n);
    return ED_OK;
}

static int by_sqnr(const void *a, const void *b)
{
    double x = ((const ed_eval_group *)a)->sqnr_db, y = ((const ed_eval_group *)b)->sqnr_db;
    return (x > y) - (x < y);
}

int ed_layers_report(ed_eval_group **out, size_t *count, const ed_layers *l, const ed_graph *first)
{
    /* not ed_calloc(): the caller releases it with free() */
    ed_eval_group *groups = calloc(l->count ? l->count : 1, sizeof *groups);
    ED_FAIL_IF(!groups, ED_ENOMEM, "out of memory for %zu groups", l->count);
    for (size_t k = 0; k < l->count; k++) {
        ed_group_info info = ed_graph_group(first, l->groups[k]);
        snprintf(groups[k].name, sizeof groups[k].name, "%s %s", info.name, info.output);
        groups[k].group = l->groups[k];
        groups[k].sqnr_db = ed_noise_decibel(&l->errors[k]);
    }
    qsort(groups, l->count, sizeof *groups, by_sqnr);
    *out = groups;
    *count = l->count;
    return ED_OK;
}

void ed_layers_clear(ed_layers *l)
{
    for (size_t i = 0; l->copies && i < l->count; i++)
        ed_free(l->copies[i]);
    ed_free(l->copies);
    ed_free(l->values);
    ed_free(l->groups);
    ed_free(l->sizes);
    ed_free(l->capacities);
    ed_free(l->errors);
    ed_strmap_clear(&l->index);
    *l = (ed_layers){ 0 };
}
