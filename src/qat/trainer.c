/*
 * The training loop.
 *
 *   epoch: every batch of the shuffled epoch is a step: teacher, training graph, gradients;
 *          `accumulate` steps (fewer at an epoch's end) are one update; then validation of the
 * graph as it would be written, a checkpoint
 *
 * The state after a step follows from the one before it and from (seed, epoch, batch): a run that
 * goes on from a checkpoint is bit for bit the straight one.
 */
#include "qat/trainer.h"

#include "base/clock.h"
#include "data/labels.h"
#include "data/shuffle.h"
#include "qat/validate.h"

#include <math.h>
#include <string.h>

/* ---- steps ---- */

static int check_labels(const ed_trainer *t, const ed_batch *batch)
{
    ED_FAIL_IF(!batch->labels && t->settings.loss != ED_LOSS_DISTILL, ED_ENOTFOUND,
               "%s: there is no dataset 'labels', which the loss '%s' needs; add it, or use "
               "'distill'",
               ed_dataset_name(t->train), t->settings.opts.loss);
    return ed_check_labels(t->train, batch, -1, t->plan->classes);
}

static int feed(ed_trainer *t, const ed_batch *batch)
{
    const ed_train_graph *plan = t->plan;
    for (size_t i = 0; i < ed_graph_input_count(t->graph); i++)
        t->inputs[i] = batch->inputs[i];
    if (plan->labels != SIZE_MAX) {
        ED_TRY(ed_tensor_view(&t->labels, ED_I64, &ED_SHAPE(batch->size), (void *)batch->labels));
        t->inputs[plan->labels] = &t->labels;
    }
    if (plan->teacher != SIZE_MAX) {
        ED_TRY(ed_exec_run(t->teacher_exec, batch->inputs, &t->teacher_logits));
        t->inputs[plan->teacher] = t->teacher_logits;
    }
    return ED_OK;
}

static int64_t updates_of_run(const ed_trainer *t)
{
    int64_t accumulate = t->settings.opts.accumulate;
    return t->settings.opts.epochs * ((t->batches + accumulate - 1) / accumulate);
}

static double learning_rate(const ed_trainer *t)
{
    const ed_qat_options *o = &t->settings.opts;
    int64_t all = updates_of_run(t), next = t->state->updates;
    return ed_schedule_rate(t->settings.schedule, o->learning_rate, o->warmup,
                            next < all ? next : all - 1, all);
}

/* Averaged scales follow the steps until their share of the run is over. */
static bool follows(const ed_trainer *t)
{
    double share = ed_qat_number(t->settings.opts.freeze_observers);
    return (double)t->state->updates < share * (double)updates_of_run(t);
}

static void follow(ed_trainer *t)
{
    if (t->settings.scales != ED_SCALES_EMA)
        return;
    if (follows(t))
        ed_state_follow(t->state);
    else
        ed_exec_set_observer(t->exec, NULL, NULL);
}

static int follow_there(ed_trainer *t)
{
    ed_device_state *state = ed_device_steps_state(t->there);
    if (t->settings.scales != ED_SCALES_EMA)
        return ED_OK;
    if (follows(t))
        return ed_device_state_follow(state);
    ed_device_state_freeze(state);
    return ED_OK;
}

/* Is an update due behind the step that comes? */
static bool updates(const ed_trainer *t)
{
    return t->at.batch + 1 == t->batches || t->state->summed + 1 == t->settings.opts.accumulate;
}

/* What a step came to, into its report and the epoch's sums. */
static int account(ed_trainer *t, ed_qat_report *r, float loss, const ed_tensor *logits,
                   const int64_t *labels)
{
    int64_t correct = 0, labelled = 0;
    r->loss = (double)loss;
    ED_FAIL_IF(!isfinite(r->loss), ED_ENONFINITE, "the loss is %g; try a smaller --lr, or --clip",
               r->loss);
    if (labels)
        ed_count_correct(&correct, &labelled, logits, labels, t->plan->batch);
    r->accuracy = labelled ? 100.0 * (double)correct / (double)labelled : -1;
    t->at.correct += correct;
    t->at.labelled += labelled;
    t->at.loss += r->loss;
    t->at.steps++;
    return ED_OK;
}

static int learn(ed_trainer *t, const ed_batch *batch, ed_qat_report *r)
{
    const bool update = updates(t);
    ED_TRY(feed(t, batch));
    ED_TRY(ed_exec_run(t->exec, t->inputs, t->outputs));
    ED_TRY(account(t, r, *(const float *)t->outputs[ED_TRAIN_LOSS]->data,
                   t->outputs[ED_TRAIN_LOGITS], batch->labels));
    ed_state_add(t->state, t->outputs);
    if (update)
        ED_TRY(ed_state_update(t->state, r->learning_rate));
    follow(t);
    return ED_OK;
}

