// The weights of a layer, packed for a product on all threads, in memory that the thread keeps for the next layer.
#pragma once

#include "gemm/pack.h"
#include "runtime/scratch.h"
#include "runtime/thread_pool.h"
#include "simd/blocks.h"

namespace levit::LEVIT_ISA {

inline float* memory_for_weights(ptrdiff_t size) {
    thread_local Scratch memory;
    return memory.take<float>(size);
}

// f(j) for the first column j of each panel, on all threads.
template <class F>
inline void for_each_panel_in_parallel(ptrdiff_t N, F f) {
    auto task = [&](ptrdiff_t p) { f(p * PANEL); };
    parallel_for(ceil_div(N, PANEL), task);
}

// B (K, N) = weight^T of a weight (N, K)
inline PackedB pack_transposed_weight(ptrdiff_t K, ptrdiff_t N, const float* weight) {
    float* packed = memory_for_weights(packed_size(K, N));
    for_each_panel_in_parallel(N, [&](ptrdiff_t j) { pack_panel_of_columns(K, N, j, weight, K, packed + K * j); });
    return {packed, K, N};
}

// B (K, N) = weight
inline PackedB pack_weight(ptrdiff_t K, ptrdiff_t N, const float* weight) {
    float* packed = memory_for_weights(packed_size(K, N));
    for_each_panel_in_parallel(N, [&](ptrdiff_t j) { pack_panel_of_rows(K, N, j, weight, N, packed + K * j); });
    return {packed, K, N};
}

}  // namespace levit::LEVIT_ISA
