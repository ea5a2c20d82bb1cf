/* Checkpoints to write and to expect. */
#ifndef TESTS_QAT_CHECKPOINT_SAMPLE_H
#define TESTS_QAT_CHECKPOINT_SAMPLE_H

#include "qat/checkpoint.h"

#define PATH     "run.h5"
#define PREVIOUS PATH ".previous"

/* These assert that it works; reading, that PATH itself is good. */
ed_checkpoint *new_good(void);
void write_good(const ed_checkpoint *c);
ed_checkpoint *read_good(const char *path);
void remove_files(void);

/* A checkpoint that says `number`, in a tensor and in a text. */
void write_number(int number);
void expect_number(const ed_checkpoint *c, int number);

void put_bytes(const char *path, const void *data, size_t size);
/* Reading PATH gives this code and a sentence with these words. */
void expect_refused(int code, const char *sentence);

#endif
