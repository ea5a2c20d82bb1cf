/* Element types: names, sizes, reading one element, conversion. Half formats: IEEE 754-2008,
 * bfloat16. */
#include "tensor/dtype.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *name, *brief;
    unsigned bits;
} rows[ED_DTYPE_COUNT] = {
    [ED_DTYPE_NONE] = { "unknown", "?", 0 }, [ED_F32] = { "float32", "f32", 32 },
    [ED_F64] = { "float64", "f64", 64 },     [ED_F16] = { "float16", "f16", 16 },
    [ED_BF16] = { "bfloat16", "bf16", 16 },  [ED_I8] = { "int8", "i8", 8 },
    [ED_U8] = { "uint8", "u8", 8 },          [ED_I16] = { "int16", "i16", 16 },
    [ED_U16] = { "uint16", "u16", 16 },      [ED_I32] = { "int32", "i32", 32 },
    [ED_U32] = { "uint32", "u32", 32 },      [ED_I64] = { "int64", "i64", 64 },
    [ED_U64] = { "uint64", "u64", 64 },      [ED_BOOL] = { "bool", "b1", 8 },
    [ED_I4] = { "int4", "i4", 4 },           [ED_U4] = { "uint4", "u4", 4 },
    [ED_STRING] = { "string", "str", 0 },
};

const char *ed_dtype_name(ed_dtype dtype)
{
    return (unsigned)dtype < ED_DTYPE_COUNT ? rows[dtype].name : rows[0].name;
}

const char *ed_dtype_brief(ed_dtype dtype)
{
    return (unsigned)dtype < ED_DTYPE_COUNT ? rows[dtype].brief : rows[0].brief;
}

ed_dtype ed_dtype_find(const char *name)
{
    for (int i = ED_DTYPE_NONE + 1; i < ED_DTYPE_COUNT; i++)
        if (strcmp(rows[i].name, name) == 0 || strcmp(rows[i].brief, name) == 0)
            return (ed_dtype)i;
    return ED_DTYPE_NONE;
}

unsigned ed_dtype_bits(ed_dtype dtype)
{
    return (unsigned)dtype < ED_DTYPE_COUNT ? rows[dtype].bits : 0;
}

float ed_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000U) << 16;
    uint32_t exponent = (h >> 10) & 0x1FU, mantissa = h & 0x3FFU;
    if (exponent == 0) { /* zero and subnormal: mantissa * 2^-24 */
        float f = ldexpf((float)mantissa, -24);
        return sign ? -f : f;
    }
    uint32_t bits = exponent == 31 ? sign | 0x7F800000U | mantissa << 13
                                   : sign | (exponent + 112) << 23 | mantissa << 13;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

uint16_t ed_f32_to_f16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    uint16_t sign = (uint16_t)((bits >> 16) & 0x8000U);
    if (isnan(f))
        return sign | 0x7E00U;
    float a = fabsf(f);
    if (a >= 65520.0F)
        return sign | 0x7C00U;
    if (a < 6.103515625e-05F) /* subnormal result: units of 2^-24 */
        return sign | (uint16_t)rintf(ldexpf(a, 24));
    memcpy(&bits, &a, sizeof bits);
    bits += 0xFFFU + ((bits >> 13) & 1U); /* half to even */
    return sign | (uint16_t)((bits >> 13) - (112U << 10));
}

