// The table of position biases.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "instruction_sets.h"

namespace levit {

struct PositionBiasSizes {
    ptrdiff_t heads, offsets, N_q, N_k;
};

struct PositionBiasKernels {
    // bias (heads, N_k, N_q) from table (heads, offsets) by index (N_q, N_k)
    void (*forward)(const PositionBiasSizes& sizes, const float* table, const int64_t* index, float* bias);
    // dtable (heads, offsets): the sum of dbias (heads, N_k, N_q) over all pairs that read an entry
    void (*backward)(const PositionBiasSizes& sizes, const float* dbias, const int64_t* index, float* dtable);

    static const PositionBiasKernels LEVIT_INSTRUCTION_SETS;
};

}  // namespace levit
