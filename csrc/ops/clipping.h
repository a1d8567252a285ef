// Clipping gradients, in place: all by one norm, or each output unit by its own.
#pragma once

#include <stddef.h>

#include "instruction_sets.h"

namespace levit {

// Output units of one parameter: rows of its values and of their gradient, to be clipped each by its norm.
struct UnitBlock {
    const float* data;  // (units, length)
    float* grad;        // (units, length), scaled in place
    ptrdiff_t units, length;
    ptrdiff_t clipped;  // result: how many were scaled
};

struct ClippingKernels {
    // of x (count,)
    double (*sum_of_squares)(ptrdiff_t count, const float* x);
    // x *= factor
    void (*scale)(ptrdiff_t count, float* x, float factor);
    // Adaptive clipping: a unit's gradient has at most clip times the norm of its weights, which counts as eps at least.
    void (*clip_units)(ptrdiff_t blocks, UnitBlock* all, float clip, float eps);

    static const ClippingKernels LEVIT_INSTRUCTION_SETS;
};

}  // namespace levit
