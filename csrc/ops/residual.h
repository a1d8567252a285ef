// The residual sum.
#pragma once

#include <stddef.h>

#include "instruction_sets.h"

namespace levit {

struct ResidualKernels {
    // y[b] = x[b] + factor[b] branch[b] for B images of `size` values; factor may be null: 1
    void (*forward)(ptrdiff_t B, ptrdiff_t size, const float* x, const float* branch, const float* factor, float* y);
    // dbranch[b] = factor[b] dy[b]
    void (*backward)(ptrdiff_t B, ptrdiff_t size, const float* dy, const float* factor, float* dbranch);

    static const ResidualKernels LEVIT_INSTRUCTION_SETS;
};

}  // namespace levit