static ed_qat_report new_report(const ed_trainer *t)
{
    return (ed_qat_report){ .epoch = t->at.epoch,
                            .epochs = t->settings.opts.epochs,
                            .step = t->at.step + 1,
                            .steps = t->settings.opts.epochs * t->batches,
                            .accuracy = -1,
                            .val_loss = NAN,
                            .val_accuracy = -1,
                            .learning_rate = learning_rate(t) };
}

/* Log and report; *go_on is false when the caller of the library wants to stop. */
static int tell(ed_trainer *t, ed_qat_report *r, bool *go_on)
{
    const ed_qat_options *o = &t->settings.opts;
    double seconds = ed_clock_seconds() - t->started;
    r->images_per_second = seconds > 0 ? (double)(t->measured * t->plan->batch) / seconds : 0;
    ED_TRY(ed_log_add(t, r));
    *go_on = !o->report || o->report(o->report_ctx, r) == 0;
    return ED_OK;
}

static int step_failed(const ed_trainer *t, int rc, const ed_qat_report *r)
{
    return ed_error_context(rc, "step %lld of epoch %lld",
                            (long long)(r->step - r->epoch * t->batches), (long long)r->epoch + 1);
}

/* ---- steps on a device ---- */

static int take_answer(ed_trainer *t, bool *go_on)
{
    ed_device_answer a;
    int failed = ed_device_steps_answer(t->there, &a), rc = failed;
    if (failed == ED_OK || failed == ED_ENONFINITE) /* the loss tells more */
        rc = account(t, &a.report, a.loss, &a.logits, a.labels);
    if (rc == ED_OK)
        rc = failed;
    return rc == ED_OK ? tell(t, &a.report, go_on) : step_failed(t, rc, &a.report);
}

/* All steps have their answers, and the state is here. */
static int settle(ed_trainer *t, bool *go_on)
{
    if (!t->there)
        return ED_OK;
    while (ed_device_steps_pending(t->there))
        ED_TRY(take_answer(t, go_on));
    ED_TRY(ed_device_steps_judge(t->there));
    return ed_device_state_pull(ed_device_steps_state(t->there));
}

/* Queue the step, then wait for the one before it. */
static int step_there(ed_trainer *t, const ed_batch *batch, const ed_qat_report *r, bool *go_on)
{
    int rc = ed_device_steps_queue(t->there, batch, r, updates(t));
    if (rc == ED_OK)
        rc = follow_there(t);
    if (rc != ED_OK)
        return step_failed(t, rc, r);
    return ed_device_steps_pending(t->there) > 1 ? take_answer(t, go_on) : ED_OK;
}

static int step_here(ed_trainer *t, const ed_batch *batch, ed_qat_report *r, bool *go_on)
{
    int rc = learn(t, batch, r);
    return rc == ED_OK ? tell(t, r, go_on) : step_failed(t, rc, r);
}

/* ---- any step ---- */

static int next_batch(ed_trainer *t, ed_batch *batch, const ed_qat_report *r)
{
    ED_TRY(ed_dataset_next(t->train, batch));
    ED_FAIL_IF(batch->size != t->plan->batch, ED_EINTERNAL,
               "%s: a batch of %lld samples, not %lld; please report it", ed_dataset_name(t->train),
               (long long)batch->size, (long long)t->plan->batch);
    int rc = check_labels(t, batch);
    return rc == ED_OK ? rc : step_failed(t, rc, r);
}

static int step(ed_trainer *t, bool *go_on)
{
    const ed_qat_options *o = &t->settings.opts;
    ed_qat_report r = new_report(t);
    ed_batch batch;
    ED_TRY(next_batch(t, &batch, &r));
    t->measured++;
    ED_TRY(t->there ? step_there(t, &batch, &r, go_on) : step_here(t, &batch, &r, go_on));
    t->at.batch++;
    t->at.step++;
    bool due = o->checkpoint_every && t->at.step % o->checkpoint_every == 0;
    if (due || !*go_on || t->at.batch == t->batches)
        ED_TRY(settle(t, go_on));
    return due || !*go_on ? ed_trainer_checkpoint(t) : ED_OK;
}

/* ---- epochs ---- */

/* A run whose validation fails can go on from the epoch's last step. */
static int validate(ed_trainer *t, ed_qat_report *r)
{
    ed_state_export(t->state, t->graph);
    int rc = ed_qat_validate(&r->val_loss, &r->val_accuracy, t->graph, t->val, &t->settings.opts);
    if (rc == ED_OK)
        return ED_OK;
    ed_error_kept kept = ed_error_keep();
    ed_trainer_checkpoint(t);
    ed_error_put_back(&kept);
    return ed_error_context(rc, "validation after epoch %lld", (long long)t->at.epoch + 1);
}

