// The linear layer, and sums over rows (the gradient of a bias).
//
// In all headers of this folder: arrays are float32 and contiguous unless a stride says otherwise, and strides count floats.
// Images are in the order (B, H, W, C), tokens (B, N, C). Kernels check nothing: bindings/ has.
#pragma once

#include <stddef.h>

#include "activation_kind.h"
#include "instruction_sets.h"

namespace levit {

struct LinearKernels {
    // y (M, N) = activation(x (M, K) weight (N, K)^T + bias (N,)); bias may be null.
    void (*forward)(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, const float* x, const float* weight, const float* bias,
                    Activation activation, float* y);
    // dx (M, K) = dy (M, N) weight (N, K)
    void (*backward_x)(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, const float* dy, const float* weight, float* dx);
    // dweight (N, K) = dy (M, N)^T x (M, K); with `add` it is added to what dweight holds.
    void (*backward_weight)(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, const float* dy, const float* x, bool add,
                            float* dweight);
    // sums (C,) of the rows of x (M, C)
    void (*sum_rows)(ptrdiff_t M, ptrdiff_t C, const float* x, float* sums);

    static const LinearKernels LEVIT_INSTRUCTION_SETS;
};

}  // namespace levit
