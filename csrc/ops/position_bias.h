// The table of position biases: every pair of a query and a key reads one entry, and its gradient is added to that entry.
#pragma once

#include "runtime/scratch.h"
#include "runtime/thread_pool.h"
#include "simd/vec.h"

namespace levit::LEVIT_ISA {

// bias (heads, pairs) = table (heads, offsets) [:, index]
inline void position_bias_forward(ptrdiff_t heads, ptrdiff_t offsets, ptrdiff_t pairs, const float* table,
                                  const int64_t* index, float* bias) {
    auto head = [&](ptrdiff_t h) {
        const float* from = table + h * offsets;
        float* to = bias + h * pairs;
        for (ptrdiff_t i = 0; i < pairs; ++i) to[i] = from[index[i]];
    };
    parallel_for(heads, head);
}

// dtable (heads, offsets): sums in double, since hundreds of pairs of many images meet in one entry
inline void position_bias_backward(ptrdiff_t heads, ptrdiff_t offsets, ptrdiff_t pairs, const float* dbias,
                                   const int64_t* index, float* dtable) {
    auto head = [&](ptrdiff_t h) {
        double* total = reinterpret_cast<double*>(scratch(Scratch::task, 2 * offsets));
        for (ptrdiff_t o = 0; o < offsets; ++o) total[o] = 0;
        const float* from = dbias + h * pairs;
        for (ptrdiff_t i = 0; i < pairs; ++i) total[index[i]] += from[i];
        for (ptrdiff_t o = 0; o < offsets; ++o) dtable[h * offsets + o] = static_cast<float>(total[o]);
    };
    parallel_for(heads, head);
}

}  // namespace levit::LEVIT_ISA
