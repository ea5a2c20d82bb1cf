// A kernel that writes where no memory is: the GPU's context is of no use after it.
#include "lost_kernel.h"

static __global__ void write_to(int *nowhere)
{
    *nowhere = 1;
}

int lose_gpu(void)
{
    write_to<<<1, 1>>>(reinterpret_cast<int *>(8));
    return static_cast<int>(cudaDeviceSynchronize());
}
