// 2-D convolution.
#pragma once

#include <stddef.h>

#include "activation_kind.h"
#include "instruction_sets.h"

namespace levit {

// A convolution of B images: its sizes along the rows, h, and along the columns, w.
struct ConvAxis {
    ptrdiff_t size, kernel, stride, padding, out;  // out: the size of the result
};
struct Conv2dSizes {
    ptrdiff_t B, C_in, C_out;
    ConvAxis h, w;
};

// Images (B, H, W, C) with any strides.
struct Images {
    const float* data;
    ptrdiff_t H, W, C;
    ptrdiff_t image, row, pixel, channel;  // strides
};

struct Conv2dKernels {
    // y (B, H_out, W_out, C_out) = activation(x (B, H, W, C_in) convolved with weight (C_out, kH, kW, C_in) + bias (C_out,));
    // bias may be null.
    void (*forward)(const Conv2dSizes& sizes, const Images& x, const float* weight, const float* bias,
                    Activation activation, float* y);
    // dx (B, H, W, C_in) of dy (B, H_out, W_out, C_out) and weight (C_out, kH, kW, C_in)
    void (*backward_x)(const Conv2dSizes& sizes, const float* dy, const float* weight, float* dx);
    // dweight (kH, kW, C_in, C_out), channels of the result last, of dy (B, H_out, W_out, C_out) and x (B, H, W, C_in)
    void (*backward_weight)(const Conv2dSizes& sizes, const float* dy, const Images& x, float* dweight);

    static const Conv2dKernels LEVIT_INSTRUCTION_SETS;
};

}  // namespace levit
