/* Element types inside the library: short names, half-precision conversions. */
#ifndef TENSOR_DTYPE_H
#define TENSOR_DTYPE_H

#include "ed/tensor.h"
#include "base/error.h"

/* "f32", "i8", ...: what the text form of graphs prints. */
const char *ed_dtype_brief(ed_dtype dtype);

/* Store an integer in a tensor of integers or bool; outside of the type's range the nearest. */
void ed_tensor_put_i64(ed_tensor *tensor, int64_t i, int64_t x);

float ed_f16_to_f32(uint16_t h);
uint16_t ed_f32_to_f16(float f); /* round half to even; overflow to infinity */
float ed_bf16_to_f32(uint16_t h);
ED_PLUGIN uint16_t ed_f32_to_bf16(float f);

#endif
