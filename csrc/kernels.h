// What every instruction set offers: one table of functions. The only header that kernels, dispatch and bindings share.
//
// Arrays are float32 and contiguous unless a stride says otherwise; strides count floats. Images are in the order
// (B, H, W, C), tokens (B, N, C). Nobody checks anything from here on down: bindings.cpp has.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace levit {

enum class Activation : int { identity = 0, hardswish = 1, relu = 2 };

// A 2-D convolution of B images: what it does along the rows, h, and along the columns, w.
struct ConvAxis {
    ptrdiff_t size, kernel, stride, padding, out;  // out: the size of the result
};
struct Conv2d {
    ptrdiff_t B, C_in, C_out;
    ConvAxis h, w;
};

// Images (B, H, W, C) with any strides.
struct Images {
    const float* data;
    ptrdiff_t H, W, C;
    ptrdiff_t image, row, pixel, channel;  // strides
};

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
    // y (B, H_out, W_out, C_out) = sum over the kernel of x (B, H, W, C_in) times weight (C_out, kH, kW, C_in)
    void (*conv2d_forward)(const Conv2d& conv, const Images& x, const float* weight, float* y);
    // dx (B, H, W, C_in) of dy (B, H_out, W_out, C_out) and weight (C_out, kH, kW, C_in)
    void (*conv2d_backward_x)(const Conv2d& conv, const float* dy, const float* weight, float* dx);
    // dweight (kH, kW, C_in, C_out), channels of the result last, of dy (B, H_out, W_out, C_out) and x (B, H, W, C_in)
    void (*conv2d_backward_weight)(const Conv2d& conv, const float* dy, const Images& x, float* dweight);
    // sums (C,) of the rows of x (M, C)
    void (*sum_rows)(ptrdiff_t M, ptrdiff_t C, const float* x, float* sums);
};

// One function for each instruction set that was compiled in, defined by kernels.cpp.
const Kernels& kernels_baseline();
const Kernels& kernels_avx2();
const Kernels& kernels_avx512();

}  // namespace levit
