/**
 * @file ed/qat.h
 * @brief Quantization-aware training of a quantized graph, without its training framework.
 *
 * What trains is the graph that deploys: BatchNormalization folded, FakeQuantize where the plan put
 * it. Weights are quantized anew in each step, gradients pass through rounding (straight-through
 * estimator), activation scales stay, follow an average, or are learned (LSQ: Esser et al., 2020).
 */
#ifndef ED_QAT_H
#define ED_QAT_H

#include "ed/calib.h"

ED_BEGIN_DECL

/** A row of a table of choices: optimizers, schedules, losses, how scales follow. */
typedef struct ed_qat_choice {
    const char *name, *help;
} ed_qat_choice;
/** Row i, NULL at the end; the first one is the default. */
ED_API const ed_qat_choice *ed_optimizer_at(size_t i);     /**< sgd, adamw */
ED_API const ed_qat_choice *ed_schedule_at(size_t i);      /**< cosine, step, constant */
ED_API const ed_qat_choice *ed_loss_at(size_t i);          /**< distill, labels, both */
ED_API const ed_qat_choice *ed_scales_at(size_t i);        /**< frozen, ema, lsq */
ED_API const ed_qat_choice *ed_weight_scales_at(size_t i); /**< lsq, absmax */

/** What a step or an epoch came to; negative or NaN where not known. */
typedef struct ed_qat_report {
    int64_t epoch, epochs; /**< from 0 */
    int64_t step, steps;   /**< of all epochs together, done so far */
    bool epoch_end;
    double loss;         /**< of this step; at an epoch's end the mean of its steps */
    double accuracy;     /**< top-1 in percent on the training samples, as `loss` */
    double val_loss;     /**< at an epoch's end, with a validation set */
    double val_accuracy; /**< top-1 in percent */
    double learning_rate;
    double images_per_second;
} ed_qat_report;
/** Called after every step and epoch. @return 0 to go on; else training stops after a checkpoint;
 * on a GPU after the step that is under way, too */
typedef int (*ed_qat_report_fn)(void *ctx, const ed_qat_report *report);

/** For a number whose zero means its default: none of it. */
#define ED_QAT_NONE (-1.0)

/** Options; zeroed or NULL means the default that ed_qat_defaults() states. momentum, weight_decay,
 * alpha and freeze_observers may be ED_QAT_NONE. */
typedef struct ed_qat_options {
    int64_t epochs;
    int64_t batch, accumulate; /**< samples a step; steps whose gradients are one update */
    const char *optimizer, *schedule, *loss, *scales, *weight_scales; /**< names of rows */
    double learning_rate, momentum, weight_decay, clip; /**< clip: largest norm of all gradients */
    double warmup;                                      /**< share of the steps */
    double temperature, alpha, label_smoothing;
    double freeze_observers;   /**< share of the steps after which `ema` scales stay */
    const char *augment;       /**< "flip,crop=4" */
    const char *const *freeze; /**< patterns (fnmatch) of parameters that do not change */
    size_t freeze_count;
    uint64_t seed;
    bool deterministic;
    int64_t val_every, patience; /**< epochs; 0: each; 0: never stops early */
    int64_t memory; /**< bytes for activations: above, they are recomputed; 0: no limit */
    const char *device, *precision; /**< as in ed_exec_options */
    bool autotune;                  /**< likewise */
    const char *checkpoint;         /**< file to write after each epoch; NULL: none */
    int64_t checkpoint_every;       /**< steps between checkpoints too; 0: epochs alone */
    const char *resume;             /**< checkpoint to go on from; NULL: begin anew */
    const char *log;                /**< CSV file; NULL: none */
    ed_qat_report_fn report;
    void *report_ctx;
} ed_qat_options;
/** Fill every field that is zeroed with its default, for printing. */
ED_API void ed_qat_defaults(ed_qat_options *opts);

/** In place of the best epoch: the graph as it came in was better than every epoch, and is what was
 * given back; there was no validation. */
enum { ED_QAT_START = -1, ED_QAT_NOT_VALIDATED = -2 };

typedef struct ed_qat_result {
    int64_t steps;
    int64_t best_epoch;  /**< or ED_QAT_START, ED_QAT_NOT_VALIDATED */
    double loss;         /**< mean of the best epoch's steps, else of the last one's */
    double val_accuracy; /**< of the graph that was given back */
    bool interrupted;    /**< report() asked to stop */
} ed_qat_result;

/**
 * Train a quantized graph in place: its initializers and scales become the trained ones (of the
 * best epoch by validation, or stay where none is better; of the last one without).
 * @param graph    quantized (FakeQuantize nodes with their scales)
 * @param teacher  the float model (also transformed: it runs faster); NULL with loss "labels"
 * @param train    training samples; read shuffled, from now on too. Its batch is the step's:
 *                 opts->batch is 0, or the same
 * @param val      NULL: none
 * @return ED_OK (also when interrupted), ED_EINVAL (an option, by name), ED_EUNSUPPORTED (an
 *         operator without gradient, by node), ED_ENONFINITE (the loss is NaN: step, group,
 * advice), ED_EMISMATCH (a checkpoint of another model or other options), ED_ENOTFOUND (a pattern
 * of `freeze` that fits nothing, no labels), ED_EIO, ED_EFORMAT, ED_ENOMEM
 */
ED_API int ed_qat_train(ed_qat_result *result, ed_graph *graph, const ed_graph *teacher,
                        ed_dataset *train, ed_dataset *val, const ed_qat_options *opts);

ED_END_DECL

#endif
