/* The public list of devices. */
#include "ed/backend.h"

#include "backend/backend.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

static int describe(ed_device_row *row, const ed_backend *api, int index)
{
    ed_device_info info;
    int rc = api->info(&info, index);
    if (rc != ED_OK)
        return ed_backend_failed(api, rc);
    snprintf(row->name, sizeof row->name, "%s:%d", api->name, index);
    snprintf(row->description, sizeof row->description,
             "%.100s, compute capability %d.%d, driver for CUDA %d.%d, cuDNN %d.%d", info.name,
             info.major, info.minor, info.driver / 1000, info.driver % 1000 / 10,
             info.cudnn / 10000, info.cudnn % 10000 / 100);
    row->memory = info.memory;
    row->free_memory = info.free_memory;
    return ED_OK;
}

static int count_gpus(const ed_backend **api, int *count)
{
    *count = 0;
    ED_TRY(ed_backend_load(api));
    int rc = (*api)->count(count);
    if (rc != ED_OK)
        return ed_backend_failed(*api, rc);
    ED_FAIL_IF(*count == 0, ED_EUNSUPPORTED,
               "no usable GPU was found: the CUDA driver lists no device");
    return ED_OK;
}

int ed_devices(ed_device_row **out, size_t *count, const char **why)
{
    const ed_backend *api = NULL;
    int gpus = 0;
    *why = count_gpus(&api, &gpus) == ED_OK ? NULL : ed_error_last();
    gpus = *why ? 0 : gpus;
    *count = 0;
    *out = calloc((size_t)gpus + 1, sizeof **out); /* the caller calls free() */
    if (!*out)
        return ED_ENOMEM;
    snprintf((*out)->name, sizeof(*out)->name, "cpu");
    snprintf((*out)->description, sizeof(*out)->description, "%d threads", ed_threads_get());
    *count = 1;
    for (int i = 0; i < gpus; i++) {
        if (describe(*out + *count, api, i) == ED_OK)
            ++*count;
        else
            *why = ed_error_last();
    }
    return ED_OK;
}

int ed_device_check(const char *name)
{
    const ed_backend *api = NULL;
    int index = 0, count = 0;
    if (strcmp(name, "cpu") == 0)
        return ED_OK;
    ED_TRY(ed_device_index(&index, name));
    ED_TRY(count_gpus(&api, &count));
    ED_FAIL_IF(index >= count, ED_ENOTFOUND,
               "there is no device cuda:%d; this machine has %d, cuda:0 to cuda:%d", index, count,
               count - 1);
    ed_device_info info;
    int rc = api->info(&info, index);
    return rc == ED_OK ? ED_OK : ed_backend_failed(api, rc);
}
