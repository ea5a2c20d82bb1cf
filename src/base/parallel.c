/* ed_parallel_for: one contiguous part per thread. */
#include "base/parallel.h"

#ifdef _OPENMP
#include <omp.h>

int ed_threads_set(int threads)
{
    ED_FAIL_IF(threads < 0 || threads > 1024, ED_EINVAL,
               "threads is %d; it must be 0 (all) to 1024", threads);
    omp_set_num_threads(threads ? threads : omp_get_num_procs());
    return ED_OK;
}

int ed_threads_get(void)
{
    return omp_get_max_threads();
}
#else
int ed_threads_set(int threads)
{
    ED_FAIL_IF(threads < 0 || threads > 1024, ED_EINVAL,
               "threads is %d; it must be 0 (all) to 1024", threads);
    return ED_OK;
}

int ed_threads_get(void)
{
    return 1;
}
#endif

void ed_parallel_for(int64_t n, int64_t grain, ed_range_fn fn, void *ctx)
{
    if (grain < 1)
        grain = 1;
    int64_t parts = (n + grain - 1) / grain;
    int threads = ed_threads_get();
    if (threads > parts)
        threads = (int)parts;
    if (threads <= 1) {
        if (n > 0)
            fn(ctx, 0, n, 0);
        return;
    }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++) {
        int64_t begin = parts * t / threads * grain;
        int64_t end = parts * (t + 1) / threads * grain;
        fn(ctx, begin, end < n ? end : n, t);
    }
}
