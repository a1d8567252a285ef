// The mean of all tokens.
#pragma once

#include <stddef.h>

#include "instruction_sets.h"

namespace levit {

struct PoolingKernels {
    // y (B, C): the mean over the N tokens of x (B, N, C)
    void (*forward)(ptrdiff_t B, ptrdiff_t N, ptrdiff_t C, const float* x, float* y);
    // dx (B, N, C): every token gets the same share of dy (B, C)
    void (*backward)(ptrdiff_t B, ptrdiff_t N, ptrdiff_t C, const float* dy, float* dx);

    static const PoolingKernels LEVIT_INSTRUCTION_SETS;
};

}  // namespace levit
