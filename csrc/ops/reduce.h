// Sums over rows.
#pragma once

#include "simd/blocks.h"
#include "runtime/scratch.h"
#include "runtime/thread_pool.h"
#include "simd/vec.h"

namespace levit::LEVIT_ISA {

// sums (C,) of the rows of x (M, C). Blocks of rows are added up by themselves and then to each other, in a fixed order:
// the result does not depend on the threads, and one long float32 sum does not lose the small numbers.
inline void sum_rows(ptrdiff_t M, ptrdiff_t C, const float* x, float* sums) {
    constexpr ptrdiff_t ROWS = 256;
    const ptrdiff_t blocks = ceil_div(M, ROWS);
    float* partial = scratch(Scratch::packed, blocks * C);  // (blocks, C)
    auto block = [&](ptrdiff_t t) {
        const ptrdiff_t m0 = t * ROWS, m1 = smaller(m0 + ROWS, M);
        for_each_vector(C, [&](ptrdiff_t c, int n) {
            vf total = zero();
            for (ptrdiff_t m = m0; m < m1; ++m) total = total + load(x + m * C + c, n);
            store(partial + t * C + c, total, n);
        });
    };
    parallel_for(blocks, block);
    for_each_vector(C, [&](ptrdiff_t c, int n) {
        vf total = zero();
        for (ptrdiff_t t = 0; t < blocks; ++t) total = total + load(partial + t * C + c, n);
        store(sums + c, total, n);
    });
}

}  // namespace levit::LEVIT_ISA
