/*
 * Operators: one row each, found by (domain, type, opset). A row says how to read the attributes,
 * infer shapes, and which kernels run it, the best first and the plain C reference last.
 *
 * To add an operator: one row in its family's table, case lines in tests/ops/.
 */
#ifndef OPS_OP_H
#define OPS_OP_H

#include "backend/layout.h"
#include "graph/graph.h"

/* ---- attributes: a table fills a parameter struct ---- */
enum { ED_OP_MAX_INTS = 2 * ED_MAX_RANK };

typedef struct ed_ints { /* a list attribute; n is -1 when the attribute is absent */
    int n;
    int64_t v[ED_OP_MAX_INTS];
} ed_ints;

typedef enum ed_attr_kind { ED_KIND_I64, ED_KIND_F32, ED_KIND_INTS, ED_KIND_ENUM } ed_attr_kind;

typedef struct ed_attr_spec {
    const char *name; /* NULL ends the table */
    ed_attr_kind kind;
    size_t offset; /* in the parameter struct: int64_t, float, ed_ints, int */
    double preset;
    const char *const *words; /* ENUM: the strings for 0, 1, ...; NULL at the end */
    bool required;
} ed_attr_spec;

#define ED_ATTR_I64_OF(name, type, field, preset)                                                  \
    {                                                                                              \
        name, ED_KIND_I64, offsetof(type, field), preset, NULL, false                              \
    }
#define ED_ATTR_F32_OF(name, type, field, preset)                                                  \
    {                                                                                              \
        name, ED_KIND_F32, offsetof(type, field), preset, NULL, false                              \
    }
#define ED_ATTR_INTS_OF(name, type, field)                                                         \
    {                                                                                              \
        name, ED_KIND_INTS, offsetof(type, field), 0, NULL, false                                  \
    }
#define ED_ATTR_ENUM_OF(name, type, field, words)                                                  \
    {                                                                                              \
        name, ED_KIND_ENUM, offsetof(type, field), 0, words, false                                 \
    }

/* ---- shape inference ---- */
typedef struct ed_type {
    ed_dtype dtype;
    ed_shape shape; /* may hold unknown dimensions and symbols */
} ed_type;

typedef struct ed_infer {
    const ed_graph *graph;
    const ed_node *node;
    const void *params;
    uint32_t n_in, n_out;
    const ed_type *in;                /* [n_in]; an omitted input has dtype NONE and rank -1 */
    const ed_tensor *const *constant; /* [n_in]; NULL where the input is not a constant */
    ed_type *out;                     /* [n_out]; starts unknown */
} ed_infer;

/* ---- kernels ---- */
enum { ED_CALL_MAX = 16 }; /* inputs a fast row takes; a reference row has no limit */

/* One execution. Forward overwrites out. Reference rows: in[i] is node input i (NULL when omitted),
 * row-major. Fast rows: in[i] is what plan() listed, in the layout that it asked for. */
typedef struct ed_call {
    const ed_node *node;
    const void *params;
    void *state;   /* what plan() made; NULL for reference rows */
    void *scratch; /* of the planned size, 64-byte aligned; contents undefined */
    void *device;  /* the backend's handle; NULL on the CPU */
    uint32_t n_in, n_out;
    const ed_tensor *const *in;
    ed_tensor *const *out;
} ed_call;

/* A question to a fast row: "would you run nodes[0], and how many of the nodes that follow it in
 * its fused group?", and the answer. Arrays over value ids cover the whole graph. */
typedef struct ed_kernel_plan {
    /* asked */
    const ed_graph *graph;
    const ed_node *const *nodes;
    const void *const *params; /* per node of `nodes` */
    uint32_t n_nodes;          /* nodes that may be taken, in topological order */
    const ed_type *types;      /* concrete */
    const ed_tensor *const *constants;
    const ed_layout *layouts; /* where the values lie now */
    const uint32_t *where;    /* ED_NONE: a constant, or computed inside a step and not stored */
    const bool *kept;         /* observed or a graph output: must not disappear inside a step */
    const uint32_t *order;    /* per node id: its place in the running order */
    const uint32_t
        *last_read;     /* per value: place of its last reader, UINT32_MAX: never overwrite */
    bool deterministic; /* the bits must not depend on which values are read later on */
    struct ed_dnn
        *dnn;     /* engine of the executor; outlives the state; NULL elsewhere than on the CPU */
    void *device; /* handle of the backend; NULL on the CPU */
    const void *shared; /* state of the same row for the same node whose packed weights may be
                           borrowed; NULL */
    /* answered */
    uint32_t taken;     /* nodes run by this row; 0: refused */
    bool plain;         /* runs nodes[0] alone as a reference row does: in[i] is node input i, every
                           output is written, all are row-major; only `state`, `scratch` and
                           `kernel` of what follows count. Any number of inputs and outputs */
    const char *reason; /* why refused; static text */
    uint32_t n_in;
    ed_id in[ED_CALL_MAX]; /* values that run() reads (no prepacked constants) */
    ed_layout in_layout[ED_CALL_MAX];
    ed_layout out_layout; /* of the last taken node's first output */
    uint32_t n_out; /* outputs of that node that are written, the others in row-major order; 0 means
                       the first one alone */
    int inplace;    /* the output overwrites the buffer of in[inplace]; -1 */
    size_t scratch; /* bytes */
    size_t weight_bytes; /* packed weights that this state owns, for the statistics */
    void *state;
    const char *kernel; /* implementation's name for the printed plan; NULL: the row's; lives as
                           long as the state */
} ed_kernel_plan;

