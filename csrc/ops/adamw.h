// The AdamW step, in place.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "instruction_sets.h"

namespace levit {

// The scalars of a step; levit_ref/training/optimizer.py has the formula.
struct AdamWStep {
    float keep;             // 1 - learning rate * decay: of the parameters that are decayed
    float one_minus_beta1;
    float beta2, one_minus_beta2;
    float root_scale;       // 1 / sqrt(1 - beta2^t)
    float eps;
    float step_size;        // learning rate / (1 - beta1^t)
};

struct AdamWKernels {
    // All arrays (count,); m and v are the moving averages of gradients and of their squares. edges: where weight decay
    // begins, ends, begins again, ...; ascending.
    void (*step)(ptrdiff_t count, float* params, const float* grads, float* m, float* v, ptrdiff_t edge_count,
                 const int64_t* edges, const AdamWStep& step);

    static const AdamWKernels LEVIT_INSTRUCTION_SETS;
};

}  // namespace levit
