// The cross-entropy loss of rows.
#pragma once

#include <stddef.h>

#include "instruction_sets.h"

namespace levit {

struct LossKernels {
    // losses (B,) = - sum_k targets log(probs), probs (B, K) = softmax(logits)
    void (*cross_entropy_forward)(ptrdiff_t B, ptrdiff_t K, const float* logits, const float* targets, float* losses,
                                  float* probs);
    // dlogits = scale (probs sum_k targets - targets)
    void (*cross_entropy_backward)(ptrdiff_t B, ptrdiff_t K, const float* probs, const float* targets, float scale,
                                   float* dlogits);

    static const LossKernels LEVIT_INSTRUCTION_SETS;
};

}  // namespace levit
