// The moving average of the parameters, in place.
#pragma once

#include <stddef.h>

#include "instruction_sets.h"

namespace levit {

struct MovingAverageKernels {
    // average += share (value - average), for `count` values
    void (*move)(ptrdiff_t count, float* average, const float* value, float share);

    static const MovingAverageKernels LEVIT_INSTRUCTION_SETS;
};

}  // namespace levit
