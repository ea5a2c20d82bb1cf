/* Losing the GPU on purpose (lost_kernel.cu). */
#ifndef LOST_KERNEL_H
#define LOST_KERNEL_H

#ifdef __cplusplus
extern "C"
#endif
    /* Returns CUDA's error; 0: the GPU still works. */
    int
    lose_gpu(void);

#endif
