// Activations of every value by itself.
#pragma once

#include <stddef.h>

#include "activation_kind.h"
#include "instruction_sets.h"

namespace levit {

struct ActivationKernels {
    // y = activation(x), and dx = dy times its slope at x, for `count` values
    void (*forward)(Activation activation, ptrdiff_t count, const float* x, float* y);
    void (*backward)(Activation activation, ptrdiff_t count, const float* dy, const float* x, float* dx);
    // y = e^x
    void (*exponential)(ptrdiff_t count, const float* x, float* y);

    static const ActivationKernels LEVIT_INSTRUCTION_SETS;
};

}  // namespace levit