typedef struct ed_kernel {
    const char *name;                  /* "reference", "onednn"; NULL ends the list */
    const char *backend;               /* "cpu", "cuda" */
    int (*plan)(ed_kernel_plan *plan); /* NULL: a reference row. ED_OK also when refused */
    int (*run)(const ed_call *call); /* a failure's sentence leaves the node's name to the caller */
    void (*free)(void *state);
    /* Make what plan() will want for nodes[0], where that is slow; called by several threads, for
     * all nodes of a graph, before the first plan(). Failures are plan()'s to tell. NULL: nothing
     */
    void (*prepare)(ed_kernel_plan *plan);
} ed_kernel;

#define ED_REFERENCE(fn)                                                                           \
    {                                                                                              \
        "reference", "cpu", NULL, fn, NULL, NULL                                                   \
    }

/* ---- the row ---- */
typedef struct ed_grad ed_grad; /* ops/gradient.h */

enum {
    ED_OP_ELEMENTWISE = 1 << 0, /* out[i] depends on in[.][i] (broadcast) alone */
    ED_OP_ACTIVATION =
        1 << 1, /* elementwise, one data input, may follow a convolution in a group */
    ED_OP_COMMUTATIVE = 1 << 2,
    ED_OP_MOVES_DATA = 1 << 3,  /* output elements are input elements: QDQ commutes with it */
    ED_OP_WEIGHTED = 1 << 4,    /* has a weight as input 1: quantized on its inputs */
    ED_OP_ALIAS = 1 << 5,       /* output 0 is input 0 in another shape: it may lie in its memory */
    ED_OP_READS_SHAPE = 1 << 6, /* reads its inputs' shapes alone, never their elements */
};

enum { ED_OP_MAX_KERNELS = 4, ED_ARITY_ANY = 0x7fffffff };

typedef struct ed_op {
    const char *type;   /* NULL ends a table */
    const char *domain; /* NULL: ai.onnx */
    struct {
        int since, until; /* first and last opset of this form; until 0: no end so far */
    } opset;
    struct {
        uint32_t min_in, max_in, max_out;
    } arity;
    unsigned traits;
    const ed_attr_spec *attrs; /* NULL: none */
    size_t params_size;
    int (*infer)(ed_infer *ctx);          /* fills ctx->out, checks types, shapes and attributes */
    ed_kernel forward[ED_OP_MAX_KERNELS]; /* ends with a zeroed one */
    int (*gradient)(ed_grad *g); /* appends the nodes of its gradients (ops/gradient.h); NULL: it
                                    has none, and what lies before it cannot be trained */
} ed_op;

/* The row for a node of this graph. ED_EUNSUPPORTED names node, operator, opset and what to do. */
ED_PLUGIN int ed_op_find(const ed_op **out, const ed_graph *g, const ed_node *node);
/* Traits of a node, 0 if no row is found. */
ED_PLUGIN unsigned ed_op_traits(const ed_graph *g, const ed_node *node);
/* Row i of all tables, NULL at the end: for listings and tests. */
ED_PLUGIN const ed_op *ed_op_at(size_t i);
/* Parse the attributes into params (params_size bytes, zeroed first); unknown ones are ignored. */
ED_PLUGIN int ed_op_params(const ed_op *op, const ed_graph *g, const ed_node *node, void *params);
/* Infer a node's outputs: parses, checks the arity, calls infer. `types` by value id. */
int ed_op_infer(const ed_op *op, const ed_graph *g, const ed_node *node, const void *params,
                const ed_type *types, const ed_tensor *const *constants, ed_type *out);
/* The same with types and constants per input: in and constant are [n_in]. */
int ed_op_infer_inputs(const ed_op *op, const ed_graph *g, const ed_node *node, const void *params,
                       const ed_type *in, const ed_tensor *const *constant, ed_type *out);
/* Infer every value of a graph in place (symbolic batch allowed). On error the graph is unchanged.
 */
