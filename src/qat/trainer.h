/* A training run: what the loop, its checkpoints and its log share. */
#ifndef QAT_TRAINER_H
#define QAT_TRAINER_H

#include "qat/device_step.h"

#include <stdio.h>

/* Where a run is: all that is no array. */
typedef struct ed_position {
    int64_t epoch, batch;                           /* the next one */
    int64_t step;                                   /* done, of all epochs */
    int64_t best_epoch;                             /* or ED_QAT_START, ED_QAT_NOT_VALIDATED */
    int64_t correct, labelled, steps;               /* of the present epoch */
    double loss;                                    /* sum over the steps of the present epoch */
    double last_loss;                               /* mean of the epoch before */
    double best_accuracy, best_val_loss, best_loss; /* of the best epoch */
} ed_position;

typedef struct ed_trainer {
    ed_qat_settings settings;
    ed_graph *graph;   /* the caller's, quantized */
    ed_graph *teacher; /* a copy whose output is the logits; NULL */
    ed_dataset *train, *val;
    ed_train_graph *plan;
    ed_train_state *state;
    ed_exec *exec, *teacher_exec;
    ed_device_steps *there; /* NULL: it trains on the CPU */
    const ed_tensor **inputs, **outputs;
    const ed_tensor *teacher_logits;
    ed_tensor labels; /* a view of the present batch's */
    uint64_t model_hash, teacher_hash;
    int64_t batches; /* of an epoch */
    ed_position at;
    FILE *log;
    double started;   /* seconds, when the first step began */
    int64_t measured; /* steps since then */
} ed_trainer;

/* ---- trainer_setup.c ---- */
/* `t` holds graph, train and val; what was made is released by ed_trainer_clear() in any case. */
int ed_trainer_begin(ed_trainer *t, const ed_graph *teacher, const ed_qat_options *opts);
void ed_trainer_clear(ed_trainer *t);

/* ---- resume.c ---- */
/* Write the run to opts.checkpoint, if there is one. */
int ed_trainer_checkpoint(const ed_trainer *t);
/* Go on from opts.resume. ED_EMISMATCH names what differs. */
int ed_trainer_resume(ed_trainer *t);

/* ---- training_log.c ---- */
/* Open opts.log, if there is one: a new file, or the old one up to t->at when resuming. ED_EIO;
 * ED_EFORMAT: the old one is no log. */
int ed_log_open(ed_trainer *t);
int ed_log_add(ed_trainer *t, const ed_qat_report *r);
int ed_log_flush(const ed_trainer *t);
int ed_log_close(ed_trainer *t);

#endif