/* Is this epoch better than the best so far? Then keep it. */
static int judge(ed_trainer *t, const ed_qat_report *r)
{
    ed_position *p = &t->at;
    bool better = r->val_accuracy > p->best_accuracy ||
                  (r->val_accuracy == p->best_accuracy && r->val_loss < p->best_val_loss);
    if (!better)
        return ED_OK;
    p->best_epoch = p->epoch;
    p->best_accuracy = r->val_accuracy;
    p->best_val_loss = r->val_loss;
    p->best_loss = r->loss;
    return ed_state_keep(t->state);
}

/* The graph as it came in, whose numbers the state keeps as the best ones so far: training never
 * gives back a worse one. */
static int judge_start(ed_trainer *t)
{
    ed_position *p = &t->at;
    int rc =
        ed_qat_validate(&p->best_val_loss, &p->best_accuracy, t->graph, t->val, &t->settings.opts);
    if (rc != ED_OK)
        return ed_error_context(rc, "validation before the first step");
    p->best_epoch = ED_QAT_START;
    p->best_loss = NAN; /* no step was made */
    return ED_OK;
}

static int end_epoch(ed_trainer *t, bool *go_on)
{
    const ed_qat_options *o = &t->settings.opts;
    ed_position *p = &t->at;
    ed_qat_report r = new_report(t);
    double begin = ed_clock_seconds();
    ED_FAIL_IF(t->settings.loss == ED_LOSS_LABELS && !p->labelled, ED_ENOTFOUND,
               "%s: none of its samples has a label, which the loss '%s' needs; use 'distill'",
               ed_dataset_name(t->train), o->loss);
    r.epoch_end = true;
    r.step = p->step;
    r.loss = p->steps ? p->loss / (double)p->steps : NAN;
    r.accuracy = p->labelled ? 100.0 * (double)p->correct / (double)p->labelled : -1;
    if (t->val && ((p->epoch + 1) % o->val_every == 0 || p->epoch + 1 == o->epochs)) {
        ED_TRY(validate(t, &r));
        ED_TRY(judge(t, &r));
        t->started += ed_clock_seconds() - begin; /* the rate is that of training */
    }
    *p = (ed_position){ .epoch = p->epoch + 1,
                        .step = p->step,
                        .best_epoch = p->best_epoch,
                        .last_loss = r.loss,
                        .best_accuracy = p->best_accuracy,
                        .best_val_loss = p->best_val_loss,
                        .best_loss = p->best_loss };
    ED_TRY(tell(t, &r, go_on)); /* the checkpoint is of a run that has told it */
    return ed_trainer_checkpoint(t);
}

static bool has_patience(const ed_trainer *t)
{
    int64_t patience = t->settings.opts.patience, best = t->at.best_epoch;
    return patience == 0 || best == ED_QAT_NOT_VALIDATED || t->at.epoch - 1 - best < patience;
}

static int run_epoch(ed_trainer *t, bool *go_on)
{
    ED_TRY(ed_dataset_epoch(t->train, t->at.epoch, t->at.batch));
    while (*go_on && t->at.batch < t->batches)
        ED_TRY(step(t, go_on));
    return *go_on ? end_epoch(t, go_on) : ED_OK;
}

static int run(ed_trainer *t, ed_qat_result *result)
{
    bool go_on = true;
    if (t->val && t->at.best_epoch == ED_QAT_NOT_VALIDATED)
        ED_TRY(judge_start(t));
    t->started = ed_clock_seconds();
    while (go_on && t->at.epoch < t->settings.opts.epochs && has_patience(t))
        ED_TRY(run_epoch(t, &go_on));
    *result =
        (ed_qat_result){ .steps = t->at.step,
                         .best_epoch = t->at.best_epoch,
                         .loss = t->at.steps ? t->at.loss / (double)t->at.steps : t->at.last_loss,
                         .val_accuracy = -1,
                         .interrupted = !go_on };
    if (t->at.best_epoch != ED_QAT_NOT_VALIDATED) {
        ed_state_restore(t->state);
        if (t->at.best_epoch != ED_QAT_START)
            result->loss = t->at.best_loss;
        result->val_accuracy = t->at.best_accuracy;
    }
    ed_state_export(t->state, t->graph);
    return ED_OK;
}

int ed_qat_train(ed_qat_result *result, ed_graph *graph, const ed_graph *teacher, ed_dataset *train,
                 ed_dataset *val, const ed_qat_options *opts)
{
    ed_trainer t = { .graph = graph, .train = train, .val = val };
    *result =
        (ed_qat_result){ .best_epoch = ED_QAT_NOT_VALIDATED, .loss = NAN, .val_accuracy = -1 };
    ED_FAIL_IF(train == val, ED_EINVAL,
               "training and validation read one dataset; open the file twice");
    int rc = ed_trainer_begin(&t, teacher, opts);
    if (rc == ED_OK)
        rc = run(&t, result);
    int closed = ed_log_close(&t);
    ed_trainer_clear(&t);
    return rc == ED_OK ? closed : rc;
}
