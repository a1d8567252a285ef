// Batch normalisation of the rows of x (M, C).
#pragma once

#include <stddef.h>

#include "activation_kind.h"
#include "instruction_sets.h"

namespace levit {

// Of C channels: (x - mean) inv_std weight + bias.
struct Normalisation {
    const float *mean, *inv_std, *weight, *bias;
};

struct BatchNormKernels {
    // mean and variance (C,), divided by M, of the columns of x (M, C)
    void (*statistics)(ptrdiff_t M, ptrdiff_t C, const float* x, float* mean, float* variance);
    // y = activation((x - mean) inv_std weight + bias)
    void (*apply)(ptrdiff_t M, ptrdiff_t C, const float* x, const Normalisation& norm, Activation activation, float* y);
    // dweight and dbias (C,): sums over the rows of g n and of g, with g = dy times the activation's slope and
    // n = (x - mean) inv_std.
    void (*backward_sums)(ptrdiff_t M, ptrdiff_t C, const float* dy, const float* x, const Normalisation& norm,
                          Activation activation, float* dweight, float* dbias);
    // dx (M, C) = weight inv_std (g - mean_dbias - n mean_dweight). The means (C,) are the sums divided by the number of rows
    // that they were taken over; both null: the statistics were constants, and dx = weight inv_std g.
    void (*backward_apply)(ptrdiff_t M, ptrdiff_t C, const float* dy, const float* x, const Normalisation& norm,
                           Activation activation, const float* mean_dweight, const float* mean_dbias, float* dx);

    static const BatchNormKernels LEVIT_INSTRUCTION_SETS;
};

}  // namespace levit