float ed_bf16_to_f32(uint16_t h)
{
    uint32_t bits = (uint32_t)h << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

uint16_t ed_f32_to_bf16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if (isnan(f))
        return (uint16_t)(bits >> 16) | 0x40U;
    return (uint16_t)((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

static int nibble(const ed_tensor *t, int64_t i)
{
    return (((const uint8_t *)t->data)[i / 2] >> (i % 2 * 4)) & 15;
}

double ed_tensor_get_f64(const ed_tensor *t, int64_t i)
{
    switch (t->dtype) {
    case ED_F32:
        return (double)((const float *)t->data)[i];
    case ED_F64:
        return ((const double *)t->data)[i];
    case ED_F16:
        return (double)ed_f16_to_f32(((const uint16_t *)t->data)[i]);
    case ED_BF16:
        return (double)ed_bf16_to_f32(((const uint16_t *)t->data)[i]);
    case ED_U64:
        return (double)((const uint64_t *)t->data)[i];
    default:
        return (double)ed_tensor_get_i64(t, i);
    }
}

static int64_t saturate_i64(double x)
{
    if (!(x > -0x1p63)) /* NaN too */
        return isnan(x) ? 0 : INT64_MIN;
    return x >= 0x1p63 ? INT64_MAX : (int64_t)x;
}

int64_t ed_tensor_get_i64(const ed_tensor *t, int64_t i)
{
    switch (t->dtype) {
    case ED_I8:
        return ((const int8_t *)t->data)[i];
    case ED_U8:
    case ED_BOOL:
        return ((const uint8_t *)t->data)[i];
    case ED_I16:
        return ((const int16_t *)t->data)[i];
    case ED_U16:
        return ((const uint16_t *)t->data)[i];
    case ED_I32:
        return ((const int32_t *)t->data)[i];
    case ED_U32:
        return ((const uint32_t *)t->data)[i];
    case ED_I64:
    case ED_U64:
        return ((const int64_t *)t->data)[i];
    case ED_U4:
        return nibble(t, i);
    case ED_I4:
        return nibble(t, i) >= 8 ? nibble(t, i) - 16 : nibble(t, i);
    case ED_F32:
    case ED_F64:
    case ED_F16:
    case ED_BF16:
        return saturate_i64(ed_tensor_get_f64(t, i));
    default:
        return 0;
    }
}

static bool is_float(ed_dtype dtype)
{
    return dtype == ED_F32 || dtype == ED_F64 || dtype == ED_F16 || dtype == ED_BF16;
}

static void set_float(ed_tensor *t, int64_t i, double x)
{
    if (t->dtype == ED_F64)
        ((double *)t->data)[i] = x;
    else if (t->dtype == ED_F32)
        ((float *)t->data)[i] = (float)x;
    else if (t->dtype == ED_F16)
        ((uint16_t *)t->data)[i] = ed_f32_to_f16((float)x);
    else
        ((uint16_t *)t->data)[i] = ed_f32_to_bf16((float)x);
}

void ed_tensor_put_i64(ed_tensor *t, int64_t i, int64_t x)
{
    unsigned bits = ed_dtype_bits(t->dtype);
    bool is_unsigned = t->dtype == ED_U8 || t->dtype == ED_U16 || t->dtype == ED_U32 ||
                       t->dtype == ED_U4 || t->dtype == ED_BOOL;
    if (t->dtype == ED_BOOL)
        x = x != 0;
    if (bits < 64) {
        int64_t low = is_unsigned ? 0 : -((int64_t)1 << (bits - 1));
        int64_t high = is_unsigned ? ((int64_t)1 << bits) - 1 : ((int64_t)1 << (bits - 1)) - 1;
        x = x < low ? low : x > high ? high : x;
    } else if (t->dtype == ED_U64 && x < 0) {
        x = 0;
    }
    if (bits == 4) {
        uint8_t *byte = (uint8_t *)t->data + i / 2;
        unsigned shift = (unsigned)(i % 2) * 4;
        *byte = (uint8_t)((*byte & ~(15U << shift)) | ((unsigned)(x & 15) << shift));
    } else {
        memcpy((char *)t->data + (size_t)i * (bits / 8), &x, bits / 8); /* little-endian */
    }
}

int ed_tensor_cast(ed_tensor **out, const ed_tensor *tensor, ed_dtype dtype)
{
    *out = NULL;
    ED_FAIL_IF(!ed_dtype_bits(dtype) || !ed_dtype_bits(tensor->dtype), ED_EUNSUPPORTED,
               "cannot convert %s to %s; only numbers convert", ed_dtype_name(tensor->dtype),
               ed_dtype_name(dtype));
    ed_tensor *t;
    ED_TRY(ed_tensor_new(&t, dtype, &tensor->shape));
    for (int64_t i = 0; i < t->numel; i++) {
        if (is_float(dtype))
            set_float(t, i, ed_tensor_get_f64(tensor, i));
        else if (is_float(tensor->dtype))
            ed_tensor_put_i64(t, i, saturate_i64(rint(ed_tensor_get_f64(tensor, i))));
        else
            ed_tensor_put_i64(t, i, ed_tensor_get_i64(tensor, i));
    }
    *out = t;
    return ED_OK;
}
