// Softmax of rows.
#pragma once

#include <stddef.h>

#include "instruction_sets.h"

namespace levit {

struct SoftmaxKernels {
    // y (M, n) = softmax of the rows of x
    void (*forward)(ptrdiff_t M, ptrdiff_t n, const float* x, float* y);
    // dx = y (dy - sum of the row of dy y)
    void (*backward)(ptrdiff_t M, ptrdiff_t n, const float* dy, const float* y, float* dx);

    static const SoftmaxKernels LEVIT_INSTRUCTION_SETS;
};

}  // namespace levit
