/* Rows of a table by name. */
#ifndef QAT_CHOICE_H
#define QAT_CHOICE_H

#include "base/error.h"
#include "ed/qat.h"

/* The number of the row called `name`; NULL: 0, the default. `option` is what sentences call it.
 * ED_EINVAL lists the names. */
int ed_choice_find(size_t *out, const ed_qat_choice *(*at)(size_t), const char *option,
                   const char *name);

#endif
