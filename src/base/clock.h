/* Time. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/error.h"

/* Seconds of a clock that only goes forward. */
ED_PLUGIN double ed_clock_seconds(void);

#endif