int ed_graph_infer(ed_graph *g);
/* The reference kernel of a row; every row has one. */
const ed_kernel *ed_op_reference(const ed_op *op);
/* How many bytes the outputs of ed_op_evaluate() will have; SIZE_MAX when a size_t is too small. */
int ed_op_evaluated_bytes(size_t *bytes, const ed_graph *g, const ed_node *node,
                          const ed_tensor *const *in);
/* Run a node on constants with its reference kernel; outs[n_out] are the caller's. ED_EUNSUPPORTED
 * when a shape stays unknown. */
int ed_op_evaluate(const ed_graph *g, const ed_node *node, const ed_tensor *const *in,
                   ed_tensor **outs);

/* ---- shared by the families (infer.c) ---- */
int ed_infer_same_as_input(ed_infer *ctx); /* out 0 is of in 0's type and shape */
int ed_infer_broadcast(ed_infer *ctx);     /* numpy broadcasting of all inputs */
/* out 0 is of the type of the inputs a and b, which must have one shape */
int ed_infer_same_as_inputs(ed_infer *ctx, uint32_t a, uint32_t b);
/* The same where the inputs before `first` are of other types and count for the shape alone. */
int ed_infer_broadcast_from(ed_infer *ctx, uint32_t first);
/* "Conv 'conv1': " + sentence; returns code. */
int ed_infer_fail(const ed_infer *ctx, int code, const char *format, ...) ED_PRINTF(3, 4);
ED_PLUGIN int ed_node_fail(const ed_graph *g, const ed_node *node, int code, const char *format,
                           ...) ED_PRINTF(4, 5);
/* ED_EUNSUPPORTED unless input i has one of the types `1u << dtype | ...` (or is omitted). */
int ed_infer_dtypes(const ed_infer *ctx, uint32_t i, unsigned dtypes);
/* For ed_infer_dtypes(): all but strings; of these, the ones of whole bytes. */
enum {
    ED_DTYPES_STORED = (1u << ED_DTYPE_COUNT) - 1 - (1u << ED_DTYPE_NONE) - (1u << ED_STRING),
    ED_DTYPES_BYTES = ED_DTYPES_STORED - (1u << ED_I4) - (1u << ED_U4),
};
/* ED_EUNSUPPORTED unless every input is float32 (or omitted). */
int ed_infer_f32(const ed_infer *ctx);
/* The size that both stand for: equal ones, or the known one; ED_DIM_UNKNOWN and false when they
 * are different sizes. */
bool ed_dim_unify(int64_t *out, int64_t a, int64_t b);
/* ED_EFORMAT unless the scales of input i, where it is a constant, are positive and finite. */
int ed_infer_scales(const ed_infer *ctx, uint32_t i);
/* A negative axis made positive; ED_ESHAPE when outside of rank. */
int ed_infer_axis(const ed_infer *ctx, int64_t axis, int rank, int *out);
/* The shape that an attribute lists: of the forward operator's input, which a gradient restores. */
int ed_infer_input_shape(const ed_infer *ctx, const ed_ints *list, ed_shape *out);
/* An optional output i that no kernel writes: of output 0's shape, ED_EUNSUPPORTED when it is read.
 */
int ed_infer_unused_output(ed_infer *ctx, uint32_t i, ed_dtype dtype, const char *name);

/* The type of ONNX's number (TensorProto.DataType); NONE when there is no such type here. */
ed_dtype ed_dtype_of_number(int64_t number);

/* ---- tables, one a family ---- */
#define ED_OPS(family) extern const ed_op ed_ops_##family[];
#include "ops/tables.def"
#undef ED_OPS

/* ---- parameter structs that fast rows and passes read ---- */
enum { ED_PAD_NOTSET, ED_PAD_VALID, ED_PAD_SAME_UPPER, ED_PAD_SAME_LOWER };

typedef struct ed_conv_params { /* Conv, ConvTranspose */
    int auto_pad;
    ed_ints dilations, kernel_shape, pads, strides, output_padding, output_shape;
    int64_t group;
} ed_conv_params;

typedef struct ed_conv_grad_params { /* ConvInputGrad, ConvWeightGrad */
    ed_conv_params conv;             /* of the Conv; kernel_shape is there */
    ed_ints input_shape;             /* [N, C, spatial...] */
} ed_conv_grad_params;

typedef struct ed_pool_params { /* MaxPool, AveragePool */
    int auto_pad;
    ed_ints dilations, kernel_shape, pads, strides;
    int64_t ceil_mode, count_include_pad, storage_order;
} ed_pool_params;

