/*
 * A backend other than the CPU: a device behind a table of functions, in a shared library of its
 * own that is opened at run time (device.c). libed-cuda.so is the one there is.
 *
 * Work is queued in the device's stream; sync() waits for it. A device is used by one thread at a
 * time. Functions return codes of ed/error.h; error() is the sentence of the last failure.
 */
#ifndef BACKEND_BACKEND_H
#define BACKEND_BACKEND_H

#include "backend/layout.h"
#include "base/error.h"

struct ed_kernel; /* ops/op.h */

enum { ED_BACKEND_ABI = 2 };

/* How products are computed, and how activations are stored. */
typedef enum ed_precision {
    ED_PRECISION_TF32, /* float32 storage, products of 10-bit mantissas: the default */
    ED_PRECISION_FP32, /* float32 throughout */
    ED_PRECISION_BF16, /* bfloat16 storage and products, float32 sums */
    ED_PRECISION_COUNT
} ed_precision;

typedef struct ed_device_options {
    ed_precision precision;
    bool autotune; /* time the candidates of each convolution instead of asking the heuristics */
    bool deterministic; /* gradients of convolutions, too, are the same bits in each run */
} ed_device_options;

typedef struct ed_device_info {
    char name[128];
    int major, minor;           /* compute capability */
    size_t memory, free_memory; /* bytes */
    int driver, cudnn;          /* versions as the libraries give them: 13000, 91400 */
} ed_device_info;

/* What a device's observer saw of one value; counts follow apart. See ed_observation. */
typedef struct ed_seen {
    double range, min, max, ema_min, ema_max;
    uint64_t total, nonfinite;
} ed_seen;

/* How a raw sample becomes an input of the model: y = (float32(x) - mean[c]) / std[c]. */
typedef struct ed_decode {
    ed_dtype from;
    bool channels_last; /* stored [plane][channels]; the output is [channels][plane] */
    int64_t samples, channels, plane;
    const float *mean, *std; /* on the device, [channels]; or both NULL */
} ed_decode;

typedef enum ed_search { ED_SEARCH_KL, ED_SEARCH_MSE } ed_search;

/* ---- training: all parameters in a few launches; see qat/optimizer.h and qat/weight_quant.h ----
 */
typedef enum ed_device_optimizer { ED_DEVICE_SGD, ED_DEVICE_ADAMW } ed_device_optimizer;
/* How the scales of a quantized parameter follow it, as ed_weight_scaling. */
typedef enum ed_device_scaling {
    ED_DEVICE_LSQ,
    ED_DEVICE_ABSMAX,
    ED_DEVICE_FIXED
} ed_device_scaling;

/* A parameter [outer][channels][inner]. Arrays are float32 on the device, of its size but for the
 * scales [channels], and borrowed. */
typedef struct ed_device_parameter {
    int64_t outer, channels, inner;
    bool quantized; /* with scales; else a bias and the like, or a scale itself */
    ed_device_scaling scaling;
    int64_t qmin, qmax; /* less the zero_point */
    bool decay;         /* weight_decay is for this one */
    float *master;      /* what is trained */
    float *out; /* what the graph reads: fake-quantized, or a copy; NULL when not quantized: none */
    const float *gradient; /* of a step, by `out`; NULL: never updated */
    float *sum; /* of several steps, see trainer_add(); NULL: none, each step is updated by */
    float *scale;
    float *slot[2], *scale_slot[2]; /* of the optimizer, zeros at first; the latter with LSQ */
    double
        gradient_factor; /* of this one's gradient alone: 1, or LSQ's for an activation's scale */
    float least;         /* lower bound of a parameter that is a scale; 0: none */
} ed_device_parameter;

typedef struct ed_device_update {
    double learning_rate, scale_learning_rate; /* the latter for LSQ's scales of weights */
    double momentum, weight_decay, beta1, beta2, epsilon;
    int64_t t; /* count of updates, this one included */
    double mean,
        clip; /* gradients are multiplied by the former; largest norm of all then; 0: none */
} ed_device_update;

/* What came of the last step, or of trainer_quantize(). */
typedef struct ed_device_updated {
    double squares, factor; /* of the gradients' norm; what they were multiplied by */
    int64_t bad_gradient;   /* the first parameter with NaN or infinity in its gradient, nothing was
                               updated then; -1: none */
    uint64_t bad_weight;    /* the first one with NaN or infinity in its weights now:
                               parameter << 32 | channel; UINT64_MAX: none */
} ed_device_updated;

/* Scales of activations that follow the largest |x| seen; arrays [n] of float32 on the device. */
typedef struct ed_device_scales {
    size_t n;
    float *scale, *average; /* scale = max(average, least) / qmax */
    float *largest;         /* of one step */
    const float *qmax;
    double weight; /* of a step in the average: average += weight (largest - average) */
    float least;
} ed_device_scales;

