/*
 * The plans made so far: a hash table in the device, and files, one a plan, so that the next
 * process neither asks the heuristics nor compiles kernels again.
 *
 * A file is named by a hash of all that a plan depends on: the problem, the library's version, the
 * GPU. Its first line repeats that text, and a file of another problem is passed over. Files that
 * cannot be read or written cost time, never the run.
 */
#include "plans.h"

#include "base/clock.h"
#include "base/file.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { BUCKETS = 256 };

typedef struct entry {
    ed_cuda_plan plan;
    bool busy; /* a thread makes it */
    int rc;
    struct entry *next;
    _Alignas(max_align_t) unsigned char problem[];
} entry;

struct ed_cuda_plans { /* under the device's mutex */
    entry *buckets[BUCKETS];
    pthread_cond_t made;
    char gpu[300];
};

static uint64_t hash_of(const void *data, size_t size)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < size; i++)
        h = (h ^ ((const unsigned char *)data)[i]) * 0x100000001b3u;
    return h;
}

/* ---- files ---- */

/* The folder of the cache, made when it is not there: $ED_CACHE_DIR, $XDG_CACHE_HOME/ed,
 * ~/.cache/ed. An empty ED_CACHE_DIR switches the files off. */
static bool cache_folder(char *out, size_t size)
{
    const char *given = getenv("ED_CACHE_DIR"), *xdg = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    int n;
    if (given)
        n = snprintf(out, size, "%s", given);
    else if (xdg && *xdg)
        n = snprintf(out, size, "%s/ed", xdg);
    else if (home && *home)
        n = snprintf(out, size, "%s/.cache/ed", home);
    else
        return false;
    if (n <= 0 || (size_t)n >= size)
        return false;
    for (char *slash = strchr(out + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(out, 0777);
        *slash = '/';
    }
    mkdir(out, 0777);
    return true;
}

/* "ed-plan <version> <gpu> <tuned> <kind> <problem in hex>\n" */
static char *header_of(const ed_cuda_plan *p, const ed_cuda *device, bool tuned)
{
    size_t size = p->kind->size;
    char *hex = ed_malloc(2 * size + 1), *header = NULL;
    if (!hex)
        return NULL;
    for (size_t i = 0; i < size; i++)
        snprintf(hex + 2 * i, 3, "%02x", ((const unsigned char *)p->problem)[i]);
    header = ed_asprintf("ed-plan %s %d %s %s\n", device->plans->gpu, tuned, p->kind->name, hex);
    ed_free(hex);
    return header;
}

static bool file_path(char *out, size_t size, const ed_cuda_kind *kind, const char *header)
{
    char folder[3000];
    if (!cache_folder(folder, sizeof folder))
        return false;
    int n = snprintf(out, size, "%s/%s-%016llx.plan", folder, kind->name,
                     (unsigned long long)hash_of(header, strlen(header)));
    return n > 0 && (size_t)n < size;
}

/* Leaves plan->plan NULL when there is no file that fits. */
static int load_file(ed_cuda_plan *p, ed_cuda *device, bool tuned)
{
    char path[4096];
    void *data = NULL;
    size_t size = 0;
    int rc = ED_OK;
    char *header = header_of(p, device, tuned);
    if (!header)
        return ED_ENOMEM;
    size_t length = strlen(header);
    if (file_path(path, sizeof path, p->kind, header) &&
        ed_file_read(&data, &size, path) == ED_OK && size > length &&
        memcmp(data, header, length) == 0)
        rc = ed_cuda_plan_load(p, device, (char *)data + length, size - length);
    if (p->plan)
        snprintf(p->name, sizeof p->name, "%s cached%s", p->kind->label, tuned ? " (tuned)" : "");
    ed_free(data);
    ed_free(header);
    return rc;
}

static void save_file(const ed_cuda_plan *p, const ed_cuda *device)
{
    char path[4096], *text = NULL;
    size_t size = 0;
    ed_atomic_file *file = NULL;
    char *header = header_of(p, device, device->opts.autotune);
    if (!header)
        return;
    if (ed_cuda_plan_save(&text, &size, p) == ED_OK && text &&
        file_path(path, sizeof path, p->kind, header) && ed_atomic_open(&file, path) == ED_OK) {
        FILE *stream = ed_atomic_stream(file);
        bool written = fputs(header, stream) >= 0 && fwrite(text, 1, size, stream) == size;
        if (written)
            ed_atomic_commit(file);
        else
            ed_atomic_abort(file);
    }
    ed_free(text);
    ed_free(header);
}

/* ---- memory ---- */

static int start(ed_cuda *device)
{
    struct cudaDeviceProp prop;
    if (device->plans)
        return ED_OK;
    ED_CUDA_TRY(cudaGetDeviceProperties(&prop, device->index), "asking for the GPU's properties");
    device->plans = ed_calloc(1, sizeof *device->plans);
    if (!device->plans)
        return ED_ENOMEM;
    pthread_cond_init(&device->plans->made, NULL);
    snprintf(device->plans->gpu, sizeof device->plans->gpu, "%s %zu %d.%d %d", ED_VERSION,
             cudnnGetVersion(), prop.major, prop.minor, prop.multiProcessorCount);
    return ED_OK;
}

/* From the files, the tuned one first, or from the library. */
static int obtain(ed_cuda_plan *p, ed_cuda *device)
{
    char problem[200];
    double begin = ed_clock_seconds();
    ED_TRY(load_file(p, device, true));
    if (!p->plan && !device->opts.autotune)
        ED_TRY(load_file(p, device, false));
    bool loaded = p->plan;
    if (!loaded)
        ED_TRY(ed_cuda_plan_build(p, device));
    p->kind->describe(problem, sizeof problem, p->problem);
    ed_log(ED_LOG_DEBUG, "%s: %s, found in %.3f s", problem, p->plan ? p->name : "no engine",
           ed_clock_seconds() - begin);
    if (p->plan && !loaded)
        save_file(p, device);
    return ED_OK;
}

/* Under the mutex: the entry of a problem, made when it is new (*is_new). */
static int find(entry **out, bool *is_new, ed_cuda *device, const ed_cuda_kind *kind,
                const void *problem)
{
    ED_TRY(start(device));
    entry **bucket = &device->plans->buckets[hash_of(problem, kind->size) % BUCKETS];
    *is_new = false;
    for (entry *e = *bucket; e; e = e->next)
        if (e->plan.kind == kind && memcmp(e->problem, problem, kind->size) == 0) {
            *out = e;
            return ED_OK;
        }
    entry *e = ed_calloc(1, sizeof *e + kind->size);
    if (!e)
        return ED_ENOMEM;
    memcpy(e->problem, problem, kind->size);
    e->plan.kind = kind;
    e->plan.problem = e->problem;
    e->busy = *is_new = true;
    e->next = *bucket;
    *bucket = *out = e;
    return ED_OK;
}

int ed_cuda_plan_get(ed_cuda_plan **out, ed_cuda *device, const ed_cuda_kind *kind,
                     const void *problem)
{
    entry *e = NULL;
    bool is_new;
    *out = NULL;
    pthread_mutex_lock(&device->mutex);
    int rc = find(&e, &is_new, device, kind, problem);
    while (rc == ED_OK && !is_new && e->busy)
        pthread_cond_wait(&device->plans->made, &device->mutex);
    if (rc == ED_OK && e->rc != ED_OK)
        e->busy = is_new = true; /* another thread failed: this one tries, and has the sentence */
    if (rc == ED_OK && is_new) {
        pthread_mutex_unlock(&device->mutex);
        rc = obtain(&e->plan, device);
        if (rc != ED_OK)
            ed_cuda_plan_release(&e->plan);
        pthread_mutex_lock(&device->mutex);
        e->busy = false;
        e->rc = rc;
        pthread_cond_broadcast(&device->plans->made);
    }
    if (rc == ED_OK && e->plan.plan)
        *out = &e->plan;
    pthread_mutex_unlock(&device->mutex);
    return rc;
}

size_t ed_cuda_plan_scratch(const ed_cuda_plan *plan)
{
    return (size_t)plan->scratch;
}

const char *ed_cuda_plan_name(const ed_cuda_plan *plan)
{
    return plan->name;
}

void ed_cuda_plans_free(ed_cuda *device)
{
    for (int i = 0; device->plans && i < BUCKETS; i++)
        while (device->plans->buckets[i]) {
            entry *e = device->plans->buckets[i];
            device->plans->buckets[i] = e->next;
            ed_cuda_plan_release(&e->plan);
            ed_free(e);
        }
    if (device->plans)
        pthread_cond_destroy(&device->plans->made);
    ed_free(device->plans);
    device->plans = NULL;
}
