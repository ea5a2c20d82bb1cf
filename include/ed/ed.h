/**
 * @file ed/ed.h
 * @brief Everything: float ONNX models to INT8.
 */
#ifndef ED_ED_H
#define ED_ED_H

#include "ed/backend.h"
#include "ed/calib.h"
#include "ed/dataset.h"
#include "ed/error.h"
#include "ed/exec.h"
#include "ed/graph.h"
#include "ed/onnx.h"
#include "ed/plan.h"
#include "ed/qat.h"
#include "ed/tensor.h"

#endif
