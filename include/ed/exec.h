/**
 * @file ed/exec.h
 * @brief Compile a graph for given input shapes and run it.
 *
 * Stages: validate, infer shapes, choose kernels, assign layouts, plan memory; then any number of
 * runs. The plan can be printed. An executor borrows the graph, which must outlive it unchanged.
 */
#ifndef ED_EXEC_H
#define ED_EXEC_H

#include "ed/graph.h"

ED_BEGIN_DECL

typedef struct ed_exec ed_exec;

/** Where kernels run: "cpu", "cuda" (the first GPU), "cuda:1", ...; see ed/backend.h. */
#define ED_DEVICE_CPU "cpu"

/**
 * An observed value of the batch just run: `numel` floats in some physical layout, of which
 * `padding` are zeros that the layout added and do not belong to the value.
 * @return ED_OK; anything else ends the run with that code
 */
typedef int (*ed_observe_fn)(void *ctx, const char *value, const float *data, int64_t numel,
                             int64_t padding);

/** Options of compiling; zeroed or NULL means the defaults. */
typedef struct ed_exec_options {
    const char *device;    /**< NULL: "cpu" */
    const char *precision; /**< on a GPU: "tf32" (NULL), "fp32" or "bf16" */
    bool autotune; /**< on a GPU: time the kernels that could run a convolution, take the fastest */
    bool deterministic; /**< the same bits in each run, whatever else the graph holds: on a GPU
                           gradients of convolutions, on the CPU sums into an operand's memory */
    bool profile;       /**< on a GPU: measure every step, which makes the run slower */
    bool no_outputs;    /**< nobody reads the outputs: on a GPU, ed_exec_run() does not wait */
    bool reference;     /**< only reference kernels, no fusion: the readable specification */
    const char *const *observed; /**< what ed_exec_set_observer() is to show */
    size_t observed_count;
    bool observe_plain; /**< hand observed values over in row-major order, without padding */
    ed_exec *share;     /**< an executor of the same graph and device whose prepacked weights are
                           reused; it must outlive this one (a ragged last batch). NULL: none */
} ed_exec_options;

/**
 * Compile.
 * @param shapes  one known shape per graph input
 * @return ED_OK, ED_ESHAPE, ED_EUNSUPPORTED (the operator and node are named), ED_ENOTFOUND (an
 *         observed value or device), ED_ENOMEM. Release with ed_exec_free().
 */
ED_API int ed_exec_new(ed_exec **out, const ed_graph *graph, const ed_shape *shapes,
                       const ed_exec_options *opts);
/** Shapes for ed_exec_new(): the graph's inputs with every unknown first dimension set to `batch`.
 *  @return ED_OK, or ED_ESHAPE when another dimension is unknown (take it from the data) or the
 * batch is fixed at another size */
ED_API int ed_exec_batch_shapes(ed_shape *shapes, const ed_graph *graph, int64_t batch);

/** Call fn after the step that computes an observed value, in every following run. */
ED_API void ed_exec_set_observer(ed_exec *exec, ed_observe_fn fn, void *ctx);

/**
 * Run one batch.
 * @param inputs   one tensor per graph input, of the compiled shape and the input's dtype
 * @param outputs  receives one borrowed tensor per graph output, valid until the next run; with
 *                 `no_outputs` their contents are undefined on a GPU
 */
ED_API int ed_exec_run(ed_exec *exec, const ed_tensor *const *inputs, const ed_tensor **outputs);

/**
 * Seconds that the steps of one run take, without copies to and from a device: the median of
 * `repeats` runs over the inputs of the last ed_exec_run(), whose tensors must still be there. The
 * profile begins anew with them.
 * @return ED_OK, ED_EINVAL (no run yet, or no repeats), ED_ENOMEM, or what a run fails with
 */
ED_API int ed_exec_time(double *seconds, ed_exec *exec, int repeats);

/** What was compiled: steps with their kernel and why a better one refused, reorders, bytes. */
ED_API int ed_exec_print(const ed_exec *exec, FILE *file);
/** Seconds spent per step since the start, slowest first. */
ED_API int ed_exec_print_profile(const ed_exec *exec, FILE *file);

/** Figures of the compiled plan. */
typedef struct ed_exec_stats {
    size_t steps, reorders;
    size_t host_steps;       /**< on a GPU: steps that no kernel there runs */
    size_t activation_bytes; /**< the planned arena */
    size_t weight_bytes;     /**< prepacked weights */
} ed_exec_stats;
ED_API ed_exec_stats ed_exec_get_stats(const ed_exec *exec);

/** Release; NULL is allowed. */
ED_API void ed_exec_free(ed_exec *exec);

/** An operator that a graph uses. Strings belong to the graph. */
typedef struct ed_operator_info {
    const char *type, *domain; /**< domain "" is ai.onnx */
    int64_t opset;             /**< version of the domain that the model imports */
    size_t count;              /**< nodes */
    const char *first;         /**< name of the first one, or of its first output */
    bool runs;                 /**< false: no kernel for it, ed_exec_new() would refuse */
} ed_operator_info;
/** All operators, the most frequent first; *out is released with free(). @return ED_OK, ED_ENOMEM
 */
ED_API int ed_graph_operators(ed_operator_info **out, size_t *count, const ed_graph *graph);

ED_END_DECL

#endif
