/**
 * @file ed/tensor.h
 * @brief Element types, shapes, and tensors: dense row-major arrays with an owner.
 */
#ifndef ED_TENSOR_H
#define ED_TENSOR_H

#include "ed/error.h"

ED_BEGIN_DECL

/** Element types. The order is not ONNX's; src/onnx/ translates. */
typedef enum ed_dtype {
    ED_DTYPE_NONE, /**< not known */
    ED_F32,
    ED_F64,
    ED_F16,
    ED_BF16,
    ED_I8,
    ED_U8,
    ED_I16,
    ED_U16,
    ED_I32,
    ED_U32,
    ED_I64,
    ED_U64,
    ED_BOOL,
    ED_I4,     /**< two elements a byte, the first in the low half (ONNX) */
    ED_U4,     /**< likewise */
    ED_STRING, /**< kept from file to file, never computed with */
    ED_DTYPE_COUNT
} ed_dtype;

/** "float32", "int64", ...; "unknown" for ED_DTYPE_NONE; never NULL. */
ED_API const char *ed_dtype_name(ed_dtype dtype);
/** The dtype of a name as above or of its short form ("f32", "i8"); ED_DTYPE_NONE if there is none.
 */
ED_API ed_dtype ed_dtype_find(const char *name);
/** Bits of one element: 4, 8, 16, 32, 64; 0 for NONE and STRING. */
ED_API unsigned ed_dtype_bits(ed_dtype dtype);

enum { ED_MAX_RANK = 8 };

/**
 * A shape: `rank` dimensions. rank -1: nothing is known. A dimension >= 0 is a size; a negative one
 * is unknown: -1 for no name, -2 - k for the graph's symbol k (a symbolic batch). Two equal symbols
 * are the same size.
 */
typedef struct ed_shape {
    int rank;
    int64_t dim[ED_MAX_RANK];
} ed_shape;

enum { ED_DIM_UNKNOWN = -1 };

/** ED_SHAPE(1, 3, 32, 32) */
#define ED_SHAPE(...)                                                                              \
    ((ed_shape){ (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), { __VA_ARGS__ } })
#define ED_SHAPE_SCALAR  ((ed_shape){ 0, { 0 } })
#define ED_SHAPE_UNKNOWN ((ed_shape){ -1, { 0 } })

/** True when the rank and every dimension are sizes. */
ED_API bool ed_shape_known(const ed_shape *shape);
/** True when rank and dimensions are the same numbers or the same symbols (-1 equals nothing). */
ED_API bool ed_shape_equal(const ed_shape *a, const ed_shape *b);
/** Number of elements: @return ED_OK, ED_ESHAPE (not known, negative, or does not fit 2^48). */
ED_API int ed_shape_numel(int64_t *out, const ed_shape *shape);
/** "[8, 3, 32, 32]" into buf (always terminated), unknown as "?", symbol k as "s<k>" (its name is
 * the graph's: ed_graph_shape_format()); returns buf. */
ED_API const char *ed_shape_format(char *buf, size_t size, const ed_shape *shape);

/** A dense array in row-major order. */
typedef struct ed_tensor {
    ed_dtype dtype;
    ed_shape shape; /**< known */
    int64_t numel;  /**< product of the dimensions; 1 for rank 0 */
    size_t nbytes;  /**< bytes at `data` */
    void *data;     /**< 64-byte aligned when owned */
    bool owned;     /**< data is released with the tensor */
} ed_tensor;

/** A new tensor of zeros. @return ED_OK, ED_ESHAPE, ED_ENOMEM. Release with ed_tensor_free(). */
ED_API int ed_tensor_new(ed_tensor **out, ed_dtype dtype, const ed_shape *shape);
/** As ed_tensor_new() with the elements copied from `data` (nbytes of that dtype and shape). */
ED_API int ed_tensor_from(ed_tensor **out, ed_dtype dtype, const ed_shape *shape, const void *data);
/** Fill in a tensor that borrows `data`. @return ED_OK or ED_ESHAPE */
ED_API int ed_tensor_view(ed_tensor *tensor, ed_dtype dtype, const ed_shape *shape, void *data);
/** A deep copy. */
ED_API int ed_tensor_clone(ed_tensor **out, const ed_tensor *tensor);
/** Convert to another element type (numbers only; integers saturate, floats round to nearest even).
 */
ED_API int ed_tensor_cast(ed_tensor **out, const ed_tensor *tensor, ed_dtype dtype);
/** Release; NULL is allowed. */
ED_API void ed_tensor_free(ed_tensor *tensor);

/** Element i of any number type as int64 (floats truncated) or double; i < numel. */
ED_API int64_t ed_tensor_get_i64(const ed_tensor *tensor, int64_t i);
ED_API double ed_tensor_get_f64(const ed_tensor *tensor, int64_t i);

ED_END_DECL

#endif
