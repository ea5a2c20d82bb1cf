/* See device_choice.h. */
#include "device_choice.h"

#include "backend/backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool choose_device(ed_exec_options *opts, double *nmse)
{
    static const struct {
        const char *name;
        double nmse;
    } limits[] = { { "fp32", 1e-10 }, { "tf32", 1e-5 }, { "bf16", 1e-3 } };
    const char *precision = getenv("ED_TEST_PRECISION");
    const ed_device *device;
    opts->device = getenv("ED_TEST_DEVICE");
    opts->precision = precision ? precision : "fp32";
    if (!opts->device)
        return true;
    for (size_t i = 0; i < ED_LENGTH(limits); i++)
        if (strcmp(limits[i].name, opts->precision) == 0)
            *nmse = limits[i].nmse;
    if (ed_device_open(&device, opts->device, NULL) == ED_OK)
        return true;
    printf("skipped: %s\n", ed_error_last());
    return false;
}
