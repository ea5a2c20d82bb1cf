/* The fake device inside: what is queued or recorded, and the work of calibration and training
 * (fake_work.c). */
#ifndef TESTS_FAKE_DEVICE_H
#define TESTS_FAKE_DEVICE_H

#include "backend/backend.h"
#include "ops/fast.h"

enum { MAX_CALLS = 1024 };

typedef enum call_kind { CALL_COPY, CALL_KERNEL, CALL_OBSERVE, CALL_TRAIN, CALL_LARGEST } call_kind;

typedef struct recorded_call {
    call_kind kind;
    void *to; /* or the observers, the trainer */
    const void *from;
    size_t n; /* bytes, or floats */
    size_t index;
    ed_call call; /* of a kernel */
} recorded_call;

typedef struct recording {
    recorded_call calls[MAX_CALLS];
    size_t count;
} recording;

/* A download under way. */
typedef struct parcel {
    struct parcel *next;
    void *to;
    size_t nbytes;
    char data[];
} parcel;

typedef struct fake {
    size_t used, limit;
    recording *open; /* being recorded */
    parcel *parcels;
} fake;

/* One more call of the device: true when FAKE_LOST says that it, or one before it, failed. */
bool fake_is_lost(void);
#define LOST_IN(what) ED_FAIL_IF(fake_is_lost(), ED_EINTERNAL, "%s: the fake device was lost", what)
/* Make a call, or record it. */
int fake_queue(fake *f, recorded_call call);
/* ed_backend.download */
int fake_download(void *device, void *to, const void *from, size_t nbytes);

/* Members of ed_backend. */
void fake_work_observers_free(void *of);
int fake_work_observers_new(void *device, void **out, size_t n, size_t bins, double ema);
int fake_work_observers_add(void *of, size_t i, const void *data, ed_layout layout, int64_t numel);
int fake_work_observers_get(void *of, ed_seen *seen, uint64_t *counts);
int fake_work_observers_search(void *of, ed_search search, unsigned start, unsigned levels,
                               int64_t *answers);
int fake_work_decode(void *device, float *to, const void *from, const ed_decode *how,
                     uint64_t *bad);
int fake_work_trainer_new(void *device, void **out, ed_device_optimizer optimizer,
                          const ed_device_parameter *list, size_t n);
int fake_work_trainer_add(void *trainer, bool first);
int fake_work_trainer_set(void *trainer, const ed_device_update *update);
int fake_work_trainer_step(void *trainer);
int fake_work_trainer_quantize(void *trainer);
int fake_work_trainer_get(void *trainer, ed_device_updated *out);
void fake_work_trainer_free(void *trainer);
int fake_work_largest(void *device, float *to, const void *data, ed_layout layout, int64_t numel);
int fake_work_follow(void *device, const ed_device_scales *s);

#endif
