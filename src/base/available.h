/* How much memory there is to take. */
#ifndef BASE_AVAILABLE_H
#define BASE_AVAILABLE_H

#include <stdint.h>

/* Bytes that this process can still take without pushing others out: of the machine, or of the
 * control group (a container) that has less; 0: not known. */
int64_t ed_memory_available(void);

#endif
