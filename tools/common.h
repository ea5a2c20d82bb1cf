/*
 * What every command shares: errors and messages, interrupts, progress, tables, small path helpers.
 */
#ifndef TOOLS_COMMON_H
#define TOOLS_COMMON_H

#include "options.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 };

#define TRY(expr)                                                                                  \
    do {                                                                                           \
        int try_rc_ = (expr);                                                                      \
        if (try_rc_ != ED_OK)                                                                      \
            return try_rc_;                                                                        \
    } while (0)

/* ---- common.c ---- */
/* Messages, interrupts and threads, as the settings ask for. */
int tool_start(const command *cmd, const settings *s);
/* The first call of main: may run the program anew with another environment. */
void tool_begin(char **argv);
/* Store the command's own sentence of an error; returns `code`. */
int tool_fail(int code, const char *format, ...) ED_PRINTF(2, 3);
/* The sentence of the last error, whoever stored it. */
const char *tool_sentence(void);
/* A message on standard error, unless --quiet. */
void tool_note(const char *format, ...) ED_PRINTF(1, 2);
/* A warning on standard error. */
void tool_warn(const char *format, ...) ED_PRINTF(1, 2);
/* ED_EINTR once an interrupt was asked for. */
int tool_interrupted(void);
/* The device to hand to the library, which is there; or a failure that says why not. */
int tool_device(const char **out, const char *wanted);
/* The batch to ask for when --batch is `wanted` (0: auto); 0: the library's, or the model's own. */
int64_t tool_batch(int64_t wanted, const ed_graph *graph, const char *device);
/* True when the model itself says how many samples run together. */
bool tool_fixed_batch(const ed_graph *graph);
/* True when rc tells that a GPU's memory ran out: *batch is halved, and the user told. */
bool tool_smaller_batch(int64_t *batch, int rc, const ed_graph *graph, const char *device);
/* Print the error behind rc, flush standard output; returns the exit status. */
int tool_finish(int rc);
/* Seconds of a clock that only goes forward. */
double tool_seconds(void);

/* ---- pipeline.c ---- */
/* Options of the passes, as --exclude, --rule, --disable, --target and --bits-... say. */
ed_plan_options tool_plan_options(const settings *s);
/* Options of calibration, as the settings say; the device is the caller's. */
ed_calib_options tool_calib_options(const settings *s);
/* Options of training that say how it learns. */
ed_qat_options tool_qat_options(const settings *s);
/* Conversions and fusions of `graph`, and the plan of what to quantize in it: by default, or as
 * --plan and --disable say. `source`: what the plan was built from, to be released after it. */
int tool_plan(ed_plan **out, ed_graph **source, ed_graph *graph, const settings *s);

/* ---- demo.c ---- */
typedef struct demo_files { /* samples; the model is named by each of them */
    const char *train, *calib, *test;
} demo_files;
/* True without a MODEL and data: the command then runs on the demo. */
bool tool_demo_wanted(const settings *s);
int tool_demo(demo_files *files);

/* ---- files.c ---- */
/* "<model without .onnx><suffix>"; *out is released with free(). */
int tool_output_beside(char **out, const char *model, const char *suffix);
/* The model of the command line, or the one that the data names; *out is released with free(). */
int tool_model_path(char **out, const settings *s);
/* True when both paths lead to the same file. */
bool tool_same_file(const char *a, const char *b);
/* Refuse an output before the work begins: a folder that is not there or not writable. */
int tool_check_output(const char *path);
/* The same for several, and refuse what would overwrite an input or another output. Members may be
 * NULL. */
int tool_check_outputs(const char *const *outputs, size_t n, const char *const *inputs, size_t m);
/* Let `put` write a file that appears whole or not at all. */
int tool_write_file(const char *path, int (*put)(FILE *file, const void *ctx), const void *ctx);

/* ---- tensors.c ---- */
/* A tensor from a .npy or .pb file; release with ed_tensor_free(). */
int tool_tensor_read(ed_tensor **out, const char *path);
/* Write one, in the format that the path's ending names; the file appears whole or not at all. */
int tool_tensor_write(const ed_tensor *tensor, const char *name, const char *path);

/* ---- npy.c ---- */
int npy_read(ed_tensor **out, const char *path);
int npy_write(const ed_tensor *tensor, const char *path);

/* ---- inputs.c ---- */
/* The graph's input shapes, an unknown first dimension taken as `batch`; release with free(). */
int tool_input_shapes(ed_shape **out, const ed_graph *graph, int64_t batch);
/* Numbers in [-1, 1) (integers: 0 to 9), the same ones every time. */
void tool_fill_random(ed_tensor *tensor);
/* Release a list of tensors and its members; NULL is allowed. */
void tool_free_tensors(ed_tensor **list, size_t count);

/* ---- progress.c ---- */
/* An ed_progress_fn: a bar on a terminal, a line now and then elsewhere; stops on an interrupt. */
int tool_progress(void *ctx, const char *what, int64_t done, int64_t total);
/* The same without the interrupt; `tail` is told in place of the rate, unless it is NULL. */
void progress_tell(const char *what, int64_t done, int64_t total, const char *tail);
/* Called once: whether to draw at all. */
void progress_init(bool quiet);
/* Remove the bar from the screen, before other output. */
void progress_clear(void);

/* ---- table.c ---- */
/* Columns as wide as their widest cell (in UTF-8 characters). */
typedef struct table table;
/* One character of `align` a column: 'l' or 'r'. Never fails: memory running out is told by
 * table_print(). */
table *table_new(const char *align);
/* The next cell; a row is full when every column has one. */
void table_cell(table *t, const char *format, ...) ED_PRINTF(2, 3);
/* A number of two decimals, "-" when it is not known. */
void table_number(table *t, double value, bool known);
/* A SQNR: of two equal outputs, which have no noise, "equal". */
void table_decibel(table *t, double db);
/* Print and release. @return ED_OK or ED_ENOMEM */
int table_print(table *t, FILE *out);

#endif