typedef struct ed_backend {
    uint32_t abi;        /* ED_BACKEND_ABI */
    const char *version; /* of the project: both libraries are of one build */
    const char *name;    /* "cuda" */
    const char *(*error)(void);
    int (*count)(int *devices); /* 0 is no error; a missing or too old driver is one */
    int (*info)(ed_device_info *out, int index);

    int (*open)(void **device, int index, const ed_device_options *opts);
    int (*use)(void *device); /* by this thread, from now on: before any of the calls below */
    int (*alloc)(void *device, void **out, size_t nbytes); /* ED_ENOMEM; of 0 bytes: not NULL */
    void (*free)(void *device, void *memory);
    int (*alloc_host)(void *device, void **out, size_t nbytes); /* page-locked: copies overlap */
    void (*free_host)(void *device, void *memory);
    int (*copy_in)(void *device, void *to, const void *from, size_t nbytes);
    int (*copy_out)(void *device, void *to, const void *from,
                    size_t nbytes); /* complete on return */
    /* Queued: `to`, page-locked, is complete when a mark behind it has been waited for. */
    int (*download)(void *device, void *to, const void *from, size_t nbytes);
    int (*copy)(void *device, void *to, const void *from, size_t nbytes);
    int (*zero)(void *device, void *to, size_t nbytes);
    int (*sync)(void *device);

    /* Kernel rows of an operator, best first, ended by a row without name; NULL: none. */
    const struct ed_kernel *(*kernels)(const char *domain, const char *op_type);
    /* A float32 value in another format. */
    int (*convert)(void *device, void *to, ed_layout to_layout, const void *from,
                   ed_layout from_layout, const ed_shape *shape);

    /* Steps that are queued between begin and end become a graph, which replay() queues again.
     * begin is ED_EUNSUPPORTED where there are to be none. */
    int (*capture_begin)(void *device);
    int (*capture_end)(void *device, void **graph);
    int (*replay)(void *device, void *graph);
    void (*graph_free)(void *device, void *graph);
    /* A point in the stream's time; seconds between two of them wait for the later one. */
    int (*mark)(void *device, void **event);
    int (*seconds)(void *device, double *out, void *begin, void *end);
    int (*wait)(void *device, void *event);
    void (*mark_free)(void *device, void *event);

    /* A second stream for copies in: they wait for the decode() before them, what follows in the
     * main one waits for them. The memory that they read from is free after uploaded(). */
    int (*upload)(void *device, void *to, const void *from, size_t nbytes);
    int (*uploaded)(void *device);

    /* `n` observers with histograms of `bins` bins; add() queues one batch of value i. */
    int (*observers_new)(void *device, void **out, size_t n, size_t bins, double ema);
    int (*observers_add)(void *observers, size_t i, const void *data, ed_layout layout,
                         int64_t numel);
    int (*observers_get)(void *observers, ed_seen *seen, uint64_t *counts); /* [n], [n * bins] */
    /* The searches of src/calib over the histograms where they lie; answers [n], -1: none. */
    int (*observers_search)(void *observers, ed_search search, unsigned start, unsigned levels,
                            int64_t *answers);
    void (*observers_free)(void *observers);

    /* Decode a batch that lies on the device as the file stores it; NaN and infinity are added to
     * *bad, which lies there too. */
    int (*decode)(void *device, float *to, const void *from, const ed_decode *how, uint64_t *bad);

    int (*trainer_new)(void *device, void **out, ed_device_optimizer optimizer,
                       const ed_device_parameter *list, size_t n);
    /* sum = gradient with `first`, else sum + gradient, of all parameters that have one. */
    int (*trainer_add)(void *trainer, bool first);
    /* The numbers of the steps that follow; never between capture_begin() and capture_end(). */
    int (*trainer_set)(void *trainer, const ed_device_update *update);
    /* Queue one update; may be captured. */
    int (*trainer_step)(void *trainer);
    /* Queue: scales (absmax) and quantized values of all parameters anew, without an update. */
    int (*trainer_quantize)(void *trainer);
    int (*trainer_get)(void *trainer, ed_device_updated *out); /* as download() */
    void (*trainer_free)(void *trainer);
    /* *largest becomes the largest one of itself and all |x|; NaN is above all. */
    int (*largest)(void *device, float *largest, const void *data, ed_layout layout, int64_t numel);
    /* The scales follow, and `largest` is 0 again. A scale whose largest is not finite stays. */
    int (*follow)(void *device, const ed_device_scales *scales);
} ed_backend;

/* The only symbol of the shared library. */
typedef const ed_backend *(*ed_backend_entry)(void);
#define ED_BACKEND_ENTRY "ed_backend_get"

/* "tf32" (also for NULL), "fp32", "bf16": ED_ENOTFOUND names them. */
int ed_precision_find(ed_precision *out, const char *name);

/* ---- the loader (device.c) ---- */
/* A device that is open; stays open until the process ends. */
typedef struct ed_device {
    const ed_backend *api;
    void *handle;
    int index;
    ed_device_options opts;
} ed_device;

/* "cuda", "cuda:1": ED_ENOTFOUND (another name; no such device), ED_EUNSUPPORTED (library, driver
 * or a library that it needs is missing or too old). */
int ed_device_open(const ed_device **out, const char *name, const ed_device_options *opts);
/* This thread's calls are for this device from now on. */
int ed_device_use(const ed_device *device);
/* The number in "cuda" (0) or "cuda:N"; ED_ENOTFOUND for another name. */
int ed_device_index(int *index, const char *name);
/* The library's table; the sentence tells why there is none. */
int ed_backend_load(const ed_backend **out);
/* Put the backend's sentence in place of this library's; returns rc. */
int ed_backend_failed(const ed_backend *api, int rc);
#define ED_DEVICE_TRY(device, call)                                                                \
    do {                                                                                           \
        int ed_device_rc_ = (call);                                                                \
        if (ed_device_rc_ != ED_OK)                                                                \
            return ed_backend_failed((device)->api, ed_device_rc_);                                \
    } while (0)

#endif