/* A window resolved against an input: spatial rank 1 to 3. */
typedef struct ed_window {
    int rank; /* spatial dimensions */
    int64_t kernel[3], stride[3], dilation[3], pad_begin[3], pad_end[3];
} ed_window;
/* Resolve attributes, auto_pad and defaults. `weight` gives the spatial sizes; NULL: kernel_shape
 * does. ED_ESHAPE, ED_EFORMAT, ED_EUNSUPPORTED name the node. Where x or weight are not known, so
 * is kernel
 * (-1), and SAME_* pads stay 0. g may be NULL. Of a ConvTranspose, pad_end has output_padding
 * subtracted: out = (in - 1) * stride + (kernel - 1) * dilation + 1 - pad_begin - pad_end. */
ED_PLUGIN int ed_conv_window(ed_window *w, const ed_graph *g, const ed_node *node,
                             const ed_conv_params *p, const ed_shape *x, const ed_shape *weight);
ED_PLUGIN int ed_pool_window(ed_window *w, const ed_graph *g, const ed_node *node,
                             const ed_pool_params *p, const ed_shape *x);

typedef struct ed_activation_params { /* Relu, LeakyRelu, Clip, HardSigmoid, ... */
    float alpha, beta;
    float min, max; /* Clip before opset 11; later these are inputs 1 and 2 */
} ed_activation_params;
typedef struct ed_activation_grad_params { /* ReluGrad, GeluGrad, ... */
    ed_activation_params f;
    int approximate; /* of GeluGrad: ED_GELU_NONE, ED_GELU_TANH */
} ed_activation_grad_params;
/* Bounds of a Clip of any opset; the tensors are inputs 1 and 2, NULL when omitted. */
ED_PLUGIN void ed_clip_bounds(float *lo, float *hi, const ed_activation_params *p,
                              const ed_tensor *min, const ed_tensor *max);
/* The same for ClipGrad, whose inputs 2 and 3 they are; NaN for one that limits nothing. */
ED_PLUGIN void ed_clip_grad_bounds(float bounds[2], const ed_activation_params *p,
                                   const ed_tensor *min, const ed_tensor *max);

/* Clip of integers, whose bounds are inputs. */
int ed_clip_integers(const ed_call *call);

typedef struct ed_softmax_params {
    int64_t axis; /* as written: may be negative */
} ed_softmax_params;
typedef struct ed_softmax_grad_params {
    ed_softmax_params of;
    int64_t flatten;
} ed_softmax_grad_params;
/* Softmax as [outer, n, inner] over n: before opset 13 everything from the axis on is one row. */
ED_PLUGIN void ed_softmax_dims(int64_t *outer, int64_t *n, int64_t *inner,
                               const ed_softmax_params *p, const ed_shape *x, bool flatten);

typedef struct ed_loss_params { /* the losses and their gradients */
    float weight, label_smoothing, temperature;
} ed_loss_params;

typedef struct ed_gather_grad_params {
    int64_t axis; /* as written: may be negative */
    ed_ints input_shape;
} ed_gather_grad_params;

enum { ED_GELU_NONE, ED_GELU_TANH };

typedef struct ed_gelu_params {
    int approximate;
} ed_gelu_params;

typedef struct ed_layer_norm_params {
    int64_t axis; /* as written: may be negative; normalized from here on */
    float epsilon;
} ed_layer_norm_params;

typedef struct ed_batch_norm_params {
    float epsilon, momentum;
    int64_t spatial, training_mode;
} ed_batch_norm_params;

typedef struct ed_reduce_params {
    ed_ints axes; /* before opset 18; later input 1 */
    int64_t keepdims, noop_with_empty_axes;
} ed_reduce_params;

typedef struct ed_gemm_params {
    float alpha, beta;
    int64_t trans_a, trans_b;
} ed_gemm_params;

typedef struct ed_fake_quant_params { /* FakeQuantize(x, scale, zero_point): domain "ed" */
    int64_t axis;                     /* -1: scale is one number */
    int64_t qmin, qmax;               /* -128, 127 */
    int64_t bits;                     /* of the stored integers: 8 or 4 */
    int64_t is_unsigned;
} ed_fake_quant_params;

/* A tensor as [outer, channels, inner] with a scale for each channel, and its levels. */
typedef struct ed_fake_quant {
    int64_t outer, channels, inner;
    const float *scale;
    const int32_t *zero_point; /* NULL: zeros */
    int64_t qmin, qmax;
} ed_fake_quant;
/* y = (saturate(rne(x / scale) + zero_point) - zero_point) * scale; y may be x. */
void ed_fake_quantize(float *y, const float *x, const ed_fake_quant *q);
/* Its gradients (quant.c); dx may be dy, dscale is [channels]. */
void ed_fake_quantize_grad(float *dx, const float *dy, const float *x, const ed_fake_quant *q);
void ed_fake_quantize_scale_grad(float *dscale, const float *dy, const float *x,
                                 const ed_fake_quant *q);

#endif
