// How the rows of a matrix (M, C) are cut into blocks, and sums over them.
//
// Rows are cut into blocks, which threads share out and which each leave one partial result for every channel. The
// partial results are added up in double, always in the same order: a result does not depend on the threads, and a float32
// sum over millions of rows does not lose the small numbers.
#pragma once

#include "ops/flat.h"
#include "runtime/scratch.h"
#include "runtime/thread_pool.h"
#include "simd/blocks.h"
#include "simd/vec.h"

namespace levit::LEVIT_ISA {

constexpr ptrdiff_t BLOCK_ROWS = 128;
constexpr int TILE_ROWS = 4;

inline ptrdiff_t count_row_blocks(ptrdiff_t M) { return ceil_div(M, BLOCK_ROWS); }
inline ptrdiff_t first_row(ptrdiff_t block) { return block * BLOCK_ROWS; }
inline ptrdiff_t end_row(ptrdiff_t block, ptrdiff_t M) { return smaller(first_row(block) + BLOCK_ROWS, M); }

// f<ROWS>(m, c, n) for the tiles that cover the rows of a block of x (M, C): rows m .. m + ROWS, n channels from c on. ROWS
// is TILE_ROWS, or 1 for the rows that are left at the end. The values of a channel, such as its sum, are loaded and stored
// once for each tile. For passes that read and do not write: stores to several rows in turn are slow where a cache misses.
template <class F>
inline void for_each_tile(ptrdiff_t block, ptrdiff_t M, ptrdiff_t C, F f) {
    ptrdiff_t m = first_row(block);
    const ptrdiff_t end = end_row(block, M);
    for (; m + TILE_ROWS <= end; m += TILE_ROWS)
        for_each_vector(C, [&](ptrdiff_t c, int n) { f.template operator()<TILE_ROWS>(m, c, n); });
    for (; m < end; ++m)
        for_each_vector(C, [&](ptrdiff_t c, int n) { f.template operator()<1>(m, c, n); });
}

// The processor foresees a walk from front to back, but not one through several rows at once. So for each tile, the same
// amount of the rows below it is asked for, in the order of memory.
inline void prefetch_next_tile(const float* x, ptrdiff_t C, ptrdiff_t m, ptrdiff_t c) {
    const float* next = x + (m + TILE_ROWS) * C + c * TILE_ROWS;
    for (int i = 0; i < TILE_ROWS * LANES; i += CACHE_LINE) prefetch_to_l1(next + i);
}

// f(i, c, n) for the vectors of a block of x (M, C), from front to back: n values from x[i] on, which are those of channel c
// and the next.
template <class F>
inline void for_each_vector_of_block(ptrdiff_t block, ptrdiff_t M, ptrdiff_t C, F f) {
    for (ptrdiff_t m = first_row(block); m < end_row(block, M); ++m)
        for_each_vector(C, [&](ptrdiff_t c, int n) { f(m * C + c, c, n); });
}

constexpr ptrdiff_t RUN = 64;  // channels that are added up together, in local memory

// f(c, n) for the runs that cover C channels, on all threads: n channels from c on.
template <class F>
inline void for_each_run(ptrdiff_t C, F f) {
    auto run = [&](ptrdiff_t r) { f(r * RUN, smaller(RUN, C - r * RUN)); };
    parallel_for(ceil_div(C, RUN), run);
}

// sums[c] = sum over t of partial[t * stride + c]
inline void add_blocks(ptrdiff_t blocks, ptrdiff_t C, const float* partial, ptrdiff_t stride, float* sums) {
    for_each_run(C, [&](ptrdiff_t c, ptrdiff_t n) {
        double total[RUN] = {};
        for (ptrdiff_t t = 0; t < blocks; ++t)
            for (ptrdiff_t i = 0; i < n; ++i) total[i] += partial[t * stride + c + i];
        for (ptrdiff_t i = 0; i < n; ++i) sums[c + i] = static_cast<float>(total[i]);
    });
}

// sums (C,) of the rows of x (M, C)
inline void sum_rows(ptrdiff_t M, ptrdiff_t C, const float* x, float* sums) {
    const ptrdiff_t blocks = count_row_blocks(M);
    thread_local Scratch memory;
    float* partial = memory.take<float>(blocks * C);  // (blocks, C)
    auto block = [&](ptrdiff_t t) {
        float* sum = partial + t * C;
        set_to_zero(C, sum);
        for_each_tile(t, M, C, [&]<int ROWS>(ptrdiff_t m, ptrdiff_t c, int n) {
            prefetch_next_tile(x, C, m, c);
            vf total = load(sum + c, n);
            for (int r = 0; r < ROWS; ++r) total = total + load(x + (m + r) * C + c, n);
            store(sum + c, total, n);
        });
    };
    parallel_for(blocks, block);
    add_blocks(blocks, C, partial, C, sums);
}

}  // namespace levit::LEVIT_ISA
