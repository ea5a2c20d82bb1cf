/*
 * Batches of 8 bits into a device's memory: they go there as the file stores them, four times less
 * to copy, while the batch before runs, and are decoded there.
 */
#ifndef DATA_DEVICE_FEED_H
#define DATA_DEVICE_FEED_H

#include "backend/backend.h"
#include "ed/dataset.h"

typedef struct ed_device_feed ed_device_feed;

/* For a dataset of which ed_dataset_raw_possible() is true: its thread reads for the device from
 * the next batch on, and batches have tensors without data, until the feed is released. ED_ENOMEM,
 * or what the device fails with. */
int ed_device_feed_new(ed_device_feed **out, const ed_device *device, ed_dataset *dataset);
/* Queue the batch that ed_dataset_next() returned: input i to to[i], float32 there. */
int ed_device_feed_batch(ed_device_feed *feed, const ed_batch *batch, void *const *to);
/* When what reads the batch is queued, before the next ed_dataset_next(): waits until the batch's
 * memory here may be written again. */
int ed_device_feed_done(ed_device_feed *feed);
/* At the end: NaN and infinity that decoding made are an error, or are counted, as
 * ed_dataset_raw_judge() says. Waits for all. */
int ed_device_feed_judge(ed_device_feed *feed);
/* Waits for what is queued. NULL is allowed. */
void ed_device_feed_free(ed_device_feed *feed);

#endif
