// Loops over values in the order of memory, whatever shape they have.
#pragma once

#include "runtime/thread_pool.h"
#include "simd/blocks.h"
#include "simd/vec.h"

namespace levit::LEVIT_ISA {

constexpr ptrdiff_t FLAT_BLOCK = 16384;  // values in a task: some microseconds, far above the cost of handing it out

// f(range) for the blocks that cover 0 .. count, on all threads.
template <class F>
inline void for_each_flat_block(ptrdiff_t count, F f) {
    auto task = [&](ptrdiff_t t) { f(Range{t * FLAT_BLOCK, smaller((t + 1) * FLAT_BLOCK, count)}); };
    parallel_for(ceil_div(count, FLAT_BLOCK), task);
}

// f(i, n) for the vectors that cover 0 .. count, on all threads.
template <class F>
inline void for_each_vector_in_parallel(ptrdiff_t count, F f) {
    for_each_flat_block(count, [&](Range block) {
        for_each_vector(block.size(), [&](ptrdiff_t i, int n) { f(block.start + i, n); });
    });
}

// In the calling thread.
inline void copy(ptrdiff_t count, const float* from, float* to) {
    for_each_vector(count, [&](ptrdiff_t i, int n) { store(to + i, load(from + i, n), n); });
}
inline void set_to_zero(ptrdiff_t count, float* to) {
    for_each_vector(count, [&](ptrdiff_t i, int n) { store(to + i, zero(), n); });
}

}  // namespace levit::LEVIT_ISA
