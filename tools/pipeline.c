/*
 * What the settings mean to the library: options of the passes, of calibration and of training, and
 * the plan of what is quantized.
 */
#include "common.h"

#include <stdlib.h>
#include <string.h>

static unsigned bits_of(const char *name)
{
    return name ? (unsigned)atoi(name) : 0;
}

ed_plan_options tool_plan_options(const settings *s)
{
    return (ed_plan_options){ .target = s->target,
                              .exclude = s->exclude.items,
                              .exclude_count = s->exclude.count,
                              .rules = s->rules.items,
                              .rules_count = s->rules.count,
                              .disable = s->disable.items,
                              .disable_count = s->disable.count,
                              .weight_bits = bits_of(s->bits_w),
                              .activation_bits = bits_of(s->bits_a),
                              .int8_storage = s->int8_storage };
}

int tool_plan(ed_plan **out, ed_graph **source, ed_graph *graph, const settings *s)
{
    const ed_plan_options options = tool_plan_options(s);
    if (!s->plan && !s->disable.count) {
        TRY(ed_transform(graph, &options));
        return ed_plan_build(out, graph, ED_PHASE_QUANTIZE, &options);
    }
    TRY(ed_graph_clone(source, graph));
    if (s->plan)
        TRY(ed_plan_read_json(out, *source, s->plan, &options));
    else
        TRY(ed_plan_build(out, *source, ED_PHASE_ALL, &options));
    return ed_plan_apply_phases(*out, graph, ED_PHASE_CONVERT, ED_PHASE_FUSE);
}

ed_calib_options tool_calib_options(const settings *s)
{
    return (ed_calib_options){ .method = s->method,
                               .params = { .percentile = s->percentile, .ema = s->ema },
                               .bins = (size_t)s->bins,
                               .weight_method = s->weight_method,
                               .precision = s->precision,
                               .autotune = s->autotune,
                               .progress = tool_progress };
}

/* A number whose zero was asked for: zero alone would be the default. */
static double zero_is_none(const settings *s, const char *option, double value)
{
    return option_given(s, option) && value == 0 ? ED_QAT_NONE : value;
}

/* A grid of 4 bits wants larger steps (measured, CIFAR-10). */
static double learning_rate(const settings *s)
{
    ed_qat_options standard = { 0 };
    if (!s->bits_w || strcmp(s->bits_w, "4") != 0 || option_given(s, "lr"))
        return s->learning_rate;
    ed_qat_defaults(&standard);
    return 2 * standard.learning_rate;
}

ed_qat_options tool_qat_options(const settings *s)
{
    return (ed_qat_options){
        .epochs = s->epochs,
        .accumulate = s->accumulate,
        .optimizer = s->optimizer,
        .schedule = s->schedule,
        .loss = s->loss,
        .scales = s->scales,
        .weight_scales = s->weight_scales,
        .learning_rate = learning_rate(s),
        .momentum = zero_is_none(s, "momentum", s->momentum),
        .weight_decay = zero_is_none(s, "weight-decay", s->weight_decay),
        .clip = s->clip,
        .warmup = s->warmup,
        .temperature = s->temperature,
        .alpha = zero_is_none(s, "alpha", s->alpha),
        .label_smoothing = s->label_smoothing,
        .freeze_observers = zero_is_none(s, "freeze-observers", s->freeze_observers),
        .augment = s->augment,
        .freeze = s->freeze.items,
        .freeze_count = s->freeze.count,
        .seed = (uint64_t)s->seed,
        .deterministic = s->deterministic,
        .val_every = s->val_every,
        .patience = s->patience,
        .memory = s->memory,
        .precision = s->precision,
        .autotune = s->autotune,
    };
}
