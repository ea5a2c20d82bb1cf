/*
 * The compiled plan: buffers (a value in one layout) and steps (a kernel over buffers), and the
 * stages that fill them in: concrete.c, chains.c (trees.c), kernels.c, prune.c, memory.c.
 */
#ifndef EXEC_EXEC_IMPL_H
#define EXEC_EXEC_IMPL_H

#include "ed/exec.h"
#include "exec/on_device.h"

#include "backend/backend.h"
#include "backend/onednn.h"
#include "ops/op.h"

typedef enum ed_home { ED_HOME_ARENA, ED_HOME_INPUT, ED_HOME_CONSTANT } ed_home;

/* A value in one physical layout. */
typedef struct ed_buffer {
    ed_id value;
    ed_layout layout;
    ed_home home;
    ed_tensor
        tensor;    /* of the value's shape; `data` is set by memory.c, or by each run for inputs */
    int64_t numel; /* physical elements, padding included */
    size_t nbytes; /* physical */
    uint32_t root; /* the buffer whose memory this one overwrites; itself if none */
    uint32_t first, last; /* steps between which the memory is needed */
    size_t offset;        /* in the arena */
} ed_buffer;

/* One kernel call. */
typedef struct ed_step {
    const ed_kernel *kernel; /* NULL: a copy, or a change of layout (by `reorder` on the CPU) */
    bool on_host;            /* a reference kernel in the middle of a device's run */
    ed_tensor **host_in, **host_out; /* its operands here; NULL: omitted */
    const char *name;                /* of the implementation */
    const char *refused;             /* why the best row did not take it, or NULL */
    const ed_node *node;             /* the first one; NULL for a change of layout */
    uint32_t taken;                  /* nodes from that one on in running order */
    uint32_t position;               /* of the first node in ed_exec.order */
    void *state;
    ed_prim *reorder;
    uint32_t n_in, n_out;
    uint32_t *in, *out; /* buffers, ED_NONE: omitted */
    const ed_tensor **in_tensors;
    ed_tensor **out_tensors;
    bool inplace;
    size_t scratch, weight_bytes;
    double seconds;
} ed_step;

/* Nodes of one group or tree that run together if a row takes them. */
typedef struct ed_chain {
    uint32_t begin, count; /* in ed_exec.order */
} ed_chain;

struct ed_exec {
    const ed_graph *graph;
    bool reference, profile, no_outputs;
    bool deterministic;
    bool plan_only;          /* no memory is allocated: for a look at the figures */
    const ed_device *device; /* NULL: the CPU */
    int threads;             /* at compile time: the library's kernels are made for that number */
    const ed_exec *share;
    ed_dnn *dnn;
    ed_arena *arena; /* lists of steps, parameters */
    /* concrete.c: per value id */
    ed_type *types;
    const ed_tensor **constants; /* initializers, and results of nodes on constants */
    bool *observed, *kept;
    ed_tensor **folded; /* the results of nodes on constants that this executor owns */
    size_t n_folded, folded_capacity;
    void **params; /* per node id */
    /* chains.c */
    const ed_node **order;
    const void **order_params;
    size_t n_order;
    ed_chain *chains;
    size_t n_chains;
    uint32_t *place;     /* per node id: index in `order` */
    uint32_t *last_read; /* per value id */
    /* kernels.c */
    ed_layout *layouts; /* per value id */
    uint32_t *where;    /* per value id: its first buffer, ED_NONE */
    ed_buffer *buffers;
    size_t n_buffers, buffer_capacity;
    ed_step *steps;
    size_t n_steps, step_capacity;
    uint32_t *outputs; /* buffers of the graph's outputs */
    /* memory.c */
    char *memory, *scratch;
    size_t memory_bytes, scratch_bytes;
    size_t runs;
    bool observe_plain;
    float *plain; /* an observed value in row-major order; NULL unless some value needs it */
    ed_observe_fn observe;
    void *observe_ctx;
    /* on a device only: device_memory.c, device_run.c */
    void *device_inputs;            /* memory of the inputs */
    void **device_constants;        /* [n_buffers], NULL but for constants that steps read */
    ed_tensor **device_outputs;     /* copies of the outputs here */
    void *staging;                  /* an observed value in row-major order */
    void *observers;                /* of the backend; borrowed */
    const uint32_t *observer_of;    /* per value id; ED_NONE */
    const ed_exec_largest *largest; /* borrowed */
    size_t n_largest;
    void *recorded;    /* the steps as a graph of the backend */
    bool no_recording; /* one could not be made */
    void *marks[4];    /* of one step, of a run */
};

/* Stages, in order. */
int ed_exec_concrete(ed_exec *x, const ed_shape *shapes);
int ed_exec_chains(ed_exec *x);
int ed_exec_kernels(ed_exec *x);
int ed_exec_prune(ed_exec *x);
int ed_exec_memory(ed_exec *x);

/* ---- on a device (device_memory.c, device_run.c) ---- */
/* The kernel rows of a node; NULL: none. */
const ed_kernel *ed_exec_rows(const ed_exec *x, const ed_op *op, const ed_node *node);
/* Allocate what memory.c planned, copy constants. */
int ed_exec_device_memory(ed_exec *x);
/* Room for any observed value in row-major float32, here and there; made when one is shown. */
int ed_exec_device_staging(ed_exec *x);
/* Run once on zeros: what the libraries load at a kernel's first use is loaded. */
int ed_exec_device_warm(ed_exec *x);
int ed_exec_device_run(ed_exec *x, const ed_tensor *const *inputs);
/* The steps alone, queued; recorded when that is possible. */
int ed_exec_device_steps(ed_exec *x);
void ed_exec_device_free(ed_exec *x);
/* Drop the recording: what it does is no longer what a run does. */
void ed_exec_device_forget(ed_exec *x);

#endif
