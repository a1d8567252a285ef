// Every stride-th token of each axis of the map of tokens.
#pragma once

#include <stddef.h>

#include "instruction_sets.h"

namespace levit {

// Tokens in rows and columns, of which every stride-th is kept.
struct TokenMap {
    ptrdiff_t H, W, stride_y, stride_x;
};

struct SubsampleKernels {
    // y (B, tokens kept, C) of x (B, H W, C)
    void (*forward)(ptrdiff_t B, ptrdiff_t C, const TokenMap& map, const float* x, float* y);
    // dx: dy where a token was kept, 0 elsewhere
    void (*backward)(ptrdiff_t B, ptrdiff_t C, const TokenMap& map, const float* dy, float* dx);

    static const SubsampleKernels LEVIT_INSTRUCTION_SETS;
};

}  // namespace levit
