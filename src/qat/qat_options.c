/* Options of training: the defaults, the tables of choices that have no state, the checks. */
#include "qat/qat_options.h"

#include "qat/choice.h"

#include <math.h>
#include <string.h>

static const ed_qat_choice losses[] = {
    [ED_LOSS_DISTILL] = { "distill", "the float model's answers (KL divergence)" },
    [ED_LOSS_LABELS] = { "labels", "the data's labels (cross entropy)" },
    [ED_LOSS_BOTH] = { "both", "both: alpha of the labels, the rest of the float model" },
};

static const ed_qat_choice scales[] = {
    [ED_SCALES_FROZEN] = { "frozen", "as calibrated" },
    [ED_SCALES_EMA] = { "ema", "follow the average of the batches' largest values" },
    [ED_SCALES_LSQ] = { "lsq", "learned by their gradients (LSQ)" },
};

const ed_qat_choice *ed_loss_at(size_t i)
{
    return i < ED_LENGTH(losses) ? &losses[i] : NULL;
}

const ed_qat_choice *ed_scales_at(size_t i)
{
    return i < ED_LENGTH(scales) ? &scales[i] : NULL;
}

/* ---- numbers ---- */

/* One row an option that is a number: its default and its limits. The last one changes nothing
 * of what comes out. */
enum { WITHOUT_EFFECT = 1 };
static const struct number {
    const char *name;
    size_t place; /* in ed_qat_options */
    bool whole;   /* int64_t, else double */
    double standard, least, most;
} numbers[] = {
#define WHOLE(field, name, standard, least, most)                                                  \
    {                                                                                              \
        name, offsetof(ed_qat_options, field), true, standard, least, most                         \
    }
#define REAL(field, name, standard, least, most)                                                   \
    {                                                                                              \
        name, offsetof(ed_qat_options, field), false, standard, least, most                        \
    }
    WHOLE(epochs, "epochs", 3, 1, 1e9),
    WHOLE(batch, "batch", 128, 1, 65536),
    WHOLE(accumulate, "accumulate", 1, 1, 1e6),
    WHOLE(val_every, "val_every", 1, 1, 1e9),
    WHOLE(patience, "patience", 0, 0, 1e9),
    REAL(learning_rate, "learning_rate", 0.0005, 0, 1e6),
    REAL(momentum, "momentum", 0.9, ED_QAT_NONE, 1),
    REAL(weight_decay, "weight_decay", 1e-4, ED_QAT_NONE, 1e6),
    REAL(clip, "clip", 0, 0, 1e30),
    REAL(warmup, "warmup", 0, 0, 1),
    REAL(temperature, "temperature", 2, 1e-3, 1e6),
    REAL(alpha, "alpha", 0.5, ED_QAT_NONE, 1),
    REAL(label_smoothing, "label_smoothing", 0, 0, 0.999),
    REAL(freeze_observers, "freeze_observers", 0.5, ED_QAT_NONE, 1),
    WHOLE(memory, "memory", 0, 0, 0x1p53),
    WHOLE(checkpoint_every, "checkpoint_every", 0, 0, 1e15),
#undef WHOLE
#undef REAL
};

static double get(const ed_qat_options *opts, const struct number *row)
{
    const char *field = (const char *)opts + row->place;
    return row->whole ? (double)*(const int64_t *)(const void *)field
                      : *(const double *)(const void *)field;
}

static void set(ed_qat_options *opts, const struct number *row, double value)
{
    char *field = (char *)opts + row->place;
    if (row->whole)
        *(int64_t *)(void *)field = (int64_t)value;
    else
        *(double *)(void *)field = value;
}

void ed_qat_defaults(ed_qat_options *opts)
{
    for (size_t i = 0; i < ED_LENGTH(numbers); i++)
        if (get(opts, &numbers[i]) == 0)
            set(opts, &numbers[i], numbers[i].standard);
    const struct {
        const char **field, *standard;
    } names[] = {
        { &opts->optimizer, ed_optimizer_at(0)->name },
        { &opts->schedule, ed_schedule_at(0)->name },
        { &opts->loss, ed_loss_at(0)->name },
        { &opts->scales, ed_scales_at(0)->name },
        { &opts->weight_scales, ed_weight_scales_at(0)->name },
        { &opts->augment, "" },
    };
    for (size_t i = 0; i < ED_LENGTH(names); i++)
        if (!*names[i].field)
            *names[i].field = names[i].standard;
}

bool ed_qat_number_at(const char **name, double *value, const ed_qat_options *opts, size_t i)
{
    if (i >= ED_LENGTH(numbers) - WITHOUT_EFFECT)
        return false;
    *name = numbers[i].name;
    *value = get(opts, &numbers[i]);
    return true;
}

double ed_qat_number(double value)
{
    return value < 0 ? 0 : value;
}

int ed_qat_options_read(ed_qat_settings *out, const ed_qat_options *opts)
{
    size_t loss, activation, weight;
    *out = (ed_qat_settings){ 0 };
    if (opts)
        out->opts = *opts;
    ed_qat_defaults(&out->opts);
    for (size_t i = 0; i < ED_LENGTH(numbers); i++) {
        double value = get(&out->opts, &numbers[i]);
        bool none = numbers[i].least < 0 && value == ED_QAT_NONE;
        ED_FAIL_IF(!none && !(value >= fmax(numbers[i].least, 0) && value <= numbers[i].most),
                   ED_EINVAL, "%s is %g; it must be from %g to %g", numbers[i].name, value,
                   fmax(numbers[i].least, 0), numbers[i].most);
    }
    ED_TRY(ed_optimizer_find(&out->optimizer, out->opts.optimizer));
    ED_TRY(ed_schedule_find(&out->schedule, out->opts.schedule));
    ED_TRY(ed_choice_find(&loss, ed_loss_at, "loss", out->opts.loss));
    ED_TRY(ed_choice_find(&activation, ed_scales_at, "scales", out->opts.scales));
    ED_TRY(ed_choice_find(&weight, ed_weight_scales_at, "weight_scales", out->opts.weight_scales));
    out->loss = (ed_loss_kind)loss;
    out->scales = (ed_activation_scaling)activation;
    out->weight_scales = (ed_weight_scaling)weight;
    return ED_OK;
}
