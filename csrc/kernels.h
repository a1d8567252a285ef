// What every instruction set offers: one table of functions. The only header that kernels, dispatch and bindings share.
//
// Arrays are float32 and contiguous unless a stride says otherwise; strides count floats. Images are in the order
// (B, H, W, C), tokens (B, N, C). Nobody checks anything from here on down: bindings.cpp has.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace levit {

enum class Activation : int { identity = 0, hardswish = 1, relu = 2 };

struct Kernels {
    const char* isa;
    int lanes;

    // y (M, N) = activation(x (M, K) weight (N, K)^T + bias (N,)); bias may be null.
    void (*linear_forward)(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, const float* x, const float* weight, const float* bias,
                           Activation activation, float* y);
    // dx (M, K) = dy (M, N) weight (N, K)
    void (*linear_backward_x)(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, const float* dy, const float* weight, float* dx);
    // dweight (N, K) = dy (M, N)^T x (M, K)
    void (*linear_backward_weight)(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, const float* dy, const float* x,
                                   float* dweight);
    // sums (C,) of the rows of x (M, C)
    void (*sum_rows)(ptrdiff_t M, ptrdiff_t C, const float* x, float* sums);
};

// One function for each instruction set that was compiled in, defined by kernels.cpp.
const Kernels& kernels_baseline();
const Kernels& kernels_avx2();
const Kernels& kernels_avx512();

}  // namespace levit
