/* Launcher of lift.cu. */
#ifndef CUDA_LIFT_H
#define CUDA_LIFT_H

/* y [n][points][lifted] of float32 or bfloat16: x [n][channels][points], and zeros. `lifted` is 4
 * for float32, 8 for bfloat16; y begins at a multiple of 16 bytes. */
int ed_cuda_lift(void *y, bool bf16, const float *x, int64_t n, int64_t channels, int64_t points,
                 int64_t lifted, ed_stream stream);

#endif
