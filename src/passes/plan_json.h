/* Names of a plan file's fields, for its writer and its reader. */
#ifndef PASSES_PLAN_JSON_H
#define PASSES_PLAN_JSON_H

#include "passes/plan.h"

#include <jansson.h>

#define ED_PLAN_FORMAT "ed-plan"
enum { ED_PLAN_VERSION = 1 };

/* Sections by phase, and the bits of ED_TENSORRT_..._PATTERNS that stand for them. */
static const struct {
    const char *name;
    unsigned bit;
} ed_plan_sections[] = {
    [ED_PHASE_CONVERT] = { "conversions", ED_TENSORRT_CONVERSION_PATTERNS },
    [ED_PHASE_FUSE] = { "fusions", ED_TENSORRT_FUSION_PATTERNS },
    [ED_PHASE_QUANTIZE] = { "quantized", ED_TENSORRT_QUANTIZED_PATTERNS },
};

#endif
