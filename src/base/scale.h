/* The rule of scales, which calibration and training share. */
#ifndef BASE_SCALE_H
#define BASE_SCALE_H

#include <float.h>
#include <stdint.h>

#define ED_LEAST_AMAX 0x1p-24 /* below it a scale is no useful number: a floor, also for NaN */

/* amax / qmax, in double, rounded to float once; always > 0 and finite. */
static inline float ed_scale_for(double amax, int64_t qmax)
{
    double floored = amax >= ED_LEAST_AMAX ? amax : ED_LEAST_AMAX;
    return (float)((floored < FLT_MAX ? floored : FLT_MAX) / (double)qmax);
}

#endif
