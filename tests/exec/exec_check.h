/* Shared by the executor's tests: compile a text graph, run it, compare with the reference kernels.
 */
#ifndef EXEC_CHECK_H
#define EXEC_CHECK_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "ed/exec.h"
#include "exec/exec_impl.h"

typedef struct compiled {
    ed_graph *graph;
    ed_exec *exec;
    ed_tensor *inputs[4];
    size_t n_inputs;
    const ed_tensor *outputs[4];
} compiled;

/* Parse, compile for `batch`, and make inputs of small deterministic numbers. */
compiled compile_text(const char *text, int64_t batch, const ed_exec_options *opts);
void run(compiled *c);
void release(compiled *c);
/* The largest |a - b| over the largest |b|. */
double difference(const ed_tensor *a, const ed_tensor *b);
/* Run `text` with fast kernels and with reference kernels: every output agrees to `tolerance`.
 * Returns the fast one for more checks. */
compiled check_against_reference(const char *text, int64_t batch, double tolerance);
/* The same with options for the fast one. */
compiled check_with_options(const char *text, int64_t batch, double tolerance,
                            const ed_exec_options *opts);
/* Does the printed plan hold this text? */
bool plan_says(const ed_exec *exec, const char *text);

#endif
